"""The main job over real HTTP: exact rows, the fewest requests, and nothing asked twice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow.parquet as pq
import pytest

from harvester.core.calendar import Day, date_of, day_range, parse_day
from harvester.core.config.settings import Limits, Pace
from harvester.core.errors import DamagedOutput, UsageError
from harvester.core.exit_codes import Exit
from harvester.core.model import Rate, bucket_of
from harvester.core.windows import count_windows
from harvester.runs.record.notes import notes_of
from harvester.sandbox.data import Row, expected_rows
from tests.support.faulty_wechat import Delayed, FaultyRules
from tests.support.run_harness import (
    BOTH,
    DAILY,
    FAST,
    HOURLY,
    RunHarness,
    appid,
    columns,
    days_between,
    expected,
    published_rows,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_twelve_accounts_and_sixty_days_are_exact_in_duckdb(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """Every row of both datasets equals the truth, and the requests are the least there can be."""
    lab = RunHarness(tmp_path, accounts=12, begin="2026-02-01", end="2026-04-01")
    done = lab.run()
    assert done.exit_code is Exit.DONE
    # Empty answers between days with rows are asked for once more.
    assert done.requests - done.asked_again == 12 * (2 + 60)
    assert done.requests == lab.calls()
    for dataset in BOTH:
        truth = expected(dataset, lab.appids, days_between(lab.begin, "2026-04-01"))
        assert truth
        assert published_rows(duck, tmp_path, dataset) == truth


def test_twelve_accounts_and_sixty_days_are_exact_in_spark(
    tmp_path: Path, spark: SparkSession
) -> None:
    """Spark reads the dataset's folder as one table, with the month as a column of text."""
    lab = RunHarness(tmp_path, accounts=12, begin="2026-02-01", end="2026-04-01")
    lab.run()
    for dataset in BOTH:
        table = spark.read.parquet(str(tmp_path / dataset))
        assert dict(table.dtypes)["ref_month"] == "string"
        rows = sorted(map(tuple, table.select(*columns(dataset)).collect()))
        assert rows == expected(dataset, lab.appids, days_between(lab.begin, "2026-04-01"))


def test_a_second_run_asks_nothing(tmp_path: Path) -> None:
    """The files say what is known; no data call and no token call is made for it."""
    lab = RunHarness(tmp_path)
    lab.run()
    lab.sandbox.reset()
    again = lab.run()
    assert (again.requests, again.exit_code, again.published) == (0, Exit.DONE, [])
    assert lab.sandbox.counters.requests == 0


def test_widening_the_range_asks_only_for_what_is_new(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """More days on both sides of what is there, and also on both sides of a hole."""
    lab = RunHarness(tmp_path, begin="2026-03-10", end="2026-03-12", datasets=(HOURLY,))
    lab.run()
    lab.begin, lab.end = "2026-03-20", "2026-03-21"
    lab.run()
    lab.begin, lab.end = "2026-03-08", "2026-03-24"
    lab.sandbox.reset()
    done = lab.run()
    assert done.requests == lab.calls() == 3 * (17 - 3 - 2)
    assert published_rows(duck, tmp_path, HOURLY) == expected(
        HOURLY, lab.appids, days_between(lab.begin, lab.end)
    )


def test_a_window_spans_a_known_hole_when_that_saves_a_request(tmp_path: Path) -> None:
    """Calls are scarce and rows are not: one request covers the days on both sides."""
    lab = RunHarness(tmp_path, accounts=1, begin="2026-03-10", end="2026-03-12", datasets=(DAILY,))
    lab.run()
    lab.begin, lab.end = "2026-03-05", "2026-03-20"
    assert lab.run().requests == 1


def test_a_new_account_asks_only_for_itself(tmp_path: Path) -> None:
    """The others are covered already."""
    lab = RunHarness(tmp_path, datasets=(HOURLY,), end="2026-03-05")
    lab.run()
    lab.accounts = 4
    lab.sandbox.reset()
    lab.run()
    assert set(lab.sandbox.counters.calls) == {appid(4)}


def test_the_newest_days_are_provisional_and_asked_again_the_next_day(tmp_path: Path) -> None:
    """A day within its settling time is asked once a day until it is older, one window for all.

    The window takes along what its span reaches of the days that are wanted.
    """
    lab = RunHarness(tmp_path, accounts=1, begin="2026-05-01", end=None, datasets=(DAILY,))
    assert lab.run().requests == 1
    assert lab.run().requests == 0
    lab.today = "2026-05-21"
    lab.sandbox.reset()
    assert lab.run().requests == 1
    asked = list(lab.sandbox.windows)
    assert [(item.begin, item.end) for item in asked] == [
        (parse_day("2026-05-01"), parse_day("2026-05-20"))
    ]


def test_months_without_a_single_row_have_a_file_too(tmp_path: Path) -> None:
    """That nothing happened is known as well: the month is covered and not asked again that day."""
    lab = RunHarness(
        tmp_path,
        accounts=1,
        begin="2014-12-01",
        end="2014-12-31",
        datasets=(HOURLY,),
        source=lambda _dataset, _appid, _day: [],
    )
    done = lab.run()
    # An output without any row is reported.
    assert done.exit_code is Exit.AGAIN
    assert [item.rows_after for item in done.published] == [0]
    assert lab.run().requests == 0


def test_refetch_replaces_final_days(tmp_path: Path, duck: duckdb.DuckDBPyConnection) -> None:
    """`--refetch all` asks for everything once more, and the rows are there once."""
    lab = RunHarness(tmp_path, accounts=2, end="2026-03-05")
    first = lab.run()
    again = lab.run(refetch="all")
    assert again.requests == first.requests
    assert published_rows(duck, tmp_path, HOURLY) == expected(
        HOURLY, lab.appids, days_between(lab.begin, "2026-03-05")
    )
    for dataset in lab.datasets:
        files = f"{tmp_path}/{dataset}/*/*.parquet"
        asked_by = duck.sql(f"select distinct _run_id from read_parquet('{files}')").fetchall()
        assert asked_by == [(again.run_id,)]


@pytest.mark.parametrize("value", [123456, -1], ids=["other rows", "rows that are unfit"])
def test_refetch_replaces_nothing_but_the_days_of_its_state(tmp_path: Path, value: int) -> None:
    """Final days between two empty ones are asked along with them, and stand whatever comes."""
    empty, between = {parse_day("2026-03-05"), parse_day("2026-03-20")}, parse_day("2026-03-10")
    healed = False

    def source(dataset: str, name: str, day: Day) -> list[Row]:
        if day in empty and not healed:
            return []
        rows = expected_rows(dataset, name, day)
        return [{**row, "callback_count": value} for row in rows] if healed else rows

    lab = RunHarness(tmp_path, accounts=1, datasets=(DAILY,), source=source)
    assert lab.run().exit_code is Exit.DONE
    (path,) = tmp_path.glob("interface_summary/*/*.parquet")
    before = {row["ref_date"]: row for row in pq.read_table(path).to_pylist()}
    healed = True
    done = lab.run(refetch="empty")
    assert done.requests == 1
    assert done.exit_code is (Exit.DONE if value > 0 else Exit.INCOMPLETE)
    after = {row["ref_date"]: row for row in pq.read_table(path).to_pylist()}
    assert before.items() <= after.items()
    assert date_of(between) in before
    assert len(after) == len(before) + (2 if value > 0 else 0)
    assert {(lost.day, lost.dataset) for lost in done.quarantined} == (
        set() if value > 0 else {(date_of(day), DAILY) for day in empty}
    )


def test_each_shard_harvests_its_own_buckets(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """Two shards share nothing, and together they have every row once."""
    lab = RunHarness(tmp_path, accounts=6, end="2026-03-05", buckets=4, datasets=(HOURLY,))
    first = lab.run(shard=(1, 2))
    second = lab.run(shard=(2, 2))
    assert first.requests + second.requests == lab.calls() == 6 * 5
    assert first.requests == 5 * sum(bucket_of(name, 4) % 2 == 0 for name in lab.appids) > 0
    assert second.requests > 0
    assert published_rows(duck, tmp_path, HOURLY) == expected(
        HOURLY, lab.appids, days_between(lab.begin, "2026-03-05")
    )


def test_a_shard_reads_no_file_of_another_one(tmp_path: Path) -> None:
    """A damaged file stops its shard alone, and accounts of other shards are no evidence."""
    lab = RunHarness(tmp_path, accounts=6, end="2026-03-05", buckets=2, datasets=(HOURLY,))
    for number in (1, 2):
        assert lab.run(shard=(number, 2)).exit_code is Exit.DONE
    for theirs in (tmp_path / HOURLY).rglob("part-0001-of-0002.parquet"):
        theirs.write_bytes(b"damaged")
    assert lab.run(shard=(1, 2)).exit_code is Exit.DONE
    with pytest.raises(DamagedOutput):
        lab.run(shard=(2, 2))


def test_more_shards_than_buckets_is_a_mistake(tmp_path: Path) -> None:
    """Two shards may not write one file."""
    with pytest.raises(UsageError, match="2 shards need at least 2 buckets"):
        RunHarness(tmp_path).run(shard=(1, 2))


def test_a_plan_that_is_too_large_is_refused_before_the_first_request(tmp_path: Path) -> None:
    """`max_requests` protects a quota from a slip of the pen."""
    lab = RunHarness(tmp_path, limits=Limits(FAST.per_token, max_requests=10))
    with pytest.raises(UsageError, match="max_requests is 10"):
        lab.run()
    assert lab.sandbox.counters.requests == 0


def test_the_change_feed_names_what_was_replaced(tmp_path: Path) -> None:
    """`published` has each file with its days, its accounts and its rows before and after."""
    lab = RunHarness(tmp_path, accounts=2, begin="2026-03-30", end="2026-04-02", datasets=(HOURLY,))
    done = lab.run()
    assert sorted(item.ref_month for item in done.published) == ["2026-03", "2026-04"]
    for item in done.published:
        assert (tmp_path / item.path).is_file()
        assert item.rows_before == 0
    assert sum(item.rows_after for item in done.published) == done.rows


def test_a_month_is_written_once_in_a_backfill(tmp_path: Path) -> None:
    """Accounts go through the months together, so no file is rewritten on the way."""
    lab = RunHarness(tmp_path, accounts=6, begin="2025-12-01", end="2026-03-31", datasets=(HOURLY,))
    lab.limits = Limits(Pace(Rate(200, 1.0), 20, concurrency=4), connections=16)
    done = lab.run()
    assert len(done.published) == len({item.path for item in done.published}) == 4


def test_an_answer_that_is_still_being_computed_is_not_the_last(tmp_path: Path) -> None:
    """It is published, the run ends with 75 and says so, and a later day asks again."""
    trouble = Delayed(days=2)
    lab = RunHarness(
        tmp_path,
        accounts=1,
        begin="2026-05-10",
        end=None,
        datasets=("article_read",),
        rules=FaultyRules(data_faults=(trouble,)),
    )
    done = lab.run()
    assert (done.exit_code, list(done.reasons())) == (Exit.AGAIN, ["not_ready"])
    [note] = [note for note in notes_of(done, {}) if "still computing" in note]
    assert note.startswith("article_read: ")
    assert f"of {appid(1)}" in note
    assert done.datasets[0].days.provisional > 0
    assert done.datasets[0].days.missing == 0
    lab.today, lab.end = "2026-05-25", "2026-05-19"
    again = lab.run()
    assert again.requests > 0
    assert again.exit_code is Exit.DONE


@pytest.mark.parametrize(("dataset", "suspicious"), [(DAILY, 2), ("article_share", 0)])
def test_an_empty_day_is_suspicious_only_where_every_day_has_rows(
    tmp_path: Path, dataset: str, suspicious: int
) -> None:
    """Articles are not read every day, but an account's server is asked every day."""
    first, last = "2026-03-01", "2026-03-04"

    def source(dataset: str, appid: str, day: Day) -> list[Row]:
        known = expected_rows(dataset, appid, day)
        return known if day in {parse_day(first), parse_day(last)} else []

    lab = RunHarness(
        tmp_path, begin=first, end=last, accounts=1, datasets=(dataset,), source=source
    )
    done = lab.run()
    assert done.datasets[0].days.empty >= 2
    assert done.datasets[0].days.suspicious == suspicious


def test_the_count_of_windows_is_what_a_run_asks() -> None:
    """The plan's price of sixty days at a span of thirty is two requests."""
    sixty = day_range(parse_day("2026-02-01"), parse_day("2026-04-01"))
    assert count_windows(sixty, 30) == 2
