"""Where tokens come from: each account's own way to one."""

from __future__ import annotations

from harvester.sources.office import Office
from harvester.sources.outcome import Denied, Doubt, Fresh, Outcome, Source

__all__ = ["Denied", "Doubt", "Fresh", "Office", "Outcome", "Source"]
