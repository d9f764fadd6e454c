"""Exports of a small output, and what its files hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import Day, day_text
from harvester.manifest.resolve_credentials import CredentialReader
from harvester.runs.platform_accounts import PlatformAtHand
from harvester.runs.runtime import Project
from harvester.sandbox.data import Row, expected_rows
from harvester.verbs.arguments import selection
from harvester.verbs.changes import ALL_CHANGES
from harvester.verbs.erasure import ErasureRequest
from harvester.verbs.forget import erase
from harvester.verbs.lakehouse.export import Exported, ExportedTable, export
from harvester.verbs.verify import mended
from tests.support.run_harness import DAILY, RunHarness

__all__ = ["DAILY", "Lakeside"]


class Lakeside:
    """An output of six accounts in two buckets and two months, with tables beside it."""

    def __init__(self, root: Path) -> None:
        self._replaced = set[str]()
        self.harness = RunHarness(
            root / "output",
            accounts=6,
            buckets=2,
            begin="2026-03-30",
            end="2026-04-02",
            source=self._source,
        )
        self.place = root / "lake"

    def _source(self, dataset: str, account: str, day: Day) -> list[Row]:
        """Return the rows of WeChat, with other counts of a day that was replaced."""
        rows = [dict(row) for row in expected_rows(dataset, account, day)]
        is_replaced = dataset == DAILY and day_text(day) in self._replaced
        return [{**row, "callback_count": 77_777} for row in rows] if is_replaced else rows

    @property
    def output(self) -> Path:
        """The folder of the output."""
        return self.harness.root

    def export(self, to: str = "delta", **options: Any) -> Exported:
        """Export once. The options may have those that select."""
        names = ("accounts", "datasets", "jobs", "begin_date", "end_date")
        chosen = selection(*(options.pop(name, None) for name in names))
        options = {"to": to, "output": self.output, "chosen": chosen, **options}
        return export(self.place, **options)

    def table(self, name: str = DAILY, to: str = "delta", **options: Any) -> ExportedTable:
        """Export once; return what became of a table."""
        return next(each for each in self.export(to, **options).tables if each.name == name)

    def rows(self, name: str = DAILY) -> list[dict[str, Any]]:
        """Return the rows that the output's files have, without the month of the path."""
        files = sorted((self.output / name).rglob("*.parquet"))
        return in_order(pa.concat_tables(pq.ParquetFile(file).read() for file in files))

    def rows_of_copies(self, name: str = DAILY) -> list[dict[str, Any]]:
        """Return the rows that are below the folder of a table."""
        files = [self.place / name / copy for copy in self.copies(name)]
        return in_order(pa.concat_tables(pq.ParquetFile(file).read() for file in files))

    def forget_last(self) -> str:
        """Delete the last account for good; return its appid."""
        gone = self.harness.appids[-1]
        self.harness.accounts -= 1
        request = ErasureRequest(frozenset({gone}), frozenset(CATALOGUE), everything=True)
        erase(self._project(), request)
        return gone

    def repair(self) -> None:
        """Repair what is damaged or missing in the output."""
        mended(self._project(), ALL_CHANGES, footers_only=False)

    def _project(self) -> Project:
        """Return the project of the manifest as it is now."""
        clock, manifest, credentials = (
            self.harness.clock(),
            self.harness.manifest(),
            CredentialReader(),
        )
        platform = PlatformAtHand(clock, credentials.platform)
        place = self.harness.tree, clock, platform
        return Project(manifest, manifest, *place, lambda _: (manifest, manifest), credentials)

    def replace_rows(self, day: str) -> None:
        """Let WeChat count otherwise on a day, and ask for it again."""
        self._replaced.add(day)
        span = self.harness.begin, self.harness.end
        self.harness.begin, self.harness.end = day, day
        self.harness.run(refetch="all")
        self.harness.begin, self.harness.end = span

    def copies(self, name: str = DAILY) -> set[str]:
        """Return the data files below the folder of a table."""
        folder = self.place / name
        found = (str(path.relative_to(folder)) for path in folder.rglob("*.parquet"))
        return {path for path in found if not path.startswith("_delta_log")}


def in_order(table: pa.Table) -> list[dict[str, Any]]:
    """Return rows in one order, whatever the order of the files is."""
    return sorted(table.to_pylist(), key=repr)
