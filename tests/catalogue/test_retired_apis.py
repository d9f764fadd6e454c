"""APIs that WeChat retires or restricts, in whole runs of the command line."""

from __future__ import annotations

import time
from pathlib import Path

import duckdb
import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.exit_codes import Exit
from harvester.sandbox import ANYONE, Rules
from tests.support.cli import CONCURRENCY, JobScope, command_line
from tests.support.faulty_wechat import FaultyRules, FaultyWeChat
from tests.support.run_harness import DAILY, HOURLY, appid, days_between, expected, published_rows


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names in the manifests."""
    monkeypatch.setenv("COMMANDS_SECRET", "s")


def test_an_api_that_goes_offline_is_asked_no_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], duck: duckdb.DuckDBPyConnection
) -> None:
    """Of hundreds of windows no more are asked than were in flight; the others are untouched."""
    world = FaultyWeChat(Rules(), time.time)
    world.fail(ANYONE, 47009, dataset=HOURLY)
    asked = JobScope((DAILY, HOURLY), "2026-03-01", "2026-04-29", accounts=6)
    with command_line(tmp_path, asked, world, capsys) as run:
        done = run("run")
        path = CATALOGUE[HOURLY].path
        assert done.code == Exit.INCOMPLETE
        assert 1 <= world.counters.paths[path] <= 6 * CONCURRENCY
        assert "6 accounts (wx" in done.err
        assert "360 days: 47009 this api is offline" in done.err
        assert "WeChat has taken this API offline" in done.err
        assert run.record()["reasons"] == ["refused"]
        every = [appid(number) for number in range(1, 7)]
        rows = expected(DAILY, every, days_between("2026-03-01", "2026-04-29"))
        assert published_rows(duck, run.output, DAILY) == rows


def test_a_span_that_became_shorter_is_found_and_kept_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], duck: duckdb.DuckDBPyConnection
) -> None:
    """Thirty days are refused, seven work: the summary says so, and only seven are asked then."""
    world = FaultyWeChat(FaultyRules(spans={DAILY: 10}), time.time)
    begin, end = "2025-01-01", "2025-12-31"
    with command_line(tmp_path, JobScope((DAILY,), begin, end), world, capsys) as run:
        done = run("run")
        assert done.code == Exit.DONE
        assert f"{DAILY}: WeChat refused longer windows, 7 days at once worked" in done.err
        assert f"set datasets.{DAILY}.span to it" in "; ".join(run.record()["notes"])
        rows = expected(DAILY, [appid(1), appid(2)], days_between(begin, end))
        assert published_rows(duck, run.output, DAILY) == rows
        # Each account's first window, and its halves: more was not in flight when one was answered.
        assert 3 <= world.counters.errcodes[61501] <= 2 * (1 + 2)
        worked = run.calls() - world.counters.errcodes[61501]
        assert worked <= 2 * (5 + -(-(365 - 30) // 7))

        world.reset()
        text = run.manifest.read_text()
        run.manifest.write_text(f"{text}datasets: {{{DAILY}: {{span: 8}}}}\n")
        assert run("run", "--refetch", "all").code == Exit.DONE
        assert world.counters.errcodes[61501] == 0
        assert run.calls() == 2 * -(-365 // 8)


def test_a_retired_dataset_is_refused_with_its_place_and_its_successor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A manifest that names one ends with 2 before anything is asked; globs do not name it."""
    world = FaultyWeChat(Rules(), time.time)
    asked = JobScope(("user_*", "article_total"), "2026-03-01", "2026-03-04")
    with command_line(tmp_path, asked, world, capsys) as run:
        text = run.manifest.read_text()
        [(line, before)] = [
            (number, written.partition("article_total")[0])
            for number, written in enumerate(text.splitlines(), 1)
            if "article_total" in written
        ]
        done = run("run")
        assert done.code == Exit.USAGE
        place = f"{run.manifest}:{line}:{len(before) + 1}"
        assert f"{place}: WeChat has retired `article_total`: it answers errcode 47009" in done.err
        assert "use `article_total_detail`" in done.err
        assert run.calls() == 0
        run.manifest.write_text(text.replace(", article_total", ""))
        assert run("run").code == Exit.DONE
        asked_for = {path for path in world.counters.paths if path.startswith("/datacube/")}
        assert asked_for == {CATALOGUE[name].path for name in ("user_summary", "user_cumulate")}
