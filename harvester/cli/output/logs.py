"""Log lines on stderr, as text or as JSON, with secrets redacted."""

from __future__ import annotations

import json
import logging
import sys
import time

from harvester.cli.options import Logging
from harvester.core.inert_text import inert_json
from harvester.core.redaction import in_no_run
from harvester.core.safe_text import own_text

_MAX_LINE = 2_000


class _TextLines(logging.Formatter):
    """A formatter of lines like ``12:30:59Z INFO     message``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-8s %(message)s", "%H:%M:%SZ")

    def format(self, record: logging.LogRecord) -> str:
        return in_no_run(own_text, super().format(record), _MAX_LINE)


class _JsonLines(logging.Formatter):
    """A formatter of one JSON object a record: at, level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": in_no_run(own_text, record.getMessage(), _MAX_LINE),
        }
        return inert_json(json.dumps(line, ensure_ascii=False))


def set_up(options: Logging) -> None:
    """Send log records to stderr.

    Secrets are redacted in the formatter, because a filter sees neither arguments nor tracebacks.
    """
    logging.Formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if options.log_format == "json" else _TextLines())
    # Libraries log warnings and errors alone.
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("harvester").setLevel(options.log_level.upper())
