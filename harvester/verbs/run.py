"""A run: in a script, a thread, a notebook or a running event loop.

The work is done in a thread with an event loop of its own, so a running loop is never blocked by
it, and a signal handler of the host may raise an exception into `run` at any moment: the run then
ends in order, and the exception goes on.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from harvester.core.errors import Busy, HarvesterError, UsageError
from harvester.core.exit_codes import Exit
from harvester.manifest import Selection
from harvester.runs import harvest as harvesting
from harvester.runs.clock import CheckedClock
from harvester.runs.facts import Begun
from harvester.runs.narrator import Narrator, ignore
from harvester.runs.record import run_record
from harvester.runs.record.events import Event
from harvester.runs.record.labels import check_labels
from harvester.runs.record.record import Record
from harvester.runs.run_log import recorded
from harvester.runs.runtime import Project, RunOptions, Watch, show_no_progress
from harvester.runs.session import new_run_log
from harvester.verbs import arguments, summary_file
from harvester.verbs.arguments import (
    AnyDay,
    ManifestSource,
    ManifestText,
    Names,
    Processes,
    Refetch,
    ShardName,
)
from harvester.verbs.progress import show_bar
from harvester.verbs.project import open_quietly, warn_of_exposure
from harvester.verbs.results import Result


@dataclass(frozen=True, slots=True)
class Request:
    """A run that is asked for: the manifest, its selection, and the options of the run.

    ``options`` returns them, or raises UsageError. ``summary`` is a file that gets the run record
    too, ``watch`` a task that shows progress.
    """

    manifest: ManifestText
    selection: Selection
    output: str | None
    options: Callable[[], RunOptions]
    summary: Path | None = None
    on_event: Callable[[Event], object] = ignore
    watch: Watch = show_no_progress


class Execution:
    """One run, which another thread may stop. `execute` is called once."""

    def __init__(self, request: Request) -> None:
        clock = CheckedClock()
        self._request = request
        self._clock = clock
        copy = summary_file.usable(request.summary, request.manifest.path)
        self._log = new_run_log(request.manifest.path, clock, copy)
        self._narrator = Narrator(request.on_event)
        self._log.stream.listeners.append(self._narrator)
        self._project: Project | None = None

    @property
    def record(self) -> Record:
        """The record of the run so far."""
        return self._log.stream.record

    def describe(self) -> str:
        """Return what the run waits for, in lines for people."""
        return self._log.stream.describe()

    @property
    def opened(self) -> Project:
        """The project of a run that began. Raises LookupError before that."""
        if self._project is None:
            raise LookupError("the run has not begun")
        return self._project

    def execute(self) -> Result:
        """Fetch what the output lacks and publish it; returns when that is done, or after `stop`.

        Raises UsageError and Busy; any other error is in the result.
        """
        try:
            with recorded(self._log):
                self._harvest()
        except (UsageError, Busy):
            raise
        except HarvesterError:
            # It is in the record.
            pass
        return Result.of(self.record)

    def stop(self, code: int = Exit.SIGINT) -> bool:
        """Let the run end in order; returns whether it will soon. May be called in any thread."""
        order = self._log.stream.stop
        order.code = Exit(code)
        return order.is_graceful

    def key_figures(self) -> dict[str, str | int | None]:
        """Return what a scheduler acts on, once the run has ended."""
        return run_record.key_figures(self.record)

    def final_write(self, patience: float) -> None:
        """Write the record of a run that is about to be killed, waiting so many seconds."""
        self._log.final_write(patience)

    def _harvest(self) -> None:
        request = self._request
        options = request.options()
        self._log.stream.report(Begun({}, options.shard_text))
        opened = open_quietly(request.manifest, request.output, self._clock)
        self._log.begin_copy(lambda copy: summary_file.refuse_place(copy, opened.manifest))
        self._project = opened.project(request.selection, "asked")
        self._narrator.names = self._project.manifest.names
        warn_of_exposure(self._project.manifest)
        if options.processes == 1:
            harvesting.run(self._log, self._project, options, request.watch)
            return
        # Most runs have one process, and need none of what supervises several.
        from harvester.runs.processes import shared_run  # noqa: PLC0415 - see above

        shared_run.run(self._log, self._project, options, request.watch)


def run(
    manifest: ManifestSource,
    *,
    accounts: Names = None,
    datasets: Names = None,
    jobs: Names = None,
    begin_date: AnyDay = None,
    end_date: AnyDay = None,
    output: str | os.PathLike[str] | None = None,
    shard: ShardName = None,
    processes: Processes = 1,
    refetch: Refetch | None = None,
    max_duration: str | timedelta | None = None,
    ignore_spent_quota: bool = False,
    lock_timeout: str | timedelta | None = None,
    labels: Mapping[str, str] | None = None,
    on_event: Callable[[Event], object] | None = None,
    progress: Literal["auto", "none"] = "none",
) -> Result:
    """Fetch the days that the output lacks, and publish them. Safe to repeat and to kill.

    An exception that a signal handler raises meanwhile, as KeyboardInterrupt, ends the run in order
    and goes on: what was obtained is published.

    Args:
        manifest: A path of ``jobs.yaml``, or its content as a mapping.
        accounts: Only these: appids, names, ``tag:NAME`` or ``ATTRIBUTE=VALUE``.
        datasets: Only these: names or globs.
        jobs: Only these.
        begin_date: No Beijing day before this one.
        end_date: No Beijing day after this one.
        output: Replaces the manifest's output: a folder, or ``s3://…``, ``gs://…``, ``az://…``.
        shard: A part of the accounts: ``"2/8"`` or ``(2, 8)`` is the second of eight, ``"auto"``
            the one whose index an engine has set.
        processes: The processes that share the work, each with buckets of its own; ``"auto"`` is
            one for each core that this process may use.
        refetch: Treats the selected days, or those of this state, as missing.
        max_duration: Starts nothing new after this long: ``"50m"`` or a timedelta.
        ignore_spent_quota: Forgets the calls of today, and that WeChat said a quota is spent.
        lock_timeout: Waits so long for accounts that another run holds: ``"10m"``, ``"0"`` or a
            timedelta. The default is 0 on a disk, and one lease and 5 seconds in an object store.
        labels: Go into the run record.
        on_event: Gets each event, in the thread of the run; it must return at once.
        progress: ``auto`` draws a bar, in a notebook too.

    Returns:
        The result of a run that began, whatever its outcome.

    Raises:
        UsageError: The manifest or an argument is wrong; nothing was requested.
        Busy: Another run holds the accounts for longer than ``lock_timeout``.
    """
    options = RunOptions(
        refetch,
        arguments.shard_of(shard),
        arguments.seconds(max_duration),
        ignore_spent_quota=ignore_spent_quota,
        labels=check_labels(labels or {}),
        processes=arguments.processes_of(processes),
        lock_timeout=arguments.timeout_seconds(lock_timeout),
    )
    execution = Execution(
        Request(
            arguments.source(manifest),
            arguments.selection(accounts, datasets, jobs, begin_date, end_date),
            arguments.place(output),
            lambda: options,
            on_event=on_event or ignore,
            watch=show_no_progress if progress == "none" else show_bar,
        )
    )
    done = _start(execution)
    try:
        return done.result()
    finally:
        # A signal handler of the host may have raised an exception, which waits for an orderly end.
        if not done.done():
            execution.stop()
            wait([done])


async def run_async(
    manifest: ManifestSource,
    *,
    accounts: Names = None,
    datasets: Names = None,
    jobs: Names = None,
    begin_date: AnyDay = None,
    end_date: AnyDay = None,
    output: str | os.PathLike[str] | None = None,
    shard: ShardName = None,
    processes: Processes = 1,
    refetch: Refetch | None = None,
    max_duration: str | timedelta | None = None,
    ignore_spent_quota: bool = False,
    lock_timeout: str | timedelta | None = None,
    labels: Mapping[str, str] | None = None,
    on_event: Callable[[Event], object] | None = None,
    progress: Literal["auto", "none"] = "none",
) -> Result:
    """Do what `run` does, without blocking the event loop of asyncio.

    Cancelling it ends the run in order before the cancellation goes on. See `run` for the
    arguments, the result and the errors.
    """
    options = RunOptions(
        refetch,
        arguments.shard_of(shard),
        arguments.seconds(max_duration),
        ignore_spent_quota=ignore_spent_quota,
        labels=check_labels(labels or {}),
        processes=arguments.processes_of(processes),
        lock_timeout=arguments.timeout_seconds(lock_timeout),
    )
    # In a thread, because it reads small files.
    execution = await asyncio.to_thread(
        Execution,
        Request(
            arguments.source(manifest),
            arguments.selection(accounts, datasets, jobs, begin_date, end_date),
            arguments.place(output),
            lambda: options,
            on_event=on_event or ignore,
            watch=show_no_progress if progress == "none" else show_bar,
        ),
    )
    done = asyncio.wrap_future(_start(execution))
    try:
        return await asyncio.shield(done)
    finally:
        if not done.done():
            execution.stop()
            await asyncio.wait([done])


def _start(execution: Execution) -> Future[Result]:
    """Execute a run in a thread that does not keep the process alive."""
    done: Future[Result] = Future()

    def work() -> None:
        try:
            done.set_result(arguments.in_own_record(execution.execute))
        except BaseException as error:  # noqa: BLE001 - raised where the result is waited for
            done.set_exception(error)

    threading.Thread(target=work, name="harvester", daemon=True).start()
    return done
