"""Small answers of the Python API: arguments, merged results, errors, and the bar of a run."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harvester.core.errors import StoreError, Unfinished, UsageError
from harvester.core.exit_codes import Exit, Outcome
from harvester.runs.record.events import Progress
from harvester.verbs import arguments
from harvester.verbs.progress import bar, duration_text
from harvester.verbs.results import Result

RETRY_AT = datetime(2026, 5, 21, 16, 30, tzinfo=UTC)
UNFINISHED = Result(
    run_id="run",
    outcome=Outcome.UNFINISHED,
    exit_code=int(Exit.AGAIN),
    reasons=("quota",),
    retry_at=RETRY_AT,
    next_ready_at=None,
    requests=1_200,
    rows=3,
    datasets=(),
    accounts=(),
    published=(),
)


def test_auto_is_one_process_a_core() -> None:
    """A number stands for itself; anything else is refused with the words to write."""
    assert arguments.processes_of("auto") == 0
    assert arguments.processes_of(3) == 3
    for odd in (0, "3", None):
        with pytest.raises(UsageError, match="is not a number from 1 on"):
            arguments.processes_of(odd)


def test_days_and_paths_in_a_mapping_are_texts_of_the_manifest() -> None:
    """A date is written as its day, a path as it is."""
    found = arguments.source({"begin_date": date(2026, 5, 1), "output": Path("a") / "b"})
    assert found.text is not None
    assert json.loads(found.text) == {"begin_date": "2026-05-01", "output": "a/b"}


def test_values_without_a_place_in_a_manifest_are_refused() -> None:
    """An object raises UsageError, whose text names the kinds that are possible."""
    with pytest.raises(UsageError, match=r"the mapping is no manifest: .*text, number, date, path"):
        arguments.source({"output": object()})


@pytest.mark.parametrize("results", [[], None, 5, [5], "shards"])
def test_only_results_can_be_merged(results: Any) -> None:
    """An empty list of shards raises UsageError as well."""
    with pytest.raises(UsageError, match="results are none"):
        Result.merge(results)


def test_the_error_that_ended_a_run_is_raised_as_it_was() -> None:
    """It comes before the error of the outcome, which says less."""
    ended = StoreError("the disk is full", "make room")
    with pytest.raises(StoreError) as caught:
        replace(UNFINISHED, error=ended).raise_for_outcome()
    assert caught.value is ended
    assert caught.value.result.outcome is Outcome.UNFINISHED
    assert str(caught.value) == "the disk is full\nmake room"


def test_a_result_tells_when_to_run_again() -> None:
    """The moment stands in the last line of its text and in the advice of its error."""
    *_, last = str(UNFINISHED).splitlines()
    assert last == "run again from 2026-05-21 16:30:00 UTC on"
    with pytest.raises(Unfinished) as caught:
        UNFINISHED.raise_for_outcome()
    assert caught.value.advice == "run again from 2026-05-21T16:30:00Z on"
    assert caught.value.retry_at == RETRY_AT
    assert str(caught.value) == f"the run is unfinished: quota\n{caught.value.advice}"


def test_a_result_without_a_moment_does_not_tell_one() -> None:
    """The text ends with the account-days, and the advice names the result's members."""
    later = replace(UNFINISHED, retry_at=None)
    assert "run again" not in str(later)
    with pytest.raises(Unfinished) as caught:
        later.raise_for_outcome()
    assert caught.value.advice == "see the result's accounts and datasets"
    assert (caught.value.result, caught.value.retry_at) == (later, None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(119.4, "119 s"), (720.0, "12 min"), (12_600.0, "3.5 h"), (794_880.0, "9.2 days")],
)
def test_a_duration_has_its_largest_unit(seconds: float, text: str) -> None:
    """Seconds, minutes, hours and days, each from two of its own on."""
    assert duration_text(seconds) == text


@pytest.mark.parametrize("width", [100, 26, 25])
def test_a_narrow_terminal_gets_every_word(width: int) -> None:
    """Lines are made of whole parts, and the bar has one of its own where it needs one."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    at = Progress(0.0, "run", None, 5, 10, 20, 40, 5, 0, 2, 4.0, 7, 3, 0, 0, 0, None, 200.0)
    with console.capture() as printed:
        console.print(bar(at))
    text = printed.get()
    assert "━" in text
    for part in ("5 of 10 windows", "20 of 40 days", "at least 3 min left", "3 accounts", "7 rows"):
        assert part in text
