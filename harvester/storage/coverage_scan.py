"""Coverage of the files: each account's days by state, read from the footers alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal, TypeAlias

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import DaySet, Month
from harvester.core.model import DayRange
from harvester.planning.wanted_days import Wanted
from harvester.storage import layout, partition_reader, quarantine
from harvester.storage.layout import Tree
from harvester.storage.publication import QuarantinedDay
from harvester.tables.coverage import Coverage

Refetch: TypeAlias = Literal["all", "empty", "quarantined", "refused"]


@dataclass(slots=True)
class States:
    """One account's days of one dataset, as sets.

    ``no_ask_today`` days need no request today, ``answered`` days have a good answer, ``with_rows``
    days have rows, ``provisional`` days are requested again on a later day, and the last answer of
    ``quarantined`` days was rejected. Empty days of a ``sparse`` dataset are ordinary.
    """

    no_ask_today: DaySet = calendar.NO_DAYS
    answered: DaySet = calendar.NO_DAYS
    with_rows: DaySet = calendar.NO_DAYS
    provisional: DaySet = calendar.NO_DAYS
    quarantined: DaySet = calendar.NO_DAYS
    sparse: bool = False

    def clip_to(self, inside: DaySet) -> None:
        """Remove all other days."""
        self.no_ask_today &= inside
        self.answered &= inside
        self.with_rows &= inside
        self.provisional &= inside
        self.quarantined &= inside

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
        """Empty days that have days with rows both before and after them."""
        if self.sparse or not self.with_rows:
            return calendar.NO_DAYS
        return self.empty & calendar.day_range(
            calendar.oldest(self.with_rows), calendar.newest(self.with_rows)
        )


def day_ranges_of(appid: str, dataset: str, found: DaySet) -> Iterator[DayRange]:
    """Yield a day set as ranges of consecutive days."""
    for begin, end in calendar.day_ranges(found):
        yield DayRange(appid, dataset, begin, end)


def suspicious(states: dict[str, dict[str, States]]) -> Iterator[DayRange]:
    """Yield the ranges of empty days between days with rows."""
    for dataset, of_dataset in states.items():
        for appid, of_account in of_dataset.items():
            yield from day_ranges_of(appid, dataset, of_account.suspicious)


def read_missing(tree: Tree, want: Wanted, now: float) -> Wanted:
    """Return the wanted days that need a request today. Raises StoreError and OtherVersion.

    ``now`` is in seconds since the Unix epoch, here and below.
    """
    missing: Wanted = {}
    for dataset, of_dataset in want.items():
        known = dict.fromkeys(of_dataset, calendar.NO_DAYS)
        for month, coverage in _coverages(tree, dataset, of_dataset):
            day_set = _day_set_of(month)
            for appid, mask in coverage.no_ask_today(now):
                if appid in known:
                    known[appid] |= day_set(mask)
        missing[dataset] = {
            appid: lacking
            for appid, wanted in of_dataset.items()
            if (lacking := wanted & ~known[appid])
        }
    return missing


def read_states(tree: Tree, want: Wanted, now: float) -> dict[str, dict[str, States]]:
    """Return the wanted days of each account by state. Raises StoreError and OtherVersion."""
    found: dict[str, dict[str, States]] = {}
    for dataset, of_dataset in want.items():
        sparse = CATALOGUE[dataset].sparse
        states = found[dataset] = {appid: States(sparse=sparse) for appid in of_dataset}
        for month, coverage in _coverages(tree, dataset, of_dataset):
            _add_month(states, month, coverage, now)
        for appid, of_account in states.items():
            of_account.clip_to(of_dataset[appid])
    return found


def to_ask(tree: Tree, want: Wanted, now: float, refetch: Refetch | None) -> tuple[Wanted, Wanted]:
    """Return the days a run requests, and those of them whose answers may replace final rows.

    Raises StoreError and OtherVersion.
    """
    missing = read_missing(tree, want, now)
    if refetch is None:
        return missing, {}
    again = refetched(read_states(tree, want, now), want, refetch)
    for dataset, of_dataset in again.items():
        for appid, chosen in of_dataset.items():
            missing[dataset][appid] = missing[dataset].get(appid, calendar.NO_DAYS) | chosen
    return missing, again


def refetched(states: dict[str, dict[str, States]], want: Wanted, state: Refetch) -> Wanted:
    """Return the days that ``--refetch`` treats as missing.

    ``refused`` adds none, because a refused day is missing anyway.
    """
    if state == "all":
        return want
    if state == "refused":
        return {dataset: {} for dataset in want}
    return {
        dataset: {
            appid: chosen
            for appid, of_account in of_dataset.items()
            if (chosen := of_account.empty if state == "empty" else of_account.quarantined)
        }
        for dataset, of_dataset in states.items()
    }


def _coverages(
    tree: Tree, dataset: str, wanted: dict[str, DaySet]
) -> Iterator[tuple[Month, Coverage]]:
    """Yield the coverage of each file that may hold wanted days, newest month first."""
    everything = calendar.NO_DAYS
    # Nearly all accounts want the same days.
    for of_account in set(wanted.values()):
        everything |= of_account
    months = set(calendar.each_month(everything))
    located = layout.partitions(tree, dataset)
    wanted_files = {each: found for each, found in located.items() if each.month in months}
    footers = partition_reader.footers(tree.store, wanted_files.values())
    for partition, footer in zip(wanted_files, footers, strict=True):
        if footer is not None:
            yield partition.month, footer.coverage


def _day_set_of(month: Month) -> Callable[[int], DaySet]:
    """Return the function from a month's mask to its day set."""
    # Cached, because thousands of accounts have the same mask.
    return cache(partial(calendar.from_month_mask, month=month))


def _add_month(states: dict[str, States], month: Month, coverage: Coverage, now: float) -> None:
    found = zip(
        coverage.no_ask_today(now),
        coverage.final,
        coverage.with_rows,
        coverage.provisional,
        coverage.quarantined,
        strict=True,
    )
    day_set = _day_set_of(month)
    for (appid, known), final, rows, provisional, quarantined in found:
        of_account = states.get(appid)
        # A bucket has accounts that this job does not name.
        if of_account is None:
            continue
        of_account.no_ask_today |= day_set(known)
        of_account.answered |= day_set(final | provisional)
        of_account.with_rows |= day_set(rows)
        # Most months have neither, and a lookup costs more than the test.
        if provisional:
            of_account.provisional |= day_set(provisional)
        if quarantined:
            of_account.quarantined |= day_set(quarantined)


def quarantined_days(tree: Tree, states: dict[str, dict[str, States]]) -> Iterator[QuarantinedDay]:
    """Yield the quarantined days among the wanted ones, with their reasons.

    The coverage decides: an answer in quarantine may be older than a good answer of its day.
    """
    for dataset, of_dataset in states.items():
        for entry in quarantine.entries(tree, dataset):
            appid = entry.answer.window.appid
            state = of_dataset.get(appid)
            if state is not None and calendar.has_day(state.quarantined, entry.day):
                yield QuarantinedDay(appid, dataset, entry.day, entry.reason)
