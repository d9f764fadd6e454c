"""Log lines on stderr, as text or as JSON, with secrets masked."""

from __future__ import annotations

import logging
import sys
import time

from harvester.cli.options import Logging
from harvester.cli.output import json_lines
from harvester.core.redaction import in_no_run
from harvester.core.safe_text import own_text

_MAX_LINE = 2_000


class _TextLines(logging.Formatter):
    """A formatter of lines like ``12:30:59Z INFO     message``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-8s %(message)s", "%H:%M:%SZ")

    def format(self, record: logging.LogRecord) -> str:
        return in_no_run(own_text, super().format(record), _MAX_LINE)


def set_up(options: Logging) -> None:
    """Send log records to stderr.

    Secrets are masked in the formatter, because a filter sees neither arguments nor tracebacks.
    """
    if json_lines.is_on() != (options.log_format == "json"):
        json_lines.begin(on=options.log_format == "json")
    if json_lines.is_on():
        json_lines.set_level(options.log_level)
    else:
        logging.Formatter.converter = time.gmtime
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_TextLines())
        # Libraries log warnings and errors alone.
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("harvester").setLevel(options.log_level.upper())
