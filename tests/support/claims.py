"""Claims on buckets, as runs make them."""

from __future__ import annotations

from datetime import datetime
from math import inf
from typing import Any

from harvester.storage.backends.claims import Claim


def claim(run: str, since: str = "2026-01-01T00:00:00Z", **options: Any) -> Claim:
    """Return the claim of a run that takes its buckets at a moment, RFC 3339 in UTC."""
    moment = datetime.fromisoformat(since).timestamp()
    usual = {"shard": None, "timeout": None, "is_stopped": lambda: False, "limit": inf}
    return Claim(run, lambda: moment, **{**usual, **options})
