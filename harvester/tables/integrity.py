"""What a data file must be for its rows and its coverage to be believed, judged from their values.

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
from harvester.tables.coverage import AccountDays, Coverage


class Defect(NamedTuple):
    """What is wrong, and which days of whom cannot be believed, as masks of the file's month."""

    what: str
    where: Mapping[str, int]


class FileIdentity(NamedTuple):
    """What a file's name says of its rows: whose they are, and of when."""

    dataset: Dataset
    month: Month
    bucket: int
    buckets: int


def key_columns(dataset: Dataset) -> list[str]:
    """The columns that `Rows` wants to see."""
    return ["appid", *dataset.key]


def all_days(coverage: Coverage) -> dict[str, int]:
    """All that a file knows of, as the place of a flaw."""
    return {appid: coverage.account(appid).covered for appid in coverage.appids}


def days_of_accounts(coverage: Coverage, first: str, last: str) -> dict[str, int]:
    """The days with rows of the accounts from ``first`` to ``last``, as the place of a flaw."""
    inside = (appid for appid in coverage.appids if first <= appid <= last)
    known = {appid: coverage.account(appid).with_rows for appid in inside}
    return {appid: mask for appid, mask in known.items() if mask}


def coverage_defects(coverage: Coverage, place: FileIdentity) -> Iterator[Defect]:
    """What the coverage says that cannot be."""
    if coverage.month != place.month:
        month = calendar.month_text(coverage.month)
        yield Defect(f"its coverage is that of {month}", all_days(coverage))
        return
    if list(coverage.appids) != sorted(set(coverage.appids)):
        yield Defect("its coverage names accounts twice or out of order", all_days(coverage))
        return
    accounts = {appid: coverage.account(appid) for appid in coverage.appids}
    strange = {
        appid: known.covered
        for appid, known in accounts.items()
        if bucket_of(appid, place.buckets) != place.bucket
    }
    if strange:
        yield Defect("it knows of accounts of another bucket", strange)
    length = calendar.month_length(place.month)
    senseless = {
        appid: known.covered & ((1 << length) - 1)
        for appid, known in accounts.items()
        if not _makes_sense(known, length)
    }
    if senseless:
        yield Defect("its coverage contradicts itself", senseless)


def _makes_sense(known: AccountDays, length: int) -> bool:
    return (
        not known.covered >> length
        and not known.final & known.provisional
        and not known.with_rows & ~(known.final | known.provisional)
        and sum(1 << day for day in known.asked) == known.provisional
    )


@dataclass(slots=True)
class RowCheck:
    """The rows of one file, seen once, a table of key columns at a time.

    ``seen`` has the days with rows of each account, ``flaws`` what is wrong with any row.
    """

    file: FileIdentity
    coverage: Coverage
    count: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    _last: pa.Table | None = None
    _odd: dict[str, dict[str, int]] = field(default_factory=dict)

    def add_rows(self, table: pa.Table) -> None:
        """Look at the next rows."""
        if not len(table):
            return
        self.count += len(table)
        ahead = table if self._last is None else pa.concat_tables([self._last, table])
        self._last = table.slice(len(table) - 1)
        self._note("rows twice or out of order", ahead.slice(1).filter(_not_behind(ahead)))
        self._note_days(table)

    def defects(self) -> list[Defect]:
        """What is wrong, once all rows were seen."""
        found = [Defect(what, where) for what, where in self._odd.items()]
        unknown = {
            appid: more
            for appid, mask in self.seen.items()
            if (more := mask & ~self.coverage.account(appid).with_rows)
        }
        if unknown:
            found.append(Defect("rows of days of which its coverage knows none", unknown))
        gone = {
            appid: less
            for appid in self.coverage.appids
            if (less := self.coverage.account(appid).with_rows & ~self.seen.get(appid, 0))
        }
        if gone:
            found.append(Defect("no rows of days of which its coverage knows some", gone))
        return found

    def _note_days(self, table: pa.Table) -> None:
        """Which days of whom these rows are."""
        first, length = (
            calendar.month_begin(self.file.month),
            calendar.month_length(self.file.month),
        )
        offset = pc.subtract(table.column(DATE_COLUMN).cast(pa.int32()), first)
        inside = pc.and_(pc.greater_equal(offset, 0), pc.less(offset, length))
        self._note("rows of another month", table.filter(pc.invert(inside)))
        pairs = pa.table([table.column("appid"), offset], ["appid", "day"]).filter(inside)
        pairs = pairs.group_by(["appid", "day"]).aggregate([])
        bits = pc.shift_left(pa.scalar(1, pa.int64()), pairs.column("day").cast(pa.int64()))
        masks = pa.table([pairs.column("appid"), bits], ["appid", "mask"])
        masks = masks.group_by("appid").aggregate([("mask", "sum")])
        for appid, mask in zip(*(column.to_pylist() for column in masks.columns), strict=True):
            if appid not in self.seen and bucket_of(appid, self.file.buckets) != self.file.bucket:
                self._note_account("rows of accounts of another bucket", appid)
            self.seen[appid] = self.seen.get(appid, 0) | mask

    def _note(self, what: str, rows: pa.Table) -> None:
        for appid in pc.unique(rows.column("appid")).to_pylist():
            self._note_account(what, appid)

    def _note_account(self, what: str, appid: str) -> None:
        # A row that is where it should not be says little of its day: all the account has is named.
        self._odd.setdefault(what, {})[appid] = self.coverage.account(appid).covered


def days_in_doubt(flaws: Iterable[Defect]) -> dict[str, int]:
    """Whose days any of the flaws casts doubt on."""
    found: dict[str, int] = {}
    for flaw in flaws:
        for appid, mask in flaw.where.items():
            found[appid] = found.get(appid, 0) | mask
    return found


def _not_behind(table: pa.Table) -> pa.ChunkedArray:
    """For each row but the first, whether it does not sort strictly behind the one before."""
    behind = same = None
    for column in table.columns:
        one, other = column.slice(0, len(column) - 1), column.slice(1)
        less, equal = pc.less(one, other), pc.equal(one, other)
        behind = less if behind is None else pc.or_(behind, pc.and_(same, less))
        same = equal if same is None else pc.and_(same, equal)
    return pc.invert(behind)
