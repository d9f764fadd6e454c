"""CPU per request of the whole ``harvester run``, beside a bare aiohttp loop.

The same requests to the same server process, contestants in turn, several rounds. What counts is
the ratio within a round: it survives a busy machine, and seconds do not.
"""

from __future__ import annotations

import itertools
import json
import shutil
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from benchmarks import processes
from benchmarks.processes import Usage, measure, program, server
from benchmarks.result import Limit, Result, Settings, Table
from benchmarks.workload import Load, busy, write_manifest

ACCOUNTS = 200
DAYS = 100
BARE, HARVESTER, ENGINEER = "bare aiohttp loop", "harvester run", "gather + pandas"


class Contestant(NamedTuple):
    """A command that fetches the load, and the same with nothing to do: its start-up.

    ``rows`` tells how many rows the first of them got.
    """

    name: str
    busy: list[str]
    idle: list[str]
    rows: Callable[[Usage], int]


class Round(NamedTuple):
    """The resources that a contestant took in one round."""

    busy: Usage
    idle: Usage

    @property
    def work(self) -> float:
        """CPU seconds without start-up."""
        return self.busy.cpu - self.idle.cpu


@dataclass(frozen=True, slots=True)
class Score:
    """A contestant's rounds, and the number of requests in each."""

    name: str
    requests: int
    rounds: list[Round]

    def ratio(self, bare: Score, *, whole: bool) -> float:
        """CPU beside the bare loop: the median over the rounds."""
        return statistics.median(
            mine.busy.cpu / theirs.busy.cpu if whole else mine.work / theirs.work
            for mine, theirs in zip(self.rounds, bare.rounds, strict=True)
        )

    def median(self, figure: Callable[[Round], float]) -> float:
        """The median of a figure over the rounds."""
        return statistics.median(map(figure, self.rounds))


def run(settings: Settings) -> Result:
    """Measure."""
    folder = settings.folder / "cpu"
    folder.mkdir()
    with server("--cached-answers", 80_000) as address:
        load = Load(address, busy(ACCOUNTS), DAYS)
        contestants = _contestants(folder, load, settings.engineer)
        measure(contestants[0].busy)  # fills the server's cache
        taken = _play(contestants, folder / "output", 1 if settings.quick else settings.rounds)
    return _result([Score(each.name, load.requests, taken[each.name]) for each in contestants])


def _contestants(folder: Path, load: Load, engineer: str) -> list[Contestant]:
    everything = load.write(folder / "load.json")
    nothing = replace(load, days=0).write(folder / "nothing.json")
    found = [
        Contestant(BARE, program("bare", everything), program("bare", nothing), _printed_rows),
        _harvest(folder, load),
    ]
    if _has_pandas(engineer):
        naive, target = [engineer, "-m", "benchmarks.programs.engineer"], str(folder / "rows")
        fetch, rest = [*naive, str(everything), target], [*naive, str(nothing), target]
        found.append(Contestant(ENGINEER, fetch, rest, _printed_rows))
    return found


def _harvest(folder: Path, load: Load) -> Contestant:
    record = folder / "record.json"
    manifest = write_manifest(folder, load)
    command = processes.harvester("run", manifest, "--progress", "none", "--summary", record)

    def rows(_: Usage) -> int:
        return int(json.loads(record.read_bytes())["rows"])

    # The second time it has nothing to do: by then the files know everything.
    return Contestant(HARVESTER, command, command, rows)


def _printed_rows(usage: Usage) -> int:
    return int(json.loads(usage.output)["rows"])


def _has_pandas(python: str) -> bool:
    probe = [python, "-c", "import pandas, pyarrow, aiohttp, orjson"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def _play(contestants: list[Contestant], output: Path, rounds: int) -> dict[str, list[Round]]:
    """All contestants in turn; another one begins each round."""
    taken: dict[str, list[Round]] = {each.name: [] for each in contestants}
    found: dict[str, int] = {}
    turns = itertools.cycle(contestants)
    for _ in range(rounds):
        for each in itertools.islice(turns, len(contestants)):
            shutil.rmtree(output, ignore_errors=True)
            fetched = measure(each.busy)
            found[each.name] = each.rows(fetched)
            taken[each.name].append(Round(fetched, measure(each.idle)))
        next(turns)
    if len(set(found.values())) != 1:
        raise RuntimeError(f"the contestants got different rows: {found}")
    return taken


def _result(scores: list[Score]) -> Result:
    bare, harvest = scores[0], scores[1]
    rows = [_row(score, bare) for score in scores]
    if len(scores) == 2:
        rows.append((ENGINEER, "pandas is not installed", *[""] * 6))
    whole, work = (harvest.ratio(bare, whole=each) for each in (True, False))
    limits = (
        Limit("CPU a request, start-up apart", work, "x bare", 1.15, 1.3),
        Limit("CPU of the whole process", whole, "x bare", 1.15, 1.3),
    )
    figures = {score.name: _figures(score, bare) for score in scores}
    headers = (
        "",
        "CPU µs a request",
        "x bare",
        "start-up CPU s",
        "whole process CPU s",
        "x bare",
        "requests/s",
        "peak MiB",
    )
    title = f"CPU: {bare.requests:,} hourly requests, {len(bare.rounds)} rounds, medians"
    return Result("cpu", (Table(title, headers, tuple(rows)),), limits, figures)


def _row(score: Score, bare: Score) -> tuple[str, ...]:
    seconds = score.median(lambda each: each.busy.wall - each.idle.wall)
    return (
        score.name,
        f"{score.median(lambda each: each.work) / score.requests * 1e6:.0f}",
        f"{score.ratio(bare, whole=False):.2f}",
        f"{score.median(lambda each: each.idle.cpu):.2f}",
        f"{score.median(lambda each: each.busy.cpu):.2f}",
        f"{score.ratio(bare, whole=True):.2f}",
        f"{score.requests / seconds:,.0f}",
        f"{score.median(lambda each: each.busy.rss):.0f}",
    )


def _figures(score: Score, bare: Score) -> dict[str, object]:
    return {
        "requests": score.requests,
        "ratio_work": score.ratio(bare, whole=False),
        "ratio_whole": score.ratio(bare, whole=True),
        "rounds": [
            {"busy": _without_output(each.busy), "idle": _without_output(each.idle)}
            for each in score.rounds
        ],
    }


def _without_output(usage: Usage) -> dict[str, float]:
    plain = usage._asdict()
    del plain["output"]
    return plain
