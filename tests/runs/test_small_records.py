"""Side files stay small beside the data, and `status` reads as little as on its first day."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harvester.core.calendar import instant, parse_day
from harvester.core.config.settings import Output
from harvester.readers.output import Output as ReadOutput
from harvester.readers.output_place import OutputPlace
from harvester.storage.backends.base import Blob, FileInfo, Store, read_bytes
from harvester.storage.layout import RUNS, Tree, open_tree
from harvester.storage.state.record_folding import DAYS
from harvester.verbs.changes import changes_of
from harvester.verbs.status import LAST_RUNS, survey
from tests.support.long_history import RUNS_A_DAY, LongHistory, sizes
from tests.support.output_helpers import tree_at

BEGIN = parse_day("2025-11-05")
MOST = 1.2
"""Times the work of the first day that `status` may do on the last."""


class CountedStore:
    """A store that counts the files and the bytes that are read of it, and its listings."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.files = self.bytes = self.listings = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def list(self, folder: str) -> list[FileInfo]:
        """List, and count that."""
        self.listings += 1
        return self._store.list(folder)

    def get(self, name: str, *length: int) -> Blob | None:
        """Read, and count the bytes."""
        found = self._store.get(name, *length)
        self.files, self.bytes = self.files + 1, self.bytes + len(found.data if found else b"")
        return found

    def get_many(self, found: Iterable[FileInfo], tail: int = 0) -> Iterator[bytes | None]:
        """Read files or their ends, and count their bytes."""
        for data in self._store.get_many(found, tail):
            self.files, self.bytes = self.files + 1, self.bytes + len(data or b"")
            yield data


@pytest.fixture(autouse=True)
def _no_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def work_of_status(history: LongHistory, tree: Tree) -> tuple[CountedStore, object]:
    """Return what `status` reads on the morning after the last day, and what it says but runs."""
    counted = CountedStore(tree.store)
    now = instant(history.last + 1, RUNS_A_DAY[-1] + 60)
    manifest = history.manifest(Output(Path()))
    found = survey(manifest, replace(tree, store=counted), now)
    return counted, replace(found, runs=())


def seconds(work: Callable[[], object]) -> float:
    """Return the least CPU time of several tries."""
    taken = []
    for _ in range(7):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return min(taken)


def assert_little_work(history: LongHistory, first: Tree, last: Tree) -> None:
    """Compare `status` over the same data with the runs of one day and with those of all."""
    (before, said), (after, told) = (work_of_status(history, tree) for tree in (first, last))
    assert told == said
    assert after.listings <= before.listings
    # On its first day there are fewer runs than it shows.
    assert after.files <= MOST * before.files + LAST_RUNS
    assert after.bytes <= MOST * before.bytes + LAST_RUNS * longest_record(last)


def longest_record(tree: Tree) -> int:
    """Return the bytes of the longest record."""
    return max(file.size for file in tree.store.list(RUNS) if file.name.endswith(".json"))


def side_files(tree: Tree) -> int:
    """Return the bytes of all side files."""
    return sum(size for kind, size in sizes(tree).items() if kind != "data")


def test_many_more_runs_cost_what_few_records_take(tmp_path: Path) -> None:
    """The newest days have whole records, and all before them is folded; no run is lost."""
    history = LongHistory(BEGIN, 6 * DAYS, 10)
    tree, half = tree_at(tmp_path / "all"), history.begin + 3 * DAYS
    history.publish_all(tree)
    history.quarantine_some(tree)
    shutil.copytree(tmp_path / "all", tmp_path / "first")
    history.live(tree, history.begin, half - 1)
    records = [file.size for file in tree.store.list(RUNS) if file.name.endswith(".json")]
    before = side_files(tree) - sum(records)
    history.live(tree, half, history.last)
    left = [file.size for file in tree.store.list(RUNS) if file.name.endswith(".json")]
    assert len(left) <= 4 * DAYS + 2
    assert side_files(tree) - sum(left) - before < 4 * max(records)
    assert ReadOutput("", OutputPlace(""), tree.store).runs().num_rows == 2 * history.days
    first = tree_at(tmp_path / "first")
    history.live(first, history.last, history.last)
    assert_little_work(history, first, tree)


@pytest.mark.slow
def test_four_hundred_days_of_three_hundred_accounts(tmp_path: Path, s3_output: Output) -> None:
    """Of eight datasets, two runs a day: at most a tenth of the data, on both backends.

    The first and the last weeks are lived in the object store, the others on the disk.
    """
    history = LongHistory(BEGIN, 400, 300)
    tree, cut = tree_at(tmp_path / "all"), history.last - 3 * DAYS
    history.publish_all(tree)
    history.quarantine_some(tree)
    shutil.copytree(tmp_path / "all", tmp_path / "first")
    history.live(tree, history.begin, cut)
    cursor = changes_of(tree)[1]
    stored = open_tree(s3_output)
    for file in tree.store.list(""):
        stored.store.put(file.name, read_bytes(tree.store, file.name, file.size) or b"")
    first = tree_at(tmp_path / "first")
    history.live(first, history.last, history.last)
    for place in (tree, stored):
        history.live(place, cut + 1, history.last)
        assert side_files(place) <= 0.1 * sizes(place)["data"], sizes(place)
        assert ReadOutput("", OutputPlace(""), place.store).runs().num_rows == 2 * history.days
        assert changes_of(place, cursor)[0]
        assert_little_work(history, first, place)
    taken = [seconds(lambda each=each: work_of_status(history, each)) for each in (first, tree)]  # type: ignore[misc]
    assert taken[1] <= MOST * taken[0]
