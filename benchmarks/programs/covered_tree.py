"""Makes an output with complete coverage and no rows, through the storage itself."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.workload import Broad, read_broad
from harvester.catalogue import CATALOGUE
from harvester.core import calendar, readiness
from harvester.core.calendar import Month
from harvester.core.model import Partition
from harvester.storage import partition_writer
from harvester.storage.backends.local import LocalStore
from harvester.storage.footer import Footer
from harvester.storage.layout import Tree
from harvester.storage.partition_writer import NewFile
from harvester.tables import coverage
from harvester.tables.coverage import AccountDays, Coverage


def main(broad: Broad, root: Path) -> None:
    """Write one file for each month of each dataset."""
    tree = Tree(LocalStore(root))
    everything = calendar.day_range(broad.begin, broad.end)
    for name in broad.datasets:
        for month in calendar.each_month(everything):
            partition = Partition(name, month, 0)
            draft = NewFile(tree.store, tree.name(partition), CATALOGUE[name])
            footer = Footer(known_month(broad, name, month), {})
            partition_writer.write(draft, (), lambda footer=footer: footer)  # type: ignore[misc]


def known_month(broad: Broad, dataset: str, month: Month) -> Coverage:
    """Return the coverage of a month in which every wanted day is final."""
    wanted = readiness.periods(CATALOGUE[dataset].grain, broad.begin, broad.end)
    mask = calendar.month_mask(wanted, month)
    known = AccountDays(final=mask, with_rows=mask)
    return coverage.empty(month).updated(dict.fromkeys(broad.appids, known))


if __name__ == "__main__":
    main(read_broad(Path(sys.argv[1])), Path(sys.argv[2]))
