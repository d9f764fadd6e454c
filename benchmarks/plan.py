"""Planning for ten thousand accounts: with no coverage, and with complete coverage."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import Usage, harvester, measure, program
from benchmarks.result import Limit, Result, Settings, Table
from benchmarks.workload import Broad, appids, write_broad_manifest
from harvester.core.calendar import FIRST_DAY, parse_day

BOTH = ("interface_summary", "interface_summary_hour")
DAYS = 4_000
BEGIN, END = parse_day("2015-01-01"), parse_day("2024-12-31")
"""120 months."""


class Planned(NamedTuple):
    """Planning alone, and the command that does it; ``seconds`` leave start and imports out."""

    seconds: float
    alone: Usage
    command: Usage


def run(settings: Settings) -> Result:
    """Measure both."""
    many = tuple(itertools.islice(appids(), 1_000 if settings.quick else 10_000))
    unknown = _unknown(settings.folder / "unknown", many)
    known = _known(settings.folder / "known", many)
    rows = (
        _row(f"to the first window, {DAYS:,} days x 2 datasets", unknown, "plan"),
        _row("nothing to do, 120 months x 1 dataset", known, "run"),
    )
    headers = ("", "planning alone s", "peak MiB", "whole command", "s", "CPU s", "peak MiB")
    return Result(
        "plan",
        (Table(f"Plan: {len(many):,} accounts", headers, rows),),
        (
            Limit("to the first window", unknown.seconds, "s", 1, 1),
            Limit("whole `harvester plan`", unknown.command.wall, "s", 3),
            Limit("peak", max(unknown.alone.rss, unknown.command.rss), "MiB", 250, 250),
            Limit("nothing to do, decided", known.seconds, "s", 2, 2),
            Limit("nothing to do, whole `harvester run`", known.command.wall, "s", 2),
            Limit("peak of that", known.command.rss, "MiB", 250),
        ),
        {"unknown": _figures(unknown), "known": _figures(known)},
    )


def _unknown(folder: Path, many: tuple[str, ...]) -> Planned:
    broad = Broad(many, BOTH, FIRST_DAY, FIRST_DAY + DAYS - 1)
    manifest = write_broad_manifest(folder, broad)
    return _measure(folder, broad, harvester("plan", manifest))


def _known(folder: Path, many: tuple[str, ...]) -> Planned:
    broad = Broad(many, BOTH[1:], BEGIN, END)
    manifest = write_broad_manifest(folder, broad)
    measure(program("covered_tree", broad.write(folder / "broad.json"), folder / "output"))
    return _measure(folder, broad, harvester("run", manifest, "--progress", "none"))


def _measure(folder: Path, broad: Broad, command: list[str]) -> Planned:
    at = broad.write(folder / "broad.json")
    alone = measure(program("first_window", at, folder / "output"))
    return Planned(json.loads(alone.output)["seconds"], alone, measure(command))


def _row(name: str, planned: Planned, verb: str) -> tuple[str, ...]:
    return (
        name,
        f"{planned.seconds:.2f}",
        f"{planned.alone.rss:.0f}",
        f"harvester {verb}",
        f"{planned.command.wall:.2f}",
        f"{planned.command.cpu:.2f}",
        f"{planned.command.rss:.0f}",
    )


def _figures(planned: Planned) -> dict[str, float]:
    return {
        "seconds": planned.seconds,
        "rss": planned.alone.rss,
        "command_seconds": planned.command.wall,
        "command_cpu": planned.command.cpu,
        "command_rss": planned.command.rss,
    }
