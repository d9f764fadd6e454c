from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harvester.core.errors import StoreError
from harvester.storage.backends.scratch import Scratch

LIFE = """
import sys
from harvester.storage.backends.scratch import Scratch
scratch = Scratch()
scratch.make()
(scratch.path / "raw").mkdir()
(scratch.path / "raw" / "answers").write_bytes(b"of an account")
print(scratch.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of this machine."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def make_one() -> None:
    """Make a folder and remove it."""
    scratch = Scratch()
    scratch.make()
    scratch.remove()


@contextmanager
def life(place: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process that has answers in its folder until it ends."""
    pipe = subprocess.PIPE
    environment = {**os.environ, "TMPDIR": str(place)}
    command = [sys.executable, "-c", LIFE]
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_the_folder_of_a_dead_process_is_removed(place: Path) -> None:
    """The next process removes it. Folders of live processes and other files stay."""
    strangers = [place / "harvester-0123456789abcdef", place / "harvester-output"]
    for stranger in strangers:
        stranger.mkdir()
    with life(place) as (dead, left), life(place) as (_, at_work):
        dead.kill()
        dead.wait()
        assert left.is_dir()
        make_one()
        assert not left.exists()
        assert (at_work / "raw" / "answers").read_bytes() == b"of an account"
    make_one()
    assert sorted(place.iterdir()) == strangers


def test_one_process_may_have_two_folders(place: Path) -> None:
    """Neither takes the other for dead."""
    one, other = Scratch(), Scratch()
    one.make()
    other.make()
    assert one.path.is_dir()
    assert other.path.is_dir()
    one.remove()
    other.remove()
    assert list(place.iterdir()) == []


def test_it_is_there_as_long_as_it_is_needed(place: Path) -> None:
    """Made when it is needed, and again after it was removed; its files go with it."""
    scratch = Scratch()
    assert list(place.iterdir()) == []
    for _ in range(2):
        scratch.make()
        assert stat.S_IMODE(scratch.path.stat().st_mode) == 0o700
        (scratch.path / "x").touch()
        scratch.remove()
        scratch.remove()
        assert list(place.iterdir()) == []
    scratch.make()
    (scratch.path / "x").touch()
    del scratch
    assert list(place.iterdir()) == []


@pytest.fixture
def unneeded(place: Path) -> list[Scratch]:
    """A folder that was made, and the only reference to it."""
    folders = [Scratch()]
    folders[0].make()
    return folders


async def test_it_goes_wherever_the_collector_finds_it(
    place: Path, unneeded: list[Scratch]
) -> None:
    """That may be in the event loop, where nothing else of the store blocks."""
    unneeded.clear()
    with os.scandir(place) as left:
        assert list(left) == []


def test_a_process_that_ends_leaves_none(place: Path) -> None:
    """A command that only reads removes it at its end."""
    with life(place) as (process, folder):
        assert folder.is_dir()
        process.communicate()
        assert list(place.iterdir()) == []


def test_what_belongs_to_others_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary folder is shared: a link, or another user's lock, is not followed."""
    theirs = place / "theirs"
    theirs.mkdir()
    (place / "harvester-0000000000000000").symlink_to(theirs)
    (place / "harvester-0000000000000000.lock").symlink_to("nowhere")
    with life(place) as (dead, left):
        dead.kill()
        dead.wait()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    make_one()
    assert left.exists()
    assert theirs.is_dir()


def test_a_place_that_is_gone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be made is named with its path."""
    monkeypatch.setattr(tempfile, "tempdir", str(place / "gone"))
    with pytest.raises(StoreError, match="gone"):
        Scratch().make()
