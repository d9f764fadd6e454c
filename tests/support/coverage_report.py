"""The branches of the package that no test takes, and the shares that tests must take.

``python -m tests.support.coverage_report`` reads ``.coverage``, prints a table of the rooms and the
branches of the pure rooms that were not taken, each with its reason, and fails below a limit.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import coverage

from tests.support.import_graph import MODULES, PACKAGE, PURE, ROOT, Module

MIN_PURE = 98.0
"""Percent of the branches of the rooms without effects that tests must take, together."""

MIN_PACKAGE = 95.0
"""Percent of all branches of the package."""

REASONS: Mapping[tuple[str, str], str] = {
    ("scheduling/refusal_policy.py", "if rest:"): (
        "a window begins and ends with a day that is owed, so each half of it has one"
    ),
    ("tables/decode.py", "if counts:"): "every dataset of the catalogue has a counter",
    ("tables/decode.py", "if elements is None:"): (
        "the standard library has read every document by then that orjson refuses"
    ),
}
"""Reasons of branches in pure rooms that no test takes, by file and the line they begin at."""


class Branch(NamedTuple):
    """A branch that was not taken: its file below the package, its line, and the line's text."""

    file: str
    line: int
    text: str
    to: int

    def __str__(self) -> str:
        target = f"line {self.to}" if self.to > 0 else "the end"
        reason = REASONS.get((self.file, self.text), "no reason is known")
        return f"{self.file}:{self.line} to {target}: {self.text}\n    {reason}"


class Room(NamedTuple):
    """The branches of a room: how many there are and were taken, and those that were not."""

    branches: int
    taken: int
    missing: tuple[Branch, ...]

    @property
    def percent(self) -> float:
        """The share of the branches that were taken; 100 without any branch."""
        return 100.0 * self.taken / self.branches if self.branches else 100.0


def measured(files: Mapping[str, Any]) -> dict[str, Room]:
    """Return the rooms by name, from the files of a report in coverage's JSON."""
    found: defaultdict[str, list[Room]] = defaultdict(list)
    for module in MODULES:
        found[module.room].append(_branches_of(module, files[f"harvester/{module.file}"]))
    return {name: together(parts) for name, parts in found.items()}


def _branches_of(module: Module, report: Mapping[str, Any]) -> Room:
    lines, summary = module.text.splitlines(), report["summary"]
    missing = tuple(
        Branch(module.file, line, lines[line - 1].strip(), to)
        for line, to in report["missing_branches"]
    )
    return Room(summary["num_branches"], summary["covered_branches"], missing)


def together(rooms: Iterable[Room]) -> Room:
    """Return rooms as one."""
    parts = list(rooms)
    missing = chain.from_iterable(part.missing for part in parts)
    taken = sum(part.taken for part in parts)
    return Room(sum(part.branches for part in parts), taken, tuple(missing))


def faults(rooms: Mapping[str, Room]) -> Iterator[str]:
    """Yield a line for each limit that is not kept."""
    pure = together(room for name, room in rooms.items() if name in PURE)
    for what, found, least in (
        ("the pure rooms", pure, MIN_PURE),
        ("the package", together(rooms.values()), MIN_PACKAGE),
    ):
        if found.percent < least:
            yield f"{found.percent:.2f}% of the branches of {what} are taken, less than {least:g}%"


def table(rooms: Mapping[str, Room]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield f"{'room':14} {'branches':>8} {'taken':>8}"
    pure = {name: room for name, room in rooms.items() if name in PURE}
    rows = {**rooms, "pure rooms": together(pure.values()), "package": together(rooms.values())}
    for name, room in rows.items():
        yield f"{name:14} {room.branches:8,} {room.percent:7.2f}%"
    yield "branches of pure rooms that no test takes:"
    for room in pure.values():
        yield from map(str, room.missing)


def _files() -> Mapping[str, Any]:
    """Return the files of the working directory's measurement, as in coverage's JSON."""
    data = coverage.Coverage(config_file=str(ROOT / "pyproject.toml"))
    data.load()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        # Tests import copies of the package that are gone by now.
        data.json_report(outfile=str(report), include=[f"{PACKAGE}/*"])
        files: Mapping[str, Any] = json.loads(report.read_text("utf-8"))["files"]
    return files


if __name__ == "__main__":
    found = measured(_files())
    print("\n".join(table(found)))  # noqa: T201 - its output is what it prints
    broken = list(faults(found))
    sys.exit("\n".join(broken) or 0)
