"""Parsers of single options and arguments. They raise UsageError."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from harvester.core import calendar
from harvester.core.config import parsers

_T = TypeVar("_T")


def day_option(option: str, text: str | None, now: float) -> calendar.Day | None:
    """Parse a day, ``2024-01-31`` or ``-30d``, or return None for None. Raises UsageError."""
    return _option(option, text, lambda text: parsers.begin_day(text, calendar.today(now)))


def end_day_option(option: str, text: str | None, now: float) -> calendar.Day | None:
    """Parse ``yesterday``, ``2024-01-31`` or ``-30d``; None is the newest day that is ready.

    Raises UsageError.
    """
    return _option(option, text, lambda text: parsers.end_day(text, calendar.today(now)))


def duration_option(option: str, text: str | None) -> float | None:
    """Parse ``50m`` as seconds, or return None for None. Raises UsageError."""
    return _option(option, text, lambda text: parsers.duration(text, longest=math.inf))


def timeout_option(option: str, text: str | None) -> float | None:
    """Parse ``10m`` or ``0`` as seconds, or return None for None. Raises UsageError."""
    return 0.0 if text == "0" else duration_option(option, text)


def place_named(text: str) -> Path | str:
    """Parse the output of the command line: a path or an object store. Raises UsageError."""
    if "://" not in text:
        # Not checked as in a manifest: the shell has filled in what it fills in.
        return Path(text)
    return parsers.parsed("--output", text, parsers.place)


def _option(option: str, text: str | None, parse: Callable[[str], _T]) -> _T | None:
    return None if text is None else parsers.option_value(option, text, parse)
