"""Outcomes of runs, and the moment from which another run could obtain more."""

from __future__ import annotations

import errno
import itertools
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core import calendar, errors
from harvester.core.calendar import instant, parse_day, utc_text
from harvester.core.exit_codes import Exit, Outcome
from harvester.core.model import Window
from harvester.core.rule import Action, Rule, Scope
from harvester.runs import facts
from harvester.runs.clock import CheckedClock
from harvester.runs.event_loop import run_in_loop
from harvester.runs.harvest import execute
from harvester.runs.record.account_report import (
    AccountSummary,
    DatasetSummary,
    DayCounts,
    reason_for,
)
from harvester.runs.record.members import ShardOutcome
from harvester.runs.record.prospects import comes_at
from harvester.runs.record.record import Record
from harvester.runs.record.run_record import as_record, key_figures
from harvester.runs.run_log import RunLog, end_of, new_run_log, recorded
from harvester.runs.runtime import RunOptions
from harvester.runs.stream import Stream
from harvester.sandbox import TOKEN, Rules
from harvester.sandbox.calls import Reply
from harvester.scheduling.listener import AbandonedDays
from harvester.storage import locks
from harvester.storage.backends.atomic_files import os_errors_as_store_errors
from harvester.verbs import gate, status
from harvester.verbs.gate import Required
from tests.support.claims import claim
from tests.support.fake_time import VirtualTimeHarness, in_virtual_time
from tests.support.run_harness import DAILY, HOURLY, RunHarness, appid, run_state

SICK = appid(1)
DAY = parse_day("2026-05-20")
ENDED = instant(DAY, 18 * 60 + 20) + 0.5
"""Twenty past six in the evening in Beijing."""

MINUTES = {
    "time_budget": 0.0,
    "stopped": 0.0,
    "incomplete": 0.0,
    "memory": 0.0,
    "minute_limit": 1.0,
    "locked": 1.0,
    "lease": 1.0,
    "store": 5.0,
    "deferred": 10.0,
    "unanswered": 10.0,
    "died": 10.0,
}
"""Minutes after the end of a run."""

FIXED = {"not_ready": instant(DAY, 19 * 60), "quota": instant(DAY + 1, 5)}

NEVER = {"failed", "refused", "quarantined", "unauthorised", "bug", "usage"}

CAUSES: dict[str, Any] = {
    "quota": Action.WAIT_FOR_QUOTA,
    "minute_limit": Action.SLOW_DOWN,
    "deferred": Action.DEFER,
    "not_ready": Action.NOT_READY,
    "failed": Action.RETRY,
    "refused": Action.STOP,
    "time_budget": None,
    "stopped": None,
    "lease": None,
    "incomplete": None,
    "quarantined": None,
    "bug": None,
}
"""Reasons of a run that was not ended by an error, with the action of a rule that they have."""

FAILURES: dict[str, errors.HarvesterError] = {
    "locked": errors.Busy("held"),
    "lease": errors.LeaseLost("late"),
    "unanswered": errors.Unanswered("no list"),
    "unauthorised": errors.Unauthorised("refused"),
    "store": errors.StoreAway("silent"),
    "usage": errors.UsageError("wrong"),
    "died": errors.ProcessDied("killed twice"),
    "memory": errors.MemoryLimit("too much"),
}


def expected(reason: str, ended: float = ENDED) -> float | None:
    """Return the moment of a reason by the tables above, for an end in the evening."""
    if reason in NEVER:
        return None
    return FIXED[reason] if reason in FIXED else ended + MINUTES[reason] * 60


LACKING = DayCounts(wanted=9, done=6, missing=3)
UNUSABLE = DayCounts(wanted=9, done=9, quarantined=3)


def row(number: int, *reasons: str, days: DayCounts = LACKING) -> AccountSummary:
    """Return an account that needs attention."""
    return AccountSummary(appid(number), DAILY, days, 1, 0, reasons=reasons)


def ended_with(*causes: str, ended: float = ENDED) -> Record:
    """Return the summary of a run that these causes left incomplete."""
    done = Record.begun(Path("jobs.yaml"), ended - 100)
    done.ended_at, done.finished, done.wanted_accounts = ended, True, 99
    for number, cause in enumerate(causes, 1):
        if isinstance(action := CAUSES[cause], Action):
            rule = Rule(action, Scope.ACCOUNT_DATASET, "m", "a")
            if cause == "failed":
                rule = rule._replace(scope=Scope.WINDOW)
            done.abandoned.append(AbandonedDays(appid(number), DAILY, 1, 3, 3, rule, "why"))
            done.accounts += (row(number, cause),)
        elif cause == "quarantined":
            done.accounts += (row(number, cause, days=UNUSABLE),)
            done.datasets = (DatasetSummary(DAILY, 1, UNUSABLE),)
        elif cause == "time_budget":
            done.out_of_time = True
        elif cause == "lease":
            done.out_of_lease = True
        elif cause == "stopped":
            done.take(end_of(None, ended, Exit.SIGTERM))
        elif cause == "bug":
            done.take(end_of(ValueError(), ended))
        else:
            done.accounts += (row(number),)
    return done


def test_each_exit_code_has_one_outcome() -> None:
    """The words of the contract, also for the three signals."""
    assert {int(code): str(code.outcome) for code in Exit} == {
        76: "unfinished",
        0: "complete",
        75: "unfinished",
        3: "partial",
        4: "unauthorised",
        130: "stopped",
        143: "stopped",
        129: "stopped",
        2: "invalid",
        1: "bug",
    }
    assert {code.outcome for code in Exit} == {*Outcome}


@pytest.mark.parametrize("reason", [*MINUTES, *FIXED, *sorted(NEVER)])
def test_each_reason_has_its_moment(reason: str) -> None:
    """One definition for the record and the gate."""
    assert comes_at(reason, ENDED) == expected(reason)


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("scope", list(Scope))
def test_what_comes_by_itself_has_a_moment_and_nothing_else_has(
    action: Action, scope: Scope
) -> None:
    """The code 75 of a rule and its moment never contradict each other."""
    reason, code = reason_for(action, scope)
    assert (comes_at(reason, ENDED) is not None) == (code is Exit.AGAIN)


@pytest.mark.parametrize("cause", CAUSES)
def test_a_run_with_one_cause_waits_for_it(cause: str) -> None:
    """The cause is the reason, and its moment the one of the run."""
    done = ended_with(cause)
    assert (list(done.reasons()), done.retry_at) == ([cause], expected(cause))


@pytest.mark.parametrize("pair", list(itertools.permutations(CAUSES, 2)))
def test_of_two_causes_the_earlier_moment_counts(pair: tuple[str, str]) -> None:
    """Whatever became of the other one."""
    done = ended_with(*pair)
    moments = [moment for cause in pair if (moment := expected(cause)) is not None]
    if set(pair) in ({"bug", "incomplete"}, {"lease", "incomplete"}):
        # What is missing for no other reason is missing because of that.
        moments = [moment for cause in pair if cause == "lease" and (moment := expected(cause))]
    assert done.retry_at == min(moments, default=None)


@pytest.mark.parametrize("reason", FAILURES)
def test_an_error_that_ended_a_run_has_its_moment(reason: str) -> None:
    """A locked output has no end of its lock, so a minute is said."""
    done = ended_with()
    done.take(end_of(FAILURES[reason], ENDED))
    assert (list(done.reasons()), done.retry_at) == ([reason], expected(reason))


@pytest.mark.parametrize("in_shard", [False, True])
def test_a_full_disk_has_no_moment(*, in_shard: bool) -> None:
    """It has the same reason as a store that is away, and waits for a person."""
    done, full = ended_with("incomplete"), errors.StoreError("full")
    if in_shard:
        done.shards = [ShardOutcome("1/2", Exit.BUG, ("store",), 0, 0, error=full)]
    else:
        done.take(end_of(full, ENDED))
    assert ("store" in done.reasons(), done.exit_code, done.retry_at) == (True, Exit.BUG, None)


def test_a_shard_whose_store_is_away_waits_for_it() -> None:
    """The days that it lacks are no reason to run at once."""
    done, away = ended_with("incomplete"), errors.StoreAway("silent")
    done.shards = [ShardOutcome("1/2", Exit.AGAIN, ("store",), 0, 0, error=away)]
    assert (done.exit_code, done.retry_at) == (Exit.AGAIN, expected("store"))


def test_windows_that_wechat_still_computes_come_in_the_next_hour() -> None:
    """They are covered, so no account lacks them."""
    done = ended_with()
    done.delayed = {Window(SICK, "article_read", DAY, DAY)}
    assert (done.outcome, done.retry_at) == (Outcome.UNFINISHED, FIXED["not_ready"])


@pytest.mark.parametrize(
    ("asked", "ended", "until"),
    [
        # The quota of the old day was met, and the run published until after midnight.
        (instant(DAY, 1439), instant(DAY + 1, 2), instant(DAY + 1, 5)),
        (instant(DAY, 1439), instant(DAY + 1, 30), instant(DAY + 1, 30)),
        # The quota of the new day is spent already.
        (instant(DAY + 1, 1), instant(DAY + 1, 2), instant(DAY + 2, 5)),
    ],
)
def test_a_quota_is_renewed_after_the_day_on_which_it_was_met(
    asked: float, ended: float, until: float
) -> None:
    """Not after the day on which the run ended, and never before its end."""
    done = ended_with("quota", ended=ended)
    done.take(facts.AskingEnded(asked))
    assert done.retry_at == until
    renewed = calendar.utc_text(instant(calendar.today(asked) + 1))
    done.accounts = (replace(done.accounts[0], waits_for_quota=True),)
    assert as_record(done)["accounts"][0]["quota_resets_at"] == renewed


@given(
    causes=st.lists(st.sampled_from([*CAUSES]), unique=True),
    failure=st.sampled_from([None, *FAILURES]),
    ended=st.floats(instant(DAY), instant(DAY + 40)),
    asked=st.none() | st.floats(0, 90_000),
)
def test_a_moment_is_given_exactly_while_something_can_come(
    causes: list[str], failure: str | None, ended: float, asked: float | None
) -> None:
    """Never with 0, 2, 3 and 4, always with 75 and after a signal, and never before the end."""
    done = ended_with(*causes, ended=ended)
    if failure is not None:
        done.take(end_of(FAILURES[failure], ended))
    if asked is not None:
        done.asked_at = ended - asked
    code, retry = done.exit_code, done.retry_at
    if code in {Exit.DONE, Exit.USAGE, Exit.INCOMPLETE, Exit.UNAUTHORISED}:
        assert retry is None
    elif code is Exit.BUG:
        open_still = {*causes} - NEVER - {"incomplete"}
        assert (retry is not None) == (failure is None and bool(open_still))
    else:
        assert retry is not None
    record = as_record(done)
    assert retry is None or retry >= ended
    assert record["retry_at"] is None or record["retry_at"] >= record["ended_at"]
    assert record["outcome"] == code.outcome
    figures = key_figures(done)
    assert {name: figures[name] for name in ("outcome", "exit_code", "retry_at")} == {
        name: record[name] for name in ("outcome", "exit_code", "retry_at")
    }
    assert figures["reasons"] == ",".join(record["reasons"])


def test_accounts_with_lost_days_are_counted_once() -> None:
    """Refused, failed or in quarantine; days that come by themselves are not lost."""
    done = ended_with("quota", "failed", "refused", "quarantined", "incomplete")
    done.accounts += (row(2, "failed"),)
    assert key_figures(done)["accounts_failed"] == 3


def test_a_running_record_has_no_outcome_yet() -> None:
    """Nor an exit code or a moment; the time of the next day is known."""
    done = ended_with("quota")
    done.finished = False
    done.next_day_at = ENDED + 5
    record = as_record(done)
    assert [record[name] for name in ("outcome", "exit_code", "reasons", "retry_at")] == [
        None,
        None,
        [],
        None,
    ]
    assert record["next_ready_at"] == utc_text(ENDED + 5)


# Whole runs


def record_of(lab: RunHarness) -> dict[str, Any]:
    """Return the newest run record of an output."""
    path = max((lab.root / "_harvester/runs").glob("*.json"))
    found: dict[str, Any] = orjson.loads(path.read_bytes())
    return found


@pytest.mark.parametrize(
    ("code", "outcome", "after"),
    [
        (None, "complete", None),
        (48001, "partial", None),
        (45009, "unfinished", instant(DAY + 1, 5)),
        (61503, "unfinished", instant(DAY, 13 * 60)),
        (99999, "unfinished", 600.0),
    ],
)
def test_a_run_says_how_it_ended_and_what_to_wait_for(
    tmp_path: Path, code: int | None, outcome: str, after: float | None
) -> None:
    """In its record, and with the same moment as the gate where a later run can help."""
    # Of many days that are all not ready the rest is deferred.
    begin = "2026-05-18" if code == 61503 else "2026-05-01"
    lab = RunHarness(tmp_path, begin=begin, end="2026-05-18", datasets=(HOURLY,))
    if code is not None:
        lab.sandbox.fail(SICK, code)
    done = lab.run()
    record = record_of(lab)
    if after == 600.0:
        after += done.ended_at
    assert record["outcome"] == outcome
    assert done.retry_at == after
    assert record["retry_at"] == (None if after is None else utc_text(after))
    assert record["next_ready_at"] is None
    found = status.survey(lab.manifest(), lab.tree, lab.now(), Required()).gate
    assert found is not None
    assert (found.retry_at is None) == (after is None)
    if after is not None:
        assert abs(_seconds(found) - after) < 2


def _seconds(found: gate.Gate) -> float:
    assert found.retry_at is not None
    day, time = found.retry_at.rstrip("Z").split("T")
    hours, minutes, seconds = map(int, time.split(":"))
    return parse_day(day) * 86_400.0 + hours * 3600 + minutes * 60 + seconds


def test_a_code_that_is_refused_from_the_next_day_on_is_waited_for_once(tmp_path: Path) -> None:
    """Ten minutes on the first day; from the next one on nothing comes by itself."""
    lab = RunHarness(tmp_path, begin="2026-04-01", end="2026-05-18", datasets=(HOURLY,))
    for name in lab.appids:
        lab.sandbox.fail(name, 99999)
    first = lab.run()
    assert (first.outcome, first.retry_at) == (Outcome.UNFINISHED, first.ended_at + 600)
    lab.advance(86_400)
    second = lab.run()
    assert (second.outcome, second.retry_at) == (Outcome.PARTIAL, None)


def test_a_token_that_no_account_gets_is_unauthorised(tmp_path: Path) -> None:
    """A person must look, so there is no moment."""
    lab = RunHarness(tmp_path, begin="2026-05-01", end="2026-05-02")
    for name in lab.appids:
        lab.sandbox.fail(name, 40125, dataset=TOKEN)
    done = lab.run()
    assert (done.outcome, done.retry_at) == (Outcome.UNAUTHORISED, None)
    assert key_figures(done)["accounts_failed"] == 3


def test_a_spent_time_budget_is_unfinished_from_now_on(tmp_path: Path) -> None:
    """Other accounts may wait for longer."""
    lab = RunHarness(tmp_path, begin="2025-05-01", end="2026-05-18", rules=Rules(daily_quota=3))
    done = lab.run(max_duration=0.0)
    assert (done.outcome, done.retry_at) == (Outcome.UNFINISHED, done.ended_at)
    assert "time_budget" in done.reasons()


def test_a_locked_output_is_asked_again_in_a_minute(tmp_path: Path) -> None:
    """The error that the run raises is its reason."""
    lab = RunHarness(tmp_path, begin="2026-05-01", end="2026-05-02")
    with (
        locks.hold(lab.tree, [0], claim("other", "2026-01-01T00:00:00Z")),
        pytest.raises(errors.Busy) as raised,
    ):
        lab.run()
    done = ended_with(ended=lab.now())
    done.take(end_of(raised.value, done.ended_at))
    assert done.retry_at == pytest.approx(done.ended_at + 60, abs=5)
    assert raised.value.retry_at is not None
    assert raised.value.retry_at.timestamp() == done.retry_at


def test_an_outage_is_waited_for_ten_minutes(tmp_path: Path) -> None:
    """The rest is deferred to a later run."""
    lab = VirtualTimeHarness(tmp_path, begin="2026-05-01", end="2026-05-18")
    with in_virtual_time(lab), pytest.MonkeyPatch.context() as patch:
        patch.setattr(lab.sandbox, "answer", lambda _: Reply(b"<html>", 503, "text/html"))
        done = lab.run()
    assert list(done.reasons()) == ["deferred"]
    assert done.retry_at == done.ended_at + 600


@pytest.mark.parametrize(
    ("minute", "end", "at"),
    [
        (9 * 60, None, instant(DAY, 600)),
        (12 * 60, None, instant(DAY + 1, 600)),
        (9 * 60, "2026-05-19", instant(DAY, 600)),
        (12 * 60, "2026-05-19", None),
        (12 * 60, "2026-05-20", instant(DAY + 1, 600)),
    ],
)
def test_the_record_says_when_the_next_day_gets_ready(
    tmp_path: Path, minute: int, end: str | None, at: float | None
) -> None:
    """A job that ends wants no later day."""
    lab = RunHarness(tmp_path, begin="2026-05-17", end=end, minute=minute, datasets=(DAILY,))
    done = lab.run()
    assert (done.next_ready_at, done.retry_at) == (at, None)
    assert record_of(lab)["next_ready_at"] == (None if at is None else utc_text(at))


def test_a_day_that_got_ready_during_a_run_is_ready_now() -> None:
    """The run does not want it yet, and the next one does, so a scheduler need not wait."""
    done = ended_with()
    done.next_day_at = ENDED - 30
    assert done.next_ready_at == ENDED


def test_a_locked_run_knows_the_next_day(tmp_path: Path) -> None:
    """It is read before the lock, with the shard and the labels."""
    lab = RunHarness(tmp_path, accounts=12, begin="2026-05-01", end=None, buckets=2)
    done = Record.begun(Path("jobs.yaml"), lab.now())
    options = RunOptions(shard=(2, 2), labels={"team": "growth"})
    log = RunLog(Stream(done, lab.now))
    with (
        locks.hold(lab.tree, [1], claim("other", "2026-01-01T00:00:00Z")),
        pytest.raises(errors.Busy),
    ):
        execute(run_state(lab.manifest(), lab.tree, options, lab.world(), log))
    assert done.next_ready_at == instant(DAY + 1, 600)
    assert (done.shard, done.labels["team"]) == ("2/2", "growth")


def test_random_ends_agree_with_the_tables() -> None:
    """Many causes at once, in any order."""
    chosen = random.Random(7)
    for _ in range(300):
        causes = chosen.sample([*CAUSES], chosen.randint(0, len(CAUSES)))
        moments = [expected(cause) for cause in causes]
        if {"bug", "lease"}.intersection(causes) and "incomplete" in causes:
            moments.remove(expected("incomplete"))
        assert ended_with(*causes).retry_at == min(filter(None, moments), default=None)


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EMFILE, "Too many open files")])
def test_what_the_system_refuses_to_a_run_is_no_bug(error: Exception) -> None:
    """A later run may be given what this one was not."""
    log = new_run_log(Path("jobs.yaml"), CheckedClock())
    with pytest.raises(errors.Shortage), recorded(log):
        raise error
    done = log.stream.record
    assert (done.outcome, [*done.reasons()]) == ("unfinished", ["died"])
    assert done.retry_at == done.ended_at + 600


def test_a_file_that_cannot_be_opened_for_want_of_descriptors_is_no_bug() -> None:
    """An error of a file keeps its cause when it leaves a task of the loop."""

    async def write() -> None:
        with os_errors_as_store_errors(Path("x")):
            raise OSError(errno.EMFILE, "Too many open files")

    async def work() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)

    log = new_run_log(Path("jobs.yaml"), CheckedClock())
    with pytest.raises(errors.Shortage), recorded(log):
        run_in_loop(work)
    assert [*log.stream.record.reasons()] == ["died"]
