"""Screens of a story: the output of the verbs at several widths of a terminal.

``python -m tests.support.screens`` writes them to docs/screens, for readers, and to
tests/data/screens, for the tests. The story is the same each time: a fixed day, the emulator's
data, one account with a wrong secret, one without permission, one whose quota is spent, one paused.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from harvester.cli import invoke
from harvester.cli.commands.run import StoppableRun
from harvester.core.calendar import instant, parse_day
from harvester.runs import clock
from harvester.sandbox import TOKEN, Rules
from harvester.storage.backends.elapsed import boot_seconds
from harvester.verbs.check import check
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.run_harness import appid
from tests.support.sandboxes import Clock, serve_in_thread

ROOT = Path(__file__).parents[2]
NOON = instant(parse_day("2026-05-20"), 12 * 60)
HOUR = 3600.0

ACCOUNTS = (12, 300)
WIDTHS = (60, 80, 100, 200)
"""Accounts and widths of the screens that the tests compare."""

DOCUMENTED = (60, 80, 120)
"""Widths of the screens in docs, of 300 accounts."""

NAMES = (
    "Acme Service",
    "上海华东旗舰店官方服务号",
    "Blue Mountain Coffee Roasters International",
    "北京悦读",
    "Café Zürich",
    "",
)

CHINESE_WIDTH = 80
CHINESE = ROOT / f"docs/screens/zh-{CHINESE_WIDTH}-columns.txt"

_RID = "1a2b3c4d-1a2b3c4d-1a2b3c4d"

_COMMANDS = [
    "plan jobs.yaml",
    "check jobs.yaml",
    "run jobs.yaml --progress none --log-level error",
    "status jobs.yaml",
    "status jobs.yaml --by account",
    "status jobs.yaml --by account --all",
    "status jobs.yaml --require yesterday --datasets user_summary",
    "status jobs.yaml --owners --datasets user_summary",
    f"fetch {appid(1)} user_summary 2026-05-18 jobs.yaml --log-level error",
    "verify jobs.yaml",
    "datasets",
    "datasets upstream_msg_dist",
    "explain 45009",
]


def commands(accounts: int) -> list[str]:
    """Return the command lines of the story; many accounts are not listed one by one."""
    return [line for line in _COMMANDS if accounts <= ACCOUNTS[0] or not line.endswith("--all")]


def screens(accounts: int, widths: tuple[int, ...], language: str = "en") -> dict[int, str]:
    """Tell the story once in a language, and return its screens by width."""
    found: dict[int, list[str]] = {width: [] for width in widths}
    lines = commands(accounts)
    if language != "en":
        lines = [line for line in lines if line.startswith(("run ", "status "))]
    with tempfile.TemporaryDirectory() as folder, _story(Path(folder), accounts) as now:
        os.environ["HARVESTER_LANG"] = language
        for line in lines:
            for width in widths:
                os.environ["COLUMNS"] = str(width)
                found[width].append(f"$ harvester {line}\n{_printed(line)}")
            if line.startswith("run "):
                now.now += HOUR
    return {width: "\n".join(parts) for width, parts in found.items()}


def files(accounts: int) -> Iterator[tuple[Path, str]]:
    """Yield every file of screens of so many accounts, with its content."""
    widths = {*WIDTHS, *(DOCUMENTED if accounts == ACCOUNTS[-1] else ())}
    for width, screen in screens(accounts, tuple(sorted(widths))).items():
        if width in WIDTHS:
            yield ROOT / f"tests/data/screens/{accounts}-accounts-{width}.txt", screen
        if width in DOCUMENTED and accounts == ACCOUNTS[-1]:
            yield ROOT / f"docs/screens/{width}-columns.txt", screen


def chinese() -> dict[int, str]:
    """Return the screens in Chinese, of few accounts: run and status."""
    return screens(ACCOUNTS[0], (CHINESE_WIDTH, WIDTHS[-1]), "zh")


@contextmanager
def _story(folder: Path, accounts: int) -> Iterator[Clock]:
    """Serve the emulator, be in a folder with a manifest of it, and yield the clock of the verbs.

    What follows the run must be later, because a day is asked at most once before that moment.
    """
    now = Clock(NOON)

    def elapsed() -> float:
        # An hour that passes does so for the machine too, or its clock would have been set.
        return boot_seconds() + now.now - NOON

    world = FaultyWeChat(Rules(), Clock(NOON))
    world.fail(appid(3), 40125, dataset=TOKEN)
    world.fail(appid(5), 48001)
    world.fail(appid(7), 45009, dataset="article_read")
    fixed = SimpleNamespace(time=now)
    variables = {"SECRET": "a-secret-of-the-story", "TZ": "UTC", "COLUMNS": "80"}
    with (
        serve_in_thread(world) as address,
        mock.patch.dict(os.environ, variables),
        mock.patch.object(clock, "time", fixed),
        mock.patch.object(clock, "boot_seconds", elapsed),
        mock.patch("harvester.cli.commands.run.StoppableRun", _once(StoppableRun)),
        mock.patch("harvester.verbs.check.check", _kept(check)),
        chdir(folder),
    ):
        time.tzset()
        Path("jobs.yaml").write_text(_manifest(address, accounts), "utf-8")
        yield now


def _manifest(address: str, accounts: int) -> str:
    lines = "".join(f"  - {{{', '.join(_members(number))}}}\n" for number in range(1, accounts + 1))
    return (
        f'version: 1\napi: {{base_url: "{address}"}}\n'
        'defaults: {credential: {secret: "${SECRET}"}}\n'
        f"accounts:\n{lines}"
        "jobs: [{datasets: all, begin_date: -2d}]\n"
        "limits: {per_token: {rate: 10000/s, burst: 100, concurrency: 1}}\n"
        "retry: {max_attempts: 2, initial_delay: 1ms, max_delay: 2ms}\noutput: out\n"
    )


def _members(number: int) -> Iterator[str]:
    """Yield the members of an account of the manifest."""
    yield f"appid: {appid(number)}"
    if name := NAMES[number % len(NAMES)]:
        yield f'name: "{name}"'
    yield f"tags: [t{number % 3}]"
    if number == 9:
        yield "paused: new secret asked for"


def _once(kind: type[Any]) -> Any:
    """Return a maker of executions of which the first alone runs, and is shown ever after."""
    made: list[Any] = []

    class Replayed(kind):  # type: ignore[misc]
        """An execution that runs once."""

        def execute(self) -> Any:
            """Run, or return the result of the first run."""
            self.first = getattr(self, "first", None) or super().execute()
            return self.first

    def maker(*given: Any, **named: Any) -> Any:
        made[:] = made or [Replayed(*given, **named)]
        return made[0]

    return maker


def _kept(function: Any) -> Any:
    """Return a function that is called once, and returns the same ever after."""
    found: list[Any] = []

    def kept(*given: Any, **named: Any) -> Any:
        found[:] = found or [function(*given, **named)]
        return found[0]

    return kept


def _printed(line: str) -> str:
    """Return what a command prints, without what differs from run to run."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        invoke(line.split())
    text = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{8}){2}\b", _RID, out.getvalue())
    # Log lines have the machine's time, and are not wrapped.
    text = re.sub(r"^\d\d:\d\d:\d\dZ .*\n", "", text, flags=re.MULTILINE)
    # A busy machine is a second late.
    text = re.sub(r"(\(asked\s+\S+T\d\d:\d\d:)\d\dZ", r"\g<1>00Z", text)
    text = re.sub(r"^(  time +)[\d.]+ (s|min)", r"\g<1>5.0 s", text, flags=re.MULTILINE)
    return re.sub(r"^(  耗时 +)[\d.]+ (秒|分钟)", r"\g<1>5.0 秒", text, flags=re.MULTILINE)


def main() -> None:
    """Write all files of screens."""
    every = chain.from_iterable(map(files, ACCOUNTS))
    for path, screen in [*every, (CHINESE, chinese()[CHINESE_WIDTH])]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(screen, "utf-8")


if __name__ == "__main__":
    main()
