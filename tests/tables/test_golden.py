"""Golden files: the columns of the files, and the decoded rows of WeChat's own pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import day_text, parse_day
from harvester.core.dataset import DATE_COLUMN, Dataset, Kind
from harvester.core.model import Window
from harvester.tables.columns import arrow_schema
from harvester.tables.day_rows import Decoded
from tests.support.answers import appid, as_tuples, decode

GOLDEN = Path(__file__).parents[1] / "data/golden"
SCHEMAS = GOLDEN / "schemas.txt"
ANSWERS: dict[str, Any] = json.loads((GOLDEN / "answers.json").read_text("utf-8"))
"""The rows of WeChat's pages and of live answers, by dataset, and what they are in the table."""

each_dataset = pytest.mark.parametrize("dataset", CATALOGUE.values(), ids=CATALOGUE)


def schema_text(schema: pa.Schema) -> str:
    """A schema, a column a line."""
    return "".join(
        f"  {field.name}: {field.type}{'' if field.nullable else ' not null'}\n" for field in schema
    )


def test_schemas() -> None:
    """The files of each dataset have the columns that were promised, in order and by type.

    Readers of the files depend on them: a change needs a new schema version, not a new golden file.
    """
    found = [f"{d.name}\n{schema_text(arrow_schema(d))}" for d in CATALOGUE.values()]
    assert "\n".join(found) == SCHEMAS.read_text("utf-8")


@each_dataset
def test_schemas_follow_the_contract(dataset: Dataset) -> None:
    """Key first, then the metrics with WeChat's own names, then where a row came from."""
    schema = arrow_schema(dataset)
    assert schema.names == [
        "appid",
        *(column.name for column in dataset.columns),
        *("_fetched_at", "_run_id", "_extra"),
    ]
    assert schema.names[1 : 1 + len(dataset.key)] == list(dataset.key)
    assert schema.field("appid").type == pa.string()
    assert schema.field("_fetched_at").type == pa.timestamp("us", tz="UTC")
    types = {Kind.COUNT: "int64", Kind.RATE: "double", Kind.TEXT: "string", Kind.HOUR: "int32"}
    for column in dataset.columns:
        kind = schema.field(column.name).type
        assert str(kind).startswith(types.get(column.kind, column.kind.value.partition("<")[0]))
    strict = {field.name for field in schema if not field.nullable}
    assert strict == {"appid", *dataset.key}


def as_sent(dataset: Dataset, decoded: Decoded) -> list[dict[str, Any]]:
    """Rows by column name, dates spelled as WeChat does."""
    columns = [column for column in dataset.columns if column.name != DATE_COLUMN]
    return [
        {
            DATE_COLUMN: day_text(day),
            **{
                column.name: day_text(value) if column.kind is Kind.DATE else value
                for column, value in zip(columns, values, strict=False)
            },
        }
        for day, rows in decoded.days.items()
        for values in as_tuples(rows)
    ]


@each_dataset
def test_official_rows(dataset: Dataset) -> None:
    """The rows of WeChat's pages, with undocumented members, become exactly the stated columns."""
    golden = ANSWERS[dataset.name]
    begin, end = parse_day(golden["begin_date"]), parse_day(golden["end_date"])
    body = json.dumps(golden["answer"], ensure_ascii=False).encode()
    found = decode(dataset, Window(appid(1), dataset.name, begin, end), body)
    assert as_sent(dataset, found) == golden["rows"]
    assert found == Decoded(found.days, {})
    assert all(extra is None for rows in found.days.values() for extra in rows.extra)
