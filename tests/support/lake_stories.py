"""Random stories of an output and its tables in a lakehouse.

Real runs against the emulator, `--refetch`, `rewrite`, `forget` and repairs change the output;
exports, some of which are killed or have a run beside them, compaction and `--expire` change the
tables. After each export the tables hold what the files hold, and every version stays as it was.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.parquet as pq

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import Day, day_text, parse_day
from harvester.core.config.settings import Manifest
from harvester.manifest.resolve_credentials import CredentialReader
from harvester.runs.platform_accounts import PlatformAtHand
from harvester.runs.record.record import Record
from harvester.runs.run_log import RunLog
from harvester.runs.runtime import Project
from harvester.runs.stream import Stream
from harvester.sandbox.data import Row, expected_rows
from harvester.storage.backends.local import LocalStore
from harvester.storage.layout import CHANGES, Tree
from harvester.verbs import forget, rewrite, verify
from harvester.verbs.changes import ALL_CHANGES
from harvester.verbs.erasure import ErasureRequest
from harvester.verbs.lakehouse.copies import Copies
from harvester.verbs.lakehouse.export import Exported, export
from tests.support.lake_ducklake import DuckLakeReader
from tests.support.lake_iceberg import IcebergReader
from tests.support.lake_kills import DIED_COMMITTING, Zygote, export_raised_at
from tests.support.lake_readers import LAKE_TABLES, READERS, LakeReader, Rows, rows_of_output
from tests.support.run_harness import RunHarness, appid

FORMATS: dict[str, type[LakeReader]] = {
    **READERS,
    "iceberg": IcebergReader,
    "ducklake": DuckLakeReader,
}
"""Readers by format."""

DATASETS = ("interface_summary", "biz_summary")
COUNTED = {"interface_summary": "callback_count"}
SILENT = {appid(1), appid(101)}
"""Accounts without rows: they are in the tables beside the datasets alone."""


@dataclass
class Story:
    """An output, its tables in one format, and what each version held when it was made."""

    folder: Path
    to: str
    seed: int
    chance: random.Random = field(init=False)
    lab: RunHarness = field(init=False)
    reader: LakeReader = field(init=False)
    zygote: Zygote | None = None
    known: dict[tuple[str, str], Rows] = field(default_factory=dict)
    newest: dict[str, Rows] = field(default_factory=dict)
    needs: dict[tuple[str, str], set[Path]] = field(default_factory=dict)
    lost: set[tuple[str, str]] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    corrections: dict[str, int] = field(default_factory=dict)
    has_erased: bool = False
    has_gap: bool = False
    half_expired: bool = False
    is_committing: bool = False
    buckets: int = 1
    accounts: list[int] = field(init=False)
    trees: int = 0
    newcomers: int = 0

    def __post_init__(self) -> None:
        """Begin with an empty output."""
        self.chance = random.Random(f"{self.to} {self.seed}")
        self.accounts = [*range(1, self.chance.randrange(3, 13) + 1)]
        self.lake = self.folder / "lake"
        self.reader = FORMATS[self.to](self.lake)
        self.lab = RunHarness(
            self.folder / "0",
            begin="2026-03-20",
            end=None,
            today="2026-04-02",
            datasets=DATASETS,
            buckets=self.chance.choice([1, 2, 3]),
            source=self.rows,
        )

    def rows(self, dataset: str, account: str, day: Day) -> list[Row]:
        """Return the rows of the emulator: those of an account change with each correction."""
        found = [] if account in SILENT else expected_rows(dataset, account, day)
        more, name = self.corrections.get(account, 0), COUNTED.get(dataset)
        if name is None or not more:
            return found
        return [{**row, name: row[name] + more} for row in found]

    def play(self, steps: int) -> None:
        """Do something that many times, and compare versions with what they were meanwhile."""
        try:
            self.run()
            for number in range(1, steps + 1):
                self._act()
                if number % 10 == 0:
                    self.check_versions(2)
            self.export()
            self.check_versions(20)
        except BaseException as error:
            error.add_note(f"{self.to}, seed {self.seed}: {self.told}")
            raise
        finally:
            if self.zygote:
                self.zygote.close()

    def _act(self) -> None:
        doings = [
            *[self.run] * 4,
            *[self.refetch] * 3,
            *[self.export] * 4,
            *[self.killed_export] * 4,
            *[self.compact] * 2,
            self.export_beside_a_run,
            self.forget,
            self.forget_beginning,
            self.repair,
            self.rewrite,
            self.lose_history,
            self.expire,
        ]
        doing = self.chance.choice(doings)
        self.counts[doing.__name__] = self.counts.get(doing.__name__, 0) + 1
        self._tell(doing.__name__)
        doing()

    def _tell(self, words: str) -> None:
        self.told.append(words)

    # What changes the output.

    def run(self, **options: Any) -> None:
        """Run on a day that is the same or a later one."""
        today = parse_day(self.lab.today) + self.chance.choice([0, 1, 1, 1, 2, 5])
        self.lab.today = day_text(today)
        with self._accounts():
            self.lab.run(**options)

    def refetch(self) -> None:
        """Ask again for everything, after WeChat has corrected some accounts."""
        for number in self.chance.sample(self.accounts, self.chance.randrange(len(self.accounts))):
            self.corrections[appid(number)] = self.corrections.get(appid(number), 0) + 1
        self.run(refetch="all")

    def forget(self) -> None:
        """Forget an account that no manifest names any more, and another takes its place."""
        gone = self.chance.choice(self.accounts)
        self.accounts.remove(gone)
        self.newcomers += 1
        self.accounts.append(100 + self.newcomers)
        self._tell(f"of {gone}")
        self._erase(gone, None)
        self.erased.add(appid(gone))

    def forget_beginning(self) -> None:
        """Forget the days of all accounts before a day that the manifest begins with then."""
        begin = parse_day(self.lab.begin) + self.chance.choice([1, 5, 20])
        if begin < parse_day(self.lab.today) - 10:
            self.lab.begin = day_text(begin)
            for number in self.accounts:
                self._erase(number, begin)

    def _erase(self, number: int, before: Day | None) -> None:
        request = ErasureRequest(
            frozenset({appid(number)}), frozenset(CATALOGUE), before, everything=before is None
        )
        forget.erase(self.project(), request)
        self.has_erased = True

    def repair(self) -> None:
        """Damage a file, and repair the output."""
        found = sorted(
            path for name in DATASETS for path in (self.lab.root / name).rglob("*.parquet")
        )
        if found:
            path = self.chance.choice(found)
            path.write_bytes(b"PAR1") if self.chance.random() < 0.5 else path.unlink()
            verify.mended(self.project(), ALL_CHANGES, footers_only=False)

    def rewrite(self) -> None:
        """Make a tree with other buckets, and go on in it."""
        self.trees += 1
        place, old = self.folder / str(self.trees), self.lab.tree
        new = Tree(LocalStore(place), self.chance.choice([1, 2, 3]))
        rewrite.rewrite_tree(old, new, CATALOGUE, old=self._log(), new=self._log())
        self.lab.root, self.lab.buckets = place, new.buckets

    def lose_history(self) -> None:
        """Remove the changes, as if they were too old to be kept."""
        if self.chance.random() < 0.5:
            shutil.rmtree(self.lab.root / CHANGES, ignore_errors=True)
            self._tell("lost")
            self.has_gap = True

    # What changes the tables.

    def export(self, **options: Any) -> None:
        """Export, then compare the tables with the output."""
        done = export(**self._arguments(**options))
        self._check(done, {table: [self._output(table)] for table in LAKE_TABLES})
        if self.chance.random() < 0.5:
            before = self._newest()
            again = export(**self._arguments())
            assert self._newest() == before, "a version without news"
            assert not any(table.added or table.removed for table in again.tables)

    def killed_export(self) -> None:
        """Export once or twice until a step, then to the end."""
        for _ in range(self.chance.choice([1, 1, 2])):
            step = self.chance.randrange(1, 40)
            expire = self.chance.random() < 0.1
            is_forked = self.chance.random() < 0.15
            self._tell(f"step {step}{' expire' * expire}{' forked' * is_forked}")
            if is_forked:
                self.zygote = self.zygote or Zygote(self.to)
                kill = self.zygote.export
            else:
                kill = export_raised_at
            code = kill(step, **self._arguments(expire=expire))
            self.is_committing = self.is_committing or code == DIED_COMMITTING
            if expire:
                self._lose()
            self._learn({table: [self._output(table)] for table in LAKE_TABLES})
            if self.chance.random() < 0.2:
                self.compact()
        if self.chance.random() < 0.7:
            self.export()

    def _lose(self) -> None:
        """Give up older versions whose files an `--expire` that was killed has removed."""
        self.half_expired = True
        for table in LAKE_TABLES:
            for version in self.reader.versions(table)[:-1]:
                if not all(path.exists() for path in self.reader.files(table, version)):
                    self.lost.add((table, version))

    def export_beside_a_run(self) -> None:
        """Export while a run publishes after one of the copies."""
        left, real = self.chance.randrange(1, 12), Copies.copy
        contents = {table: [self._output(table)] for table in LAKE_TABLES}

        def copy(copies: Copies, source: str) -> Any:
            nonlocal left
            left -= 1
            made = real(copies, source)
            if not left:
                self.chance.choice([self.run, self.refetch, self.forget])()
            return made

        with mock.patch.object(Copies, "copy", copy):
            done = export(**self._arguments())
        for table, found in contents.items():
            found.append(self._output(table))
        self._check(done, contents)

    def compact(self) -> None:
        """Let the tool of the format merge files of a table."""
        table = self.chance.choice(LAKE_TABLES if self.chance.random() < 0.3 else DATASETS)
        if self.reader.versions(table):
            rows = self.reader.rows(table, self.reader.versions(table)[-1])
            self._tell(f"compact {table}")
            self.reader.compact(table)
            # DuckLake merges the files of older snapshots too.
            self.needs.clear()
            # Whether the version is of a killed export cannot be told: its copies may stay.
            self.half_expired = self.half_expired or self.is_committing
            # Writing all rows anew begins with none.
            self._learn({name: [rows, []] for name in LAKE_TABLES})

    def expire(self) -> None:
        """Export with `--expire`: no file has a byte of what was erased."""
        # What a killed one left of other writers' files in Iceberg tables stays.
        self.half_expired = self.half_expired and self.to == "iceberg"
        self.export(expire=True)
        self.has_erased = False
        for table in LAKE_TABLES:
            if versions := self.reader.versions(table):
                needed = self.reader.files(table, versions[-1])
                assert {*(self.lake / table).rglob("part*.parquet")} <= needed
        named = [path for path in self.lake.rglob("*") if path.is_file() and self._names(path)]
        assert not named, f"erased accounts in {named}"

    def _names(self, path: Path) -> bool:
        """Return whether a file has the name of an account that was erased."""
        text = path.read_bytes()
        if path.suffix == ".parquet":
            text += repr(pq.ParquetFile(path).read().to_pylist()).encode()
        text += "".join(self.reader.texts(path)).encode()
        return any(name.encode() in text for name in self.erased)

    # What must hold.

    def _check(self, done: Exported, now: dict[str, list[Rows]]) -> None:
        """Compare the newest versions with the output, and what is said of erased rows."""
        self.is_committing = False
        self._learn(now)
        newest = self._newest()
        for table in LAKE_TABLES:
            if table not in newest:
                assert [] in now[table], f"no table {table}"
                continue
            rows = self.known[table, newest[table]]
            assert rows in now[table], f"{table}: other rows than the output"
            readers = self.reader.others(table) if self.chance.random() < 0.5 else ()
            for others in readers:
                assert others == rows, f"{table}: other rows by another reader"
        self._check_files()
        # What was forgotten beside an export is told by the next one.
        if len(now[LAKE_TABLES[0]]) > 1:
            return
        holding = {table.name: table.holding for table in done.tables}
        for table, told in holding.items():
            named = {*" ".join(told).split()}
            for version in self._kept(table):
                if version not in named and self._has_erased(self.known[table, version]):
                    raise AssertionError(f"{table} {version} holds erased rows")
        # Where a part of the history is gone, a deletion may have been in it.
        is_possible = self.has_erased or self.has_gap
        assert is_possible or not any(holding.values()), f"nothing was erased: {holding}"

    def _learn(self, now: dict[str, list[Rows]]) -> None:
        """Remember new versions; each holds what the output held at the time."""
        for table in LAKE_TABLES:
            for version in self.reader.versions(table):
                if (table, version) not in self.known and (table, version) not in self.lost:
                    rows = self.reader.rows(table, version)
                    # A table may be made before it is filled, and expiry may repeat the newest.
                    before = self.newest.get(table, [])
                    is_right = rows in now[table] or rows == before
                    assert is_right, f"{table} {version}: other rows than the output"
                    self.known[table, version] = self.newest[table] = rows

    def check_versions(self, most: int) -> None:
        """Read some versions of each table again: each is as it was."""
        for table in LAKE_TABLES:
            versions = self._kept(table)
            for version in self.chance.sample(versions, min(most, len(versions))):
                rows = self.known.get((table, version))
                # One that a killed export or a second table's commit made is known too.
                assert rows is not None, f"{table} {version} was never seen"
                assert self.reader.rows(table, version) == rows, f"{table} {version} has changed"

    def _check_files(self) -> None:
        """Find copies that no version needs, and versions without their files."""
        for table in LAKE_TABLES:
            needed = set[Path]()
            for version in self._kept(table):
                if (table, version) not in self.needs:
                    self.needs[table, version] = self.reader.files(table, version)
                needed |= self.needs[table, version]
            missing = [path for path in needed if not path.exists()]
            assert not missing, f"{table}: missing {missing}"
            there = {
                path
                for path in (self.lake / table).rglob("*.parquet")
                if not path.relative_to(self.lake / table).parts[0].startswith("_")
            }
            # An `--expire` that was killed may leave files to the next one.
            is_right = self.half_expired or there <= needed
            assert is_right, f"{table}: needless {sorted(there - needed)}"
        assert not [*self.lake.glob("_harvester/export-*")], "a journal that stays"

    def _has_erased(self, rows: Rows) -> bool:
        return any(name in row for name in self.erased for row in rows)

    def _kept(self, table: str) -> list[str]:
        """Return the versions that can be read."""
        found = self.reader.versions(table)
        return [version for version in found if (table, version) not in self.lost]

    def _newest(self) -> dict[str, str]:
        found = {table: self.reader.versions(table) for table in LAKE_TABLES}
        return {table: versions[-1] for table, versions in found.items() if versions}

    def _output(self, table: str) -> Rows:
        return rows_of_output(self.lab.root, table, has_months=self.reader.has_months)

    def _arguments(self, **options: Any) -> dict[str, Any]:
        place = {"uri": str(self.lake), "to": self.to, "output": str(self.lab.root)}
        return {**place, "expire": False, **options}

    # The machinery of the output.

    def _accounts(self) -> Any:
        """Let the manifest of the harness name the accounts that there are."""
        names = tuple(map(appid, self.accounts))
        return mock.patch.object(RunHarness, "appids", property(lambda _: names))

    def project(self) -> Project:
        """Return the project of the manifest as it is now."""
        with self._accounts():
            manifest: Manifest = replace(self.lab.manifest(), datasets=dict(CATALOGUE))
        clock = self.lab.clock()
        platform = PlatformAtHand(clock, CredentialReader().platform)
        tree = self.lab.tree
        both = manifest, manifest
        return Project(*both, tree, clock, platform, lambda _: both, CredentialReader())

    def _log(self) -> RunLog:
        return RunLog(Stream(Record.begun(Path("jobs.yaml"), self.lab.now()), self.lab.now))


def seeds(text: str) -> Iterator[int]:
    """Yield the seeds of a text such as ``1,2,3``."""
    yield from (int(each) for each in text.split(",") if each)
