"""Equal rows: accounts with the same numbers for a month or more, as with one token for several."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from harvester.core.dataset import DATE_COLUMN

MIN_DAYS = 30
"""Days with rows from which on equal rows are no chance."""

_FACTOR = 0x1E3779B97F4A7C15
"""An odd number without a pattern. A product with it wraps around, as a digest needs."""


class MonthDigest(NamedTuple):
    """The sum of the digests of an account's rows in a file, and the least and largest of them.

    The latter are of the rows without their day: if they are equal, all days have the same row.
    """

    total: int = 0
    least: int = 1 << 63
    largest: int = -1 << 63


def add_rows(found: dict[str, MonthDigest], table: pa.Table) -> None:
    """Add the rows of a row group to the digests of their accounts; texts and lists are left out.

    The sum does not depend on where row groups end.
    """
    day, row = pa.scalar(0, pa.int64()), pa.scalar(0, pa.int64())
    for field, column in zip(table.schema, table.columns, strict=True):
        if field.name == DATE_COLUMN:
            day = column.cast(pa.int32()).cast(pa.int64())
        elif pa.types.is_integer(field.type):
            row = _mixed(row, pc.fill_null(column.cast(pa.int64()), -1))
    columns = [table.column("appid"), _mixed(row, day), row]
    digests = pa.table(columns, ["appid", "total", "row"]).group_by("appid")
    sums = digests.aggregate([("total", "sum"), ("row", "min"), ("row", "max")])
    for appid, *new in zip(*(column.to_pylist() for column in sums.columns), strict=True):
        old, (total, least, largest) = found.get(appid, MonthDigest()), new
        joined = min(least, old.least), max(largest, old.largest)
        found[appid] = MonthDigest((total + old.total) % (1 << 64), *joined)


def _mixed(digests: pa.ChunkedArray | pa.Scalar, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return digests that depend on further values too, in no linear way."""
    mixed = pc.multiply(pc.bit_wise_xor(digests, values), pa.scalar(_FACTOR, pa.int64()))
    return pc.bit_wise_xor(mixed, pc.shift_right(mixed, 29))


class EqualAccounts:
    """Days on which pairs of accounts have equal rows of one dataset, in whole months.

    A month counts if each row of it is equal, and if they are not the same on all of its days, as
    those of accounts at rest are.
    """

    def __init__(self) -> None:
        self._days = Counter[tuple[str, str]]()

    def add_month(self, months: Iterable[tuple[str, MonthDigest, int]]) -> None:
        """Add a month: the accounts, their digests, and their numbers of days with rows."""
        alike: defaultdict[tuple[int, int], list[str]] = defaultdict(list)
        for appid, digest, days in months:
            if digest.least != digest.largest:
                alike[digest.total, days].append(appid)
        for (_, days), accounts in alike.items():
            # Each with the first of them, because a thousand would make half a million pairs.
            first, *others = sorted(accounts)
            self._days.update({(first, other): days for other in others})

    def pairs(self) -> list[tuple[str, str, int]]:
        """Return the pairs with `MIN_DAYS` or more, and their days."""
        return sorted((*pair, days) for pair, days in self._days.items() if days >= MIN_DAYS)
