"""Python's own messages, masked and inert: uncaught errors, warnings, ignored errors.

The command installs these hooks before it parses its arguments. They print the type and the place
of an error, as for an error that ends a command. Before a verb has set up logging, the logging
module's handler of last resort masks the lines of libraries, such as asyncio's.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings

from harvester.cli.output import json_lines
from harvester.cli.output.logs import TextLines
from harvester.cli.output.streams import report_error
from harvester.core.text import redaction


def install() -> None:
    """Install the hooks in this process, whose secrets they know until it ends."""
    redaction.start_record()
    sys.excepthook = _report_uncaught
    threading.excepthook = _report_of_thread
    sys.unraisablehook = _log_ignored
    warnings.showwarning = _log_warning  # type: ignore[assignment] # no file, no line
    # The library is silent in the programs of others; the command says what it warns of.
    logging.getLogger("harvester").handlers.clear()
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(TextLines())


def _report_uncaught(_kind: object, error: BaseException, _trace: object) -> None:
    report_error(error)


def _report_of_thread(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread is not None else "unknown"
    if args.exc_value is not None:
        report_error(args.exc_value, f" in the thread {name}")


def _log_ignored(args: sys.UnraisableHookArgs) -> None:
    where = f"{args.err_msg or 'Exception ignored in'}: {type(args.object).__name__}"
    logging.getLogger("python").error("%s: %s", where, json_lines.text_of(args.exc_value))


def _log_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object
) -> None:
    text = f"{filename}:{lineno}: {category.__name__}: {message}"
    logging.getLogger("py.warnings").warning("%s", text)
