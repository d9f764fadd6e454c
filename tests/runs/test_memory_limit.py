"""The limit of a run's memory: fewer answers in hand, then an end with 75, and nothing lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from harvester.core.config.settings import Limits
from harvester.core.errors import MemoryLimit, UsageError
from harvester.core.exit_codes import Exit
from harvester.core.shortage import resident_memory
from harvester.runs import watchers
from harvester.runs.processes.shared_run import _processes
from tests.support.run_harness import DAILY, RunHarness, days_between, expected, published_rows

MIB = 1 << 20
LIMIT = 1000 * MIB


def resident(size: int) -> Callable[[], int]:
    """Return a reading of the memory: ``size`` MiB."""
    return lambda: size * MIB


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunHarness:
    """A run that is limited, and looks at its memory all the time."""
    monkeypatch.setattr(watchers, "_COUNT_SECONDS", 0.001)
    made = RunHarness(tmp_path, accounts=30, datasets=(DAILY,))
    made.limits = replace(made.limits, connections=2, memory=LIMIT)
    return made


def assert_exact(harness: RunHarness, duck: duckdb.DuckDBPyConnection) -> None:
    """Compare every row with the emulator's own."""
    days = days_between(harness.begin, harness.end or "")
    assert published_rows(duck, harness.root, DAILY) == expected(DAILY, harness.appids, days)


def test_a_run_at_its_limit_ends_with_75_and_the_next_one_is_exact(
    harness: RunHarness, duck: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It publishes nothing more, keeps every answer, and says how much it used."""
    monkeypatch.setattr(
        watchers, "resident_memory", lambda: (1001 if harness.calls() > 5 else 10) * MIB
    )
    with pytest.raises(MemoryLimit, match=r"uses 1,001 MiB .* limits.memory is 1,000 MiB") as met:
        harness.run()
    assert met.value.exit_code is Exit.AGAIN
    [path] = (harness.root / "_harvester" / "runs").glob("*.json")
    record = json.loads(path.read_text("utf-8"))
    assert (record["outcome"], record["reasons"]) == ("unfinished", ["memory"])
    assert record["retry_at"] == record["ended_at"]
    asked = harness.calls()
    assert 5 < asked < len(harness.appids)
    assert not list(harness.root.glob(f"{DAILY}/*/*.parquet"))

    monkeypatch.setattr(watchers, "resident_memory", resident(10))
    harness.run()
    # Two windows each: none of them is asked twice.
    assert harness.calls() == 2 * len(harness.appids)
    assert_exact(harness, duck)


def test_a_run_near_its_limit_goes_on(
    harness: RunHarness, duck: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is slower, and complete."""
    monkeypatch.setattr(watchers, "resident_memory", resident(801))
    assert not harness.run().reasons()
    assert_exact(harness, duck)


def test_a_limit_that_is_not_set_is_never_reached(
    harness: RunHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory is not even read."""
    monkeypatch.setattr(watchers, "resident_memory", resident(1_000_000))
    harness.limits = replace(harness.limits, memory=None)
    assert not harness.run().reasons()


@pytest.mark.parametrize(
    ("memory", "wanted", "count"),
    [(None, 0, 4), (192, 0, 1), (575, 0, 1), (576, 0, 2), (2048, 0, 4), (576, 2, 2)],
)
def test_processes_share_the_limit_with_the_one_that_starts_them(
    memory: int | None, wanted: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as have 192 MiB each, one for the first process among them."""
    monkeypatch.setattr("harvester.runs.processes.shared_run.usable_cores", lambda: 4)
    limits = Limits(memory=memory and memory * MIB)
    assert _processes(wanted, 8, limits) == count


def test_more_processes_than_the_limit_allows_are_refused() -> None:
    """Before the first request, with what they need."""
    with pytest.raises(UsageError, match=r"3 processes .* need 768 MiB of limits.memory"):
        _processes(3, 8, Limits(memory=767 * MIB))


def test_the_memory_that_is_used_is_that_of_now() -> None:
    """It follows a large object, up and down."""
    before = resident_memory()
    large = bytearray(b"x" * (300 * MIB))
    assert resident_memory() - before > 280 * MIB
    del large
    assert resident_memory() - before < 100 * MIB
