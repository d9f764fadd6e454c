"""Supervision of the processes of a run: one of them harvests each shard.

They begin together, once each has its plan, so that a mistake or ``limits.max_requests`` ends the
run before the first request. A process that dies is started again once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
from anyio import to_thread

from harvester.core.errors import CallError, HarvesterError, ProcessDied, UsageError
from harvester.core.exit_codes import first_of
from harvester.planning import windows
from harvester.planning.windows import Plan
from harvester.runs import harvest as harvesting
from harvester.runs import watchers
from harvester.runs.clock import OFF_SECONDS
from harvester.runs.processes import messages
from harvester.runs.processes.launcher import Launcher
from harvester.runs.processes.messages import Channel, ShardTask
from harvester.runs.processes.platform_service import PlatformService
from harvester.runs.record import merged_summary
from harvester.runs.record.events import Problem, Published, problems_of
from harvester.runs.record.merged_summary import Counts, ShardReport
from harvester.runs.record.run_log import RunLog
from harvester.runs.record.summary import PublishedFile, Summary, start_summary
from harvester.runs.runtime import Position, RunContext
from harvester.storage.layout import Tree
from harvester.storage.state.change_log import ChangesOfShards
from harvester.wechat.auth import TokenDenied

MAX_DEATHS = 1
"""Processes of a shard that may die before the shard is given up."""

_LOCK_SECONDS = 2.0
"""Seconds after which a process that locks its buckets waits for another run."""

_JUDGE_SECONDS = 0.5

_log = logging.getLogger("harvester.processes")


@dataclass(slots=True)
class Shard:
    """One shard under supervision. ``asked`` is the number of the question that it waits for."""

    task: ShardTask
    report: ShardReport
    channel: Channel | None = None
    pid: int = 0
    asked: int | None = None
    locking_since: float | None = None
    at: Position | None = None
    over: anyio.Event = field(default_factory=anyio.Event)

    def send(self, message: messages.ToShard) -> None:
        """Send a message, if the process is still there."""
        with suppress(OSError):
            if self.channel is not None:
                self.channel.send(message)

    def answer(self, number: int, value: Any = None, error: Exception | None = None) -> None:
        """Answer a question, if the process is still there."""
        self.send(messages.Answered(number, value, error))

    def go_on(self, error: Exception | None = None) -> None:
        """Answer the question that the process waits for."""
        if self.asked is not None:
            self.answer(self.asked, error=error)
            self.asked = None

    def describe(self) -> str:
        """Return the state in one line for people."""
        name, counts, plan = self.task.shard, self.report.total, self.report.plan
        if plan is None:
            return f"shard {name}, process {self.pid}: it has no plan yet"
        return (
            f"shard {name}, process {self.pid}: {counts.answered:,} of {plan.windows:,} windows, "
            f"{counts.requests:,} requests, {counts.retries:,} retries"
        )


class Supervisor:
    """The processes of one run. `run` is called once."""

    def __init__(
        self,
        run_log: RunLog,
        tree: Tree,
        context: RunContext,
        launcher: Launcher,
        tasks: Sequence[ShardTask],
    ) -> None:
        self._log = run_log
        self._tree = tree
        self._context = context
        self._launcher = launcher
        self._shards = [Shard(task, ShardReport(task.shard)) for task in tasks]
        self._changes: ChangesOfShards | None = None
        self._has_begun = False
        self._platform = PlatformService(context)

    @property
    def _summary(self) -> Summary:
        return self._log.summary

    async def run(self) -> None:
        """Harvest all shards, and write the record of the run.

        Raises the error that keeps the run from beginning, and StoreError.
        """
        try:
            async with anyio.create_task_group() as beside:
                beside.start_soon(self._context.watch, self._position)
                beside.start_soon(self._pass_signal_on)
                beside.start_soon(watchers.checkpoint, self._log, self._count)
                beside.start_soon(watchers.tell_events, self._log, self._count, self._position)
                beside.start_soon(self._judge_often)
                await self._harvest_all()
                beside.cancel_scope.cancel()
        finally:
            for shard in self._shards:
                if shard.channel is not None:
                    shard.channel.close()

    async def _harvest_all(self) -> None:
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            for shard in self._shards:
                tasks.start_soon(self._harvest, shard)
            for shard in self._shards:
                await shard.over.wait()
            await self._conclude()

    async def _conclude(self) -> None:
        """Merge the ends of all shards, write the record, and let the processes end."""
        self._summary.harvest_begun()
        if self._summary.stopped_by is None:
            for shard in self._shards:
                if shard.report.summary is None or shard.report.error is not None:
                    await to_thread.run_sync(self._read_coverage, shard)
        merged_summary.shards_merged(self._summary, self._reports, self._platform.calls)
        await to_thread.run_sync(self._log.close)
        for shard in self._shards:
            shard.go_on()

    def _read_coverage(self, shard: Shard) -> None:
        """Let the files say what a shard has that did not come to its own end."""
        task, report = shard.task, shard.report
        summary = report.summary or start_summary(task.manifest.file, task.started_at)
        with suppress(HarvesterError):
            want = windows.wanted(task.manifest, self._summary.started_at)
            now = self._context.clock()
            harvesting.report_coverage(summary, task.manifest, self._tree, (want, ()), now)
            report.summary = summary

    async def _harvest(self, shard: Shard) -> None:
        """Have a shard harvested, by another process if the first one dies."""
        while not shard.over.is_set() and self._summary.stopped_by is None:
            try:
                shard.pid, connection = await to_thread.run_sync(self._launcher.start)
            except HarvesterError as error:
                await self._give_up(shard, error)
                break
            shard.channel = Channel(connection)
            with suppress(OSError, EOFError):
                await to_thread.run_sync(shard.channel.send, shard.task)
                await self._hear(shard, shard.channel)
            if not shard.over.is_set() and self._summary.stopped_by is None:
                await self._bury(shard)
            else:
                # So that it is no zombie while the others go on.
                await to_thread.run_sync(self._launcher.end_of, shard.pid)
        shard.over.set()

    async def _hear(self, shard: Shard, channel: Channel) -> None:
        """Take in the messages of a process until it ends. Raises EOFError or OSError then."""
        while True:
            message = await to_thread.run_sync(channel.receive, abandon_on_cancel=True)
            match message:
                case messages.Counted(counts, at):
                    shard.report.counts, shard.at = counts, at
                case messages.Told(event):
                    self._take_in(shard, event)
                case messages.Logged(logger, level, text):
                    _relog(logger, level, text, shard.task.shard)
                case messages.Locking():
                    shard.locking_since = anyio.current_time()
                case messages.Locked():
                    shard.locking_since = None
                case messages.Asked(number, question):
                    await self._consider(shard, number, question)

    def _take_in(self, shard: Shard, event: Problem | Published) -> None:
        if isinstance(event, Published):
            rows = event.rows_before, event.rows_after
            file = PublishedFile(event.dataset, event.ref_month, event.path, *rows)
            shard.report.files.append(file)
        self._log.events.relay(event)

    async def _consider(self, shard: Shard, number: int, question: messages.Question) -> None:
        """Answer a question, now or later."""
        match question:
            case messages.Planned(plan):
                shard.asked = number
                # That of a process in the place of a dead one is what is left of it.
                if shard.report.plan is None or not shard.report.lost:
                    shard.report.plan = plan
                await self._judge()
            case messages.ClockMoved(offset):
                await self._move_clock(offset)
                shard.answer(number, self._summary.run_id)
            case messages.TokenWanted() | messages.ListWanted():
                self._tasks.start_soon(self._ask_platform, shard, number, question)
            case messages.Ended(summary, error, first):
                shard.asked = number
                shard.report.summary = summary
                shard.report.counts = Counts.of(summary)
                if self._changes is not None:
                    self._changes.take_in(first)
                if error is not None:
                    await self._give_up(shard, error)
                shard.over.set()

    async def _ask_platform(
        self, shard: Shard, number: int, question: messages.TokenWanted | messages.ListWanted
    ) -> None:
        try:
            shard.answer(number, await self._platform.answer(question))
        except (TokenDenied, CallError) as error:
            shard.answer(number, error=error)

    async def _move_clock(self, offset: float) -> None:
        """Go by WeChat's time from now on, if a shard has found out first that the clock is off."""
        moved = offset - self._summary.clock_offset
        if abs(moved) > OFF_SECONDS:
            self._context.clock.move(moved)
            self._summary.clock_corrected(moved)
            self._platform.shift(moved)
            await to_thread.run_sync(self._log.restart)

    async def _bury(self, shard: Shard) -> None:
        """Keep the last counts of a process that died, and give the shard up after the second."""
        end = await to_thread.run_sync(self._launcher.end_of, shard.pid)
        report, name = shard.report, shard.task.shard
        report.lost.append(report.counts)
        report.counts = Counts()
        shard.asked = shard.locking_since = None
        if shard.channel is not None:
            shard.channel.close()
        if len(report.lost) <= MAX_DEATHS:
            _log.warning("shard %s: its process %d %s; another one goes on", name, shard.pid, end)
            return
        error = ProcessDied(
            f"shard {name}: its process {shard.pid} {end}, and so did the one before it",
            "look for the cause in the system's log (dmesg), such as a lack of memory; what was"
            " harvested is safe, and running again goes on",
        )
        await self._give_up(shard, error)

    async def _give_up(self, shard: Shard, error: HarvesterError) -> None:
        """Take in the error that ends a shard; the others go on."""
        shard.report.error = error
        shard.over.set()
        if self._has_begun:
            self._tell_error(shard)
        else:
            await self._judge()

    def _tell_error(self, shard: Shard) -> None:
        error, now = shard.report.error, self._context.clock()
        if error is not None:
            for problem in problems_of(error, now, self._summary.run_id, shard.task.shard):
                self._log.events.relay(problem)

    async def _judge_often(self) -> None:
        """Judge without a message too: a process may wait for another run."""
        while True:
            await anyio.sleep(_JUDGE_SECONDS)
            await self._judge()

    async def _judge(self) -> None:
        """Let the processes begin that have a plan, once all have one.

        Raises the error that keeps the run from beginning.
        """
        if not self._has_begun:
            if any(map(self._is_undecided, self._shards)):
                return
            self._has_begun = True
            await self._begin()
        if self._changes is None:
            # Another task is about to begin.
            return
        for shard in self._shards:
            if shard.asked is not None and not shard.over.is_set():
                shard.go_on(self._excess())
                merged_summary.plan_merged(self._summary, self._reports)

    def _is_undecided(self, shard: Shard) -> bool:
        if shard.over.is_set() or shard.asked is not None:
            return False
        since = shard.locking_since
        is_waiting = since is not None and anyio.current_time() - since > _LOCK_SECONDS
        # A run that waits for another one would keep all shards waiting.
        has_others = any(each.asked is not None for each in self._shards)
        has_limit = shard.task.manifest.limits.max_requests is not None
        return not (is_waiting and has_others) or has_limit

    async def _begin(self) -> None:
        errors = [each.error for each in self._reports if each.error is not None]
        usage = [error for error in errors if isinstance(error, UsageError)]
        if usage or len(errors) == len(self._shards):
            worst = first_of(error.exit_code for error in errors)
            raise next(error for error in errors if error.exit_code is worst)
        held = next(shard.task.own[0] for shard in self._shards if shard.asked is not None)
        open_record = partial(self._log.open_for_shards, self._tree, held)
        self._changes = await to_thread.run_sync(open_record)
        merged_summary.plan_merged(self._summary, self._reports)
        excess = self._excess()
        if excess is not None:
            raise excess
        self._summary.harvest_begun()
        self._log.events.started(self._summary)
        for shard in self._shards:
            self._tell_error(shard)

    def _excess(self) -> UsageError | None:
        """Return the error of a run that would ask more than its limit."""
        plans = [report.plan for report in self._reports if report.plan is not None]
        whole = Plan((), sum(plan.windows for plan in plans), 0, 0.0, "")
        try:
            harvesting.check_request_limit(self._shards[0].task.manifest, whole)
        except UsageError as error:
            return error
        return None

    async def _pass_signal_on(self) -> None:
        await watchers.signalled(self._summary)
        for shard in self._shards:
            shard.send(messages.Stop(int(self._summary.stopped_by or 0)))

    def _count(self) -> None:
        merged_summary.counts_merged(self._summary, self._reports, self._platform.calls)

    @property
    def _reports(self) -> list[ShardReport]:
        return [shard.report for shard in self._shards]

    def _position(self) -> Position:
        self._count()
        summary, parts = self._summary, [each.at for each in self._shards if each.at is not None]
        left = [at.seconds_left for at in parts if at.seconds_left is not None]
        return Position(
            done=summary.answered,
            windows=summary.windows,
            requests=summary.requests,
            retries=summary.retries,
            files=len(summary.published),
            seconds=self._context.clock() - summary.started_at,
            describe=lambda: "\n".join(shard.describe() for shard in self._shards),
            rows=summary.rows,
            accounts=sum(at.accounts for at in parts),
            accounts_done=sum(at.accounts_done for at in parts),
            accounts_waiting=sum(at.accounts_waiting for at in parts),
            accounts_refused=sum(at.accounts_refused for at in parts),
            seconds_left=max(left, default=None),
            least_seconds_left=max((at.least_seconds_left for at in parts), default=0.0),
        )


def _relog(name: str, level: int, text: str, shard: str) -> None:
    """Log a line of another process under its own name, with its shard."""
    logger = logging.getLogger(name)
    if logger.isEnabledFor(level):
        more = {"shard": shard}
        line = f"shard {shard}: {text}"
        logger.handle(logger.makeRecord(name, level, "", 0, "%s", (line,), None, extra=more))
