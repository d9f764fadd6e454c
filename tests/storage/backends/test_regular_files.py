from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harvester.core.errors import Busy, UsageError
from harvester.storage import arrow_files
from harvester.storage.backends import flock, regular_files
from harvester.storage.backends.claims import Wait
from harvester.storage.backends.elapsed import boot_seconds
from tests.support.claims import claim


def link(path: Path) -> None:
    """Make a link to a file with contents."""
    target = path.with_name("target")
    target.write_bytes(b"precious")
    path.symlink_to(target)


def dangling(path: Path) -> None:
    """Make a link to nothing."""
    path.symlink_to("nothing")


def loop(path: Path) -> None:
    """Make a link to itself."""
    path.symlink_to(path.name)


def listen(path: Path) -> None:
    """Make a socket."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


def open_descriptors() -> int:
    """Return the number of open descriptors of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


PLANTS = [
    pytest.param(link, "a symbolic link", id="link"),
    pytest.param(dangling, "a symbolic link", id="dangling link"),
    pytest.param(loop, "a symbolic link", id="link to itself"),
    pytest.param(os.mkfifo, "a pipe", id="pipe"),
    pytest.param(listen, "a socket", id="socket"),
]
FLAGS = [
    pytest.param(os.O_RDONLY, id="read"),
    pytest.param(os.O_RDWR, id="write"),
    pytest.param(os.O_RDWR | os.O_CREAT, id="lock"),
]


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize(("plant", "kind"), PLANTS)
def test_only_regular_files_are_opened(
    tmp_path: Path, plant: Callable[[Path], None], kind: str, flags: int
) -> None:
    """Anything else is named with its path, at once, and nothing is made behind it."""
    path = tmp_path / "x"
    plant(path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match=kind) as caught:
        regular_files.open_regular(path, flags)
    assert str(path) in caught.value.problem
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "open_file", [regular_files.reader, arrow_files.open_file], ids=["reader", "Arrow"]
)
def test_a_device_is_refused(open_file: Callable[[Path], object]) -> None:
    """A device may never end, or act when it is opened for reading."""
    with pytest.raises(UsageError, match="/dev/zero: a device"):
        open_file(Path("/dev/zero"))


def test_a_folder_is_an_error_of_the_system(tmp_path: Path) -> None:
    """The advice for EISDIR follows from its number."""
    with pytest.raises(IsADirectoryError):
        regular_files.reader(tmp_path)
    with pytest.raises(FileNotFoundError):
        regular_files.reader(tmp_path / "x")


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """Neither after a refusal nor after a file that was read."""
    (tmp_path / "file").write_bytes(b"data")
    os.mkfifo(tmp_path / "pipe")
    before = open_descriptors()
    for _ in range(3):
        with pytest.raises(UsageError):
            regular_files.reader(tmp_path / "pipe")
        with regular_files.reader(tmp_path / "file") as file:
            assert file.read() == b"data"
        with arrow_files.open_file(tmp_path / "file") as source:
            assert source.read() == b"data"
    assert open_descriptors() == before


def test_arrow_reads_where_the_system_names_no_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A jail without /proc has no /dev/fd, and its files are not taken for missing ones."""
    monkeypatch.setattr(arrow_files, "_DESCRIPTORS", tmp_path / "nothing")
    pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "x.parquet")
    with arrow_files.open_file(tmp_path / "x.parquet") as source:
        assert pq.read_table(source).column("x").to_pylist() == [1, 2]
    with pytest.raises(FileNotFoundError):
        arrow_files.open_file(tmp_path / "gone")


@pytest.mark.parametrize(("plant", "kind"), PLANTS)
def test_a_temporary_file_is_always_a_new_one(
    tmp_path: Path, plant: Callable[[Path], None], kind: str
) -> None:
    """A name that was planted is taken away, and what it led to keeps its contents."""
    del kind
    path = tmp_path / "x.tmp"
    plant(path)
    with flock.in_progress(path) as descriptor:
        os.write(descriptor, b"ours")
    assert stat.S_ISREG(path.lstat().st_mode)
    assert path.read_bytes() == b"ours"
    if (target := tmp_path / "target").exists():
        assert target.read_bytes() == b"precious"


def test_a_temporary_file_that_a_cleanup_removes_at_once_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cleanup found it before it was marked; what is written is not lost with it."""
    path, real, calls = tmp_path / "x.tmp", fcntl.flock, 0

    def mark(descriptor: int, how: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            path.unlink()
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", mark)
    with flock.in_progress(path) as descriptor:
        os.write(descriptor, b"ours")
        assert path.read_bytes() == b"ours"
    assert calls == 2


def test_a_lock_with_a_second_name_is_locked_and_not_changed(tmp_path: Path) -> None:
    """The other name may be a file outside of the output."""
    path, victim = tmp_path / "x.lock", tmp_path / "victim"
    victim.write_bytes(b"precious")
    path.hardlink_to(victim)
    ours, theirs = (Wait(claim(run), boot_seconds, 0.0) for run in ("ours", "theirs"))
    with flock.locked(path, ours), pytest.raises(Busy), flock.locked(path, theirs):
        pass
    assert victim.read_bytes() == b"precious"
