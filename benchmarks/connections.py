"""Price of connections that serve one account each, beside one pool that all accounts share.

Both are ``harvester run`` with the same requests to the same server, in turn. Over TLS a connection
costs a handshake and 0.3 MiB; the makespan shows what it costs that accounts wait for one another.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from benchmarks import processes
from benchmarks.processes import Usage, harvester, measure, program
from benchmarks.result import Limit, Result, Settings, Table
from benchmarks.workload import BEGIN, UNBOUND, Load, Paced, appids, busy, write_text
from harvester.core.calendar import day_text

OWN, SHARED = "a connection serves one account", "all accounts share one pool"


@dataclass(frozen=True, slots=True)
class Case:
    """A load, and how it is reached."""

    name: str
    accounts: int
    days: int
    tls: bool
    paced: Paced = UNBOUND
    latency: float = 0.0


DEFAULT = Paced(10, 1, 4)
"""The limits of a manifest that sets none. Without a rate each account would have four requests in
flight from the first moment on, and so four handshakes."""

PLAIN = Case("plain HTTP, 200 x 100", 200, 100, tls=False)
OVER_TLS = Case("TLS, 10/s, 10,000 x 15", 10_000, 15, tls=True, paced=DEFAULT)
AT_A_RATE = Case("10/s, 50 ms, 10,000 x 15", 10_000, 15, False, DEFAULT, 0.05)


def run(settings: Settings) -> Result:
    """Measure."""
    plain = _play(settings, PLAIN, 1 if settings.quick else settings.rounds)
    tls = _play(settings, OVER_TLS, 1 if settings.quick else 3)
    paced = _play(settings, AT_A_RATE, 1)
    rows = tuple(
        row
        for case, found in ((PLAIN, plain), (OVER_TLS, tls), (AT_A_RATE, paced))
        for row in _rows(case, found)
    )
    headers = ("", "", "CPU s", "whole process s", "peak MiB")
    return Result(
        "connections",
        (Table("Connections", headers, rows),),
        (
            Limit("CPU, plain HTTP", _ratio(plain, _cpu), "x shared", 1.05, 1.05),
            Limit("CPU, TLS", _ratio(tls, _cpu), "x shared", 1.75, 1.75),
            Limit("peak memory, TLS", max(use.rss for use in tls[OWN]), "MiB", 512, 512),
            Limit("makespan at 10/s", _ratio(paced, _wall), "x shared", 1.06, 1.06),
        ),
        {
            case.name: {name: [use[:3] for use in uses] for name, uses in found.items()}
            for case, found in ((PLAIN, plain), (OVER_TLS, tls), (AT_A_RATE, paced))
        },
    )


def _rows(case: Case, found: dict[str, list[Usage]]) -> Iterator[tuple[str, ...]]:
    for name, uses in found.items():
        cpu = statistics.median(use.cpu for use in uses)
        wall = statistics.median(use.wall for use in uses)
        rss = max(use.rss for use in uses)
        yield case.name, name, f"{cpu:.2f}", f"{wall:.1f}", f"{rss:.0f}"


def _ratio(found: dict[str, list[Usage]], figure: Callable[[Usage], float]) -> float:
    pairs = zip(found[OWN], found[SHARED], strict=True)
    return statistics.median(figure(own) / figure(shared) for own, shared in pairs)


def _cpu(usage: Usage) -> float:
    return usage.cpu


def _wall(usage: Usage) -> float:
    return usage.wall


def _play(settings: Settings, case: Case, rounds: int) -> dict[str, list[Usage]]:
    """Run both in turn, after a run that fills the server's cache."""
    found: dict[str, list[Usage]] = {OWN: [], SHARED: []}
    folder = settings.folder / f"connections-{case.accounts}-{case.paced.rate}-{case.tls}"
    with _server(case) as (address, ca_file):
        manifest = _manifest(folder, case, address, ca_file)
        arguments = ("run", manifest, "--progress", "none")
        commands = {OWN: harvester(*arguments), SHARED: program("one_pool", *arguments)}
        if not case.latency:
            measure(commands[SHARED])
        for turn in range(rounds):
            for name in (OWN, SHARED) if turn % 2 else (SHARED, OWN):
                shutil.rmtree(folder / "output", ignore_errors=True)
                found[name].append(measure(commands[name]))
    return found


@contextmanager
def _server(case: Case) -> Iterator[tuple[str, str]]:
    options = ["--latency", case.latency, *(["--tls"] if case.tls else [])]
    with processes.serving(program("tls_server", *options)) as process:
        yield process.readline().strip(), process.readline().strip()


def _first(count: int) -> tuple[str, ...]:
    return tuple(islice(appids(), count))


def _manifest(folder: Path, case: Case, address: str, ca_file: str) -> Path:
    accounts = busy if case is PLAIN else _first
    load = Load(address, accounts(case.accounts), case.days)
    paced = case.paced
    return write_text(
        folder,
        f"""\
api: {{base_url: "{address}", ca_file: "{ca_file}"}}
limits:
  per_token: {{rate: {paced.rate}/s, burst: {paced.burst}, concurrency: {paced.concurrency}}}
  connections: 100
jobs:
  - datasets: [interface_summary_hour]
    begin_date: {day_text(BEGIN)}
    end_date: {day_text(load.end)}
""",
        load.appids,
    )
