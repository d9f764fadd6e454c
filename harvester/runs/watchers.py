"""Tasks beside a running pipeline: they record it, tell of it, and end it on a signal.

They learn from `Positions` how far it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio
from anyio import to_thread

from harvester.core.calendar import Clock
from harvester.engine.pipeline import Pipeline
from harvester.runs.record.run_events import PROGRESS_SECONDS
from harvester.runs.record.run_log import RunLog
from harvester.runs.record.summary import Summary
from harvester.runs.runtime import Position
from harvester.scheduling.standing import Standing, standing
from harvester.storage.backends.claims import MayStart

STALL_SECONDS = 60.0
"""Seconds without the end of a request after which a run is described in the log."""

CHECKPOINT_SECONDS = 30.0
"""Seconds between two checkpoints of the record of a run under way."""

IN_FLIGHT_GRACE_SECONDS = 3.0
"""Seconds that requests in flight get after a signal."""

PUBLISH_GRACE_SECONDS = 4.5
"""Seconds after a signal in which publishing a month may begin."""

_EVENT_SECONDS = 1.0
"""Seconds between two looks for events."""

_LEASE_SECONDS = 1.0
"""Seconds between two looks at the lease while nothing is asked."""

_POLL_SECONDS = 0.1
"""Seconds between two checks for a signal."""

_ACCOUNTS_PER_SECOND = 1_000
"""Accounts that may be looked at each second. That takes a five-hundredth of the time."""

_log = logging.getLogger("harvester.run")


class Positions:
    """The position of a run whenever it is asked for.

    ``count`` brings the summary up to date. ``window_seconds`` is the time that an account needs
    for a window at its rate.
    """

    def __init__(
        self,
        summary: Summary,
        pipeline: Pipeline,
        clock: Clock,
        *,
        count: Callable[[], None],
        window_seconds: float,
    ) -> None:
        self._summary = summary
        self._queues = pipeline.queues
        self._clock = clock
        self._count = count
        self._describe = pipeline.describe
        self._window_seconds = window_seconds
        self._standing = Standing(0, 0, 0, 0, 0)
        self._looked_at: float | None = None

    def __call__(self) -> Position:
        """Return the position now."""
        self._count()
        now, summary = self._clock(), self._summary
        seconds, found = now - summary.started_at, self._accounts(now)
        least = found.longest * self._window_seconds
        left = None
        if summary.answered:
            left = max(least, found.windows_left * seconds / summary.answered)
        return Position(
            done=summary.answered,
            windows=summary.windows,
            requests=summary.requests,
            retries=summary.retries,
            files=len(summary.published),
            seconds=seconds,
            describe=self._describe,
            rows=summary.rows,
            accounts=summary.wanted_accounts,
            # Those that owe nothing have no queue.
            accounts_done=summary.wanted_accounts - len(self._queues) + found.done,
            accounts_waiting=found.waiting,
            accounts_refused=found.refused,
            seconds_left=left,
            least_seconds_left=least,
        )

    def _accounts(self, now: float) -> Standing:
        """Return the standing of the accounts: that of a moment ago if they are many."""
        pause = max(1.0, len(self._queues) / _ACCOUNTS_PER_SECOND)
        if self._looked_at is None or not 0 <= now - self._looked_at < pause:
            self._looked_at = now
            self._standing = standing(self._queues, now)
        return self._standing


async def log_stalls(pipeline: Pipeline) -> None:
    """Log at debug level what the run waits for when no request ends for a minute."""
    requests = -1
    while True:
        if requests == pipeline.counters.requests:
            _log.debug("no request has ended for a minute\n%s", pipeline.describe())
        requests = pipeline.counters.requests
        await anyio.sleep(STALL_SECONDS)


async def tell_events(
    run_log: RunLog, count: Callable[[], None], position: Callable[[], Position]
) -> None:
    """Tell of new causes and files every second, and of the progress every ten."""
    told_at = run_log.now()
    while True:
        await anyio.sleep(_EVENT_SECONDS)
        count()
        now, events = run_log.now(), run_log.events
        events.checked(run_log.summary, now)
        if now - told_at >= PROGRESS_SECONDS:
            told_at = now
            events.progressed(run_log.summary, position(), now)


async def checkpoint(run_log: RunLog, count: Callable[[], None]) -> None:
    """Write the record twice a minute, so that a killed run leaves a recent one."""
    while True:
        await anyio.sleep(CHECKPOINT_SECONDS)
        count()
        await to_thread.run_sync(run_log.write)


async def watch_signals(pipeline: Pipeline, summary: Summary) -> None:
    """Stop the pipeline, and bound its end, once a signal handler has asked the run to stop."""
    await signalled(summary)
    pipeline.stop()
    pipeline.hurry(flight=IN_FLIGHT_GRACE_SECONDS, publishing=PUBLISH_GRACE_SECONDS)


async def signalled(summary: Summary) -> None:
    """Wait until a signal handler has asked the run to stop."""
    # Polled, because a signal handler must not hand anything to a loop that may be gone.
    while summary.stopped_by is None:  # noqa: ASYNC110 - as the line above says
        await anyio.sleep(_POLL_SECONDS)


async def watch_lease(pipeline: Pipeline, may_start: MayStart) -> None:
    """End a run that has lost its lease, also while nothing is handed out."""
    # Polled, because the thread that renews it knows no event loop.
    while may_start():  # noqa: ASYNC110 - as the line above says
        await anyio.sleep(_LEASE_SECONDS)
    pipeline.stop()
