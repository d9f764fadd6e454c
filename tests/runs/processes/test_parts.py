"""Parts of a run in several processes: cores, the forkserver, and the platform's token."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil
import pytest

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
        assert os.getpgid(server.pid) != os.getpgid(0)
        connection.close()
        assert launcher.end_of(pid) == "ended with code 1"
        pid, connection = launcher.start()
        psutil.Process(pid).kill()
        assert connection.recv(1) == b""
        connection.close()
        assert launcher.end_of(pid) == "was ended by SIGKILL"
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
