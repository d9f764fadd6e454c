"""Stream of the facts of a run: folds each into the record, and hands it to the listeners."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import anyio

from harvester.core.calendar import Clock
from harvester.core.exit_codes import Exit
from harvester.runs import facts
from harvester.runs.record.events import Progress, Stamp
from harvester.runs.record.record import Record


class Told(NamedTuple):
    """A fact as a listener receives it, with its time, its shard and the records at that time.

    ``of_shard`` is the record of the process that reported the fact. ``is_own`` is True if this
    process reported it. ``stream`` has the record of the whole run.
    """

    fact: facts.Fact
    stamp: Stamp
    of_shard: Record
    is_own: bool
    stream: Stream


@dataclass(slots=True)
class StopOrder:
    """The order of a signal to end a run: ``code`` is the exit code, None without an order.

    A signal handler may set it at any moment. ``is_graceful`` is True once the run reacts to the
    order and ends by itself.
    """

    code: Exit | None = None
    is_graceful: bool = False


Watch: TypeAlias = Callable[[Callable[[], Progress]], Coroutine[Any, Any, None]]
"""A task that shows progress until it is cancelled."""

FactListener: TypeAlias = Callable[[Told], object]
"""A function that is called with each fact, in the thread of the run. It must return at once."""


class Stream:
    """The facts of one run. ``now`` is in seconds since the Unix epoch.

    Facts are folded and handed on in the thread of the run. Other threads `put` them, and the
    thread of the run takes them out with `drain`. No list of facts is kept.
    """

    def __init__(self, record: Record, now: Clock) -> None:
        self.now = now
        self.own = record
        self.stop = StopOrder()
        self.listeners: list[FactListener] = []
        self.watch: Watch = show_no_progress
        # What the run waits for, in lines for people.
        self.describe: Callable[[], str] = lambda: "no request has been made yet"
        self._shards: dict[str, Record] = {}
        self._queue: deque[facts.Fact] = deque()
        # Reentrant, because a listener may ask for the record.
        self.lock = threading.RLock()

    @property
    def record(self) -> Record:
        """The record of the whole run so far: of this process, or of all shards."""
        with self.lock:
            if not self._shards:
                return self.own
            return Record.of_shards([*self._shards.values()], self.own)

    def snapshot(self) -> Record:
        """Return the record of the whole run so far, which no later fact changes."""
        with self.lock:
            return Record.merge([self.record])

    def report(
        self, fact: facts.Fact, shard: str | None = None, *, before: Callable[[], object] = object
    ) -> None:
        """Fold a fact into the record, and hand it to the listeners. Only for the run's thread.

        ``shard`` names the shard whose process reported the fact; None means this process.
        ``before`` is called before the listeners.
        """
        # Folded first: a listener that asks for the record finds the fact in it.
        with self.lock:
            record = self.own if shard is None else self._shards[shard]
            record.take(fact)
        before()
        stamp = Stamp(self.now(), self.own.run_id, shard or self.own.shard)
        told = Told(fact, stamp, record, shard is None, self)
        for listener in self.listeners:
            listener(told)

    def position(self) -> Progress:
        """Return the progress of the run."""
        record = self.record
        seconds, at = self.now() - record.started_at, record.standing
        left = None
        # Before the first answer there is no speed to go by.
        if record.answered:
            left = max(at.least_seconds, at.windows_left * seconds / record.answered)
        return Progress(
            *Stamp(self.now(), self.own.run_id, self.own.shard),
            done=record.answered,
            windows=record.windows,
            days_done=record.answered_days,
            days=record.account_days,
            requests=record.requests,
            retries=record.retries,
            files=len(record.published),
            seconds=round(seconds, 3),
            rows=record.rows,
            accounts=record.wanted_accounts,
            accounts_done=at.done,
            accounts_waiting=at.waiting,
            accounts_refused=at.refused,
            seconds_left=None if left is None else round(left, 3),
            least_seconds_left=round(at.least_seconds, 3),
        )

    def put(self, *found: facts.Fact) -> None:
        """Report facts later, in the thread of the run. For any thread."""
        self._queue.extend(found)

    def fold(self, fact: facts.Fact) -> None:
        """Fold a fact without handing it on: the process is about to end. For any thread."""
        with self.lock:
            self.own.take(fact)

    def drain(self) -> None:
        """Report what other threads have put. Only for the run's thread."""
        while self._queue:
            self.report(self._queue.popleft())

    def begin_process(self, shard: str, plan: facts.Planned) -> None:
        """Begin the record of a shard, or continue it if a new process replaces a dead one.

        ``plan`` is the shard's plan, which this process made.
        """
        with self.lock:
            if shard in self._shards:
                self._shards[shard].go_on()
            else:
                self._shards[shard] = Record(started_at=self.own.started_at, shard=shard)
                self._shards[shard].take(plan)

    def shard(self, name: str) -> Record:
        """Return the record of a shard."""
        return self._shards[name]


async def show_no_progress(_: Callable[[], Progress]) -> None:
    """Show no progress at all, until cancelled: only then the run has ended."""
    await anyio.sleep_forever()


def all_made() -> str:
    """Describe a run that makes no request any more."""
    return "all requests have been made"
