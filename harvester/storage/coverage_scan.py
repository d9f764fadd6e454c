"""Coverage of the files: each account's days by state, read from the footers alone."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import cache, partial
from typing import Literal, NamedTuple, TypeAlias

from harvester.core import calendar
from harvester.core.calendar import Day, DaySet
from harvester.core.dataset import Dataset
from harvester.core.model import DayRange
from harvester.core.text.safe_text import safe_text
from harvester.planning.wanted_days import Missing, Wanted
from harvester.storage import layout, partition_reader, quarantine
from harvester.storage.account_scan import AccountScan, States
from harvester.storage.layout import Tree
from harvester.storage.publication import QuarantinedDay
from harvester.tables.coverage import AccountEvidence, Coverage, once
from harvester.tables.evidence import Evidence

Refetch: TypeAlias = Literal["all", "empty", "provisional", "quarantined", "refused"]


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


def first_days(states: Mapping[str, Mapping[str, States]]) -> dict[str, Day]:
    """Return the oldest day with rows of each account that has any, in all datasets."""
    found = defaultdict[str, DaySet](int)
    for of_dataset in states.values():
        for appid, state in of_dataset.items():
            found[appid] |= state.with_rows
    return {appid: calendar.oldest(days) for appid, days in found.items() if days}


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
) -> dict[str, AccountScan]:
    # A bucket has accounts that this job does not name, and they are evidence for the others.
    accounts = defaultdict(AccountScan, {appid: AccountScan() for appid in wanted})
    for coverage in _coverages(tree, name, wanted, buckets):
        _add_month(accounts, coverage.asked_until(now))
    return accounts


def _silent_moments(scans: Mapping[str, dict[str, AccountScan]]) -> dict[str, frozenset[Day]]:
    """Return the Beijing days whose empty answers are no witnesses, by appid.

    On these WeChat answered a day without rows that has some by now, in any dataset.
    """
    found = defaultdict[str, set[Day]](set)
    for accounts in scans.values():
        for appid, account in accounts.items():
            if account.late:
                found[appid].update(account.moments())
    return {appid: frozenset(days) for appid, days in found.items()}


def _with_rows(scans: Mapping[str, dict[str, AccountScan]]) -> set[str]:
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


def _add_month(accounts: dict[str, AccountScan], coverage: Coverage) -> None:
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
