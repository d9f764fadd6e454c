"""Progress of a run: a bar on a terminal, log lines elsewhere.

Nothing in it is cut: a terminal that is too narrow for a line gets its parts on more lines.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress

import anyio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from harvester.core.text.wording import Message, counted, said
from harvester.runs.record.events import Progress

_BAR_SECONDS = 0.2
_BAR_WIDTH = 30

_log = logging.getLogger("harvester.progress")


async def show_bar(position: Callable[[], Progress], console: Console | None = None) -> None:
    """Draw a bar until cancelled, or until the terminal is gone."""
    console = console or Console(stderr=True)
    live = Live(bar(position()), console=console, auto_refresh=False, transient=True)
    with suppress(OSError), warnings.catch_warnings():
        # Without it a notebook has no bar, and no line about it at each step either.
        warnings.filterwarnings("ignore", 'install "ipywidgets"')
        with live:
            while True:
                live.update(bar(position()), refresh=True)
                await anyio.sleep(_BAR_SECONDS)


def pause_between_lines(seconds: float) -> float:
    """Return the time between two lines of a run that has taken so long: ten seconds at first.

    A CI log shows that the run goes on, and a run of hours does not fill it.
    """
    return min(300.0, max(10.0, seconds / 4))


async def log_lines(position: Callable[[], Progress]) -> None:
    """Log lines until cancelled."""
    pause = pause_between_lines(0.0)
    while True:
        await anyio.sleep(pause)
        at = position()
        _log.info("%s", "; ".join(part.plain for part in (*_windows(at), *_counts(at))))
        pause = pause_between_lines(at.seconds)


def bar(at: Progress) -> Group:
    """Return a position for a terminal of any width: a line has as many parts as fit in whole."""
    from rich.columns import Columns  # noqa: PLC0415 - most runs have no bar

    total = max(1, at.windows)
    drawn = ProgressBar(total, at.done, width=_BAR_WIDTH, style="dim", complete_style="green")
    lines: list[list[RenderableType]] = [[drawn, *_windows(at)], [*_counts(at)]]
    return Group(*(Columns(line, padding=(0, 3, 0, 0)) for line in lines))


def _windows(at: Progress) -> Iterator[Text]:
    """Yield the parts of the line beside the bar."""
    yield Text(f"{at.done:,} of {counted(at.windows, 'window')}")
    yield Text(f"{at.days_done:,} of {counted(at.days, 'day')}")
    # One estimate: the lower bound stands in until the first answer tells the speed.
    if at.seconds_left is None:
        yield Text(f"at least {duration_text(at.least_seconds_left)} left")
    else:
        yield Text(f"{duration_text(at.seconds_left)} left")


def _counts(at: Progress) -> Iterator[Text]:
    """Yield the counts with their styles."""
    yield Text(counted(at.accounts, "account"))
    counts = (at.accounts_waiting, "waiting", "yellow"), (at.accounts_refused, "refused", "red")
    for count, state, style in counts:
        if count:
            yield Text(f"{count:,} {state}", style)
    yield Text(counted(at.rows, "row"))
    yield Text(counted(at.files, "file"))
    yield Text(f"{at.rate:,.0f} requests/s")


def duration_text(seconds: float) -> Message:
    """Write a duration in its largest unit: 45 s, 12 min, 3.5 h, 9.2 days."""
    if seconds < 120:
        return said("{seconds:.0f} s", seconds=seconds)
    if seconds < 7_200:
        return said("{minutes:.0f} min", minutes=seconds / 60)
    if seconds < 172_800:
        return said("{hours:.1f} h", hours=seconds / 3600)
    return said("{days:.1f} days", days=seconds / 86_400)
