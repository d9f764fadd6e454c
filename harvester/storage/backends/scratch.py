"""Temporary folder of a store, removed with it or by a later process.

A killed process leaves answers with account data behind. A lock file beside each folder is released
with its process, so the next process that makes a folder finds and removes abandoned ones.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import tempfile
import threading
import weakref
from contextlib import suppress
from pathlib import Path

from harvester.storage.backends import atomic_files

_LOCK_NAME = re.compile(r"(harvester-[0-9a-f]{16})\.lock")


class Scratch:
    """A temporary folder, made on demand and removed with this object. Thread-safe."""

    def __init__(self) -> None:
        self.path = Path(tempfile.gettempdir()) / f"harvester-{secrets.token_hex(8)}"
        self._guard = threading.Lock()
        self._removal: weakref.finalize[..., Scratch] | None = None

    def make(self) -> None:
        """Make the folder if there is none, and remove abandoned ones. Raises StoreError."""
        with self._guard, atomic_files.os_errors_as_store_errors(self.path):
            if self._removal is None:
                _remove_abandoned(self.path.parent)
                lock = self.path.with_name(f"{self.path.name}.lock")
                descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
                self._removal = weakref.finalize(self, _remove, self.path, lock, descriptor)
                # Without locks no folder is ever found abandoned, so none is removed.
                with suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Other users must not read the answers.
            self.path.mkdir(mode=0o700, exist_ok=True)

    def remove(self) -> None:
        """Remove the folder with its files, if it was made."""
        with self._guard:
            if self._removal is not None:
                self._removal()
                self._removal = None


def _remove(folder: Path, lock: Path, descriptor: int) -> None:
    # Before the lock is given up, or another process would remove the folder at the same time.
    shutil.rmtree(folder, ignore_errors=True)
    atomic_files.unlink_quietly(lock)
    os.close(descriptor)


def _remove_abandoned(parent: Path) -> None:
    """Remove this user's folders whose processes are dead, as far as possible."""
    for entry in os.scandir(parent):
        if match := _LOCK_NAME.fullmatch(entry.name):
            with suppress(OSError):
                _remove_if_abandoned(Path(entry.path), parent / match[1])


def _remove_if_abandoned(lock: Path, folder: Path) -> None:
    with os.fdopen(os.open(lock, os.O_RDWR | os.O_NOFOLLOW)) as file:
        if os.fstat(file.fileno()).st_uid == os.geteuid():
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
            atomic_files.unlink_quietly(lock)
