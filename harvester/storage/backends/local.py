"""Output in a local folder: locks exclude other runs, and renames replace files whole."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harvester.storage.backends import atomic_files, flock, regular_files
from harvester.storage.backends.base import FileInfo, LocalCopy, Tail, Version

META_DIR = "_harvester"
"""The folder beside the datasets, with all files that are not data files."""


@dataclass(frozen=True, slots=True)
class LocalStore:
    """A folder, which may not exist yet. Has no state but its path."""

    root: Path

    @property
    def scratch(self) -> Path:
        """A folder inside the output, because a rename must not leave the file system."""
        return self.root / META_DIR / "tmp"

    @contextmanager
    def lock(self, names: Iterable[str], note: bytes) -> Iterator[None]:
        """Hold one lock file for each name. Raises Busy."""
        with ExitStack() as stack:
            for name in sorted(set(names)):
                path = self.root / META_DIR / "locks" / f"{name}.lock"
                stack.enter_context(flock.locked(path, note))
            yield

    def display_path(self, name: str = "") -> str:
        """Return the path."""
        return str(self.path(name))

    def path(self, name: str) -> Path:
        """Return the path of a file."""
        return self.root / name

    def exists(self, folder: str) -> bool:
        """Return whether there is such a folder."""
        path = self.path(folder)
        with atomic_files.os_errors_as_store_errors(path):
            return path.is_dir()

    def list(self, folder: str) -> list[FileInfo]:
        """Return the files below a folder, by name."""
        return sorted(_files_below(self.path(folder), folder))

    def read(self, name: str) -> bytes | None:
        """Return the bytes of a file, None if there is none."""
        path = self.path(name)
        with (
            atomic_files.os_errors_as_store_errors(path),
            suppress(FileNotFoundError),
            regular_files.reader(path) as file,
        ):
            return file.read()
        return None

    def tails(self, found: Iterable[FileInfo], length: int) -> Iterator[Tail | None]:
        """Yield the last bytes of each file, one by one: threads gain nothing on a disk."""
        return (self._tail_of(file.name, length) for file in found)

    @contextmanager
    def local_copy(self, name: str, temp: Path) -> Iterator[LocalCopy | None]:
        """Return the file itself."""
        del temp
        version = self.version(name)
        yield None if version is None else LocalCopy(self.path(name), version)

    def version(self, name: str) -> Version | None:
        """Return the version, the same as in a listing; None if there is no file."""
        path = self.path(name)
        with atomic_files.os_errors_as_store_errors(path), suppress(FileNotFoundError):
            return Version(_version_from(path.lstat()))
        return None

    def put_if_version(self, temp: Path, name: str, over: Version | None) -> None:
        """Flush, rename, flush the folder. No version is compared: the caller holds the lock."""
        del over
        self.put(temp, name)

    def put(self, temp: Path, name: str) -> None:
        """Flush, rename, flush the folder."""
        atomic_files.replace_durably(temp, self.path(name))

    def write(self, name: str, data: bytes | memoryview, temp: Path) -> None:
        """Write a small file durably, in the place of an older one."""
        # Not every writer holds a bucket's lock, and unmarked temporary files are removed.
        with flock.in_progress(temp) as descriptor:
            atomic_files.write(temp, descriptor, self.path(name), data)

    def append(self, name: str, data: bytes | memoryview, temp: Path) -> Path:
        """Write a file under a new name, durably."""
        self.write(name, data, temp)
        return self.path(name)

    def copies(self, names: Iterable[str]) -> Iterator[Path | None]:
        """Yield the files' own paths."""
        for path in map(self.path, names):
            yield path if os.path.lexists(path) else None

    def move(self, name: str, to: str) -> bool:
        """Rename a file, durably; return False if there is none."""
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

    def _tail_of(self, name: str, length: int) -> Tail | None:
        path = self.path(name)
        with atomic_files.os_errors_as_store_errors(path), suppress(FileNotFoundError):
            with regular_files.reader(path) as file:
                status = os.fstat(file.fileno())
                start = max(0, status.st_size - length)
                data = os.pread(file.fileno(), length, start)
            return Tail(FileInfo(name, status.st_size, _version_from(status)), data)
        return None


def _files_below(folder: Path, name: str) -> Iterator[FileInfo]:
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
                # Another run removed it since the folder was read.
                continue
        if stat.S_ISDIR(status.st_mode):
            yield from _files_below(Path(entry.path), inside)
        else:
            yield FileInfo(inside, status.st_size, _version_from(status))


def _version_from(status: os.stat_result) -> str:
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
