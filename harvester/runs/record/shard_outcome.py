"""Ends of the shards of a run in several processes."""

from __future__ import annotations

from dataclasses import dataclass

from harvester.core.errors import HarvesterError
from harvester.core.exit_codes import Exit


@dataclass(frozen=True, slots=True)
class ShardOutcome:
    """The end of one shard: ``deaths`` of its processes, and the ``error`` that ended it early."""

    shard: str
    exit_code: Exit
    reasons: tuple[str, ...]
    requests: int
    rows: int
    deaths: int = 0
    error: HarvesterError | None = None
