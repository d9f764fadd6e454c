"""Rows of the table `coverage`, made of a footer and of what a run knows beside it.

Thousands of accounts have the same days: rows are made for each kind of account, and Arrow takes
them for each account.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, partial
from itertools import accumulate
from operator import itemgetter
from typing import Any, NamedTuple

import pyarrow as pa

from harvester.core import calendar, readiness
from harvester.core.calendar import Day, Month
from harvester.core.dataset import Dataset, Grain
from harvester.core.day_states import NOT_ASKED, Cause, DaysBeside, answered_states
from harvester.tables import arrow_functions as pc
from harvester.tables.columns import neighbours, numbers_of
from harvester.tables.coverage import OLD_DAYS, SECONDS, Coverage, appids_of
from harvester.tables.derived import COVERAGE

PIECE_ROWS = 1 << 15
"""Most rows of a row group of the table, before equal ranges are joined."""

_EVERY_DAY = -1
_MASKS = ("final", "provisional", "quarantined", "with_rows", "guide", "contradicted")
"""Masks of a footer that say how a day stands, in the order of `_rows_of_kind`."""


@dataclass(frozen=True)
class DatasetDays:
    """Days of one dataset as a run knows them beside the files, by appid."""

    dataset: Dataset
    accounts: Mapping[str, DaysBeside]

    @cached_property
    def _kinds(self) -> dict[int, DaysBeside]:
        """The days of each kind of account by their identity: hashes of long sets take time."""
        return {id(days): days for days in (DaysBeside(), *self.accounts.values())}

    @cached_property
    def _whose(self) -> list[int]:
        """The number of the kind of each account."""
        numbers = {key: number for number, key in enumerate(self._kinds)}
        return [numbers[id(days)] for days in self.accounts.values()]

    @cached_property
    def _split(self) -> Callable[[bytes], tuple[pa.Array, ...]]:
        # Cached, because most months have the same accounts.
        return cache(self._split_accounts)

    def marks(self) -> dict[Month, int]:
        """Return a number for each month, another one if any account has other days there.

        It is made of sums over accounts, for each day and what it is.
        """
        salts = [0] * len(self._kinds)
        for appid, kind in zip(self.accounts, self._whose, strict=True):
            salts[kind] += _salt(appid)
        steps = Counter[Day]()
        for (*days, causes), salt in zip(self._kinds.values(), salts, strict=True):
            for cause in (*map(Cause, days, DaysBeside._fields), *causes):
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
        # Most manifests have a few datasets.
        if not known.packed and not self.accounts:
            return
        month, grain = known.month, self.dataset.grain
        # Of accounts that began on days of their own most are the same in a month.
        found = [_masks_of(days, month) for days in self._kinds.values()]
        distinct = {each: number for number, each in enumerate(dict.fromkeys(found))}
        numbers = pa.array([distinct[each] for each in found], pa.int64())
        appids, whose = self._joined(known, pa.array([bool(each.wanted) for each in found]))
        masks = [known.masks[name] for name in _MASKS]
        kinds, of_each = _distinct(masks, numbers.take(whose))
        beside = [*distinct]
        rows_of = partial(_rows_of_kind, month, grain)
        rows = _KindRows.of(rows_of(kind[:-1], beside[kind[-1]]) for kind in kinds)
        order = pc.array_sort_indices(appids)
        of_each, times = of_each.take(order), _times(known, len(order))
        for part in rows.parts(of_each):
            picked = _Picked.of(rows, of_each[part])
            if times is not None:
                picked = picked.with_times(times, order[part], calendar.month_begin(month))
                picked = picked.joined() if _has_ranges(grain) else picked
            yield picked.table(self.dataset.name, appids.take(order[part]))

    def _joined(self, known: Coverage, has_days: pa.Array) -> tuple[pa.Array, pa.Array]:
        """Return the accounts of a footer, then all others with wanted days, and their kinds."""
        theirs, kinds, others, of_others = self._split(known.packed)
        chosen = has_days.take(of_others)
        return (
            pa.concat_arrays([theirs, others.filter(chosen)]),
            pa.concat_arrays([kinds, of_others.filter(chosen)]),
        )

    def _split_accounts(self, packed: bytes) -> tuple[pa.Array, ...]:
        """Return the accounts of a footer with their kinds, and all others with theirs."""
        theirs = pa.array(appids_of(packed), pa.string())
        every = pa.array([*self.accounts], pa.string())
        whose = pa.array(self._whose, pa.int64())
        kinds = whose.take(pc.index_in(theirs, every)).fill_null(0)
        is_other = pc.invert(pc.is_in(every, theirs))
        return theirs, kinds, every.filter(is_other), whose.filter(is_other)


class _Row(NamedTuple):
    """A row without its account."""

    begin_date: Day
    end_date: Day
    state: str
    has_rows: bool | None = None
    witness: str | None = None
    wanted: bool = True
    reason: str | None = None
    errcode: int | None = None
    retry_at: int | None = None


def _masks_of(days: DaysBeside, month: Month) -> DaysBeside:
    """Return the part of a month, with masks in the place of sets of days."""
    causes = (each._replace(days=calendar.month_mask(each.days, month)) for each in days.causes)
    wanted, stretch, silent = (calendar.month_mask(each, month) for each in days[:3])
    return DaysBeside(wanted, stretch, silent, tuple(each for each in causes if each.days))


def _rows_of_kind(
    month: Month, grain: Grain, masks: tuple[int, ...], beside: DaysBeside
) -> Sequence[_Row]:
    """Return the rows of all accounts with these days; provisional days have one each."""
    final, provisional, quarantined, with_rows, guide, contradicted = masks
    wanted, stretch, silent, causes = beside
    guide |= silent & provisional
    known = final | provisional, provisional & ~(stretch | silent), quarantined, with_rows
    days = Counter[tuple[Any, ...]]()
    stretch &= provisional
    rests_on: dict[str | None, int] = {
        "guide": guide,
        "contradicted": contradicted,
        "stretch": stretch,
        "two_answers": ~(guide | contradicted | stretch),
    }
    for item in answered_states(*known):
        parts = rests_on
        if item.state != "final" or item.has_rows:
            parts = {"rows" if item.state == "final" else None: _EVERY_DAY}
        for witness, part in parts.items():
            for is_wanted, mask in ((True, wanted), (False, ~wanted)):
                days[item.state, item.has_rows, witness, is_wanted] = item.days & part & mask
    missing = wanted & ~(final | provisional | quarantined)
    # Several runs, or windows, may have left days missing for one and the same reason.
    for mask, *why in (*causes, Cause(_EVERY_DAY, NOT_ASKED)):
        days["missing", None, None, True, *why] |= mask & missing
        missing &= ~mask
    rows = list[_Row]()
    for about, mask in days.items():
        rows += (_Row(*each, *about) for each in _ranges(month, grain, mask, about[0]))
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


@lru_cache(maxsize=1 << 15)
def _salt(appid: str) -> int:
    # Python's own hash of a text differs in each process.
    return hash((int.from_bytes(appid.encode()),))


def _distinct(
    masks: Collection[array[int]], beside: pa.Array
) -> tuple[list[tuple[int, ...]], pa.Array]:
    """Return the distinct kinds of accounts, and the place of each account's among them.

    A kind has the masks of a footer, zeros for accounts that are not in it, and a number of
    ``beside``.
    """
    width, count = len(masks) + 1, len(beside)
    cells = array("I", bytes(4 * width * count))
    for place, column in enumerate((*masks, array("I", numbers_of(beside, "q")))):
        cells[place : width * len(column) : width] = column
    rows = pa.Array.from_buffers(pa.binary(4 * width), count, [None, pa.py_buffer(cells)])
    encoded = rows.dictionary_encode()
    kinds = [struct.unpack(f"{width}I", each) for each in encoded.dictionary.to_pylist()]
    return kinds, encoded.indices


def _numbers(kind: pa.DataType, found: array[int]) -> pa.Array:
    return pa.Array.from_buffers(kind, len(found), [None, pa.py_buffer(found)])


def _times(known: Coverage, accounts: int) -> pa.Array | None:
    """Return the times of the answers that provisional days rest on, None without such days.

    Day ``n`` of a place in the footer is at place × 32 + n. Times are in seconds since the Unix
    epoch, and 0 if they are unknown.
    """
    if not any(known.masks["provisional"]):
        return None
    asked, own = _numbers(pa.uint64(), known.asked), _numbers(pa.uint32(), known.rests_on)
    last = pc.bit_wise_and(asked, pa.scalar(SECONDS, pa.uint64())).cast(pa.uint32())
    times = pc.if_else(pc.equal(own, 0), last, pc.min_element_wise(own, last))
    keys = pc.shift_right(asked, pa.scalar(32, pa.uint64())).cast(pa.int32())
    return pc.scatter(times, keys, max_index=32 * accounts - 1)


class _KindRows(NamedTuple):
    """The rows of each kind of account, one kind after the other.

    ``places`` has a list for each kind, of the places of its rows. ``what`` is a number that is the
    same for rows that differ in their days alone.
    """

    rows: pa.RecordBatch
    what: pa.Array
    places: pa.ListArray

    @classmethod
    def of(cls, kinds: Iterable[Sequence[_Row]]) -> _KindRows:
        """Return the rows of these kinds."""
        kinds = [*kinds]
        flat = [row for kind in kinds for row in kind]
        ends = pa.array([0, *accumulate(map(len, kinds))], pa.int32())
        names = _Row._fields
        values = zip(*flat, strict=True) if flat else [()] * len(names)
        types = (COVERAGE.field(name).type for name in names)
        numbers = {what: number for number, what in enumerate({row[2:] for row in flat})}
        return cls(
            pa.RecordBatch.from_arrays([*map(pa.array, values, types)], names=[*names]),
            pa.array([numbers[row[2:]] for row in flat], pa.int32()),
            pa.ListArray.from_arrays(ends, pa.array(range(len(flat)), pa.int64())),
        )

    def parts(self, of_each: pa.Array) -> Iterator[slice]:
        """Yield the accounts whose rows are a row group, given the kind of each account."""
        lengths = pc.list_value_length(self.places).take(of_each)
        ends, begin, done = numbers_of(pc.cumulative_sum(lengths), "i"), 0, 0
        while begin < len(ends):
            # Of a month whose every day is another one the rows take much memory.
            end = max(begin + 1, bisect_right(ends, done + PIECE_ROWS))
            yield slice(begin, end)
            begin, done = end, ends[end - 1]


class _Picked(NamedTuple):
    """Rows of accounts.

    ``first`` and ``last`` are the places in ``kinds`` of the rows with their first and last days.
    ``whose`` are the places of the accounts. ``asked_at`` is in seconds since the Unix epoch, and
    null unless the day is provisional.
    """

    kinds: _KindRows
    first: pa.Array
    last: pa.Array
    whose: pa.Array
    asked_at: pa.Array

    @classmethod
    def of(cls, kinds: _KindRows, of_each: pa.Array) -> _Picked:
        """Return the rows of accounts of these kinds."""
        lists = kinds.places.take(of_each)
        own = lists.flatten()
        none = pa.nulls(len(own), pa.uint32())
        return cls(kinds, own, own, pc.list_parent_indices(lists), none)

    def with_times(self, times: pa.Array, order: pa.Array, begin: Day) -> _Picked:
        """Return the rows with the times of the answers that provisional days rest on.

        ``times`` are those of `_times`, ``order`` has the places of the accounts in the footer, and
        the month begins on the day ``begin``.
        """
        rows = self.kinds.rows
        days = pc.subtract(rows["begin_date"].cast(pa.int32()), begin)
        days = pc.if_else(pc.equal(rows["state"], "provisional"), days, None).take(self.first)
        account = pc.multiply(order.take(self.whose).cast(pa.int32()), 32)
        # Old days that were asked once have one time together.
        old = pc.if_else(pc.is_valid(days), pa.scalar(OLD_DAYS, pa.int32()), None)
        found = (times.take(pc.add(account, each)) for each in (days, old))
        asked_at = pc.coalesce(*found)
        return self._replace(asked_at=pc.if_else(pc.equal(asked_at, 0), None, asked_at))

    def joined(self) -> _Picked:
        """Return the rows with neighbouring ranges of equal days as one."""
        begins, ends = (self.kinds.rows[name].cast(pa.int32()) for name in _Row._fields[:2])
        behind = pc.add(ends, 1).take(self.last[:-1])
        is_same = pc.equal(behind, begins.take(self.first[1:]))
        for column in (self.kinds.what.take(self.first), self.whose, self.asked_at.fill_null(0)):
            is_same = pc.and_(is_same, pc.equal(*neighbours(column)))
        is_new, edge = pc.invert(is_same), pa.array([True] * bool(len(self.first)), pa.bool_())
        first = pc.indices_nonzero(pa.concat_arrays([edge, is_new]))
        last = pc.indices_nonzero(pa.concat_arrays([is_new, edge]))
        whose, asked_at = self.whose.take(first), self.asked_at.take(first)
        return _Picked(self.kinds, self.first.take(first), self.last.take(last), whose, asked_at)

    def table(self, dataset: str, appids: pa.Array) -> pa.Table:
        """Return the rows as they are in a file."""
        rows, count = self.kinds.rows, len(self.first)
        columns = {
            "dataset": pa.repeat(pa.scalar(dataset, pa.string()), count),
            "appid": appids.take(self.whose),
            "params": pa.repeat(pa.scalar("", pa.string()), count),
            **dict(zip(_Row._fields, rows.take(self.first).columns, strict=True)),
            "end_date": rows["end_date"].take(self.last),
            "asked_at": pc.multiply(self.asked_at.cast(pa.int64()), 1_000_000).cast(
                COVERAGE.field("asked_at").type
            ),
        }
        return pa.table(columns, schema=COVERAGE)
