"""Equal rows: accounts with the same numbers for a month or more, as with one token for several."""

from __future__ import annotations

import pyarrow as pa

from harvester.core.dataset import DATE_COLUMN
from harvester.tables import arrow_functions as pc

MIN_DAYS = 30
"""Days with rows from which on equal rows are no chance."""

_FACTOR = 0x1E3779B97F4A7C15
"""An odd number without a pattern. A product with it wraps around, as a digest needs."""


def account_digests(table: pa.Table) -> pa.Table:
    """Return the digests of each account's rows in a table; texts and lists are left out.

    ``total`` is the sum over its rows, which does not depend on where row groups end. ``least`` and
    ``largest`` are of the rows without their day: if they are equal, all days have the same row.
    """
    day, row = pa.scalar(0, pa.int64()), pa.scalar(0, pa.int64())
    for field, column in zip(table.schema, table.columns, strict=True):
        if field.name == DATE_COLUMN:
            day = column.cast(pa.int32()).cast(pa.int64())
        elif pa.types.is_integer(field.type):
            row = _mixed(row, pc.fill_null(column.cast(pa.int64()), -1))
    names = ["appid", "total", "least", "largest"]
    return _by_account(pa.table([table.column("appid"), _mixed(row, day), row, row], names))


def equal_accounts(digests: list[pa.Table]) -> list[list[str]]:
    """Return the accounts whose rows of a month are equal, by the digests of all of its rows.

    Accounts at rest, whose rows are the same on all days, are left out.
    """
    if not digests:
        return []
    found = _by_account(pa.concat_tables(digests)).filter(pc.field("least") != pc.field("largest"))
    alike = found.group_by("total").aggregate([("appid", "list")])
    return [sorted(appids) for appids in alike.column("appid_list").to_pylist() if appids[1:]]


def _by_account(digests: pa.Table) -> pa.Table:
    """Return the digests of rows, or of parts of an account's rows, with one row per account."""
    joined = [("total", "sum"), ("least", "min"), ("largest", "max")]
    return digests.group_by("appid").aggregate(joined).rename_columns(digests.column_names)


def _mixed(digests: pa.ChunkedArray | pa.Scalar, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return digests that depend on further values too, in no linear way."""
    mixed = pc.multiply(pc.bit_wise_xor(digests, values), pa.scalar(_FACTOR, pa.int64()))
    return pc.bit_wise_xor(mixed, pc.shift_right(mixed, 29))
