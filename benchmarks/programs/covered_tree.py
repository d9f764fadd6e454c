"""Makes an output in which everything is known and nobody had a row, through the store itself."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.workload import Broad, read_broad
from harvester import coverage, days
from harvester.catalogue import CATALOGUE
from harvester.coverage import AccountDays, Coverage
from harvester.days import Month
from harvester.store import partitions
from harvester.store.disk import Disk
from harvester.store.layout import Partition, Tree
from harvester.store.partitions import Draft, Footer


def main(broad: Broad, root: Path) -> None:
    """Write one file for each month of each dataset."""
    tree = Tree(Disk(root))
    everything = days.day_range(broad.begin, broad.end)
    for name in broad.datasets:
        for month in days.each_month(everything):
            partition = Partition(name, month, 0)
            temp = tree.temp(0, "benchmark")
            draft = Draft(tree.store, temp, tree.name(partition), CATALOGUE[name])
            footer = Footer(known_month(broad, month), {})
            partitions.write(draft, (), lambda footer=footer: footer)  # type: ignore[misc]


def known_month(broad: Broad, month: Month) -> Coverage:
    """A month of which every wanted day is final."""
    mask = days.month_mask(days.day_range(broad.begin, broad.end), month)
    known = AccountDays(final=mask, with_rows=mask)
    return coverage.empty(month).updated(dict.fromkeys(broad.appids, known))


if __name__ == "__main__":
    main(read_broad(Path(sys.argv[1])), Path(sys.argv[2]))
