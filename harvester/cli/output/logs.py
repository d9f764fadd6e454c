"""Log lines on stderr, as text or as JSON, with secrets masked."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import suppress

from harvester.cli.options import Logging
from harvester.cli.output import json_lines
from harvester.cli.output.terminal import Terminal
from harvester.core.text.redaction import in_no_run
from harvester.core.text.safe_text import own_text

_MAX_LINE = 2_000
_STYLES = {logging.WARNING: "yellow", logging.ERROR: "bold red"}


class TextLines(logging.Formatter):
    """A formatter of lines in which secrets are masked and nothing acts."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return in_no_run(own_text, super().format(record), _MAX_LINE)


class AboveTheBar(logging.Handler):
    """A handler that prints above the bar which a terminal may show."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        """Print the line of a record."""
        with suppress(OSError):
            # Not wrapped, because a line that is copied must be a line.
            style = _STYLES.get(record.levelno, "")
            self._terminal.say(self.format(record), style=style, whole=True)


def set_up(options: Logging) -> None:
    """Send log records to stderr.

    Secrets are masked in the formatter, because a filter sees neither arguments nor tracebacks.
    """
    json_lines.begin(on=options.log_format == "json", level=options.log_level)
    if not json_lines.is_on():
        handle_by(logging.StreamHandler(sys.stderr))
    logging.getLogger("harvester").setLevel(options.log_level.upper())


def handle_by(handler: logging.Handler) -> None:
    """Send log records to a handler, as lines of text."""
    logging.Formatter.converter = time.gmtime
    handler.setFormatter(TextLines("%(asctime)s %(levelname)-8s %(message)s", "%H:%M:%SZ"))
    # Libraries log warnings and errors alone.
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
