"""Process that harvests one shard and reports to its parent, the process that divides the run.

If the parent dies, this process ends by itself. It ends in order if it is making requests to
WeChat, and otherwise at once, because the output is safe at any moment.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

from anyio import to_thread

from harvester.core.config.credentials import PlatformAccess, SecretReader
from harvester.core.config.settings import Manifest
from harvester.core.errors import HarvesterError
from harvester.core.exit_codes import Exit
from harvester.core.secret import Secret
from harvester.core.text import redaction
from harvester.runs import harvest as harvesting
from harvester.runs.clock import CheckedClock
from harvester.runs.facts import ClockCorrected
from harvester.runs.platform_accounts import PlatformAtHand
from harvester.runs.processes import messages
from harvester.runs.processes.messages import Channel, Question, ShardTask
from harvester.runs.record.record import Record
from harvester.runs.run_log import RunLog, log_store_errors, recorded
from harvester.runs.runtime import Project
from harvester.runs.stream import StopOrder, Stream
from harvester.storage.layout import Tree, open_tree
from harvester.wechat.auth.token_owners import SharedToken, TokenOwners, digest_of

END_SECONDS = 6.0
"""Seconds that an orderly end may take once the parent is gone."""

ALIVE_SECONDS = 1.0
"""Seconds between two signs of life."""


def work(connection: socket.socket) -> None:
    """Harvest the shard that the first message describes, and end this process."""
    channel = Channel(connection)
    redaction.start_record()
    # What is told before belongs to a process that died; it is told again once it matters here.
    while isinstance(task := channel.receive(), SharedToken):
        pass
    # As the command does: requests make few cycles.
    gc.set_threshold(200_000, 20, 50)
    parent = Parent(channel)
    _pass_log_on(parent, task.log_level)
    # By a thread, because a shard may read or write for minutes, and a stopped process has none.
    threading.Thread(target=partial(_live, channel), name="alive", daemon=True).start()
    with suppress(HarvesterError, OSError, EOFError):
        _harvest(task, parent)
    # The interpreter's shutdown would wait for a resolver or a store thread that hangs.
    os._exit(0)


def _live(channel: Channel) -> None:
    """Give signs of life, until the parent is gone."""
    with suppress(OSError):
        while True:
            channel.send(None)
            time.sleep(ALIVE_SECONDS)


class Parent:
    """The process that divides the run, as the process of a shard uses it.

    ``order`` has the signals that it passes on. It closes the connection once the run is recorded,
    or when it dies; ``gone`` is done then.
    """

    def __init__(self, channel: Channel) -> None:
        self.order = StopOrder()
        self._channel = channel
        self._numbers = count()
        self._answers: dict[int, Future[Any]] = {}
        self.gone = Future[None]()
        self.on_shared: Callable[[SharedToken], None] = lambda _: None
        # In the context of this run, because the secrets of answers enter its record.
        listen = partial(copy_context().run, self._listen)
        threading.Thread(target=listen, name="parent", daemon=True).start()

    def tell(self, message: messages.FromShard) -> None:
        """Send a message. One that cannot be sent is lost: this process ends soon."""
        with suppress(OSError):
            self._channel.send(message)

    def ask(self, question: Question) -> Any:
        """Send a question and return the answer. If the answer is an error, raise it.

        Raises EOFError if the parent is gone.
        """
        number, answer = next(self._numbers), Future[Any]()
        # Entered before it is asked, because the answer comes in another thread.
        self._answers[number] = answer
        self.tell(messages.Asked(number, question))
        # The thread that hears may have ended before the question was entered.
        if self.gone.done():
            raise EOFError
        return answer.result()

    def _listen(self) -> None:
        """Receive orders and answers until the connection ends, then end this process."""
        code: int = Exit.SIGTERM
        with suppress(OSError, EOFError):
            while True:
                match self._channel.receive():
                    case messages.Answered(number, value, None):
                        self._answers.pop(number).set_result(value)
                    case messages.Answered(number, _, error):
                        self._answers.pop(number).set_exception(error)
                    case SharedToken() as found:
                        self.on_shared(found)
                    case messages.Stop(code):
                        self._stop(code)
        self._stop(code)
        self.gone.set_result(None)
        for answer in [*self._answers.values()]:
            answer.set_exception(EOFError())
        time.sleep(END_SECONDS)
        # An orderly end that hangs, as on a store that is away, ends here.
        os._exit(code)

    def _stop(self, code: int) -> None:
        """Stop the run in order if it makes requests to WeChat; otherwise end the process."""
        if not self.order.is_graceful:
            os._exit(code)
        self.order.code = Exit(code)


class ShardLog(RunLog):
    """The changes of one shard. ``parent`` hears of its facts, and writes the record."""

    def __init__(self, stream: Stream, parent: Parent) -> None:
        super().__init__(stream)
        self._parent = parent
        stream.stop = parent.order
        stream.listeners.append(lambda told: parent.tell(told.fact))

    def correct_clock(self, offset: float) -> None:
        """Go on under the id that all shards take after the clock was corrected."""
        # In all, because the other shards count from the machine's clock too.
        whole = self.stream.own.clock_offset + offset
        run_id = self._parent.ask(messages.ClockMoved(whole))
        self.stream.report(ClockCorrected(offset, run_id))
        with self._lock:
            if self._changes is not None:
                self._changes.run_id = run_id

    def close(self, error: Exception | None = None) -> None:
        """End the shard, once, and wait until the run is recorded."""
        # Once the parent has heard of the end it may be gone at any moment, and locks are left.
        self.stream.stop.is_graceful = True
        super().close(error)
        # The locks are released after this. A run that took the buckets sooner would find the
        # changes in their logs and no record of the run that made them.
        self._parent.gone.result()

    def _close(self) -> None:
        """Fold the change logs: the record is written elsewhere."""
        if self._changes is not None:
            with log_store_errors():
                self._write_tables()
                self._changes.close()

    def _write(self, tree: Tree) -> None:
        """Write nothing: the facts are told as they happen."""


class _OwnersOfAll(TokenOwners):
    """The owners of tokens in a run of several processes: the parent compares the tokens of all."""

    def __init__(self, parent: Parent) -> None:
        super().__init__()
        self._parent = parent
        parent.on_shared = self.stop

    async def claim(self, appid: str, token: Secret) -> None:
        """Have a token entered where those of all processes are."""
        await self._ask(messages.TokenClaimed(appid, digest_of(token)))

    async def wait_for_all(self) -> None:
        """Wait until all processes have entered their first tokens."""
        # Without the parent the run is to stop, which it hears elsewhere.
        with suppress(EOFError):
            await self._ask(messages.TokensHad())

    async def _ask(self, question: Question) -> None:
        await to_thread.run_sync(self._parent.ask, question, abandon_on_cancel=True)


def _harvest(task: ShardTask, parent: Parent) -> None:
    """Harvest a shard. Raises the error that ends it early, after the parent received it."""
    clock = CheckedClock()
    # All shards work under the id of the run, which rows and raw log name.
    record = Record.begun(task.manifest.file, task.started_at)
    record.run_id = task.run_id
    log = ShardLog(Stream(record, clock), parent)
    with recorded(log):
        platform = PlatformAtHand(clock, partial(_shared_platform, task, parent))
        place = task.manifest, task.whole, open_tree(task.manifest.output)
        project = Project(*place, clock, platform, task.read_again, task.credentials)
        project = project._replace(owners=_OwnersOfAll(parent))
        harvesting.run(log, project, task.options, share=(task.own, task.grant))


def _shared_platform(task: ShardTask, parent: Parent, manifest: Manifest) -> PlatformAccess | None:
    """Return the platform with its known values; None if the manifest has none.

    The parent gets its token for all shards.
    """
    platform = task.credentials.platform(manifest)
    if platform is None:
        return None
    known = task.platform or platform.known
    # Each new token of a platform ends the one before, so one process asks for all.
    token = SecretReader(lambda: parent.ask(messages.TokenWanted(known.token)))
    return replace(platform, known=known, token=token)


class _ToParent(logging.Handler):
    """A log handler that sends lines to the parent, without their tracebacks."""

    def __init__(self, parent: Parent) -> None:
        super().__init__()
        self._parent = parent

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - logging would print a traceback
            text = "a log record whose arguments do not fit its text"
        # A line of another thread belongs to no run, and may hold the secrets of this one.
        safe = redaction.in_no_run(redaction.redacted, text)
        self._parent.tell(messages.Logged(record.name, record.levelno, safe))


def _pass_log_on(parent: Parent, level: int) -> None:
    # Libraries log warnings and errors alone.
    logging.basicConfig(level=logging.WARNING, handlers=[_ToParent(parent)], force=True)
    logging.getLogger("harvester").setLevel(level)
