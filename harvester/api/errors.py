"""Errors of the Python API; all can be pickled.

`UsageError` and `Busy` are raised before anything was requested. `Unfinished`, `PartialFailure`,
`Unauthorised` and `Stopped` are raised by `Result.raise_for_outcome` alone, and carry the result.
"""

from __future__ import annotations

from harvester.api.results import PartialFailure, RunFailed, Stopped, Unauthorised, Unfinished
from harvester.core.errors import (
    Busy,
    DamagedOutput,
    HarvesterError,
    HistoryLost,
    Unanswered,
    UsageError,
)

__all__ = [
    "Busy",
    "DamagedOutput",
    "HarvesterError",
    "HistoryLost",
    "PartialFailure",
    "RunFailed",
    "Stopped",
    "Unanswered",
    "Unauthorised",
    "Unfinished",
    "UsageError",
]
