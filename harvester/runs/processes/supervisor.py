"""Supervision of the processes of a run: one of them harvests each shard.

They report facts, which become those of the run. A process that dies is started again once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import anyio
from anyio import to_thread

from harvester.core.errors import CallError, HarvesterError, ProcessDied
from harvester.planning import wanted_days
from harvester.runs import harvest as harvesting
from harvester.runs import watchers
from harvester.runs.clock import OFF_SECONDS
from harvester.runs.facts import Counted, CoverageRead, Died, Ended, Planned
from harvester.runs.processes import messages
from harvester.runs.processes.launcher import Launcher
from harvester.runs.processes.messages import Answered, Channel, ShardTask
from harvester.runs.processes.platform_service import PlatformService
from harvester.runs.record.members import joined
from harvester.runs.record.record import worst_of
from harvester.runs.run_log import RunLog
from harvester.runs.runtime import RunContext
from harvester.runs.stream import all_made
from harvester.storage.layout import Tree
from harvester.wechat.auth import TokenDenied
from harvester.wechat.auth.token_owners import may_be_shared

MAX_DEATHS = 1
"""Processes of a shard that may die before the shard is given up."""

_log = logging.getLogger("harvester.processes")


@dataclass(slots=True)
class Shard:
    """One shard under supervision. ``asked`` is the question that waits for the end of the run.

    ``has_tokens`` is set once its first tokens are entered, or need no comparison.
    """

    task: ShardTask
    channel: Channel | None = None
    pid: int = 0
    asked: int | None = None
    over: anyio.Event = field(default_factory=anyio.Event)
    has_tokens: anyio.Event = field(default_factory=anyio.Event)

    @property
    def name(self) -> str:
        """The shard, like ``2/8``."""
        return self.task.shard

    def end(self) -> None:
        """End every wait for the shard."""
        self.over.set()
        self.has_tokens.set()

    def send(self, message: messages.ToShard) -> None:
        """Send a message, if the process is still there."""
        with suppress(OSError):
            if self.channel is not None:
                self.channel.send(message)


class Supervisor:
    """The processes of one run. `run` is called once, and then `release`."""

    def __init__(
        self,
        run_log: RunLog,
        tree: Tree,
        context: RunContext,
        launcher: Launcher,
        tasks: Sequence[ShardTask],
    ) -> None:
        self._log = run_log
        self._stream = run_log.stream
        self._tree = tree
        self._context = context
        self._launcher = launcher
        self._shards = [Shard(task) for task in tasks]
        self._has_begun = False
        self._beginning = anyio.Lock()
        self._platform = PlatformService(context)
        for shard in self._shards:
            appids = [account.appid for account in shard.task.manifest.asked_accounts]
            if not any(may_be_shared(context.credentials(appid)) for appid in appids):
                shard.has_tokens.set()

    async def run(self) -> None:
        """Harvest all shards. Raises the error that keeps the run from beginning, StoreError."""
        self._stream.describe = self._describe
        # Two groups: signals are passed on and the record is written while the run is concluded.
        async with anyio.create_task_group() as beside:
            beside.start_soon(self._context.watch, self._stream.position)
            beside.start_soon(self._pass_signal_on)
            beside.start_soon(watchers.checkpoint, self._log)
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                for shard in self._shards:
                    tasks.start_soon(self._harvest, shard)
                for shard in self._shards:
                    await shard.over.wait()
                await self._conclude()
                # They wait for the record of the run, which is written without a loop.
                tasks.cancel_scope.cancel()
            beside.cancel_scope.cancel()

    def release(self) -> None:
        """Let the processes end, once the run is recorded."""
        for shard in self._shards:
            if shard.asked is not None:
                shard.send(Answered(shard.asked))
            if shard.channel is not None:
                shard.channel.close()

    async def _conclude(self) -> None:
        """Read what the shards have that did not come to their own end.

        Raises the most severe error of the shards if none of them has begun.
        """
        stream = self._stream
        # From here on the run ends by itself, so a signal need not kill it.
        stream.stop.is_graceful, stream.describe = True, all_made
        stream.report(Counted(token_calls=self._platform.calls))
        if stream.stop.code is not None:
            return
        errors = [stream.shard(shard.name).failed for shard in self._shards]
        found = [error for error in errors if error is not None]
        # No shard held its buckets: nothing has begun, and their error is that of the run.
        if not self._has_begun and len(found) == len(errors):
            raise worst_of(found)
        for shard, error in zip(self._shards, errors, strict=True):
            if error is not None or not stream.shard(shard.name).datasets:
                # As far as it goes: the shard's own error says already that it is not whole.
                with suppress(HarvesterError):
                    fact = await to_thread.run_sync(self._read_coverage, shard.task)
                    stream.report(fact, shard.name)

    def _read_coverage(self, task: ShardTask) -> CoverageRead:
        """Read the coverage of a crashed shard from its files."""
        want = wanted_days.wanted(task.manifest, self._stream.own.started_at)
        record, clock = self._stream.shard(task.shard), self._context.clock
        asked = harvesting.Harvested(want, {}, ())
        return harvesting.read_coverage(record, task.manifest, self._tree, asked, clock)

    async def _harvest(self, shard: Shard) -> None:
        """Have a shard harvested, by another process if the first one dies."""
        stop = self._stream.stop
        while not shard.over.is_set() and stop.code is None:
            self._stream.begin_process(shard.name, shard.task.plan)
            try:
                shard.pid, connection = await to_thread.run_sync(self._launcher.start)
            except HarvesterError as error:
                self._give_up(shard, error)
                break
            shard.channel = Channel(connection)
            # How a process ends is seen by the end of its socket, whatever it was doing.
            with suppress(OSError, EOFError):
                await to_thread.run_sync(shard.channel.send, shard.task)
                await self._hear(shard, shard.channel)
            if not shard.over.is_set() and stop.code is None:
                await self._bury(shard)
            else:
                # So that it is no zombie while the others go on.
                await to_thread.run_sync(self._launcher.end_of, shard.pid)
        shard.end()

    async def _hear(self, shard: Shard, channel: Channel) -> None:
        """Take in the messages of a process until it ends. Raises EOFError or OSError then."""
        while True:
            # Abandoned, because a thread that waits for a socket hears of no cancellation; closing
            # the channel ends it.
            message = await to_thread.run_sync(channel.receive, abandon_on_cancel=True)
            match message:
                case messages.Logged(logger, level, text):
                    _relog(logger, level, text, shard.name)
                case messages.Asked(number, messages.Recorded()):
                    # Answered by `release`: its locks must outlive the record of the run.
                    shard.asked = number
                case messages.Asked(number, messages.ClockMoved(offset)):
                    self._move_clock(offset)
                    shard.send(Answered(number, self._log.run_id))
                case messages.Asked(
                    number, (messages.TokenWanted() | messages.ListWanted()) as what
                ):
                    self._tasks.start_soon(self._ask_platform, shard, number, what)
                case messages.Asked(number, messages.TokenClaimed(appid, digest)):
                    self._compare(appid, digest)
                    shard.send(Answered(number))
                case messages.Asked(number, messages.TokensHad()):
                    shard.has_tokens.set()
                    self._tasks.start_soon(self._wait_for_tokens, shard, number)
                case fact:
                    # A process that plans holds its locks, so the record may be begun.
                    if isinstance(fact, Planned):
                        await self._begin(shard)
                    self._stream.report(fact, shard.name)
                    if isinstance(fact, Ended):
                        shard.end()

    async def _begin(self, shard: Shard) -> None:
        """Begin the record of the run with the first shard that holds its buckets."""
        # Locked, because the file is written in a thread while other shards may plan too.
        async with self._beginning:
            if not self._has_begun:
                begin = partial(self._log.open, self._tree, shard.task.own, has_changes=False)
                await to_thread.run_sync(begin)
                self._has_begun = self._stream.stop.is_graceful = True
                self._stream.report(joined([each.task.plan for each in self._shards]))

    async def _ask_platform(
        self, shard: Shard, number: int, question: messages.TokenWanted | messages.ListWanted
    ) -> None:
        try:
            shard.send(Answered(number, await self._platform.answer(question)))
        except (TokenDenied, CallError) as error:
            shard.send(Answered(number, error=error))

    def _compare(self, appid: str, digest: bytes) -> None:
        """Enter a token, and stop the accounts that have it, in whatever process."""
        found = self._context.owners.enter(appid, digest)
        if found is not None:
            for each in self._shards:
                each.send(found)

    async def _wait_for_tokens(self, shard: Shard, number: int) -> None:
        for each in self._shards:
            await each.has_tokens.wait()
        shard.send(Answered(number))

    def _move_clock(self, offset: float) -> None:
        """Go by WeChat's time from now on, if a shard has found out first that the clock is off."""
        # Each shard counts from the clock of the machine, and the first one has moved ours.
        moved = offset - self._stream.own.clock_offset
        if abs(moved) > OFF_SECONDS:
            self._context.clock.move(moved)
            self._context.shift_platform(moved)
            self._log.correct_clock(moved)

    async def _bury(self, shard: Shard) -> None:
        """Start another process in the place of one that died, or give the shard up."""
        end = await to_thread.run_sync(self._launcher.end_of, shard.pid)
        self._stream.report(Died(), shard.name)
        # The question is that of the dead process; its number means nothing to the next one.
        shard.asked = None
        if shard.channel is not None:
            shard.channel.close()
        if self._stream.shard(shard.name).deaths <= MAX_DEATHS:
            line = "shard %s: its process %d %s; another one goes on"
            _log.warning(line, shard.name, shard.pid, end)
            return
        error = ProcessDied(
            f"shard {shard.name}: its process {shard.pid} {end}, and so did the one before it",
            "look for the cause in the system's log (dmesg), such as a lack of memory; what was"
            " harvested is safe, and running again goes on",
        )
        self._give_up(shard, error)

    def _give_up(self, shard: Shard, error: HarvesterError) -> None:
        """Report the error that ends a shard; the others go on."""
        self._stream.report(Ended(self._stream.now(), error), shard.name)
        shard.end()

    async def _pass_signal_on(self) -> None:
        stop = self._stream.stop
        await watchers.signalled(stop)
        for shard in self._shards:
            shard.send(messages.Stop(int(stop.code or 0)))

    def _describe(self) -> str:
        """Return the state of each shard in a line for people."""
        return "\n".join(map(self._line_of, self._shards))

    def _line_of(self, shard: Shard) -> str:
        record, process = self._stream.shard(shard.name), f"process {shard.pid}"
        if not record.requests:
            return f"shard {shard.name}, {process}: it has made no request yet"
        return (
            f"shard {shard.name}, {process}: {record.answered:,} of {record.windows:,} windows, "
            f"{record.requests:,} requests, {record.retries:,} retries"
        )


def _relog(name: str, level: int, text: str, shard: str) -> None:
    """Log a line of another process under its own name, with its shard."""
    logger = logging.getLogger(name)
    if logger.isEnabledFor(level):
        more = {"shard": shard}
        line = f"shard {shard}: {text}"
        logger.handle(logger.makeRecord(name, level, "", 0, "%s", (line,), None, extra=more))
