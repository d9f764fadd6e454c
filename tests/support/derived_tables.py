"""Days as the tables beside the datasets have them, and as footers and manifests do."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import date_of, each_day, month_begin
from harvester.core.config.settings import Manifest
from harvester.core.dataset import Grain
from harvester.planning import wanted_days
from harvester.storage.layout import TABLES
from harvester.tables import coverage
from tests.support.run_harness import files_of

Days: TypeAlias = dict[tuple[str, str, dt.date], tuple[Any, ...]]
"""State, rows and whether it is wanted, by dataset, appid and day."""


def rows_of_table(root: Path, name: str) -> list[dict[str, Any]]:
    """Return the rows of all files of a table."""
    files = sorted((root / name).rglob("*.parquet"))
    return [row for path in files for row in pq.ParquetFile(path).read().to_pylist()]


def days_of_table(root: Path) -> Days:
    """Return what `coverage` says of each day; a period is its first day. None is told twice."""
    found: Days = {}
    for row in rows_of_table(root, "coverage"):
        is_period = CATALOGUE[row["dataset"]].grain in (Grain.WEEK, Grain.MONTH)
        length = 1 if is_period else (row["end_date"] - row["begin_date"]).days + 1
        for number in range(length):
            key = row["dataset"], row["appid"], row["begin_date"] + dt.timedelta(number)
            assert key not in found, key
            found[key] = row["state"], row["has_rows"], row["wanted"]
    return found


def days_expected(root: Path, now: float, *manifests: Manifest) -> Days:
    """Return what footers and manifests say of each day, a bit at a time."""
    found = _days_of_footers(root)
    for manifest in manifests:
        for dataset, of_dataset in wanted_days.wanted(manifest, now, paused_too=True).items():
            for appid, wanted in of_dataset.items():
                for key in ((dataset, appid, date_of(day)) for day in each_day(wanted)):
                    state, has_rows, _ = found.get(key, ("missing", None, True))
                    found[key] = state, has_rows, True
    return found


def _days_of_footers(root: Path) -> Days:
    """Return the days of the footers, none of them wanted.

    Old days that were empty once are final if all of an account come before its first row.
    """
    found: Days = {}
    old = defaultdict[tuple[str, str], list[dt.date]](list)
    for path in files_of(root):
        known = coverage.decode(pq.read_metadata(path).metadata[b"harvester.coverage"])
        begin, dataset = month_begin(known.month), path.parts[-3]
        for appid in known.appids:
            days = known.account(appid)
            for bit in (bit for bit in range(31) if days.covered >> bit & 1):
                found[dataset, appid, date_of(begin + bit)] = *_state(days, bit), False
                if days.once >> bit & 1:
                    old[dataset, appid].append(date_of(begin + bit))
    for whose, empty in old.items():
        full = [key[2] for key, each in found.items() if key[:2] == whose and each[1]]
        if max(empty) < min(full, default=dt.date.max):
            found |= {(*whose, day): ("final", False, False) for day in empty}
    return found


def _state(days: coverage.AccountDays, bit: int) -> tuple[str, bool | None]:
    is_answered = (days.final | days.provisional) >> bit & 1
    has_rows = bool(days.with_rows >> bit & 1) if is_answered else None
    if days.quarantined >> bit & 1:
        return "quarantined", has_rows
    return ("final" if days.final >> bit & 1 else "provisional"), has_rows


def versions(root: Path, tables: Iterable[str] = TABLES) -> dict[str, int]:
    """Return when each file of some tables was written."""
    paths = (path for name in tables for path in (root / name).rglob("*.parquet"))
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in paths}


def that_have(root: Path, *words: str) -> list[Path]:
    """Return the files of an output that have one of some words, decompressed too."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return [path for path in files if any(word in _text(path) for word in words)]


def _text(path: Path) -> str:
    if path.suffix == ".parquet":
        table = pq.ParquetFile(path).read()
        return f"{table.to_pylist()} {table.schema.metadata}"
    data = path.read_bytes()
    if path.suffix == ".zst":
        data = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
    return data.decode(errors="replace")
