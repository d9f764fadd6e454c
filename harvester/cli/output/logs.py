"""Log lines on stderr, for people or for machines, scrubbed of what looks like a secret."""

from __future__ import annotations

import json
import logging
import sys
import time

from harvester.cli.options import Logging
from harvester.core.safe_text import own_text

_LONGEST_LINE = 2_000


class _TextLines(logging.Formatter):
    """``12:30:59 info     message``, one line a record."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-8s %(message)s", "%H:%M:%SZ")

    def format(self, record: logging.LogRecord) -> str:
        return own_text(super().format(record), _LONGEST_LINE)


class _JsonLines(logging.Formatter):
    """One object a record: at, level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": own_text(record.getMessage(), _LONGEST_LINE),
        }
        return json.dumps(line, ensure_ascii=False)


def set_up(options: Logging) -> None:
    """Send what is logged to stderr.

    The scrubbing stands in the formatter, since a filter would see neither arguments nor
    tracebacks.
    """
    logging.Formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if options.log_format == "json" else _TextLines())
    # The libraries below us are heard only when something is wrong.
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("harvester").setLevel(options.log_level.upper())
