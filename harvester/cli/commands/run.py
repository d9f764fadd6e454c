"""``harvester run``: fetch what the output lacks, and publish it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter
from rich.console import Console

from harvester import signals
from harvester.cli import options
from harvester.cli.output import logs, progress, streams, tables, workflow_commands
from harvester.cli.output.answers import console
from harvester.manifest import duration_option
from harvester.operations import run as harvesting
from harvester.operations.clock import CheckedClock
from harvester.operations.project import open_quietly
from harvester.operations.record import run_record, summary_file
from harvester.operations.record.labels import parse_labels
from harvester.operations.record.run_log import RunLog, recorded
from harvester.operations.runtime import Position, RunOptions, Watch, show_no_progress
from harvester.operations.session import new_run_log

ProgressStyle: TypeAlias = Literal["auto", "bar", "log", "none"]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Running:
    """Options of a run alone.

    Params:
        max_duration: Start nothing new after this long (50m), publish, and exit with 75.
        ignore_spent_quota: Forget the calls of today, and that WeChat said a quota is spent.
        progress: A bar on a terminal and lines elsewhere, or always one of them.
        summary: Also write the run record to this file.
        label: A label for the run record: team=growth. May be given more than once.
    """

    refetch: options.Refetch = None
    max_duration: Annotated[str | None, options.value("HARVESTER_MAX_DURATION")] = None
    ignore_spent_quota: Annotated[bool, options.flag("HARVESTER_IGNORE_SPENT_QUOTA")] = False
    shard: options.Shard = None
    progress: Annotated[ProgressStyle, options.value("HARVESTER_PROGRESS")] = "auto"
    summary: Annotated[Path | None, options.value("HARVESTER_SUMMARY")] = None
    label: options.Labels = ()

    def run_options(self) -> RunOptions:
        """Return the options as the operation takes them. Raises UsageError."""
        shard = options.parse_shard(self.shard)
        seconds = duration_option("--max-duration", self.max_duration)
        return RunOptions(
            self.refetch,
            shard,
            seconds,
            ignore_spent_quota=self.ignore_spent_quota,
            labels=parse_labels(self.label),
        )


_DEFAULT = Running()


def run(
    manifest: options.ManifestPath = Path("jobs.yaml"),
    /,
    *,
    selecting: options.Selecting = options.ALL,
    output: options.Output = None,
    running: Running = _DEFAULT,
    _ok_exit: options.OkExit = "",
    logging: options.Logging = options.DEFAULT_LOGGING,
) -> int:
    """Fetch what the output lacks and publish it. Safe to repeat and to kill.

    Asks WeChat only for days that the files do not cover.

    Exit codes:
      0   everything wanted is covered
      2   a mistake in the manifest or the options; nothing was requested
      3   nothing more can be obtained: refused accounts, failed windows, quarantined days
      4   no account could be authorised, and nothing else is open
      75  not finished, whatever else went wrong: run again
    """
    logs.set_up(logging)
    clock = CheckedClock()
    books = new_run_log(manifest, clock, summary_file.usable(running.summary, manifest))
    done = books.summary
    # From here on the summary file is replaced however the run ends, because an old one misleads;
    # unless it turns out to be one that no run may write.
    stopper = _StopOnSignal(books)
    with _step_outputs(books), signals.stopping(stopper), recorded(books):
        run_options = running.run_options()
        opened = open_quietly(manifest, output, clock)
        books.begin_copy(opened.manifest)
        project = opened.project(selecting.selection(), "asked")
        _tune_gc()
        terminal = console(stderr=True)
        watch = partial(stopper.watch, _watch(running.progress, terminal))
        harvesting.run(books, project, run_options, watch)
        with streams.stderr_output():
            tables.summary(terminal, done, project)
    return done.exit_code


@dataclass(slots=True)
class _StopOnSignal:
    """A run that a signal stops, or has described."""

    books: RunLog
    describe: Callable[[], str] = lambda: "no request has been made yet"

    async def watch(self, show: Watch, position: Callable[[], Position]) -> None:
        """Show progress, and describe the pipeline meanwhile."""
        self.describe = position().describe
        try:
            await show(position)
        finally:
            # This object is frozen, see below, so a cycle through it would keep the run's secrets.
            self.describe = lambda: "all requests have been made"

    def stop(self, code: int) -> bool:
        """Let the run end in order if it has begun to ask; the files are safe at any moment."""
        self.books.summary.stop_requested(code)
        return self.books.summary.stops_gracefully

    def final_write(self) -> None:
        """Write a record that names the signal."""
        self.books.close(patience=signals.FINAL_WRITE_SECONDS)
        _write_outputs(self.books)


@contextmanager
def _step_outputs(books: RunLog) -> Iterator[None]:
    """Tell a runner the end of the run, however the block ends."""
    try:
        yield
    finally:
        _write_outputs(books)


def _write_outputs(books: RunLog) -> None:
    workflow_commands.write_outputs(run_record.key_figures(books.summary))


def _tune_gc() -> None:
    """Collect garbage less often: modules are never freed, and requests make few cycles."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _watch(style: ProgressStyle, terminal: Console) -> Watch:
    if style == "none":
        return show_no_progress
    if style == "bar" or (style == "auto" and terminal.is_terminal):
        return partial(progress.show_bar, console=terminal)
    return progress.log_lines
