"""The coverage of many accounts over many months: ``make`` writes the files, ``read`` reads them.

A third of the accounts lacks days here and there, so that no two masks are alike, as after years of
quotas and failures; no account has rows, which are not read here. ``read`` prints its seconds.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

from benchmarks.workload import Broad, read_broad
from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import Month
from harvester.core.config.settings import Output
from harvester.core.model import Partition
from harvester.manifest.option_values import place_named
from harvester.storage import coverage_scan, partition_writer
from harvester.storage.footer import Footer
from harvester.storage.layout import Tree, open_tree
from harvester.storage.partition_writer import NewFile
from harvester.tables import coverage
from harvester.tables.coverage import AccountDays, Coverage


def make(tree: Tree, broad: Broad) -> None:
    """Write one file for each month of each dataset."""
    dice = random.Random(1)
    for name in broad.datasets:
        for month in calendar.each_month(calendar.day_range(broad.begin, broad.end)):
            draft = NewFile(tree.store, tree.name(Partition(name, month, 0)), CATALOGUE[name])
            footer = Footer(_ragged(broad, month, dice), {})
            partition_writer.write(draft, (), lambda footer=footer: footer)  # type: ignore[misc]


def _ragged(broad: Broad, month: Month, dice: random.Random) -> Coverage:
    whole = (1 << calendar.month_length(month)) - 1
    known = {}
    for number, appid in enumerate(broad.appids):
        final = whole & dice.getrandbits(31) if number % 10 < 3 else whole
        known[appid] = AccountDays(final=final, with_rows=final)
    return coverage.empty(month).updated(known)


def read(tree: Tree, broad: Broad) -> None:
    """Survey the files as a run does; prints the seconds, and what is missing."""
    wanted = calendar.day_range(broad.begin, broad.end)
    want = {name: dict.fromkeys(broad.appids, wanted) for name in broad.datasets}
    begun = time.perf_counter()
    states = coverage_scan.read(tree, want, calendar.instant(broad.end + 1000), CATALOGUE).states
    missing = coverage_scan.to_ask(states, want, None).days
    seconds = time.perf_counter() - begun
    lacking = sum(calendar.count_days(each) for of in missing.values() for each in of.values())
    print(json.dumps({"seconds": seconds, "missing": lacking}))


def main(verb: str, at: str, place: str) -> None:
    """Do one of the two."""
    endpoint = sys.argv[4] if len(sys.argv) > 4 else None
    tree = open_tree(Output(place_named(place), endpoint=endpoint))
    {"make": make, "read": read}[verb](tree, read_broad(Path(at)))


if __name__ == "__main__":
    main(*sys.argv[1:4])
