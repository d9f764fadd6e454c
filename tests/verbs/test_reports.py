"""The reports of `harvester sql` over a month that was written by hand, in both engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harvester.verbs.sql.script import sql
from tests.support.doc_pages import ROOT, blocks
from tests.support.month_of_views import CHINESE, REPORTS, write_month
from tests.support.views import loaded, manifest_of, write

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Rows: TypeAlias = tuple[list[str], list[tuple[Any, ...]]]


def check_reports(rows_of: Callable[[str], Rows]) -> None:
    """Compare each report with what stands in the month, in both languages."""
    for name, expected in REPORTS.items():
        columns, rows = rows_of(name)
        assert in_order(rows) == in_order(expected), name
        if name != "newest_complete_day":
            assert columns[:4] == ["ref_date", "account_name", "appid", "account_client"]
            assert columns[-1] == "provisional"
    for (english, expected), (name, (middle, row)) in zip(
        REPORTS.items(), CHINESE.items(), strict=False
    ):
        columns, rows = rows_of(name)
        assert columns == ["数据日期", "账号", "AppID", "客户", *middle, "数据状态"]
        assert row in rows, name
        assert len(rows) == len(expected), english


def in_order(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return rows in an order that nulls do not disturb."""
    return sorted(rows, key=repr)


def test_the_reports_of_a_month_in_duckdb(tmp_path: Path) -> None:
    """Sums, labels, states, and nulls where a dataset has no row."""
    write_month(tmp_path)
    con = loaded(sql(manifest_of(tmp_path), engine="duckdb"))

    def rows_of(name: str) -> Rows:
        found = con.sql(f'select * from wechat."{name}"')
        return found.columns, found.fetchall()

    check_reports(rows_of)
    of_day = con.sql("select appid, state from wechat.coverage_on('2026-05-31')").fetchall()
    assert {state for _, state in of_day} == {"provisional", "missing"}
    assert len(of_day) == 3 * 7
    labels = con.sql(
        "select user_source_label_zh, account_tags, account_region from wechat.user_summary"
        " where user_source = 17"
    ).fetchall()
    assert labels == [("名片分享", ["x"], None)]


def test_a_dataset_that_is_not_there_leaves_its_numbers_out(tmp_path: Path) -> None:
    """Senders are null without their distribution, and other reports stay as they are."""
    write_month(tmp_path)
    (tmp_path / "upstream_msg_dist" / "ref_month=2026-05" / "part-0000-of-0001.parquet").unlink()
    con = loaded(sql(manifest_of(tmp_path), engine="duckdb"))
    columns = "msg_count, senders, messages_per_sender"
    assert con.sql(f"select {columns} from wechat.messages_daily order by all").fetchall() == [
        (1, None, None),
        (12, None, None),
    ]


def views_in(spark: SparkSession, script: str, wanted: Callable[[str], bool] | None = None) -> None:
    """Execute the statements of a script, or those that are wanted: each takes a second."""
    for statement in filter(None, script.split(";\n\n")):
        if wanted is None or wanted(statement):
            spark.sql(statement)


@pytest.mark.slow
def test_the_reports_of_a_month_in_spark(tmp_path: Path, spark: SparkSession) -> None:
    """They equal those of DuckDB; attributes, folder and schema cannot act."""
    folder = tmp_path / "it's `a` [b]{c}*; \\d"
    write_month(folder)
    script = sql(manifest_of(folder), engine="spark", schema="we`chat'")
    file = tmp_path / "views.sql"
    file.write_text(script)
    [block] = blocks(ROOT / "docs" / "reading.md", "python views")
    names = {
        "output/_harvester/sql/spark.sql": str(file),
        "wechat_followers": "`we``chat'_followers",
    }
    text = block.text.replace("_daily where", "_daily` where")
    for old, new in names.items():
        text = text.replace(old, new)
    exec(compile(text, block.name, "exec"), {"spark": spark})

    def rows_of(name: str) -> Rows:
        found = spark.sql(f"select * from `we``chat'_{name}`")
        return found.columns, [tuple(row) for row in found.collect()]

    check_reports(rows_of)
    [(count,)] = spark.sql("select count(*) from `we``chat'_coverage_on`('2026-05-31')").collect()
    assert count == 3 * 7
    for name in (*REPORTS, *CHINESE, "user_summary", "coverage"):
        columns = spark.sql(f"describe `we``chat'_{name}`").collect()
        assert all(column.comment for column in columns), name


@pytest.mark.slow
def test_a_session_of_spark_sees_each_replaced_file(tmp_path: Path, spark: SparkSession) -> None:
    """By a longer and a shorter one, and a new month, without a refresh."""
    write_month(tmp_path)
    ours = ("_accounts`", "_coverage`", "_interface_summary`", "_server_daily`")
    script = sql(manifest_of(tmp_path), engine="spark")

    def is_ours(statement: str) -> bool:
        first, _, _ = statement.partition("\n")
        return "temporary view" in first and any(name in first for name in ours)

    views_in(spark, script, is_ours)
    name = "interface_summary/ref_month=2026-05"
    whole = pq.read_table(tmp_path / name, partitioning=None)
    for rows in (whole.slice(0, 1), pa.concat_tables([whole] * 500), whole):
        write(tmp_path, name, rows)
        [(count,)] = spark.sql("select count(*) from wechat_interface_summary").collect()
        assert count == len(rows)
        [(calls,)] = spark.sql("select sum(callback_count) from wechat_server_daily").collect()
        assert calls == 8 * -(-len(rows) // 2)
    write(tmp_path, "interface_summary/ref_month=2026-06", whole)
    [(count,)] = spark.sql("select count(*) from wechat_interface_summary").collect()
    assert count == 4
