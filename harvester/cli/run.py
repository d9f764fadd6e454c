"""``harvester run``: make coverage whole."""

from __future__ import annotations

import gc
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from os import environ
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeAlias

from cyclopts import Parameter
from rich.console import Console

from harvester import progress, signals
from harvester.cli import logs, show, streams
from harvester.cli.options import (
    EVERYTHING,
    PLAINLY,
    Logging,
    ManifestPath,
    OkExit,
    Output,
    Refetch,
    Selecting,
    Shard,
    parse_shard,
)
from harvester.cli.platform import PlatformAtHand
from harvester.cli.project import open_project, steady_clock, warn_of_open_files
from harvester.core.config import Api, Manifest
from harvester.core.credentials import Access, AppSecret
from harvester.errors import Exit, UsageError
from harvester.manifest import access_of, duration_option
from harvester.report.books import Books
from harvester.run import Orders, Watch, World, carry_out, closing, of_shard, own_buckets
from harvester.secret import Secret
from harvester.summary import begin

ProgressStyle: TypeAlias = Literal["auto", "bar", "log", "none"]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Running:
    """How a run is done, beyond what the manifest says."""

    refetch: Refetch = None
    max_duration: Annotated[
        str | None,
        Parameter(
            help="Start nothing new after this long (50m), publish, and exit with 75.",
            env_var="HARVESTER_MAX_DURATION",
        ),
    ] = None
    unpark: Annotated[
        bool,
        Parameter(
            help="Forget what was spent today, and that WeChat said the quota is spent.",
            env_var="HARVESTER_UNPARK",
            negative="",
        ),
    ] = False
    shard: Shard = None
    progress: Annotated[
        ProgressStyle,
        Parameter(
            help="A bar on a terminal and lines elsewhere, or always one of them.",
            env_var="HARVESTER_PROGRESS",
        ),
    ] = "auto"
    summary: Annotated[
        Path | None,
        Parameter(help="Also write the run record to this file.", env_var="HARVESTER_SUMMARY"),
    ] = None

    def orders(self) -> Orders:
        """The options as a run understands them. Raises UsageError."""
        shard = parse_shard(self.shard)
        seconds = duration_option("--max-duration", self.max_duration)
        return Orders(self.refetch, shard, seconds, unpark=self.unpark)


_ORDINARY = Running()
_RUNNERS = ("CI", "GITHUB_ACTIONS")
_log = logging.getLogger("harvester.run")


def run(
    manifest: ManifestPath = Path("jobs.yaml"),
    /,
    *,
    selecting: Selecting = EVERYTHING,
    output: Output = None,
    running: Running = _ORDINARY,
    ok_exit: OkExit = "",
    logging: Logging = PLAINLY,
) -> int:
    """Make coverage whole: recover, plan, fetch, publish. Safe to repeat and to kill.

    Asks WeChat only for days that the files do not cover. Exit codes: 0 everything wanted is
    covered, 2 a mistake in the manifest or the options, 3 some windows failed or accounts were
    refused, 4 no account could be authorised, 75 not finished, run again.
    """
    del ok_exit  # settled where every verb ends
    now = steady_clock()
    logs.set_up(logging)
    done = begin(manifest, now())
    books = Books(done, now, running.summary)
    # An old summary would mislead, so there is a new one however the run ends.
    with signals.stopping(_Brake(books)), closing(books):
        orders = running.orders()
        platform = PlatformAtHand(now)
        project = open_project(manifest, selecting, output, done.started_at, platform.authorised)
        warn_of_open_files(project.manifest)
        _warn_of_a_runner(project.manifest)
        _fit_to_a_small_machine()
        console = show.console(stderr=True)
        # Each runner of a shard need have only the secrets of its own accounts.
        own = own_buckets(project.manifest.output.buckets, orders.shard)
        ours = of_shard(project.manifest, own)
        world = World(
            now=now,
            reach=partial(reach, project.manifest, now),
            credentials=credentials(ours),
            watch=_watch(running.progress, console),
            platform=platform.needed_by(ours),
        )
        carry_out(books, project.manifest, project.tree, orders=orders, world=world)
        with streams.whispering():
            show.summary(console, done, project)
    return done.exit_code


class _Brake(NamedTuple):
    """What a signal does to a run."""

    books: Books

    def stop(self, code: int) -> bool:
        """Have it end; the files are safe at any moment, in order or not."""
        self.books.summary.stopped_by = Exit(code)
        return self.books.summary.in_order

    def farewell(self) -> None:
        """Leave a record that says so."""
        self.books.close(patience=signals.FAREWELL_SECONDS)


def _warn_of_a_runner(manifest: Manifest) -> None:
    """On a CI runner a folder is gone after the job, unless somebody made sure that it is not."""
    output = manifest.output
    on_runner = any(environ.get(name, "") not in {"", "0", "false"} for name in _RUNNERS)
    if on_runner and isinstance(output.path, Path) and not output.must_exist:
        _log.warning(
            "the output, %s, is a folder of this CI runner: if that is thrown away, so is the"
            " output, and the next run asks for everything again. Name an object store, or a disk"
            " that stays together with `output.must_exist: true`",
            output.path,
        )


def _fit_to_a_small_machine() -> None:
    """What was imported lives for ever, and requests make no cycles worth looking for often."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@asynccontextmanager
async def reach(manifest: Manifest, now: Callable[[], float]) -> AsyncIterator[Api]:
    """WeChat itself, or the sandbox for as long as the run lasts."""
    if not manifest.api.is_sandbox:
        yield manifest.api
        return
    # Loaded only here: no run against WeChat should pay for an emulator and a web server.
    from harvester.cli import emulator  # noqa: PLC0415 - as the line above says

    async with emulator.serve(now) as address:
        yield replace(manifest.api, base_url=address)


def credentials(manifest: Manifest) -> Callable[[str], Access]:
    """What opens every selected account, its secrets read before the first request.

    Raises UsageError that names each variable and file that is missing, once.
    """
    if manifest.api.is_sandbox:
        return lambda _appid: AppSecret(Secret("sandbox"))
    selected = {appid for job in manifest.jobs for appid in job.appids}
    found: dict[str, Access] = {}
    problems: defaultdict[str, list[UsageError]] = defaultdict(list)
    for account in manifest.accounts:
        if account.appid in selected:
            try:
                found[account.appid] = access_of(
                    account, folder=manifest.file.parent, environ=environ
                )
            except UsageError as error:
                # What is wrong without whose it is: thousands may wait for the same variable.
                problems[error.problem.partition(account.appid)[2]].append(error)
    if problems:
        [first, *_] = next(iter(problems.values()))
        told = "\n".join(_once(alike) for alike in problems.values())
        raise UsageError(told, f"{first.advice}; nothing was requested")
    return found.__getitem__


def _once(alike: list[UsageError]) -> str:
    more = len(alike) - 1
    return f"{alike[0].problem} (and so for {more:,} more)" if more else alike[0].problem


def _watch(style: ProgressStyle, console: Console) -> Watch:
    if style == "none":
        return progress.show_nothing
    if style == "bar" or (style == "auto" and console.is_terminal):
        return partial(progress.show_bar, console=console)
    return progress.log_lines
