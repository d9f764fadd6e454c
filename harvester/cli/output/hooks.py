"""Messages of Python itself, scrubbed: uncaught errors, warnings, ignored errors.

The command sets these up before it reads a word. An event loop's own complaints are log lines of
``asyncio``; so that those are scrubbed too where no verb has set up logging, the handler of last
resort gets a formatter that does it.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import warnings
from types import TracebackType
from typing import TextIO

from harvester.core.redaction import redacted


class _Redacting(logging.Formatter):
    """Any formatter's line, its traceback included, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def install() -> None:
    """Take Python's hooks for this process."""
    sys.excepthook = _uncaught
    threading.excepthook = _ended_thread
    sys.unraisablehook = _ignored
    warnings.showwarning = _warned
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Redacting())


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _say(_story(kind, error, trace))


def _ended_thread(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread is not None else "unknown"
    _say(
        f"Exception in thread {name}:\n{_story(args.exc_type, args.exc_value, args.exc_traceback)}"
    )


def _ignored(args: sys.UnraisableHookArgs) -> None:
    what = args.err_msg or "Exception ignored in"
    _say(f"{what}: {_shown(args.object)}\n")
    _say(_story(args.exc_type, args.exc_value, args.exc_traceback))


def _warned(  # noqa: PLR0917 - the signature is Python's
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    _say(warnings.formatwarning(message, category, filename, lineno, line), file)


def _story(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> str:
    """Format a traceback as Python prints it. Never fails: Python would then print the original."""
    try:
        return "".join(traceback.format_exception(kind, error, trace))
    except Exception:  # noqa: BLE001 - whatever it is, the name of the error must do
        return f"{kind.__name__}\n"


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - as above
        return type(value).__name__


def _say(text: str, file: TextIO | None = None) -> None:
    stream = file or sys.stderr
    if stream is not None:
        stream.write(redacted(text))
        stream.flush()
