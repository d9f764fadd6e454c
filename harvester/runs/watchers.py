"""Tasks beside a running pipeline: they report its counts, record it, and end it on a signal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import anyio

from harvester.core.errors import MemoryLimit
from harvester.core.shortage import mebibytes, resident_memory
from harvester.engine.pipeline import Pipeline
from harvester.runs.facts import Counted
from harvester.runs.run_log import RunLog
from harvester.runs.stream import StopOrder, Stream
from harvester.scheduling.standing import Standing, standing

CHECKPOINT_SECONDS = 30.0
"""Seconds between two checkpoints of the record of a run under way."""

IN_FLIGHT_GRACE_SECONDS = 3.0
"""Seconds that requests in flight get after a signal."""

PUBLISH_GRACE_SECONDS = 4.5
"""Seconds after a signal in which publishing a month may begin."""

_COUNT_SECONDS = 0.5
"""Seconds between two facts of what was counted."""

_TIGHT = 0.8
"""Part of the memory limit past which a run takes fewer answers in hand."""

_POLL_SECONDS = 0.1
"""Seconds between two checks for a signal."""

_ACCOUNTS_PER_SECOND = 1_000
"""Accounts that may be looked at each second. That takes a five-hundredth of the time."""

_NUMBERS = [name for name, zero in Counted()._asdict().items() if isinstance(zero, int)]


@dataclass(slots=True)
class Counting:
    """Reports what a pipeline has counted since the last time.

    ``token_calls`` returns the calls for tokens so far.
    """

    stream: Stream
    pipeline: Pipeline
    token_calls: Callable[[], int]
    _known: Counted = field(default_factory=Counted)
    _looked_at: float | None = None

    def __call__(self) -> None:
        """Report the differences, and what other threads have put."""
        self.stream.drain()
        known, now = self._known, self._total()
        self._known = now
        numbers = {name: getattr(now, name) - getattr(known, name) for name in _NUMBERS}
        waits = {
            action: seconds - known.waits.get(action, 0.0) for action, seconds in now.waits.items()
        }
        self.stream.report(now._replace(**numbers, waits=waits, standing=self._standing()))

    def _total(self) -> Counted:
        questions, refusals = self.pipeline.questions, self.pipeline.scheduler.refusals
        return Counted(
            **asdict(self.pipeline.counters),
            retries=refusals.retries,
            token_calls=self.token_calls(),
            surplus_answers=self.pipeline.transport.pool.surplus,
            quota_questions=questions.asked,
            quotas_refused=questions.refused,
            shortened_spans={**refusals.shortened_spans},
        )

    def _standing(self) -> Standing | None:
        """Return the standing of the accounts, None if it was looked at a moment ago."""
        queues, now = self.pipeline.scheduler.queues, self.stream.now()
        pause = max(1.0, len(queues) / _ACCOUNTS_PER_SECOND)
        if self._looked_at is not None and 0 <= now - self._looked_at < pause:
            return None
        self._looked_at = now
        rate = self.pipeline.terms.limits.per_token.rate
        seconds = rate.period / rate.count
        found = standing(queues, now, seconds)
        # Those that owe nothing have no queue.
        return found._replace(done=self.stream.own.wanted_accounts - len(queues) + found.done)


async def count_often(count: Counting) -> None:
    """Report the counts twice a second, and end a run that has lost its lease."""
    while True:
        await anyio.sleep(_COUNT_SECONDS)
        count()
        # The pipeline looks at the lease only where it hands out a request.
        if not count.pipeline.tree.hold.is_good():
            count.pipeline.stop()


async def checkpoint(run_log: RunLog) -> None:
    """Write the record twice a minute, so that a killed run leaves a recent one."""
    while True:
        await anyio.sleep(CHECKPOINT_SECONDS)
        await anyio.to_thread.run_sync(run_log.write)


async def stop_at(pipeline: Pipeline, deadline: float) -> None:
    """Stop the pipeline at the end of the run's time budget."""
    await anyio.sleep_until(deadline)
    pipeline.stop()


@dataclass(slots=True)
class MemoryWatch:
    """Watches the memory of this process; ``limit`` is in bytes, None for no limit.

    ``used`` is what the process had when its run was stopped, 0 until then.
    """

    limit: int | None
    used: int = 0

    async def watch(self, pipeline: Pipeline) -> None:
        """Take fewer answers in hand past `_TIGHT` of the limit, and stop the pipeline at it."""
        while self.limit is not None and not self.used:
            await anyio.sleep(_COUNT_SECONDS)
            resident = resident_memory()
            pipeline.transport.in_hand.is_tight = resident > _TIGHT * self.limit
            if resident > self.limit:
                self.used = resident
                pipeline.stop()
                # To publish takes memory: the next run does it, from the raw log.
                pipeline.hurry(flight=IN_FLIGHT_GRACE_SECONDS, publishing=0.0)

    def check(self) -> None:
        """Raise MemoryLimit if the run was stopped."""
        if self.used:
            raise MemoryLimit(
                f"a process of this run uses {mebibytes(self.used)} of memory, and its share of"
                f" limits.memory is {mebibytes(self.limit or 0)}",
                "run again; if it ends so each time, raise the limit, or use more buckets or"
                " shards; what was harvested is safe",
            )


async def watch_signals(pipeline: Pipeline, stop: StopOrder, before: anyio.CancelScope) -> None:
    """Stop the pipeline, and bound its end, once a signal handler has asked the run to stop.

    The work ``before`` the pipeline is bounded as a request in flight.
    """
    await signalled(stop)
    pipeline.stop()
    pipeline.hurry(flight=IN_FLIGHT_GRACE_SECONDS, publishing=PUBLISH_GRACE_SECONDS)
    # Not ended at once: the answer may be a refresh token that is nowhere else.
    ends = anyio.current_time() + IN_FLIGHT_GRACE_SECONDS
    before.deadline = min(before.deadline, ends)


async def signalled(stop: StopOrder) -> None:
    """Wait until a signal handler has asked the run to stop."""
    # Polled, because a signal handler must not hand anything to a loop that may be gone.
    while stop.code is None:  # noqa: ASYNC110 - as the line above says
        await anyio.sleep(_POLL_SECONDS)
