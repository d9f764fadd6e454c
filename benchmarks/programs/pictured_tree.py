"""Makes an output whose days are there or empty, at random or as in real ones, without rows."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.workload import Broad, read_broad
from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import Day, DaySet, Month
from harvester.core.model import Partition
from harvester.storage import partition_writer
from harvester.storage.backends.local import LocalStore
from harvester.storage.footer import Footer
from harvester.storage.layout import Tree
from harvester.storage.partition_writer import NewFile
from harvester.tables import coverage
from harvester.tables.coverage import AccountDays, AskTimes

EMPTY = 0.35
"""Share of the days that are empty at random."""

FRESH = 7
"""Newest days that may change, in an output as in real life."""


def main(broad: Broad, root: Path, kind: str) -> None:
    """Write one file for each month of each dataset."""
    tree = Tree(LocalStore(root))
    for name in broad.datasets:
        days = dict(at_random(broad) if kind == "random" else as_in_life(broad))
        for month in calendar.each_month(calendar.day_range(broad.begin, broad.end)):
            known = {appid: _month(broad, month, *of_account) for appid, of_account in days.items()}
            partition = Partition(name, month, 0)
            draft = NewFile(tree.store, tree.name(partition), CATALOGUE[name])
            footer = Footer(coverage.empty(month).updated(known), {})
            partition_writer.write(draft, (), lambda footer=footer: footer)  # type: ignore[misc]


def at_random(broad: Broad) -> Iterator[tuple[str, tuple[DaySet, DaySet]]]:
    """Yield the answered days of each account, and those with rows: each day by itself."""
    chance = random.Random(3)
    every, count = calendar.day_range(broad.begin, broad.end), broad.end - broad.begin + 1
    for appid in broad.appids:
        rows = sum(1 << at for at in range(count) if chance.random() >= EMPTY)
        yield appid, (every, rows << (broad.begin - calendar.FIRST_DAY))


def as_in_life(broad: Broad) -> Iterator[tuple[str, tuple[DaySet, DaySet]]]:
    """Yield them for accounts that began some day and publish on most days.

    One of fifty was refused a while ago, and one of twenty lacks a few days.
    """
    chance = random.Random(4)
    for appid in broad.appids:
        first = chance.randint(broad.begin, broad.end)
        first = broad.begin if chance.random() < 0.4 else first
        last = chance.randint(first, broad.end) if chance.random() < 0.02 else broad.end
        rows = calendar.day_range(first, last)
        for _ in range(chance.randrange(1 + (last - first) // 120)):
            rows &= ~_stretch(chance, first, last, 9)
        answered = calendar.day_range(broad.begin, last)
        if chance.random() < 0.05:
            answered &= ~_stretch(chance, broad.begin, last, 3)
        yield appid, (answered, rows & answered)


def _stretch(chance: random.Random, first: Day, last: Day, most: int) -> DaySet:
    begin = chance.randint(first, last)
    return calendar.day_range(begin, begin + chance.randrange(most))


def _month(broad: Broad, month: Month, answered: DaySet, rows: DaySet) -> AccountDays:
    fresh = calendar.day_range(broad.end - FRESH + 1, broad.end) & answered
    masks = (calendar.month_mask(x, month) for x in (answered & ~fresh, fresh, rows))
    final, provisional, with_rows = masks
    at = int(calendar.instant(broad.end + 1, 11 * 60))
    asked = {day: AskTimes(at, at) for day in range(31) if provisional >> day & 1}
    return AccountDays(final, provisional, with_rows=with_rows, asked=asked)


if __name__ == "__main__":
    main(read_broad(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3])
