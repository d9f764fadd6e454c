"""Pace: as fast as a token allows and never faster, judged by the server that counts."""

from __future__ import annotations

import json
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.processes import cut_short, harvester, measure, program, server
from benchmarks.result import Limit, Result, Settings, Table
from benchmarks.workload import Load, Paced, busy, write_manifest

LATENCY = 0.02
"""Seconds an answer takes at least; up to as much again is added by chance."""

RATE, ACCOUNTS = 25, 4
"""As many accounts as the connections can serve when each has all its requests in flight."""

MANY, MANY_RATE, FAULTS = 50, 8, 0.1
"""The same with many accounts, and one call in ten failing."""

FAULTY = "50 accounts, 10% faults"
TURNS = 3
"""The median of so many counts: a window that fails four times in a row right at the end makes one
run in ten some seconds longer."""

RESTARTS, LIFE = 10, 4.0
"""So often a run is killed, after so many seconds."""

LANES = 10_000


def run(settings: Settings) -> Result:
    """Measure runs of ten seconds and more: gentle, at full speed, among faults, and killed."""
    quick = settings.quick
    few = Load("", busy(ACCOUNTS), 400 if quick else 500)
    many = Load("", busy(MANY), 90 if quick else 430)
    minutes = [
        _paced(settings, many, Paced(MANY_RATE, 1, 4), faults=FAULTS)
        for _ in range(1 if quick else TURNS)
    ]
    minutes.sort(key=_beside_the_bound)
    others = {
        "burst 1": _paced(settings, few, Paced(RATE, 1, RATE)),
        "50 accounts, killed again and again": _paced(
            settings, many, Paced(MANY_RATE, 1, 4), faults=FAULTS, restarts=RESTARTS
        ),
    }
    if not quick:
        others[f"burst {RATE}"] = _paced(settings, few, Paced(RATE, RATE, RATE))
    grant: dict[str, float] = json.loads(measure(program("grants", LANES)).output)
    found = {FAULTY: minutes[len(minutes) // 2], **others}
    title = f"Pace: {ACCOUNTS} accounts at {RATE} requests a second each, {MANY} at {MANY_RATE}"
    headers = ("", "bound s", "whole process s", "most in any second", "refused (45011)")
    lanes = tuple((name, f"{microseconds:.1f}") for name, microseconds in grant.items())
    return Result(
        "pace",
        (
            Table(title, headers, tuple(_row(name, each) for name, each in found.items())),
            Table(f"Schedule: {LANES:,} accounts", ("", "CPU µs"), lanes),
        ),
        (
            *_limits(minutes, [*others.values()], quick=quick),
            Limit(f"a grant among {LANES:,} lanes", grant["a grant"], "µs", 5, 5),
        ),
        {**found, "minutes": minutes, "grants": grant},
    )


def _row(name: str, found: dict[str, Any]) -> tuple[str, ...]:
    killed = found["restarts"]
    return (
        name,
        "" if killed else f"{found['bound']:.1f}",
        "" if killed else f"{found['seconds']:.1f}",
        f"{found['sliding']} of {found['rate']}",
        str(found["refused"]),
    )


def _limits(
    minutes: list[dict[str, Any]], others: list[dict[str, Any]], *, quick: bool
) -> tuple[Limit, ...]:
    every = [*minutes, *others]
    minute = _beside_the_bound(minutes[len(minutes) // 2])
    # A quick minute is a quarter of one.
    longest = 1.25 if quick else 1.05
    shorter = max(_beside_the_bound(each) for each in others if not each["restarts"])
    return (
        Limit("over the limit", max(each["over"] for each in every), "", 0, 0),
        Limit("refused", sum(each["refused"] for each in every), "", 0, 0),
        Limit("seconds beside the bound, a minute among faults", minute, "x", 1.05, longest),
        Limit("seconds beside the bound, shorter runs", shorter, "x", 1.05, 1.1),
    )


def _beside_the_bound(found: dict[str, Any]) -> float:
    return float(found["seconds"] / found["bound"])


def _paced(
    settings: Settings,
    load: Load,
    paced: Paced,
    *,
    faults: float = 0.0,
    restarts: int = 0,
) -> dict[str, Any]:
    """One run to its end, or many that are killed, and what the server counted meanwhile."""
    with server("--rate", paced.rate, "--latency", LATENCY, "--faults", faults) as address:
        manifest = write_manifest(
            Path(tempfile.mkdtemp(dir=settings.folder)),
            Load(address, load.appids, load.days),
            paced,
        )
        command = harvester("run", manifest, "--progress", "none")
        for _ in range(restarts):
            cut_short(command, LIFE)
        seconds = 0.0 if restarts else measure(command).wall
        with urllib.request.urlopen(f"{address}/sandbox/counters") as response:
            counters = json.load(response)
    sliding = max(counters["peak_load"].values())
    return {
        "rate": paced.rate,
        "restarts": restarts,
        # What failed had to be asked again, so the server's count is what had to be paced.
        "bound": (max(counters["calls"].values()) - paced.burst) / paced.rate,
        "seconds": seconds,
        "sliding": sliding,
        "over": max(0, sliding - paced.rate),
        "refused": counters["errcodes"].get("45011", 0),
    }
