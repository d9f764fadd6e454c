"""Integrity checks of a data file: its rows and its coverage, judged from their values.

A defect is a text for people. Nothing here opens a file: rows come as tables of their key columns,
in the order of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from harvester.core import calendar
from harvester.core.calendar import Month
from harvester.core.dataset import DATE_COLUMN, Dataset
from harvester.core.model import bucket_of
from harvester.tables import arrow_functions as pc
from harvester.tables.columns import neighbours
from harvester.tables.coverage import OLD_DAYS, AccountDays, Coverage


class FileIdentity(NamedTuple):
    """The dataset, the month and the bucket that the name of a file states."""

    dataset: Dataset
    month: Month
    bucket: int
    buckets: int

    def owns(self, appid: str) -> bool:
        """Return whether the account belongs into the file's bucket."""
        return bucket_of(appid, self.buckets) == self.bucket


def coverage_defects(coverage: Coverage, file: FileIdentity) -> Iterator[str]:
    """Yield the defects of a coverage that its own values show."""
    if list(coverage.appids) != sorted(set(coverage.appids)):
        yield "its coverage names accounts twice or out of order"
        return
    if not all(map(file.owns, coverage.appids)):
        yield "it knows of accounts of another bucket"
    length = calendar.month_length(file.month)
    accounts = map(coverage.account, coverage.appids)
    if not all(_is_consistent(known, length) for known in accounts):
        yield "its coverage contradicts itself"


def _is_consistent(known: AccountDays, length: int) -> bool:
    return (
        not known.covered >> length
        and not known.final & known.provisional
        and not known.with_rows & ~(known.final | known.provisional)
        and not (known.again | known.late) & ~(known.final | known.provisional)
        and not (known.guide | known.contradicted) & ~(known.final & ~known.with_rows)
        and (OLD_DAYS in known.asked) == bool(known.once)
        and not sum(1 << day for day in known.asked) & ~(known.provisional | 1 << OLD_DAYS)
    )


@dataclass(slots=True)
class RowCheck:
    """Check of the rows of one file, which are added table by table.

    ``count`` is the number of rows so far, and ``seen`` has the mask of the days with rows of each
    account.
    """

    file: FileIdentity
    coverage: Coverage
    count: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    _last: pa.Table | None = None
    _found: set[str] = field(default_factory=set)

    def add_rows(self, table: pa.Table) -> None:
        """Check the next rows of the file, given as a table of the key columns."""
        if not len(table):
            return
        self.count += len(table)
        # With the last row of the table before, or what lies between the two is not compared.
        ahead = table if self._last is None else pa.concat_tables([self._last, table])
        self._last = table.slice(len(table) - 1)
        if pc.any(_not_behind(ahead)).as_py():
            self._found.add("rows twice or out of order")
        self._note_days(table)

    def defects(self) -> list[str]:
        """Return the defects, after all rows were added."""
        known = dict(zip(self.coverage.appids, self.coverage.masks["with_rows"], strict=True))
        if any(mask & ~known.get(appid, 0) for appid, mask in self.seen.items()):
            self._found.add("rows of days of which its coverage knows none")
        if any(mask & ~self.seen.get(appid, 0) for appid, mask in known.items()):
            self._found.add("no rows of days of which its coverage knows some")
        return sorted(self._found)

    def _note_days(self, table: pa.Table) -> None:
        """Add the days of the rows to ``seen``, and note rows that do not belong into the file."""
        month = self.file.month
        first, length = calendar.month_begin(month), calendar.month_length(month)
        offset = pc.subtract(table.column(DATE_COLUMN).cast(pa.int32()), first)
        inside = pc.and_(pc.greater_equal(offset, 0), pc.less(offset, length))
        if not pc.all(inside).as_py():
            self._found.add("rows of another month")
        # Arrow reduces the rows to a mask for each account: distinct days first, then their bits.
        pairs = pa.table([table.column("appid"), offset], ["appid", "day"]).filter(inside)
        pairs = pairs.group_by(["appid", "day"]).aggregate([])
        bits = pc.shift_left(pa.scalar(1, pa.int64()), pairs.column("day").cast(pa.int64()))
        masks = pa.table([pairs.column("appid"), bits], ["appid", "mask"])
        masks = masks.group_by("appid").aggregate([("mask", "sum")])
        for appid, mask in zip(*(column.to_pylist() for column in masks.columns), strict=True):
            if appid not in self.seen and not self.file.owns(appid):
                self._found.add("rows of accounts of another bucket")
            self.seen[appid] = self.seen.get(appid, 0) | mask


def _not_behind(table: pa.Table) -> pa.ChunkedArray:
    """Return for each row but the first whether it does not sort after the one before."""
    behind = same = None
    for column in table.columns:
        one, other = neighbours(column)
        less, equal = pc.less(one, other), pc.equal(one, other)
        behind = less if behind is None else pc.or_(behind, pc.and_(same, less))
        same = equal if same is None else pc.and_(same, equal)
    return pc.invert(behind)
