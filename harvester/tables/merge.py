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
from harvester.tables.coverage import OLD_DAYS, AccountDays, AskTimes
from harvester.tables.day_rows import DecodeResult
from harvester.tables.row_difference import unchanged_days
from harvester.tables.row_groups import Provenance, account_slices, into_row_groups

OLD_AGE = 30
"""Age in Beijing days that a day must exceed at its first answer to be old."""

_NO_MORE: tuple[str, Iterator[Slice]] = "\U0010ffff", iter(())
"""Account behind the last one of a file: its text sorts after every appid, and it has no rows."""


class AnsweredOn(NamedTuple):
    """The Beijing day of an answer, as far as it settles days, and what follows from it.

    ``settled`` is the mask of the days that are final if the answer has rows of them, and ``old``
    that of the days that lie more than `OLD_AGE` days before it. ``last_age`` is the one of the
    dataset's days with rows. ``day`` is 0 if an empty answer may settle nothing. Only days of
    ``periods`` can be empty: a week or a month is its first day.
    """

    day: Day
    settled: int
    old: int
    last_age: int
    periods: int


class DecodedAnswer(NamedTuple):
    """An answer, its content, its origin, and its day."""

    answer: RawAnswer
    decoded: DecodeResult[Slice]
    provenance: Provenance
    on: AnsweredOn


class EmptyAnswer(NamedTuple):
    """An answer without rows of a day: when it was asked for, and its Beijing day.

    ``is_followed`` is True if a later day of the same month had rows by then.
    """

    asked_at: int
    on: Day
    is_followed: bool


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
    same, known once the account is merged. ``empty`` has the last empty answer of each day that
    evidence may settle; day 0 is the first of the month.
    """

    appid: str
    month: Month
    known: AccountDays
    rows: dict[Day, Slice] = field(default_factory=dict)
    rejected: dict[Day, RejectedDay] = field(default_factory=dict)
    applied: int = 0
    unchanged: set[Day] = field(default_factory=set)
    empty: dict[int, EmptyAnswer] = field(default_factory=dict)

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
            for day, asked in self.known.asked.items():
                if asked.last > answer.asked_at:
                    mask &= ~(1 << day)
        return mask

    def apply(self, accepted: int, new: DecodedAnswer) -> None:
        """Apply an answer to the days of the mask ``accepted``.

        The new rows of a day replace all of its rows. An empty answer removes no rows, and does not
        settle a day with rows. A day without rows stays provisional, and evidence settles it later;
        an old one is final once it was empty on two days. A delayed answer settles no day, and one
        without a count settles its day only at the day's last age.
        """
        decoded, known = new.decoded, self.known
        with_rows = _mask_of(decoded.days, self.month)
        unusable = _mask_of(decoded.quarantined, self.month) if decoded.quarantined else 0
        accepted &= new.on.periods | with_rows | unusable
        bad, good = accepted & unusable, accepted & ~unusable
        filled = good & with_rows
        settled = 0 if decoded.delayed else new.on.settled
        if decoded.incomplete:
            settled &= ~self._unripe(decoded.incomplete, new)
        # An empty answer says nothing about the rows of a day, so it leaves their state as it is.
        final = filled & settled | good & ~filled & known.final
        empty = good & ~(filled | known.with_rows)
        untimed = empty & new.on.old & ~(known.final | known.provisional)
        if known.provisional and (once := good & known.once):
            final |= self._ask_old_again(once, empty, new)
            untimed |= once & empty & ~final
        known.final = known.final & ~good | final
        known.provisional = known.provisional & ~good | good & ~final
        known.quarantined = known.quarantined & ~good | bad
        known.with_rows |= filled
        known.confirmed &= ~filled
        self.applied |= accepted
        if known.provisional or known.asked:
            self._record_asked_at(good & ~untimed, final, new.answer.asked_at)
            self._record_old(untimed, new.answer.asked_at)
        if (empty or self.empty) and not decoded.delayed:
            self._record_empty(good, empty & ~untimed & ~known.again, new)
        if bad or self.rejected:
            self._record_rejections(good, bad, new)
        first = month_begin(self.month)
        for day, rows in decoded.days.items():
            if day >= first and filled >> (day - first) & 1:
                self.rows[day] = rows

    def _record_asked_at(self, good: int, final: int, asked_at: int) -> None:
        for bit in _bits(good):
            if final >> bit & 1:
                self.known.asked.pop(bit, None)
            else:
                known = self.known.asked.get(bit)
                # A first time that is unknown, as told by a wrong clock, would settle the day.
                first = min(known.first, asked_at) if known and known.first else asked_at
                rests_on = known.rests_on if known else 0
                self.known.asked[bit] = AskTimes(first, asked_at, rests_on or asked_at)

    def record_news(self) -> None:
        """Record which days rest on their last answer, once it is known whose rows differ."""
        for bit in _bits(self.changed):
            if bit in self.known.asked:
                times = self.known.asked[bit]
                self.known.asked[bit] = times._replace(rests_on=times.last)

    def _unripe(self, found: Iterable[Day], new: DecodedAnswer) -> int:
        """Return the mask of those days that were not asked at their last age yet."""
        on, mask = calendar.today(new.answer.asked_at), 0
        for day in found:
            asked = self.known.asked.get(day - month_begin(self.month))
            if not asked or not asked.first or on - calendar.today(asked.first) < new.on.last_age:
                mask |= span_mask(day, day, self.month)
        return mask

    def _ask_old_again(self, once: int, empty: int, new: DecodedAnswer) -> int:
        """Record the answer of old days that were empty once; return those that are final now.

        A second empty answer settles them on a later Beijing day.
        """
        asked_on = calendar.today(self.known.asked[OLD_DAYS].last)
        is_later = new.on.day > asked_on and not new.decoded.delayed
        self.known.again |= once & ~empty | (once if is_later else 0)
        return once & empty if is_later else 0

    def _record_old(self, untimed: int, asked_at: int) -> None:
        """Keep one time for all old days that were asked once."""
        if untimed:
            before = self.known.asked.get(OLD_DAYS, AskTimes(asked_at, 0))
            self.known.asked[OLD_DAYS] = AskTimes(before.first, max(before.last, asked_at))
        elif OLD_DAYS in self.known.asked and not self.known.once:
            del self.known.asked[OLD_DAYS]

    def _record_empty(self, good: int, empty: int, new: DecodedAnswer) -> None:
        for bit in _bits(good):
            self.empty.pop(bit, None)
        newest = self.known.with_rows.bit_length() - 1
        for bit in _bits(empty if new.on.day else 0):
            self.empty[bit] = EmptyAnswer(new.answer.asked_at, new.on.day, bit < newest)

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
    schema: pa.Schema, old: Iterable[pa.RecordBatch], changes: Iterable[AccountChange]
) -> Iterator[pa.Table]:
    """Yield the old rows with the changes applied, in row groups.

    ``old`` must be sorted by appid and the dataset's key, and ``changes`` by appid, with each
    account once. Raises DamagedOutput if the appids of the old rows are not sorted.
    """
    return into_row_groups(schema, _interleave(old, changes))


def _interleave(old: Iterable[pa.RecordBatch], changes: Iterable[AccountChange]) -> Iterator[Slice]:
    accounts = _accounts(old)
    appid, rows = next(accounts, _NO_MORE)
    for change in changes:
        while appid < change.appid:
            yield from rows
            appid, rows = next(accounts, _NO_MORE)
        new = sorted(change.rows.items(), key=itemgetter(0))
        replaced: dict[Day, list[Slice]] = {}
        yield from _replace_days(rows if appid == change.appid else (), new, replaced)
        if replaced:
            change.unchanged |= unchanged_days(replaced, change.rows)
    yield from rows
    for _, rows in accounts:
        yield from rows


def _replace_days(
    old: Iterable[Slice],
    new: list[tuple[Day, Slice]],
    replaced: dict[Day, list[Slice]],
) -> Iterator[Slice]:
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


def _accounts(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, Iterator[Slice]]]:
    """Yield each account with its rows. Raises DamagedOutput if the accounts are not sorted."""
    last = ""
    for appid, slices in groupby(account_slices(batches), itemgetter(0)):
        # One pass joins old and new in this order: rows out of it would miss their replacement.
        if appid < last:
            raise DamagedOutput(
                "its rows are not sorted by appid, so new rows cannot be merged into it",
                "move the file away to have its days asked again",
            )
        last = appid
        yield appid, map(itemgetter(1), slices)


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
