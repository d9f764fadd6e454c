"""Messages that Python prints by itself, in processes of their own, which the hooks belong to."""

from __future__ import annotations

import subprocess
import sys

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


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_nothing_python_prints_shows_a_secret(failure: str) -> None:
    """The failure is printed and its secret masked, in development mode too."""
    command = [sys.executable, "-X", "dev", "-c", BEGIN + failure]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stdout == ""
    assert ended.stderr
    assert "c4n4ry" not in ended.stderr
    assert "***" in ended.stderr or "Worst" in ended.stderr
