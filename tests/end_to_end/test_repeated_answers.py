"""Runs through a proxy that sends answers again which no request asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import Day
from harvester.core.config.settings import Api, Limits, Pace
from harvester.core.model import Rate
from harvester.runs.record.notes import notes_of
from harvester.sandbox import Rules
from harvester.sandbox.data import Row, expected_rows
from tests.support.repeating_server import MODES, RepeatingServer
from tests.support.run_harness import DAILY, RunHarness, days_between, flat_rows, published_rows

BEGIN, END = "2026-03-01", "2026-04-17"


def a_third_is_empty(dataset: str, appid: str, day: Day) -> list[Row]:
    """Return the emulator's rows, and none for a third of the days."""
    return [] if (day + int(appid[-4:], 16)) % 3 == 0 else expected_rows(dataset, appid, day)


@dataclass
class RepeatingHarness(RunHarness):
    """A run harness whose answers come through a proxy that repeats some of them."""

    mode: str = "late"
    share: float = 0.05
    tokens_only: bool = False
    honest: bool = False

    @asynccontextmanager
    async def _reach(self) -> AsyncIterator[Api]:
        share = 0.0 if self.honest else self.share
        self.proxy = RepeatingServer(
            self.sandbox, self.now, mode=self.mode, share=share, tokens_only=self.tokens_only
        )
        async with self.proxy.serve() as address:
            yield replace(Api(timeout=5.0), base_url=address)


def truth(harness: RunHarness) -> list[tuple[object, ...]]:
    """Return the rows that the files must hold."""
    rows = [
        row
        for name in harness.appids
        for day in days_between(BEGIN, END)
        for row in flat_rows(CATALOGUE[DAILY], name, a_third_is_empty(DAILY, name, day))
    ]
    return sorted(rows)


def assert_rows_are_right(harness: RepeatingHarness, duck: duckdb.DuckDBPyConnection) -> None:
    """Run through the proxy, and on the next day without it; compare the files with the truth."""
    summary = harness.run()
    first = set(published_rows(duck, harness.root, DAILY))
    assert first <= set(truth(harness))
    assert summary.surplus_answers > 0
    assert any("no request asked for" in note for note in map(str, notes_of(summary, {})))
    harness.advance(86_400)
    harness.honest = True
    harness.run()
    assert published_rows(duck, harness.root, DAILY) == truth(harness)


def harness_of(
    root: Path, mode: str, accounts: int, share: float = 0.05, *, tokens_only: bool = False
) -> RepeatingHarness:
    """Return a harness with a window of each day for each account."""
    return RepeatingHarness(
        root,
        accounts=accounts,
        begin=BEGIN,
        end=END,
        datasets=(DAILY,),
        source=a_third_is_empty,
        rules=Rules(),
        limits=Limits(Pace(Rate(200, 1.0), burst=1, concurrency=2), connections=32),
        mode=mode,
        share=share,
        tokens_only=tokens_only,
    )


@pytest.mark.parametrize("mode", MODES)
def test_a_repeated_answer_is_never_another_account_s_or_day_s(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection, mode: str
) -> None:
    """No row is misfiled, and no day is settled by an answer to another request."""
    # A quarter, because an answer that comes after its connection was closed is not counted.
    assert_rows_are_right(harness_of(tmp_path, mode, 10, 0.25), duck)


def test_a_repeated_token_is_never_another_account_s(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """A fifth of the token answers come twice, and every account is harvested with its own."""
    assert_rows_are_right(harness_of(tmp_path, "late", 40, 0.2, tokens_only=True), duck)


@pytest.mark.slow
def test_4_800_windows_with_repeated_tokens(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """A fifth of the token answers of a hundred accounts come twice, late."""
    assert_rows_are_right(harness_of(tmp_path, "late", 100, 0.2, tokens_only=True), duck)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("share", [0.01, 0.05, 0.5])
def test_4_800_windows_of_100_accounts(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection, mode: str, share: float
) -> None:
    """At any share of repeated answers no row is misfiled and no day is settled wrongly."""
    assert_rows_are_right(harness_of(tmp_path, mode, 100, share), duck)
