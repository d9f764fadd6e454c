"""Temporary folder of a process, removed at its end or by a later process.

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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harvester.storage.backends import atomic_files

_LOCK_NAME = re.compile(r"(harvester-[0-9a-f]{16})\.lock")


class Scratch:
    """A temporary folder, made on demand. Thread-safe."""

    def __init__(self) -> None:
        self.path = Path(tempfile.gettempdir()) / f"harvester-{secrets.token_hex(8)}"
        self._lock = self.path.with_name(f"{self.path.name}.lock")
        self._descriptor: int | None = None
        self._is_kept = False
        self._guard = threading.Lock()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the folder for the block, then remove it with its files. Raises StoreError."""
        try:
            self.make()
            self._is_kept = True
            yield
        finally:
            self._is_kept = False
            with self._guard:
                # Before the lock is given up, or another process would remove the folder at the
                # same time.
                shutil.rmtree(self.path, ignore_errors=True)
                self._release_lock()

    def make(self) -> None:
        """Make the folder if there is none, and remove abandoned ones. Raises StoreError."""
        with self._guard, atomic_files.os_errors_as_store_errors(self.path):
            if self._descriptor is None:
                _remove_abandoned(self.path.parent)
                self._descriptor = os.open(
                    self._lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600
                )
                # Without locks no folder is ever found abandoned, so none is removed.
                with suppress(OSError):
                    fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Other users must not read the answers.
            self.path.mkdir(mode=0o700, exist_ok=True)

    def remove_if_unused(self) -> None:
        """Remove the folder if it is empty and not kept."""
        with self._guard, suppress(OSError):
            if not self._is_kept:
                self.path.rmdir()
                self._release_lock()

    def _release_lock(self) -> None:
        if self._descriptor is not None:
            atomic_files.unlink_quietly(self._lock)
            os.close(self._descriptor)
            self._descriptor = None


def _remove_abandoned(parent: Path) -> None:
    """Remove this user's folders whose processes are dead, as far as possible."""
    for entry in os.scandir(parent):
        if match := _LOCK_NAME.fullmatch(entry.name):
            with suppress(OSError):
                _remove_if_abandoned(Path(entry.path), parent / match[1])


def _remove_if_abandoned(lock: Path, folder: Path) -> None:
    descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
            atomic_files.unlink_quietly(lock)
    finally:
        os.close(descriptor)
