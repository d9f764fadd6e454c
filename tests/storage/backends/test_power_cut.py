"""A power cut at any moment: what was promised is there, and the next run ends exact."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import month_of
from harvester.core.model import Partition
from harvester.storage import integrity_check, layout, raw_log
from harvester.storage.backends import atomic_files
from harvester.storage.layout import Tree
from harvester.storage.publish import publish, recover
from harvester.storage.raw_log import write_group
from harvester.tables.coverage import AccountDays
from harvester.tables.integrity import FileIdentity
from tests.support import power_cut
from tests.support.answers import HOURLY, MARCH, appid, of_day
from tests.support.doc_pages import ROOT
from tests.support.nights import by_night
from tests.support.output_helpers import ANY_TIME, coverage_of, path_of, rows_of, tree_at

MONTHS = (month_of(MARCH), month_of(MARCH) + 1)
Told = Callable[[int], None]


def live(tree: Tree, told: Told = lambda _: None) -> None:
    """Write as a run does: two groups, each durable before it counts, then two files.

    ``told`` hears the number of each day that was promised to be safe.
    """
    layout.clean_temp(tree)
    recover(tree, CATALOGUE, [0], print, now=lambda: math.inf)
    groups = []
    for number in (0, 1):
        days = [MARCH + number, MARCH + 31 + number]
        answers = [of_day(day, number + 1, account) for day in days for account in (1, 2)]
        groups.append(write_group(tree, 0, "run", answers))
        told(number)
        if number == 0:
            publish(
                tree,
                HOURLY,
                Partition(HOURLY.name, MONTHS[0], 0),
                groups,
                ANY_TIME,
            )
    for month in MONTHS:
        publish(tree, HOURLY, Partition(HOURLY.name, month, 0), groups, ANY_TIME)
    for group in groups:
        raw_log.delete(tree, group)


def harvested(tree: Tree) -> tuple[list[Any], dict[str, AccountDays]]:
    """Rows without their stamps, and coverage, of both months."""
    rows: list[Any] = []
    known: dict[str, AccountDays] = {}
    for partition in layout.partitions(tree, HOURLY.name):
        table = rows_of(tree, partition).select(["appid", "ref_date", "ref_hour", "callback_count"])
        rows += table.to_pylist()
        coverage = coverage_of(tree, partition)
        known |= {f"{name} {partition.month}": coverage.account(name) for name in coverage.appids}
    return rows, known


def trouble(tree: Tree, promised: set[int]) -> str:
    """The faults in the tree that a power cut left, once the next run has recovered it."""
    for partition in layout.partitions(tree, HOURLY.name):
        place = FileIdentity(HOURLY, partition.month, 0, 1)
        path, name = path_of(tree, partition), tree.name(partition)
        found = integrity_check.check_file(path, name, place, read_data=True)
        if found.defects:
            return f"{partition}: {found.defects[0]}"
    recover(tree, CATALOGUE, [0], print, now=lambda: math.inf)
    rows, _ = harvested(tree)
    there = {(row["appid"], row["callback_count"] - 1) for row in rows}
    lost = {(appid(account), number) for account in (1, 2) for number in promised} - there
    return f"lost: {sorted(lost)}" if lost else ""


@pytest.mark.parametrize("step", [4, *by_night([1])])
def test_every_state_that_a_power_cut_may_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """No name holds half a file, no promised answer is lost, and one more run makes it whole."""
    with monkeypatch.context() as patch:
        disk = power_cut.record(tmp_path / "whole", patch)
        live(tree_at(tmp_path / "whole"), disk.mark)
    want = harvested(tree_at(tmp_path / "whole"))
    states = power_cut.states(disk.changes)
    for number, (left, moment) in enumerate([*states.items()][::step]):
        tree = tree_at(tmp_path / str(number))
        power_cut.lay_out(left, tmp_path / str(number))
        promised = {day for at, day in disk.marks if at <= moment}
        where = f"before change {moment}: {disk.changes[moment : moment + 1]}"
        assert not trouble(tree, promised), where
        live(tree)
        assert harvested(tree) == want, where
        assert not tree.store.list("_harvester/raw"), where
        assert not tree.store.list("_harvester/tmp"), where
    assert len(states) > 60


@pytest.mark.parametrize("folders", [True, False], ids=["folders", "files"])
def test_what_is_not_flushed_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, folders: bool
) -> None:
    """The test above can fail: it does if folders, or files, are not flushed."""
    sync = atomic_files.sync

    def careless(path: Path) -> None:
        if path.is_dir() != folders:
            sync(path)

    with monkeypatch.context() as patch:
        patch.setattr(atomic_files, "sync", careless)
        disk = power_cut.record(tmp_path / "whole", patch)
        live(tree_at(tmp_path / "whole"), disk.mark)
    states = power_cut.states(disk.changes[:16])

    def is_troubled(number: int, left: Any, moment: int) -> bool:
        power_cut.lay_out(left, tmp_path / str(number))
        promised = {day for at, day in disk.marks if at <= moment}
        return bool(trouble(tree_at(tmp_path / str(number)), promised))

    assert any(is_troubled(number, *state) for number, state in enumerate(states.items()))


@pytest.mark.parametrize("others", [("b",), ()], ids=["one of two", "the last one"])
def test_a_file_that_was_deleted_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: tuple[str, ...]
) -> None:
    """A raw group that came back would be merged a second time, after newer answers."""
    store = tree_at(tmp_path).store
    with monkeypatch.context() as patch:
        disk = power_cut.record(tmp_path, patch)
        for name in ("a", *others):
            store.put(f"raw/{name}", b"data")
        written = len(disk.changes)
        store.delete("raw/a")
    left = {
        name
        for state, moment in power_cut.states(disk.changes).items()
        if moment == len(disk.changes) > written
        for name, _ in state
    }
    assert {name for name in left if not name.endswith(".tmp")} == {
        f"raw/{name}" for name in others
    }


STRACED = """
import sys
from pathlib import Path
from tests.storage.backends.test_power_cut import live
from tests.support.output_helpers import tree_at
live(tree_at(Path(sys.argv[1])))
"""
TRACED = "openat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat"


def test_the_system_is_asked_in_this_order(tmp_path: Path) -> None:
    """As the kernel sees it: written, flushed, renamed, folder flushed, for every file."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("there is no strace")
    probe = [strace, "-o", "/dev/null", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("this system does not allow tracing a process")
    log, root = tmp_path / "trace", tmp_path / "output"
    subprocess.run(
        [
            strace,
            "-f",
            "-y",
            "-e",
            f"trace={TRACED}",
            "-o",
            log,
            sys.executable,
            "-c",
            STRACED,
            root,
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    lines = [line for line in log.read_text().splitlines() if str(root) in line]
    renames = [place for place, line in enumerate(lines) if re.search(r"\brename\w*\(", line)]
    assert len(renames) >= 5
    for place in renames:
        temp, final = re.findall(rf'"({root}[^"]*)"', lines[place])
        before = [line for line in lines[:place] if f"<{temp}>" in line]
        written = [n for n, line in enumerate(before) if re.search(r"\bp?write(64)?\(", line)]
        flushed = [n for n, line in enumerate(before) if re.search(r"\bf(data)?sync\(", line)]
        assert written, lines[place]
        assert flushed[-1] > written[-1], lines[place]
        folder = rf"\bfsync\(\d+<{Path(final).parent}>"
        following = next(n for n, line in enumerate(lines[place:]) if re.search(folder, line))
        between = lines[place + 1 : place + following]
        assert not any(re.search(r"\b(rename\w*|unlink\w*)\(", line) for line in between)
    assert pq.ParquetFile(next(root.glob("*/*/*.parquet"))).metadata.num_rows
