"""An output in a folder of this machine: locks keep other runs away, renames make files whole."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harvester.storage.backends import atomic_files, flock
from harvester.storage.backends.base import FileInfo, LocalCopy, Tail, Version

META_DIR = "_harvester"
"""The folder beside the datasets that holds all that is no data."""


@dataclass(frozen=True, slots=True)
class LocalStore:
    """A folder, which need not be there yet. Holds nothing but its path."""

    root: Path

    @property
    def scratch(self) -> Path:
        """Inside the output, since a rename must not leave the file system."""
        return self.root / META_DIR / "tmp"

    @contextmanager
    def lock(self, names: Iterable[str], note: bytes) -> Iterator[None]:
        """Keep everybody else away by locks, one of each name. Raises Busy."""
        with ExitStack() as stack:
            for name in sorted(set(names)):
                path = self.root / META_DIR / "locks" / f"{name}.lock"
                stack.enter_context(flock.locked(path, note))
            yield

    def display_path(self, name: str = "") -> str:
        """The path."""
        return str(self.path(name))

    def path(self, name: str) -> Path:
        """The path of a file."""
        return self.root / name

    def exists(self, folder: str) -> bool:
        """Whether there is such a folder."""
        path = self.path(folder)
        with atomic_files.os_errors_as_store_errors(path):
            return path.is_dir()

    def list(self, folder: str) -> list[FileInfo]:
        """The files below a folder, by name."""
        return sorted(_below(self.path(folder), folder))

    def read(self, name: str) -> bytes | None:
        """A file as it stands, None if there is none."""
        path = self.path(name)
        with atomic_files.os_errors_as_store_errors(path):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None

    def tails(self, found: Iterable[FileInfo], length: int) -> Iterator[Tail | None]:
        """The last bytes of each file, one file after the other: a disk gains nothing by haste."""
        return (self._tail(file.name, length) for file in found)

    @contextmanager
    def local_copy(self, name: str, temp: Path) -> Iterator[LocalCopy | None]:
        """The file itself."""
        del temp
        version = self.version(name)
        yield None if version is None else LocalCopy(self.path(name), version)

    def version(self, name: str) -> Version | None:
        """The same as in a listing: nobody asks for it again."""
        path = self.path(name)
        with atomic_files.os_errors_as_store_errors(path):
            try:
                return Version(_version(path.stat()))
            except FileNotFoundError:
                return None

    def put_if_version(self, temp: Path, name: str, over: Version | None) -> None:
        """Flush, rename, flush the folder. Only for who holds the lock, so nobody else was here."""
        del over
        self.put(temp, name)

    def put(self, temp: Path, name: str) -> None:
        """Flush, rename, flush the folder."""
        atomic_files.replace_durably(temp, self.path(name))

    def write(self, name: str, data: bytes | memoryview, temp: Path) -> None:
        """Write a small file durably, in the place of an older one."""
        # Not everybody who writes one holds a bucket, and what a dead one leaves is swept.
        with flock.in_progress(temp):
            atomic_files.write(temp, self.path(name), data)

    def append(self, name: str, data: bytes | memoryview, temp: Path) -> Path:
        """Write a file under a new name, durably."""
        self.write(name, data, temp)
        return self.path(name)

    def copies(self, names: Iterable[str]) -> Iterator[Path | None]:
        """The files themselves."""
        for path in map(self.path, names):
            yield path if os.path.lexists(path) else None

    def move(self, name: str, to: str) -> bool:
        """Rename a file, durably; False if there is none."""
        path = self.path(name)
        if not os.path.lexists(path):
            return False
        atomic_files.replace_durably(path, self.path(to))
        return True

    def delete(self, name: str) -> None:
        """Remove a file if it is there, and the folder it leaves empty."""
        path = self.path(name)
        atomic_files.remove(path)
        with suppress(OSError):
            path.parent.rmdir()
        with atomic_files.os_errors_as_store_errors(path), suppress(FileNotFoundError):
            atomic_files.sync(path.parent)

    def _tail(self, name: str, length: int) -> Tail | None:
        path = self.path(name)
        with atomic_files.os_errors_as_store_errors(path):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            try:
                status = os.fstat(descriptor)
                start = max(0, status.st_size - length)
                data = os.pread(descriptor, length, start)
            finally:
                os.close(descriptor)
        return Tail(FileInfo(name, status.st_size, _version(status)), data)


def _below(folder: Path, name: str) -> Iterator[FileInfo]:
    with atomic_files.os_errors_as_store_errors(folder):
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
    for entry in entries:
        inside = f"{name}/{entry.name}" if name else entry.name
        with atomic_files.os_errors_as_store_errors(Path(entry.path)):
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue
        if stat.S_ISDIR(status.st_mode):
            yield from _below(Path(entry.path), inside)
        else:
            yield FileInfo(inside, status.st_size, _version(status))


def _version(status: os.stat_result) -> str:
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
