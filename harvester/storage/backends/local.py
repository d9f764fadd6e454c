"""Output in a local folder: locks exclude other runs, and renames replace files whole."""

from __future__ import annotations

import os
import re
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path

from harvester.core.errors import LostRace, UsageError
from harvester.core.hold import UNLOSABLE, Hold
from harvester.core.text.inert_text import inert
from harvester.storage.backends import atomic_files, flock, regular_files
from harvester.storage.backends.base import (
    ANY,
    LOCKS,
    MAX_READ,
    META_DIR,
    Blob,
    FileInfo,
    LocalCopy,
    Source,
    Version,
    temp_path,
)
from harvester.storage.backends.claims import Claim, Owner, Wait
from harvester.storage.backends.elapsed import boot_seconds

_LOCK_SUFFIX = ".lock"
_GUARDS = 16

_DATA_FOLDER = re.compile(rf"(?!{META_DIR}(?:/|\Z))[^/]+(?:/ref_month=[^/]+)?")
"""Name of a dataset's folder, or of a month in it."""

_OURS = re.compile(
    rf"{META_DIR}(?:/.*)?|[^/]+(?:/ref_month=[^/]+(?:/part-[^/]+\.parquet)?)?", re.DOTALL
)
"""Name of a file or folder that harvester makes. Others in a dataset's folder are not opened."""


@dataclass(frozen=True, slots=True)
class LocalStore:
    """A folder, which may not exist yet. Has no state but its path.

    The folders of datasets and months may be links only with ``follow_links``.
    """

    root: Path
    follow_links: bool = False

    @property
    def scratch(self) -> Path:
        """A folder inside the output, because a rename must not leave the file system."""
        return self.root.joinpath(META_DIR, "tmp")

    @contextmanager
    def lock(self, names: Iterable[str], claim: Claim) -> Iterator[Hold]:
        """Hold one lock file for each name, taken in order. Raises Busy."""
        wait = Wait(claim, boot_seconds, 0.0)
        with ExitStack() as stack:
            for name in sorted({*names}):
                path = self.path(f"{LOCKS}/{name}{_LOCK_SUFFIX}")
                stack.enter_context(flock.locked(path, wait))
            yield UNLOSABLE

    def owners(self, which: Callable[[str], bool] = bool) -> Iterator[Owner]:
        """Yield the holders of lock files."""
        for path in (self.path(file.name) for file in self.list(LOCKS)):
            if path.suffix == _LOCK_SUFFIX and which(path.stem) and (owner := flock.owner(path)):
                yield owner

    def display_path(self, name: str = "") -> str:
        """Return the path."""
        return inert(str(self.path(name)))

    def path(self, name: str) -> Path:
        """Return the path of a file."""
        return self.root / name

    def list(self, folder: str) -> list[FileInfo]:
        """Return the files below a folder, by name."""
        return sorted(self._files_below(folder))

    def list_all(self, folders: Iterable[str]) -> Sequence[FileInfo]:
        """Return the files below all of these folders, by name."""
        return sorted(chain.from_iterable(map(self._files_below, folders)))

    def get(self, name: str, length: int = MAX_READ, *, is_end: bool = False) -> Blob | None:
        """Return the first bytes of a file, or the last ones, and the version as in a listing."""
        path = self.path(name)
        with atomic_files.if_there(path), regular_files.reader(path) as file:
            status = os.fstat(file.fileno())
            start = max(0, status.st_size - length) if is_end else 0
            data = os.pread(file.fileno(), min(length, status.st_size), start)
            return Blob(data, Version(regular_files.version_from(status)))
        return None

    def get_many(self, found: Iterable[FileInfo], tail: int = 0) -> Iterator[bytes | None]:
        """Yield the bytes of each file, one by one: threads gain nothing on a disk."""
        for file in found:
            blob = self.get(file.name, tail or MAX_READ, is_end=tail > 0)
            yield blob and blob.data

    @contextmanager
    def local_copy(self, name: str) -> Iterator[LocalCopy | None]:
        """Return the file itself."""
        version = self._version(name)
        yield None if version is None else LocalCopy(self.path(name), version)

    def put(self, name: str, source: Source, over: Version | None = ANY) -> Version:
        """Flush, rename, flush the folder. Raises LostRace for a small file alone."""
        if isinstance(source, Path):
            # No version is compared: the caller holds the bucket's lock.
            atomic_files.replace_durably(source, self.path(name))
            return self._version(name) or Version("")
        if over == ANY:
            return self._write(name, source)
        # Named by a checksum, because a lock file with an appid would stay after `forget`.
        guard = f"{LOCKS}/write-{zlib.crc32(name.encode()) % _GUARDS:02d}"
        with flock.held(self.path(guard)):
            if self._version(name) != over:
                raise LostRace(f"{self.display_path(name)}: replaced meanwhile", "run again")
            return self._write(name, source)

    def append(self, name: str, data: bytes) -> Path:
        """Write a file under a new name, durably."""
        self._write(name, data)
        return self.path(name)

    def copies(self, names: Iterable[str]) -> Iterator[Path | None]:
        """Yield the files' own paths."""
        for path in map(self.path, names):
            yield path if os.path.lexists(path) else None

    def delete(self, name: str) -> None:
        """Remove a file if it is there, and the folder it leaves empty."""
        path = self.path(name)
        with atomic_files.if_there(path):
            path.unlink(missing_ok=True)
            # Before the folder is removed: its own removal may be lost, for then it is empty.
            atomic_files.sync(path.parent)
        with suppress(OSError):
            path.parent.rmdir()

    def _write(self, name: str, data: bytes) -> Version:
        temp = temp_path(self, name)
        with flock.in_progress(temp) as descriptor:
            atomic_files.write(temp, descriptor, self.path(name), data)
        return self._version(name) or Version("")

    def _version(self, name: str) -> Version | None:
        """Return the version, the same as in a listing; None if there is no file."""
        path = self.path(name)
        with atomic_files.if_there(path):
            return Version(regular_files.version_from(path.lstat()))
        return None

    def _files_below(self, top: str) -> Iterator[FileInfo]:
        """Yield everything below a folder but folders; below `META_DIR` these are regular files.

        Raises UsageError and StoreError.
        """
        ways = accumulate(top.split("/"), "{}/{}".format) if top else ()
        folders = [top] if all(map(self._is_folder, ways)) else []
        while folders:
            folder = folders.pop()
            for entry in _entries(self.path(folder)):
                name = f"{folder}/{entry.name}" if folder else entry.name
                try:
                    if self._is_entered(name, entry):
                        folders.append(name)
                        continue
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    # Another run removed it since the folder was read.
                    continue
                except OSError as error:
                    raise atomic_files.store_error(Path(entry.path), error) from error
                yield FileInfo(name, status.st_size, regular_files.version_from(status))

    def _is_entered(self, name: str, entry: os.DirEntry[str]) -> bool:
        # Most file systems told both together with the name, so no file is looked at.
        if entry.is_dir(follow_symlinks=False):
            return True
        is_file = entry.is_file(follow_symlinks=False)
        return not is_file and _OURS.fullmatch(name) is not None and self._is_folder(name)

    def _is_folder(self, name: str) -> bool:
        """Return whether a folder is there. Raises UsageError for what is no file either."""
        path = self.path(name)
        with atomic_files.if_there(path):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode) and _DATA_FOLDER.fullmatch(name):
                mode = self._mode_behind(path)
            regular_files.refuse_special(path, mode)
            return stat.S_ISDIR(mode)
        return False

    def _mode_behind(self, link: Path) -> int:
        """Return the mode of the folder that a link leads to. Raises UsageError and OSError."""
        if not self.follow_links:
            raise UsageError(
                f"{link}: a symbolic link in the place of a folder",
                "put the folder itself there, or set `output.follow_links: true`",
            )
        try:
            return link.stat().st_mode
        except FileNotFoundError:
            raise UsageError(
                f"{link}: a symbolic link to a folder that does not exist",
                "make that folder, or mount its disk",
            ) from None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder; none if it was removed meanwhile."""
    with atomic_files.if_there(folder), suppress(NotADirectoryError), os.scandir(folder) as found:
        return list(found)
    return []
