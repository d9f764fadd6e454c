"""File locks of one write and of temporary files."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harvester.core.errors import LostRace, StoreError
from harvester.storage.backends import flock
from harvester.storage.backends.local import LocalStore


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a file as another process does."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_an_abandoned_file_is_removed(tmp_path: Path) -> None:
    """One that is being written stays."""
    path = tmp_path / "left.tmp"
    path.touch()
    with locked(path):
        assert not flock.remove_if_abandoned(path)
    assert flock.remove_if_abandoned(path)
    assert not path.exists()


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
