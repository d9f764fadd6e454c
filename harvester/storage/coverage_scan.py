"""Coverage of the files: each account's days by state, read from the footers alone."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Literal, NamedTuple, TypeAlias

from harvester.core import calendar
from harvester.core.calendar import Day, DaySet
from harvester.core.dataset import Dataset
from harvester.core.day_states import DaysInState, ExplainedDays, answered_states
from harvester.core.model import DayRange
from harvester.core.text.safe_text import safe_text
from harvester.planning.wanted_days import Missing, Wanted
from harvester.storage import layout, partition_reader, quarantine
from harvester.storage.layout import Tree
from harvester.storage.publication import QuarantinedDay
from harvester.tables.coverage import COUNTS, OLD_DAYS, AskTimes, Coverage, once
from harvester.tables.evidence import (
    Evidence,
    GuideDays,
    GuidedDays,
    History,
    guided_days,
    is_twice_empty,
    old_days_to_ask,
)
from harvester.tables.merge import AccountEvidence

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
        self.no_ask_today &= inside
        self.answered &= inside
        self.with_rows &= inside
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
        if self.sparse or not self.with_rows:
            return calendar.NO_DAYS
        final = self.answered & ~self.provisional
        explained = (final | self.twice) & ~self.contradicted | self.everywhere | self.told
        begin, end = calendar.oldest(self.with_rows), calendar.newest(self.with_rows)
        return self.empty & ~explained & calendar.day_range(begin, end)


def day_ranges_of(appid: str, dataset: str, found: DaySet) -> Iterator[DayRange]:
    """Yield a day set as ranges of consecutive days."""
    for begin, end in calendar.day_ranges(found):
        yield DayRange(appid, dataset, calendar.date_of(begin), calendar.date_of(end))


def gaps(states: Mapping[str, Mapping[str, States]]) -> dict[tuple[str, str], DaySet]:
    """Return the suspicious days by dataset and appid."""
    return {
        (dataset, appid): found
        for dataset, of_dataset in states.items()
        for appid, of_account in of_dataset.items()
        if (found := of_account.suspicious)
    }


def suspicious(states: dict[str, dict[str, States]]) -> Iterator[DayRange]:
    """Yield the ranges of empty days between days with rows."""
    for (dataset, appid), found in gaps(states).items():
        yield from day_ranges_of(appid, dataset, found)


def lacking(
    states: Mapping[str, Mapping[str, States]], want: Wanted
) -> Iterator[tuple[tuple[str, str], DaySet]]:
    """Yield the wanted days that are not covered, each account's with its dataset and appid."""
    for dataset, of_dataset in states.items():
        for appid, state in of_dataset.items():
            wanted = want[dataset][appid]
            # Nearly all accounts lack none, and sets of eleven years are long.
            if state.answered != wanted and (days := wanted & ~state.covered):
                yield (dataset, appid), days


class Scan(NamedTuple):
    """The wanted days by dataset, appid and state, and the evidence for empty days by dataset."""

    states: dict[str, dict[str, States]]
    evidence: dict[str, Evidence]

    def of(self, want: Wanted) -> Scan:
        """Return the scan with the states of the accounts of these wanted days alone."""
        states = {name: {x: self.states[name][x] for x in want[name]} for name in want}
        return self._replace(states=states)


def read(
    tree: Tree,
    want: Wanted,
    now: float,
    datasets: Mapping[str, Dataset],
    buckets: Collection[int] | None = None,
) -> Scan:
    """Read the states of the wanted days. Raises StoreError and OtherVersion.

    ``now`` is in seconds since the Unix epoch. ``datasets`` are those of the manifest. ``buckets``
    are those that a run holds, None for all: files of others are neither read nor evidence.
    """
    scans = {
        name: _read_dataset(tree, name, of_dataset, now, buckets)
        for name, of_dataset in want.items()
    }
    moments, alive = _silent_moments(scans), _with_rows(scans)
    found = Scan({}, {})
    for name, of_dataset in want.items():
        accounts, dataset = scans[name], datasets[name]
        histories = {appid: each.history for appid, each in accounts.items()}
        evidence = found.evidence[name] = Evidence(dataset, now, histories, of_dataset)
        guides = scans.get(dataset.guide.dataset) if dataset.guide else None
        for appid, account in accounts.items():
            guide = None
            if guides and dataset.guide and (whose := guides.get(appid)):
                guide = whose.as_guide(dataset.guide.column, datasets[dataset.guide.dataset])
            beside = AccountEvidence(
                moments=moments.get(appid, frozenset()), is_unknown=appid not in alive
            )
            evidence.accounts[appid] = account.weighed(dataset, guide, beside)
        states = found.states[name] = {}
        for appid, wanted in of_dataset.items():
            states[appid] = accounts[appid].judged(appid, evidence)
            states[appid].clip_to(wanted)
    return found


def _read_dataset(
    tree: Tree,
    name: str,
    wanted: dict[str, DaySet],
    now: float,
    buckets: Collection[int] | None,
) -> dict[str, _AccountScan]:
    # A bucket has accounts that this job does not name, and they are evidence for the others.
    accounts = defaultdict(_AccountScan, {appid: _AccountScan() for appid in wanted})
    for coverage in _coverages(tree, name, wanted, buckets):
        _add_month(accounts, coverage.asked_until(now))
    return accounts


def _silent_moments(scans: Mapping[str, dict[str, _AccountScan]]) -> dict[str, frozenset[Day]]:
    """Return the Beijing days whose empty answers are no witnesses, by appid.

    On these WeChat answered a day without rows that has some by now, in any dataset.
    """
    found = defaultdict[str, set[Day]](set)
    for accounts in scans.values():
        for appid, account in accounts.items():
            if account.late:
                found[appid].update(account.moments())
    return {appid: frozenset(days) for appid, days in found.items()}


def _with_rows(scans: Mapping[str, dict[str, _AccountScan]]) -> set[str]:
    """Return the accounts that have a row in any dataset."""
    return {
        appid
        for accounts in scans.values()
        for appid, account in accounts.items()
        if account.states.with_rows
    }


def to_ask(states: dict[str, dict[str, States]], want: Wanted, refetch: Refetch | None) -> Missing:
    """Return the days that a run requests."""
    again = {} if refetch is None else refetched(states, want, refetch)
    days: Wanted = {}
    for dataset, of_dataset in want.items():
        days[dataset] = {}
        for appid, wanted in of_dataset.items():
            state = states[dataset][appid]
            chosen = again.get(dataset, {}).get(appid, calendar.NO_DAYS)
            days[dataset][appid] = wanted & (~state.no_ask_today | chosen)
    return Missing(days, again)


def refetched(states: dict[str, dict[str, States]], want: Wanted, state: Refetch) -> Wanted:
    """Return the days that ``--refetch`` treats as missing."""
    if state == "all":
        return want
    # A refused day is missing anyway.
    if state == "refused":
        return {}
    return {
        dataset: {
            appid: chosen
            for appid, of_account in of_dataset.items()
            if (chosen := getattr(of_account, state))
        }
        for dataset, of_dataset in states.items()
    }


def _coverages(
    tree: Tree, dataset: str, wanted: dict[str, DaySet], buckets: Collection[int] | None
) -> Iterator[Coverage]:
    """Yield the coverage of each file that may hold wanted days, newest month first."""
    everything = calendar.NO_DAYS
    # Nearly all accounts want the same days.
    for of_account in set(wanted.values()):
        everything |= of_account
    # The months beside them too: what confirms a day may lie there, and options narrow a run.
    months = {month + step for month in calendar.each_month(everything) for step in (-1, 0, 1)}
    located = layout.partitions(tree, dataset, buckets)
    wanted_files = (file for each, file in located.items() if each.month in months)
    for footer in partition_reader.footers(tree.store, wanted_files):
        yield footer.coverage


@dataclass(slots=True)
class _AccountScan:
    """One account's days as the footers have them.

    ``once`` and ``again`` are the old days that were empty at their first answer, and ``old`` has
    those in ``once`` by month, with their time. ``counts`` are those of `coverage.COUNTS`, and
    ``differs`` has the final days of which an answer had other rows, with its Beijing day.
    """

    states: States = field(default_factory=States)
    once: DaySet = calendar.NO_DAYS
    again: DaySet = calendar.NO_DAYS
    late: DaySet = calendar.NO_DAYS
    old: list[tuple[DaySet, AskTimes]] = field(default_factory=list)
    differs: dict[Day, Day] = field(default_factory=dict)
    counts: list[DaySet] = field(default_factory=lambda: [calendar.NO_DAYS] * len(COUNTS))

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
        """Return the days as those of a guide by one of the columns of ``Dataset.counts``."""
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
            if reopened := states.guide & guide.active:
                states.guide &= ~reopened
                states.provisional |= reopened
                states.no_ask_today &= ~reopened
                states.asked |= {day: AskTimes(0, 0) for day in calendar.each_day(reopened)}
            found = guided_days(dataset, states.with_rows, self._empty(), guide)
            silent, waiting, denied = found
            denied |= self.once & guide.active
            silent |= self.once & guide.sure & ~guide.active
        if dataset.gapless and states.with_rows:
            begin, end = calendar.oldest(states.with_rows), calendar.newest(states.with_rows)
            denied |= states.provisional & ~states.with_rows & calendar.day_range(begin, end)
        if dataset.guide and not dataset.guide.spares:
            return beside._replace(thinned=silent, waiting=waiting, contradicted=denied)
        return beside._replace(silent=silent, waiting=waiting, contradicted=denied)

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
                if not own.contradicted & one and is_twice_empty(asked):
                    states.twice |= one
                if is_due and evidence.is_reopened(appid, day, asked):
                    states.again |= one
            if not is_due:
                states.no_ask_today |= one
        states.contradicted |= own.contradicted
        for day, on in self.differs.items():
            # A newer day is in the window of the newest one.
            if on == evidence.today - 1 and on - day >= dataset.span:
                states.no_ask_today &= ~calendar.one_day(day)
        if self.once or self.again:
            self._judge_old(evidence, own)
        states.again &= ~states.no_ask_today
        return states

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


def _add_month(accounts: dict[str, _AccountScan], coverage: Coverage) -> None:
    # Cached, because thousands of accounts have the same mask.
    day_set = cache(partial(calendar.from_month_mask, month=coverage.month))
    begin = calendar.month_begin(coverage.month)
    masks = zip(coverage.appids, *coverage.masks.values(), strict=True)
    for place, (appid, final, provisional, bad, rows, *others) in enumerate(masks):
        account = accounts[appid]
        if coverage.differs:
            differs = coverage.differs_of(place)
            account.differs.update((begin + bit, found.day) for bit, found in differs.items())
        states = account.states
        states.no_ask_today |= day_set(final | bad)
        states.answered |= day_set(final | provisional)
        states.with_rows |= day_set(rows)
        # Most months have none of them, and a lookup costs more than the test.
        if provisional:
            asked = coverage.asked_of(place)
            account.add_asked(begin, asked, day_set(once(provisional, asked)))
            states.provisional |= day_set(provisional)
        if bad:
            states.quarantined |= day_set(bad)
        if any(others):
            again, late, guide, contradicted, *counts = map(day_set, others)
            account.again |= again
            account.late |= late
            states.guide |= guide
            states.contradicted |= contradicted
            account.counts = [*map(operator.or_, account.counts, counts)]


def quarantined_days(tree: Tree, states: dict[str, dict[str, States]]) -> Iterator[QuarantinedDay]:
    """Yield the quarantined days among the wanted ones, with their reasons.

    The coverage decides: an answer in quarantine may be older than a good answer of its day.
    """
    for dataset, of_dataset in states.items():
        for entry in quarantine.entries(tree, dataset):
            state, day = of_dataset.get(entry.appid), calendar.day_of(entry.day)
            if state is not None and calendar.has_day(state.quarantined, day):
                yield QuarantinedDay(entry.appid, dataset, entry.day, safe_text(entry.reason))
