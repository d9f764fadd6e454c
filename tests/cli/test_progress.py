"""Progress of a run: nothing is cut at any width, and log lines come less and less often."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from dataclasses import replace
from itertools import pairwise

import anyio
import pytest
from rich.console import Console

from harvester.runs.record.events import Progress
from harvester.verbs.progress import bar, log_lines, show_bar
from tests.support.fake_time import Time, VirtualLoop

LARGE = Progress(
    0.0,
    "run",
    None,
    done=123_456,
    windows=964_500,
    days_done=234_567,
    days=1_964_500,
    requests=130_000,
    retries=1_234,
    files=5_400,
    seconds=13_000.0,
    rows=98_765_432,
    accounts=10_000,
    accounts_done=1_234,
    accounts_waiting=2_345,
    accounts_refused=120,
    seconds_left=400_000.0,
    least_seconds_left=396_000.0,
)


def drawn(at: Progress, width: int, *, ascii_only: bool = False) -> list[str]:
    """Return the lines of a bar on a terminal."""
    console = Console(width=width, force_terminal=True, color_system=None)
    options = console.options.update(width=width)
    options.encoding = "ascii" if ascii_only else "utf-8"
    lines = console.render_lines(bar(at), options, pad=False)
    return ["".join(part.text for part in line) for line in lines]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_number_of_a_bar_is_cut(width: int) -> None:
    """Each stands beside its word, on as many lines as the terminal needs."""
    lines = drawn(LARGE, width)
    assert all(len(line) <= width for line in lines)
    assert "…" not in "".join(lines)
    for part in (
        "123,456 of 964,500 windows",
        "234,567 of 1,964,500 days",
        "4.6 days left",
        "10,000 accounts",
        "2,345 waiting",
        "120 refused",
        "98,765,432 rows",
        "5,400 files",
        "10 requests/s",
    ):
        assert any(part in line for line in lines), part


def test_a_bar_shows_the_part_that_is_done() -> None:
    """In characters that an old terminal has, where it is one."""
    half = replace(LARGE, done=50, windows=100)
    [first, *_] = drawn(half, 100, ascii_only=True)
    done = re.match(r"-+", first)
    assert done is not None
    whole = drawn(replace(LARGE, done=100, windows=100), 100)[0]
    assert whole.count("━") == 2 * len(done[0]) == 2 * drawn(half, 100)[0].count("━")


def test_the_time_left_is_not_known_before_the_first_answer() -> None:
    """The lower bound is."""
    text = "".join(drawn(replace(LARGE, done=0, seconds_left=None), 100))
    assert "at least 4.6 days left" in text


def test_lines_come_less_and_less_often(caplog: pytest.LogCaptureFixture) -> None:
    """Six in the first minute or so, and 38 in two hours; five minutes are the longest pause."""
    clock = Time()
    at: list[float] = []

    def position() -> Progress:
        at.append(clock.elapsed)
        return replace(LARGE, seconds=clock.elapsed)

    async def watch() -> None:
        with anyio.move_on_after(2 * 3600):
            await log_lines(position)

    with caplog.at_level(logging.INFO, "harvester"):
        anyio.run(watch, backend_options={"loop_factory": lambda: VirtualLoop(clock)})
    gaps = [later - earlier for earlier, later in pairwise(at)]
    assert at[0] == pytest.approx(10.0, abs=0.1)
    assert sum(moment <= 61 for moment in at) >= 5
    assert max(gaps) == pytest.approx(300.0, abs=0.1)
    assert len(at) <= 50
    assert "123,456 of 964,500 windows; 234,567 of 1,964,500 days; 4.6 days left; " in caplog.text


def test_a_notebook_without_ipywidgets_gets_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no bar, and the run goes on."""
    monkeypatch.setitem(sys.modules, "ipywidgets", None)

    async def watch() -> None:
        with anyio.move_on_after(1):
            await show_bar(lambda: LARGE, Console(force_jupyter=True))

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        anyio.run(watch, backend_options={"loop_factory": lambda: VirtualLoop(Time())})
    assert not found
