"""Lines about a run for people: each cause with its accounts by name, and each replaced file."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Literal

import pytest

from harvester.cli.output.event_lines import EventLines, problem_line, published_lines
from harvester.runs.record.events import Problem, Progress, Published, RunEnded

STAMP = (1_779_249_600.0, "20260520T040000Z-000000", None)
REFUSED = Problem(
    *STAMP,
    "refused",
    "the AppSecret is wrong: 40125 invalid appsecret",
    "Compare it.",
    "account",
    accounts=("wx01", "wx02"),
    names=("Acme Service", ""),
    count=2,
)
AWAY = Problem(
    *STAMP,
    "unreachable",
    "WeChat was not reached: 127.0.0.1:9: connection refused",
    "Check it.",
    "window",
    accounts=("wx01",),
    names=("Acme",),
    count=1,
    attempts=1,
)
FILE = Published(*STAMP, "user_summary", "2026-05", "p", "2026-05-01", "2026-05-02", 1, 5, 12)


def test_refused_accounts_are_named() -> None:
    """With what WeChat said, and what to do."""
    assert problem_line(REFUSED) == (
        "wx01 Acme Service, wx02: the AppSecret is wrong: 40125 invalid appsecret. Compare it."
    )
    many = replace(REFUSED, count=7, repeated=True)
    assert problem_line(many) == (
        "still: wx01 Acme Service, wx02 and 5 more: the AppSecret is wrong: 40125 invalid appsecret"
    )


def test_a_host_that_is_not_reached_is_no_account_s_fault() -> None:
    """The count is told with the repetition."""
    assert problem_line(AWAY) == f"{AWAY.message}. Check it."
    again = replace(AWAY, count=300, attempts=1_200, repeated=True)
    assert problem_line(again) == f"still: {AWAY.message} (1,200 attempts of 300 accounts)"
    assert problem_line(replace(again, resolved=True)).startswith(f"over: {AWAY.message}")


@pytest.mark.parametrize("cause", ["quota", "minute_limit", "not_ready"])
def test_a_wait_says_until_when_here_and_in_beijing(
    cause: Literal["quota", "minute_limit", "not_ready"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment is that of the event; the time of this machine is shown if it is another."""
    import time  # noqa: PLC0415 - for this test alone

    spent = replace(
        REFUSED,
        cause=cause,
        message="spent",
        dataset="user_summary",
        retry_at="2026-05-20T16:05:00Z",
        advice="",
    )
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert problem_line(spent).endswith(
        "spent; waits until 2026-05-21 00:05 in Beijing, 2026-05-20 16:05 here"
    )
    assert problem_line(spent).startswith("user_summary: wx01 Acme Service, wx02: ")
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    assert problem_line(spent).endswith("spent; waits until 2026-05-21 00:05 in Beijing")
    monkeypatch.undo()
    time.tzset()


def test_each_replaced_partition_is_named_once() -> None:
    """Each dataset has a line; a month stands once in it, however many of its files were put."""
    again = replace(FILE, rows_before=12, rows_after=13)
    other = replace(FILE, dataset="biz_summary", ref_month="2026-04")
    assert [*published_lines([FILE, again, other])] == [
        "published user_summary 2026-05 (+8 rows)",
        "published biz_summary 2026-04 (+7 rows)",
    ]


def test_files_are_listed_now_and_then_and_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """Not at each event, because a backfill replaces hundreds."""
    lines = EventLines()
    progress = Progress(*STAMP, 0, 0, 0, 0, 0, 0, 0, 0.0, 0, 0, 0, 0, 0, None, 0.0)
    begin = STAMP[0]
    with caplog.at_level(logging.INFO, "harvester.events"):
        lines.tell(FILE)
        lines.tell(replace(progress, seconds=5.0))
        assert caplog.messages == []
        lines.tell(replace(progress, seconds=10.0))
        assert len(caplog.messages) == 1
        lines.tell(replace(FILE, ref_month="2026-04", time=begin + 11))
        lines.tell(RunEnded(begin + 12, *STAMP[1:], 0, "complete", (), None, 1, 1, 1.0))
    assert [text[:30] for text in caplog.messages] == [
        "published user_summary 2026-05",
        "published user_summary 2026-04",
    ]


def test_an_error_that_ends_the_command_is_left_to_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is printed with its advice there, once."""
    EventLines().tell(Problem(*STAMP, "store", "the disk is full"))
    assert caplog.messages == []
