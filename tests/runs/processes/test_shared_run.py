"""A run in several processes is one run: its rows, requests, record, events and exit code."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import harvester
from harvester.core.calendar import day_text, today
from harvester.core.errors import UsageError
from harvester.core.model import bucket_of
from harvester.runs.harvest import execute
from harvester.runs.processes.launcher import Launcher
from harvester.runs.run_log import new_run_log
from harvester.runs.runtime import RunOptions
from harvester.sandbox import Rules
from harvester.storage import locks
from harvester.storage.layout import open_tree
from tests.support.claims import claim
from tests.support.run_harness import DAILY, RunHarness, run_state
from tests.support.shared_runs import (
    BUCKETS,
    SECRET,
    Workplace,
    without_times,
    workplace,
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workplace]:
    """Return a manifest of twelve accounts, over two months so that each has three windows."""
    with workplace(tmp_path) as found:
        yield found


def shard_of(appid: str) -> str:
    """Return the shard of two that an account is in."""
    return f"{bucket_of(appid, BUCKETS) % 2 + 1}/2"


def test_two_processes_harvest_what_one_does(place: Workplace, tmp_path: Path) -> None:
    """The same requests and rows, and one record that says the same but for its shards."""
    events: list[harvester.Event] = []
    found = harvester.run(place.manifest(), processes=2, on_event=events.append)
    record = place.record()
    assert found.outcome == "complete"
    assert found.rows == place.expected_rows()
    assert found.requests == place.calls()
    calls = dict(place.world.counters.calls)

    place.world.reset()
    alone = harvester.run(place.manifest(), output=tmp_path / "alone")
    assert dict(place.world.counters.calls) == calls
    assert without_times(record) == without_times(alone.to_dict())
    assert [shard["shard"] for shard in record["shards"]] == ["1/2", "2/2"]
    assert sum(shard["requests"] for shard in record["shards"]) == found.requests
    assert sum(entry["rows_after"] for entry in record["published"]) == found.rows
    assert place.publishers() == {found.run_id}

    out = harvester.open(place.output)
    assert out.arrow(DAILY).count_rows() == found.rows
    assert out.verify().undamaged
    assert len(out.runs()) == 1
    assert not list((place.output / "_harvester/raw").rglob("*.group"))
    told = [event for event in events if isinstance(event, harvester.Published)]
    assert {event.shard for event in told} == {"1/2", "2/2"}
    ends = [event for event in events if event.event in {"run_started", "run_ended"}]
    assert [(event.event, event.shard) for event in ends] == [
        ("run_started", None),
        ("run_ended", None),
    ]
    assert {event.run_id for event in events} == {found.run_id}


def test_a_shard_s_own_shards_are_those_that_could_be_named(place: Workplace) -> None:
    """`--shard 1/2` in two processes is 1/4 and 3/4. A reader of changes sees one run."""
    found = harvester.run(place.manifest(), processes=2, shard="1/2")
    out = harvester.open(place.output)
    assert (found.shard, found.outcome) == ("1/2", "complete")
    assert [shard["shard"] for shard in place.record()["shards"]] == ["1/4", "3/4"]
    assert place.calls_of(0) == found.requests
    assert place.calls_of(1) == 0
    _, cursor = out.changes()
    rest = harvester.run(place.manifest(), processes=2)
    assert {change.run_id for change in out.changes(cursor)[0]} == {rest.run_id}
    assert found.rows + rest.rows == place.expected_rows()


@pytest.mark.long
@pytest.mark.parametrize("days_ahead", [0, 40])
def test_the_connections_are_shared_out(tmp_path: Path, days_ahead: int) -> None:
    """As many requests are in flight as the manifest allows, after a clock correction too."""
    ahead = days_ahead * 86_400
    with workplace(tmp_path, Rules(latency=0.05), clock=lambda: time.time() + ahead) as place:
        place.days = ("2025-09-21", "2026-03-20")
        place.options = {"limits": {**place.manifest()["limits"], "connections": 3}}
        found = harvester.run(place.manifest(), processes=2)
    assert found.reasons == (("clock",) if days_ahead else ())
    assert place.world.most_in_flight() == 3


def test_more_processes_than_buckets_or_connections_are_refused(place: Workplace) -> None:
    """With what to do about it, and before anything is requested."""
    with pytest.raises(harvester.UsageError, match=r"5 processes .* this run has 4") as caught:
        harvester.run(place.manifest(), processes=5)
    assert caught.value.advice.startswith("use 4 of them; ")
    with pytest.raises(harvester.UsageError, match=r"3 processes .* this run has 2"):
        harvester.run(place.manifest(), processes=3, shard="1/2")
    place.options = {"limits": {"connections": 1}}
    with pytest.raises(harvester.UsageError, match=r"limits\.connections, which is 1"):
        harvester.run(place.manifest(), processes=2)
    for wrong in (0, -1, "many"):
        with pytest.raises(harvester.UsageError, match="processes"):
            harvester.run(place.manifest(), processes=wrong)  # type: ignore[arg-type]
    assert place.world.counters.requests == 0


def test_the_limit_of_requests_is_judged_over_all(place: Workplace) -> None:
    """Each shard alone would be allowed."""
    place.options = {"limits": {"max_requests": place.accounts - 1}}
    with pytest.raises(harvester.UsageError, match="would make 12 requests"):
        harvester.run(place.manifest(), processes=2)
    assert place.world.counters.requests == 0
    assert place.record()["outcome"] == "invalid"


def test_nothing_missing_starts_no_process(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process says that all is covered; a raw log of an earlier run needs them again."""
    assert harvester.run(place.manifest(), processes=2).requests == 12
    started: list[object] = []
    enter = Launcher.__enter__

    def start(launcher: Launcher) -> Launcher:
        started.append(launcher)
        return enter(launcher)

    monkeypatch.setattr(Launcher, "__enter__", start)
    found = harvester.run(place.manifest(), processes=2)
    assert (found.outcome, found.requests, started) == ("complete", 0, [])
    assert found.datasets[0].days.done == 12 * 20
    left = place.output / "_harvester/raw/run/0000-1.group"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"torn")
    assert harvester.run(place.manifest(), processes=2).outcome == "complete"
    assert len(started) == 1


def test_a_clock_that_is_behind_exceeds_no_limit(tmp_path: Path) -> None:
    """By WeChat's clock more days are missing than the plan had; none of them is asked."""
    with workplace(tmp_path, clock=lambda: time.time() + 40 * 86_400) as place:
        begin = day_text(today(time.time()) - 20)
        jobs = [{"datasets": [DAILY], "begin_date": begin}]
        place.options = {"jobs": jobs, "limits": {"max_requests": 12}}
        found = harvester.run(place.manifest(), processes=2)
        assert (found.reasons, found.requests, place.calls()) == (("clock",), 12, 12)


def test_a_shard_stays_within_its_grant(tmp_path: Path) -> None:
    """More may be missing under its lock than the plan had that the limit was judged by."""
    lab = RunHarness(tmp_path)
    log = new_run_log(lab.manifest().file, lab.clock())
    state = run_state(lab.manifest(), lab.tree, RunOptions(), lab.world(), log)
    with pytest.raises(UsageError, match=r"its share of limits\.max_requests is 3"):
        execute(state._replace(grant=3))
    assert lab.calls() == 0


def test_missing_secrets_are_named_once_before_the_first_request(place: Workplace) -> None:
    """Whatever shard needs them."""
    manifest = place.manifest()
    manifest["defaults"] = {"credential": {"secret": "${NO_SUCH_VARIABLE}"}}
    with pytest.raises(harvester.UsageError, match="and so for 11 more") as caught:
        harvester.run(manifest, processes=2)
    assert "NO_SUCH_VARIABLE" in str(caught.value)
    assert place.world.counters.requests == 0


def test_the_exit_code_is_the_most_severe_of_all_shards(place: Workplace) -> None:
    """And the problem is told by the shard that has it, once."""
    bad = next(each for each in place.appids if shard_of(each) == "2/2")
    place.world.fail(bad, 48001)
    events: list[harvester.Event] = []
    found = harvester.run(place.manifest(), processes=2, on_event=events.append)
    assert (found.exit_code, found.reasons) == (3, ("refused",))
    assert [(row.appid, row.errcodes) for row in found.accounts if row.reasons] == [(bad, (48001,))]
    problems = [event for event in events if isinstance(event, harvester.Problem)]
    assert [(event.shard, event.cause, event.accounts) for event in problems] == [
        ("2/2", "refused", (bad,))
    ]
    assert [shard["exit_code"] for shard in place.record()["shards"]] == [0, 3]


@pytest.mark.long
def test_no_account_authorised_is_said_of_all_shards_alone(place: Workplace) -> None:
    """A shard in which no account could be authorised leaves the others theirs."""
    for each in place.appids:
        if shard_of(each) == "2/2":
            place.world.fail(each, 40125, dataset="token")
    assert harvester.run(place.manifest(), processes=2).outcome == "partial"
    place.world.fail("*", 40125, dataset="token")
    place.days = ("2026-01-01", "2026-01-10")
    assert harvester.run(place.manifest(), processes=2).outcome == "unauthorised"


@pytest.mark.long
def test_a_shard_that_is_locked_leaves_the_others_to_go_on(place: Workplace) -> None:
    """The run is unfinished and names the shard; if all are locked it does not begin."""
    tree = open_tree(harvester.read_manifest(place.manifest()).output)
    events: list[harvester.Event] = []
    with locks.hold(tree, [1], claim("other", "2026-01-01T00:00:00Z")):
        found = harvester.run(place.manifest(), processes=2, on_event=events.append)
    assert (found.outcome, found.reasons, found.error) == ("unfinished", ("locked",), None)
    assert place.calls_of(1) == 0
    assert place.calls_of(0) == found.requests > 0
    problems = [event for event in events if isinstance(event, harvester.Problem)]
    assert [(event.shard, event.cause) for event in problems] == [("2/2", "locked")]
    [row] = found.datasets
    assert (row.accounts, row.days.missing) == (12, 20 * (12 - found.requests))
    with (
        locks.hold(tree, [0, 1], claim("other", "2026-01-01T00:00:00Z")),
        pytest.raises(harvester.Busy, match="run other"),
    ):
        harvester.run(place.manifest(), processes=2)


def test_a_clock_that_is_off_is_corrected_for_all(tmp_path: Path) -> None:
    """All shards go on under one name, that of the right time."""
    with workplace(tmp_path, clock=lambda: 1_700_000_000.0) as place:
        place.days = ("2023-10-01", "2023-10-10")
        place.options = {"jobs": [{"datasets": [DAILY], "begin_date": "2023-10-01"}]}
        found = harvester.run(place.manifest(), processes=2)
    record = place.record()
    assert found.reasons == ("clock",)
    assert found.run_id.startswith("20231114T")
    assert record["run_id"] == found.run_id
    assert record["clock_offset"] < -86_400
    assert record["today"] == "2023-11-15"
    assert 0 <= record["seconds"] < 60
    assert place.publishers() == {found.run_id}


@pytest.mark.long
def test_a_time_budget_reaches_all_shards(tmp_path: Path) -> None:
    """Answers that came are published."""
    with workplace(tmp_path, Rules(latency=0.2)) as place:
        place.days = ("2022-01-01", "2026-03-20")
        place.options = {"limits": {"connections": 2}}
        found = harvester.run(place.manifest(), processes=2, max_duration="4s")
    assert (found.outcome, found.reasons) == ("unfinished", ("time_budget",))
    assert found.rows == place.rows()
    assert {shard["exit_code"] for shard in place.record()["shards"]} == {75}


@pytest.mark.long
def test_no_secret_leaves_its_process(place: Workplace, caplog: pytest.LogCaptureFixture) -> None:
    """Log lines come with their shard, and without what only the shard knows."""
    caplog.set_level(logging.DEBUG)
    place.world.fail("*", 40001, dataset="token")
    found = harvester.run(place.manifest(), processes=2)
    assert found.exit_code != 0
    assert SECRET not in str(found.to_dict())
    assert SECRET not in caplog.text
    for path in place.output.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()
