"""Merge of new answers into a month: decides which answer counts, then joins old and new rows.

Old and new rows come in key order, appid first, and neither is ever in memory as a whole. Rows of
accounts without new rows pass through as slices, the rows of other accounts are interleaved day by
day, and the result is split into row groups of equal length.
"""

from __future__ import annotations

import functools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import pyarrow as pa

from harvester.core import calendar
from harvester.core.calendar import Day, Month, month_begin
from harvester.core.dataset import DATE_COLUMN
from harvester.core.errors import DamagedOutput
from harvester.core.model import RawAnswer
from harvester.tables.columns import Slice, numbers_of
from harvester.tables.coverage import AccountDays
from harvester.tables.day_rows import DayRows, DecodeResult
from harvester.tables.row_difference import unchanged_days
from harvester.tables.row_groups import NewRows, Provenance, account_slices, into_row_groups

_LAST_AGE = 7
"""Age in days up to which WeChat may still add a count that all rows of a day lack."""

_AFTER_ALL_APPIDS = "\U0010ffff"
"""Text that sorts after every appid."""


class DecodedAnswer(NamedTuple):
    """An answer, its content, its origin, and the masks of days that it settles.

    The first mask is for days with rows, the second for days without.
    """

    answer: RawAnswer
    decoded: DecodeResult[DayRows | Slice]
    provenance: Provenance
    settled: tuple[int, int]


class RejectedDay(NamedTuple):
    """A day that an answer put into quarantine, and the reason."""

    reason: str
    answer: RawAnswer
    run_id: str


@dataclass(slots=True)
class AccountChange:
    """Changes of one account in a month, collected answer by answer, oldest first.

    ``known`` is the account's coverage, which `apply` updates. ``rows`` has the days whose rows are
    replaced, ``rejected`` the days whose last answer was not usable. ``applied`` is the mask of all
    days for which an answer counted. ``unchanged`` are the days of ``rows`` whose old rows say the
    same, known once the account is merged.
    """

    appid: str
    month: Month
    known: AccountDays
    rows: dict[Day, NewRows | Slice] = field(default_factory=dict)
    rejected: dict[Day, RejectedDay] = field(default_factory=dict)
    applied: int = 0
    unchanged: set[Day] = field(default_factory=set)

    @property
    def changed(self) -> int:
        """Mask of the days whose rows differ from those of the file before, once merged."""
        return _mask_of(self.rows.keys() - self.unchanged, self.month)

    def accepted_days(self, answer: RawAnswer) -> int:
        """Return the mask of the days for which an answer counts.

        A final day counts only if the user asked to refetch it. No day counts if its last answer
        was asked for later than this one.
        """
        mask = span_mask(answer.window.begin, answer.window.end, self.month)
        if mask & self.known.final:
            mask &= ~self.known.final | refetch_mask(answer, self.month)
        # An answer may reach the disk after one that was asked later, as from a raw log.
        if mask & self.known.provisional:
            for day, asked_at in self.known.asked.items():
                if asked_at > answer.asked_at:
                    mask &= ~(1 << day)
        return mask

    def apply(self, accepted: int, new: DecodedAnswer) -> None:
        """Apply an answer to the days of the mask ``accepted``.

        The new rows of a day replace all of its rows. An empty answer removes no rows, and does not
        settle a day with rows. A delayed answer settles no day, whatever its age, and an answer
        without a count settles its day only at the day's last age.
        """
        decoded, known = new.decoded, self.known
        bad = accepted & _mask_of(decoded.quarantined, self.month) if decoded.quarantined else 0
        good = accepted & ~bad
        filled = good & _mask_of(decoded.days, self.month)
        settled, settled_empty = (0, 0) if decoded.delayed else new.settled
        if decoded.incomplete:
            settled &= ~_mask_of(_young(decoded.incomplete, new.answer.asked_at), self.month)
        # An empty answer says nothing about the rows of a day, so it leaves their state as it is.
        final = filled & settled | good & ~filled & (settled_empty & ~known.with_rows | known.final)
        known.final = known.final & ~good | final
        known.provisional = known.provisional & ~good | good & ~final
        known.quarantined = known.quarantined & ~good | bad
        known.with_rows |= filled
        self.applied |= accepted
        if known.provisional or known.asked:
            self._record_asked_at(good, final, new.answer.asked_at)
        if bad or self.rejected:
            self._record_rejections(good, bad, new)
        first = month_begin(self.month)
        for day, rows in decoded.days.items():
            if day >= first and filled >> (day - first) & 1:
                self.rows[day] = (
                    rows
                    if isinstance(rows, Slice)
                    else NewRows(self.appid, day, rows, new.provenance)
                )

    def _record_asked_at(self, good: int, final: int, asked_at: int) -> None:
        for bit in _bits(good):
            if final >> bit & 1:
                self.known.asked.pop(bit, None)
            else:
                self.known.asked[bit] = asked_at

    def _record_rejections(self, good: int, bad: int, new: DecodedAnswer) -> None:
        first = month_begin(self.month)
        for bit in _bits(bad):
            reason = new.decoded.quarantined[first + bit]
            self.rejected[first + bit] = RejectedDay(reason, new.answer, new.provenance.run_id)
        for bit in _bits(good):
            self.rejected.pop(first + bit, None)


def refetch_mask(answer: RawAnswer, month: Month) -> int:
    """Return the days of a month that an answer replaces even if they are final, as a mask."""
    shift = answer.window.begin - month_begin(month)
    return answer.refetch << shift if shift >= 0 else answer.refetch >> -shift


# The same few spans are needed for all accounts.
@functools.lru_cache(maxsize=4_096)
def span_mask(begin: Day, end: Day, month: Month) -> int:
    """Return the days of a month from ``begin`` to ``end``, as a mask."""
    return calendar.month_mask(calendar.day_range(begin, end), month)


def merged(
    schema: pa.Schema,
    old: Iterable[pa.RecordBatch],
    changes: Iterable[AccountChange],
    rows: int | None = None,
) -> Iterator[pa.Table]:
    """Yield the old rows with the changes applied, in tables of ``rows`` rows.

    The last table may be shorter. ``old`` must be sorted by appid and the dataset's key, and
    ``changes`` by appid, with each account once. Without ``rows`` each table is a row group. Raises
    DamagedOutput if the appids of the old rows are not sorted.
    """
    return into_row_groups(schema, _interleave(_ExistingRows(old), changes), rows)


def _interleave(old: _ExistingRows, changes: Iterable[AccountChange]) -> Iterator[Slice | NewRows]:
    for change in changes:
        yield from old.rows_before(change.appid)
        new = sorted(change.rows.items(), key=itemgetter(0))
        replaced: dict[Day, list[Slice]] = {}
        yield from _replace_days(old.rows_of(change.appid), new, replaced)
        if replaced:
            change.unchanged |= unchanged_days(replaced, change.rows)
    yield from old.rows_before(_AFTER_ALL_APPIDS)


def _replace_days(
    old: Iterable[Slice],
    new: list[tuple[Day, NewRows | Slice]],
    replaced: dict[Day, list[Slice]],
) -> Iterator[Slice | NewRows]:
    """Yield one account's rows in the order of days; ``new`` replaces the old rows of its days.

    ``replaced`` gets those old rows.
    """

    def drop(day: Day, batch: pa.RecordBatch, start: int, stop: int) -> None:
        if stop > start:
            replaced.setdefault(day, []).append(Slice(batch, start, stop - start))

    done = 0
    for piece in old:
        dates = numbers_of(piece.batch.column(DATE_COLUMN), "i")
        start, stop = piece.offset, piece.offset + piece.length
        if done:
            # The old rows of the last replaced day may continue in this batch.
            day, first = new[done - 1][0], start
            start = bisect_right(dates, day, start, stop)
            drop(day, piece.batch, first, start)
        while done < len(new) and start < stop and new[done][0] <= dates[stop - 1]:
            day, rows = new[done]
            middle = bisect_left(dates, day, start, stop)
            if middle > start:
                yield Slice(piece.batch, start, middle - start)
            yield rows
            start = bisect_right(dates, day, middle, stop)
            drop(day, piece.batch, middle, start)
            done += 1
        if stop > start:
            yield Slice(piece.batch, start, stop - start)
    yield from (rows for _, rows in new[done:])


class _ExistingRows:
    """The rows of a file, read once in their order."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._accounts = groupby(_in_order(batches), itemgetter(0))
        self._appid = ""
        self._slices: Iterator[tuple[str, Slice]] = iter(())

    def rows_before(self, appid: str) -> Iterator[Slice]:
        """Yield the remaining rows of accounts that sort before this one."""
        while self._appid < appid:
            yield from self.rows_of(self._appid)
            self._appid, self._slices = next(self._accounts, (_AFTER_ALL_APPIDS, iter(())))

    def rows_of(self, appid: str) -> Iterator[Slice]:
        """Yield the rows of an account, after `rows_before` of the same account."""
        if self._appid == appid:
            yield from map(itemgetter(1), self._slices)


def _in_order(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, Slice]]:
    """Yield the rows of each account in each batch. Raises DamagedOutput if they are not sorted."""
    last = ""
    for appid, rows in account_slices(batches):
        # One pass joins old and new in this order: rows out of it would miss their replacement.
        if appid < last:
            raise DamagedOutput(
                "its rows are not sorted by appid, so new rows cannot be merged into it",
                "move the file away to have its days asked again",
            )
        last = appid
        yield appid, rows


def _young(found: Iterable[Day], asked_at: int) -> Iterator[Day]:
    """Yield the days that had not reached their last age when they were asked for."""
    return (day for day in found if calendar.today(asked_at) - day <= _LAST_AGE)


def _mask_of(found: Iterable[Day], month: Month) -> int:
    mask = 0
    for day in found:
        mask |= span_mask(day, day, month)
    return mask


def _bits(mask: int) -> Iterator[int]:
    # `calendar.each_day` would do the same on the large integer of a day set, several times slower.
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
