"""The part of a manifest that a verb is about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Selection:
    """The accounts, datasets, jobs and days that are meant. An empty field narrows nothing.

    Dates are written as in a job; ``accounts`` holds appids, names or ``tag:NAME``.
    """

    begin_date: str | None = None
    end_date: str | None = None
    accounts: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()


ALL = Selection()
"""Everything that the manifest has."""
