"""Narrator: makes the events of a run from its facts, for one function that hears them."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from harvester.core.calendar import day_text, newest, oldest
from harvester.core.errors import HarvesterError, places
from harvester.core.model import MAX_ODDITIES, OddityKind
from harvester.core.text.inert_text import inert
from harvester.runs import facts
from harvester.runs.record import causes, events
from harvester.runs.record.causes import Causes
from harvester.runs.record.events import Event, Problem, Stamp
from harvester.runs.record.notes import odd_line
from harvester.runs.record.record import Record
from harvester.runs.record.run_record import MAX_SHOWN, as_record
from harvester.runs.stream import Told
from harvester.scheduling.listener import AbandonedDays, Reopened, Troubled
from harvester.storage import publication

PROGRESS_SECONDS = 10.0
"""Seconds between two `Progress` events."""

TELL_SECONDS = 1.0
"""Seconds for which new causes are collected, so that their first accounts are named together."""

MAX_PAUSED = 100
"""Paused accounts that the event of an end names; the run record has all of them."""

EventListener: TypeAlias = Callable[[Event], object]
"""A function that gets each event, in the thread of the run. It must return at once."""

# Up to 20,000 entries, and a log line is one piece.
_LONG_LISTS = {
    "accounts",
    "attention",
    "exceptions",
    "oddities",
    "published",
    "quarantined",
    "suspicious",
    "without_rows",
}

# Members that the event of an end has as the record has them.
_OF_THE_END = (
    *("exit_code", "outcome", "retry_at", "requests", "rows", "seconds"),
    *("attention_new", "attention_total"),
)

_log = logging.getLogger("harvester.events")
_log_of_run = logging.getLogger("harvester.run")


def ignore(_: Event) -> None:
    """Do nothing."""


class Narrator:
    """A listener of facts that tells events. An error of its own listener is logged once.

    ``names`` are those of the accounts by appid.
    """

    def __init__(self, listener: EventListener = ignore) -> None:
        self.names: Mapping[str, str] = {}
        self._listener = listener
        self._causes: defaultdict[str | None, Causes] = defaultdict(Causes)
        self._told: set[tuple[str, str | None, str]] = set()
        self._odd: defaultdict[str, set[tuple[OddityKind, str]]] = defaultdict(set)
        self._looked_at: dict[str | None, float] = {}
        self._progress_at = math.inf
        self._has_failed = False

    def __call__(self, told: Told) -> None:
        """Tell the events that a fact makes."""
        stamp = told.stamp
        match told.fact:
            case facts.Counted():
                self._look(told)
            case AbandonedDays() as days:
                self._causes[stamp.shard].abandon(days, told.of_shard.answered)
            case Reopened(days):
                self._causes[stamp.shard].reopen(days)
            case Troubled() as trouble:
                self._causes[stamp.shard].meet(trouble, stamp.time, told.of_shard.answered)
            case facts.Planned() if told.is_own:
                self._start(told.stream.record, stamp)
            case publication.Published() as item:
                self._publish(item, stamp)
            case facts.CoverageRead() as read:
                self._tell_news(told)
                self._tell_once([causes.clock_apart(stamp)] if read.clock_apart else ())
                self._tell_once(causes.empty_everywhere(read.empty_everywhere, stamp))
                # Days that an earlier run put into quarantine are known only now.
                self._tell_once(causes.quarantined(read.quarantined, stamp))
            case facts.Ended(error=error):
                self._end(told, error)
            case _:
                pass

    def _look(self, told: Told) -> None:
        """Tell new causes once a second, and the progress every ten."""
        now, shard = told.stamp.time, told.stamp.shard
        if now - self._looked_at.setdefault(shard, now) >= TELL_SECONDS:
            self._looked_at[shard] = now
            self._tell_news(told)
        if now - self._progress_at >= PROGRESS_SECONDS:
            self._progress_at = now
            self._tell(told.stream.position())

    def _start(self, record: Record, stamp: Stamp) -> None:
        self._progress_at = self._looked_at[stamp.shard] = stamp.time
        self._tell(events.RunStarted(*stamp, record.windows, record.account_days, *record.bound))

    def _publish(self, item: publication.Published, stamp: Stamp) -> None:
        first = day_text(oldest(item.days)) if item.days else None
        last = day_text(newest(item.days)) if item.days else None
        place = item.dataset, item.ref_month, item.path
        rows = item.rows_before, item.rows_after
        self._tell(events.Published(*stamp, *place, first, last, len(item.appids), *rows))
        self._tell_once(causes.quarantined(item.quarantined, stamp))
        known = self._odd[item.dataset]
        for key, seen in item.oddities.items():
            if key not in known and len(known) < MAX_ODDITIES:
                known.add(key)
                _log_of_run.warning("%s", odd_line(seen))

    def _tell_news(self, told: Told) -> None:
        stamp, record = told.stamp, told.of_shard
        for problem in self._causes[stamp.shard].news(stamp, record.answered):
            self._tell(problem)
        # Asked of the record, because a later answer may have settled what was delayed.
        if record.delayed:
            self._tell_once(causes.late(record.delayed, stamp))

    def _end(self, told: Told, error: HarvesterError | None) -> None:
        """Tell the causes that were not told yet, the error, and how the run ended."""
        self._tell_news(told)
        if error is not None:
            for problem in events.problems_of(error, *told.stamp):
                self._tell(problem)
        # The end of a shard is not that of the run, which comes last.
        if not told.is_own:
            return
        done = told.stream.record
        self._tell_once([causes.no_rows(told.stamp)] if done.is_rowless else ())
        record = as_record(done)
        record["paused"] = record["paused"][:MAX_PAUSED]
        self._tell(
            events.RunEnded(
                *told.stamp,
                **{name: record[name] for name in _OF_THE_END},
                reasons=tuple(record["reasons"]),
                record={name: each for name, each in record.items() if name not in _LONG_LISTS},
                attention=tuple(record["attention"][:MAX_SHOWN]),
            )
        )

    def _tell_once(self, found: Iterable[Problem]) -> None:
        """Tell problems whose cause was not told for their dataset yet."""
        for problem in found:
            key = problem.cause, problem.dataset, problem.message
            if key not in self._told:
                self._told.add(key)
                self._tell(problem)

    def _tell(self, event: Event) -> None:
        if isinstance(event, Problem) and event.accounts:
            names = tuple(inert(self.names.get(appid, "")) for appid in event.accounts)
            event = replace(event, names=names)
        try:
            self._listener(event)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
            if not self._has_failed:
                self._has_failed = True
                # Without the text of the error, which may hold anything.
                name, where = type(error).__name__, places(error)[-1]
                _log.warning("the listener of events failed: %s: %s", name, where)
