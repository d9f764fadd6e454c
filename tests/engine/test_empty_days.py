"""An outage that answers with nothing, from the first run to the healing one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from harvester.core.calendar import parse_day
from harvester.core.exit_codes import Exit
from harvester.sandbox import Rules
from tests.support.cli import CommandLine, JobScope, command_line
from tests.support.faulty_wechat import FaultyWeChat, Outage
from tests.support.run_harness import DAILY, HOURLY, appid, days_between, expected, published_rows

DATASETS = (DAILY, HOURLY, "user_cumulate", "article_read")
BEGIN, END = "2026-03-01", "2026-03-31"
GONE = ("2026-03-14", "2026-03-15")


@pytest.fixture
def backfill(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[CommandLine]:
    """A month of two accounts that have rows on each day."""
    monkeypatch.setenv("COMMANDS_SECRET", "s")
    world = FaultyWeChat(Rules(), time.time)
    with command_line(tmp_path, JobScope(DATASETS, BEGIN, END), world, capsys) as run:
        yield run


def test_two_days_that_come_empty_are_named_and_healed(
    backfill: CommandLine, duck: duckdb.DuckDBPyConnection
) -> None:
    """The summary, the record and `status` name them; `--refetch empty` asks for them alone."""
    run, world = backfill, backfill.world
    gone = (parse_day(GONE[0]), parse_day(GONE[1]))
    outage = Outage(begin=gone[0], end=gone[1])
    world.add_data_fault(outage)
    first = run("run")
    assert first.code == Exit.DONE
    named = [
        {"appid": appid(number), "dataset": dataset, "begin_date": GONE[0], "end_date": GONE[1]}
        for dataset in ("interface_summary", HOURLY, "user_cumulate")
        for number in (1, 2)
    ]
    by_account = sorted(named, key=str)
    assert sorted(run.record()["suspicious"], key=str) == by_account
    status = run("status", "--format", "json").json
    assert status["suspicious"] == [
        {
            "appid": appid(number),
            "name": "",
            "datasets": ["interface_summary", HOURLY, "user_cumulate"],
            "days": 3 * 2,
            "ranges": [[GONE[0], GONE[1]]],
        }
        for number in (1, 2)
    ]
    for printed in (first.err, run("status").out):
        assert "suspicious gaps: 12 empty days in 2 accounts, between days with rows" in printed
        assert "--refetch empty" in printed
    for number in (1, 2):
        assert f"{appid(number)}: 6 days of 3 datasets, {GONE[0]}..{GONE[1]}" in run("status").out

    world.remove_data_fault(outage)
    world.reset()
    assert run("run").code == Exit.DONE
    assert run.calls() == 0
    healed = run("run", "--refetch", "empty")
    assert healed.code == Exit.DONE
    assert "suspicious" not in healed.err
    assert run.record()["suspicious"] == []
    asked = {(dataset, begin, end) for _, dataset, begin, end in world.windows}
    assert {item for item in asked if item[0] != "article_read"} == {
        (DAILY, parse_day(BEGIN), gone[1]),
        ("user_cumulate", gone[1] - 6, gone[1]),
        *((HOURLY, day, day) for day in gone),
    }
    for dataset in DATASETS:
        truth = expected(dataset, [appid(1), appid(2)], days_between(BEGIN, END))
        assert published_rows(duck, run.output, dataset) == truth
    world.reset()
    assert run("run", "--refetch", "empty", "--datasets", DAILY).code == Exit.DONE
    assert run.calls() == 0
