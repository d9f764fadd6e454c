"""Supervision of the processes of a run: one of them harvests each shard.

They report facts, which become those of the run. A process that dies is started again once.
"""

from __future__ import annotations

import logging
import math
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
from anyio import to_thread

from harvester.core.errors import CallError, HarvesterError, ProcessDied
from harvester.planning import wanted_days
from harvester.planning.ledger import WRONG_SECONDS
from harvester.runs import watchers
from harvester.runs.access import open_platform
from harvester.runs.days.coverage_of_run import Harvested, read_coverage
from harvester.runs.facts import Counted, CoverageRead, Died, Ended, Fact, Planned
from harvester.runs.processes import messages
from harvester.runs.processes.launcher import End, Launcher
from harvester.runs.processes.messages import Answered, Channel, ShardTask
from harvester.runs.run_log import RunLog
from harvester.runs.runtime import RunContext
from harvester.runs.stream import all_made
from harvester.storage import coverage_scan
from harvester.storage.layout import Tree
from harvester.wechat.auth.component import Component
from harvester.wechat.auth.provider import TokenDenied
from harvester.wechat.auth.token_owners import may_be_shared

MAX_DEATHS = 1
"""Processes of a shard that may die before the shard is given up."""

TICK_SECONDS = 1.0

SILENT_TICKS = 60
"""Ticks after which a process that gave no sign of life is killed."""

END_TICKS = 15
"""As SILENT_TICKS, once the run is to end. Requests in flight have their time limit in addition,
after which a process that tells nothing new is killed too."""

_log = logging.getLogger("harvester.processes")


@dataclass(slots=True)
class Shard:
    """One shard under supervision.

    ``has_tokens`` is set once its first tokens are entered, or need no comparison. Its process has
    told no news for ``idle`` ticks, counted from when the run was to end, and is killed for a
    ``fault``.
    """

    task: ShardTask
    channel: Channel | None = None
    pid: int = 0
    idle: int = 0
    fault: str = ""
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


@dataclass(eq=False, repr=False)
class Supervisor:
    """The processes of one run. `run` is called once, and then `release`."""

    run_log: RunLog
    tree: Tree
    context: RunContext
    launcher: Launcher
    tasks: Sequence[ShardTask]

    def __post_init__(self) -> None:
        """Make the shards, whose tokens are compared if a mistake can give two the same one."""
        self._stream = self.run_log.stream
        self._shards = [Shard(task) for task in self.tasks]
        self._has_begun = False
        self._platform: Component | None = None
        # Those of anyio are too few for many processes, and each of these may wait for long.
        self._hearing = anyio.CapacityLimiter(len(self.tasks))
        for shard in self._shards:
            appids = [account.appid for account in shard.task.manifest.asked_accounts]
            if not any(may_be_shared(self.context.credentials(appid)) for appid in appids):
                shard.has_tokens.set()

    async def run(self) -> None:
        """Harvest all shards. Raises the error that keeps the run from beginning, StoreError."""
        self._stream.describe = self._describe
        budget = self._shards[0].task.options.max_duration
        self._deadline = anyio.current_time() + (math.inf if budget is None else budget)
        platform = open_platform(self.context)
        async with platform as self._platform, anyio.create_task_group() as tasks:
            self._group = tasks
            tasks.start_soon(self._stream.watch, self._stream.position)
            tasks.start_soon(self._pass_signal_on)
            tasks.start_soon(watchers.checkpoint, self.run_log)
            tasks.start_soon(self._watch)
            for shard in self._shards:
                tasks.start_soon(self._harvest, shard)
            for shard in self._shards:
                await shard.over.wait()
            await self._conclude()
            # The processes wait for the record of the run, which is written without a loop.
            tasks.cancel_scope.cancel()

    def release(self) -> None:
        """Let the processes give back their locks and end, once the run is recorded."""
        for shard in self._shards:
            if shard.channel is not None:
                shard.channel.close()

    async def _conclude(self) -> None:
        """Read what the shards have that did not come to their own end.

        Raises the most severe error of the shards if none of them has begun.
        """
        stream = self._stream
        # From here on the run ends by itself, so a signal need not kill it.
        stream.stop.is_graceful, stream.describe = True, all_made
        if self._platform is not None:
            stream.report(Counted(token_calls=self._platform.calls))
        if stream.stop.code is not None:
            return
        failed = stream.record.failed
        # No shard held its buckets: nothing has begun, and their error is that of the run.
        if not self._has_begun and failed is not None:
            raise failed
        for shard in self._shards:
            record = stream.shard(shard.name)
            if record.failed is not None or not record.datasets:
                # As far as it goes: the shard's own error says already that it is not whole.
                with suppress(HarvesterError):
                    fact = await to_thread.run_sync(self._read_coverage, shard.task)
                    stream.report(fact, shard.name)

    def _read_coverage(self, task: ShardTask) -> CoverageRead:
        """Read the coverage of a crashed shard from its files."""
        record, clock = self._stream.shard(task.shard), self.context.clock
        want = wanted_days.wanted(task.manifest, clock.earlier(self._stream.own.started_at))
        scan = coverage_scan.read(self.tree, want, clock(), task.manifest.datasets, task.own)
        harvested = Harvested(want, {}, (), scan)
        return read_coverage(record, task.manifest, self.tree, harvested, clock)

    async def _harvest(self, shard: Shard) -> None:
        """Have a shard harvested, by another process if the first one dies."""
        stop = self._stream.stop
        while not shard.over.is_set() and stop.code is None:
            self._stream.begin_process(shard.name, shard.task.plan)
            try:
                shard.pid, connection = await to_thread.run_sync(self.launcher.start)
            except HarvesterError as error:
                self._give_up(shard, error)
                break
            shard.idle, shard.fault = 0, ""
            channel = shard.channel = Channel(connection)
            # How a process ends is seen by the end of its socket, whatever it was doing.
            with suppress(OSError, EOFError):
                await to_thread.run_sync(channel.send, shard.task)
                await self._hear(shard, channel)
            shard.channel = None
            channel.close()
            # Asked in any case, so that it is no zombie while the others go on.
            end = await to_thread.run_sync(self.launcher.end_of, shard.pid)
            if not shard.over.is_set() and stop.code is None:
                self._bury(shard, end)
        shard.end()

    async def _watch(self) -> None:
        """Kill processes that hang."""
        # Ticks, and no clock: one that goes on while a machine is suspended would kill them all.
        while True:
            await anyio.sleep(TICK_SECONDS)
            self._tick()

    def _tick(self) -> None:
        is_late = self._stream.stop.code is not None or anyio.current_time() > self._deadline
        limit = END_TICKS if is_late else SILENT_TICKS
        for shard in self._shards:
            channel = shard.channel
            if channel is None or shard.over.is_set():
                continue
            channel.silent += 1
            shard.idle = shard.idle + 1 if is_late else 0
            if channel.silent >= limit:
                self._kill(shard, channel, f"gave no sign of life for {channel.silent} seconds")
            elif shard.idle >= END_TICKS + shard.task.manifest.api.timeout:
                self._kill(shard, channel, f"did not end for {shard.idle} seconds")

    def _kill(self, shard: Shard, channel: Channel, fault: str) -> None:
        """Kill a process without waiting for its end, which may never come."""
        shard.channel, shard.fault = None, f"{fault} and "
        _log.warning("shard %s: its process %d %s; it is killed", shard.name, shard.pid, fault)
        with suppress(ProcessLookupError):
            os.kill(shard.pid, signal.SIGKILL)
        # Ends the wait for its messages, also if it hangs in the kernel and keeps its end open.
        channel.close()

    async def _hear(self, shard: Shard, channel: Channel) -> None:
        """Take in the messages of a process until it ends. Raises EOFError or OSError then."""
        while True:
            # Abandoned, because a thread that waits for a socket hears of no cancellation; closing
            # the channel ends it.
            message = await to_thread.run_sync(
                channel.receive, abandon_on_cancel=True, limiter=self._hearing
            )
            if not isinstance(message, Counted):
                shard.idle = 0
            match message:
                case messages.Logged(logger, level, text):
                    line, more = f"shard {shard.name}: {text}", {"shard": shard.name}
                    logging.getLogger(logger).log(level, "%s", line, extra=more)
                case messages.Asked(number, question):
                    self._group.start_soon(self._answer, shard, channel, number, question)
                case fact:
                    await self._begin(shard, fact)
                    self._stream.report(fact, shard.name)
                    if isinstance(fact, Ended):
                        shard.end()

    async def _begin(self, shard: Shard, fact: Fact) -> None:
        """Begin the record of the run with the first shard that plans: it holds its buckets."""
        if isinstance(fact, Planned):
            self.run_log.folds |= 0 in shard.task.own
        if isinstance(fact, Planned) and not self._has_begun:
            # Set first, because others may plan while a thread writes the file.
            self._has_begun = True
            # The shards have the logs of the buckets.
            await to_thread.run_sync(self.run_log.open, self.tree, [])
            self._stream.stop.is_graceful = True
            # The rest of the plan is in the records of the shards.
            bound = max(each.task.plan.bound for each in self._shards)
            self._stream.report(Planned(bound=bound))

    async def _answer(
        self, shard: Shard, channel: Channel, number: int, question: messages.Question
    ) -> None:
        """Answer a question of a shard, as soon as that can be done."""
        try:
            answer = Answered(number, await self._value_of(shard, question))
        except (TokenDenied, CallError) as error:
            answer = Answered(number, error=error)
        # The process that asked may be dead; its number means nothing to the next one.
        if shard.channel is channel:
            shard.send(answer)

    async def _value_of(self, shard: Shard, question: messages.Question) -> object:
        match question:
            case messages.ClockMoved(offset):
                self._move_clock(offset)
                return self.run_log.run_id
            case messages.TokenWanted(rejected) if self._platform is not None:
                return await self._platform.own_token(rejected)
            case messages.TokenClaimed(appid, digest):
                if found := self.context.owners.enter(appid, digest):
                    # The accounts that have it are stopped, in whatever process.
                    for each in self._shards:
                        each.send(found)
            case messages.TokensHad():
                shard.has_tokens.set()
                for each in self._shards:
                    await each.has_tokens.wait()
        return None

    def _move_clock(self, offset: float) -> None:
        """Go by WeChat's time from now on, if a shard has found out first that the clock is off."""
        # Each shard counts from the clock of the machine, and the first one has moved ours.
        moved = offset - self._stream.own.clock_offset
        if abs(moved) > WRONG_SECONDS:
            self.context.clock.move(moved)
            self.run_log.correct_clock(moved)

    def _bury(self, shard: Shard, end: End) -> None:
        """Let another process go on in the place of one that died, or give the shard up."""
        self._stream.report(Died(end.signal, end.peak_memory or None), shard.name)
        record, count = self._stream.shard(shard.name), len(self._shards)
        how = f"shard {shard.name}: its process {shard.pid} {shard.fault}{end}"
        if record.deaths <= MAX_DEATHS:
            _log.warning("%s; another one goes on", how)
            return
        error = ProcessDied(
            f"{how}, and the one before it died too",
            "what was harvested is safe, and running again goes on; if the system's log (dmesg)"
            f" names a lack of memory, set --processes {count - 1} or give this run more than"
            f" {count * (record.peak_memory or 0) >> 20:,} MiB",
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
        record = self._stream.shard(shard.name)
        return (
            f"shard {shard.name}, process {shard.pid}: {record.answered:,} of {record.windows:,}"
            f" windows, {record.requests:,} requests, {record.retries:,} retries"
        )
