"""Events of runs in virtual time: each cause once, and once more when it is gone."""

from __future__ import annotations

import logging
import pickle
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

import harvester
from harvester.catalogue import CATALOGUE
from harvester.catalogue.error_codes import rule_for
from harvester.core import errors
from harvester.core.calendar import Day, day_text, instant, parse_day, utc_text
from harvester.core.config.settings import Limits, Pace
from harvester.core.exit_codes import Exit
from harvester.core.model import Rate
from harvester.runs.facts import Counted, Fact, Planned
from harvester.runs.harvest import execute
from harvester.runs.narrator import PROGRESS_SECONDS, Narrator
from harvester.runs.record import events
from harvester.runs.record.causes import MAX_PASSING, QUIET_SECONDS, Causes
from harvester.runs.record.events import (
    REPEAT_SECONDS,
    Event,
    Problem,
    Progress,
    Published,
    RunEnded,
    RunStarted,
    Stamp,
)
from harvester.runs.record.record import Record
from harvester.runs.run_log import RunLog, recorded
from harvester.runs.runtime import RunOptions
from harvester.runs.stream import Stream
from harvester.sandbox.data import Row, expected_rows
from harvester.scheduling.abandoned import QUOTA_SPENT
from harvester.scheduling.listener import AbandonedDays, Reopened, Troubled
from harvester.storage import coverage_scan
from tests.support import faulty_wechat
from tests.support.fake_time import VirtualTimeHarness, in_virtual_time
from tests.support.faulty_wechat import Delayed
from tests.support.run_harness import BOTH, DAILY, HOURLY, RunHarness, appid, run_state

TODAY = parse_day("2026-05-20")
PLACE = Path(__file__).relative_to(Path(harvester.__file__).parents[1])
SLOW = Pace(Rate(1, 60.0), 1, concurrency=1)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[VirtualTimeHarness]:
    """Five accounts that owe fifty hourly days each."""
    lab = VirtualTimeHarness(
        tmp_path, accounts=5, begin="2026-03-01", end="2026-04-19", datasets=(HOURLY,)
    )
    lab.limits = Limits(Pace(Rate(10, 1.0), 1, concurrency=4))
    with in_virtual_time(lab):
        yield lab


def told(lab: RunHarness, listener: Callable[[Event], object], shard: str | None = None) -> Record:
    """Execute one run that tells a listener, as the API and the command line do."""
    context = lab.world()
    stream = Stream(Record.begun(lab.manifest().file, context.clock.started_at), context.clock)
    stream.own.shard = shard
    stream.listeners.append(Narrator(listener))
    log = RunLog(stream)
    with recorded(log):
        execute(run_state(lab.manifest(), lab.tree, RunOptions(), context, log))
    return stream.own


def events_of(lab: VirtualTimeHarness) -> list[Event]:
    """Execute one run and return what a listener gets."""
    found: list[Event] = []
    told(lab, found.append)
    return found


def problems_in(found: list[Event]) -> list[Problem]:
    """Return the problems among events."""
    return [event for event in found if isinstance(event, Problem)]


def test_a_clean_run_tells_its_beginning_its_files_and_its_end(lab: VirtualTimeHarness) -> None:
    """All events have the run's id and shard, in the order in which they happened."""
    lab.accounts = 1
    found: list[Event] = []
    summary = told(lab, found.append, shard="1/2")
    first, *between, last = found
    assert isinstance(first, RunStarted)
    assert (first.windows, first.account_days) == (50, 50)
    assert isinstance(last, RunEnded)
    assert (last.exit_code, last.reasons, last.requests) == (0, (), 50)
    assert last.rows == sum(item.rows_after for item in summary.published)
    files = [event for event in between if isinstance(event, Published)]
    assert {(item.ref_month, item.begin_date, item.end_date, item.accounts) for item in files} == {
        ("2026-03", "2026-03-01", "2026-03-31", 1),
        ("2026-04", "2026-04-01", "2026-04-19", 1),
    }
    assert {(event.run_id, event.shard) for event in found} == {(summary.run_id, "1/2")}
    assert [event.time for event in found] == sorted(event.time for event in found)
    assert problems_in(found) == []


def test_progress_is_told_every_ten_seconds(lab: VirtualTimeHarness) -> None:
    """Each tells more than the one before, and of the same number of windows."""
    lab.limits = Limits(Pace(Rate(1, 1.0), 1, concurrency=1))
    found = [event for event in events_of(lab) if isinstance(event, Progress)]
    assert len(found) == 5
    gaps = [later.time - event.time for event, later in pairwise(found)]
    assert all(PROGRESS_SECONDS <= gap < PROGRESS_SECONDS + 2 for gap in gaps), gaps
    assert [event.done for event in found] == sorted({event.done for event in found})
    assert {event.windows for event in found} == {250}


def test_a_refusal_is_told_once_with_the_first_accounts(lab: VirtualTimeHarness) -> None:
    """However many accounts and days it concerns; the count is of those known by then."""
    lab.limits = lab.one_at_a_time()
    for number in range(1, 5):
        lab.sandbox.fail(appid(number), 48001)
    [problem] = problems_in(events_of(lab))
    assert (problem.cause, problem.errcode, problem.dataset) == ("refused", 48001, HOURLY)
    assert (problem.accounts, problem.count) == (tuple(map(appid, (1, 2, 3))), 4)
    assert problem.scope == "dataset of the account"
    assert "48001" in problem.message
    assert problem.advice
    assert (problem.level, problem.resolved, problem.retry_at) == ("warning", False, None)


def test_what_stops_an_account_is_told_once_for_all_datasets(lab: VirtualTimeHarness) -> None:
    """A wrong secret concerns no dataset more than another."""
    lab.datasets = BOTH
    lab.sandbox.fail(appid(2), 50002)
    problems = problems_in(events_of(lab))
    assert [(problem.scope, problem.dataset) for problem in problems] == [("account", None)]
    assert (problems[0].accounts, problems[0].count) == ((appid(2),), 1)


def test_each_cause_is_told_by_itself(lab: VirtualTimeHarness) -> None:
    """Two codes, and one of them of two datasets."""
    lab.datasets = BOTH
    lab.sandbox.fail(appid(1), 48001)
    lab.sandbox.fail(appid(2), 45009, dataset=DAILY)
    found = {problem.errcode: problem for problem in problems_in(events_of(lab))}
    assert {code: each.dataset for code, each in found.items()} == {48001: None, 45009: DAILY}
    assert found[48001].message.startswith("the account may not use this API (2 datasets): 48001")


@pytest.mark.long
def test_a_quota_that_midnight_renews_is_resolved(lab: VirtualTimeHarness) -> None:
    """The cause comes when the quota is spent, and once more after midnight."""
    lab.accounts = 2
    lab.limits = replace(lab.limits, per_token=SLOW)
    lab.sandbox.fail(appid(1), 45009, times=1)
    lab.sleep_until(TODAY, 24 * 60 - 10)
    first, gone = problems_in(events_of(lab))
    assert (first.cause, first.accounts, first.resolved) == ("quota", (appid(1),), False)
    assert first.retry_at == utc_text(instant(TODAY + 1, 5))
    assert gone == replace(first, time=gone.time, retry_at=None, resolved=True)
    assert first.time < instant(TODAY + 1) <= gone.time < instant(TODAY + 1) + 60


REFUSED = AbandonedDays(appid(1), HOURLY, TODAY, TODAY, 1, rule_for(48001), "no")


@pytest.fixture
def found() -> list[Problem]:
    """The problems that are told."""
    return []


@pytest.fixture
def stream(found: list[Problem]) -> Stream:
    """A stream whose problems are collected."""
    stream = Stream(Record.begun(Path("jobs.yaml"), 0.0), lambda: 0.0)
    stream.listeners.append(Narrator(lambda event: found.extend(problems_in([event]))))
    stream.report(Planned())
    return stream


def at(stream: Stream, moment: float, *reported: Fact) -> None:
    """Report facts at a moment, and then that something was counted."""
    stream.now = lambda: moment
    for fact in (*reported, Counted()):
        stream.report(fact)


def test_a_cause_may_take_the_place_of_another(stream: Stream, found: list[Problem]) -> None:
    """A day that was given up goes, and another one comes, between two looks."""
    spent = replace(REFUSED, rule=QUOTA_SPENT)
    at(stream, 10.0, spent)
    assert [p.cause for p in found] == ["quota"]
    at(stream, 11.0)
    assert len(found) == 1
    at(stream, 12.0, Reopened((spent,)), REFUSED)
    assert [(p.cause, p.resolved) for p in found[1:]] == [("refused", False)]
    # Over is what WeChat has shown to be over, by an answer.
    at(stream, 13.0, Counted(answered=1))
    assert [(p.cause, p.resolved) for p in found[2:]] == [("quota", True)]
    assert stream.own.abandoned == [REFUSED]


def test_failures_of_an_outage_become_deferred(lab: VirtualTimeHarness) -> None:
    """The one cause of all datasets and accounts is told once, and no failure stays open."""
    lab.datasets = BOTH
    began = lab.now()
    lab.net.down = lambda now: now > began + 5
    found: list[Event] = []
    summary = told(lab, found.append)
    assert list(summary.reasons()) == ["deferred"]
    open_causes: dict[tuple[str, str | None], Problem] = {}
    for problem in problems_in(found):
        key = problem.cause, problem.dataset
        assert (key in open_causes) is (problem.resolved or problem.repeated)
        if problem.resolved:
            del open_causes[key]
        else:
            open_causes[key] = problem
    assert set(open_causes) == {("deferred", None), ("unreachable", None)}
    assert open_causes["deferred", None].scope == "run"


def test_a_host_that_is_away_is_told_at_once_each_minute_and_when_it_is_back(
    lab: VirtualTimeHarness,
) -> None:
    """Within ten seconds of its first failure, with the attempts that met it so far."""
    began = lab.now()
    lab.net.down = lambda now: began + 5 <= now < began + 305
    first, *again, gone = problems_in(events_of(lab))
    assert (first.cause, first.repeated, first.resolved) == ("unreachable", False, False)
    assert first.message == "WeChat was not reached: the server was not reached"
    assert began + 5 <= first.time < began + 15
    assert all(each.repeated and not each.resolved for each in again)
    moments = [each.time for each in (first, *again)]
    assert all(later - earlier >= REPEAT_SECONDS for earlier, later in pairwise(moments))
    assert 3 <= len(again) <= 5
    counts = [each.attempts for each in (first, *again, gone)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-2]
    assert (gone.resolved, gone.repeated, gone.cause) == (True, False, "unreachable")
    assert gone.time >= began + 305


def test_an_error_in_place_of_tokens_is_one_cause(lab: VirtualTimeHarness) -> None:
    """The server was reached, so it is not unreachable when it is asked for no more tokens."""
    for number in range(1, 6):
        busy = faulty_wechat.Fault(status=503, body=b"busy")
        lab.sandbox.fail(appid(number), busy, dataset="token", times=2)
    causes = {(problem.cause, problem.message) for problem in problems_in(events_of(lab))}
    assert causes == {("no_answer", "no usable answer came: HTTP 503 (asked for a token)")}


def test_a_single_failure_is_told_once_and_is_over_soon(lab: VirtualTimeHarness) -> None:
    """A closed connection that is repeated at once is no trouble at all."""
    lab.limits = Limits(Pace(Rate(1, 1.0), 1, concurrency=1))
    lab.sandbox.fail(appid(2), -1, times=1)
    lab.sandbox.fail(appid(3), faulty_wechat.CLOSED, times=1)
    first, gone = problems_in(events_of(lab))
    assert (first.cause, first.errcode, first.accounts) == ("no_answer", -1, (appid(2),))
    assert (first.attempts, first.count, first.retry_at) == (1, 1, None)
    assert gone == replace(first, time=gone.time, resolved=True)
    assert gone.time - first.time >= QUIET_SECONDS - 1


def test_a_minute_limit_is_told_when_it_is_met(lab: VirtualTimeHarness) -> None:
    """The run waits for the next minute, and the moment is told."""
    lab.limits = Limits(Pace(Rate(1, 1.0), 1, concurrency=1))
    lab.sandbox.fail(appid(2), 45011, times=1)
    first, *_ = problems_in(events_of(lab))
    assert (first.cause, first.errcode, first.accounts) == ("minute_limit", 45011, (appid(2),))
    assert first.retry_at is not None


def test_names_stand_beside_appids(stream: Stream, found: list[Problem]) -> None:
    """Empty where an account has none; what acts in a name is inert."""
    [narrator] = stream.listeners
    assert isinstance(narrator, Narrator)
    narrator.names = {appid(1): "Acme \x1b[31m", appid(2): ""}
    at(stream, 2.0, REFUSED, replace(REFUSED, appid=appid(2)))
    [problem] = found
    assert len(problem.names) == len(problem.accounts) == 2
    assert problem.names[0].startswith("Acme ")
    assert "\x1b" not in problem.names[0]
    assert problem.names[1] == ""


def test_a_cause_of_more_accounts_is_told_again_after_a_minute(
    stream: Stream, found: list[Problem]
) -> None:
    """Not sooner, and not if no account came to it."""
    at(stream, 1.0, REFUSED)
    assert len(found) == 1
    at(stream, 60.0, replace(REFUSED, appid=appid(2)))
    assert len(found) == 1
    at(stream, 61.0)
    assert [(again.repeated, again.count) for again in found[1:]] == [(True, 2)]
    at(stream, 130.0)
    assert len(found) == 2


def test_further_passing_causes_are_not_kept(stream: Stream, found: list[Problem]) -> None:
    """A server may have another word for each failure; those that are known are counted on."""
    rule = rule_for(-1)
    causes = [Troubled(rule, f"host {number} is away", appid(1)) for number in range(MAX_PASSING)]
    at(stream, 1.0, *causes, Troubled(rule, "one more", appid(1)))
    assert len(found) == MAX_PASSING
    at(stream, 61.0, causes[0])
    [again] = found[MAX_PASSING:]
    assert (again.attempts, again.repeated) == (2, True)


def test_a_reason_that_is_the_meaning_is_said_once(stream: Stream, found: list[Problem]) -> None:
    """As of an answer whose rows all lie outside of the window."""
    rule = rule_for(-1)
    at(stream, 1.0, Troubled(rule, rule.meaning, appid(1)))
    assert [problem.message for problem in found] == [rule.meaning]


def test_progress_counts_accounts_and_knows_the_bound(lab: VirtualTimeHarness) -> None:
    """Done, waiting and refused; the others are being asked."""
    lab.limits = Limits(Pace(Rate(1, 1.0), 1, concurrency=1))
    lab.sandbox.fail(appid(1), 48001)
    lab.sandbox.fail(appid(2), 45009)
    found = [event for event in events_of(lab) if isinstance(event, Progress)]
    assert {(each.accounts, each.accounts_refused, each.accounts_waiting) for each in found} == {
        (5, 1, 1)
    }
    assert [each.accounts_done for each in found[:4]] == [0] * 4
    for each in found:
        assert each.seconds_left is not None
        assert each.least_seconds_left <= each.seconds_left
        assert each.least_seconds_left == pytest.approx(50 - each.seconds, abs=4)


def test_what_was_pending_is_named(lab: VirtualTimeHarness) -> None:
    """By dataset, with its first accounts; nothing of a run that came to its end."""
    lab.limits = Limits(Pace(Rate(1, 1.0), 1, concurrency=1))
    done = lab.run(max_duration=10.5)
    [pending] = done.pending
    assert (pending.dataset, pending.accounts) == (HOURLY, 5)
    assert pending.account_days == 250 - done.answered
    assert pending.first == tuple(map(appid, (1, 2, 3)))
    assert day_text(pending.begin) == "2026-03-01"
    assert day_text(pending.end) < "2026-04-12"
    assert lab.run().pending == ()


def test_days_in_quarantine_are_told_also_of_an_earlier_run(lab: VirtualTimeHarness) -> None:
    """The run that meets them tells them, and so does each later run, at its end."""
    lab.accounts = 2
    day = parse_day("2026-04-02")

    def spoilt(dataset: str, name: str, of: Day) -> list[Row]:
        rows = expected_rows(dataset, name, of)
        is_hit = (name, of) == (appid(1), day)
        return [{**row, "callback_count": "many"} for row in rows] if is_hit else rows

    lab.source = spoilt
    lab.__post_init__()
    [met] = problems_in(events_of(lab))
    assert (met.cause, met.dataset, met.accounts, met.count) == (
        "quarantined",
        HOURLY,
        (appid(1),),
        1,
    )
    [found] = problems_in(events_of(lab))
    assert found == replace(met, time=found.time, run_id=found.run_id)


def test_answers_that_come_late_are_told_at_the_end(lab: VirtualTimeHarness) -> None:
    """WeChat says that it is still computing them."""
    late = next(name for name, dataset in CATALOGUE.items() if dataset.may_be_delayed)
    lab.accounts, lab.datasets = 1, (late,)
    lab.begin, lab.end = "2026-05-15", "2026-05-18"
    lab.sandbox.add_data_fault(Delayed(days=9))
    found = problems_in(events_of(lab))
    assert [(p.cause, p.accounts, p.dataset) for p in found] == [("not_ready", (appid(1),), late)]
    assert found[0].retry_at == "2026-05-20T05:00:00Z"


def test_the_error_that_ends_a_run_is_told_before_its_end(
    lab: VirtualTimeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, though it passes the record twice."""

    def fail(*_: object) -> None:
        raise errors.StoreError("the disk is gone", "look for it")

    monkeypatch.setattr(coverage_scan, "read", fail)
    found: list[Event] = []
    with pytest.raises(errors.StoreError):
        told(lab, found.append)
    *_, problem, end = found
    assert isinstance(problem, Problem)
    assert (problem.cause, problem.message, problem.advice) == (
        "store",
        "the disk is gone",
        "look for it",
    )
    assert problem.level == "error"
    assert isinstance(end, RunEnded)
    assert (end.exit_code, end.reasons) == (Exit.BUG, ("store",))
    assert problems_in(found) == [problem]


def test_a_bug_is_told_with_its_place_and_without_its_text(
    lab: VirtualTimeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text of a foreign error may hold a URL."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("https://x/?access_token=abc")

    monkeypatch.setattr(coverage_scan, "read", fail)
    found: list[Event] = []
    with pytest.raises(ZeroDivisionError):
        told(lab, found.append)
    [problem] = problems_in(found)
    assert problem.cause == "bug"
    assert problem.message.startswith(f"a bug in harvester: ZeroDivisionError at {PLACE}:")
    assert "access_token" not in problem.message
    # The line has an end: the innermost frame, and the last three of harvester.
    assert problem.message.count("called from harvester/") == 3
    assert len(problem.message) < 400


def test_an_error_of_the_listener_is_logged_once(
    lab: VirtualTimeHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """And the run is the same as without a listener."""
    calls = []

    def listener(event: Event) -> None:
        calls.append(event)
        raise ValueError("no such table")

    with caplog.at_level(logging.WARNING, "harvester.events"):
        summary = told(lab, listener)
    assert len(calls) > 2
    [line] = caplog.messages
    assert line.startswith(f"the listener of events failed: ValueError: {PLACE}:")
    first = summary.requests - summary.asked_again
    assert (summary.exit_code, first) == (Exit.DONE, 250)


def test_events_arrive_in_the_thread_of_the_run(tmp_path: Path) -> None:
    """With real threads, in which files are published."""
    lab = RunHarness(tmp_path, accounts=2)
    seen: list[tuple[str, int]] = []

    def work() -> None:
        told(lab, lambda event: seen.append((event.event, threading.get_ident())))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert {ident for _, ident in seen} == {thread.ident}
    assert "published" in {name for name, _ in seen}


def test_an_end_has_the_record_without_its_long_lists(lab: VirtualTimeHarness) -> None:
    """A log line is one piece, so it has no entry for each account."""
    lab.sandbox.fail(appid(1), 48001)
    end = events_of(lab)[-1]
    assert isinstance(end, RunEnded)
    assert {"state", "datasets", "notes", "today"} < set(end.record)
    assert end.record["outcome"] == end.outcome == "partial"
    assert not {"accounts", "exceptions", "without_rows"} & set(end.record)
    assert appid(1) not in str(end.record)


@pytest.mark.parametrize(
    ("error", "cause", "retry_at"),
    [
        (errors.UsageError("x"), "usage", None),
        (errors.OtherVersion("x"), "usage", None),
        (errors.StoreError("x"), "store", None),
        (errors.DamagedOutput("x"), "store", None),
        (errors.Busy("x"), "locked", "1970-01-01T00:01:00Z"),
        (errors.Unauthorised("x"), "unauthorised", None),
        (errors.Unanswered("x"), "unanswered", "1970-01-01T00:10:00Z"),
        (errors.HarvesterError("x"), "bug", None),
        (ExceptionGroup("x", [ExceptionGroup("y", [KeyError("x")])]), "bug", None),
    ],
)
def test_each_error_has_its_cause(error: Exception, cause: str, retry_at: str | None) -> None:
    """And all of them end a command; of some a later one may succeed."""
    [problem] = events.problems_of(error, 0.0)
    assert (problem.cause, problem.level, problem.retry_at) == (cause, "error", retry_at)
    assert pickle.loads(pickle.dumps(problem)) == problem


def test_a_cause_that_is_gone_is_told_of_its_last_accounts() -> None:
    """An account whose days are reopened is left out, and the cause stays until its last day."""
    days = [AbandonedDays(appid(n), "a", 1, 1, 1, rule_for(48001), "no") for n in (2, 1, 1)]
    causes, stamp = Causes(), Stamp(0.0, "run", "")
    for each in days:
        causes.abandon(each)
    told = [problem.accounts for problem in causes.news(stamp, 1)]
    for each in days:
        assert not told[1:]
        causes.reopen([each])
        told += [problem.accounts for problem in causes.news(stamp, 2)]
    assert told == [(appid(2), appid(1)), (appid(1),)]
