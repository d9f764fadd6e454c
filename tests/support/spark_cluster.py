"""A standalone Spark cluster on this machine: a master and two workers with hosts of their own.

Speculation needs workers with different host names, so the second one is 127.0.0.2.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.doc_pages import ROOT

_PATIENCE = 90.0
_EXECUTOR = "CoarseGrainedExecutorBackend"


@dataclass(frozen=True)
class Cluster:
    """A running cluster; ``environ`` is what its drivers need."""

    master: str
    folder: Path
    environ: dict[str, str]
    workers: tuple[subprocess.Popen[bytes], ...]

    def submit(self, script: Path, *args: str, conf: Sequence[str] = ()) -> subprocess.Popen[str]:
        """Submit a program with settings like ``spark.speculation=true``."""
        settings = [word for setting in (*SETTINGS, *conf) for word in ("--conf", setting)]
        command = [_program("spark-submit"), "--master", self.master, *settings, str(script), *args]
        return self.start(command)

    def start(self, command: Sequence[str]) -> subprocess.Popen[str]:
        """Start a driver, whose group can be killed."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, env=self.environ, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    def executors(self) -> list[psutil.Process]:
        """Return the executors, those of the first worker first."""
        return [
            process
            for worker in self.workers
            for process in psutil.Process(worker.pid).children(recursive=True)
            if _is_executor(process)
        ]


SETTINGS = (
    "spark.cores.max=2",
    "spark.driver.bindAddress=127.0.0.1",
    "spark.driver.host=127.0.0.1",
    "spark.driver.memory=512m",
    "spark.executor.cores=1",
    "spark.executor.memory=512m",
    "spark.ui.enabled=false",
    "spark.ui.showConsoleProgress=false",
)


@contextmanager
def spark_cluster(folder: Path, **environ: str) -> Iterator[Cluster]:
    """Start a master and two workers with one core each, and end them after the block.

    ``environ`` are variables of the workers, which executors inherit, and of the drivers.
    """
    given = {
        **{name: os.environ[name] for name in ("JAVA_HOME",) if name in os.environ},
        "PATH": f"{Path(_program('spark-submit')).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        "SPARK_WORKER_DIR": str(folder / "work"),
        "SPARK_DAEMON_MEMORY": "256m",
        **environ,
    }
    started: list[subprocess.Popen[bytes]] = []
    try:
        log = folder / "master.log"
        started.append(_start("master.Master", log, given, "127.0.0.1", "--port", "0"))
        master = _told(log, r"Starting Spark master at (spark://\S+)")
        for number in (1, 2):
            log = folder / f"worker-{number}.log"
            size = ("--cores", "1", "--memory", "1g")
            words = ("--port", "0", *size, master)
            started.append(_start("worker.Worker", log, given, f"127.0.0.{number}", *words))
        for number in (1, 2):
            _told(folder / f"worker-{number}.log", "Successfully (registered) with master")
        yield Cluster(master, folder, given, tuple(started[1:]))
    finally:
        for daemon in started:
            _kill_all(daemon.pid)
            daemon.wait()


def _is_executor(process: psutil.Process) -> bool:
    try:
        return _EXECUTOR in " ".join(process.cmdline())
    except psutil.Error:
        # It has ended, or is about to.
        return False


def _program(name: str) -> str:
    [home] = importlib.util.find_spec("pyspark").submodule_search_locations  # type: ignore[union-attr, misc]
    return str(Path(home, "bin", name))


def _start(
    name: str, log: Path, environ: dict[str, str], host: str, *words: str
) -> subprocess.Popen[bytes]:
    command = [_program("spark-class"), f"org.apache.spark.deploy.{name}", "--host", host]
    with log.open("wb") as sink:
        return subprocess.Popen(
            [*command, "--webui-port", "0", *words], env=environ, stdout=sink, stderr=sink
        )


def _told(log: Path, pattern: str) -> str:
    """Wait for a line of a log, and return its group."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if match := re.search(pattern, log.read_text(errors="replace")):
            return match[1]
        time.sleep(0.1)
    raise TimeoutError(log.read_text(errors="replace")[-2000:])


def _kill_all(pid: int) -> None:
    """Kill a process and all that it started."""
    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return
    for child in [*process.children(recursive=True), process]:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
