"""Several processes of one run, beside one process: wall, CPU and memory."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks import processes
from benchmarks.processes import program, serving
from benchmarks.result import Limit, Result, Settings, Table
from benchmarks.workload import UNBOUND, Load, busy, write_text
from harvester.core.calendar import day_text

ACCOUNTS = 200
DAYS = 300
BUCKETS = 8
LATENCY = 0.05
COUNTS = (1, 2)
_SAMPLE_SECONDS = 0.05


class Round(NamedTuple):
    """One run: wall and CPU seconds of all of its processes, and the peak of the largest in MiB."""

    wall: float
    cpu: float
    peak: float
    requests: int
    rows: int


def run(settings: Settings) -> Result:
    """Measure runs in one process and in two by turns, all on the cores of this machine.

    The server is on the same cores, so it is one that takes little. There are so many
    connections that one process is bound by its core, and not by the latency.
    """
    folder = settings.folder / "shared"
    rounds: dict[int, list[Round]] = {count: [] for count in COUNTS}
    lean = program("lean_server", "--latency", LATENCY)
    with serving(lean, core=None) as output:
        address = output.readline().strip()
        load = Load(address, busy(ACCOUNTS), 60 if settings.quick else DAYS)
        manifest = _manifest(folder, load)
        _harvest(manifest, 1)  # fills the server's memory
        for _ in range(1 if settings.quick else settings.rounds):
            for count in COUNTS:
                rounds[count].append(_harvest(manifest, count))
    if len({(each.requests, each.rows) for taken in rounds.values() for each in taken}) != 1:
        raise RuntimeError(f"the runs differ: {rounds}")
    return _result(load, rounds)


def _manifest(folder: Path, load: Load) -> Path:
    path = write_text(
        folder,
        f"""\
api: {{base_url: "{load.address}"}}
limits:
  per_token: {{rate: {UNBOUND.rate}/s, burst: {UNBOUND.burst}, concurrency: {UNBOUND.concurrency}}}
  connections: 800
jobs:
  - datasets: [interface_summary_hour]
    begin_date: 2022-01-01
    end_date: {day_text(load.end)}
""",
        load.appids,
    )
    text = path.read_text().replace("output: output\n", f"output: {{buckets: {BUCKETS}}}\n")
    path.write_text(text)
    return path


def _harvest(manifest: Path, count: int) -> Round:
    """Harvest anew, with `wait4` for the CPU of all processes and samples for their memory.

    A process counts for its parent once that has waited for it, and the forkserver does.
    """
    shutil.rmtree(manifest.parent / "output", ignore_errors=True)
    record = manifest.parent / "record.json"
    options = ["--progress", "none", "--processes", str(count), "--summary", str(record)]
    with tempfile.TemporaryFile("w+") as complaints:
        begun = time.perf_counter()
        process = subprocess.Popen(
            processes.harvester("run", manifest, *options),
            env=processes.environment(),
            stderr=complaints,
        )
        peaks: dict[int, float] = {}
        ended = threading.Event()
        sampler = threading.Thread(target=_sample, args=(process.pid, peaks, ended.is_set))
        sampler.start()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        ended.set()
        sampler.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            complaints.seek(0)
            raise RuntimeError(complaints.read())
    found = json.loads(record.read_bytes())
    cpu = used.ru_utime + used.ru_stime
    return Round(wall, cpu, max(peaks.values()), found["requests"], found["rows"])


def _sample(pid: int, peaks: dict[int, float], has_ended: Callable[[], bool]) -> None:
    """Note the peaks of a process and of all that come from it, as the kernel counts them."""
    while not has_ended():
        for each in _family(pid):
            status = Path(f"/proc/{each}/status")
            try:
                lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
            except OSError:
                continue
            if "VmHWM" in lines:
                peaks[each] = int(lines["VmHWM"].split()[0]) / 1024
        time.sleep(_SAMPLE_SECONDS)


def _family(pid: int) -> list[int]:
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        listed = []
    return [pid, *(inner for child in listed for inner in _family(int(child)))]


def _result(load: Load, rounds: dict[int, list[Round]]) -> Result:
    one, two = rounds[1], rounds[2]
    wall = statistics.median(b.wall / a.wall for a, b in zip(one, two, strict=True))
    cpu = statistics.median(b.cpu / a.cpu for a, b in zip(one, two, strict=True))
    peak = max(each.peak for each in two)
    rows = tuple(
        (
            str(count),
            *(f"{statistics.median(getattr(each, name) for each in taken):.1f}" for name in _SHOWN),
        )
        for count, taken in rounds.items()
    )
    title = (
        f"Processes: {load.requests:,} hourly requests, answers after {LATENCY * 1000:.0f} ms, "
        f"{len(one)} rounds, medians"
    )
    return Result(
        "shared",
        (Table(title, ("processes", "wall s", "CPU s", "largest peak MiB"), rows),),
        (
            Limit("wall of two processes", wall, "x one", 0.6, 0.75),
            Limit("CPU of two processes", cpu, "x one", 1.1, 1.15),
            Limit("peak of a process", peak, "MiB", 160, 160),
        ),
        {str(count): [each._asdict() for each in taken] for count, taken in rounds.items()},
    )


_SHOWN = ("wall", "cpu", "peak")
