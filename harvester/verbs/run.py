"""A run: in a script, a thread, a notebook or a running event loop.

The work is done in a thread with an event loop of its own, so a running loop is never blocked by
it, and a signal handler of the host may raise an exception into `run` at any moment: the run then
ends in order, and the exception goes on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from inspect import signature
from typing import Any, Literal, Self

from harvester.core.calendar import utc_text
from harvester.core.errors import Busy, HarvesterError, UsageError
from harvester.core.exit_codes import Exit
from harvester.core.results import QuotaUse
from harvester.manifest.option_values import spelled
from harvester.planning.sharding import as_kept
from harvester.runs import harvest as harvesting
from harvester.runs.clock import CheckedClock
from harvester.runs.facts import Begun
from harvester.runs.narrator import Narrator, ignore
from harvester.runs.record.events import Event
from harvester.runs.record.record import Record
from harvester.runs.run_log import new_run_log, recorded
from harvester.runs.runtime import Project, RunOptions
from harvester.runs.stream import StopOrder, Watch, show_no_progress
from harvester.runs.user_files import UserFile
from harvester.runs.waits import DEFAULT_WAIT, Waits
from harvester.storage.coverage_scan import Refetch
from harvester.storage.state import manifests
from harvester.storage.state.quota_ledger import quota_use
from harvester.verbs import arguments, summary_file
from harvester.verbs.arguments import Processes, Selecting, ShardName
from harvester.verbs.progress import duration_text, show_bar
from harvester.verbs.project import open_quietly, warn_of_exposure
from harvester.verbs.results import Result
from harvester.verbs.sql import script as views

_STEP_SECONDS = 0.5

_log = logging.getLogger("harvester.run")


@dataclass(frozen=True, kw_only=True)
class RunArguments(Selecting):
    """The arguments of a run, as `run` describes them."""

    shard: ShardName = None
    processes: Processes = 1
    refetch: Refetch | None = None
    max_duration: str | timedelta | None = None
    until_complete: bool = False
    until_attention: bool = False
    wait: str | timedelta | None = None
    ignore_spent_quota: bool = False
    lock_timeout: str | timedelta | None = None
    labels: Mapping[str, str] | None = None
    on_event: Callable[[Event], object] | None = None
    progress: Literal["auto", "none"] = "none"


class Run:
    """One run, made of the arguments of a call of `run`. It is executed, or else started, once.

    With `until_complete` it is one run after another, each with its own clock, id and record, and
    each reads the manifest again; `record` and the like are those of the last one.

    ``files`` of the user get what each of them makes of the record. ``watch`` is a task that shows
    progress, instead of the one that ``given`` names. ``project`` is what the run works on; it is
    there once the run has begun.
    """

    project: Project

    def __init__(
        self, given: RunArguments, *, files: Sequence[UserFile] = (), watch: Watch | None = None
    ) -> None:
        self.given = given
        self._watch = watch or (show_bar if given.progress == "auto" else show_no_progress)
        self._source = arguments.source(given.manifest)
        self._files = files
        for place, file in enumerate(files):
            others = [other.path for other in files[:place]]
            summary_file.refuse_unusable(file.path, self._source.path, file.option, others)
        self._order, self._waits = StopOrder(), Waits()
        self._done: Future[Result] = Future()
        self._begin()

    def _begin(self) -> None:
        """Begin a run: its clock, its id and its record."""
        self._clock = CheckedClock()
        self._log = new_run_log(self._source.path, self._clock, self._files)
        # One order for all runs, so that none is lost that comes between two.
        self._log.stream.stop = self._order
        self._log.stream.watch = self._watch
        self._narrator = Narrator(self.given.on_event or ignore)
        self._log.stream.listeners.append(self._narrator)

    @property
    def record(self) -> Record:
        """The record of the run so far."""
        return self._log.stream.record

    def quota_use(self) -> list[QuotaUse]:
        """Return the use of today's quotas; nothing of a run that was refused or stopped."""
        project: Project | None = vars(self).get("project")
        # A process that is about to be killed has no time to read it.
        if project is None or self.record.stopped_by is not None:
            return []
        with suppress(UsageError):
            return list(quota_use(project.manifest, project.tree, self._clock()))
        return []

    def describe(self) -> str:
        """Return what the run waits for, in lines for people."""
        return self._log.stream.describe()

    def execute(self) -> Result:
        """Fetch what the output lacks and publish it; returns when that is done, or after `stop`.

        Raises UsageError and Busy; any other error is in the result.
        """
        error = self._execute_one()
        while self._wait_for_next():
            self._begin()
            error = self._execute_one()
        done = Result.of(self.record, self._narrator.names)
        if isinstance(error, Busy):
            error.result = done
        if isinstance(error, UsageError | Busy):
            raise error
        return done

    def _execute_one(self) -> HarvesterError | None:
        """Execute one run; returns the error that ended it, which is in its record too."""
        try:
            with recorded(self._log):
                self._harvest(self.options())
        except HarvesterError as error:
            return error
        # A run that is to stop has no time for it.
        if self._order.code is None:
            self._keep_views()
        return None

    def _keep_views(self) -> None:
        try:
            views.keep(self.project.tree, self.project.manifest.output)
        except HarvesterError as error:
            _log.warning("the views are not up to date: %s; %s", error.problem, error.advice)

    def _wait_for_next(self) -> bool:
        """Wait until a next run can obtain more; returns False if none is to follow."""
        done, at = self.record, self.record.retry_at
        is_open = done.exit_code in (Exit.AGAIN, Exit.ATTENTION) and self._order.code is None
        is_told = self.given.until_attention and any(item.new for item in done.attention)
        if not self.given.until_complete or not is_open or is_told or at is None:
            return False
        why = "; ".join(error.lines[0] for error in done.errors) or ", ".join(done.reasons())
        seconds = self._waits.before_next(at - self._clock())
        when = utc_text(self._clock() + seconds)
        if seconds >= self._waits.left():
            _log.info("unfinished: %s; a run at %s would be beyond %s", why, when, spelled("wait"))
            return False
        text = f"unfinished: {why}; waits {duration_text(seconds)}, until {when}"
        self._log.stream.describe = lambda: text
        # Nothing is left that could end in order, so a signal ends the process at once.
        self._order.is_graceful = False
        # Or two manifests would be in memory when the next run reads its own.
        vars(self).pop("project", None)
        _log.info("%s", text)
        return self._waits.pause(seconds)

    def start(self) -> Self:
        """Execute the run in a thread that does not keep the process alive."""

        def work() -> None:
            if not self._done.set_running_or_notify_cancel():
                return
            try:
                self._done.set_result(arguments.in_own_record(self.execute))
            except BaseException as error:  # noqa: BLE001 - raised where the result is waited for
                self._done.set_exception(error)

        threading.Thread(target=work, name="harvester", daemon=True).start()
        return self

    def result(self) -> Result:
        """Start the run, and wait for its result. Raises as `execute`."""
        try:
            # Inside, because a signal handler of the host may raise an exception at any moment.
            self.start()
            self._wait()
        finally:
            # The exception waits for an orderly end of a run that has begun.
            if not (self._done.done() or self._done.cancel()):
                self._cancel()
                self._wait()
        return self._done.result()

    def _wait(self) -> None:
        # In steps: Python does not see a signal that comes just before a thread begins to wait, or
        # that the system gives to another thread, before the wait is over.
        while not self._done.done():
            wait([self._done], _STEP_SECONDS)

    async def ended(self) -> Result:
        """Do what `result` does, without blocking the event loop of asyncio."""
        done = asyncio.wrap_future(self._done)
        try:
            return await asyncio.shield(done)
        finally:
            if not done.done():
                self._cancel()
                await asyncio.wait([done])
                # The cancellation goes on, and asyncio would log an error that nothing asks for.
                with suppress(Exception):
                    done.result()

    def stop(self, code: int = Exit.SIGINT) -> bool:
        """Let the run end in order; returns whether it will soon. May be called in any thread."""
        self._order.code = Exit(code)
        return self._order.is_graceful

    def _cancel(self) -> None:
        self.stop()
        self._waits.cancel()

    def final_write(self, patience: float) -> None:
        """Write the record of a run that is about to be killed, waiting so many seconds."""
        self._log.final_write(patience)

    def options(self) -> RunOptions:
        """Return the options of the run beyond the manifest. Raises UsageError."""
        given = self.given
        return RunOptions(
            given.refetch,
            arguments.shard_of(given.shard),
            self._max_duration(),
            ignore_spent_quota=given.ignore_spent_quota,
            labels=arguments.labels_of(given.labels),
            processes=arguments.processes_of(given.processes),
            lock_timeout=arguments.timeout_seconds(given.lock_timeout),
        )

    def _max_duration(self) -> float | None:
        """Return how many seconds the run may take: its own limit, and what is left of `wait`."""
        given = self.given
        own = arguments.seconds(given.max_duration)
        whole = arguments.seconds(given.wait, "wait")
        if given.until_complete:
            self._waits.limit = DEFAULT_WAIT if whole is None else whole
            left = max(0.0, self._waits.left())
            return left if own is None else min(own, left)
        for name in ("wait", "until_attention"):
            if getattr(given, name):
                wanted = spelled("until_complete")
                raise UsageError(f"{spelled(name)} works only with {wanted}", f"add {wanted}")
        return own

    def _harvest(self, options: RunOptions) -> None:
        chosen = self.given.selection()
        self._log.stream.report(Begun({}, options.shard_text, selection=chosen.texts()))
        opened = open_quietly(self._source, self.given.output, self._clock)
        self._log.begin_files(
            lambda file: summary_file.refuse_place(file.path, opened.manifest, file.option)
        )
        self.project = opened.project(chosen, "asked")
        self._log.whole = whole = as_kept(self.project.whole)
        words = chosen.texts(names=whole.output.account_names)
        digest = manifests.digest_of(whole)
        self._log.stream.report(Begun({}, selection=words, manifest_digest=digest))
        self._narrator.names = self.project.manifest.names
        warn_of_exposure(self.project.manifest)
        if options.processes == 1:
            harvesting.run(self._log, self.project, options)
            return
        # Most runs have one process, and need none of what supervises several.
        from harvester.runs.processes import shared_run  # noqa: PLC0415 - see above

        shared_run.run(self._log, self.project, options)


@arguments.taking(RunArguments)
def run(asked: RunArguments) -> Result:  # noqa: D417 - its parameters are those of RunArguments
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
        until_complete: Waits until more can be obtained and runs again, each time as a run of its
            own, until nothing is unfinished. The result is that of the last run.
        until_attention: Ends ``until_complete`` after the first run in which something new needs a
            person.
        wait: All runs and waits of ``until_complete`` together take about this long at most:
            ``"12h"`` or a timedelta. The default is 24 hours.
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
    return Run(asked).result()


@arguments.with_parameters_of(RunArguments)
async def run_async(*given: Any, **named: Any) -> Result:
    """Do what `run` does, without blocking the event loop of asyncio.

    Cancelling it ends the run in order before the cancellation goes on. See `run` for the
    arguments, the result and the errors.
    """
    arguments.check(run, signature(run).bind(*given, **named).arguments)
    # In a thread, because it reads small files.
    made = await asyncio.to_thread(Run, RunArguments(*given, **named))
    return await made.start().ended()
