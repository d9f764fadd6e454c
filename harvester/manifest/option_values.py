"""Parsers of single options and arguments. They raise UsageError."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from datetime import date
from pathlib import Path
from typing import TypeVar

from harvester.core import calendar
from harvester.core.config import parsers
from harvester.core.errors import UsageError

_T = TypeVar("_T")

SPELLING: ContextVar[Callable[[str], str]] = ContextVar("spelling of arguments", default=str)
"""The function that writes the name of an argument for messages; the command sets its own."""


def spelled(argument: str) -> str:
    """Return the name of an argument for messages: as in Python, or as an option."""
    spelling = SPELLING.get()
    return spelling(argument)


def day_option(name: str, day: str | date | None, now: float) -> calendar.Day | None:
    """Parse a day, ``2024-01-31`` or ``-30d``, or return None for None. Raises UsageError."""
    return option(name, day, lambda text: parsers.begin_day(text, calendar.today(now)))


def end_day_option(name: str, day: str | date | None, now: float) -> calendar.Day | None:
    """Parse ``yesterday``, ``2024-01-31`` or ``-30d``; None is the newest day that is ready.

    Raises UsageError.
    """
    return option(name, day, lambda text: parsers.end_day(text, calendar.today(now)))


def place_named(text: str, name: str = "output") -> Path | str:
    """Parse the place in an argument: a path or an object store. Raises UsageError."""
    if not text.strip():
        raise UsageError(f"{spelled(name)} is empty", "name a folder or a URI")
    if "://" not in text:
        # Not checked as in a manifest: the shell has filled in what it fills in.
        return Path(text)
    # Not quoted, because an address may hold a password or a signature.
    return parsers.parsed(spelled(name), text, parsers.place)


def option(name: str, value: str | date | None, parse: Callable[[str], _T]) -> _T | None:
    """Parse a value, or return None for None. Raises UsageError, which names the argument."""
    return None if value is None else parsers.option_value(spelled(name), str(value), parse)
