"""Lines on stderr in one process: text or JSON, their levels, and errors told once."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from harvester.cli.options import Logging
from harvester.cli.output import json_lines, logs
from harvester.cli.output.terminal import Terminal
from harvester.core.errors import StoreError
from harvester.runs.record.events import Problem, RunStarted

STARTED = RunStarted(0.0, "run", "2/4", 10, 20, 1.5, "rate")
LOG = logging.getLogger("harvester.test")


@pytest.fixture(autouse=True)
def loggers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restore the handlers and levels of all loggers that a command sets."""
    root, ours = logging.getLogger(), logging.getLogger("harvester")
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(logging.Formatter, "converter", logging.Formatter.converter)
    levels = root.level, ours.level
    yield
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the lines on stderr, each of which must be an object of JSON."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_event_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """It has the members of its run."""
    json_lines.begin(on=True)
    json_lines.tell(STARTED)
    [line] = lines_of(capsys)
    assert (line["event"], line["run_id"], line["shard"]) == ("run_started", "run", "2/4")


def test_events_below_the_level_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Their run and their shard are known to the lines after them."""
    json_lines.begin(on=True, level="warning")
    json_lines.tell(STARTED)
    assert lines_of(capsys) == []
    logging.getLogger("harvester.test").warning("odd")
    [line] = lines_of(capsys)
    assert (line["message"], line["run_id"], line["shard"]) == ("odd", "run", "2/4")


def test_an_error_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The error that ends a command is not repeated if an event of its run was about it."""
    json_lines.begin(on=True)
    error = StoreError("the disk is full", "make room")
    json_lines.tell_error(error, " (in a thread)")
    [line] = lines_of(capsys)
    assert (line["cause"], line["message"]) == ("store", "the disk is full (in a thread)")
    json_lines.tell(Problem(0.0, "run", None, "store", "the disk is full", "make room"))
    assert [line["cause"] for line in lines_of(capsys)] == ["store"]
    json_lines.tell_error(error)
    assert lines_of(capsys) == []


def test_an_error_is_named_by_its_type_and_place() -> None:
    """The text of a foreign error may hold a URL, so it is left out."""
    assert json_lines.text_of(None) == "an error"
    assert json_lines.text_of(ValueError("https://secret")) == "ValueError at an unknown place"


def test_a_logged_error_has_its_type_without_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    """A record with a traceback stays one line."""
    json_lines.begin(on=True)
    try:
        raise KeyError("secret-word")
    except KeyError:
        LOG.exception("it failed")
    [line] = lines_of(capsys)
    assert line["message"].startswith("it failed: KeyError at ")
    assert "secret-word" not in json.dumps(line)
    assert line["level"] == "error"


def test_log_records_go_above_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """A line of text is printed to the console that shows the bar."""
    json_lines.begin(on=False)
    logs.handle_by(logs.AboveTheBar(Terminal(stderr=True)))
    LOG.warning("slow disk")
    assert capsys.readouterr().err.endswith("Z WARNING  slow disk\n")


def test_options_of_a_command_begin_and_end_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """A command from a program may choose another form than the one before it."""
    json_lines.begin(on=False)
    logs.set_up(Logging(log_format="json", log_level="warning"))
    assert json_lines.is_on()
    LOG.info("small")
    LOG.warning("odd")
    assert [line["message"] for line in lines_of(capsys)] == ["odd"]
    logs.set_up(Logging())
    assert not json_lines.is_on()
    LOG.info("small")
    assert capsys.readouterr().err.endswith("Z INFO     small\n")
