"""Pace: as fast as a token allows and never faster, judged by the server that counts."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from benchmarks.processes import harvester, measure, server
from benchmarks.result import Limit, Result, Settings, Table
from benchmarks.workload import Load, Paced, busy, write_manifest

RATE = 25
ACCOUNTS = 4
"""As many as the connections can serve when each has all its requests in flight."""

LATENCY = 0.02
"""Seconds an answer takes at least; up to as much again is added by chance."""

BURSTS = (1, RATE)


def run(settings: Settings) -> Result:
    """Measure runs of ten seconds and more, begun gently and at full speed."""
    days = 400 if settings.quick else 500
    bursts = BURSTS[:1] if settings.quick else BURSTS
    found = [_paced(settings, days, burst) for burst in bursts]
    rows = tuple(
        (
            f"burst {burst}",
            f"{each['bound']:.1f}",
            f"{each['seconds']:.1f}",
            str(each["sliding"]),
            str(each["refused"]),
        )
        for burst, each in zip(bursts, found, strict=True)
    )
    title = f"Pace: {ACCOUNTS} accounts at {RATE} requests a second each"
    headers = ("", "bound s", "whole process s", "most in any second", "refused (45011)")
    return Result(
        "pace",
        (Table(title, headers, rows),),
        (
            Limit("most in any second", max(each["sliding"] for each in found), "", RATE, RATE),
            Limit("refused", sum(each["refused"] for each in found), "", 0, 0),
            Limit(
                "seconds beside the bound",
                max(each["seconds"] / each["bound"] for each in found),
                "x",
                1.05,
                1.1,
            ),
        ),
        {f"burst {burst}": each for burst, each in zip(bursts, found, strict=True)},
    )


def _paced(settings: Settings, days: int, burst: int) -> dict[str, Any]:
    with server("--rate", RATE, "--latency", LATENCY) as address:
        manifest = write_manifest(
            settings.folder / f"pace-{burst}",
            Load(address, busy(ACCOUNTS), days),
            Paced(RATE, burst, RATE),
        )
        usage = measure(harvester("run", manifest, "--progress", "none"))
        with urllib.request.urlopen(f"{address}/sandbox/counters") as response:
            counters = json.load(response)
    return {
        "bound": (days - burst) / RATE,
        "seconds": usage.wall,
        "sliding": max(worst["sliding"] for worst in counters["worst"].values()),
        "refused": counters["errcodes"].get("45011", 0),
    }
