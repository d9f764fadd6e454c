"""The part of a manifest that a command works on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Selection:
    """Filters of the command line. An empty field filters nothing.

    Dates are spelled as in a job; ``accounts`` holds appids, names, ``tag:NAME`` or
    ``NAME=VALUE`` of an attribute.
    """

    begin_date: str | None = None
    end_date: str | None = None
    accounts: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()


ALL = Selection()
"""The whole manifest."""
