"""Events of a run under way: what changed since the last time, told to one function."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeAlias, cast

from harvester.core.calendar import day_text
from harvester.core.model import Refusal
from harvester.core.redaction import masked
from harvester.core.safe_text import safe_text
from harvester.operations.record.account_report import reason_of
from harvester.operations.record.events import (
    MAX_ACCOUNTS,
    Cause,
    Event,
    Problem,
    Progress,
    Published,
    RunEnded,
    RunStarted,
)
from harvester.operations.record.run_record import as_record
from harvester.operations.record.summary import Summary
from harvester.scheduling.account_queue import AbandonedDays
from harvester.storage import publish

PROGRESS_SECONDS = 10.0
"""Seconds between two `Progress` events."""

Listener: TypeAlias = Callable[[Event], object]
"""A function that gets each event, in the thread of the run. It must return at once."""


def ignore(_: Event) -> None:
    """Do nothing."""


_Key: TypeAlias = tuple[Cause, str, str | None, int | None]

_log = logging.getLogger("harvester.events")


class RunEvents:
    """Tells a listener of the events of one run. An error of the listener is logged once."""

    def __init__(self, listener: Listener = ignore) -> None:
        self._listener = listener
        self._shard: str | None = None
        self._published: deque[Published] = deque()
        self._open: dict[_Key, Problem] = {}
        self._seen = 0
        self._has_failed = False

    def take_shard(self, shard: str | None) -> None:
        """Take in which part of the accounts the run is about, like ``2/8``."""
        self._shard = shard

    def started(self, summary: Summary) -> None:
        """Tell that the run is planned."""
        self._tell(
            RunStarted(
                summary.started_at,
                summary.run_id,
                self._shard,
                summary.windows,
                summary.account_days,
                summary.bound_seconds,
                summary.bound_by,
            )
        )

    def progressed(self, summary: Summary, now: float) -> None:
        """Tell how far the run is."""
        self._tell(
            Progress(
                now,
                summary.run_id,
                self._shard,
                summary.answered,
                summary.windows,
                summary.requests,
                summary.retries,
                len(summary.published),
                round(now - summary.started_at, 3),
            )
        )

    def published(self, summary: Summary, item: publish.Published, now: float) -> None:
        """Take in a replaced file, in any thread; `checked` tells of it."""
        days = sorted(item.days)
        self._published.append(
            Published(
                now,
                summary.run_id,
                self._shard,
                item.dataset,
                item.ref_month,
                item.path,
                day_text(days[0]) if days else None,
                day_text(days[-1]) if days else None,
                len(item.appids),
                item.rows_before,
                item.rows_after,
            )
        )

    def checked(self, summary: Summary, now: float) -> None:
        """Tell of files that were replaced, of new causes of given up days, and of gone ones."""
        while self._published:
            self._tell(self._published.popleft())
        if len(summary.abandoned) == self._seen:
            return
        self._seen = len(summary.abandoned)
        found = _problems(summary, now, self._shard)
        for key, problem in found.items():
            if key not in self._open:
                self._tell(problem)
        for key in [*self._open]:
            if key not in found:
                self._tell(_resolved(self._open[key], now))
        self._open = found

    def ended(self, summary: Summary, now: float) -> None:
        """Tell how the run ended, after the causes that were not told yet."""
        self.checked(summary, now)
        record = as_record(summary)
        self._tell(
            RunEnded(
                now,
                summary.run_id,
                self._shard,
                int(summary.exit_code),
                record["outcome"],
                tuple(summary.reasons()),
                record["retry_at"],
                summary.requests,
                summary.rows,
                round(summary.seconds, 3),
                record,
            )
        )

    def _tell(self, event: Event) -> None:
        try:
            self._listener(event)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
            if not self._has_failed:
                self._has_failed = True
                _log.warning(
                    "the listener of events failed: %s: %s",
                    type(error).__name__,
                    masked(str(error)),
                )


def _problems(summary: Summary, now: float, shard: str | None) -> dict[_Key, Problem]:
    alike: defaultdict[_Key, list[AbandonedDays]] = defaultdict(list)
    for item in summary.abandoned:
        cause = cast("Cause", reason_of(item)[0])
        code = item.why.errcode if isinstance(item.why, Refusal) else None
        alike[cause, item.rule.meaning, item.dataset, code].append(item)
    return {key: _problem(key, items, summary, now, shard) for key, items in alike.items()}


def _problem(
    key: _Key, items: list[AbandonedDays], summary: Summary, now: float, shard: str | None
) -> Problem:
    cause, meaning, dataset, code = key
    accounts = _distinct(item.appid for item in items)
    return Problem(
        now,
        summary.run_id,
        shard,
        cause,
        f"{meaning}: {safe_text(str(items[0].why))}",
        items[0].rule.advice,
        items[0].rule.scope.value,
        dataset,
        tuple(accounts[:MAX_ACCOUNTS]),
        len(accounts),
        code,
    )


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _resolved(problem: Problem, now: float) -> Problem:
    return replace(problem, time=now, resolved=True)
