"""The thread that reads signals, step by step, with a pipe in the place of Python's own."""

from __future__ import annotations

import _thread
import os
import queue
import signal
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field

import pytest

from harvester import signals
from harvester.runs import watchers


class Left(Exception):
    """The end of a process, with its exit code."""


@dataclass
class Work:
    """Work that a signal stops, if it ``ends``; ``heard`` has the calls in order."""

    ends: bool = True
    text: str = "3 accounts wait"
    error: Exception | None = None
    heard: list[str] = field(default_factory=list)

    def stop(self, code: int) -> bool:
        """Take in a stop."""
        self.heard.append(f"stop {code}")
        return self.ends

    def describe(self) -> str:
        """Return what the work waits for, or fail to read it."""
        if self.error is not None:
            raise self.error
        return self.text

    def final_write(self) -> None:
        """Write the last word."""
        self.heard.append("final write")


@pytest.fixture(autouse=True)
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """A pipe for the numbers of signals; the end of the process raises `Left`."""

    def leave(code: int) -> None:
        raise Left(code)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(signals, "GRACEFUL_SECONDS", 0.0)
    monkeypatch.setattr(signals, "_forgiven", frozenset())
    monkeypatch.setattr(signals, "_write_description", None)
    numbers, told = os.pipe()
    yield numbers, told
    os.close(numbers)
    os.close(told)


# Read before the fixture lets no test wait.
GRACEFUL_SECONDS = signals.GRACEFUL_SECONDS


def test_a_process_is_gone_before_a_ci_runner_kills_it() -> None:
    """A runner sends SIGINT, after seven and a half seconds SIGTERM, and kills at ten."""
    assert GRACEFUL_SECONDS + signals.FINAL_WRITE_SECONDS <= 7
    assert watchers.IN_FLIGHT_GRACE_SECONDS < watchers.PUBLISH_GRACE_SECONDS
    assert watchers.PUBLISH_GRACE_SECONDS < GRACEFUL_SECONDS


def code_of(pipe: tuple[int, int], *numbers: int, work: Work | None = None) -> int:
    """Return the exit code of a process that gets signals while it does some work, or none."""
    os.write(pipe[1], bytes(numbers))
    with signals.stopping(work) if work else nullcontext(), pytest.raises(Left) as left:
        signals._listen(pipe[0])
    return int(left.value.args[0])


def test_descriptors_of_closed_streams_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next file that is opened gets none of them."""
    free, closed = [0, 2, 7], list[int]()
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", lambda *_: free.pop(0))
        patch.setattr(os, "close", closed.append)
        signals._take_closed_streams()
    assert (free, closed) == ([], [7])


def test_without_work_a_signal_ends_the_process(pipe: tuple[int, int]) -> None:
    """The exit code is 128 plus the number."""
    assert code_of(pipe, signal.SIGTERM) == 143


def test_work_ends_in_order_and_writes_its_last_word(pipe: tuple[int, int]) -> None:
    """Also if it does not end within the time that it has."""
    work = Work()
    assert code_of(pipe, signal.SIGINT, work=work) == 130
    assert work.heard == ["stop 130", "final write"]


def test_a_second_signal_ends_the_process_at_once(pipe: tuple[int, int]) -> None:
    """It has its own code, and nothing more is written."""
    work = Work()
    assert code_of(pipe, signal.SIGINT, signal.SIGTERM, work=work) == 143
    assert work.heard == ["stop 130"]


def test_work_that_cannot_end_in_order_is_not_waited_for(pipe: tuple[int, int]) -> None:
    """A second signal is not read then."""
    work = Work(ends=False)
    assert code_of(pipe, signal.SIGHUP, signal.SIGTERM, work=work) == 129
    assert work.heard == ["stop 129", "final write"]


@pytest.mark.parametrize("lack", [RuntimeError("can't start new thread"), MemoryError()])
def test_without_memory_for_a_thread_a_signal_ends_the_process(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, lack: Exception
) -> None:
    """Neither the last word nor a description keeps it."""

    def start(*_: object) -> int:
        raise lack

    monkeypatch.setattr(_thread, "start_new_thread", start)
    work = Work()
    assert code_of(pipe, signal.SIGUSR1, signal.SIGTERM, work=work) == 143
    assert work.heard == ["stop 143"]


def test_a_description_stops_nothing(pipe: tuple[int, int]) -> None:
    """The process goes on after SIGUSR1, until a signal that stops it."""
    told = queue.Queue[str]()
    signals.describe_by(told.put)
    assert code_of(pipe, signal.SIGUSR1, signal.SIGTERM, work=Work(ends=False)) == 143
    assert told.get(timeout=10) in {"3 accounts wait", "nothing is running yet"}


@pytest.mark.parametrize(
    ("work", "text"),
    [
        (None, "nothing is running yet"),
        (Work(), "3 accounts wait"),
        (Work(error=RuntimeError("changed size")), "send SIGUSR1 again (RuntimeError)"),
        (Work(error=IndexError()), "send SIGUSR1 again (IndexError)"),
    ],
)
def test_a_description_goes_to_stderr(
    capfd: pytest.CaptureFixture[str], work: Work | None, text: str
) -> None:
    """The event loop may change what is read, which is said and is no failure."""
    if work is None:
        signals._describe()
    else:
        with signals.stopping(work):
            signals._describe()
    assert text in capfd.readouterr().err


@pytest.mark.parametrize(("stderr", "shown"), [("terminal", "\x1b[?25h"), ("file", "")])
def test_the_cursor_of_a_terminal_is_shown_again(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, stderr: str, shown: str
) -> None:
    """A progress bar hides it; a file gets no escape sequence."""
    monkeypatch.setattr(os, "isatty", lambda _: stderr == "terminal")
    with pytest.raises(Left, match="130"):
        signals._leave(130)
    assert capfd.readouterr().err == shown


def test_a_forgiven_code_is_zero() -> None:
    """As ``--ok-exit`` says."""
    signals.set_ok_exit(frozenset({130}))
    with pytest.raises(Left, match="0"):
        signals._leave(130)


@pytest.mark.parametrize("hangup", [signal.SIG_DFL, signal.SIG_IGN])
def test_signals_are_taken_once_and_nohup_holds(
    monkeypatch: pytest.MonkeyPatch, hangup: signal.Handlers
) -> None:
    """SIGHUP stays ignored where the process must outlive its terminal."""
    taken: list[int] = []
    begun: list[str] = []
    signals.install.cache_clear()
    monkeypatch.setattr(signal, "set_wakeup_fd", lambda told, **_: os.close(told))
    monkeypatch.setattr(signal, "getsignal", lambda _: hangup)
    monkeypatch.setattr(signal, "signal", lambda number, _: taken.append(number))
    monkeypatch.setattr(signal, "siginterrupt", lambda *_: None)
    monkeypatch.setattr(threading.Thread, "start", lambda thread: begun.append(thread.name))
    signals.install()
    signals.install()
    assert begun == ["signals"]
    assert (signal.SIGHUP in taken) is (hangup is signal.SIG_DFL)
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1} <= {*taken}
    assert len(taken) == len({*taken})
