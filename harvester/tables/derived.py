"""Columns of the tables beside the datasets.

`accounts`, `coverage`, `codes` and `runs` are made of the files, the records and the manifests, so
they may be lost. A row of `coverage` is a range of equal days of an account and a dataset, cut at
months, or one period of a week or a month.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

VERSION = 2
"""Version of the columns of all these tables. Each file states the version it was written with."""

VERSION_KEY = b"harvester.table_version"

_MOMENT = pa.timestamp("us", tz="UTC")


def _schema(keys: Mapping[str, pa.DataType], others: Mapping[str, pa.DataType]) -> pa.Schema:
    fields = [pa.field(name, kind, nullable=False) for name, kind in keys.items()]
    fields += [pa.field(name, kind) for name, kind in others.items()]
    return pa.schema(fields, {VERSION_KEY: str(VERSION)})


ACCOUNTS = _schema(
    {"appid": pa.string()},
    {
        "name": pa.string(),
        "tags": pa.list_(pa.string()),
        "attributes": pa.map_(pa.string(), pa.string()),
        "paused": pa.string(),
        "wanted": pa.bool_(),
        "first_row_on": pa.date32(),
        "manifest": pa.string(),
        "updated_at": _MOMENT,
    },
)
"""Columns of `accounts`, one row per account."""

COVERAGE = _schema(
    {
        "dataset": pa.string(),
        "appid": pa.string(),
        "params": pa.string(),
        "begin_date": pa.date32(),
        "end_date": pa.date32(),
        "state": pa.string(),
    },
    {
        "has_rows": pa.bool_(),
        "witness": pa.string(),
        "wanted": pa.bool_(),
        "reason": pa.string(),
        "errcode": pa.int32(),
        "retry_at": _MOMENT,
        "asked_at": _MOMENT,
    },
)
"""Columns of `coverage`, one row per range of equal days."""

CODES = _schema(
    {"dataset": pa.string(), "column_name": pa.string(), "code": pa.string()},
    {"code_int": pa.int64(), "label_en": pa.string(), "label_zh": pa.string()},
)
"""Columns of `codes`, one row per known value of a column."""

RUNS = _schema(
    {"run_id": pa.string()},
    {
        "started_at": _MOMENT,
        "ended_at": _MOMENT,
        "harvester_version": pa.string(),
        "outcome": pa.string(),
        "exit_code": pa.int32(),
        "reasons": pa.list_(pa.string()),
        "shard": pa.string(),
        "verb": pa.string(),
        "manifest_digest": pa.string(),
        "host": pa.string(),
        "requests": pa.int64(),
        "retries": pa.int64(),
        "rows": pa.int64(),
        "labels": pa.map_(pa.string(), pa.string()),
    },
)
"""Columns of `runs`, one row per run, or per shard of one."""
