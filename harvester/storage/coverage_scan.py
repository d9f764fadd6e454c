"""Coverage of the files: each account's days by state, read from the footers alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache, partial
from typing import Literal, TypeAlias

from harvester.core import calendar
from harvester.core.calendar import Day, DaySet
from harvester.core.dataset import Dataset
from harvester.core.model import DayRange, Partition
from harvester.core.text.safe_text import safe_text
from harvester.planning.wanted_days import Missing, Wanted
from harvester.storage import footer_index, layout, quarantine
from harvester.storage.account_scan import AccountScan, Scan, States, either
from harvester.storage.backends.base import FileInfo
from harvester.storage.layout import Tree
from harvester.storage.publication import QuarantinedDay
from harvester.tables.coverage import MASKS, AccountEvidence, Coverage, once
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
    if tree.listing is None:
        tree = tree.listed_once()
    found = footer_index.coverages(tree, _files(tree, want, buckets))
    return scan_of(((place.dataset, each) for place, each in found), want, now, datasets)


def scan_of(
    coverages: Iterable[tuple[str, Coverage]],
    want: Wanted,
    now: float,
    datasets: Mapping[str, Dataset],
) -> Scan:
    """Return the states of the wanted days by the coverage of all months, each with its dataset."""
    months = {name: _Months(of_dataset) for name, of_dataset in want.items()}
    for name, coverage in coverages:
        months[name].add(coverage.asked_until(now))
    scans = {name: each.accounts() for name, each in months.items()}
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


def _files(
    tree: Tree, want: Wanted, buckets: Collection[int] | None
) -> Iterator[tuple[Partition, FileInfo]]:
    """Yield the files that may hold wanted days, newest month of each dataset first."""
    for dataset, wanted in want.items():
        everything = calendar.NO_DAYS
        # Nearly all accounts want the same days.
        for of_account in set(wanted.values()):
            everything |= of_account
        # The months beside them too: what confirms a day may lie there, and options narrow a run.
        months = {month + step for month in calendar.each_month(everything) for step in (-1, 0, 1)}
        for place, file in layout.partitions(tree, dataset, buckets).items():
            if place.month in months:
                yield place, file


class _Months:
    """The months of one dataset, put together by account."""

    def __init__(self, appids: Iterable[str]) -> None:
        # A bucket has accounts that the job does not name, and they are evidence for the others.
        self._accounts = defaultdict(AccountScan, {appid: AccountScan() for appid in appids})
        self._own = defaultdict[str, list[DaySet]](_no_days)
        self._shared = defaultdict[tuple[str, ...], list[DaySet]](_no_days)

    def add(self, coverage: Coverage) -> None:
        """Add a month. A mask that all of its accounts have is kept once for all of them."""
        # Cached, because thousands of accounts have the same mask.
        day_set = cache(partial(calendar.from_month_mask, month=coverage.month))
        appids, begin = coverage.appids, calendar.month_begin(coverage.month)
        shared = self._shared[appids]
        for number, masks in enumerate(coverage.masks.values()):
            if masks.count(masks[0] if masks else 0) == len(masks):
                shared[number] |= day_set(masks[0]) if masks else calendar.NO_DAYS
                continue
            for appid, mask in zip(appids, masks, strict=True):
                if mask:
                    self._own[appid][number] |= day_set(mask)
        for place, provisional in enumerate(coverage.masks["provisional"]):
            if provisional:
                asked = coverage.asked_of(place)
                old = day_set(once(provisional, asked))
                self._accounts[appids[place]].add_asked(begin, asked, old)
        for place in coverage.differing():
            found = coverage.differs_of(place)
            differs = {begin + bit: each.day for bit, each in found.items()}
            self._accounts[appids[place]].differs.update(differs)

    def accounts(self) -> dict[str, AccountScan]:
        """Return the accounts, once all months are there."""
        days: dict[str, list[DaySet]] = self._own
        for appids, shared in self._shared.items():
            for appid in appids:
                own = days.get(appid)
                days[appid] = [*map(either, own, shared)] if own else shared
        for appid, of_account in days.items():
            self._accounts[appid].set_days(of_account)
        return self._accounts


def _no_days() -> list[DaySet]:
    return [calendar.NO_DAYS] * len(MASKS)


def quarantined_days(tree: Tree, states: dict[str, dict[str, States]]) -> Iterator[QuarantinedDay]:
    """Yield the quarantined days among the wanted ones, with their reasons.

    The coverage decides: an answer in quarantine may be older than a good answer of its day.
    """
    for dataset, of_dataset in states.items():
        for entry in quarantine.entries(tree, dataset):
            state, day = of_dataset.get(entry.appid), calendar.day_of(entry.day)
            if state is not None and calendar.has_day(state.quarantined, day):
                yield QuarantinedDay(entry.appid, dataset, entry.day, safe_text(entry.reason))
