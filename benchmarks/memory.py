"""Peak memory of a run, which must not grow with what is fetched."""

from __future__ import annotations

from benchmarks.processes import Usage, harvester, measure, server
from benchmarks.result import Limit, Result, Settings, Table
from benchmarks.workload import Load, busy, write_manifest

ACCOUNTS = 200


def run(settings: Settings) -> Result:
    """Measure, and measure ten times as many days of the same accounts."""
    with server() as address:
        loads = [Load(address, busy(ACCOUNTS), days) for days in (100, 1_000)]
        if settings.quick:
            del loads[1]
        taken = [_harvest(settings, load) for load in loads]
    rows = tuple(
        (f"{load.requests:,} requests", f"{usage.rss:.1f}", f"{usage.cpu:.1f}")
        for load, usage in zip(loads, taken, strict=True)
    )
    peaks = [usage.rss for usage in taken]
    limits = [Limit("peak", max(peaks), "MiB", 160, 160)]
    if not settings.quick:
        limits.append(Limit("ten times the requests", peaks[1] / peaks[0], "x", 1.1, 1.1))
    return Result(
        "memory",
        (Table(f"Memory: {ACCOUNTS} accounts", ("", "peak MiB", "CPU s"), rows),),
        tuple(limits),
        {str(load.requests): peak for load, peak in zip(loads, peaks, strict=True)},
    )


def _harvest(settings: Settings, load: Load) -> Usage:
    manifest = write_manifest(settings.folder / f"memory-{load.days}", load)
    return measure(harvester("run", manifest, "--progress", "none"))
