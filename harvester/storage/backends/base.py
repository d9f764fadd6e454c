"""Interface of the backends that an output is kept in.

Files have *names*: paths from the root of the output, with slashes. A file is replaced whole or not
at all, and a reader sees the old contents or the new ones. A failed read or write is a StoreError
that says where and what to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, NewType, Protocol, TypeAlias, TypeVar

from harvester.core.errors import AccessRefused, LostRace, UsageError
from harvester.core.hold import Hold
from harvester.storage.backends.claims import Claim, Owner

META_DIR = "_harvester"
"""The folder beside the datasets, with all files that are not data files."""

LOCKS = f"{META_DIR}/locks"
"""The folder of locks and leases."""

PRIVATE_FOLDERS = ("raw", "quarantine", "tmp", "locks", "quota")
"""Folders in `META_DIR` that only their owner may enter: answers, and names of accounts."""

Version = NewType("Version", str)
"""Version of a file as `Store.put` compares it. Listings do not have it."""

ANY = Version("any")
"""No version of any file: whatever is there is replaced."""
Source: TypeAlias = Path | bytes
"""A file that is complete, or the contents of a small one."""

MAX_READ = (32 << 20) + 1
"""Most bytes that are read of a small file; a file that has so many is longer than any of ours."""

MAX_SIDE_FILE = (128 << 20) + 1
"""The same for a file that is read whole to be replaced: a ledger of 10,000 accounts has 30 MiB."""

MAX_RACES = 20
"""Maximum races that one replacement may lose. Each lost race is progress of another run."""

T = TypeVar("T")


class FileInfo(NamedTuple):
    """A file in a listing, with its size in bytes.

    ``version`` changes whenever the contents do. It is no `Version`, and good for comparison only.
    """

    name: str
    size: int
    version: str


def is_version(file: FileInfo, version: Version) -> bool:
    """Return whether a listed file is of a version, as far as a listing has that."""
    # The tag of an object has quotes, and behind it stands the generation.
    return file.version == version.partition(" ")[0].strip('"')


class LocalCopy(NamedTuple):
    """A complete local copy of a file, and its version."""

    path: Path
    version: Version


class Blob(NamedTuple):
    """The first bytes of a file, and its version."""

    data: bytes
    version: Version


class Store(Protocol):
    """Files by name. Every method raises StoreError."""

    @property
    def scratch(self) -> Path:
        """A local folder for temporary files."""

    def lock(self, names: Iterable[str], claim: Claim) -> AbstractContextManager[Hold]:
        """Lock these names for the block, all or none.

        The `Hold` that it yields tells whether they still hold.
        Raises Busy if another run holds one of them for longer than the claim waits. An object
        store raises UsageError if `put` would not notice a lost race.
        """

    def owners(self, which: Callable[[str], bool] = bool) -> Iterator[Owner]:
        """Yield the holders of those locked names for which ``which`` is true, of all by default.

        A reader may ask for them.
        """

    def display_path(self, name: str = "") -> str:
        """Return the path or URI of a file, or of the output, for messages."""

    def list(self, folder: str) -> list[FileInfo]:
        """Return the files below a folder, by name; none if there is no such folder."""

    def list_all(self, folders: Iterable[str]) -> Sequence[FileInfo]:
        """Return the files below all of these folders, by name.

        An object store lists the whole output at once, unless it has many other files.
        """

    def get(self, name: str, length: int = MAX_READ) -> Blob | None:
        """Return the first bytes of a file, at most ``length``; None if there is none."""

    def get_many(self, found: Iterable[FileInfo], tail: int = 0) -> Iterator[bytes | None]:
        """Yield the bytes of each file as `get`, or its last ``tail`` bytes, in the order given.

        An object store reads many at once. A file that was replaced since it was listed is read as
        it is now. None if it is gone.
        """

    def local_copy(self, name: str) -> AbstractContextManager[LocalCopy | None]:
        """Provide a local copy for the block; None if there is no file."""

    def put(self, name: str, source: Source, over: Version | None = ANY) -> Version:
        """Put a small file, or a complete local file, durably; return its version.

        A local file may be taken away. ``over`` is the version it replaces, None for none. Raises
        LostRace if another version is there. A store with locks does not compare that of a local
        file, and one with a single writer compares none.
        """

    def append(self, name: str, data: bytes) -> Path:
        """Put a file under a new name, durably; return the path of its local copy."""

    def copies(self, names: Iterable[str]) -> Iterator[Path | None]:
        """Yield local copies of files that never change, in the order given; None if gone."""

    def delete(self, name: str) -> None:
        """Remove a file if it is there, and its folder if that is empty then."""


def read_bytes(store: Store, name: str, length: int = MAX_READ) -> bytes | None:
    """Return the first bytes of a file as `Store.get`, without their version."""
    found = store.get(name, length)
    return None if found is None else found.data


def temp_path(store: Store, name: str) -> Path:
    """Return the path at which this process makes a file before that gets its name."""
    # With the process, because one that holds no bucket may write the same file at that moment.
    return store.scratch / f"{name.replace('/', '.')}.{os.getpid()}.tmp"


def move(store: Store, name: str, to: str) -> str | None:
    """Give a file another name, durably; return that, None without a file. Raises StoreError.

    Killed in between, an object store may have both, and the next call moves it again.
    """
    with store.local_copy(name) as copy:
        if copy is None:
            return None
        store.put(to, copy.path)
        store.delete(name)
        return to


@contextmanager
def first_contact() -> Iterator[None]:
    """Make a refusal of the first requests of a command a UsageError: nothing was asked yet."""
    try:
        yield
    except AccessRefused as error:
        raise UsageError(error.problem, error.advice) from None


def retry_races(attempt: Callable[[int], T]) -> T:
    """Repeat the replacement of a file until it loses no race against another run.

    ``attempt`` gets the number of races lost so far. Raises LostRace after `MAX_RACES` of them.
    """
    for lost in range(MAX_RACES):
        with suppress(LostRace):
            return attempt(lost)
    return attempt(MAX_RACES)
