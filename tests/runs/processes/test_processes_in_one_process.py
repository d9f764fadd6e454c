"""Both ends of a run in several processes, here in the one process of the test.

What ends a process or forks one is replaced; sockets, threads and files are real.
"""

from __future__ import annotations

import gc
import json
import logging
import math
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, get_args

import anyio
import pytest

import harvester
from harvester.core.calendar import date_of, parse_day
from harvester.core.config.credentials import PlatformAccess, PlatformCache, SecretReader
from harvester.core.errors import HarvesterError, ProcessDied, UsageError
from harvester.core.secret import Secret
from harvester.runs.access import open_platform, run_context
from harvester.runs.clock import CheckedClock
from harvester.runs.facts import (
    AskingEnded,
    Begun,
    Counted,
    CoverageRead,
    Ended,
    Fact,
    GroupsDamaged,
    Planned,
)
from harvester.runs.processes import forkserver, messages, shard_process
from harvester.runs.processes.launcher import End, Launcher
from harvester.runs.processes.messages import PAIR, UNKNOWN_END, Channel, ShardTask
from harvester.runs.processes.shard_process import (
    END_SECONDS,
    Parent,
    ShardLog,
    _pass_log_on,
    _shared_platform,
    work,
)
from harvester.runs.processes.shared_run import known_of
from harvester.runs.processes.supervisor import Supervisor
from harvester.runs.record.account_report import DatasetSummary, DayCounts
from harvester.runs.record.next_requests import NO_REQUESTS
from harvester.runs.record.record import Record
from harvester.runs.run_log import new_run_log
from harvester.runs.runtime import RunOptions
from harvester.runs.stream import StopOrder, Stream
from harvester.storage.publication import Published, QuarantinedDay
from harvester.storage.state import record_folding
from harvester.verbs.project import open_project
from tests.support.emulated_platform import COMPONENT_TOKEN_PATH
from tests.support.run_harness import DAILY, RunHarness, appid

STARTED_ON = parse_day("2026-03-02")
TERMINATED, INTERRUPTED = 143, 130
STARTED = 1_790_000_000.0
PLATFORM = "wx00000000000000ff"
PLATFORM_SECRET = "platformsecret0123456789"
OLD, NEW, OTHER = "firsttoken0123456789", "secondtoken0123456789", "thirdtoken0123456789"


@dataclass
class Ends:
    """The ends that the process of a shard would come to, and what it started and opened."""

    codes: list[int] = field(default_factory=list)
    naps: list[float] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)
    channels: list[Channel] = field(default_factory=list)

    def channel(self, connection: socket.socket) -> Channel:
        """Open a channel, which the end of the test closes."""
        self.channels.append(Channel(connection))
        return self.channels[-1]

    def exit(self, code: int) -> NoReturn:
        """Note the code, and end this thread instead of the process."""
        self.codes.append(code)
        raise SystemExit(code)

    def nap(self, seconds: float) -> None:
        """Note how long a thread would sleep, and let it sleep for a moment."""
        self.naps.append(seconds)
        time.sleep(0.01)

    def thread(self, target: Callable[[], None], **options: Any) -> threading.Thread:
        """Make a thread that `exit` ends without a message."""

        def run() -> None:
            with suppress(SystemExit):
                target()

        made = threading.Thread(target=run, **options)
        self.threads.append(made)
        return made

    def join(self) -> None:
        """Wait for the threads."""
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a connection: that of a shard, and that of the process that shares out."""
    of_shard, other = socket.socketpair()
    with of_shard, other:
        yield of_shard, other


@pytest.fixture
def ends(
    monkeypatch: pytest.MonkeyPatch, pair: tuple[socket.socket, socket.socket]
) -> Iterator[Ends]:
    """Replace what ends or delays the process of a shard; its log goes nowhere else meanwhile."""
    found, root, ours = Ends(), logging.getLogger(), logging.getLogger("harvester")
    levels = root.level, ours.level
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(shard_process, "os", SimpleNamespace(_exit=found.exit))
    monkeypatch.setattr(shard_process, "time", SimpleNamespace(sleep=found.nap))
    threads = SimpleNamespace(Thread=found.thread, RLock=threading.RLock)
    monkeypatch.setattr(shard_process, "threading", threads)
    monkeypatch.setattr(shard_process, "Channel", found.channel)
    yield found
    with suppress(OSError):
        pair[1].shutdown(socket.SHUT_RDWR)
    found.join()
    for channel in found.channels:
        channel.close()
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.fixture
def peer(pair: tuple[socket.socket, socket.socket]) -> Iterator[Channel]:
    """The end of the process that shares out the run."""
    channel = Channel(pair[1])
    yield channel
    channel.close()


@pytest.fixture
def parent(pair: tuple[socket.socket, socket.socket], ends: Ends) -> Parent:
    """The process that shares out the run, as a shard sees it."""
    return Parent(ends.channel(pair[0]))


@pytest.fixture
def order(parent: Parent) -> StopOrder:
    """The order of a signal to the run of a shard."""
    return parent.order


@contextmanager
def asked(parent: Parent, question: messages.Question) -> Iterator[Future[Any]]:
    """Ask in a thread while the block runs."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(parent.ask, question)


def sandbox_task(folder: Path, platform: PlatformCache | None = None) -> ShardTask:
    """Return the work of the only shard of a run in the sandbox: two accounts, five days."""
    path = folder / "jobs.yaml"
    days = {"begin_date": "2026-03-01", "end_date": "2026-03-05"}
    manifest = {
        "version": 1,
        "api": {"base_url": "sandbox"},
        "accounts": [{"appid": appid(number)} for number in (1, 2)],
        "jobs": [{"datasets": [DAILY], **days}],
        "output": {"path": str(folder / "out"), "buckets": 1},
    }
    path.write_text(json.dumps(manifest))
    project = open_project(path)
    return ShardTask(
        run_id="run-of-all",
        started_at=project.clock.started_at,
        shard="1/2",
        own=[0],
        plan=Planned(),
        grant=None,
        manifest=project.manifest,
        whole=project.manifest,
        read_again=project.read_again,
        credentials=project.credentials,
        options=RunOptions(),
        log_level=logging.INFO,
        platform=platform,
    )


def answer_all(peer: Channel, seen: list[Any]) -> None:
    """Answer every question of a shard, and close the connection once it has told its end."""
    while not (seen and isinstance(seen[-1], Ended)):
        seen.append(message := peer.receive())
        if isinstance(message, messages.Asked):
            peer.send(messages.Answered(message.number))
    peer.close()


# The process that shares out the run, as a shard sees it.


def test_an_answer_reaches_the_thread_that_asked(parent: Parent, peer: Channel) -> None:
    """Return each value to its own question; a message of an unknown kind changes nothing."""
    with asked(parent, messages.ClockMoved(900.0)) as first:
        assert peer.receive() == messages.Asked(0, messages.ClockMoved(900.0))
        with asked(parent, messages.TokenWanted(None)) as second:
            assert peer.receive() == messages.Asked(1, messages.TokenWanted(None))
            peer.send(messages.Logged("any", logging.INFO, "of no meaning here"))
            peer.send(messages.Answered(1, Secret(NEW)))
            assert second.result(20) == Secret(NEW)
        assert not first.done()
        peer.send(messages.Answered(0, "another name"))
        assert first.result(20) == "another name"


def test_an_answer_that_is_an_error_is_raised(parent: Parent, peer: Channel) -> None:
    """Raise it where the question was asked."""
    with asked(parent, messages.ClockMoved(900.0)) as answer:
        peer.receive()
        peer.send(messages.Answered(0, error=UsageError("too many requests", "ask for less")))
        with pytest.raises(UsageError, match="too many requests"):
            answer.result(20)


def test_a_shard_that_asks_no_wechat_ends_at_once(
    parent: Parent, peer: Channel, ends: Ends, order: StopOrder
) -> None:
    """Exit with the code of the signal, without an orderly end."""
    peer.send(messages.Stop(INTERRUPTED))
    ends.join()
    assert (ends.codes, ends.naps) == ([INTERRUPTED], [])
    assert order.code is None


def test_a_shard_without_the_other_process_ends_at_once(
    parent: Parent, peer: Channel, ends: Ends
) -> None:
    """Exit as after SIGTERM."""
    peer.close()
    ends.join()
    assert (ends.codes, ends.naps) == ([TERMINATED], [])


def test_a_shard_at_its_harvest_ends_in_order(
    parent: Parent, peer: Channel, ends: Ends, order: StopOrder
) -> None:
    """Ask the run to stop; what waits for an answer is told that none comes."""
    order.is_graceful = True
    with asked(parent, messages.ClockMoved(900.0)) as answer:
        peer.receive()
        peer.close()
        with pytest.raises(EOFError):
            answer.result(20)
    ends.join()
    assert order.code == TERMINATED
    assert (ends.codes, ends.naps) == ([TERMINATED], [END_SECONDS])
    with pytest.raises(EOFError):
        parent.ask(messages.ClockMoved(900.0))


def test_the_code_of_an_order_to_stop_is_kept(
    parent: Parent, peer: Channel, ends: Ends, order: StopOrder
) -> None:
    """Exit with it if the other process is gone before the orderly end is over."""
    order.is_graceful = True
    peer.send(messages.Stop(INTERRUPTED))
    peer.close()
    ends.join()
    assert order.code == INTERRUPTED
    assert ends.codes == [INTERRUPTED]


# The process of a shard.


def test_a_shard_tells_its_whole_harvest(
    pair: tuple[socket.socket, socket.socket],
    peer: Channel,
    ends: Ends,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Take the work from the first message, harvest it, and exit with 0 once the end is told."""
    thresholds: list[tuple[int, ...]] = []
    collector = SimpleNamespace(set_threshold=lambda *numbers: thresholds.append(numbers))
    monkeypatch.setattr(shard_process, "gc", collector)
    task, seen = sandbox_task(tmp_path), list[Any]()
    peer.send(task)
    with ThreadPoolExecutor(1) as pool:
        answers = pool.submit(answer_all, peer, seen)
        with pytest.raises(SystemExit):
            work(pair[0])
        answers.result(20)
    assert 0 in ends.codes
    assert thresholds == [(200_000, 20, 50)]
    facts = [each for each in seen if isinstance(each, get_args(Fact))]
    told = [type(fact) for fact in facts if not isinstance(fact, Counted)]
    assert told == [Begun, GroupsDamaged, Planned, AskingEnded, Published, CoverageRead, Ended]
    assert sum(fact.requests for fact in facts if isinstance(fact, Counted)) == 2
    [planned] = [fact for fact in facts if isinstance(fact, Planned)]
    assert (planned.windows, planned.account_days) == (2, 10)
    [file] = [fact for fact in facts if isinstance(fact, Published)]
    assert harvester.open(tmp_path / "out").arrow(DAILY).count_rows() == file.rows_after > 0
    assert isinstance(facts[-1], Ended)
    assert facts[-1].error is None


def test_facts_are_passed_on_as_they_are(parent: Parent, peer: Channel) -> None:
    """In their order."""
    day = QuarantinedDay(appid(1), DAILY, date_of(STARTED_ON), "the value ***")
    file = Published(DAILY, 24_314, "p", 0, 2, quarantined=[day], unknown={"***"})
    read = CoverageRead((), (), (day,), (), NO_REQUESTS)
    log = ShardLog(Stream(Record.begun(Path("jobs.yaml"), STARTED), CheckedClock()), parent)
    for fact in (file, read):
        log.stream.report(fact)
    assert [peer.receive(), peer.receive()] == [file, read]


def test_a_shard_gives_back_its_locks_after_its_end_is_told(
    parent: Parent, peer: Channel, ends: Ends
) -> None:
    """The other process may be gone at once. One that asked nothing ends in order too."""

    def leave(_: object) -> None:
        peer.close()
        ends.join()

    log = ShardLog(Stream(Record.begun(Path("jobs.yaml"), STARTED), CheckedClock()), parent)
    log.stream.listeners.append(leave)
    log.close()
    assert (ends.codes, ends.naps) == ([TERMINATED], [END_SECONDS])


def test_a_shard_asks_elsewhere_for_the_platform(
    parent: Parent, peer: Channel, tmp_path: Path
) -> None:
    """Begin with what is known of it, and get its token from the other process."""
    platform: PlatformAccess | None = None
    reader: Any = SimpleNamespace(platform=lambda _: platform)
    cached = PlatformCache(Secret(OLD), 50.0, {appid(1): Secret(OTHER)}, 40.0)
    task = sandbox_task(tmp_path, cached)._replace(credentials=reader)
    assert _shared_platform(task, parent, task.manifest) is None
    platform = PlatformAccess(PLATFORM, None, None, None)
    shared = _shared_platform(task, parent, task.manifest)
    assert shared is not None
    assert isinstance(shared.token, SecretReader)
    known = shared.known
    assert known.token is not None
    assert (known.token.reveal(), known.renew_at, known.listed_at) == (OLD, 50.0, 40.0)
    assert {name: text.reveal() for name, text in known.listed.items()} == {appid(1): OTHER}
    with ThreadPoolExecutor(1) as pool:
        token = pool.submit(shared.token.read)
        assert peer.receive() == messages.Asked(0, messages.TokenWanted(Secret(OLD)))
        peer.send(messages.Answered(0, Secret(NEW)))
        assert token.result(20).reveal() == NEW
        known.token = None
        first = pool.submit(shared.token.read)
        assert peer.receive() == messages.Asked(1, messages.TokenWanted(None))
        peer.send(messages.Answered(1, Secret(OLD)))
        assert first.result(20).reveal() == OLD


def test_a_platform_of_which_nothing_is_known_is_shared_too(parent: Parent, tmp_path: Path) -> None:
    """Leave its cache empty: the first question fills it."""
    platform = PlatformAccess(PLATFORM, None, None, None)
    reader: Any = SimpleNamespace(platform=lambda _: platform)
    task = sandbox_task(tmp_path)._replace(credentials=reader)
    shared = _shared_platform(task, parent, task.manifest)
    assert shared is not None
    assert (shared.known.token, shared.known.listed) == (None, {})


def test_log_lines_are_passed_on_without_secrets(parent: Parent, peer: Channel) -> None:
    """Mask them here, and keep a line whose arguments do not fit it from ending the shard."""
    secret = Secret("canary0123456789abcdef")
    _pass_log_on(parent, logging.INFO)
    log = logging.getLogger("harvester.test")
    log.debug("below the level of the run")
    log.info("token %s", secret.reveal())
    unfit = logging.LogRecord("lib", logging.WARNING, "", 0, "%d of them", ("many",), None)
    shard_process._ToParent(parent).emit(unfit)
    assert peer.receive() == messages.Logged("harvester.test", logging.INFO, "token ***")
    text = "a log record whose arguments do not fit its text"
    assert peer.receive() == messages.Logged("lib", logging.WARNING, text)


# The forkserver.


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[socket.socket, int]]:
    """The socket of the process that controls a forkserver, and the descriptor of the other."""
    monkeypatch.setattr(forkserver, "gc", SimpleNamespace(freeze=list, enable=list))
    limits = SimpleNamespace(RLIMIT_CORE=resource.RLIMIT_CORE, setrlimit=lambda *_: None)
    monkeypatch.setattr(forkserver, "resource", limits)
    ours, its = socket.socketpair()
    with ours:
        yield ours, its.detach()


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_forkserver_dumps_no_core_and_freezes_its_modules(
    control: tuple[socket.socket, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Serve until the other end is closed."""
    done: list[object] = []
    collector = SimpleNamespace(
        freeze=lambda: done.append("freeze"), enable=lambda: done.append("enable")
    )
    monkeypatch.setattr(forkserver, "gc", collector)
    limits = SimpleNamespace(
        RLIMIT_CORE=resource.RLIMIT_CORE, setrlimit=lambda *limit: done.append(limit)
    )
    monkeypatch.setattr(forkserver, "resource", limits)
    ours, descriptor = control
    ours.shutdown(socket.SHUT_WR)
    forkserver.serve(descriptor)
    assert done == [(resource.RLIMIT_CORE, (0, 0)), "freeze", "enable"]
    assert ours.recv(1) == b""


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_forkserver_answers_with_the_number_of_the_process(
    control: tuple[socket.socket, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep no socket of the process that it has forked."""
    monkeypatch.setattr(os, "fork", lambda: 4711)
    ours, descriptor = control
    mine, its = socket.socketpair()
    with mine:
        with its:
            socket.send_fds(ours, [bytes(PAIR.size)], [its.fileno()])
        ours.shutdown(socket.SHUT_WR)
        forkserver.serve(descriptor)
        assert PAIR.unpack(ours.recv(PAIR.size)) == (4711, 0)
        assert mine.recv(1) == b""


@pytest.mark.parametrize("fails", [False, True], ids=["ends", "fails"])
def test_a_forked_process_works_with_its_socket_and_exits(
    monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    """Exit with 1 whatever the work comes to, and never go on as a second forkserver."""
    got: list[bytes] = []

    def work_here(connection: socket.socket) -> None:
        with connection:
            got.append(connection.recv(10))
        if fails:
            raise EOFError

    monkeypatch.setattr(forkserver, "work", work_here)
    monkeypatch.setattr(os, "fork", lambda: 0)
    monkeypatch.setattr(os, "_exit", sys.exit)
    control, far = socket.socketpair()
    mine, its = socket.socketpair()
    with far, mine:
        mine.sendall(b"task")
        descriptor = its.detach()
        os.set_inheritable(descriptor, True)
        with pytest.raises(SystemExit) as exited:
            forkserver._fork(control, descriptor)
        assert exited.value.code == 1
        assert got == [b"task"]
        assert control.fileno() == -1


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_forkserver_says_how_a_process_ended(
    control: tuple[socket.socket, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wait for a moment only: one that goes on is told as unknown."""
    monkeypatch.setattr(forkserver, "_MAX_WAIT", 0.03)
    command = ["/bin/sh", "-c", "read line; exit 3"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert forkserver._end_of(process.pid) == (UNKNOWN_END, 0)
        assert process.stdin is not None
        process.stdin.close()
        monkeypatch.setattr(forkserver, "_MAX_WAIT", 20.0)
        ours, descriptor = control
        ours.sendall(PAIR.pack(process.pid, 0))
        ours.shutdown(socket.SHUT_WR)
        forkserver.serve(descriptor)
        code, memory = PAIR.unpack(ours.recv(PAIR.size))
        assert code == 3
        # Linux counts what the process had of its parent before it began the shell.
        assert 100_000 < memory < 1 << 36


# Answers to processes.


def test_an_answer_goes_to_the_process_that_asked(
    pair: tuple[socket.socket, socket.socket], peer: Channel, tmp_path: Path
) -> None:
    """Another process of its shard has a question of its own under the same number."""
    task = sandbox_task(tmp_path)
    project = open_project(tmp_path / "jobs.yaml")
    log = new_run_log(tmp_path / "jobs.yaml", project.clock)
    dead, _ = socket.socketpair()

    async def answer() -> None:
        supervisor = Supervisor(log, project.tree, run_context(project), Launcher(), [task])
        [shard] = supervisor._shards
        shard.channel = Channel(pair[0])
        await supervisor._answer(shard, Channel(dead), 0, messages.ClockMoved(0.0))
        await supervisor._answer(shard, shard.channel, 1, messages.ClockMoved(0.0))
        shard.channel.close()

    with dead, _:
        anyio.run(answer)
    assert peer.receive() == messages.Answered(1, log.run_id)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_records_are_folded_whichever_shard_begins_first(
    tmp_path: Path, order: tuple[int, int]
) -> None:
    """It takes the lock of the first bucket, which one of the shards has."""
    task = sandbox_task(tmp_path)
    project = open_project(tmp_path / "jobs.yaml")
    (tmp_path / "out").mkdir()
    log = new_run_log(tmp_path / "jobs.yaml", project.clock)
    tasks = [task, task._replace(shard="2/2", own=[1])]

    async def begin() -> None:
        supervisor = Supervisor(log, project.tree, run_context(project), Launcher(), tasks)
        for number in order:
            await supervisor._begin(supervisor._shards[number], Planned())

    folded: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_folding, "fold", lambda *given: folded.append(given))
        anyio.run(begin)
        log.close()
    assert len(folded) == 1


def test_what_a_shard_has_that_failed_is_read_again(tmp_path: Path) -> None:
    """The process that told it died, and the next one may have published more before it died."""
    task = sandbox_task(tmp_path)
    project = open_project(tmp_path / "jobs.yaml")
    log = new_run_log(tmp_path / "jobs.yaml", project.clock)
    told = CoverageRead(
        (DatasetSummary("interface_summary", 99, DayCounts()),), (), (), (), NO_REQUESTS
    )

    async def conclude() -> None:
        supervisor = Supervisor(log, project.tree, run_context(project), Launcher(), [task])
        supervisor._has_begun = True
        log.stream.begin_process(task.shard, task.plan)
        for fact in (told, Ended(log.stream.now(), ProcessDied("it died", "run again"))):
            log.stream.report(fact, task.shard)
        await supervisor._conclude()

    anyio.run(conclude)
    assert [row.accounts for row in log.stream.record.datasets] == [2]


# Processes that hang.


def test_a_process_that_does_not_end_is_killed_after_the_deadline(tmp_path: Path) -> None:
    """It gives signs of life, and tells nothing new for longer than a request may take."""
    task = sandbox_task(tmp_path)
    project = open_project(tmp_path / "jobs.yaml")
    log = new_run_log(tmp_path / "jobs.yaml", project.clock)
    ours, its = socket.socketpair()

    async def watch(process: subprocess.Popen[bytes]) -> None:
        watched = Supervisor(log, project.tree, run_context(project), Launcher(), [task])
        [shard] = watched._shards
        shard.pid, shard.channel = process.pid, Channel(ours)
        shard.channel.silent = -10_000
        for watched._deadline, ticks in (math.inf, 1_000), (-math.inf, 44):
            for _ in range(ticks):
                watched._tick()
        assert not shard.fault
        watched._tick()
        assert [shard.fault] == ["did not end for 45 seconds and "]

    with its, subprocess.Popen(["/bin/sleep", "100"]) as process:
        anyio.run(watch, process)
        assert process.wait(20) == -signal.SIGKILL
        assert its.recv(1) == b""


# The launcher.


def test_a_launcher_that_started_nothing_knows_no_end() -> None:
    """Say that a process ended; there is no forkserver to ask."""
    assert Launcher().end_of(4711) == End()


def open_files() -> int:
    """Count the descriptors of this process."""
    return len([*Path("/proc/self/fd").iterdir()])


@pytest.mark.long
def test_a_forkserver_that_cannot_be_started_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Try twice, then name the limits; what was opened for it is closed."""
    tried: list[list[str]] = []
    real = subprocess.Popen

    def popen(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        tried.append(command)
        return real(command, **options)

    monkeypatch.setattr(sys, "executable", str(tmp_path / "no python"))
    monkeypatch.setattr(subprocess, "Popen", popen)
    gc.collect()
    before = open_files()
    with Launcher() as lame:
        with pytest.raises(HarvesterError, match="no further process") as caught:
            lame.start()
        assert "ulimit -u" in caught.value.advice
        assert lame.end_of(4711) == End()
    assert len(tried) == 2
    assert open_files() == before


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (End(), "ended"),
        (End(3), "ended with code 3"),
        (End(-9), "was ended by SIGKILL"),
        (End(-9, 80 << 20), "was ended by SIGKILL at 80 MiB of memory"),
        (End(-200), "was ended by signal 200"),
    ],
)
def test_ends_of_processes_are_told_in_words(end: End, words: str) -> None:
    """Name a signal where it has a name."""
    assert str(end) == words


# The platform of a run.


async def test_a_platform_is_asked_for_its_token(tmp_path: Path) -> None:
    """Count the calls. A token that lives for two hours does so whatever becomes of the clock."""
    lab = RunHarness(tmp_path)
    platform = platform_of(lab)
    context = replace(lab.world(), platform=platform)
    paths = lab.sandbox.counters.paths
    async with open_platform(context) as component:
        assert component is not None
        token = await component.own_token(None)
        for moved in (90_000.0, -180_000.0):
            context.clock.move(moved)
            assert await component.own_token(None) == token
        assert (component.calls, paths[COMPONENT_TOKEN_PATH]) == (1, 1)
        # Rejected in another process, long before it would be renewed.
        renewed = await component.own_token(token)
    assert renewed != token
    assert (component.calls, paths[COMPONENT_TOKEN_PATH]) == (2, 2)
    platform.known.listed = {appid(1): Secret(OTHER)}
    known = known_of(platform, [appid(1), appid(2)])
    assert known is not None
    assert (known.token, known.listed) == (renewed, {appid(1): Secret(OTHER)})
    other = known_of(platform, [appid(2)])
    assert other is not None
    assert dict(other.listed) == {}


async def test_a_run_without_a_platform_opens_none(tmp_path: Path) -> None:
    """Tell its shards of none."""
    async with open_platform(RunHarness(tmp_path).world()) as component:
        assert component is None
    assert known_of(None, [appid(1)]) is None


def platform_of(lab: RunHarness) -> PlatformAccess:
    """Return a platform of the emulator that one account has authorised."""
    platforms = lab.sandbox.platforms
    platforms.register(PLATFORM, PLATFORM_SECRET)
    ticket = platforms.push_ticket(PLATFORM)
    platforms.authorise(PLATFORM, appid(1))
    return PlatformAccess(
        PLATFORM, Secret(PLATFORM_SECRET), SecretReader(lambda: Secret(ticket)), None
    )
