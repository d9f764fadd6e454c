"""harvester for programs: functions, results, errors, events, and readers of an output.

`harvester` itself has the public names; importing them loads nothing until one is used.
"""

from __future__ import annotations

__all__ = [
    "arguments",
    "check",
    "errors",
    "events",
    "feed",
    "fetch",
    "maintenance",
    "output",
    "progress",
    "reports",
    "results",
    "run",
    "spark",
    "status_reports",
    "testing",
    "verbs",
]
