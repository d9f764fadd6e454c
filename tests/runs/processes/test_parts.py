"""Parts of a run in several processes: cores, the forkserver, and the platform's token."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from harvester.core.errors import Shortage
from harvester.runs.processes.cores import usable_cores
from harvester.runs.processes.launcher import Launcher
from tests.support.shared_runs import shard_processes, wait_until

CORES = len(os.sched_getaffinity(0))


def system(folder: Path, group: str, files: dict[str, str]) -> Path:
    """Make the files of a system whose process is in these control groups."""
    for name, text in {"proc/self/cgroup": group, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("group", "files", "cores"),
    [
        ("", {}, CORES),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, CORES),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        (
            "0::/a/b\n",
            {
                "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
                "sys/fs/cgroup/a/cpu.max": "150000 100000\n",
            },
            1,
        ),
        (
            "5:cpu,cpuacct:/docker/x\n0::/\n",
            {
                "sys/fs/cgroup/docker/x/cpu.max": "50000 100000\n",
                "sys/fs/cgroup/cpu.max": "100000 100000\n",
            },
            1,
        ),
        ("nonsense\n", {"sys/fs/cgroup/cpu.max": "nonsense"}, CORES),
    ],
    ids=["none", "no limit", "one", "half", "of a parent", "beside version 1", "nonsense"],
)
def test_the_cores_are_those_that_may_be_used(
    tmp_path: Path, group: str, files: dict[str, str], cores: int
) -> None:
    """The limits of all groups around the process count."""
    assert usable_cores(system(tmp_path, group, files)) == cores


def test_the_affinity_of_the_process_counts(tmp_path: Path) -> None:
    """As `taskset` sets it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores(tmp_path) == 1
    finally:
        os.sched_setaffinity(0, before)


def test_the_forkserver_has_one_thread_and_says_how_processes_end() -> None:
    """A fork takes no lock along. Its processes end with their socket, and it with its own."""
    before = {child.pid for child in psutil.Process().children()}
    with Launcher() as launcher:
        pid, connection = launcher.start()
        [child] = shard_processes()
        assert child.pid == pid
        server = child.parent()
        assert server is not None
        assert server.num_threads() == 1
        # Shared with the processes that it forks, which would each load them for 27 ms and 2 MiB.
        if sys.platform == "linux":
            assert any("/_compute." in mapped.path for mapped in server.memory_maps())
        assert os.getpgid(server.pid) != os.getpgid(0)
        connection.close()
        assert launcher.end_of(pid).code == 1
        pid, connection = launcher.start()
        psutil.Process(pid).kill()
        assert connection.recv(1) == b""
        connection.close()
        end = launcher.end_of(pid)
        assert (end.code, end.signal) == (-9, "SIGKILL")
        assert 10 << 20 < end.peak_memory < 1 << 30
        server.kill()
        wait_until(lambda: server.status() == psutil.STATUS_ZOMBIE)
        # Another one takes its place.
        pid, connection = launcher.start()
        connection.close()
    assert {child.pid for child in psutil.Process().children()} <= before


def test_nothing_else_reaches_a_process() -> None:
    """It has its socket, and none of the descriptors of the program that started it."""
    secret, other = socket.socketpair()
    with secret, other, Launcher() as launcher:
        os.set_inheritable(secret.fileno(), True)
        pid, connection = launcher.start()
        with connection:
            wait_until(lambda: len(psutil.Process(pid).net_connections("unix")) == 1)


KILLED = """
import os, signal, threading, time
from harvester.runs.processes.launcher import Launcher
launcher = Launcher()
threading.Thread(target=launcher.start, daemon=True).start()
time.sleep(0.2)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_forkserver_whose_parent_is_killed_ends_in_silence() -> None:
    """The parent is killed just after it has asked for a process."""
    command = [sys.executable, "-c", KILLED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    # `run` returns when all processes have closed stderr, so the forkserver has ended as well.
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")


def test_a_forkserver_that_is_stopped_is_replaced() -> None:
    """It would keep the run waiting for ever."""
    with Launcher() as launcher:
        first, connection = launcher.start()
        connection.close()
        server = psutil.Process(first).parent()
        assert server is not None
        server.suspend()
        assert launcher._control is not None
        # Of the stopped one alone: its successor may take as long as the machine needs.
        launcher._control.settimeout(0.5)
        second, connection = launcher.start()
        connection.close()
        assert psutil.Process(second).parent() not in (None, server)
        assert not server.is_running()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOMEM])
def test_what_the_system_refuses_to_a_launcher_is_no_bug(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Name the limit to raise, or what to lower."""

    def refuse() -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(socket, "socketpair", refuse)
    with Launcher() as launcher, pytest.raises(Shortage, match=r"as it may|refused memory"):
        launcher.start()
