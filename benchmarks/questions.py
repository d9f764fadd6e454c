"""The ten questions of docs/reading.md in DuckDB, over 10 million rows of a dataset."""

from __future__ import annotations

import datetime as dt
import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

import harvester
from benchmarks.result import Limit, Result, Settings, Table
from harvester.catalogue import CATALOGUE
from harvester.core.dataset import Column, Kind
from harvester.tables import derived
from tests.support.doc_pages import READING, blocks

ROUNDS = 5
RUN = "20260520T040000Z-6b6f42"
NOW = dt.datetime(2026, 5, 20, 4, tzinfo=dt.UTC)
LAST = dt.date(2026, 5, 31)
CLIENTS = 50

EACH_DAY = """
(select 'wx' || lpad(lower(to_hex(i)), 16, '0') as appid, i
 from range(1, {accounts} + 1) as numbers(i)),
(select unnest(generate_series(
    date '{month}-01', last_day(date '{month}-01'), interval 1 day))::date as ref_date)
"""

ROWS = {
    "user_summary": f", unnest({[*CATALOGUE['user_summary'].columns[1].labels]}) as c(user_source)",
    "user_cumulate": "",
    "biz_summary": "",
    "interface_summary": "",
    "article_total_detail": ", range(30) as ages(age) where day(ref_date) % 5 = 0",
}
"""The datasets that the questions read, and what makes several rows of an account's day."""

KEYS = {
    "user_summary": {"user_source": "user_source"},
    "article_total_detail": {
        "msgid": "(2247480000 + i) || '_1'",
        "stat_date": "ref_date + age::int",
        "read_user": "100 + (hash(i, ref_date) % 90)::bigint * age",
    },
}
"""Columns whose values matter; all others have any."""


def run(settings: Settings) -> Result:
    """Make the output, and ask each question a few times."""
    accounts, months = (100, 3) if settings.quick else (1_000, 20)
    output = settings.folder / "asked"
    began = time.perf_counter()
    rows = dict(made(output, accounts, [*_months(months)]))
    seconds = time.perf_counter() - began
    con = harvester.open(output).duckdb()
    questions = [block.text for block in blocks(READING, "sql views")]
    questions += map(over_all_months, questions[1:3])
    found = [(question, asked(con, question)) for question in questions]
    titles = [text.partition("\n")[0].removeprefix("-- ") for text, _ in found]
    table = Table(
        f"Ten questions over {rows['user_summary']:,} rows of user_summary and"
        f" {sum(rows.values()):,} of five datasets, made in {seconds:.0f} s",
        ("", "rows", "seconds"),
        tuple(
            (title, f"{count:,}", f"{taken:.3f}")
            for title, (_, (count, taken)) in zip(titles, found, strict=True)
        ),
    )
    slowest = max(taken for _, (_, taken) in found)
    limits = (Limit("the slowest question", slowest, "s", 0.5, 0.5),)
    figures = {title: taken for title, (_, (_, taken)) in zip(titles, found, strict=True)}
    return Result("questions", (table,), limits, {"rows": rows, "seconds": figures})


def over_all_months(question: str) -> str:
    """Return a question without its filter: all rows of a dataset are read."""
    return re.sub(r"^where .*\n", "", question, flags=re.MULTILINE).replace(
        "\n", ", all months\n", 1
    )


def asked(con: duckdb.DuckDBPyConnection, question: str) -> tuple[int, float]:
    """Return the number of rows that answer a question, and the seconds of the middle round."""
    times, count = [], 0
    for _ in range(ROUNDS):
        began = time.perf_counter()
        count = len(con.execute(question).fetchall())
        times.append(time.perf_counter() - began)
    assert count
    return count, statistics.median(times)


def made(output: Path, accounts: int, months: list[str]) -> Iterator[tuple[str, int]]:
    """Write the files of the datasets and of the tables, and yield the rows of each dataset."""
    con = duckdb.connect()
    for name in ROWS:
        for month in months:
            path = _path(output, name, month)
            con.execute(
                f"copy ({_query(name, accounts, month)}) to '{path}'"
                " (format parquet, compression zstd, row_group_size 122880)"
            )
        [[count]] = con.sql(f"select count(*) from '{output}/{name}/*/*.parquet'").fetchall()
        yield name, count
    _write_tables(output, accounts, months)


def _query(name: str, accounts: int, month: str) -> str:
    dataset = CATALOGUE[name]
    columns = [f"{_value(column, name)} as {column.name}" for column in dataset.columns[1:]]
    own = [f"timestamptz '{NOW}' as _fetched_at", f"'{RUN}' as _run_id", "null::text as _extra"]
    return (
        f"select appid, ref_date, {', '.join([*columns, *own])}"
        f" from {EACH_DAY.format(accounts=accounts, month=month)} {ROWS[name]}"
        f" order by appid, {', '.join(dataset.key)}"
    )


def _value(column: Column, name: str) -> str:
    """Return an expression for any value of a column."""
    own = KEYS.get(name, {})
    if column.name in own:
        return f"({own[column.name]})"
    match column.kind:
        case Kind.LIST:
            members = (f"'{field.name}': {_value(field, name)}" for field in column.fields)
            return f"[{{{', '.join(members)}}}]"
        case Kind.RATE:
            return "0.25::double"
        case Kind.TEXT:
            return f"'{column.name} of ' || i"
    return f"(hash(i, ref_date, '{column.name}') % 500)::bigint"


def _write_tables(output: Path, accounts: int, months: list[str]) -> None:
    appids = [f"wx{number:016x}" for number in range(1, accounts + 1)]
    known = [
        {
            "appid": appid,
            "name": f"账号 {n}",
            "attributes": {"client": f"{n % CLIENTS}"},
            "wanted": True,
        }
        for n, appid in enumerate(appids)
    ]
    run = {"run_id": RUN, "started_at": NOW, "verb": "run", "outcome": "complete", "exit_code": 0}
    codes = harvester.open(output).codes().to_pylist()
    for place, rows, schema in (
        ("accounts/part-0000-of-0001", known, derived.ACCOUNTS),
        ("runs/2026-05", [run], derived.RUNS),
        ("codes/codes", codes, derived.CODES),
    ):
        _write(output / f"{place}.parquet", rows, schema)
    for month in months:
        covered = [row for name in ROWS for appid in appids for row in _ranges(name, appid, month)]
        _write(_path(output, "coverage", month), covered, derived.COVERAGE)


def _ranges(name: str, appid: str, month: str) -> Iterator[dict[str, Any]]:
    """Yield the coverage of a month: all is final, but for the newest week."""
    begin = dt.date.fromisoformat(f"{month}-01")
    end = (begin + dt.timedelta(days=32)).replace(day=1) - dt.timedelta(days=1)
    own = {"dataset": name, "appid": appid, "params": "", "wanted": True}
    newest = end - dt.timedelta(days=7) if end == LAST else end
    yield own | {"begin_date": begin, "end_date": newest, "state": "final", "has_rows": True}
    if newest < end:
        rest = {"begin_date": newest + dt.timedelta(days=1), "end_date": end}
        is_refused = appid.endswith("0")
        state = (
            {"state": "missing", "reason": "refused"} if is_refused else {"state": "provisional"}
        )
        yield own | rest | state | ({} if is_refused else {"has_rows": True})


def _write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, compression="zstd")


def _path(output: Path, name: str, month: str) -> Path:
    path = output / name / f"ref_month={month}" / "part-0000-of-0001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _months(count: int) -> Iterator[str]:
    """Yield the last months up to May of 2026, oldest first."""
    for back in reversed(range(count)):
        years, month = divmod(LAST.year * 12 + LAST.month - 1 - back, 12)
        yield f"{years}-{month + 1:02d}"
