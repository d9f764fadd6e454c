"""Python's own messages, masked and inert: uncaught errors, warnings, ignored errors.

The command installs these hooks before it parses its arguments. An event loop reports its errors as
log lines of ``asyncio``; the logging module's handler of last resort redacts those until a verb has
set up logging.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import warnings
from typing import TextIO

from harvester.cli.output import json_lines
from harvester.core.text import redaction
from harvester.core.text.inert_text import inert_line
from harvester.core.text.redaction import in_no_run, redacted


class _Redacting(logging.Formatter):
    """A formatter that removes secrets from lines and tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        return _safe_lines(super().format(record))


def install() -> None:
    """Install the hooks in this process, whose secrets they know until it ends."""
    redaction.start_record()
    sys.excepthook = _print_uncaught
    threading.excepthook = _print_thread_error
    sys.unraisablehook = _print_unraisable
    warnings.showwarning = _print_warning
    # The library is silent in the programs of others; the command says what it warns of.
    logging.getLogger("harvester").handlers.clear()
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Redacting())


def _print_uncaught(
    _kind: object, error: BaseException | None, _trace: object, thread: str = ""
) -> None:
    if json_lines.is_on() and error is not None:
        json_lines.tell_error(error, thread and f" in the thread {thread}")
        return
    title = thread and f"Exception in thread {thread}:\n"
    _write_redacted(title + _traceback_text(error))


def _print_thread_error(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread is not None else "unknown"
    _print_uncaught(args.exc_type, args.exc_value, args.exc_traceback, name)


def _print_unraisable(args: sys.UnraisableHookArgs) -> None:
    where = f"{args.err_msg or 'Exception ignored in'}: {_safe_repr(args.object)}"
    if json_lines.is_on():
        logging.getLogger("python").error("%s: %s", where, json_lines.text_of(args.exc_value))
        return
    _write_redacted(f"{where}\n{_traceback_text(args.exc_value)}")


def _print_warning(  # noqa: PLR0917 - the signature is Python's
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if json_lines.is_on() and file is None:
        text = f"{filename}:{lineno}: {category.__name__}: {message}"
        logging.getLogger("py.warnings").warning("%s", text)
        return
    _write_redacted(warnings.formatwarning(message, category, filename, lineno, line), file)


def _traceback_text(error: BaseException | None) -> str:
    """Format a traceback. Never fails, because Python would then print the error unredacted."""
    try:
        return "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 - an error may fail to print itself
        return f"{type(error).__name__}\n"


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - as above
        return type(value).__name__


def _write_redacted(text: str, file: TextIO | None = None) -> None:
    stream = file or sys.stderr
    stream.write(_safe_lines(text))
    stream.flush()


def _safe_lines(text: str) -> str:
    """Mask a text of several lines. A foreign line break in it is one too, so no line acts."""
    return "\n".join(map(inert_line, in_no_run(redacted, text).split("\n")))
