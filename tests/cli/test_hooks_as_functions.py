"""Python's own messages and its streams, by calls of the functions that print them."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any

import pytest

from harvester.cli.output import hooks, json_lines, streams
from harvester.core.errors import HarvesterError
from harvester.core.secret import Secret

SECRET = "c4n4ry+/=&%value-of-hooks"


@pytest.fixture(params=["text", "json"])
def form(request: pytest.FixtureRequest) -> Iterator[str]:
    """Stderr with text, and with lines of JSON."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    json_lines.begin(on=request.param == "json")
    yield request.param
    json_lines.begin(on=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def told(capsys: pytest.CaptureFixture[str], form: str) -> str:
    """Return what was printed to stderr; as lines of JSON, the messages."""
    printed = capsys.readouterr().err
    assert SECRET not in printed
    if form == "json":
        return "\n".join(json.loads(line)["message"] for line in printed.splitlines())
    return printed


def hidden() -> str:
    """Return a secret that is known."""
    return Secret(SECRET).reveal()


def test_an_uncaught_error(capsys: pytest.CaptureFixture[str], form: str) -> None:
    """Its type is printed. Its text is not, because it may hold a secret."""
    error = ValueError(hidden())
    hooks._report_uncaught(ValueError, error, None)
    assert "ValueError" in told(capsys, form)


@pytest.mark.parametrize("thread", [None, threading.Thread(name="publish")])
def test_an_error_of_a_thread(
    capsys: pytest.CaptureFixture[str], form: str, thread: threading.Thread | None
) -> None:
    """The thread is named; one that is gone is unknown."""
    error = ValueError(hidden())
    fields = (ValueError, error, None, thread)
    hooks._report_of_thread(threading.ExceptHookArgs(fields))
    printed = told(capsys, form)
    assert "ValueError" in printed
    assert f"thread {thread.name if thread else 'unknown'}" in printed


class Unprintable(Exception):
    """An error, and an object, that fails to say what it is."""

    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__


def test_an_error_that_python_ignores(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged by its type; an object that cannot be printed is named by its own."""
    ignored: Any = SimpleNamespace(
        exc_type=ValueError,
        exc_value=ValueError(hidden()),
        exc_traceback=None,
        err_msg=None,
        object=Unprintable(),
    )
    hooks._log_ignored(ignored)
    told_of = "Exception ignored in: Unprintable: ValueError at an unknown place"
    assert [record.getMessage() for record in caplog.records] == [told_of]


def test_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with its place and its category."""
    hooks._log_warning("unclosed", ResourceWarning, "some.py", 7)
    [record] = caplog.records
    assert record.getMessage() == "some.py:7: ResourceWarning: unclosed"


@pytest.mark.parametrize("last_resort", [None, logging.StreamHandler()])
def test_the_hooks_are_those_of_python(
    monkeypatch: pytest.MonkeyPatch, last_resort: logging.Handler | None
) -> None:
    """All four, and the handler of last resort if there is one."""
    for module, name in (
        (sys, "excepthook"),
        (threading, "excepthook"),
        (sys, "unraisablehook"),
        (warnings, "showwarning"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(logging, "lastResort", last_resort)
    copy_context().run(hooks.install)
    assert sys.excepthook is hooks._report_uncaught
    assert threading.excepthook is hooks._report_of_thread
    assert sys.unraisablehook is hooks._log_ignored
    assert warnings.showwarning is hooks._log_warning
    if last_resort is not None:
        record = logging.LogRecord("any", logging.ERROR, "", 0, hidden(), None, None)
        assert SECRET not in last_resort.format(record)


def test_streams_that_are_closed_are_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing stream gets one that writes to its descriptor."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        patch.setattr(sys, "stderr", None)
        patch.setattr("builtins.open", lambda *_, **__: io.TextIOWrapper(io.BytesIO()))
        streams.fix_std_streams()
        fixed: list[Any] = [sys.stdout, sys.stderr]
    assert [stream.errors for stream in fixed] == ["backslashreplace"] * 2


def test_a_stream_of_another_kind_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook has streams of its own."""
    own = io.StringIO()
    monkeypatch.setattr(sys, "stdout", own)
    monkeypatch.setattr(sys, "stderr", own)
    streams.fix_std_streams()
    assert sys.stdout is own
    assert sys.stderr is own


def test_a_bug_and_an_error(capsys: pytest.CaptureFixture[str], form: str) -> None:
    """A bug is named by its type, the first one of a group; an error has its advice."""
    streams.report_error(ExceptionGroup("tasks", [KeyError(hidden()), ValueError()]))
    streams.report_error(HarvesterError("the disk is full", "make room"))
    streams.report_error(HarvesterError("only this"))
    printed = told(capsys, form)
    assert "KeyError" in printed or "bug" in printed
    assert "the disk is full" in printed
    if form == "text":
        assert "\nmake room\n" in printed
