"""Progress of a run: a bar on a terminal, a log line every ten seconds elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

import anyio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from harvester.operations.runtime import Position

LOG_SECONDS = 10.0
"""Seconds between two lines: often enough to show in a CI log that the run goes on."""

_BAR_SECONDS = 0.2

_log = logging.getLogger("harvester.progress")


async def show_bar(position: Callable[[], Position], console: Console | None = None) -> None:
    """Draw a bar until cancelled, or until the terminal is gone."""
    with suppress(OSError):
        await _draw(position, console or Console(stderr=True))


async def _draw(position: Callable[[], Position], console: Console) -> None:
    columns = (
        TextColumn("harvesting"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TextColumn("windows  {task.fields[rate]:,.0f}/s  {task.fields[files]} files"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        at = position()
        task = bar.add_task("windows", total=at.windows, rate=0.0, files=0)
        while True:
            at = position()
            bar.update(task, completed=at.done, total=at.windows, rate=at.rate, files=at.files)
            await anyio.sleep(_BAR_SECONDS)


async def log_lines(position: Callable[[], Position]) -> None:
    """Log a line every ten seconds until cancelled."""
    while True:
        await anyio.sleep(LOG_SECONDS)
        at = position()
        _log.info(
            "%d of %d windows, %.0f requests/s, %d retries, %d files",
            at.done,
            at.windows,
            at.rate,
            at.retries,
            at.files,
        )
