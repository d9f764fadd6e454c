"""Field ids of Parquet files, by path as in Iceberg."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from harvester.storage import partition_writer
from harvester.storage.derived import derived_files


def ids_in(schema: pa.Schema) -> dict[str, int | None]:
    """Return the ids of columns and their members by path, None for those without one."""
    return {path: number for field in schema for path, number in _ids(field, field.name)}


def _ids(field: pa.Field, path: str) -> Iterator[tuple[str, int | None]]:
    about, kind = field.metadata or {}, field.type
    yield path, int(about[b"PARQUET:field_id"]) if b"PARQUET:field_id" in about else None
    members: list[tuple[str, pa.Field]] = []
    if pa.types.is_map(kind):
        members = [("key", kind.key_field), ("value", kind.item_field)]
    elif pa.types.is_list(kind):
        members = [("element", kind.value_field)]
    elif pa.types.is_struct(kind):
        members = [(member.name, member) for member in kind]
    for name, member in members:
        yield from _ids(member, f"{path}.{name}")


def write_no_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files be those of a build that knew no field ids."""
    for writer in (partition_writer, derived_files):
        monkeypatch.setattr(writer, "field_ids", lambda _: {})
