"""Merge of new answers into a month: decides which answer counts, then joins old and new rows.

Old and new rows come in key order, appid first, and neither is ever in memory as a whole. Rows of
accounts without new rows pass through as slices, the rows of other accounts are interleaved day by
day, and the result is split into row groups of equal length.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

import pyarrow as pa

from harvester.core import calendar, readiness
from harvester.core.calendar import Day, Month, month_begin
from harvester.core.dataset import DATE_COLUMN, Dataset
from harvester.core.errors import DamagedOutput
from harvester.core.model import RawAnswer
from harvester.tables.columns import Slice, arrow_schema, numbers_of
from harvester.tables.corrections import DecodedAnswer, RejectedDay, corrected_days
from harvester.tables.coverage import (
    APART_SECONDS,
    COUNTS,
    OLD_DAYS,
    AccountDays,
    AccountEvidence,
    AskTimes,
    span_mask,
)
from harvester.tables.row_difference import unchanged_days
from harvester.tables.row_groups import account_slices, into_row_groups

OLD_AGE = 30
"""Age in Beijing days that a day must exceed at its first answer to be old."""

_NEVER = AskTimes(0, 0)
_NO_MORE: tuple[str, Iterator[Slice]] = "\U0010ffff", iter(())
"""Account behind the last one of a file: its text sorts after every appid, and it has no rows."""


@dataclass(slots=True)
class AccountChange:
    """Changes of one account in a month, collected answer by answer, oldest first.

    ``known`` is the account's coverage, which `apply` updates. ``rows`` has the days whose rows are
    replaced, ``rejected`` the days whose last answer was not usable. ``applied`` is the mask of all
    days for which an answer counted. ``unchanged`` are the days of ``rows`` whose old rows say the
    same, known once the account is merged. ``compared`` has the rows of final days that an answer
    has beside, and its Beijing day.
    """

    appid: str
    month: Month
    known: AccountDays
    rows: dict[Day, Slice] = field(default_factory=dict)
    rejected: dict[Day, RejectedDay] = field(default_factory=dict)
    applied: int = 0
    unchanged: set[Day] = field(default_factory=set)
    compared: dict[Day, tuple[Slice, Day]] = field(default_factory=dict)
    corrected: set[Day] = field(default_factory=set)
    evidence: AccountEvidence | None = None

    @property
    def changed(self) -> int:
        """Mask of the days whose rows differ from those of the file before, once merged."""
        return _mask_of(self.rows.keys() - self.unchanged, self.month)

    def settle_by_guide(self) -> None:
        """Settle the days that were empty once and are by their guide; reopen those that are not.

        Reopened days have no time, so the next answer is their first one.
        """
        if self.evidence is None:
            return
        known = self.known
        contradicted = calendar.month_mask(self.evidence.contradicted, self.month)
        for bit in _bits(known.guide & contradicted):
            known.asked[bit] = AskTimes(0, 0)
            known.final &= ~(1 << bit)
            known.guide &= ~(1 << bit)
            known.provisional |= 1 << bit
        if known.asked and self.evidence.silent:
            silent = calendar.month_mask(self.evidence.silent, self.month) & ~known.with_rows
            for bit in _bits(silent & known.provisional & ~known.once):
                del known.asked[bit]
                known.final |= 1 << bit
                known.guide |= 1 << bit
                known.provisional &= ~(1 << bit)

    def accepted_days(self, answer: RawAnswer) -> int:
        """Return the mask of the days for which an answer counts.

        A final day with rows counts only if the user asked to refetch it. No day counts if its last
        answer was asked for later than this one.
        """
        mask = span_mask(answer.window.begin, answer.window.end, self.month)
        if mask & self.known.final:
            mask &= ~(self.known.final & self.known.with_rows) | refetch_mask(answer, self.month)
        # An answer may reach the disk after one that was asked later, as from a raw log.
        if mask & self.known.provisional:
            for day, asked in self.known.asked.items():
                if asked.last > answer.asked_at:
                    mask &= ~(1 << day)
        return mask

    def apply(self, accepted: int, new: DecodedAnswer) -> None:
        """Apply an answer to the days of the mask ``accepted``.

        The new rows of a day replace all of its rows. An empty answer removes no rows, and settles
        no day with rows until all of its ages came twice. A final day without rows counts only
        where the answer has some: it is provisional then, for the ages of its rows, because WeChat
        fills days in parts.
        """
        decoded, known = new.decoded, self.known
        with_rows = _mask_of(decoded.days, self.month)
        unusable = _mask_of(decoded.quarantined, self.month) if decoded.quarantined else 0
        accepted &= new.on.periods | with_rows | unusable
        if settled := known.final & ~known.with_rows:
            accepted &= ~settled | with_rows | refetch_mask(new.answer, self.month)
        bad, good = accepted & unusable, accepted & ~unusable
        filled = good & with_rows
        late = filled & ~known.with_rows & (known.final | known.provisional)
        bare = good & known.provisional & known.with_rows & ~filled if new.is_witness else 0
        final = (filled | bare) & new.on.settled & ~self._unripe(filled, late, bare, new)
        # An empty answer says nothing about the rows of a day, so it leaves their state as it is.
        final |= good & ~filled & known.final
        empty = good & ~(filled | known.with_rows)
        untimed = 0
        if not new.is_doubtful:
            untimed = empty & new.on.old & ~(known.final | known.provisional)
        if known.provisional:
            still_old, settled = self._ask_old_again(good & known.once, late, empty, new)
            untimed |= still_old
            final |= settled | self._settle_empty(empty & ~(untimed | settled), new)
        known.final = known.final & ~good | final
        known.provisional = known.provisional & ~good | good & ~final
        known.quarantined = known.quarantined & ~good | bad
        known.with_rows |= filled
        known.late |= late
        known.differs = {bit: x for bit, x in known.differs.items() if not filled >> bit & 1}
        known.guide &= ~filled
        known.contradicted &= ~filled
        self.applied |= accepted
        if known.provisional or known.asked:
            self._record_asked_at(good & ~untimed, final, new.answer.asked_at)
            self._record_old(untimed, new.answer.asked_at)
        if bad or self.rejected:
            self._record_rejections(good, bad, new)
        self._take_rows(filled, new)

    def compare(self, new: DecodedAnswer) -> None:
        """Take the rows of final days that an answer has beside, to be compared once merged."""
        decoded, first = new.decoded, month_begin(self.month)
        if self.evidence is None or not new.is_witness:
            return
        final = self.known.final & self.known.with_rows
        final &= ~(self.known.quarantined | refetch_mask(new.answer, self.month))
        for bit in _bits(final & _mask_of(decoded.days, self.month)):
            self.compared[first + bit] = decoded.days[first + bit], new.on.day

    def correct(self, old: Sequence[Slice], key: Sequence[str]) -> None:
        """Compare the final days with the account's old rows, and replace the corrected ones."""
        first = month_begin(self.month)
        known = {first + bit: found for bit, found in self.known.differs.items()}
        self.corrected = {*corrected_days(old, self.compared, known, key)}
        self.known.differs = {day - first: found for day, found in known.items()}
        self.rows.update((day, self.compared[day][0]) for day in self.corrected)

    def _take_rows(self, filled: int, new: DecodedAnswer) -> None:
        first, counts = month_begin(self.month), new.on.dataset.counts
        for day, rows in new.decoded.days.items():
            mask = filled & (1 << day - first if day >= first else 0)
            if mask:
                self.rows[day] = rows
                for name, column in zip(COUNTS, counts, strict=False):
                    counted = rows.batch.column(column).slice(rows.offset, rows.length)
                    above = mask if any(counted.to_pylist()) else 0
                    setattr(self.known, name, getattr(self.known, name) & ~mask | above)

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

    def _is_no_witness(self, asked_at: int) -> bool:
        """Return whether WeChat was silent for the account on the Beijing day of an answer."""
        return self.evidence is not None and calendar.today(asked_at) in self.evidence.moments

    def _unripe(self, filled: int, late: int, bare: int, new: DecodedAnswer) -> int:
        """Return the mask of those days with rows that this answer leaves open whatever their age.

        Of an answer that says it is not complete these are all, and else those that lack a count,
        until their last age. A late day is open for the ages of its rows, and one of which this
        answer has no rows, in ``bare``, until all ages have come once more.
        """
        on, refresh = calendar.today(new.answer.asked_at), new.on.dataset.refresh
        doubted = filled if new.is_doubtful else 0
        open_late = filled & ~late & (self.known.late & self.known.provisional | doubted)
        mask = late
        for bit in _bits(open_late | bare):
            asked, day = self.known.asked.get(bit, _NEVER), month_begin(self.month) + bit
            times = asked.first, asked.rests_on
            first, rests_on = (calendar.today(at) if at else on for at in times)
            age, base = refresh.last, readiness.ages_from(new.on.dataset, day, first)
            # Rows that change without end are open no longer than others.
            is_over = on - base >= age + refresh.rows[-1]
            if bare >> bit & 1:
                is_over, age = False, new.on.dataset.last_age + refresh.rows[-1]
                base = rests_on if self.known.late >> bit & 1 else base
            elif not doubted >> bit & 1:
                age, base = refresh.rows[-1], rests_on
            if not (is_over or on - base >= age):
                mask |= 1 << bit
        return mask

    def _settle_empty(self, empty: int, new: DecodedAnswer) -> int:
        """Return the mask of the empty days that this answer makes final."""
        mask = 0
        if self.evidence is None or not new.is_witness:
            return mask
        for bit in _bits(empty & self.known.provisional):
            asked = self.known.asked.get(bit, _NEVER)
            age = new.on.day - calendar.today(asked.first)
            if self._is_second(asked.first, new) and age >= new.on.dataset.refresh.empty[-1]:
                mask |= 1 << bit
        contradicted = calendar.month_mask(self.evidence.contradicted, self.month)
        self.known.contradicted |= mask & contradicted
        return mask

    def _is_second(self, first: int, new: DecodedAnswer) -> bool:
        """Return whether an empty answer is the second one since the time ``first``."""
        is_apart = new.answer.asked_at - first >= APART_SECONDS
        return bool(first) and is_apart and new.on.day > calendar.today(first)

    def _ask_old_again(
        self, once: int, late: int, empty: int, new: DecodedAnswer
    ) -> tuple[int, int]:
        """Record the answer of old days that were asked once; return those that still were.

        The others that it settles are the second item. All days get times of their own that must be
        asked at ages: late ones, and empty ones of an account without any row, of a guide that has
        rows, or of a moment that is no witness.
        """
        if not once:
            return 0, 0
        known, evidence, times = self.known, self.evidence, self.known.asked[OLD_DAYS]
        self._time_old(once & late, times.first, times.first)
        again = once & empty
        is_void = self._is_no_witness(times.first) or self._is_no_witness(times.last)
        is_second = is_void or self._is_second(times.last, new)
        if evidence is None or not new.on.day or not is_second:
            return again, 0
        known.again |= again
        timed = calendar.month_mask(evidence.contradicted, self.month)
        # By an answer that is not complete they are asked at ages, and not each day.
        timed = again & (-1 if evidence.is_unknown or is_void or new.is_doubtful else timed)
        self._time_old(timed, 0 if is_void else times.first, times.first)
        return 0, again & ~timed

    def _time_old(self, days: int, first: int, last: int) -> None:
        self.known.asked |= dict.fromkeys(_bits(days), AskTimes(first, last))
        self.known.again |= days

    def _record_old(self, untimed: int, asked_at: int) -> None:
        """Keep one time for all old days that were asked once."""
        if untimed:
            before = self.known.asked.get(OLD_DAYS, AskTimes(asked_at, 0))
            self.known.asked[OLD_DAYS] = AskTimes(before.first, max(before.last, asked_at))
        elif OLD_DAYS in self.known.asked and not self.known.once:
            del self.known.asked[OLD_DAYS]

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


def merged(
    dataset: Dataset, old: Iterable[pa.RecordBatch], changes: Iterable[AccountChange]
) -> Iterator[pa.Table]:
    """Yield the old rows with the changes applied, in row groups.

    ``old`` must be sorted by appid and the dataset's key, and ``changes`` by appid, with each
    account once. Raises DamagedOutput if the appids of the old rows are not sorted.
    """
    return into_row_groups(arrow_schema(dataset), _interleave(old, changes, dataset.key))


def _interleave(
    old: Iterable[pa.RecordBatch], changes: Iterable[AccountChange], key: Sequence[str]
) -> Iterator[Slice]:
    accounts = _accounts(old)
    appid, rows = next(accounts, _NO_MORE)
    for change in changes:
        while appid < change.appid:
            yield from rows
            appid, rows = next(accounts, _NO_MORE)
        mine: Iterable[Slice] = rows if appid == change.appid else ()
        if change.compared:
            mine = [*mine]
            change.correct(mine, key)
        new = sorted(change.rows.items(), key=itemgetter(0))
        replaced: dict[Day, list[Slice]] = {}
        yield from _replace_days(mine, new, replaced)
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
