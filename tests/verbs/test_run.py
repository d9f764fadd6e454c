"""`harvester.run` in every place from which programs call it."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pyarrow.parquet as pq
import pytest

import harvester
from harvester.catalogue.error_codes import rule_for
from harvester.core.exit_codes import Outcome
from harvester.core.model import Refusal
from harvester.core.rule import Action, Rule, Scope
from harvester.runs.record.causes import lost_lines
from harvester.runs.record.record import Record
from harvester.scheduling.listener import AbandonedDays
from harvester.storage import locks
from harvester.storage.layout import open_tree
from harvester.testing import Sandbox
from harvester.verbs.run import Run
from tests.support.claims import claim
from tests.support.run_harness import newest_days

Manifest = dict[str, Any]


def rows_of(manifest: Manifest, dataset: str = "interface_summary") -> int:
    """Count the rows in the files of a dataset."""
    files = Path(manifest["output"]).glob(f"{dataset}/*/*.parquet")
    return sum(pq.read_metadata(file).num_rows for file in files)


def long_manifest(wechat: Sandbox, output: Path, rate: str = "50/s") -> Manifest:
    """Return a manifest that takes minutes."""
    found = wechat.manifest(
        ["interface_summary_hour"], begin_date="-700d", output=str(output / "output")
    )
    return {**found, "limits": {"per_token": {"rate": rate}}}


def in_a_loop(call: Callable[[], harvester.Result]) -> harvester.Result:
    """Call from a running event loop, as a cell of a notebook does."""

    async def cell() -> harvester.Result:
        return call()

    return asyncio.run(cell())


def in_a_thread(call: Callable[[], harvester.Result]) -> harvester.Result:
    """Call in a thread, as an executor does."""
    found: list[harvester.Result] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def at_once(call: Callable[[], harvester.Result]) -> harvester.Result:
    """Call as a script does."""
    return call()


@pytest.mark.parametrize("place", [at_once, in_a_loop, in_a_thread])
def test_a_run_is_complete_and_the_next_one_asks_nothing(
    manifest: Manifest, place: Callable[..., harvester.Result]
) -> None:
    """In a script, in a running loop and in a thread."""
    first = place(lambda: harvester.run(manifest))
    assert (first.outcome, first.exit_code, first.reasons) == ("complete", 0, ())
    assert first.requests > 0
    assert first.rows == rows_of(manifest) > 0
    assert {item.dataset for item in first.published} == {"interface_summary"}
    first.raise_for_outcome()
    assert place(lambda: harvester.run(manifest)).requests == 0


def test_the_rows_are_those_that_wechat_answered(wechat: Sandbox, manifest: Manifest) -> None:
    """The emulator says what a harvest must find."""
    manifest["jobs"][0] |= {"begin_date": "2026-03-01", "end_date": "2026-03-07"}
    harvester.run(manifest)
    truth = wechat.expected("interface_summary", "2026-03-01", "2026-03-07")
    found = harvester.open(manifest["output"]).arrow("interface_summary")
    assert found.to_table(columns=truth.column_names).sort_by("appid") == truth


def test_a_path_and_the_options_of_the_command_line(tmp_path: Path, manifest: Manifest) -> None:
    """Dates, names and durations, as text or as values."""
    file = tmp_path / "jobs.yaml"
    file.write_text(json.dumps(manifest))
    found = harvester.run(
        str(file),
        accounts=["wx0000000000000001"],
        datasets="interface_*",
        begin_date="-5d",
        shard=(1, 1),
        max_duration=timedelta(minutes=5),
        labels={"team": "growth"},
        output=tmp_path / "elsewhere",
    )
    assert found.requests == 1
    assert found.labels == {"team": "growth"}
    assert (tmp_path / "elsewhere/interface_summary").is_dir()


def test_a_cancelled_run_ends_in_order(wechat: Sandbox, tmp_path: Path) -> None:
    """Its answers are published, its record says so, and the next run goes on."""
    manifest, events = long_manifest(wechat, tmp_path), list[harvester.Event]()

    async def cancel() -> None:
        begun, loop = asyncio.Event(), asyncio.get_running_loop()

        def listen(event: harvester.Event) -> None:
            events.append(event)
            if isinstance(event, harvester.RunStarted):
                loop.call_soon_threadsafe(begun.set)

        # The host's own task.
        task = asyncio.create_task(  # noqa: TID251
            harvester.run_async(manifest, on_event=listen)
        )
        await begun.wait()
        await asyncio.sleep(0.5)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    end = events[-1]
    assert isinstance(end, harvester.RunEnded)
    assert (end.outcome, end.exit_code) == ("stopped", 130)
    assert end.rows == rows_of(manifest, "interface_summary_hour")
    again = harvester.run(manifest, begin_date="-30d")
    assert again.outcome == "complete"


PROGRAM = """
import json, sys
import harvester
from harvester.core.exit_codes import Outcome
from harvester.core.model import Refusal
from harvester.runs.record.causes import lost_lines
try:
    harvester.run(json.loads(sys.argv[1]), on_event=lambda event: print(event.event, flush=True))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_the_host_s_own_signal_ends_a_run_in_order(wechat: Sandbox, tmp_path: Path) -> None:
    """A script that gets Ctrl-C sees KeyboardInterrupt, once everything is published."""
    manifest = long_manifest(wechat, tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, json.dumps(manifest)], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "run_started\n"
        program.send_signal(signal.SIGINT)
        told = program.stdout.read().split()
    assert told[-2:] == ["run_ended", "interrupted"]
    [record] = (tmp_path / "output/_harvester/runs").glob("*.json")
    assert json.loads(record.read_bytes())["outcome"] == "stopped"


def test_a_signal_that_another_thread_gets_ends_a_run_in_order(
    wechat: Sandbox, tmp_path: Path
) -> None:
    """Python lets the main thread handle it, and does not wake it up for that."""
    program = PROGRAM.replace("import json, sys", "import json, signal, sys, threading").replace(
        "print(event.event, flush=True)",
        "event.event == 'run_started'"
        " and signal.pthread_kill(threading.get_ident(), signal.SIGINT)",
    )
    command = [sys.executable, "-c", program, json.dumps(long_manifest(wechat, tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "interrupted\n"
    [record] = (tmp_path / "output/_harvester/runs").glob("*.json")
    assert json.loads(record.read_bytes())["outcome"] == "stopped"


def test_a_signal_right_after_the_start_ends_a_run_in_order(
    wechat: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above, before the host's thread waits for the result."""
    begun, start = threading.Event(), Run.start
    manifest = long_manifest(wechat, tmp_path)

    def interrupted(run: Run) -> NoReturn:
        start(run)
        assert begun.wait(60)
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        harvester.run(manifest, on_event=lambda _: begun.set())
    [record] = (tmp_path / "output/_harvester/runs").glob("*.json")
    assert json.loads(record.read_bytes())["outcome"] == "stopped"


def test_a_signal_before_the_start_waits_for_no_run(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None begins later either."""
    started: list[Run] = []
    start = Run.start

    def interrupted(run: Run) -> NoReturn:
        started.append(run)
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        harvester.run(manifest)
    start(started[0])
    assert not Path(manifest["output"]).exists()


def test_a_plan_tells_that_the_run_would_be_refused(manifest: Manifest) -> None:
    """`limits.max_requests` refuses a run before its first call, and a plan is asked before."""
    manifest["limits"] = {"max_requests": 1}
    assert "a run would be refused: limits.max_requests is 1" in harvester.plan(manifest).warnings
    with pytest.raises(harvester.UsageError, match="max_requests is 1"):
        harvester.run(manifest)
    manifest["limits"] = {"max_requests": 10**6}
    assert not any("max_requests" in warning for warning in harvester.plan(manifest).warnings)


def test_results_events_and_errors_can_be_pickled(manifest: Manifest) -> None:
    """An executor sends them from one process to another."""
    events: list[harvester.Event] = []
    result = harvester.run(manifest, on_event=events.append)
    unfinished = replace(result, outcome=Outcome.UNFINISHED, exit_code=75)
    errors: list[BaseException] = []
    for act in (unfinished.raise_for_outcome, lambda: harvester.run({"version": 1})):
        with pytest.raises(harvester.HarvesterError) as caught:
            act()
        errors.append(caught.value)
    for value in (result, harvester.plan(manifest), harvester.status(manifest), *events):
        assert pickle.loads(pickle.dumps(value)) == value
    for error in errors:
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_mistakes_of_a_manifest_are_raised_with_their_places() -> None:
    """Of a mapping too; the lines are those of the mapping as indented JSON."""
    with pytest.raises(harvester.UsageError) as caught:
        harvester.run({"version": 1, "accounts": [{"appid": "wx"}], "jobs": []})
    assert any(mistake.place.line == 5 for mistake in caught.value.mistakes)
    with pytest.raises(harvester.UsageError, match="no manifest"):
        harvester.run({"version": object()})


@pytest.mark.parametrize("shard", ["0/2", "3/2", "x", (0, 1)])
def test_a_shard_that_is_none_is_refused(manifest: Manifest, shard: Any) -> None:
    """Before anything is requested."""
    with pytest.raises(harvester.UsageError, match="shard"):
        harvester.run(manifest, shard=shard)


@pytest.mark.parametrize("wrong", [{"refetch": "al"}, {"progress": "bar"}])
def test_a_word_that_is_none_of_an_argument_is_refused(
    manifest: Manifest, wrong: dict[str, Any]
) -> None:
    """With the words that there are: treated as another one it would ask for nothing, or draw."""
    [(name, value)] = wrong.items()
    with pytest.raises(harvester.UsageError, match=f"{name} `'{value}'` does not fit") as caught:
        harvester.run(manifest, **wrong)
    assert "Literal['a" in caught.value.advice


def test_a_shard_of_an_engine(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` is the index that the engine has set, and an error without one."""
    with pytest.raises(harvester.UsageError, match="no engine has set an index"):
        harvester.run(manifest, shard="auto")
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    monkeypatch.setenv("HARVESTER_SHARDS", "2")
    manifest["output"] = {"path": manifest["output"], "buckets": 2}
    assert harvester.run(manifest, shard="auto").shard == "2/2"


def test_a_busy_output_names_its_owner(manifest: Manifest) -> None:
    """And since when it is at work."""
    harvester.run(manifest)
    tree = open_tree(harvester.read_manifest(manifest).output)
    with (
        locks.hold(tree, [0], claim("other", "2026-01-01T00:00:00Z")),
        pytest.raises(harvester.Busy) as caught,
    ):
        harvester.run(manifest, begin_date="-60d")
    assert "run other" in caught.value.owner
    assert caught.value.since == "2026-01-01T00:00:00Z"
    assert caught.value.retry_at is not None
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.owner, again.retry_at) == (caught.value.owner, caught.value.retry_at)


@pytest.mark.parametrize("timeout", ["30s", timedelta(seconds=30)])
def test_a_run_waits_for_the_owner(manifest: Manifest, timeout: str | timedelta) -> None:
    """As long as `lock_timeout` says, in a time budget of its own."""
    harvester.run(manifest)
    tree = open_tree(harvester.read_manifest(manifest).output)
    other = locks.hold(tree, [0], claim("other"))
    other.__enter__()
    release = threading.Timer(0.3, other.__exit__, (None, None, None))
    release.start()
    assert harvester.run(manifest, lock_timeout=timeout).outcome == "complete"
    release.join()


def test_a_stopped_run_waits_no_longer(
    manifest: Manifest, caplog: pytest.LogCaptureFixture
) -> None:
    """A cancelled task gives up its wait for another run at once, and the loop logs no error."""
    harvester.run(manifest)
    tree = open_tree(harvester.read_manifest(manifest).output)

    async def cancelled() -> None:
        async with asyncio.timeout(0.5):
            await harvester.run_async(manifest, lock_timeout="10m")

    with locks.hold(tree, [0], claim("other")), pytest.raises(TimeoutError):
        asyncio.run(cancelled())
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_a_lock_timeout_that_is_none_is_refused(manifest: Manifest) -> None:
    """Before anything is requested."""
    with pytest.raises(harvester.UsageError, match="lock_timeout"):
        harvester.run(manifest, lock_timeout="soon")


def test_an_error_of_the_listener_is_logged_once(
    manifest: Manifest, caplog: pytest.LogCaptureFixture
) -> None:
    """The run is none the worse for it."""

    def fail(_: harvester.Event) -> None:
        raise RuntimeError("my own mistake")

    assert harvester.run(manifest, on_event=fail).outcome == "complete"
    told = [line for line in caplog.messages if "RuntimeError" in line and "test_run.py" in line]
    assert len(told) == 1


def test_a_refused_account_is_in_the_result(manifest: Manifest, tmp_path: Path) -> None:
    """`raise_for_outcome` raises what the outcome says, with the result."""
    del tmp_path
    with harvester.testing.sandbox(accounts=2, faults={"wx0000000000000001": 48001}) as wechat:
        found = harvester.run({**wechat.manifest(), "output": manifest["output"]})
    assert (found.outcome, found.reasons, found.retry_at) == ("partial", ("refused",), None)
    assert [row.errcodes for row in found.accounts] == [(48001,)]
    with pytest.raises(harvester.PartialFailure) as caught:
        found.raise_for_outcome()
    assert caught.value.result is found


def test_an_unfinished_run_that_needs_a_person_says_so_in_its_error(tmp_path: Path) -> None:
    """The error has the code of the run, 76, and the moment from which on it goes on."""
    faults = {"wx0000000000000001": 48001, "wx0000000000000002": 45009}
    with harvester.testing.sandbox(accounts=2, faults=faults) as wechat:
        found = harvester.run(wechat.manifest(output=str(tmp_path / "output")))
    with pytest.raises(harvester.Unfinished) as caught:
        found.raise_for_outcome()
    assert (caught.value.exit_code, caught.value.retry_at) == (76, found.retry_at)
    assert [item.key for item in found.attention] == ["refused/wx0000000000000001/48001"]
    assert (found.attention_new, found.attention_total) == (1, 1)


def test_an_account_of_the_emulator_can_fail_and_heal(wechat: Sandbox, tmp_path: Path) -> None:
    """A test of a user's own pipeline sees both ends."""
    manifest = wechat.manifest(output=str(tmp_path / "output"))
    wechat.fail("wx0000000000000001", 48001)
    assert harvester.run(manifest).reasons == ("refused",)
    wechat.heal("wx0000000000000001")
    assert harvester.run(manifest, refetch="refused").outcome == "complete"


def test_results_of_shards_are_merged(wechat: Sandbox, tmp_path: Path) -> None:
    """Sums, and the most severe outcome."""
    manifest = wechat.manifest(output=str(tmp_path / "output"))
    manifest["output"] = {"path": manifest["output"], "buckets": 4}
    parts = [harvester.run(manifest, shard=f"{number}/2") for number in (1, 2)]
    whole = harvester.Result.merge(parts)
    assert whole.requests == sum(part.requests for part in parts)
    assert whole.outcome == "complete"
    [row] = whole.datasets
    assert row.accounts == 3
    assert whole.rows == sum(part.rows for part in parts) > 0
    assert whole.to_dict()["requests"] == whole.requests
    assert [shard["shard"] for shard in whole.to_dict()["shards"]] == ["1/2", "2/2"]
    late = harvester.Result.of(replace(parts[0].record, out_of_time=True))
    assert harvester.Result.merge([parts[1], late]).outcome == "unfinished"
    # All accounts are in the buckets of the first shard.
    assert [part.record.wanted_accounts for part in parts] == [3, 0]
    refused = harvester.Result.of(locked_out(parts[0].record))
    assert refused.outcome == "unauthorised"
    assert harvester.Result.merge([refused, parts[1]]).outcome == "unauthorised"
    assert harvester.Result.merge([parts[0], refused]).outcome == "partial"
    assert harvester.Result.merge([refused, late]).outcome == "unfinished"


def locked_out(done: Record) -> Record:
    """Return the record of a shard of which no account could be authorised."""
    rule = rule_for(40125)
    gone = [
        AbandonedDays(f"wx{number}", "interface_summary", 1, 1, 1, rule, "no")
        for number in range(done.wanted_accounts)
    ]
    return replace(done, answered=0, abandoned=gone)


def test_the_library_leaves_its_host_alone(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """No signal handler, no logging, no output, and no variable of the command line."""
    monkeypatch.setenv("HARVESTER_DATASETS", "user_summary")
    monkeypatch.setenv("HARVESTER_PROGRESS", "bar")
    before = signal.getsignal(signal.SIGINT), logging.getLogger().handlers[:], os.environ.copy()
    assert harvester.run(manifest).outcome == "complete"
    after = signal.getsignal(signal.SIGINT), logging.getLogger().handlers[:], os.environ.copy()
    assert after == before
    assert capfd.readouterr() == ("", "")


def test_texts_name_the_first_accounts_with_the_cause_and_its_remedy(tmp_path: Path) -> None:
    """Of the result, of its error and of the row of a shard, as the command prints it."""
    refused = {f"wx{number:016x}": 48001 for number in range(1, 6)}
    with harvester.testing.sandbox(accounts=6, faults=refused) as wechat:
        output = str(tmp_path / "output")
        manifest = wechat.manifest(["user_summary"], output=output, **newest_days(30))
        manifest["accounts"][0]["name"] = "Acme"
        found = harvester.run(manifest)
    first = (
        "5 accounts (wx0000000000000001 Acme, wx0000000000000002, wx0000000000000003 and 2 more),"
        " user_summary: 150 days: 48001 api unauthorized"
    )
    with pytest.raises(harvester.PartialFailure) as caught:
        found.raise_for_outcome()
    for text in (str(found), str(caught.value), str(harvester.Result.merge([found]))):
        assert first in text
        assert text.count("the account may not use this API. Verify the account") == 1
    assert pickle.loads(pickle.dumps(found)).names == found.names


def test_a_remedy_is_told_once_however_many_causes_have_it() -> None:
    """The second refusal has another code, and the same remedy."""
    days = [
        AbandonedDays("wx1", dataset, 1, 1, 1, rule_for(48001), Refusal(code, "no", ""))
        for dataset, code in (("user_summary", 48001), ("user_cumulate", 48004))
    ]
    causes = [*lost_lines(Record(abandoned=days), {"wx1": "Acme"})]
    assert causes[0] == "wx1 Acme, user_summary: 1 day: 48001 no"
    assert causes[1].startswith("  the account may not use this API. ")
    assert causes[2:] == ["wx1 Acme, user_cumulate: 1 day: 48004 no"]


def test_accounts_of_one_meaning_are_not_said_to_have_the_words_of_the_first() -> None:
    """One account's command fails, and the token server of another has no such page."""
    rule = Rule(Action.STOP, Scope.ACCOUNT, "no token came", "Check the credential.")
    whys = ["the command failed", "the server answered 404", "the command failed"]
    days = [
        AbandonedDays(f"wx{number}", "user_summary", 1, 1, 1, rule, why)
        for number, why in enumerate(whys)
    ]
    first, *_ = lost_lines(Record(abandoned=days), {})
    assert first.endswith("3 days: the command failed; the server answered 404")
