"""Random histories of an output, and followers of its change feed.

Runs of overlapping shards, `forget`, repairs and rewrites are carried out on real files, step by
step and in any order, and may be killed at any change of the store. The followers look whenever
they like, and keep nothing but what they read and their cursor.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from harvester.catalogue import CATALOGUE
from harvester.core.config.settings import Manifest, Output
from harvester.core.errors import HistoryLost, LostRace
from harvester.core.model import Partition, Window, bucket_of
from harvester.core.results import Change
from harvester.manifest.resolve_credentials import CredentialReader
from harvester.runs.clock import CheckedClock
from harvester.runs.platform_accounts import PlatformAtHand
from harvester.runs.record.record import Record
from harvester.runs.run_log import RunLog, recorded
from harvester.runs.runtime import Project
from harvester.runs.stream import Stream
from harvester.storage import layout, publish, raw_log
from harvester.storage.backends.base import ANY, Source, Version
from harvester.storage.backends.local import LocalStore
from harvester.storage.layout import Tree
from harvester.storage.publish import TrustedTimes
from harvester.verbs import forget, rewrite, verify
from harvester.verbs.changes import ALL_CHANGES, changes_of
from harvester.verbs.erasure import ErasureRequest
from tests.support.answers import DAILY, LONG_AFTER, MARCH, answer, appid, row

ACCOUNTS = tuple(appid(number) for number in range(1, 7))
BEGINS = [MARCH + day for day in (0, 29, 45, 60, 75, 89)]
Rows = dict[tuple[str, str], tuple[Any, ...]]
"""Rows of a file by account and day."""


class Killed(BaseException):
    """The end of a process."""


class MortalStore(LocalStore):
    """A folder whose writer dies at its Nth change, before or after it.

    A ``racy`` one is as an object store: nothing excludes other writers, and a put has a condition.
    """

    def __init__(self, root: Path, life: int = 10**9, *, racy: bool = False) -> None:
        super().__init__(root)
        object.__setattr__(self, "_life", [life])
        object.__setattr__(self, "_racy", racy)

    def put(self, name: str, source: Source, over: Version | None = ANY) -> Version:
        """Put, under the condition if it is racy, or die."""
        if self.__dict__["_racy"] and over != ANY and self._version(name) != over:
            raise LostRace(name, "run again")
        made: list[Version] = []
        self._change(lambda: made.append(super(MortalStore, self).put(name, source, over)))
        return made[0]

    def append(self, name: str, data: bytes) -> Path:
        """Append, or die."""
        made: list[Path] = []
        self._change(lambda: made.append(super(MortalStore, self).append(name, data)))
        return made[0]

    def delete(self, name: str) -> None:
        """Delete, or die."""
        self._change(lambda: super(MortalStore, self).delete(name))

    def _change(self, change: Callable[[], object]) -> None:
        life = self.__dict__["_life"]
        life[0] -= 1
        if life[0] < 0:
            raise Killed
        change()
        if life[0] == 0:
            life[0] = -1
            raise Killed


@dataclass
class Follower:
    """A reader that rebuilds the rows from the feed; ``by_days`` reads what is named alone."""

    by_days: bool
    cursor: str | None = None
    rows: dict[str, Rows] = field(default_factory=dict)
    resets: int = 0

    def look(self, tree: Tree) -> None:
        """Read the feed, and what it names."""
        try:
            found, self.cursor = changes_of(tree, self.cursor)
        except HistoryLost as lost:
            self.resets += 1
            self.rows.clear()
            found, _ = changes_of(tree, "begin")
            self.cursor = lost.cursor
        for change in found:
            self._apply(tree, change)

    def _apply(self, tree: Tree, change: Change) -> None:
        now = rows_in(tree, change.path)
        if not self.by_days or change.op != "replaced":
            self.rows[change.path] = now
            return
        mine = self.rows.setdefault(change.path, {})
        for key in {*mine, *now}:
            if key[0] in change.appids and key[1] in change.days:
                if key in now:
                    mine[key] = now[key]
                else:
                    mine.pop(key, None)

    def content(self) -> dict[str, Rows]:
        """Return what it believes is in the files."""
        return {path: rows for path, rows in self.rows.items() if rows}


def rows_in(tree: Tree, name: str) -> Rows:
    """Return the rows of a file, none if it is gone."""
    path = tree.store.root / name  # type: ignore[attr-defined]  # a folder, here
    if not path.exists():
        return {}
    table = pq.ParquetFile(path).read().drop_columns(["_fetched_at", "_run_id"])
    return {
        (each["appid"], each["ref_date"].isoformat()): tuple(each.values())
        for each in table.to_pylist()
    }


def content(tree: Tree) -> dict[str, Rows]:
    """Return what is in the files."""
    names = [found.name for found in tree.store.list(DAILY.name)]
    return {name: rows for name in names if (rows := rows_in(tree, name))}


class History:
    """One output, its writers and its followers, driven by a source of chance."""

    def __init__(self, root: Path, seed: int, *, racy: bool) -> None:
        self.chance = random.Random(seed)
        self.racy = racy
        self.root = root
        self.now = float(LONG_AFTER)
        self.tree = Tree(MortalStore(root / "0"), self.chance.choice([1, 2, 4]), keep_history=20)
        self.followers = [Follower(by_days) for by_days in (False, True) for _ in range(2)]
        self.active: list[tuple[set[int], Iterator[None]]] = []
        # A rewrite names every file, and so hides what was not named before: most do without.
        self.is_rewritten = self.chance.random() < 0.2
        self.is_long = self.chance.random() < 0.2
        self.rewrites = 0
        self.log: list[str] = []

    def mortal(self, tree: Tree, longest: int = 40) -> Tree:
        """Return a tree whose writer dies soon, or with luck does not."""
        life = self.chance.choice([10**9, self.chance.randrange(1, longest)])
        return replace(tree, store=MortalStore(tree.store.root, life, racy=self.racy))  # type: ignore[attr-defined]

    def play(self, steps: int) -> None:
        """Do something that many times."""
        for _ in range(steps):
            self.now += 86_400.0 * self.chance.choice([0, 3]) if self.is_long else 60.0
            doings = [self.begin, self.step, self.step, self.step, self.step, self.look, self.look]
            doing = self.chance.choice([*doings, self.forget, self.repair, self.rewrite])
            self.log.append(doing.__name__)
            doing()

    def end(self) -> None:
        """Let all writers end, then a last run of all buckets, then a last look of each."""
        while self.active:
            self.step()
        # A last run that has nothing to ask: what dead runs left is all that it can report.
        for _ in self.run(self.tree, list(range(self.tree.buckets)), is_idle=True):
            pass
        for follower in self.followers:
            follower.look(self.tree)

    def begin(self) -> None:
        """Begin a run of some buckets; on a disk of those that no run holds."""
        busy = set[int]() if self.racy else {b for buckets, _ in self.active for b in buckets}
        free = [bucket for bucket in range(self.tree.buckets) if bucket not in busy]
        if free:
            own = sorted(self.chance.sample(free, self.chance.randrange(1, len(free) + 1)))
            self.active.append((set(own), self.run(self.mortal(self.tree), own)))

    def step(self) -> None:
        """Let one of the runs go on."""
        if self.active:
            at = self.chance.randrange(len(self.active))
            try:
                if self.chance.random() < 0.04:
                    raise Killed
                next(self.active[at][1])
            except (StopIteration, Killed, LostRace):
                del self.active[at]

    def run(self, tree: Tree, own: list[int], *, is_idle: bool = False) -> Iterator[None]:
        """Recover, then publish answers as a run does; pauses are where others may go on."""
        log = RunLog(Stream(Record.begun(Path("jobs.yaml"), self.now), lambda: self.now))
        trusted = TrustedTimes(lambda: self.now)
        with recorded(log):
            log.open(tree, own)
            yield
            layout.clean_temp(tree)
            publish.recover(tree, CATALOGUE, own, log.record_published, now=lambda: self.now)
            for bucket in [] if is_idle else own:
                if not (answers := self.answers(bucket, tree.buckets)):
                    continue
                group = raw_log.write_group(tree, bucket, log.run_id, answers)
                yield
                for dataset, month in sorted(group.months):
                    part = Partition(dataset, month, bucket)
                    done = publish.publish(tree, DAILY, part, [group], trusted)
                    yield
                    log.record_published(done)
                    yield
                raw_log.delete(tree, group)
                yield

    def answers(self, bucket: int, buckets: int) -> list[Any]:
        """Return answers of some accounts of a bucket about some days; many say what is known."""
        mine = [name for name in ACCOUNTS if bucket_of(name, buckets) == bucket]
        found = []
        for name in mine:
            if self.chance.random() < 0.4:
                begin = self.chance.choice(BEGINS)
                end = begin + self.chance.randrange(4)
                rows = [
                    row(day, number=self.chance.choice([1, 1, 2])) for day in range(begin, end + 1)
                ]
                window = Window(name, DAILY.name, begin, end)
                found.append(answer(window, rows, int(self.now), refetch=-1))
        return found

    def look(self) -> None:
        """Let one of the followers look."""
        self.chance.choice(self.followers).look(self.tree)

    def forget(self) -> None:
        """Forget an account, once no run is at work."""
        self._finish_runs()
        with suppress(Killed):
            gone, every = frozenset({self.chance.choice(ACCOUNTS)}), frozenset(CATALOGUE)
            request = ErasureRequest(gone, every, everything=True)
            forget.erase(self.project(self.mortal(self.tree, 14)), request)

    def repair(self) -> None:
        """Damage or remove a file and repair the output, once no run is at work."""
        self._finish_runs()
        files = self.tree.store.list(DAILY.name)
        if not files:
            return
        path = self.tree.store.root / self.chance.choice(files).name  # type: ignore[attr-defined]
        is_damaged = self.chance.random() < 0.5
        path.write_bytes(b"PAR1") if is_damaged else path.unlink()
        # A damaged file that stays would end the next run.
        for tree in (self.mortal(self.tree, 10), self.tree):
            with suppress(Killed):
                verify.mended(self.project(tree), ALL_CHANGES, footers_only=False)
            # A repair that died after it had moved the file has announced that.
            if is_damaged and not path.exists() and self.chance.random() < 0.5:
                break

    def rewrite(self) -> None:
        """Make a tree with other buckets, repeated until it is finished, and switch to it."""
        if not self.is_rewritten or self.chance.random() < 0.6:
            return
        self._finish_runs()
        self.rewrites += 1
        buckets = self.chance.choice([1, 2, 4])
        place = self.root / str(self.rewrites)
        for _ in range(10):
            new = self.mortal(Tree(MortalStore(place), buckets, keep_history=20))
            with suppress(Killed):
                rewrite.rewrite_tree(self.tree, new, CATALOGUE, old=self.books(), new=self.books())
                break
        else:
            new = Tree(MortalStore(place), buckets, keep_history=20)
            rewrite.rewrite_tree(self.tree, new, CATALOGUE, old=self.books(), new=self.books())
        self.tree = replace(new, store=MortalStore(place, racy=self.racy))

    def books(self) -> RunLog:
        """Return a log of a new run."""
        return RunLog(Stream(Record.begun(Path("jobs.yaml"), self.now), lambda: self.now))

    def _finish_runs(self) -> None:
        while self.active:
            self.step()

    def project(self, tree: Tree) -> Project:
        """Return a project without jobs."""
        output = Output(tree.store.root, tree.buckets)  # type: ignore[attr-defined]
        manifest = Manifest(Path("jobs.yaml"), (), (), output, dict(CATALOGUE))
        clock = CheckedClock(lambda: self.now, lambda: self.now, "boot")
        platform = PlatformAtHand(clock, CredentialReader().platform)
        both = manifest, manifest
        return Project(*both, tree, clock, platform, lambda _: both, CredentialReader())
