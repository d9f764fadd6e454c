from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from harvester.core.calendar import parse_month
from harvester.core.config.settings import Output
from harvester.core.errors import StoreError, UsageError
from harvester.core.model import Partition
from harvester.storage import layout
from harvester.storage.backends import atomic_files, flock
from harvester.storage.backends.base import temp_path
from harvester.storage.layout import open_tree
from harvester.storage.state import account_cache
from tests.support.output_helpers import path_of, tree_at

MAY = parse_month("2026-05")


def touch(path: Path) -> Path:
    """An empty file, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_paths(tmp_path: Path) -> None:
    """A data file lies where the contract says, and nothing of ours ends like one."""
    tree = tree_at(tmp_path, 16)
    name = tree.name(Partition("interface_summary", MAY, 3))
    assert name == "interface_summary/ref_month=2026-05/part-0003-of-0016.parquet"
    assert temp_path(tree.store, name).is_relative_to(tmp_path / "_harvester/tmp")
    assert temp_path(tree.store, name).suffix == ".tmp"


def test_listing(tmp_path: Path) -> None:
    """The files of a dataset are listed newest month first, foreign ones passed over."""
    tree = tree_at(tmp_path, 2)
    wanted = [Partition("d", MAY - month, bucket) for month in range(3) for bucket in range(2)]
    for partition in wanted:
        touch(path_of(tree, partition))
    month = tmp_path / "d" / "ref_month=2026-05"
    for foreign in ("_SUCCESS", "part-0000.parquet", "part-00000-of-00002.parquet", "x.parquet"):
        touch(month / foreign)
    touch(tmp_path / "d" / "ref_month=2026-13" / "part-0000-of-0002.parquet")
    touch(tmp_path / "d" / "notes.txt")
    touch(tmp_path / "d" / "ref_month=2026-01")
    assert list(layout.partitions(tree, "d")) == wanted
    assert list(layout.partitions(tree, "d", [1])) == [each for each in wanted if each.bucket == 1]
    assert list(layout.partitions(tree, "other")) == []


def test_another_number_of_buckets_is_refused(tmp_path: Path) -> None:
    """A dataset made with another number of buckets is refused, and the message names both."""
    touch(path_of(tree_at(tmp_path, 4), Partition("d", MAY, 2)))
    with pytest.raises(UsageError, match="buckets: 4, not 1") as caught:
        list(layout.partitions(tree_at(tmp_path, 1), "d"))
    assert "buckets: 4" in caught.value.advice


def test_a_bucket_beyond_the_number_in_its_name(tmp_path: Path) -> None:
    """It is listed, so that a verification reports it, and not for those who ask for buckets."""
    touch(tmp_path / "d" / "ref_month=2026-05" / "part-0005-of-0004.parquet")
    tree = tree_at(tmp_path, 4)
    assert [each.bucket for each in layout.partitions(tree, "d")] == [5]
    assert layout.partitions(tree, "d", range(4)) == {}


def test_opening(tmp_path: Path) -> None:
    """A tree may be new unless it must exist, and is never a file; opening makes nothing."""
    root = tmp_path / "output"
    assert open_tree(Output(root, 4)) == tree_at(root, 4)
    assert not root.exists()
    with pytest.raises(UsageError, match="nothing was harvested"):
        open_tree(Output(root, must_exist=True))
    touch(root / "_harvester/runs/20260101T000000Z-abcdef.json")
    assert open_tree(Output(root, must_exist=True)) == tree_at(root)
    with pytest.raises(UsageError, match="not a folder"):
        open_tree(Output(touch(tmp_path / "file")))


@pytest.mark.parametrize("must_exist", [False, True])
@pytest.mark.parametrize("place", ["long" * 75, "closed/out", "file/out", "loop"])
def test_a_place_that_cannot_be(
    tmp_path: Path, closed: Path, place: str, *, must_exist: bool
) -> None:
    """Too long a name, a folder one may not enter, a file on the way: a mistake in the path."""
    touch(tmp_path / "file")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError) as caught:
        open_tree(Output(tmp_path / place, must_exist=must_exist))
    assert str(tmp_path / place) in caught.value.problem
    assert caught.value.advice


def test_a_failing_disk_is_no_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the medium is reported as such, and not as a usage error."""

    def fail(path: Path, **_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr(Path, "stat", fail)
    for look in (lambda: open_tree(Output(tmp_path)), lambda: tree_at(tmp_path).store.list("d")):
        with pytest.raises(StoreError, match="Input/output error"):
            look()


def test_temporary_files_are_removed_when_abandoned(tmp_path: Path) -> None:
    """Any cleanup removes temporary files, unless a process is writing them; others stay."""
    tree = tree_at(tmp_path, 4)
    dead = touch(tmp_path / "_harvester/tmp/_harvester.quota.7.tmp")
    foreign = touch(tmp_path / "_harvester/tmp/notes.txt")
    alive = tmp_path / "_harvester/tmp/platform.8.json.tmp"
    assert layout.clean_temp(tree_at(tmp_path / "new")) == 0
    with flock.in_progress(alive):
        assert layout.clean_temp(tree) == 1
        assert alive.exists()
        assert foreign.exists()
        assert not dead.exists()
    assert layout.clean_temp(tree) == 1
    assert not alive.exists()
    assert not flock.remove_if_abandoned(alive)


def test_a_side_file_is_marked_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cleanup in that moment does not remove its temporary file."""
    tree = tree_at(tmp_path)
    swept: list[int] = []
    real = atomic_files.replace_durably

    def settle(temp: Path, final: Path) -> None:
        swept.append(layout.clean_temp(tree))
        real(temp, final)

    monkeypatch.setattr(atomic_files, "replace_durably", settle)
    account_cache.write(tree, ["wx0000000000000001"])
    assert swept == [0]
    assert account_cache.read(tree) == ("wx0000000000000001",)
    assert list(tree.store.scratch.iterdir()) == []


def test_the_account_cache_may_hold_strings_that_are_no_appids(tmp_path: Path) -> None:
    """They are passed over, so every command can load the accounts."""
    tree = tree_at(tmp_path)
    account_cache.write(tree, ["WX0000000000000001", "wx0000000000000001", "../../x"])
    assert account_cache.read(tree) == ("wx0000000000000001",)


def test_without_file_locks_no_file_is_taken_for_abandoned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live process cannot mark its files there."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    tree = tree_at(tmp_path)
    account_cache.write(tree, ["wx0000000000000001"])
    left = touch(tmp_path / "_harvester/tmp/_harvester.quota.7.tmp")
    assert layout.clean_temp(tree) == 0
    assert left.exists()


def test_an_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be listed is an error, not an empty one."""

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    (tmp_path / "d").mkdir()
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(StoreError):
        list(layout.partitions(tree_at(tmp_path), "d"))
