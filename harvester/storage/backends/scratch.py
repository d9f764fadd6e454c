"""A folder of this machine for files on their way, which does not outlive its process for long.

Whoever is killed leaves behind what WeChat said of somebody's accounts. Beside each folder stands a
lock that dies with its holder, so whoever makes the next folder can tell, and removes it.
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

_LOCK = re.compile(r"(harvester-[0-9a-f]{16})\.lock")


class Scratch:
    """A folder that is there when it is needed. Any thread may call."""

    def __init__(self) -> None:
        self.path = Path(tempfile.gettempdir()) / f"harvester-{secrets.token_hex(8)}"
        self._lock = self.path.with_name(f"{self.path.name}.lock")
        self._held: int | None = None
        self._kept = False
        self._changing = threading.Lock()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Have the folder for the block, then remove it with what is in it. Raises StoreError."""
        try:
            self.make()
            self._kept = True
            yield
        finally:
            self._kept = False
            with self._changing:
                shutil.rmtree(self.path, ignore_errors=True)
                self._let_go()

    def make(self) -> None:
        """Make the folder if there is none, and remove those of the dead. Raises StoreError."""
        with self._changing, atomic_files.os_errors_as_store_errors(self.path):
            if self._held is None:
                _sweep(self.path.parent)
                self._held = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
                # Where nothing can be locked nothing is taken for dead.
                with suppress(OSError):
                    fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # What WeChat said of somebody's accounts is nobody else's business.
            self.path.mkdir(mode=0o700, exist_ok=True)

    def leave(self) -> None:
        """Remove the folder if it is empty and not kept."""
        with self._changing, suppress(OSError):
            if not self._kept:
                self.path.rmdir()
                self._let_go()

    def _let_go(self) -> None:
        if self._held is not None:
            atomic_files.unlink_quietly(self._lock)
            os.close(self._held)
            self._held = None


def _sweep(place: Path) -> None:
    """Remove the folders whose processes are dead, of this user alone; what cannot be, stays."""
    for entry in os.scandir(place):
        match = _LOCK.fullmatch(entry.name)
        if match:
            with suppress(OSError):
                _remove_if_dead(Path(entry.path), place / match[1])


def _remove_if_dead(lock: Path, folder: Path) -> None:
    descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
            atomic_files.unlink_quietly(lock)
    finally:
        os.close(descriptor)
