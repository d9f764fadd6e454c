"""Tables of a lakehouse: their columns, their state, and what a writer of a format does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from harvester.catalogue import CATALOGUE
from harvester.core.dataset import DATE_COLUMN, Dataset
from harvester.storage.derived.derived_files import SCHEMAS
from harvester.storage.layout import COVERAGE
from harvester.tables.columns import arrow_schema
from harvester.verbs.sql.definitions import about_table, comment_of, meaning_of

MONTH = pa.field("ref_month", pa.string(), metadata={"comment": comment_of("ref_month")})
"""The column of the month in tables that are partitioned by it, such as ``2026-05``."""

PREFIX = "harvester"
"""Beginning of the names of properties that harvester keeps in a table."""


class LakeTable(NamedTuple):
    """A table: the columns of its files, each with its ``comment`` as metadata.

    The files are partitioned by the month of the column ``day``, None for a table without months.
    """

    name: str
    comment: str
    schema: pa.Schema
    day: str | None


class TableState(NamedTuple):
    """The newest snapshot of a table.

    ``files`` are the names of its data files below its folder, with their months, and ``columns``
    the names of its columns. ``cursor`` is the position in the change feed up to which it was
    exported, None if that is not known. ``selection`` is what the export is limited to, empty for
    everything. ``has_erased`` is True if a snapshot removed rows that were deleted for good, and
    ``has_own_ids`` if its columns have other field ids than the files.
    """

    version: str
    files: Mapping[str, str]
    columns: Sequence[str]
    cursor: str | None
    selection: str
    has_erased: bool
    has_own_ids: bool = False


class Copy(NamedTuple):
    """A copy of a file of the output in the folder of a table, with its size in bytes.

    ``bounds`` has the least and the greatest value of the account and of the day, and ``schema``
    the columns of the file.
    """

    name: str
    size: int
    rows: int
    bounds: Mapping[str, tuple[str, str]]
    schema: pa.Schema


class Swap(NamedTuple):
    """One commit: files that are added and removed, and the cursor behind which it stands.

    ``erases`` is True if the removed files hold rows that were deleted for good.
    """

    added: Sequence[Copy]
    removed: Sequence[str]
    cursor: str
    selection: str
    erases: bool


def lake_tables() -> dict[str, LakeTable]:
    """Return the tables of all datasets, and of the tables beside them, by name."""
    datasets = {name: _of_dataset(dataset) for name, dataset in CATALOGUE.items()}
    return datasets | {name: _beside(name, schema) for name, schema in SCHEMAS.items()}


def _of_dataset(dataset: Dataset) -> LakeTable:
    meanings = {column.name: meaning_of(column, "en") for column in dataset.columns}
    schema = _commented(arrow_schema(dataset), meanings)
    return LakeTable(dataset.name, f"{dataset.description}.", schema, DATE_COLUMN)


def _beside(name: str, schema: pa.Schema) -> LakeTable:
    day = "begin_date" if name == COVERAGE else None
    return LakeTable(name, about_table(name), _commented(schema, {}), day)


def _commented(schema: pa.Schema, meanings: Mapping[str, str]) -> pa.Schema:
    return pa.schema(
        field.with_metadata({"comment": meanings.get(field.name) or comment_of(field.name)})
        for field in schema
    )
