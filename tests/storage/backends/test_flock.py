"""File locks of one write and of temporary files: of other users, and of processes that stand."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harvester.core.errors import LostRace, StoreError
from harvester.storage.backends import flock, regular_files
from harvester.storage.backends.local import LocalStore


@pytest.fixture
def of_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files may be read and not written; simulated, because root may do both."""
    real = regular_files.open_regular

    def refuse(path: Path, flags: int, mode: int = 0o666) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, flags, mode)

    monkeypatch.setattr(regular_files, "open_regular", refuse)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a file as another process does."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.mark.usefixtures("of_another_user")
def test_the_abandoned_file_of_another_user_is_removed(tmp_path: Path) -> None:
    """As the owner of the folder may; one that is being written stays."""
    path = tmp_path / "left.tmp"
    path.touch()
    with locked(path):
        assert not flock.remove_if_abandoned(path)
    assert flock.remove_if_abandoned(path)
    assert not path.exists()


@pytest.mark.usefixtures("of_another_user")
def test_the_lock_file_of_another_user_is_locked_for_a_write(tmp_path: Path) -> None:
    """A file that only its owner may write is locked through a descriptor for reading."""
    path = tmp_path / "write-00.lock"
    path.touch()
    with flock.held(path), path.open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_a_process_that_stands_in_its_write_ends_the_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the name of the lock; afterwards the version is compared as always."""
    monkeypatch.setattr(flock, "_LONGEST_WRITE", 0.01)
    store = LocalStore(tmp_path)
    store.put("_harvester/quota/0.json", b"{}", None)
    [guard] = (tmp_path / "_harvester/locks").iterdir()
    with locked(guard), pytest.raises(StoreError, match=guard.name) as caught:
        store.put("_harvester/quota/0.json", b"{}", None)
    assert "continue or end it" in caught.value.advice
    with pytest.raises(LostRace):
        store.put("_harvester/quota/0.json", b"{}", None)
