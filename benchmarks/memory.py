"""Peak memory of a run, which must not grow with what is fetched, nor with answers' length."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.processes import Usage, harvester, measure, server
from benchmarks.result import Limit, Result, Settings, Table
from benchmarks.workload import Load, busy, write_manifest

ACCOUNTS = 200
SPAN = 366
LONG = 100
"""Accounts whose answers have a year each, all of them asked for at the same time."""


def run(settings: Settings) -> Result:
    """Measure, and measure ten times as many days of the same accounts."""
    with server() as address:
        loads = [Load(address, busy(ACCOUNTS), days) for days in (100, 1_000)]
        if settings.quick:
            del loads[1]
        taken = [_harvest(settings, load) for load in loads]
    long = _harvest_years(settings)
    rows = tuple(
        (f"{load.requests:,} requests", f"{usage.rss:.1f}", f"{usage.cpu:.1f}")
        for load, usage in zip(loads, taken, strict=True)
    )
    rows += ((f"{LONG} of {SPAN} days", f"{long.rss:.1f}", f"{long.cpu:.1f}"),)
    peaks = [usage.rss for usage in taken]
    limits = [
        Limit("peak", max(peaks), "MiB", 160, 160),
        Limit("peak with answers of a year", long.rss, "MiB", 200, 250),
    ]
    if not settings.quick:
        limits.append(Limit("ten times the requests", peaks[1] / peaks[0], "x", 1.1, 1.1))
    return Result(
        "memory",
        (Table(f"Memory: {ACCOUNTS} accounts", ("", "peak MiB", "CPU s"), rows),),
        tuple(limits),
        {str(load.requests): peak for load, peak in zip(loads, peaks, strict=True)}
        | {"long": long.rss},
    )


def _harvest(settings: Settings, load: Load) -> Usage:
    return _harvested(write_manifest(settings.folder / f"memory-{load.days}", load))


def _harvest_years(settings: Settings) -> Usage:
    """Harvest answers of a megabyte, with as many connections as accounts."""
    with server("--span", SPAN) as address:
        load = Load(address, busy(LONG), SPAN)
        manifest = write_manifest(settings.folder / "memory-long", load)
        manifest.write_text(
            f"{manifest.read_text()}datasets: {{interface_summary_hour: {{span: {SPAN}}}}}\n"
        )
        _harvested(manifest)
        # The server keeps its answers, so now they come all together.
        return _harvested(manifest)


def _harvested(manifest: Path) -> Usage:
    shutil.rmtree(manifest.parent / "output", ignore_errors=True)
    return measure(harvester("run", manifest, "--progress", "none"))
