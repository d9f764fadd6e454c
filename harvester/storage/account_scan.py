"""One account's days of one dataset by state, as the footers have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from harvester.core import calendar
from harvester.core.calendar import Day, DaySet
from harvester.core.dataset import Dataset
from harvester.core.day_states import DaysInState, ExplainedDays, answered_states
from harvester.planning.rechecks import recheck_days
from harvester.planning.wanted_days import Wanted
from harvester.tables.coverage import COUNTS, OLD_DAYS, AccountEvidence, AskTimes
from harvester.tables.evidence import (
    Evidence,
    GuideDays,
    GuidedDays,
    History,
    guided_days,
    old_days_to_ask,
)

Refetch: TypeAlias = Literal["all", "empty", "provisional", "quarantined", "refused"]


@dataclass(slots=True)
class States:
    """One account's days of one dataset, as sets.

    ``no_ask_today`` days need no request today, ``answered`` days have a good answer, ``with_rows``
    days have rows, ``provisional`` days are requested again on a later day, and the last answer of
    ``quarantined`` days was rejected. Final empty days that do not rest on two answers rest on a
    ``guide`` or a ``stretch``, or are ``contradicted``. Those of the ``stretch``, and ``silent``
    ones by a guide, are final by other files. Of provisional days in ``twice`` two answers agree
    that they are empty. All empty days of a ``sparse`` dataset are ordinary. Days ``everywhere``
    are empty for all accounts, and those in ``again`` are asked again because late rows came.
    ``told`` are gaps that an earlier run has told. ``asked`` has the times of provisional days,
    and ``old_asked`` is when the first old day was asked, 0 if no time of one is known.
    """

    no_ask_today: DaySet = calendar.NO_DAYS
    answered: DaySet = calendar.NO_DAYS
    with_rows: DaySet = calendar.NO_DAYS
    provisional: DaySet = calendar.NO_DAYS
    quarantined: DaySet = calendar.NO_DAYS
    guide: DaySet = calendar.NO_DAYS
    silent: DaySet = calendar.NO_DAYS
    stretch: DaySet = calendar.NO_DAYS
    contradicted: DaySet = calendar.NO_DAYS
    twice: DaySet = calendar.NO_DAYS
    everywhere: DaySet = calendar.NO_DAYS
    again: DaySet = calendar.NO_DAYS
    told: DaySet = calendar.NO_DAYS
    asked: dict[Day, AskTimes] = field(default_factory=dict)
    old_asked: int = 0
    sparse: bool = False

    def clip_to(self, inside: DaySet) -> None:
        """Remove all other days."""
        self.no_ask_today = _within(self.no_ask_today, inside)
        self.answered = _within(self.answered, inside)
        self.with_rows = _within(self.with_rows, inside)
        self.provisional &= inside
        self.quarantined &= inside
        self.again &= inside
        self.contradicted &= inside

    def by_state(
        self, wanted: DaySet, missing: Iterable[ExplainedDays], *, is_paused: bool
    ) -> Iterator[DaysInState]:
        """Yield the known and wanted days by their state. ``missing`` explains those that lack.

        Of paused accounts no run says why days are missing.
        """
        known = self.answered, self.provisional, self.quarantined, self.with_rows
        yield from answered_states(*known)
        if is_paused:
            lacking = wanted & ~(self.answered | self.quarantined)
            yield DaysInState(lacking, "missing", reason="paused")
        for item in missing:
            yield DaysInState(item.days, "missing", reason=item.word)

    @property
    def covered(self) -> DaySet:
        """Days with an answer, or that need none today."""
        return self.no_ask_today | self.answered

    @property
    def unanswered(self) -> DaySet:
        """Days with rejected answers only."""
        return self.quarantined & ~self.answered

    @property
    def empty(self) -> DaySet:
        """Days that were answered without rows."""
        return self.covered & ~self.with_rows & ~self.quarantined

    def by_witness(self) -> dict[str, DaySet]:
        """Return the final days by what they rest on, in the words of the table `coverage`."""
        final = self.answered & ~(self.provisional | self.quarantined)
        empty = final & ~self.with_rows
        guide, stretch = empty & (self.guide | self.silent), empty & self.stretch
        contradicted = empty & self.contradicted & ~guide
        return {
            "rows": final & self.with_rows,
            "two_answers": empty & ~(guide | stretch | contradicted),
            "guide": guide,
            "stretch": stretch & ~(guide | contradicted),
            "contradicted": contradicted,
        }

    @property
    def suspicious(self) -> DaySet:
        """Empty days between days with rows that nothing explains."""
        # Most accounts have none.
        empty = calendar.NO_DAYS if self.sparse or not self.with_rows else self.empty
        if not empty:
            return calendar.NO_DAYS
        final = self.answered & ~self.provisional
        explained = (final | self.twice) & ~self.contradicted | self.everywhere | self.told
        begin, end = calendar.oldest(self.with_rows), calendar.newest(self.with_rows)
        return empty & ~explained & calendar.day_range(begin, end)


_NO_COUNTS = (calendar.NO_DAYS,) * len(COUNTS)


@dataclass(slots=True)
class AccountScan:
    """One account's days as the footers have them.

    ``once`` and ``again`` are the old days that were empty at their first answer, and ``old`` has
    the days of ``once`` by month, with their time. ``counts`` are those of `coverage.COUNTS`, and
    ``differs`` has the final days of which an answer had other rows, with its Beijing day.
    """

    states: States = field(default_factory=States)
    once: DaySet = calendar.NO_DAYS
    again: DaySet = calendar.NO_DAYS
    late: DaySet = calendar.NO_DAYS
    old: list[tuple[DaySet, AskTimes]] = field(default_factory=list)
    differs: dict[Day, Day] = field(default_factory=dict)
    counts: Sequence[DaySet] = _NO_COUNTS

    def set_days(self, days: Sequence[DaySet]) -> None:
        """Take the days of all masks, in the order of `coverage.MASKS`."""
        final, provisional, bad, rows, again, late, guide, contradicted, *counts = days
        self.again, self.late = again, late
        self.counts = counts if any(counts) else _NO_COUNTS
        states = self.states
        states.no_ask_today, states.answered = either(final, bad), either(final, provisional)
        states.with_rows, states.provisional, states.quarantined = rows, provisional, bad
        states.guide, states.contradicted = guide, contradicted

    def add_asked(self, begin: Day, asked: dict[int, AskTimes], once: DaySet) -> None:
        """Add the times of the provisional days of a month that begins on a day."""
        if OLD_DAYS in asked:
            self.old.append((once, asked.pop(OLD_DAYS)))
            self.states.old_asked = min(times.first for _, times in self.old)
            self.once |= once
        self.states.asked.update((begin + day, times) for day, times in asked.items())

    @property
    def history(self) -> History:
        """The days as evidence for other accounts."""
        states = self.states
        filled = self.late & states.provisional & states.with_rows
        return History(states.answered, states.with_rows, self.late, filled)

    def moments(self) -> Iterator[Day]:
        """Yield the Beijing days of the first answers of days that have late rows."""
        for day in calendar.each_day(self.late & self.states.provisional):
            asked = self.states.asked.get(day)
            if asked and calendar.today(asked.first) < calendar.today(asked.rests_on):
                yield calendar.today(asked.first)

    def as_guide(self, column: str, dataset: Dataset) -> GuideDays:
        """Return the days as a guide. ``column`` is one of ``Dataset.counts``."""
        states = self.states
        answered = states.answered & ~states.quarantined
        active = self.counts[dataset.counts.index(column)]
        return GuideDays(answered, active, answered & ~states.provisional, states.asked)

    def weighed(
        self, dataset: Dataset, guide: GuideDays | None, beside: AccountEvidence
    ) -> AccountEvidence:
        """Return the evidence about the empty days; guided days that a guide denies are open."""
        states = self.states
        silent, waiting, denied = GuidedDays()
        if guide:
            self._reopen(states.guide & guide.active)
            found = guided_days(dataset, states.with_rows, self._empty(), guide)
            silent, waiting, denied = found
            denied |= self.once & guide.active
            silent |= self.once & guide.sure & ~guide.active
            if dataset.guide and dataset.guide.is_exact:
                beside = beside._replace(active=guide.active)
        if dataset.gapless and states.with_rows:
            begin, end = calendar.oldest(states.with_rows), calendar.newest(states.with_rows)
            denied |= states.provisional & ~states.with_rows & calendar.day_range(begin, end)
        if dataset.guide and not dataset.guide.spares:
            return beside._replace(thinned=silent, waiting=waiting, contradicted=denied)
        return beside._replace(silent=silent, waiting=waiting, contradicted=denied)

    def _reopen(self, denied: DaySet) -> None:
        """Make days provisional that a guide was silent about, and has rows of by now."""
        states = self.states
        states.guide &= ~denied
        states.provisional |= denied
        states.no_ask_today &= ~denied
        states.asked |= {day: AskTimes(0, 0) for day in calendar.each_day(denied)}

    def _empty(self) -> dict[Day, AskTimes]:
        """Return the times of the empty days that have times of their own."""
        asked, with_rows = self.states.asked, self.states.with_rows
        return {day: x for day, x in asked.items() if not calendar.has_day(with_rows, day)}

    def judged(self, appid: str, evidence: Evidence) -> States:
        """Return the states, once it is decided which provisional days need no request now."""
        states, dataset, own = self.states, evidence.dataset, evidence.accounts[appid]
        states.sparse = dataset.sparse
        states.everywhere = evidence.empty_everywhere
        states.silent = silent = own.silent & states.provisional & ~states.with_rows
        states.provisional &= ~silent
        states.no_ask_today |= silent
        for day, asked in states.asked.items():
            one = calendar.one_day(day)
            if states.with_rows & one:
                is_late = bool(self.late & one)
                is_due = evidence.is_due_with_rows(day, asked, is_late=is_late)
            elif silent & one:
                continue
            else:
                is_due = evidence.is_due(appid, day, asked)
                if asked.are_two:
                    states.twice |= one
                if is_due and evidence.is_reopened(appid, day, asked):
                    states.again |= one
            if not is_due:
                states.no_ask_today |= one
        states.contradicted |= own.contradicted
        for day, on in self.differs.items():
            # Of a month that owes nothing else no file is written, so it is owed itself.
            if on == evidence.today - 1:
                states.no_ask_today &= ~calendar.one_day(day)
        if self.once or self.again:
            self._judge_old(evidence, own)
        states.again &= ~states.no_ask_today
        self._draw(appid, evidence)
        return states

    def _draw(self, appid: str, evidence: Evidence) -> None:
        """Ask final days again by lot, beside a newest day without an answer: once a morning."""
        states, wanted = self.states, evidence.wanted[appid]
        days = wanted & recheck_days(evidence.dataset, appid, evidence.today)
        if days and not calendar.has_day(states.covered, calendar.newest(wanted)):
            drawn = {x: final & days for x, final in states.by_witness().items() if final & days}
            evidence.accounts[appid] = evidence.accounts[appid]._replace(drawn=drawn)
            states.no_ask_today &= ~sum(drawn.values())

    def _judge_old(self, evidence: Evidence, own: AccountEvidence) -> None:
        states, once = self.states, self.once & ~own.silent
        old = once | self.again
        due = old_days_to_ask(History(states.answered, states.with_rows), once, self.again)
        due |= once & own.contradicted
        for days, times in self.old:
            if {calendar.today(times.first), calendar.today(times.last)} & own.moments:
                due |= days & once
                states.again |= days & once
        asked = (days for days, times in self.old if calendar.today(times.last) == evidence.today)
        states.no_ask_today |= once & ~due | sum(asked)
        # Each stretch by itself: one that is asked again opens no other.
        stretches = (calendar.day_range(*ends) for ends in calendar.day_ranges(old if due else 0))
        settled = old & ~sum(stretch for stretch in stretches if stretch & due)
        states.stretch = settled & once
        states.provisional &= ~states.stretch


def either(one: DaySet, other: DaySet) -> DaySet:
    """Return both sets as one. A new one takes memory, and thousands of accounts have the same."""
    return one | other if one and other else one or other


def _within(days: DaySet, inside: DaySet) -> DaySet:
    """Return the days that are in another set as well: that one where they are the same."""
    return inside if days == inside else days & inside


class Scan(NamedTuple):
    """The wanted days by dataset, appid and state, and the evidence for empty days by dataset."""

    states: dict[str, dict[str, States]]
    evidence: dict[str, Evidence]

    def of(self, want: Wanted) -> Scan:
        """Return the scan with the states of the accounts of these wanted days alone."""
        states = {name: {x: self.states[name][x] for x in want[name]} for name in want}
        return self._replace(states=states)
