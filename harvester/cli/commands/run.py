"""``harvester run``: make coverage whole."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeAlias

from cyclopts import Parameter
from rich.console import Console

from harvester import signals
from harvester.cli import options
from harvester.cli.output import logs, progress, streams, tables
from harvester.cli.output.answers import console
from harvester.manifest import duration_option
from harvester.operations import run as harvesting
from harvester.operations.project import open_project
from harvester.operations.record.run_log import RunLog, recorded
from harvester.operations.runtime import RunOptions, SteadyClock, Watch, show_no_progress
from harvester.operations.session import new_run_log

ProgressStyle: TypeAlias = Literal["auto", "bar", "log", "none"]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Running:
    """Options of a run alone."""

    refetch: options.Refetch = None
    max_duration: Annotated[
        str | None,
        options.value(
            "Start nothing new after this long (50m), publish, and exit with 75.",
            "HARVESTER_MAX_DURATION",
        ),
    ] = None
    unpark: Annotated[
        bool,
        options.flag(
            "Forget what was spent today, and that WeChat said the quota is spent.",
            "HARVESTER_UNPARK",
        ),
    ] = False
    shard: options.Shard = None
    progress: Annotated[
        ProgressStyle,
        options.value(
            "A bar on a terminal and lines elsewhere, or always one of them.",
            "HARVESTER_PROGRESS",
        ),
    ] = "auto"
    summary: Annotated[
        Path | None, options.value("Also write the run record to this file.", "HARVESTER_SUMMARY")
    ] = None

    def orders(self) -> RunOptions:
        """Return the options as a run takes them. Raises UsageError."""
        shard = options.parse_shard(self.shard)
        seconds = duration_option("--max-duration", self.max_duration)
        return RunOptions(self.refetch, shard, seconds, ignore_spent_quota=self.unpark)


_ORDINARY = Running()


def run(
    manifest: options.ManifestPath = Path("jobs.yaml"),
    /,
    *,
    selecting: options.Selecting = options.ALL,
    output: options.Output = None,
    running: Running = _ORDINARY,
    _ok_exit: options.OkExit = "",
    logging: options.Logging = options.DEFAULT_LOGGING,
) -> int:
    """Make coverage whole: recover, plan, fetch, publish. Safe to repeat and to kill.

    Asks WeChat only for days that the files do not cover. Exit codes: 0 everything wanted is
    covered, 2 a mistake in the manifest or the options, 3 some windows failed or accounts were
    refused, 4 no account could be authorised, 75 not finished, run again.
    """
    logs.set_up(logging)
    clock = SteadyClock()
    books = new_run_log(manifest, clock, running.summary)
    done = books.summary
    # An old summary would mislead, so there is a new one however the run ends.
    with signals.stopping(_StopOnSignal(books)), recorded(books):
        orders = running.orders()
        project = open_project(manifest, selecting.selection(), output, "asked", clock)
        _tune_gc()
        terminal = console(stderr=True)
        harvesting.run(books, project, orders, _watch(running.progress, terminal))
        with streams.stderr_output():
            tables.summary(terminal, done, project)
    return done.exit_code


class _StopOnSignal(NamedTuple):
    """A run that signals can stop."""

    books: RunLog

    def stop(self, code: int) -> bool:
        """Let the run end; the files are safe at any moment, in order or not."""
        self.books.summary.stop_requested(code)
        return self.books.summary.stops_gracefully

    def final_write(self) -> None:
        """Write a record that says so."""
        self.books.close(patience=signals.FINAL_WRITE_SECONDS)


def _tune_gc() -> None:
    """Collect less often: imports live for ever, and requests make few cycles."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _watch(style: ProgressStyle, terminal: Console) -> Watch:
    if style == "none":
        return show_no_progress
    if style == "bar" or (style == "auto" and terminal.is_terminal):
        return partial(progress.show_bar, console=terminal)
    return progress.log_lines
