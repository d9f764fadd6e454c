"""The data dictionary: on the terminal, as JSON, and its queries in DuckDB."""

from __future__ import annotations

import datetime as dt
import json
import re
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harvester import catalogue
from harvester.catalogue import CATALOGUE, RETIRED
from harvester.catalogue.descriptions import final_text, members, queries
from harvester.cli import invoke
from harvester.core.dataset import Column, Dataset, Kind
from harvester.core.exit_codes import Exit
from harvester.tables.columns import arrow_schema

EXAMPLES = Path(catalogue.__file__).with_name("examples")

each_dataset = pytest.mark.parametrize("dataset", CATALOGUE.values(), ids=CATALOGUE)


def test_a_description_says_when_an_answer_is_final() -> None:
    """With rows at once or after days, without by two answers, later while WeChat says so."""
    assert final_text(CATALOGUE["user_summary"]) == (
        "when more than 3 days old, without rows by two answers"
    )
    assert final_text(CATALOGUE["interface_summary_hour"]) == (
        "at once, without rows by two answers"
    )
    assert final_text(CATALOGUE["biz_summary"]) == (
        "when more than 7 days old, without rows by two answers; "
        "later while WeChat marks it is_delay"
    )


def test_the_list_has_every_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    """Each dataset of the catalogue begins a line, and no retired one does."""
    assert invoke(["datasets"]) == Exit.DONE
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert listed >= {*CATALOGUE}
    assert not listed & RETIRED.keys()


@each_dataset
def test_one_dataset_in_words(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    """The verb prints columns, key, clock, codes, the page and a query to copy."""
    assert invoke(["datasets", dataset.name]) == Exit.DONE
    printed = capsys.readouterr().out
    assert all(query in printed for query in queries(dataset))
    assert dataset.source in printed
    assert ", ".join(("appid", *dataset.key)) in printed
    assert final_text(dataset) in printed
    for name, column in members(dataset.columns):
        assert re.search(rf"^ *{re.escape(name)} ", printed, re.MULTILINE)
        assert all(str(code) in printed for code in column.labels)


def test_everything_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get every fact of the catalogue."""
    assert invoke(["datasets", "--format", "json"]) == Exit.DONE
    told = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert list(told) == list(CATALOGUE)
    for name, dataset in CATALOGUE.items():
        one = told[name]
        assert [column["name"] for column in one["columns"]] == [
            column.name for column in dataset.columns
        ]
        example, *check = queries(dataset)
        assert (one["example"], one["check_query"]) == (example, check[0] if check else "")
        assert one["notes"] == [*dataset.notes]
        assert (one["span_days"], one["settle_days"]) == (dataset.span, dataset.settle)
    (scenes,) = (c for c in told["article_read"]["columns"] if c["type"] == "list<struct>")
    assert scenes["fields"][1]["labels"]["朋友圈"] == "Moments"


def test_wechats_names_and_globs(capsys: pytest.CaptureFixture[str]) -> None:
    """A dataset is found by WeChat's name and several by a glob."""
    assert invoke(["datasets", "getusersummary", "--format", "json"]) == Exit.DONE
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["user_summary"]
    assert invoke(["datasets", "user_*", "--format", "json"]) == Exit.DONE
    assert len(json.loads(capsys.readouterr().out)) == 2


@pytest.mark.parametrize("name", ["user_read_hour", "getuserreadhour"])
def test_a_retired_dataset_is_exit_2(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The answer to the name of a retired dataset is what replaced it."""
    assert invoke(["datasets", name]) == Exit.USAGE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"WeChat has retired `{name}`: it answers errcode 47009" in printed.err
    assert "use `article_read` and `biz_summary`" in printed.err


def test_an_unknown_dataset_is_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown name is a usage error, and the message lists the datasets."""
    assert invoke(["datasets", "user_sumary"]) == Exit.USAGE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "user_summary" in printed.err


def value_of(column: Column, place: int) -> Any:
    """Something a column may hold."""
    labels = list(column.labels)
    if column.kind is Kind.LIST:
        codes = max(len(field.labels) for field in column.fields)
        return [
            {field.name: value_of(field, number) for field in column.fields}
            for number in range(codes)
        ]
    if labels:
        return labels[place % len(labels)]
    simple: dict[Kind, Any] = {
        Kind.COUNT: 10 + place,
        Kind.HOUR: place % 24,
        Kind.RATE: 0.5,
        Kind.TEXT: f"10000050_{place}",
        Kind.DATE: dt.date(2026, 5, 1 + place % 28),
    }
    return simple[column.kind]


def write(folder: Path, dataset: Dataset, rows: list[dict[str, Any]]) -> None:
    """A month of a dataset where its example looks for it; what a row leaves out is made up."""
    schema = arrow_schema(dataset)
    whole = [
        {
            "appid": "wx0000000000000001",
            **{column.name: value_of(column, place) for column in dataset.columns},
            **row,
        }
        for place, row in enumerate(rows)
    ]
    file = folder / "output" / dataset.name / "ref_month=2026-05" / "part-0000-of-0001.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(whole, schema=schema), file)


def ask(
    folder: Path, dataset: str, duck: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, Any]]:
    """Return the rows that the example of a dataset finds."""
    monkeypatch.chdir(folder)
    example = queries(CATALOGUE[dataset])[0]
    found: list[dict[str, Any]] = duck.sql(example).to_arrow_table().to_pylist()
    return found


@each_dataset
def test_the_example_runs(
    dataset: Dataset,
    tmp_path: Path,
    duck: duckdb.DuckDBPyConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each query asks one question of its own dataset's files, and gets rows."""
    files = f"read_parquet('output/{dataset.name}/ref_month=*/*.parquet', hive_partitioning = true)"
    for query in queries(dataset):
        assert query.startswith("-- ")
        assert query.partition("\n")[0].endswith("?")
        assert query.count("read_parquet") == query.count(files) == 1
    write(tmp_path, dataset, [{} for _ in range(24)])
    assert ask(tmp_path, dataset.name, duck, monkeypatch)


def test_one_query_tells_totals_from_single_days(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Totals never fall; single days do. Rows of two articles are never compared."""
    dataset = CATALOGUE["article_total_detail"]
    [query] = chain.from_iterable(queries(each)[1:] for each in CATALOGUE.values())
    single = {"1_1": [50, 20, 20, 5], "1_2": [9, 9]}
    totals = {msgid: list(accumulate(numbers)) for msgid, numbers in single.items()}
    for readers, falls in ((totals, 0), (single, 2)):
        rows = [
            {
                "msgid": msgid,
                "ref_date": dt.date(2026, 5, 1),
                "stat_date": dt.date(2026, 5, 1 + day),
                "read_user": number,
            }
            for msgid, numbers in readers.items()
            for day, number in enumerate(numbers)
        ]
        folder = tmp_path / str(falls)
        write(folder, dataset, rows)
        monkeypatch.chdir(folder)
        assert duck.sql(query).fetchall() == [(falls, 4)]


def test_the_files_of_queries_are_scripts() -> None:
    """DuckDB reads a file as it stands, finds the same queries in it, and each dataset has one."""
    files = {file.stem: file.read_text("utf-8") for file in EXAMPLES.iterdir()}
    assert files.keys() == CATALOGUE.keys()
    for name, script in files.items():
        found = [each.query.strip() for each in duckdb.extract_statements(script)]
        assert found == queries(CATALOGUE[name])


@each_dataset
def test_the_example_divides_by_nothing(
    dataset: Dataset,
    tmp_path: Path,
    duck: duckdb.DuckDBPyConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows full of zeros make null, no error, no infinity and no NaN."""
    zeros = {
        column.name: 0
        for column in dataset.columns
        if column.kind is Kind.COUNT and column.name not in dataset.key
    }
    write(tmp_path, dataset, [dict(zeros) for _ in range(24)])
    for row in ask(tmp_path, dataset.name, duck, monkeypatch):
        assert all(value == value for value in row.values())  # noqa: PLR0124
        assert all(abs(value) != float("inf") for value in row.values() if type(value) is float)


def test_the_average_time_of_an_answer(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The average is over calls and not over days."""
    write(
        tmp_path,
        CATALOGUE["interface_summary"],
        [
            {"callback_count": 1, "fail_count": 1, "total_time_cost": 4000, "max_time_cost": 4000},
            {"callback_count": 0, "fail_count": 0, "total_time_cost": 0, "max_time_cost": 0},
            {"callback_count": 3, "fail_count": 0, "total_time_cost": 400, "max_time_cost": 200},
        ],
    )
    (found,) = ask(tmp_path, "interface_summary", duck, monkeypatch)
    assert found == {
        "appid": "wx0000000000000001",
        "ref_month": "2026-05",
        "calls": 4,
        "average_ms": 1100.0,
        "slowest_ms": 4000,
        "failed_percent": 25.0,
    }


def test_followers_net(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Followers net are those won less those lost, over all channels, 0 included."""
    day = dt.date(2026, 5, 1)
    write(
        tmp_path,
        CATALOGUE["user_summary"],
        [
            {"ref_date": day, "user_source": 0, "new_user": 10, "cancel_user": 4},
            {"ref_date": day, "user_source": 30, "new_user": 5, "cancel_user": 20},
        ],
    )
    (found,) = ask(tmp_path, "user_summary", duck, monkeypatch)
    assert (found["gained"], found["lost"], found["net"]) == (15, 24, -9)


def scenes(**counts: int) -> dict[str, Any]:
    """Return a list of scenes with the people who came from each."""
    found = [{"user_count": count, "scene_desc": scene} for scene, count in counts.items()]
    return {"read_user": counts.get("全部", 0), "read_user_source": found}


def test_readers_of_an_article_are_those_of_its_best_day(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No two days are added up, and the scene that stands for all of them is left out."""
    rows = [
        {"msgid": "1_1", **scenes(全部=5, 朋友圈=5)},
        {"msgid": "1_1", **scenes(全部=30, 朋友圈=20, 推荐=15)},
        {"msgid": "1_2", **scenes(全部=1, 推荐=1)},
        {"msgid": "1_3", **scenes()},
    ]
    write(tmp_path, CATALOGUE["article_read"], rows)
    found = ask(tmp_path, "article_read", duck, monkeypatch)
    assert [(row["msgid"], row["ref_date"].day, row["scene"], row["readers"]) for row in found] == [
        ("1_1", 2, "朋友圈", 20),
        ("1_1", 2, "推荐", 15),
        ("1_2", 3, "推荐", 1),
    ]


def test_readers_of_an_account_are_those_of_a_median_day(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days are not added up, and the scene that stands for all of them is left out."""
    counts = (20, 5, 6)
    write(tmp_path, CATALOGUE["biz_summary"], [scenes(全部=99, 朋友圈=count) for count in counts])
    found = ask(tmp_path, "biz_summary", duck, monkeypatch)
    assert [(row["scene"], row["readers"]) for row in found] == [("朋友圈", 6)]


def test_the_newest_row_of_an_article_counts(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that count since publication are not added up."""
    dataset = "article_total_detail"
    write(
        tmp_path,
        CATALOGUE[dataset],
        [
            {
                "ref_date": dt.date(2026, 5, 1),
                "msgid": "12003_3",
                "stat_date": dt.date(2026, 5, day),
                "read_user": day * 10,
            }
            for day in (1, 3, 2)
        ],
    )
    (found,) = ask(tmp_path, dataset, duck, monkeypatch)
    assert found["read_user"] == 30
