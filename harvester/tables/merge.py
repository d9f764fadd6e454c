"""What new answers change in a month, and the old file's rows with those changes put in.

Both sides come in key order, appid first, and neither is ever held whole: rows of accounts nobody
asked about pass through as slices, an account with news is spliced day by day, and the result is
cut into row groups of equal length.
"""

from __future__ import annotations

import functools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from harvester.catalogue.readiness import settled_before
from harvester.core.calendar import Day, Month, instant, month_begin, month_length
from harvester.core.dataset import DATE_COLUMN, Dataset
from harvester.core.errors import StoreError
from harvester.core.model import Answer, Window
from harvester.tables.columns import Slice
from harvester.tables.coverage import AccountDays
from harvester.tables.day_rows import DayRows, DecodeResult
from harvester.tables.row_groups import NewRows, Provenance, into_row_groups, row_group_rows

_AFTER_ALL = "\U0010ffff"
"""Sorts behind every appid."""


class DecodedAnswer(NamedTuple):
    """An answer, what it says, and the days it settles: see `settled_masks`."""

    answer: Answer
    decoded: DecodeResult[DayRows | Slice]
    provenance: Provenance
    settled: tuple[int, int]


class RejectedDay(NamedTuple):
    """A day that an answer put into quarantine."""

    reason: str
    answer: Answer
    run_id: str


@dataclass(slots=True)
class Change:
    """What one account's answers change in a month, gathered answer by answer, oldest first.

    ``known`` begins as the account's coverage and ends as the new one. ``rows`` has the days whose
    rows are replaced, ``refused`` those whose last answer could not be used, and ``taken`` is the
    mask of all days for which an answer counted.
    """

    appid: str
    month: Month
    known: AccountDays
    rows: dict[Day, NewRows | Slice] = field(default_factory=dict)
    rejected: dict[Day, RejectedDay] = field(default_factory=dict)
    applied: int = 0

    def accepted_days(self, answer: Answer) -> int:
        """The mask of the days for which an answer counts.

        A final day is replaced only if a user asked for just that, and no day by an answer older
        than the one it has.
        """
        mask = window_mask(answer.window, self.month)
        if mask & self.known.final:
            mask &= ~self.known.final | refetch_mask(answer, self.month)
        if mask & self.known.provisional:
            for day, asked_at in self.known.asked.items():
                if asked_at > answer.asked_at:
                    mask &= ~(1 << day)
        return mask

    def apply(self, accepted: int, reply: DecodedAnswer) -> None:
        """Let an answer count for days that accept it.

        Rows replace a day's rows wholly; an empty answer removes none, and settles none that were
        not settled before. A delayed one settles no day, whatever its age.
        """
        decoded, known = reply.decoded, self.known
        bad = accepted & _mask(decoded.quarantined, self.month) if decoded.quarantined else 0
        good = accepted & ~bad
        filled = good & _mask(decoded.days, self.month)
        settled, settled_empty = (0, 0) if decoded.delayed else reply.settled
        # Rows are neither less nor more final because an answer is empty now.
        final = filled & settled | good & ~filled & (settled_empty & ~known.with_rows | known.final)
        known.final = known.final & ~good | final
        known.provisional = known.provisional & ~good | good & ~final
        known.quarantined = known.quarantined & ~good | bad
        known.with_rows |= filled
        self.applied |= accepted
        if known.provisional or known.asked:
            self._note_moments(good, final, reply.answer.asked_at)
        if bad or self.rejected:
            self._note_refusals(good, bad, reply)
        first = month_begin(self.month)
        for day, rows in decoded.days.items():
            if day >= first and filled >> (day - first) & 1:
                self.rows[day] = (
                    rows
                    if isinstance(rows, Slice)
                    else NewRows(self.appid, day, rows, reply.provenance)
                )

    def _note_moments(self, good: int, final: int, asked_at: int) -> None:
        for day in _bits(good):
            if final >> day & 1:
                self.known.asked.pop(day, None)
            else:
                self.known.asked[day] = asked_at

    def _note_refusals(self, good: int, bad: int, reply: DecodedAnswer) -> None:
        first = month_begin(self.month)
        for day in _bits(bad):
            reason = reply.decoded.quarantined[first + day]
            self.rejected[first + day] = RejectedDay(reason, reply.answer, reply.provenance.run_id)
        for day in _bits(good):
            self.rejected.pop(first + day, None)


def settled_masks(dataset: Dataset, month: Month, asked_on: Day) -> tuple[int, int]:
    """The days that an answer of that Beijing day makes final: with rows, and without any."""
    with_rows = settled_before(dataset, instant(asked_on), empty=False)
    without = settled_before(dataset, instant(asked_on), empty=True)
    first, length = month_begin(month), month_length(month)
    return _first_bits(with_rows - first, length), _first_bits(without - first, length)


def window_mask(window: Window, month: Month) -> int:
    """The days of a month that lie in a window."""
    return _span_mask(window.begin, window.end, month)


def refetch_mask(answer: Answer, month: Month) -> int:
    """The days that an answer replaces even if they are final, counted from a month's first."""
    shift = answer.window.begin - month_begin(month)
    return answer.refetch << shift if shift >= 0 else answer.refetch >> -shift


@functools.lru_cache(maxsize=4_096)
def _span_mask(begin: Day, end: Day, month: Month) -> int:
    """Remembered, since all accounts are asked for the same days."""
    first, length = month_begin(month), month_length(month)
    begin, end = max(0, begin - first), min(length, end + 1 - first)
    return (1 << end) - (1 << begin) if begin < end else 0


def merged(
    schema: pa.Schema,
    old: Iterable[pa.RecordBatch],
    changes: Iterable[Change],
    rows: int | None = None,
) -> Iterator[pa.Table]:
    """The old rows with the changes put in, a row group at a time; the last may be shorter.

    ``old`` must be sorted by appid and the dataset's key, ``changes`` by appid, each account once.
    Raises StoreError if the old rows turn out not to be sorted.
    """
    return into_row_groups(
        schema, _interleave(_ExistingRows(old), changes), rows or row_group_rows(schema)
    )


def _interleave(old: _ExistingRows, changes: Iterable[Change]) -> Iterator[Slice | NewRows]:
    for change in changes:
        yield from old.rows_before(change.appid)
        yield from _splice(old.rows_of(change.appid), sorted(change.rows.items(), key=_day))
    yield from old.rows_before(_AFTER_ALL)


def _splice(
    mine: Iterable[Slice], news: list[tuple[Day, NewRows | Slice]]
) -> Iterator[Slice | NewRows]:
    """One account's old rows, with the days that are new in the place of the old ones."""
    done = 0
    for piece in mine:
        dates = _dates_of(piece.batch)
        start, stop = piece.offset, piece.offset + piece.length
        if done:
            # A day may reach over the end of a batch.
            start = bisect_right(dates, news[done - 1][0], start, stop)
        while done < len(news) and start < stop and news[done][0] <= dates[stop - 1]:
            day, rows = news[done]
            middle = bisect_left(dates, day, start, stop)
            if middle > start:
                yield Slice(piece.batch, start, middle - start)
            yield rows
            start = bisect_right(dates, day, middle, stop)
            done += 1
        if stop > start:
            yield Slice(piece.batch, start, stop - start)
    yield from (rows for _, rows in news[done:])


def _day(item: tuple[Day, object]) -> Day:
    return item[0]


class _ExistingRows:
    """The rows of a file in order, walked once."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._batches = iter(batches)
        self._batch: pa.RecordBatch | None = None
        self._appids: list[str] = []
        self._edges: list[int] = [0]
        self._run = 0

    def rows_before(self, appid: str) -> Iterator[Slice]:
        """All that is left of accounts that sort before this one."""
        while self._has_rows():
            run = bisect_left(self._appids, appid, self._run)
            yield from self._take(run)
            if run < len(self._appids):
                return

    def rows_of(self, appid: str) -> Iterator[Slice]:
        """The account's own rows; what sorts before must have been taken."""
        while self._has_rows() and self._appids[self._run] == appid:
            yield from self._take(self._run + 1)

    def _take(self, run: int) -> Iterator[Slice]:
        start, stop = self._edges[self._run], self._edges[run]
        self._run = run
        if stop > start:
            yield Slice(self._batch, start, stop - start)

    def _has_rows(self) -> bool:
        while self._run == len(self._appids):
            batch = next(self._batches, None)
            if batch is None:
                return False
            last = self._appids[-1:]
            runs = pc.run_end_encode(batch.column("appid"))
            self._batch, self._run = batch, 0
            self._edges = [0, *runs.run_ends.to_pylist()]
            self._appids = runs.values.to_pylist()
            if any(one >= other for one, other in pairwise(self._appids)) or (
                self._appids and last > self._appids[:1]
            ):
                raise StoreError(
                    "its rows are not sorted by appid, so nothing can be put in",
                    "move the file away to have its days asked again",
                )
        return True


def _dates_of(batch: pa.RecordBatch) -> memoryview:
    """The days of a batch with rows as integers, without a copy."""
    column = batch.column(DATE_COLUMN)
    dates = memoryview(column.buffers()[1]).cast("B").cast("i")
    return dates[column.offset : column.offset + len(column)]


def _mask(found: Iterable[Day], month: Month) -> int:
    mask = 0
    for day in found:
        mask |= _span_mask(day, day, month)
    return mask


def _first_bits(count: int, most: int) -> int:
    return (1 << max(0, min(count, most))) - 1


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
