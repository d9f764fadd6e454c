"""Events of a run, in the order in which they happen; see `harvester.operations.record.events`."""

from __future__ import annotations

from harvester.operations.record.events import (
    CALLED_FROM,
    Event,
    Level,
    Problem,
    Progress,
    Published,
    RunEnded,
    RunStarted,
    problems_of,
)

__all__ = [
    "CALLED_FROM",
    "Event",
    "Level",
    "Problem",
    "Progress",
    "Published",
    "RunEnded",
    "RunStarted",
    "problems_of",
]
