"""A fault of our own in one window: that one fails, the others go on, and the run ends with 1."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from harvester.core.calendar import day_text
from harvester.core.exit_codes import Exit
from harvester.core.model import Window
from harvester.tables import decode as rows
from harvester.verbs import status
from harvester.wechat import attempt as fetch
from harvester.wechat.auth.provider import IssuedToken, Rejection
from harvester.wechat.auth.token_providers import TokenProviders
from tests.storage.state.test_change_feed import all_records
from tests.support.run_harness import (
    DAILY,
    FAST,
    HOURLY,
    RunHarness,
    days_between,
    expected,
    published_rows,
)

TOKEN = "access_token=very-secret-indeed"


def test_a_bug_while_asking_costs_its_window(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    duck: duckdb.DuckDBPyConnection,
) -> None:
    """The log says where it was, and not what the error said: that may hold a token."""
    lab = RunHarness(tmp_path, accounts=2, end="2026-03-05", datasets=(HOURLY,))
    attempt = fetch.attempt

    async def broken(window: Window, *rest: Any) -> Any:
        if window.appid == lab.appids[0] and day_text(window.begin) == "2026-03-03":
            raise TypeError(TOKEN)
        return await attempt(window, *rest)

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(fetch, "attempt", broken)
        done = lab.run()
    assert done.exit_code is Exit.BUG
    assert list(done.reasons()) == ["bug", "failed"]
    [gone] = done.abandoned
    assert (gone.appid, day_text(gone.begin), gone.count) == (lab.appids[0], "2026-03-03", 1)
    [line] = caplog.messages
    assert "TypeError" in line
    assert "test_internal_errors.py" in line
    assert TOKEN not in line + json.dumps(all_records(lab))
    assert lab.run().exit_code is Exit.DONE
    truth = expected(HOURLY, lab.appids, days_between(lab.begin, "2026-03-05"))
    assert published_rows(duck, lab.root, HOURLY) == truth


def broken_for(sick: str, asked: list[str]) -> Callable[..., Awaitable[IssuedToken]]:
    """Return a source of tokens with a bug that one account meets; ``asked`` gets each meeting."""
    source = TokenProviders.issue

    async def broken(self: TokenProviders, appid: str, rejection: Rejection | None) -> IssuedToken:
        if appid == sick:
            asked.append(appid)
            raise TypeError(TOKEN)
        return await source(self, appid, rejection)

    return broken


def test_a_bug_while_a_token_is_asked_for_costs_its_account(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    duck: duckdb.DuckDBPyConnection,
) -> None:
    """All who wait for it are told, and the other account does not notice."""
    lab = RunHarness(tmp_path, accounts=2, end="2026-03-05", datasets=(HOURLY,))
    monkeypatch.setattr(TokenProviders, "issue", broken_for(lab.appids[0], []))
    with caplog.at_level(logging.ERROR):
        done = lab.run()
    assert done.exit_code is Exit.BUG
    assert {gone.appid for gone in done.abandoned} == {lab.appids[0]}
    assert published_rows(duck, tmp_path, HOURLY) == expected(
        HOURLY, lab.appids[1:], days_between(lab.begin, "2026-03-05")
    )
    assert TOKEN not in caplog.text


def test_a_source_with_a_bug_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its account has two months to ask: each window would cost a question, and a line in the log.

    Those who wait for the answer are told of the bug, and after them the account is given up.
    """
    limits = replace(FAST, per_token=replace(FAST.per_token, concurrency=1))
    lab = RunHarness(tmp_path, accounts=2, end="2026-04-30", datasets=(HOURLY,), limits=limits)
    asked = list[str]()
    monkeypatch.setattr(TokenProviders, "issue", broken_for(lab.appids[0], asked))
    with caplog.at_level(logging.ERROR):
        done = lab.run()
    assert (done.exit_code, done.answered, done.bugs) == (Exit.BUG, 61, 1)
    assert list(done.reasons()) == ["bug", "failed", "refused"]
    assert asked == [lab.appids[0]]
    assert sum(gone.count for gone in done.abandoned) == 61
    [line] = caplog.messages
    assert "TypeError" in line
    assert TOKEN not in line + json.dumps(all_records(lab))


@pytest.mark.parametrize("dataset", [DAILY, HOURLY])
def test_a_bug_while_reading_puts_the_window_into_quarantine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, duck: duckdb.DuckDBPyConnection, dataset: str
) -> None:
    """Its answer is kept, and a version without the bug asks again. No run stumbles for ever."""
    lab = RunHarness(tmp_path, accounts=2, end="2026-03-05", datasets=(dataset,))
    decode = rows._decode

    def broken(shape: Any, window: Window, body: bytes) -> Any:
        if window.appid == lab.appids[0]:
            raise ZeroDivisionError(TOKEN)
        return decode(shape, window, body)

    with monkeypatch.context() as patch:
        patch.setattr(rows, "_decode", broken)
        patch.setattr("harvester.tables.decode_batch._decode_clean", broken)
        done = lab.run()
    assert done.exit_code is Exit.BUG
    assert set(done.reasons()) == {"bug", "quarantined"}
    assert {day.appid for day in done.quarantined} == {lab.appids[0]}
    assert "a bug in harvester: ZeroDivisionError at " in done.quarantined[0].reason
    assert TOKEN not in json.dumps(all_records(lab))
    assert lab.run(refetch="quarantined").exit_code is Exit.DONE
    truth = expected(dataset, lab.appids, days_between(lab.begin, "2026-03-05"))
    assert published_rows(duck, lab.root, dataset) == truth


def record_of_bug(lab: RunHarness, patch: pytest.MonkeyPatch, function: str) -> dict[str, Any]:
    """Return the record of a run that a bug in a function ends."""

    def broken(*_: Any) -> Any:
        raise KeyError(TOKEN)

    patch.setattr(function, broken)
    with pytest.raises(KeyError):
        lab.run()
    [record] = all_records(lab)
    assert (record["exit_code"], record["outcome"], record["reasons"]) == (1, "bug", ["bug"])
    assert record["frames"][-1].endswith(" in broken")
    assert len([frame for frame in record["frames"] if frame.startswith("harvester/")]) >= 3
    assert TOKEN not in json.dumps(record)
    return record


@pytest.fixture
def lab(tmp_path: Path) -> RunHarness:
    """Prepare one account with five days of hours."""
    return RunHarness(tmp_path, accounts=1, end="2026-03-05", datasets=(HOURLY,))


def test_no_record_calls_a_run_complete_that_ends_as_a_bug(
    lab: RunHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if all days are published, and only a table beside them could not be made."""
    record_of_bug(lab, monkeypatch, "harvester.runs.days.derived_tables.TablesUpdate.write")
    found = status.survey(lab.manifest(), lab.tree, lab.now())
    assert [run.outcome for run in found.runs] == ["bug"]


def test_a_bug_that_ends_a_run_is_told_in_its_record(
    lab: RunHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """State ``finished``, exit code 1, reason ``bug``, and what was replaced before."""
    record = record_of_bug(lab, monkeypatch, "harvester.storage.coverage_scan.suspicious")
    assert record["state"] == "finished"
    assert len(record["published"]) == 1
