"""Integrity checks of a data file: its rows and its coverage, judged from their values.

Nothing here opens a file: rows come as tables of their key columns, in the order of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from harvester.core import calendar
from harvester.core.calendar import Month
from harvester.core.dataset import DATE_COLUMN, Dataset
from harvester.core.model import bucket_of
from harvester.tables.columns import neighbours
from harvester.tables.coverage import OLD_DAYS, AccountDays, Coverage


class Defect(NamedTuple):
    """A contradiction in a file.

    ``where`` has the days that are in doubt: a mask of the file's month for each appid.
    """

    what: str
    where: Mapping[str, int]


class FileIdentity(NamedTuple):
    """The dataset, the month and the bucket that the name of a file states."""

    dataset: Dataset
    month: Month
    bucket: int
    buckets: int

    @property
    def label(self) -> str:
        """The bucket as in names, ``0003-of-0016``."""
        return f"{self.bucket:04d}-of-{self.buckets:04d}"

    def owns(self, appid: str) -> bool:
        """Return whether the account belongs into the file's bucket."""
        return bucket_of(appid, self.buckets) == self.bucket


def key_columns(dataset: Dataset) -> list[str]:
    """Return the columns that the tables for `RowCheck` must have."""
    return ["appid", *dataset.key]


def all_days(coverage: Coverage) -> dict[str, int]:
    """Return all days that a coverage knows, by appid."""
    return {appid: coverage.account(appid).covered for appid in coverage.appids}


def days_of_accounts(coverage: Coverage, first: str, last: str) -> dict[str, int]:
    """Return the days with rows of the accounts from ``first`` to ``last``, by appid."""
    inside = (appid for appid in coverage.appids if first <= appid <= last)
    return _not_empty((appid, coverage.account(appid).with_rows) for appid in inside)


def coverage_defects(coverage: Coverage, file: FileIdentity) -> Iterator[Defect]:
    """Yield the defects of a coverage that its own values show."""
    if coverage.month != file.month:
        month = calendar.month_text(coverage.month)
        yield Defect(f"its coverage is that of {month}", all_days(coverage))
        return
    if list(coverage.appids) != sorted(set(coverage.appids)):
        yield Defect("its coverage names accounts twice or out of order", all_days(coverage))
        return
    accounts = {appid: coverage.account(appid) for appid in coverage.appids}
    strange = {appid: known.covered for appid, known in accounts.items() if not file.owns(appid)}
    if strange:
        yield Defect("it knows of accounts of another bucket", strange)
    length = calendar.month_length(file.month)
    senseless = {
        appid: known.covered & ((1 << length) - 1)
        for appid, known in accounts.items()
        if not _is_consistent(known, length)
    }
    if senseless:
        yield Defect("its coverage contradicts itself", senseless)


def _is_consistent(known: AccountDays, length: int) -> bool:
    return (
        not known.covered >> length
        and not known.final & known.provisional
        and not known.with_rows & ~(known.final | known.provisional)
        and not (known.confirmed | known.again) & ~(known.final | known.provisional)
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
    _found: dict[str, dict[str, int]] = field(default_factory=dict)

    def add_rows(self, table: pa.Table) -> None:
        """Check the next rows of the file, given as a table of the key columns."""
        if not len(table):
            return
        self.count += len(table)
        # With the last row of the table before, or what lies between the two is not compared.
        ahead = table if self._last is None else pa.concat_tables([self._last, table])
        self._last = table.slice(len(table) - 1)
        self._note_rows("rows twice or out of order", ahead.slice(1).filter(_not_behind(ahead)))
        self._note_days(table)

    def defects(self) -> list[Defect]:
        """Return the defects, after all rows were added."""
        accounts = {*self.seen, *self.coverage.appids}
        with_rows = {appid: self.coverage.account(appid).with_rows for appid in sorted(accounts)}
        unknown = _not_empty((a, self.seen.get(a, 0) & ~mask) for a, mask in with_rows.items())
        missing = _not_empty((a, mask & ~self.seen.get(a, 0)) for a, mask in with_rows.items())
        found = self._found | {
            "rows of days of which its coverage knows none": unknown,
            "no rows of days of which its coverage knows some": missing,
        }
        return [Defect(what, where) for what, where in found.items() if where]

    def _note_days(self, table: pa.Table) -> None:
        """Add the days of the rows to ``seen``, and note rows that do not belong into the file."""
        month = self.file.month
        first, length = calendar.month_begin(month), calendar.month_length(month)
        offset = pc.subtract(table.column(DATE_COLUMN).cast(pa.int32()), first)
        inside = pc.and_(pc.greater_equal(offset, 0), pc.less(offset, length))
        self._note_rows("rows of another month", table.filter(pc.invert(inside)))
        # Arrow reduces the rows to a mask for each account: distinct days first, then their bits.
        pairs = pa.table([table.column("appid"), offset], ["appid", "day"]).filter(inside)
        pairs = pairs.group_by(["appid", "day"]).aggregate([])
        bits = pc.shift_left(pa.scalar(1, pa.int64()), pairs.column("day").cast(pa.int64()))
        masks = pa.table([pairs.column("appid"), bits], ["appid", "mask"])
        masks = masks.group_by("appid").aggregate([("mask", "sum")])
        for appid, mask in zip(*(column.to_pylist() for column in masks.columns), strict=True):
            if appid not in self.seen and not self.file.owns(appid):
                self._note_account("rows of accounts of another bucket", appid)
            self.seen[appid] = self.seen.get(appid, 0) | mask

    def _note_rows(self, what: str, rows: pa.Table) -> None:
        for appid in pc.unique(rows.column("appid")).to_pylist():
            self._note_account(what, appid)

    def _note_account(self, what: str, appid: str) -> None:
        # All days of the account are in doubt, because the date of a misplaced row proves nothing.
        self._found.setdefault(what, {})[appid] = self.coverage.account(appid).covered


def days_in_doubt(defects: Iterable[Defect]) -> dict[str, int]:
    """Unite the days of several defects, by appid."""
    found: dict[str, int] = {}
    for defect in defects:
        for appid, mask in defect.where.items():
            found[appid] = found.get(appid, 0) | mask
    return found


def _not_empty(masks: Iterable[tuple[str, int]]) -> dict[str, int]:
    return {appid: mask for appid, mask in masks if mask}


def _not_behind(table: pa.Table) -> pa.ChunkedArray:
    """Return for each row but the first whether it does not sort after the one before."""
    behind = same = None
    for column in table.columns:
        one, other = neighbours(column)
        less, equal = pc.less(one, other), pc.equal(one, other)
        behind = less if behind is None else pc.or_(behind, pc.and_(same, less))
        same = equal if same is None else pc.and_(same, equal)
    return pc.invert(behind)
