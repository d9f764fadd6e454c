"""Rows of the table `coverage`, made of a footer and of what a run knows beside it.

Thousands of accounts have the same days: rows are made for each kind of account, and Arrow takes
them for each account.
"""

from __future__ import annotations

import functools
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from operator import itemgetter
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from harvester.core import calendar, readiness
from harvester.core.calendar import Day, Month
from harvester.core.dataset import Dataset, Grain
from harvester.core.day_states import (
    NOT_ASKED,
    Cause,
    DaysBeside,
    KnownDays,
    answered_states,
)
from harvester.tables.coverage import OLD_DAYS, Coverage
from harvester.tables.derived import COVERAGE

PIECE_ROWS = 1 << 16
"""Rows of a row group of the table."""

_EVERY_DAY = -1
_SECONDS = 0xFFFFFFFF
"""Part of a number in `Coverage.asked` that is the time."""


@dataclass(frozen=True)
class DatasetDays:
    """Days of one dataset as a run knows them beside the files, by appid."""

    dataset: Dataset
    accounts: Mapping[str, DaysBeside]

    @cached_property
    def _kinds(self) -> dict[DaysBeside, int]:
        distinct = dict.fromkeys((DaysBeside(), *self.accounts.values()))
        return {days: number for number, days in enumerate(distinct)}

    @cached_property
    def _whose(self) -> list[int]:
        """The number of the kind of each account."""
        return [self._kinds[days] for days in self.accounts.values()]

    @cached_property
    def _places(self) -> dict[bytes, _Places]:
        # Most months have the same accounts.
        return {}

    def marks(self) -> dict[Month, int]:
        """Return a number for each month, another one if any account has other days there.

        It is made of sums over accounts, for each day and what it is.
        """
        salts = [0] * len(self._kinds)
        for appid, kind in zip(self.accounts, self._whose, strict=True):
            salts[kind] += _salt(appid)
        steps = Counter[Day]()
        for (wanted, settled, causes), salt in zip(self._kinds, salts, strict=True):
            for cause in (Cause(wanted, "wanted"), Cause(settled, "settled"), *causes):
                part = salt * zlib.crc32(repr(cause[1:]).encode())
                for begin, end in calendar.day_ranges(cause.days):
                    steps[begin] += part
                    steps[end + 1] -= part
        marks, level = Counter[Month](), 0
        for day in range(min(steps, default=0), max(steps, default=0)):
            level += steps[day]
            if level:
                month = calendar.month_of(day)
                marks[month] = hash((marks[month], day, level))
        return marks

    def rows(self, known: Coverage) -> Iterator[pa.Table]:
        """Yield the rows of a month by their key, of which the footer of the file knows this."""
        month, grain = known.month, self.dataset.grain
        # Of accounts that began on days of their own most are the same in a month.
        found = [_masks_of(days, month) for days in self._kinds]
        distinct = {each: number for number, each in enumerate(dict.fromkeys(found))}
        numbers = pa.array([distinct[each] for each in found], pa.int64())
        appids, whose = self._joined(known, pa.array([bool(each.wanted) for each in found]))
        kinds, of_each = _distinct(known.masks, numbers.take(whose))
        beside = [*distinct]
        rows = [
            _rows_of_kind(month, grain, _FileDays(*masks), beside[number])
            for *masks, number in kinds
        ]
        order = pc.array_sort_indices(appids)
        picked = _Picked.of(rows, of_each.take(order))
        if any(known.provisional):
            picked = picked.with_times(known, order)
            picked = picked.joined() if _has_ranges(grain) else picked
        # Of a month whose every day is another one the texts take much memory.
        for begin in range(0, len(picked.own), PIECE_ROWS):
            part = (column[begin : begin + PIECE_ROWS] for column in picked[1:])
            yield _Picked(picked.kinds, *part).table(self.dataset.name, appids.take(order))

    def _joined(self, known: Coverage, has_days: pa.Array) -> tuple[pa.Array, pa.Array]:
        """Return the accounts of a footer, then all others with wanted days, and their kinds."""
        if known.packed not in self._places:
            theirs, every = _appids(known.packed), pa.array([*self.accounts], pa.string())
            whose = pa.array(self._whose, pa.int64())
            kinds = whose.take(pc.index_in(theirs, every)).fill_null(0)
            is_other = pc.invert(pc.is_in(every, theirs))
            others = every.filter(is_other), whose.filter(is_other)
            self._places[known.packed] = _Places(theirs, kinds, *others)
        found = self._places[known.packed]
        chosen = has_days.take(found.kinds_of_others)
        return (
            pa.concat_arrays([found.appids, found.others.filter(chosen)]),
            pa.concat_arrays([found.kinds, found.kinds_of_others.filter(chosen)]),
        )


class _Places(NamedTuple):
    """Accounts of a footer and all others, with the numbers of their kinds."""

    appids: pa.Array
    kinds: pa.Array
    others: pa.Array
    kinds_of_others: pa.Array


class _FileDays(NamedTuple):
    """Masks of an account's days in a month, as a footer has them."""

    final: int
    provisional: int
    quarantined: int
    with_rows: int
    confirmed: int
    again: int


class _Row(NamedTuple):
    """A row without its account."""

    begin_date: Day
    end_date: Day
    state: str
    has_rows: bool | None = None
    confirmed: bool | None = None
    wanted: bool = True
    reason: str | None = None
    errcode: int | None = None
    retry_at: int | None = None


# Cached, because all accounts but a few are of one kind.
@functools.lru_cache(maxsize=16_384)
def _masks_of(days: DaysBeside, month: Month) -> DaysBeside:
    """Return the part of a month, with masks in the place of sets of days."""
    causes = (each._replace(days=calendar.month_mask(each.days, month)) for each in days.causes)
    wanted, settled = (calendar.month_mask(each, month) for each in days[:2])
    return DaysBeside(wanted, settled, tuple(each for each in causes if each.days))


@functools.lru_cache(maxsize=16_384)
def _rows_of_kind(
    month: Month, grain: Grain, days: _FileDays, beside: DaysBeside
) -> Sequence[_Row]:
    """Return the rows of all accounts with these days; provisional days have one each."""
    wanted, settled, causes = beside
    done = days.provisional & settled
    final, provisional = days.final | done, days.provisional & ~done
    known = KnownDays(final | provisional, provisional, days.quarantined, days.with_rows)
    rows = list[_Row]()
    for item in answered_states(known):
        sure = days.confirmed | settled
        # Only of empty days it matters whether evidence confirms them.
        parts = {True: sure, False: ~sure} if item.has_rows is False else {None: _EVERY_DAY}
        for confirmed, part in parts.items():
            for is_wanted, mask in ((True, wanted), (False, ~wanted)):
                found = _ranges(month, grain, item.days & part & mask, item.state)
                about = item.state, item.has_rows, confirmed, is_wanted
                rows += (_Row(begin, end, *about) for begin, end in found)
    missing = wanted & ~(final | provisional | days.quarantined)
    for mask, reason, errcode, retry_at in (*causes, Cause(_EVERY_DAY, NOT_ASKED)):
        found = _ranges(month, grain, mask & missing, "missing")
        why = "missing", None, None, True, reason, errcode, retry_at
        rows += (_Row(begin, end, *why) for begin, end in found)
        missing &= ~mask
    return sorted(rows, key=itemgetter(0))


def _has_ranges(grain: Grain) -> bool:
    return grain in (Grain.DAY, Grain.HOUR)


def _ranges(month: Month, grain: Grain, mask: int, state: str) -> Iterator[tuple[Day, Day]]:
    """Yield the days of a mask as ranges, provisional ones alone, or as whole weeks or months."""
    days = calendar.from_month_mask(mask, month)
    if _has_ranges(grain) and state != "provisional":
        yield from calendar.day_ranges(days)
        return
    for begin in calendar.each_day(days):
        yield begin, readiness.period_end(grain, begin)


@functools.lru_cache(maxsize=1 << 15)
def _salt(appid: str) -> int:
    # Python's own hash of a text differs in each process.
    return hash((int.from_bytes(appid.encode()),))


def _appids(packed: bytes) -> pa.Array:
    text = packed.hex()
    return pa.array([f"wx{text[i : i + 16]}" for i in range(0, len(text), 16)], pa.string())


def _distinct(
    masks: Iterable[array[int]], beside: pa.Array
) -> tuple[list[tuple[int, ...]], pa.Array]:
    """Return the distinct kinds of accounts, and the place of each account's among them.

    A kind has the masks of a footer, zeros for accounts that are not in it, and a number of
    ``beside``.
    """
    kinds: list[tuple[int, ...]] = [()]
    places = pa.repeat(pa.scalar(0, pa.int64()), len(beside))
    columns = [_numbers(pa.uint32(), each) for each in masks]
    rest = pa.repeat(pa.scalar(0, pa.uint32()), len(beside) - len(columns[0]))
    for column in (*(pa.concat_arrays([each, rest]) for each in columns), beside):
        encoded = column.dictionary_encode()
        values, indices = encoded.dictionary.to_pylist(), encoded.indices.cast(pa.int64())
        if len(values) == 1:
            kinds = [(*kind, *values) for kind in kinds]
            continue
        both = pc.add(pc.multiply(places, len(values)), indices).dictionary_encode()
        pairs = (divmod(code, len(values)) for code in both.dictionary.to_pylist())
        kinds = [(*kinds[one], values[other]) for one, other in pairs]
        places = both.indices.cast(pa.int64())
    return kinds, places


def _numbers(kind: pa.DataType, found: array[int]) -> pa.Array:
    return pa.Array.from_buffers(kind, len(found), [None, pa.py_buffer(found)])


class _Picked(NamedTuple):
    """Rows of accounts: what each says is in ``kinds``, at the places of ``own``.

    ``whose`` are the places of the accounts, and ``ends`` are days. ``asked_at`` is in seconds
    since the Unix epoch, and null unless the day is provisional.
    """

    kinds: Sequence[_Row]
    own: pa.Array
    whose: pa.Array
    ends: pa.Array
    asked_at: pa.Array

    @classmethod
    def of(cls, kinds: Sequence[Sequence[_Row]], of_each: pa.Array) -> _Picked:
        """Return the rows of accounts that have those of one of the ``kinds`` each."""
        ends = [0, *accumulate(map(len, kinds))]
        flat = [row for kind in kinds for row in kind]
        # An account gets the places of its rows, as a list.
        places = pa.ListArray.from_arrays(
            pa.array(ends, pa.int32()), pa.array(range(len(flat)), pa.int64())
        )
        lists = places.take(of_each)
        own, whose = lists.flatten(), pc.list_parent_indices(lists)
        last = pa.array([row.end_date for row in flat], pa.int32()).take(own)
        return cls(flat, own, whose, last, pa.nulls(len(own), pa.int64()))

    def _column(self, values: Iterable[object], kind: pa.DataType) -> pa.Array:
        return pa.array(values, kind).take(self.own)

    def with_times(self, known: Coverage, order: pa.Array) -> _Picked:
        """Return the rows with the times of the answers that provisional days rest on.

        ``order`` has the places of the accounts in the footer.
        """
        asked = _numbers(pa.uint64(), known.asked)
        last = pc.bit_wise_and(asked, pa.scalar(_SECONDS, pa.uint64())).cast(pa.uint32())
        own = _numbers(pa.uint32(), known.rests_on)
        times = pc.if_else(pc.equal(own, 0), last, pc.min_element_wise(own, last))
        keys = pc.shift_right(asked, pa.scalar(32, pa.uint64())).cast(pa.int64())
        # By account and day, as the numbers of a footer are.
        by_day = pc.scatter(times, keys, max_index=32 * len(order) - 1)
        begin = calendar.month_begin(known.month)
        days = (x.begin_date - begin if x.state == "provisional" else None for x in self.kinds)
        account = pc.multiply(order.take(self.whose).cast(pa.int32()), 32)
        found = by_day.take(pc.add(account, self._column(days, pa.int32())))
        # Old days that were asked once have one time together.
        is_old = pa.scalar(OLD_DAYS, pa.int32()), pa.scalar(None, pa.int32())
        old = self._column((x.state == "provisional" for x in self.kinds), pa.bool_())
        old = by_day.take(pc.add(account, pc.if_else(old, *is_old)))
        found = pc.coalesce(found, old)
        return self._replace(asked_at=pc.if_else(pc.equal(found, 0), None, found).cast(pa.int64()))

    def joined(self) -> _Picked:
        """Return the rows with neighbouring ranges of equal days as one."""
        numbers = {what: number for number, what in enumerate({row[2:] for row in self.kinds})}
        begins = self._column((row.begin_date for row in self.kinds), pa.int32())
        what = self._column((numbers[row[2:]] for row in self.kinds), pa.int32())
        is_same = pc.equal(pc.add(self.ends[:-1], 1), begins[1:])
        for column in (what, self.whose, self.asked_at.fill_null(0)):
            is_same = pc.and_(is_same, pc.equal(column[:-1], column[1:]))
        is_new, edge = pc.invert(is_same), pa.array([True] * bool(len(begins)), pa.bool_())
        first = pc.indices_nonzero(pa.concat_arrays([edge, is_new]))
        last = pc.indices_nonzero(pa.concat_arrays([is_new, edge]))
        own, whose, asked_at = (x.take(first) for x in (self.own, self.whose, self.asked_at))
        return _Picked(self.kinds, own, whose, self.ends.take(last), asked_at)

    def table(self, dataset: str, appids: pa.Array) -> pa.Table:
        """Return the rows as they are in a file."""
        types = {name: COVERAGE.field(name).type for name in COVERAGE.names}
        columns = {
            "dataset": pa.repeat(pa.scalar(dataset, pa.string()), len(self.own)),
            "appid": appids.take(self.whose),
            "params": pa.repeat(pa.scalar("", pa.string()), len(self.own)),
        }
        values = zip(*self.kinds, strict=True) if self.kinds else [()] * len(_Row._fields)
        for name, column in zip(_Row._fields, values, strict=True):
            columns[name] = self._column(column, types[name])
        columns["end_date"] = self.ends.cast(types["end_date"])
        columns["asked_at"] = pc.multiply(self.asked_at, 1_000_000).cast(types["asked_at"])
        return pa.table(columns, schema=COVERAGE)
