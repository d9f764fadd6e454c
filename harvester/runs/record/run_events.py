"""Events of a run under way: what changed since the last time, told to one function."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from harvester.core.calendar import day_text
from harvester.core.errors import places
from harvester.core.model import Window
from harvester.core.text.inert_text import inert
from harvester.runs.record import problems
from harvester.runs.record.events import (
    Event,
    Problem,
    Progress,
    Published,
    RunEnded,
    RunStarted,
    Stamp,
    problems_of,
)
from harvester.runs.record.passing_problems import OpenTroubles
from harvester.runs.record.run_record import as_record
from harvester.runs.record.summary import Summary
from harvester.runs.runtime import Position
from harvester.storage import publication

PROGRESS_SECONDS = 10.0
"""Seconds between two `Progress` events."""

MAX_PAUSED = 100
"""Paused accounts that the event of an end names; the run record has all of them."""

Listener: TypeAlias = Callable[[Event], object]
"""A function that gets each event, in the thread of the run. It must return at once."""

# Up to 20,000 entries, and a log line is one piece.
_LONG_LISTS = {
    "accounts",
    "exceptions",
    "oddities",
    "quarantined",
    "suspicious",
    "without_rows",
}

_log = logging.getLogger("harvester.events")


def ignore(_: Event) -> None:
    """Do nothing."""


class RunEvents:
    """Tells a listener of the events of one run. An error of the listener is logged once."""

    def __init__(self, listener: Listener = ignore) -> None:
        self._listener = listener
        self._shard: str | None = None
        self._published: deque[tuple[Published, tuple[publication.QuarantinedDay, ...]]] = deque()
        self._given_up = problems.KnownCauses()
        self._troubles = OpenTroubles()
        self._delayed: Iterable[Window] = ()
        self._names: Mapping[str, str] = {}
        self._told: set[tuple[str, str | None, str]] = set()
        self._shards_tell = False
        self._has_told_end = False
        self._has_failed = False

    def leave_causes_to_shards(self) -> None:
        """Tell of no cause any more, because the shards of the run tell of their own."""
        self._shards_tell = True

    def relay(self, event: Event) -> None:
        """Tell of an event of a shard."""
        self._tell(event)

    def take_shard(self, shard: str | None) -> None:
        """Take in which part of the accounts the run is about, like ``2/8``."""
        self._shard = shard

    def take_names(self, names: Mapping[str, str]) -> None:
        """Take in the names of the accounts by appid; those without a name may be left out."""
        self._names = names

    def started(self, summary: Summary) -> None:
        """Tell that the run is planned."""
        self._tell(
            RunStarted(
                *self._stamp(summary, summary.started_at),
                summary.windows,
                summary.account_days,
                summary.bound_seconds,
                summary.bound_by,
            )
        )

    def progressed(self, summary: Summary, at: Position, now: float) -> None:
        """Tell how far the run is."""
        left = at.seconds_left
        self._tell(
            Progress(
                *self._stamp(summary, now),
                at.done,
                at.windows,
                at.requests,
                at.retries,
                at.files,
                round(at.seconds, 3),
                at.rows,
                at.accounts,
                at.accounts_done,
                at.accounts_waiting,
                at.accounts_refused,
                None if left is None else round(left, 3),
                round(at.least_seconds_left, 3),
            )
        )

    def published(self, summary: Summary, item: publication.Published, now: float) -> None:
        """Take in a replaced file, in any thread; `checked` tells of it."""
        days = sorted(item.days)
        event = Published(
            *self._stamp(summary, now),
            item.dataset,
            item.ref_month,
            item.path,
            day_text(days[0]) if days else None,
            day_text(days[-1]) if days else None,
            len(item.appids),
            item.rows_before,
            item.rows_after,
        )
        self._published.append((event, item.quarantined))

    def checked(self, summary: Summary, now: float) -> None:
        """Tell of files that were replaced, of new causes of trouble, and of causes that are gone.

        To be called in the thread of the run, after its counters were taken in.
        """
        if self._shards_tell:
            return
        stamp = self._stamp(summary, now)
        while self._published:
            event, quarantined = self._published.popleft()
            self._tell(event)
            self._tell_once(problems.quarantined(quarantined, stamp))
        for problem in self._troubles.changes(summary.troubles, summary.answered, stamp):
            self._tell(problem)
        for problem in self._given_up.changes(summary.abandoned, stamp):
            self._tell(problem)
        # Another set for each change, so the windows are looked at once.
        if summary.delayed is not self._delayed:
            self._delayed = summary.delayed
            self._tell_once(problems.late(summary.delayed, stamp))

    def failed(self, summary: Summary, error: Exception, now: float) -> None:
        """Tell of the error that ends the run, once, after what happened before it."""
        if not self._has_told_end:
            self._has_told_end = True
            self.checked(summary, now)
            for problem in problems_of(error, *self._stamp(summary, now)):
                self._tell(problem)

    def ended(self, summary: Summary, now: float) -> None:
        """Tell how the run ended, after the causes that were not told yet."""
        self.checked(summary, now)
        stamp = self._stamp(summary, now)
        if not self._shards_tell:
            # Days that an earlier run put into quarantine are known only now.
            self._tell_once(problems.quarantined(summary.quarantined, stamp))
        record = as_record(summary)
        record["paused"] = record["paused"][:MAX_PAUSED]
        self._tell(
            RunEnded(
                *stamp,
                int(summary.exit_code),
                record["outcome"],
                tuple(summary.reasons()),
                record["retry_at"],
                summary.requests,
                summary.rows,
                round(summary.seconds, 3),
                {name: value for name, value in record.items() if name not in _LONG_LISTS},
            )
        )

    def _stamp(self, summary: Summary, now: float) -> Stamp:
        return Stamp(now, summary.run_id, self._shard)

    def _tell_once(self, found: Iterable[Problem]) -> None:
        """Tell of problems whose cause was not told for their dataset yet."""
        for problem in found:
            key = problem.cause, problem.dataset, problem.message
            if key not in self._told:
                self._told.add(key)
                self._tell(problem)

    def _tell(self, event: Event) -> None:
        if isinstance(event, Problem) and event.accounts:
            names = tuple(inert(self._names.get(appid, "")) for appid in event.accounts)
            event = replace(event, names=names)
        try:
            self._listener(event)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
            if not self._has_failed:
                self._has_failed = True
                # Without the text of the error, which may hold anything.
                name, where = type(error).__name__, places(error)[-1]
                _log.warning("the listener of events failed: %s: %s", name, where)
