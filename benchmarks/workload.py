"""The workload: accounts with traffic at every hour, and the manifests that ask for them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from harvester.core.calendar import Day, date_of, day_text, parse_day
from harvester.core.dataset import Dataset, Grain
from harvester.sandbox.data.account import profile_of

BEGIN = parse_day("2022-01-01")
"""The first day of every load. Any day will do that has long been settled."""

HOURLY = "/datacube/getinterfacesummaryhour"

_MONDAY = 0

_BUSY = 1024 << 13
"""An account of 8,192 callbacks a day (in 1024ths) has 24 hourly rows on each of them."""


@dataclass(frozen=True, slots=True)
class Load:
    """Hourly windows of one day each: every account, ``days`` days from BEGIN on."""

    address: str
    appids: tuple[str, ...]
    days: int

    @property
    def requests(self) -> int:
        """The number of data calls that it takes."""
        return len(self.appids) * self.days

    @property
    def end(self) -> Day:
        """The last day."""
        return BEGIN + self.days - 1

    def write(self, path: Path) -> Path:
        """Keep it where a program finds it."""
        path.write_text(json.dumps(asdict(self)))
        return path


def read_load(path: Path) -> Load:
    """The load that `Load.write` kept."""
    plain = json.loads(path.read_bytes())
    return Load(plain["address"], tuple(plain["appids"]), plain["days"])


def bodies(load: Load) -> Iterator[tuple[str, bytes]]:
    """The appid and the body of every data call, newest day first."""
    for day in range(load.end, BEGIN - 1, -1):
        body = f'{{"begin_date":"{day_text(day)}","end_date":"{day_text(day)}"}}'.encode()
        for appid in load.appids:
            yield appid, body


def appids() -> Iterator[str]:
    """Every appid there could be, in order."""
    return (f"wx{number:016x}" for number in itertools.count(1))


def busy(count: int) -> tuple[str, ...]:
    """The first accounts with a row for every hour, which makes answers of 2.9 KB."""
    found = (appid for appid in appids() if profile_of(appid).daily >= _BUSY)
    return tuple(itertools.islice(found, count))


@dataclass(frozen=True, slots=True)
class Paced:
    """The limits of a manifest; by default so wide that nothing but the CPU can bind."""

    rate: int = 999_999
    burst: int = 1_000
    concurrency: int = 4


UNBOUND = Paced()


def write_manifest(folder: Path, load: Load, paced: Paced = UNBOUND) -> Path:
    """A manifest that asks for the load and puts it under the same folder."""
    return write_text(
        folder,
        f"""\
api: {{base_url: "{load.address}"}}
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


def write_text(folder: Path, text: str, accounts: tuple[str, ...]) -> Path:
    """A manifest of these accounts, whose secret is in BENCHMARK_SECRET; the text says the rest."""
    folder.mkdir(parents=True, exist_ok=True)
    table = "\n".join(["appid,name", *(f"{appid},Account {appid[2:]}" for appid in accounts)])
    (folder / "accounts.csv").write_text(f"{table}\n")
    head = 'defaults: {credential: {secret: "${BENCHMARK_SECRET}"}}\naccounts_file: accounts.csv\n'
    path = folder / "jobs.yaml"
    path.write_text(f"version: 1\n{head}output: output\n{text}")
    return path


@dataclass(frozen=True, slots=True)
class Broad:
    """So many accounts, each with the same days of the same datasets, to be planned only."""

    appids: tuple[str, ...]
    datasets: tuple[str, ...]
    begin: Day
    end: Day

    def write(self, path: Path) -> Path:
        """Keep it where a program finds it."""
        path.write_text(json.dumps(asdict(self)))
        return path


def read_broad(path: Path) -> Broad:
    """Read the workload that `Broad.write` kept."""
    plain = json.loads(path.read_bytes())
    plain["appids"], plain["datasets"] = tuple(plain["appids"]), tuple(plain["datasets"])
    return Broad(**plain)


def write_broad_manifest(folder: Path, broad: Broad) -> Path:
    """The manifest that asks for it."""
    return write_text(
        folder,
        f"""\
jobs:
  - datasets: [{", ".join(broad.datasets)}]
    begin_date: {day_text(broad.begin)}
    end_date: {day_text(broad.end)}
""",
        broad.appids,
    )


@dataclass(frozen=True, slots=True)
class Year:
    """Every live dataset of these accounts, from ``begin`` to ``end``."""

    address: str
    appids: tuple[str, ...]
    begin: Day
    end: Day

    def days(self, dataset: Dataset) -> list[Day]:
        """The days that a dataset has rows of: all, or only Mondays or firsts of the month."""
        days = range(max(self.begin, dataset.first_day), self.end + 1)
        if dataset.grain is Grain.WEEK:
            return [day for day in days if date_of(day).weekday() == _MONDAY]
        if dataset.grain is Grain.MONTH:
            return [day for day in days if date_of(day).day == 1]
        return list(days)

    def write(self, path: Path) -> Path:
        """Keep it where a program finds it."""
        path.write_text(json.dumps(asdict(self)))
        return path


def read_year(path: Path) -> Year:
    """Read the workload that `Year.write` kept."""
    plain = json.loads(path.read_bytes())
    return Year(plain["address"], tuple(plain["appids"]), plain["begin"], plain["end"])


def write_year_manifest(folder: Path, year: Year) -> Path:
    """The manifest that asks for it, under limits so wide that nothing but the CPU can bind."""
    return write_text(
        folder,
        f"""\
api: {{base_url: "{year.address}"}}
limits:
  per_token: {{rate: {UNBOUND.rate}/s, burst: {UNBOUND.burst}, concurrency: {UNBOUND.concurrency}}}
  connections: 100
jobs:
  - datasets: all
    begin_date: {day_text(year.begin)}
    end_date: {day_text(year.end)}
""",
        year.appids,
    )
