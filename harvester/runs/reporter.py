"""Reporter of what a scheduler does: the facts of a run that are known first to it."""

from __future__ import annotations

from collections.abc import Sequence

from harvester.catalogue.error_codes import Rule
from harvester.core.model import Refusal
from harvester.runs.facts import Abandoned, Reopened, Troubled
from harvester.runs.stream import Stream
from harvester.scheduling.listener import AbandonedDays


class Reporter:
    """A listener of the scheduler that reports to a stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def on_abandoned(self, days: AbandonedDays) -> None:
        """Report days that are given up."""
        self._stream.report(Abandoned(days))

    def on_reopened(self, days: Sequence[AbandonedDays]) -> None:
        """Report days that are given up no longer, or for another cause."""
        self._stream.report(Reopened(tuple(days)))

    def on_trouble(self, rule: Rule, why: Refusal | str, appid: str) -> None:
        """Report an attempt that failed for a passing cause."""
        self._stream.report(Troubled(rule, why, appid))
