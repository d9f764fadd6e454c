"""Events of a run, in the order in which they happen; see `harvester.operations.record.events`."""

from __future__ import annotations

from harvester.operations.record.events import (
    Event,
    Problem,
    Progress,
    Published,
    RunEnded,
    RunStarted,
)

__all__ = ["Event", "Problem", "Progress", "Published", "RunEnded", "RunStarted"]
