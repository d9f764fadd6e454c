"""The change feed, for the command line."""

from __future__ import annotations

from harvester.core.errors import HistoryLost
from harvester.operations.changes import FROM_THE_BEGINNING, changes, open_feed

__all__ = ["FROM_THE_BEGINNING", "HistoryLost", "changes", "open_feed"]
