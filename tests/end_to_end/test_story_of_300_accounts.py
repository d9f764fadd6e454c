"""The story of 300 accounts, from plan to status, against an emulator over HTTP.

One account has a wrong secret, one lacks a permission, one has spent its quota, and WeChat is down
for a minute. ``pytest -s`` on this file prints all that a person sees.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harvester.core.calendar import day_text, today
from harvester.core.exit_codes import Exit
from harvester.sandbox import TOKEN, Rules
from harvester.sandbox.calls import Reply, Request
from tests.support.cli import CommandLine, JobScope, command_line
from tests.support.fast_time import fast_time
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.run_harness import DAILY, HOURLY, appid

FACTOR = 8.0
DOWN = Reply(b"<html>503 Service Unavailable</html>", 503, "text/html")
BAD_SECRET, NO_PERMISSION, SPENT = 7, 8, 9


def named(shell: CommandLine) -> None:
    """Give some accounts names, and the run the usual rate."""
    text = shell.manifest.read_text()
    names = {BAD_SECRET: "Acme Service", NO_PERMISSION: "Tea House 茶馆", SPENT: "Night Market"}
    for number, name in names.items():
        text = text.replace(
            f"{{appid: {appid(number)}}}", f"{{appid: {appid(number)}, name: {name}}}"
        )
    text = "".join(
        line
        for line in text.splitlines(keepends=True)
        if not line.startswith(("limits:", "retry:"))
    )
    shell.manifest.write_text(text)


def told(shell: CommandLine, *arguments: str) -> tuple[int, str]:
    """Execute a command, print it with its output, and return its exit code and its stderr."""
    ended = shell(*arguments)
    shown = f"\n$ harvester {' '.join(arguments)}\n{ended.err}{ended.out}".rstrip()
    with shell.capsys.disabled():
        sys.stdout.write(f"{shown}\n# exit {ended.code}, {len(ended.err.splitlines())} lines\n")
    return ended.code, ended.err


@pytest.mark.slow
def test_the_story(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each trouble is told when it appears, again while it lasts, and when it is over."""
    monkeypatch.setenv("COMMANDS_SECRET", "s" * 32)
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    with fast_time(FACTOR) as now:
        world = FaultyWeChat(Rules(), now)
        world.fail(appid(BAD_SECRET), 40125, dataset=TOKEN)
        world.fail(appid(NO_PERMISSION), 48001, dataset="user_summary")
        world.fail(appid(SPENT), 45009, dataset=HOURLY)
        well, outage = world.answer, [0.0, 0.0]

        def answer(request: Request) -> Reply:
            down = outage[0] <= now() < outage[1] and request.path.startswith("/datacube")
            return DOWN if down else well(request)

        monkeypatch.setattr(world, "answer", answer)
        day = today(now())
        scope = JobScope(
            (DAILY, HOURLY, "user_summary"), day_text(day - 12), day_text(day - 5), accounts=300
        )
        with command_line(tmp_path, scope, world, capsys) as shell:
            named(shell)
            assert told(shell, "plan")[0] == Exit.DONE
            assert told(shell, "check")[0] == Exit.INCOMPLETE
            outage[:] = [now() + 5, now() + 65]
            code, log = told(shell, "run", "--progress", "log")
            assert code == Exit.ATTENTION
            assert told(shell, "status")[0] == Exit.DONE
    # Of these a list of suspicious gaps takes 14, and the outage some.
    assert len(log.splitlines()) <= 80
    for words in (
        f"{appid(BAD_SECRET)} Acme Service: the AppSecret is wrong: 40125",
        f"user_summary: {appid(NO_PERMISSION)} Tea House 茶馆: the account may not use this API",
        f"{HOURLY}: {appid(SPENT)} Night Market: the daily quota of this API is spent: 45009",
        "no usable answer came: HTTP 503",
        "over: no usable answer came: HTTP 503",
    ):
        [line, *_] = [line for line in log.splitlines() if words in line]
        assert line[8:11] == "Z W" or "over: " in line
