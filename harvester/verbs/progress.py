"""Progress of a run: a bar on a terminal, log lines elsewhere.

Nothing in it is cut: a terminal that is too narrow for a line gets its parts on more lines.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import anyio
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from harvester.runs.record.events import Progress

_BAR_SECONDS = 0.2
_FIRST_LINE_SECONDS = 10.0
_LAST_LINE_SECONDS = 300.0
_SHARE_BETWEEN_LINES = 1 / 4

_GAP = "   "
_MIN_BAR, _MAX_BAR = 8, 40

_log = logging.getLogger("harvester.progress")


async def show_bar(position: Callable[[], Progress], console: Console | None = None) -> None:
    """Draw a bar until cancelled, or until the terminal is gone."""
    console = console or Console(stderr=True)
    live = Live(Bar(position()), console=console, auto_refresh=False, transient=True)
    with suppress(OSError), live:
        while True:
            live.update(Bar(position()), refresh=True)
            await anyio.sleep(_BAR_SECONDS)


async def log_lines(position: Callable[[], Progress]) -> None:
    """Log lines until cancelled: every ten seconds at first, and less and less often.

    A CI log shows that the run goes on, and a run of hours does not fill it.
    """
    pause = _FIRST_LINE_SECONDS
    while True:
        await anyio.sleep(pause)
        at = position()
        _log.info("%s", "; ".join(text for text, _ in (*_windows(at), *_counts(at))))
        pause = min(_LAST_LINE_SECONDS, max(pause, at.seconds * _SHARE_BETWEEN_LINES))


class Bar:
    """A position as lines for a terminal of any width."""

    def __init__(self, at: Progress) -> None:
        self._at = at

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        first, *others = _lines(_windows(self._at), options.max_width)
        room = options.max_width - first.cell_len - len(_GAP)
        if room >= _MIN_BAR:
            marks = "#-" if options.ascii_only else "━─"
            first = Text.assemble(*_bar(self._at, min(room, _MAX_BAR), marks), _GAP, first)
        for line in (first, *others, *_lines(_counts(self._at), options.max_width)):
            line.no_wrap, line.overflow = True, "ignore"
            yield line


def _windows(at: Progress) -> Iterator[tuple[str, str]]:
    """Yield the parts of the line beside the bar; a number is never apart from its word."""
    yield f"{at.done:,} of {at.windows:,} windows", ""
    yield _time_text(at), ""


def _counts(at: Progress) -> Iterator[tuple[str, str]]:
    """Yield the counts with their styles."""
    counts = (
        (at.accounts_done, "done", "green"),
        (at.accounts_waiting, "waiting", "yellow"),
        (at.accounts_refused, "refused", "red"),
    )
    for count, state, style in counts:
        of_all = f" of {at.accounts:,} accounts" if state == "done" else ""
        yield f"{count:,}{of_all} {state}", style if count else ""
    yield f"{at.rows:,} rows", ""
    yield f"{at.files:,} files", ""
    yield f"{at.rate:,.0f} requests/s", ""


def _time_text(at: Progress) -> str:
    """Return the time that the rest takes, beside its lower bound."""
    least = duration_text(at.least_seconds_left)
    if at.seconds_left is None:
        return f"at least {least} left"
    return f"{duration_text(at.seconds_left)} left (at least {least})"


def duration_text(seconds: float) -> str:
    """Write a duration in its largest unit: 45 s, 12 min, 3.5 h, 9.2 days."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.1f} days"


def _lines(parts: Iterator[tuple[str, str]], width: int) -> Sequence[Text]:
    """Put as many parts on each line as it has room for."""
    lines = [Text()]
    for text, style in parts:
        if lines[-1] and lines[-1].cell_len + len(_GAP) + len(text) > width:
            lines.append(Text())
        if lines[-1]:
            lines[-1].append(_GAP)
        lines[-1].append(text, style)
    return lines


def _bar(at: Progress, width: int, marks: str) -> Iterator[tuple[str, str]]:
    full = round(width * min(1.0, at.done / at.windows)) if at.windows else 0
    yield marks[0] * full, "green"
    yield marks[1] * (width - full), "dim"
