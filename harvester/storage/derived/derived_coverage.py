"""Files of the table `coverage`: made of footers, and of what a run knows beside them.

A side file for each bucket and manifest has a mark for each month, which stands for all that the
file is made of, and for the file itself. Only months with other marks are looked at.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.core import calendar
from harvester.core.calendar import Month
from harvester.core.dataset import Dataset
from harvester.core.day_states import DaysBeside
from harvester.storage import layout
from harvester.storage.backends.base import FileInfo
from harvester.storage.derived import derived_files
from harvester.storage.footer_index import each_coverage
from harvester.storage.layout import DERIVED, Tree
from harvester.storage.state.json_file import SideFile
from harvester.tables import arrow_functions as pc
from harvester.tables import coverage
from harvester.tables.coverage_rows import DatasetDays
from harvester.tables.derived import COVERAGE


@dataclass(frozen=True)
class CoverageUpdate:
    """The table of one bucket, to be brought up to date for a ``manifest``.

    ``files`` are the bucket's data files by month and dataset, and ``days`` are by dataset and
    appid. ``others`` are by dataset the accounts of which another manifest wants it: their rows are
    kept.
    """

    tree: Tree
    bucket: int
    manifest: str
    datasets: Mapping[str, Dataset]
    files: Mapping[Month, Mapping[str, FileInfo]]
    days: Mapping[str, Mapping[str, DaysBeside]]
    others: Mapping[str, set[str]]

    @cached_property
    def _days(self) -> dict[str, DatasetDays]:
        every = self.datasets.items()
        return {name: DatasetDays(each, self.days.get(name, {})) for name, each in every}

    def write(self) -> None:
        """Write the files whose rows differ. Raises StoreError and UsageError."""
        name = f"{DERIVED}/{self.tree.bucket_label(self.bucket)}.{self.manifest}.json"
        side_file = SideFile[dict[str, str]](self.tree.store, name, dict)
        former, files = side_file.read() or {}, self.files
        made_of = {name: days.marks() for name, days in self._days.items()}
        months = files.keys() | {month for marks in made_of.values() for month in marks}
        beside = {month: [marks.get(month) for marks in made_of.values()] for month in months}

        def marks() -> dict[str, str]:
            tables = derived_files.months(self.tree, self.bucket)
            found = {}
            for month in months | tables.keys():
                inputs = {file.name: file.version for file in files.get(month, {}).values()}
                mark = repr((tables.get(month, ""), sorted(inputs.items()), beside.get(month)))
                found[calendar.month_text(month)] = hashlib.sha256(mark.encode()).hexdigest()[:16]
            return found

        due = {text for text, mark in marks().items() if former.get(text) != mark}
        for text in sorted(due, reverse=True):
            month = calendar.parse_month(text)
            place = derived_files.coverage_name(self.tree, self.bucket, month)
            pieces = partial(self._pieces, month, files.get(month, {}))
            derived_files.replace(self.tree, place, pieces)
        if due:
            self.tree.list_again()
            side_file.write(marks())

    def _pieces(
        self, month: Month, files: Mapping[str, FileInfo], old: pq.ParquetFile | None
    ) -> Iterator[pa.Table]:
        """Yield the rows of a month by dataset; those of ``old`` are there."""
        found = each_coverage(self.tree, [files[x] for x in sorted(files)])
        for name in sorted(self.datasets):
            known = next(found) if name in files else None
            made = self._days[name].rows(known or coverage.empty(month))
            if others := self.others.get(name):
                yield _merged(name, made, others, derived_files.rows_of(old, COVERAGE))
            else:
                yield from made
            pa.default_memory_pool().release_unused()


def data_files(
    tree: Tree, datasets: Iterable[str]
) -> Mapping[int, Mapping[Month, Mapping[str, FileInfo]]]:
    """Return the data files of datasets by bucket, month and dataset. Raises as `partitions`."""
    found = defaultdict[int, defaultdict[Month, dict[str, FileInfo]]](lambda: defaultdict(dict))
    for name in datasets:
        for file, info in layout.partitions(tree, name).items():
            found[file.bucket][file.month][name] = info
    return found


def _merged(name: str, made: Iterable[pa.Table], others: set[str], there: pa.Table) -> pa.Table:
    """Return the rows of a dataset, those of other accounts as they are there, if they are."""
    appids = pa.array(others, pa.string())
    kept = pc.and_(pc.equal(there["dataset"], name), pc.is_in(there["appid"], appids))
    there = there.filter(kept)
    mine = pa.concat_tables([COVERAGE.empty_table(), *made])
    mine = mine.filter(pc.invert(pc.is_in(mine["appid"], there["appid"].unique())))
    order = [("appid", "ascending"), ("begin_date", "ascending")]
    return pa.concat_tables([mine, there]).sort_by(order)
