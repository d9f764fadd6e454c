"""The ten questions of docs/reading.md, in three engines."""

from __future__ import annotations

import datetime as dt
import json
import re
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

import harvester
from tests.support.doc_pages import READING, ROOT, blocks
from tests.support.example_tools import python_with

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

QUESTIONS = [block.text.strip().removesuffix(";") for block in blocks(READING, "sql views")]
CLICKHOUSE = ROOT / "examples/clickhouse/views.sql"

Answers = list[list[list[Any]]]

# Answers questions in ClickHouse, one line of JSON for each row.
PROGRAM = """
import json, sys
from chdb import session

clickhouse = session.Session()
given = json.load(sys.stdin)
for view in given["views"]:
    clickhouse.query(view)
for question in given["questions"]:
    rows = str(clickhouse.query(question, "JSONCompactEachRow")).splitlines()
    print("FOUND", json.dumps([json.loads(row) for row in rows]))
"""


def plain(value: Any) -> Any:
    """Return a value as all engines would write it."""
    match value:
        case dt.datetime():
            return f"{value.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S}"
        case dt.date():
            return value.isoformat()
        case float() | Decimal():
            return round(float(value), 9)
        case str() if re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.0+", value):
            return value.partition(".")[0]
    return value


def answers(found: list[list[tuple[Any, ...]]]) -> Answers:
    """Return answers in one order: the engines order nulls and Chinese text each in its own way."""
    plainly = [[[plain(value) for value in row] for row in rows] for rows in found]
    return [sorted(rows, key=str) for rows in plainly]


@pytest.fixture(scope="module")
def in_duckdb(harvested: Path) -> Answers:
    """The answers of DuckDB, by the views of an output."""
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as con:
        harvester.open(harvested).duckdb(con)
        return answers([con.sql(question).fetchall() for question in QUESTIONS])


def test_every_question_has_an_answer(in_duckdb: Answers) -> None:
    """There are ten, and each finds what the emulator has."""
    assert len(QUESTIONS) == 10
    assert all(question.partition("\n")[0].endswith("?") for question in QUESTIONS)
    assert all(in_duckdb)
    by_question = dict(zip(QUESTIONS, in_duckdb, strict=True))
    [quiet] = [rows for question, rows in by_question.items() if "quiet" in question]
    assert [row[2] for row in quiet] == ["has rows"] * 3 + ["refused"]
    [missing] = [rows for question, rows in by_question.items() if "missing, since" in question]
    assert missing == [["biz_summary", "refused", 48001, 1, "2026-04-20", "2026-05-19"]]
    [clients] = [rows for question, rows in by_question.items() if "has each client" in question]
    assert [row[:3] for row in clients] == [
        ["Acme", "2026-05-19", 2],
        ["晨光/书店", "2026-05-19", 1],
        [None, "2026-05-19", 1],
    ]


def test_clickhouse_answers_the_same(in_duckdb: Answers, harvested: Path) -> None:
    """By the views of examples/clickhouse, in which a function of a day is called otherwise."""
    call = re.compile(r"coverage_on\(date ('[^']+')\)")
    given = {
        "views": [each for each in CLICKHOUSE.read_text().split(";\n") if each.strip()],
        "questions": [call.sub(r"coverage_on(day = \1)", question) for question in QUESTIONS],
    }
    done = subprocess.run(
        [python_with("chdb"), "-c", PROGRAM],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        cwd=harvested.parent,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.removeprefix("FOUND ") for line in done.stdout.splitlines()]
    assert answers([json.loads(line) for line in lines]) == in_duckdb


@pytest.mark.slow
def test_spark_answers_the_same(in_duckdb: Answers, harvested: Path, spark: SparkSession) -> None:
    """By the views that a run left, whose names have a prefix in the place of the schema."""
    script = (harvested / "_harvester/sql/spark.sql").read_text()
    for view in script.split(";\n"):
        if view.strip():
            spark.sql(view)
    questions = [question.replace("wechat.", "wechat_") for question in QUESTIONS]
    found = [spark.sql(question).collect() for question in questions]
    assert answers([[tuple(row) for row in rows] for rows in found]) == in_duckdb
