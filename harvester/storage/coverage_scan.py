"""Coverage of the files: each account's days by state, read from the footers alone."""

from __future__ import annotations

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
from harvester.tables.coverage import OLD_DAYS, AskTimes, Coverage, once
from harvester.tables.evidence import Evidence, History, old_days_to_ask

Refetch: TypeAlias = Literal["all", "empty", "provisional", "quarantined", "refused"]


@dataclass(slots=True)
class States:
    """One account's days of one dataset, as sets.

    ``no_ask_today`` days need no request today, ``answered`` days have a good answer, ``with_rows``
    days have rows, ``provisional`` days are requested again on a later day, and the last answer of
    ``quarantined`` days was rejected. ``confirmed`` days are empty by evidence, and all empty days
    of a ``sparse`` dataset are ordinary. Days ``everywhere`` are empty for all accounts. ``told``
    are gaps that an earlier run has told. ``settled`` days are empty and final by what other months
    show. ``asked`` has the times of provisional days.
    """

    no_ask_today: DaySet = calendar.NO_DAYS
    answered: DaySet = calendar.NO_DAYS
    with_rows: DaySet = calendar.NO_DAYS
    provisional: DaySet = calendar.NO_DAYS
    quarantined: DaySet = calendar.NO_DAYS
    confirmed: DaySet = calendar.NO_DAYS
    everywhere: DaySet = calendar.NO_DAYS
    told: DaySet = calendar.NO_DAYS
    settled: DaySet = calendar.NO_DAYS
    asked: dict[Day, AskTimes] = field(default_factory=dict)
    sparse: bool = False

    def clip_to(self, inside: DaySet) -> None:
        """Remove all other days."""
        self.no_ask_today &= inside
        self.answered &= inside
        self.with_rows &= inside
        self.provisional &= inside
        self.quarantined &= inside
        self.confirmed &= inside

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

    @property
    def suspicious(self) -> DaySet:
        """Empty days between days with rows that nothing explains."""
        if self.sparse or not self.with_rows:
            return calendar.NO_DAYS
        explained = self.confirmed | self.everywhere | self.told
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
    found = Scan({}, {})
    for name, of_dataset in want.items():
        # A bucket has accounts that this job does not name, and they are evidence for the others.
        accounts = defaultdict(_AccountScan, {appid: _AccountScan() for appid in of_dataset})
        for coverage in _coverages(tree, name, of_dataset, buckets):
            _add_month(accounts, coverage.asked_until(now))
        histories = {
            appid: History(each.states.answered, each.states.with_rows)
            for appid, each in accounts.items()
        }
        evidence = Evidence(datasets[name], now, histories, histories, of_dataset)
        found.evidence[name] = evidence
        states = found.states[name] = {}
        for appid, wanted in of_dataset.items():
            states[appid] = accounts[appid].judged(appid, evidence)
            states[appid].clip_to(wanted)
    return found


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

    ``once`` and ``again`` are the old days that were empty at their first answer, and ``old_asked``
    is the newest time of those in ``once``.
    """

    states: States = field(default_factory=States)
    once: DaySet = calendar.NO_DAYS
    again: DaySet = calendar.NO_DAYS
    old_asked: int = 0

    def add_asked(self, begin: Day, asked: dict[int, AskTimes]) -> None:
        """Add the times of the provisional days of a month that begins on a day."""
        self.old_asked = max(self.old_asked, asked.pop(OLD_DAYS, AskTimes(0, 0)).last)
        self.states.asked.update((begin + day, times) for day, times in asked.items())

    def judged(self, appid: str, evidence: Evidence) -> States:
        """Return the states, once it is decided which provisional days need no request now."""
        states = self.states
        states.sparse = evidence.dataset.sparse
        states.everywhere = evidence.empty_everywhere
        for day, asked in states.asked.items():
            one = calendar.one_day(day)
            if evidence.waits(appid, day, asked, confirmed=bool(states.confirmed & one)):
                states.no_ask_today |= one
        if self.once or self.again:
            self._judge_old(evidence)
        return states

    def _judge_old(self, evidence: Evidence) -> None:
        states, old = self.states, self.once | self.again
        due = old_days_to_ask(History(states.answered, states.with_rows), self.once, self.again)
        is_asked = calendar.today(self.old_asked) == evidence.today
        states.no_ask_today |= self.once if is_asked else self.once & ~due
        # Each stretch by itself: one that is asked again opens no other.
        stretches = (calendar.day_range(*ends) for ends in calendar.day_ranges(old if due else 0))
        settled = old & ~sum(stretch for stretch in stretches if stretch & due)
        states.provisional &= ~(self.once & settled)
        states.settled = settled & states.empty
        # A gap in a dataset that has none stays one, however often it is asked.
        if not evidence.dataset.gapless:
            states.confirmed |= states.settled


def _add_month(accounts: dict[str, _AccountScan], coverage: Coverage) -> None:
    # Cached, because thousands of accounts have the same mask.
    day_set = cache(partial(calendar.from_month_mask, month=coverage.month))
    begin = calendar.month_begin(coverage.month)
    masks = zip(coverage.appids, *coverage.masks.values(), strict=True)
    for place, (appid, final, provisional, bad, rows, confirmed, again) in enumerate(masks):
        account = accounts[appid]
        states = account.states
        states.no_ask_today |= day_set(final | bad)
        states.answered |= day_set(final | provisional)
        states.with_rows |= day_set(rows)
        # Most months have none of them, and a lookup costs more than the test.
        if provisional:
            asked = coverage.asked_of(place)
            account.once |= day_set(once(provisional, asked))
            account.add_asked(begin, asked)
            states.provisional |= day_set(provisional)
        if bad:
            states.quarantined |= day_set(bad)
        if confirmed:
            states.confirmed |= day_set(confirmed)
        if again:
            account.again |= day_set(again)


def quarantined_days(tree: Tree, states: dict[str, dict[str, States]]) -> Iterator[QuarantinedDay]:
    """Yield the quarantined days among the wanted ones, with their reasons.

    The coverage decides: an answer in quarantine may be older than a good answer of its day.
    """
    for dataset, of_dataset in states.items():
        for entry in quarantine.entries(tree, dataset):
            state, day = of_dataset.get(entry.appid), calendar.day_of(entry.day)
            if state is not None and calendar.has_day(state.quarantined, day):
                yield QuarantinedDay(entry.appid, dataset, entry.day, safe_text(entry.reason))
