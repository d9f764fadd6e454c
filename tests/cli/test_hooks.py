"""Messages that Python prints by itself, in processes of their own, which the hooks belong to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SECRET = "c4n4ry+/=&%value"

BEGIN = f"""
import asyncio, logging, sys, threading, warnings
from urllib.parse import quote
from harvester.cli.output import hooks
from harvester.core.secret import Secret
hooks.install()
known = Secret({SECRET!r})
raw = known.reveal()
"""

FAILURES = {
    "an uncaught error": "raise ValueError(f'POST /x?access_token={quote(raw, safe=str())}')",
    "an error with causes": """
try:
    raise KeyError(raw)
except KeyError as error:
    raise RuntimeError(quote(raw)) from error
""",
    "several at once": "raise BaseExceptionGroup('two', [KeyboardInterrupt(raw), OSError(raw)])",
    "ctrl-c": "raise KeyboardInterrupt(raw)",
    "a thread": """
def work(): raise ValueError(raw)
thread = threading.Thread(target=work, name=raw)
thread.start()
thread.join()
""",
    "an error in __del__": """
class Odd:
    def __repr__(self): return raw
    def __del__(self): raise ValueError(raw)
Odd()
""",
    "a warning": "warnings.warn(f'unclosed {raw}')",
    "a log line": "logging.getLogger('any').warning('%s', raw)",
    "a log line in another run": """
import contextvars
from harvester.cli.options import Logging
from harvester.cli.output import logs
from harvester.core.text import redaction
logs.set_up(Logging())
def other_run():
    redaction.start_record()
    logging.getLogger('any').warning('%s', raw)
contextvars.Context().run(other_run)
""",
    "a warning in another run": """
import contextvars
from harvester.core.text import redaction
def other_run():
    redaction.start_record()
    warnings.warn(f'unclosed {raw}')
contextvars.Context().run(other_run)
""",
    "a logged error": """
try:
    raise ValueError(raw)
except ValueError:
    logging.getLogger('any').exception('failed')
""",
    "a callback of the loop": """
async def main():
    def call(text): raise ValueError(text)
    asyncio.get_running_loop().call_soon(call, raw)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
asyncio.run(main())
""",
    "a task that is not awaited": """
async def fail(text): raise ValueError(text)
async def main():
    task = asyncio.get_running_loop().create_task(fail(raw), name=raw)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
asyncio.run(main())
""",
    "an error that cannot be printed": """
class Worst(Exception):
    def __str__(self): raise ValueError(raw)
raise Worst(raw)
""",
}


# Each failure is the end of a copy of the process, which takes less than a process of its own.
COPIES = """
import os
for name, failure in failures.items():
    child = os.fork()
    if not child:
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), 2)
        break
    os.waitpid(child, 0)
else:
    failure = ""
exec(failure)
"""


def stderr_of_failures(begin: str, failures: dict[str, str], folder: Path) -> dict[str, str]:
    """Return what Python prints to stderr on each failure, in development mode."""
    program = f"{BEGIN}{begin}failures = {failures!r}{COPIES}"
    command = [sys.executable, "-X", "dev", "-c", program]
    environ = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    ended = subprocess.run(command, cwd=folder, env=environ, capture_output=True, check=True)
    assert (ended.stdout, ended.stderr) == (b"", b"")
    return {name: (folder / name).read_text() for name in failures}


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what Python prints on each failure."""
    return stderr_of_failures("", FAILURES, tmp_path_factory.mktemp("failures"))


@pytest.mark.parametrize("failure", FAILURES)
def test_nothing_python_prints_shows_a_secret(failure: str, printed: dict[str, str]) -> None:
    """The failure is printed without its secret, in development mode too."""
    assert re.search(r"\*\*\*|\w at (<string>:|an unknown place)", printed[failure])
    assert "c4n4ry" not in printed[failure]
