"""Properties of the rows of every dataset."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import day_text, month_begin, month_of
from harvester.core.dataset import Column, Dataset, Grain, Kind, Nesting
from harvester.sandbox.data import TABLES, Row, expected_rows
from tests.support.sandboxes import BUSY, MONDAY_THE_FIRST, QUIET

appids = st.integers(0, 2**64 - 1).map(lambda number: f"wx{number:016x}")
days = st.integers(MONDAY_THE_FIRST - 200, MONDAY_THE_FIRST + 2_000)

each_dataset = pytest.mark.parametrize("dataset", CATALOGUE.values(), ids=CATALOGUE)

TYPES: dict[Kind, tuple[type, ...]] = {
    Kind.COUNT: (int,),
    Kind.RATE: (int, float),
    Kind.TEXT: (str,),
    Kind.HOUR: (int,),
    Kind.DATE: (str,),
    Kind.LIST: (list,),
}


def flat(dataset: Dataset, rows: list[Row]) -> Iterator[Row]:
    """Each row of the table, out of the elements that hold it."""
    for row in rows:
        outer = {name: value for name, value in row.items() if name != dataset.nested_field}
        match dataset.nesting:
            case Nesting.FLAT:
                yield outer
            case Nesting.OBJECT:
                yield {**outer, **row[dataset.nested_field]}
            case Nesting.ARRAY:
                yield from ({**outer, **entry} for entry in row[dataset.nested_field])


def check(columns: tuple[Column, ...], row: Row) -> None:
    """The row has just these members, and their values are of the right types."""
    assert set(row) == {column.name for column in columns}
    for column in columns:
        value: Any = row[column.name]
        assert type(value) in TYPES[column.kind]
        if column.kind is Kind.LIST:
            for inner in value:
                check(column.fields, inner)
        elif column.kind in {Kind.COUNT, Kind.RATE, Kind.HOUR}:
            assert value >= 0


def digest_of_everything() -> str:
    """Return a digest of some rows of every dataset, 16 letters long."""
    rows = [
        expected_rows(name, f"wx{number:016x}", MONDAY_THE_FIRST - (number % 3) * 97)
        for number in range(30)
        for name in TABLES
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def test_the_sandbox_knows_the_whole_catalogue() -> None:
    """Each dataset has data."""
    assert set(TABLES) == set(CATALOGUE)


@each_dataset
def test_rows_have_the_catalogues_columns(dataset: Dataset) -> None:
    """Every member of every row is a column of its type, and no column stays without a value."""
    rows = list(flat(dataset, expected_rows(dataset.name, BUSY, MONDAY_THE_FIRST)))
    for row in rows:
        check(dataset.columns, row)
    assert {name for row in rows for name in row} == {column.name for column in dataset.columns}


@each_dataset
def test_members_come_in_wechats_order(dataset: Dataset) -> None:
    """Every row begins with its day, and nested members come last."""
    for row in expected_rows(dataset.name, BUSY, MONDAY_THE_FIRST):
        names = list(row)
        assert names[0] == "ref_date"
        assert dataset.nesting is Nesting.FLAT or names[-1] == dataset.nested_field


@each_dataset
@given(appid=appids, day=days)
@settings(max_examples=25)
def test_keys_are_unique(dataset: Dataset, appid: str, day: int) -> None:
    """No two rows of an account's day have the same key, and all are dated that day."""
    rows = list(flat(dataset, expected_rows(dataset.name, appid, day)))
    keys = {tuple(row[name] for name in dataset.key) for row in rows}
    assert len(keys) == len(rows)
    assert {row["ref_date"] for row in rows} <= {day_text(day)}


@pytest.mark.parametrize("name", [n for n, d in CATALOGUE.items() if d.grain is Grain.WEEK])
def test_weeks_begin_on_mondays(name: str) -> None:
    """Of seven days in a row one has a row, the Monday."""
    dated = [
        day
        for day in range(MONDAY_THE_FIRST, MONDAY_THE_FIRST + 70)
        if expected_rows(name, BUSY, day)
    ]
    assert dated == list(range(MONDAY_THE_FIRST, MONDAY_THE_FIRST + 70, 7))


@pytest.mark.parametrize("name", [n for n, d in CATALOGUE.items() if d.grain is Grain.MONTH])
def test_months_begin_on_the_first(name: str) -> None:
    """Of all days only the first of each month has a row."""
    year = range(MONDAY_THE_FIRST, MONDAY_THE_FIRST + 365)
    firsts = sorted({month_begin(month_of(day)) for day in year} & set(year))
    assert [day for day in year if expected_rows(name, BUSY, day)] == firsts


def test_the_whole_past_never_changes() -> None:
    """These rows are the same on every machine and under every version of Python and harvester."""
    assert digest_of_everything() == "5da48b0a9e870527"


def test_the_whole_past_is_the_same_in_every_process() -> None:
    """Another process with another hash seed sees the same rows."""
    code = (
        "from tests.sandbox.test_rows_of_every_dataset import digest_of_everything as f; print(f())"
    )
    root = Path(__file__).parents[2]
    printed = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=root)
    assert printed.split() == [digest_of_everything()]


def test_quiet_accounts_stay_quiet() -> None:
    """A quiet account has followers every day, and of nearly everything else days without rows."""
    some = range(MONDAY_THE_FIRST, MONDAY_THE_FIRST + 28)
    for name in TABLES:
        empty = sum(not expected_rows(name, QUIET, day) for day in some)
        assert empty == 0 if name == "user_cumulate" else empty > 0
