"""Commands that print tokens: what they get, how they are bounded, and what is told of them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest

from harvester.core.config.credentials import Command
from harvester.core.errors import CallTimedOut
from harvester.core.secret import Secret
from harvester.core.text.redaction import masked
from harvester.wechat.auth import subprocess_secret
from tests.support.token_harness import FIRST, A, denial, token_harness


def python(code: str, folder: Path, timeout: float = 10.0) -> Command:
    """Make a command that runs Python code."""
    return Command((sys.executable, "-c", code), folder, timeout)


@pytest.mark.parametrize(
    ("code", "life"),
    [
        ("print('tok+en/=')", None),
        ("print('  tok+en/=\\n')", None),
        ('print(\'{"access_token": "tok+en/=", "expires_in": 345}\')', 172.5),
        ('print(\'{"access_token": "tok+en/="}\')', None),
    ],
)
async def test_a_command_prints_a_token(tmp_path: Path, code: str, life: float | None) -> None:
    """Output is one word or JSON; without ``expires_in`` the token is used until rejected."""
    async with token_harness(FIRST, kinds={A: python(code, tmp_path)}) as at:
        assert (await at.tokens.current(A)).reveal() == "tok+en/="
        at.clock.now += 100_000 if life is None else life - 0.5
        await at.tokens.current(A)
        assert at.calls == 1
        if life is not None:
            at.clock.now += 0.5
            await at.tokens.current(A)
            assert at.calls == 2


async def test_a_command_runs_beside_the_manifest(tmp_path: Path) -> None:
    """It gets the manifest's directory, an empty input and the environment of this process."""
    code = "import os, sys; print(os.getcwd() + sys.stdin.read() + os.environ['PATH'][:0])"
    async with token_harness(FIRST, kinds={A: python(code, tmp_path)}) as at:
        assert (await at.tokens.current(A)).reveal() == str(tmp_path)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise SystemExit(7)", "ended with exit code 7"),
        (
            "import sys; print('no such path', file=sys.stderr); sys.exit(2)",
            "ended with exit code 2: no such path",
        ),
        (
            "import sys; print('hunter2hunter2'); sys.exit('got hunter2hunter2 wrong')",
            "ended with exit code 1: got *** wrong",
        ),
        ("import sys; sys.exit('token=hvs.CAESIJ')", "ended with exit code 1: ***"),
        ("import sys; sys.exit('Error: no access, (403)')", "exit code 1: Error: no access, (403)"),
        (
            "import sys; sys.exit('at s.hV0-x1 and QWERTZUIOPAS or abcdefghijklmnopq')",
            "ended with exit code 1: at *** and *** or ***",
        ),
        (
            "import sys; print('horsebattery'); sys.exit('not horsebatter')",
            "ended with exit code 1: not ***",
        ),
        ("import sys; sys.exit('abcdefghij' * 500 + ' klmnop failed')", "1: *** klmnop failed"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by signal 9"),
        ("print('two words')", "printed neither one word nor JSON with access_token"),
        ("print()", "printed neither one word nor JSON with access_token"),
        ("print('{\"token\": 1}')", "printed neither one word nor JSON with access_token"),
        ("print('x' * 70000)", "printed more than 64 KiB"),
        ("raise SystemExit(print('x' * 70000) or 'x' * 70000)", "printed more than 64 KiB"),
        ('print(\'{"errcode": 40125, "errmsg": "invalid appsecret"}\')', "40125 invalid appsecret"),
    ],
)
async def test_a_command_that_fails_stops_its_account(tmp_path: Path, code: str, says: str) -> None:
    """It is run once; the message has its exit code and its last error line, without secrets."""
    async with token_harness(FIRST, kinds={A: python(code, tmp_path)}) as at:
        said = str(await denial(at))
        assert said.endswith(says)
        await denial(at)
        assert at.calls == 1


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("/nowhere/vault",), "cannot start the command `vault`: No such file"),
        (("/tmp",), "cannot start the command `tmp`: Permission denied"),
        (("vault", "a\0b"), "cannot start the command `vault`: an argument contains a NUL byte"),
    ],
)
async def test_a_command_that_cannot_be_started_stops_its_account(
    tmp_path: Path, argv: tuple[str, ...], says: str
) -> None:
    """The message says why it cannot be started."""
    async with token_harness(FIRST, kinds={A: Command(argv, tmp_path)}) as at:
        assert says in str(await denial(at))


ENDLESS = """
import os, pathlib, sys
pathlib.Path("pids").write_text(f"{os.getpid()} {os.getpid()}")
while True:
    print("x" * 1000, file=sys.stdout if sys.argv[1:] else sys.stderr)
"""


async def test_a_command_that_prints_without_end_is_killed_at_once(tmp_path: Path) -> None:
    """Beyond 64 KiB, long before its timeout; nothing more is read."""
    argv = (sys.executable, "-c", ENDLESS, "stdout")
    with anyio.fail_after(30):
        said = await subprocess_secret.run(Command(argv, tmp_path, 600))
    assert said == f"the command `{Path(sys.executable).name}` printed more than 64 KiB"
    await until(lambda: not any(map(runs, started(tmp_path))))


async def test_an_error_output_without_end_takes_little_memory(tmp_path: Path) -> None:
    """Its last 4 KiB are kept until the command has taken too long."""
    at = Command((sys.executable, "-c", ENDLESS), tmp_path, 1.5)
    tracemalloc.start()
    try:
        with pytest.raises(CallTimedOut):
            await subprocess_secret.run(at)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


async def test_a_command_does_not_inherit_the_variables_of_other_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All other variables reach it, such as those with which it finds its own server."""
    monkeypatch.setenv("OTHER_SECRET", "c4n4ry-of-another")
    monkeypatch.setenv("VAULT_ADDR", "https://vault.internal")
    code = "import os; print(os.environ.get('OTHER_SECRET'), os.environ['VAULT_ADDR'])"
    at = Command((sys.executable, "-c", code), tmp_path, hidden=frozenset({"OTHER_SECRET"}))
    output = await subprocess_secret.run(at)
    assert isinstance(output, Secret)
    assert output.reveal() == "None https://vault.internal\n"


async def test_words_beside_a_printed_token_stay_readable(tmp_path: Path) -> None:
    """Only the token of the output is a secret from then on."""
    code = 'print(\'{"access_token": "tok+en/=1234", "expires_in": 7200}\')'
    async with token_harness(FIRST, kinds={A: python(code, tmp_path)}) as at:
        await at.tokens.current(A)
        text = '"access_token": "", "expires_in": 7200'
        assert masked(f"{text} tok+en/=1234") == f"{text} ***"


LASTING = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path("pids").write_text(f"{os.getpid()} {child.pid}")
time.sleep(600)
"""


def runs(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def started(folder: Path) -> list[int]:
    """Return the ids of the processes that LASTING has started, once both exist."""
    file = folder / "pids"
    found = file.read_text().split() if file.exists() else []
    return list(map(int, found)) if len(found) == 2 else []


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds that another process brings about."""
    with anyio.fail_after(300):
        while not condition():  # noqa: ASYNC110 - another process sets no event
            await anyio.sleep(0.005)


async def test_a_command_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    """Its child processes are killed too, and the account may try again."""
    async with token_harness(FIRST, kinds={A: python(LASTING, tmp_path, timeout=1.5)}) as at:
        with pytest.raises(CallTimedOut, match=r"did not end within 1\.5 s"):
            await at.tokens.current(A)
    await until(lambda: not any(map(runs, started(tmp_path))))


async def test_a_command_is_killed_with_the_run(tmp_path: Path) -> None:
    """A cancelled run does not wait for its commands and leaves no process behind."""
    async with (
        token_harness(FIRST, kinds={A: python(LASTING, tmp_path, timeout=600)}) as at,
        anyio.create_task_group() as group,
    ):
        group.start_soon(at.tokens.current, A)
        await until(lambda: bool(started(tmp_path)))
        group.cancel_scope.cancel()
    await until(lambda: not any(map(runs, started(tmp_path))))


def open_files() -> int:
    """Return the number of files that this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.long
async def test_a_command_that_is_cancelled_at_any_moment_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process, open file or task is left, whether it was starting or running."""
    monkeypatch.setattr(subprocess_secret, "MAX_COMMANDS", 1)
    argv = ("sh", "-c", "echo $$ >> pids; sleep 600 & wait")
    files = open_files()
    for moment in range(30):
        async with anyio.create_task_group() as group:
            given = Secret("refresh" * 30_000)
            group.start_soon(subprocess_secret.run, Command(argv, tmp_path, 600), given)
            for _ in range(moment):
                await anyio.sleep(moment / 10_000)
            group.cancel_scope.cancel()
    assert open_files() == files
    assert len(asyncio.all_tasks()) == 1
    with anyio.fail_after(30):
        assert isinstance(await subprocess_secret.run(Command(("true",), tmp_path)), Secret)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert pids
    await until(lambda: not any(map(runs, pids)))


def test_a_command_runs_in_a_loop_of_any_thread(tmp_path: Path) -> None:
    """The event loop need not be in the main thread."""
    with ThreadPoolExecutor(1) as threads:
        at = python("print('token')", tmp_path)
        output = threads.submit(lambda: anyio.run(subprocess_secret.run, at)).result()
    assert isinstance(output, Secret)
    assert output.reveal() == "token\n"


DAEMON = """
import pathlib, subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
daemon = subprocess.Popen(sleep, start_new_session=True)
pathlib.Path("daemon").write_text(str(daemon.pid))
"""
"""Starts a process with a session of its own that keeps the pipes open, as `ssh` does."""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Path]:
    """Return the folder in which DAEMON runs; kill its daemon after the test."""
    yield tmp_path
    os.kill(int((tmp_path / "daemon").read_text()), signal.SIGKILL)


@pytest.mark.parametrize("given", [None, Secret("refresh" * 30_000)])
async def test_a_command_that_leaves_a_daemon_succeeds(daemon: Path, given: Secret | None) -> None:
    """It does not time out, and its whole output is read."""
    prints = "print(len(sys.stdin.read()), 'x' * 60_000)"
    at = python(DAEMON + prints, daemon, timeout=400)
    with anyio.fail_after(300):
        output = await subprocess_secret.run(at, given)
    assert isinstance(output, Secret)
    assert output.reveal() == f"{len(given.reveal()) if given else 0} {'x' * 60_000}\n"
    assert runs(int((daemon / "daemon").read_text()))


async def test_the_daemon_of_a_slow_command_does_not_delay_the_timeout(
    daemon: Path,
) -> None:
    """The daemon is in another process group, so it survives and keeps the pipes open."""
    at = python(DAEMON + "time.sleep(600)", daemon, timeout=1.5)
    with anyio.fail_after(300), pytest.raises(CallTimedOut, match=r"did not end within 1\.5 s"):
        await subprocess_secret.run(at)


async def test_a_child_process_may_print_shortly_after_its_command_ends(tmp_path: Path) -> None:
    """A shell does not wait for the processes of `>(…)`."""
    child = "import time; time.sleep(0.1); print('token')"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-S', '-c', {child!r}])"
    output = await subprocess_secret.run(python(code, tmp_path))
    assert isinstance(output, Secret)
    assert output.reveal() == "token\n"


async def test_a_command_that_closes_its_pipes_still_times_out(tmp_path: Path) -> None:
    """It prints nothing more but keeps running."""
    code = "import os, time; os.close(1); os.close(2); time.sleep(600)"
    with anyio.fail_after(300), pytest.raises(CallTimedOut):
        await subprocess_secret.run(python(code, tmp_path, timeout=1.0))


async def test_a_command_does_not_block_the_event_loop(tmp_path: Path) -> None:
    """Other tasks run while a command runs."""
    slow = python("import time; time.sleep(0.3); print('t')", tmp_path)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.sleep(0.001)

    async with anyio.create_task_group() as group:
        group.start_soon(count)
        output = await subprocess_secret.run(slow)
        group.cancel_scope.cancel()
    assert isinstance(output, Secret)
    assert turns > 3
