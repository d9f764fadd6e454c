"""`harvester sql`: its views over any output, their comments, and what names cannot do to them."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import harvester
from harvester.catalogue import CATALOGUE
from harvester.core.errors import UsageError
from harvester.manifest.narrowing import Selection
from harvester.storage.backends.local import LocalStore
from harvester.storage.derived.derived_files import SCHEMAS
from harvester.storage.layout import VIEWS
from harvester.tables.columns import arrow_schema
from harvester.verbs.sql.script import ENGINES, sql
from tests.support.views import MANIFEST, REPORTS, columns_of, loaded, manifest_of, write

CHINESE = (
    "关注日报",
    "关注来源日报",
    "阅读日报",
    "阅读来源日报",
    "文章数据",
    "消息日报",
    "接口日报",
)
ALL = {*CATALOGUE, *SCHEMAS, *REPORTS, *CHINESE, "newest_complete_day"}


def test_views_of_nothing_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A mistyped path would give empty answers; one that was harvested gives no warning."""
    sql(manifest_of(tmp_path / "mistyped"), engine="duckdb")
    [record] = caplog.records
    assert record.message.endswith("mistyped: nothing was harvested here, so every view is empty")


def test_an_empty_output_has_all_views_and_columns(tmp_path: Path) -> None:
    """They can be loaded before the first run, and nothing that reads them has to look first."""
    con = loaded(sql(manifest_of(tmp_path), engine="duckdb"))
    assert {name for (name,) in con.execute(NAMES).fetchall()} == ALL
    for name in ALL:
        assert not con.sql(f'select * from wechat."{name}"').fetchall()
    for name, dataset in CATALOGUE.items():
        own = arrow_schema(dataset).names
        assert [each for each in columns_of(con, name) if each in own] == own
    assert not con.sql("select * from wechat.coverage_on('2026-05-01')").fetchall()


NAMES = "select view_name from duckdb_views() where schema_name = 'wechat'"


def test_the_columns_are_those_of_files(tmp_path: Path) -> None:
    """A dataset without files has the types that it has with files."""
    manifest = manifest_of(tmp_path)
    empty = loaded(sql(manifest, engine="duckdb"))
    for name, dataset in CATALOGUE.items():
        write(tmp_path, f"{name}/ref_month=2026-05", arrow_schema(dataset).empty_table())
    for name, schema in SCHEMAS.items():
        month = "/ref_month=2026-05" if name == "coverage" else ""
        write(tmp_path, f"{name}{month}", schema.empty_table())
    full = loaded(sql(manifest, engine="duckdb"))
    for name in ALL:
        query = f'select * from wechat."{name}"'
        assert full.sql(query).columns == empty.sql(query).columns
        assert full.sql(query).types == empty.sql(query).types, name


def test_each_view_and_column_has_a_comment(tmp_path: Path) -> None:
    """With the meaning and the unit; counts of people say that they do not add up."""
    con = loaded(sql(manifest_of(tmp_path), engine="duckdb"))
    of_columns = con.sql(
        "select table_name, column_name, comment from duckdb_columns() where schema_name = 'wechat'"
    ).fetchall()
    assert {table for table, _, _ in of_columns} == ALL
    assert not [each for each in of_columns if not each[2]]
    found = {(table, column): comment for table, column, comment in of_columns}
    assert found["user_summary", "new_user"] == "新增的用户数量: followers gained (people)"
    people = "people do not add up over days, hours or codes"
    assert found["biz_summary", "read_user"] == f"阅读人数: people who read (people); {people}"
    assert "divide sums" in found["interface_summary", "average_ms"]
    assert found["阅读日报", "阅读人数"].startswith("阅读人数（人）")
    texts = con.sql("select comment from duckdb_views() where schema_name = 'wechat'").fetchall()
    assert all(text for (text,) in texts)


HOSTILE = (
    """a"b'c`d;--""",
    "x'); drop schema wechat; --",
    "$names {0} %s",
    "\\'",
    "name",
    "TAGS",
    "a\nb",
)


def test_no_name_and_no_path_acts(tmp_path: Path) -> None:
    """Attributes, schema and folder have quotes, semicolons, patterns and forms in their names."""
    folder = tmp_path / "a'b\"c`;[d]*?{e} $x %s"
    attributes = {name: f"value of {name}" for name in HOSTILE}
    row = {"appid": "wx0000000000000001", "name": "'; drop", "attributes": [*attributes.items()]}
    write(folder, "accounts", pa.Table.from_pylist([row], SCHEMAS["accounts"]))
    schema = "we\"chat'; drop table x; --"
    con = loaded(sql(manifest_of(folder), engine="duckdb", schema=schema))
    quoted = schema.replace('"', '""')
    [columns] = [con.sql(f'select * from "{quoted}".coverage').columns]
    left_out = {"name", "TAGS", "a\nb"}
    own = {f"account_{name}".lower() for name in HOSTILE if name not in left_out}
    assert {name for name in columns if name.startswith("account_")} == {
        *own,
        "account_name",
        "account_tags",
    }
    names = con.sql(f'select name, attributes from "{quoted}".accounts').fetchall()
    assert names == [("'; drop", attributes)]


def test_an_attribute_in_small_letters_comes_first(tmp_path: Path) -> None:
    """Of those whose names differ in case alone, which are one column: reports have `client`."""
    row = {"appid": "wx0000000000000001", "attributes": [("Client", "A"), ("client", "b")]}
    write(tmp_path, "accounts", pa.Table.from_pylist([row], SCHEMAS["accounts"]))
    day = {"appid": row["appid"], "ref_date": dt.date(2026, 5, 1)}
    schema = arrow_schema(CATALOGUE["interface_summary"])
    month = "interface_summary/ref_month=2026-05"
    write(tmp_path, month, pa.Table.from_pylist([day], schema))
    con = loaded(sql(manifest_of(tmp_path), engine="duckdb"))
    assert con.sql("select account_client from wechat.server_daily").fetchall() == [("b",)]


@pytest.mark.parametrize("schema", ["", " ", "a\nb", "\x1b[31m", "\u202e"])
def test_a_name_that_cannot_be_shown_is_refused(tmp_path: Path, schema: str) -> None:
    """It would steer a terminal, or end a line."""
    with pytest.raises(UsageError, match="schema"):
        sql(manifest_of(tmp_path), engine="duckdb", schema=schema)


def test_a_base_is_absolute(tmp_path: Path) -> None:
    """The engine may have another working folder."""
    write(tmp_path, "codes", SCHEMAS["codes"].empty_table())
    for base, found in (("s3://bucket/x/", "s3://bucket/x"), ("/data/out", "/data/out")):
        script = sql(manifest_of(tmp_path), engine="duckdb", base=base)
        assert f"read_parquet('{found}/codes/*.parquet', " in script
    with pytest.raises(UsageError, match="relative path"):
        sql(manifest_of(tmp_path), engine="duckdb", base="data/out")


@pytest.fixture
def two_months(tmp_path: Path) -> Path:
    """A dataset with three accounts over two months."""
    schema = arrow_schema(CATALOGUE["interface_summary"])
    for month in ("2026-04", "2026-05"):
        rows = [
            {
                "appid": f"wx{number:016x}",
                "ref_date": day,
                "callback_count": 4,
                "total_time_cost": 10,
            }
            for number in (1, 2, 3)
            for day in pa.array([f"{month}-01", f"{month}-02"]).cast(pa.date32()).to_pylist()
        ]
        write(tmp_path, f"interface_summary/ref_month={month}", pa.Table.from_pylist(rows, schema))
    return tmp_path


def test_what_is_not_selected_is_in_no_view(two_months: Path) -> None:
    """By account, name, day and dataset."""
    manifest = manifest_of(two_months)

    def rows(**selected: Any) -> int:
        con = loaded(sql(manifest, engine="duckdb", chosen=Selection(**selected)))
        [(count,)] = con.sql("select count(*) from wechat.server_daily").fetchall()
        return int(count)

    assert rows() == 12
    assert rows(accounts=("wx0000000000000002",)) == 4
    assert rows(accounts=("client=Acme",)) == 8
    assert rows(begin_date="2026-05-01") == 6
    assert rows(begin_date="2026-04-02", end_date="2026-05-01") == 6
    assert rows(datasets=("user_*",)) == 0


def test_ranges_are_cut_at_the_chosen_days(tmp_path: Path) -> None:
    """A week or a month is whole, and chosen by its first day, which is the day of its rows."""
    ranges = (
        ("user_summary", "2026-04-01", "2026-04-30"),
        ("upstream_msg_week", "2026-04-13", "2026-04-19"),
        ("upstream_msg_week", "2026-04-20", "2026-04-26"),
        ("upstream_msg_month", "2026-04-01", "2026-04-30"),
    )
    names = ("dataset", "begin_date", "end_date")
    rows = [
        {"appid": "wx0000000000000001", "params": "", "state": "final", "wanted": True}
        | {"dataset": name, **dict(zip(names[1:], map(dt.date.fromisoformat, days), strict=True))}
        for name, *days in ranges
    ]
    month = pa.Table.from_pylist(rows, SCHEMAS["coverage"])
    write(tmp_path, "coverage/ref_month=2026-04", month)
    manifest = manifest_of(tmp_path)

    def found(begin: str | None, end: str | None) -> tuple[list[Any], dict[str, str]]:
        con = loaded(sql(manifest, engine="duckdb", chosen=Selection(begin, end)))
        told = con.sql(f"select {', '.join(names)} from wechat.coverage").fetchall()
        newest = con.sql("from wechat.newest_complete_day").fetchall()
        days = [(name, str(first), str(last)) for name, first, last in told]
        return sorted(days), {name: str(day) for name, day in newest}

    firsts = {"upstream_msg_week": "2026-04-20", "upstream_msg_month": "2026-04-01"}
    assert found(None, None) == (sorted(ranges), {**firsts, "user_summary": "2026-04-30"})
    cut = ("user_summary", "2026-04-16", "2026-04-22")
    assert found("2026-04-16", "2026-04-22") == (
        [ranges[2], cut],
        {"upstream_msg_week": "2026-04-20", "user_summary": "2026-04-22"},
    )


def test_a_month_that_is_not_asked_for_is_not_read(two_months: Path) -> None:
    """Filters reach the files through names and states that are joined."""
    con = loaded(sql(manifest_of(two_months), engine="duckdb"))
    query = "from wechat.interface_summary where ref_month = '2026-05' and appid = 'wx1'"
    [(_, plan)] = con.execute(f"explain select sum(callback_count) {query}").fetchall()
    assert "Scanning Files: 1/2" in plan
    assert "appid = 'wx1'" in plan


def test_names_and_states_are_joined_where_they_are_asked_for_alone(two_months: Path) -> None:
    """A query over millions of rows pays for none of both, and for one join of small tables."""
    account = {"appid": "wx0000000000000001", "name": "One", "attributes": [("client", "Acme")]}
    day = dt.date(2026, 5, 2)
    about = {"dataset": "interface_summary", "params": "", "state": "provisional"}
    days = {"appid": account["appid"], "begin_date": day, "end_date": day, **about}
    for folder, row in {"accounts": account, "coverage/ref_month=2026-05": days}.items():
        schema = SCHEMAS[folder.partition("/")[0]]
        write(two_months, folder, pa.Table.from_pylist([row], schema))
    con = loaded(sql(manifest_of(two_months), engine="duckdb"))

    def joins(columns: str) -> int:
        [(_, plan)] = con.execute(f"explain {AGGREGATE.format(columns)}").fetchall()
        return int(plan.lower().count("hash_join") + plan.lower().count("hash join"))

    assert [joins("ref_month"), joins("account_name, provisional")] == [0, 1]
    found = con.execute(AGGREGATE.format("account_name, provisional")).fetchall()
    assert sorted(found, key=str) == [("One", False, 12), ("One", True, 4), (None, False, 32)]


AGGREGATE = "select {}, sum(callback_count)::int from wechat.interface_summary group by all"


def test_a_replaced_file_is_read_anew(two_months: Path) -> None:
    """By a longer and a shorter one, and a month is added, in one connection."""
    con = loaded(sql(manifest_of(two_months), engine="duckdb"))
    name = "interface_summary/ref_month=2026-05"
    whole = pq.read_table(two_months / name, partitioning=None)
    for rows in (whole.slice(0, 1), pa.concat_tables([whole] * 50), whole.slice(0, 2)):
        write(two_months, name, rows)
        [(count,)] = con.sql("select count(*) from wechat.interface_summary").fetchall()
        assert count == 6 + len(rows)
    write(two_months, "interface_summary/ref_month=2026-06", whole)
    assert con.sql("select count(*) from wechat.interface_summary").fetchall() == [(14,)]


def test_without_a_manifest_the_output_is_enough(two_months: Path) -> None:
    """Its folder must have been harvested, because a mistyped one would give empty views."""
    script = sql(None, engine="duckdb", output=two_months)
    assert script == sql(manifest_of(two_months), engine="duckdb")
    with pytest.raises(UsageError, match="nothing was harvested here"):
        sql(None, engine="duckdb", output=two_months / "other")
    assert MANIFEST["version"] == 1
    assert os.fspath(two_months) in script


def test_a_run_leaves_the_views_in_the_output(tmp_path: Path) -> None:
    """For both engines, with the attributes of its accounts; no name and no value is in them."""
    manifest = manifest_of(tmp_path / "out")
    manifest["jobs"] = [{"datasets": ["interface_summary"], "begin_date": "-3d"}]
    harvester.run(manifest)
    kept = {path.name: path for path in (tmp_path / "out" / "_harvester" / "sql").iterdir()}
    assert kept.keys() == {"duckdb.sql", "spark.sql"}
    for engine in ENGINES:
        assert kept[f"{engine}.sql"].read_text("utf-8") == sql(manifest, engine=engine)
    con = loaded(kept["duckdb.sql"].read_text("utf-8"))
    found = con.sql("select distinct account_name, account_client from wechat.server_daily")
    assert sorted(found.fetchall()) == [("One", "Acme"), ("Two", "Acme"), ("三", "Other")]
    text = "".join(path.read_text("utf-8") for path in kept.values())
    assert not [word for word in ("Acme", "Two", "Other") if word in text]
    before = {path: path.stat().st_mtime_ns for path in kept.values()}
    harvester.run(manifest)
    assert {path: path.stat().st_mtime_ns for path in kept.values()} == before
    manifest["jobs"][0]["datasets"].append("user_summary")
    harvester.run(manifest)
    assert "/user_summary/" in kept["duckdb.sql"].read_text("utf-8")


def test_a_dataset_that_another_shard_begins_meanwhile_is_in_the_views(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its view would be empty until the next run, as if WeChat had no rows of it."""
    manifest, out = manifest_of(tmp_path / "out"), tmp_path / "out"
    manifest["jobs"] = [{"datasets": ["interface_summary"], "begin_date": "-3d"}]
    put = LocalStore.put

    def put_late(store: LocalStore, name: str, *rest: Any) -> Any:
        if name == f"{VIEWS}/duckdb.sql":
            shutil.copytree(out / "interface_summary", out / "user_summary", dirs_exist_ok=True)
        return put(store, name, *rest)

    monkeypatch.setattr(LocalStore, "put", put_late)
    harvester.run(manifest)
    for engine in ENGINES:
        kept = (out / VIEWS / f"{engine}.sql").read_text("utf-8")
        assert f"{out}/user_summary" in kept


def test_no_attribute_is_named_where_no_name_may_be_kept(tmp_path: Path) -> None:
    """With `account_names: false` the names of attributes are in no file either."""
    manifest = manifest_of(tmp_path / "out")
    manifest["output"] = {"path": manifest["output"], "account_names": False}
    manifest["jobs"] = [{"datasets": ["interface_summary"], "begin_date": "-3d"}]
    harvester.run(manifest)
    kept = (tmp_path / "out" / "_harvester" / "sql" / "duckdb.sql").read_text("utf-8")
    assert "account_name" in kept
    assert "client" not in kept
    assert "client" not in sql(manifest, engine="duckdb")


def test_views_that_cannot_be_kept_cost_a_run_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its rows are published; the log tells that the views are as they were."""
    manifest = manifest_of(tmp_path / "out")
    manifest["jobs"] = [{"datasets": ["interface_summary"], "begin_date": "-3d"}]
    (tmp_path / "out" / "_harvester").mkdir(parents=True)
    (tmp_path / "out" / "_harvester" / "sql").write_text("a file in the place of the folder")
    assert harvester.run(manifest).outcome == "complete"
    assert "the views are not up to date" in caplog.text
