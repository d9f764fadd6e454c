"""What an output is kept in: one interface, whatever stands behind it.

Files have *names*: paths from the root of the output, with slashes. A name's contents are replaced
whole or not at all, and a reader sees the old ones or the new ones. What cannot be read or written
is a StoreError that says where and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, NewType, Protocol

Version = NewType("Version", str)
"""What a put has to name to replace just that, and nothing a listing could tell."""


class FileInfo(NamedTuple):
    """A file in a listing. ``version`` is another one whenever the contents are, size in bytes.

    It is good for being compared: of what a put has to name, listings tell but a part.
    """

    name: str
    size: int
    version: str


class LocalCopy(NamedTuple):
    """A whole file that can be read on this machine, and the version it is of."""

    path: Path
    version: Version


class Tail(NamedTuple):
    """The last bytes of a file, and the file they are of."""

    file: FileInfo
    data: bytes


class Store(Protocol):
    """Files by name. Every method raises StoreError."""

    @property
    def scratch(self) -> Path:
        """A folder of this machine for files that are not whole yet."""

    def lock(self, names: Iterable[str], note: bytes) -> AbstractContextManager[None]:
        """Be the one who writes there, in the block: to all that these names stand for, or nothing.

        ``note`` tells others who it is. Raises Busy if somebody else writes. Where nobody can be
        kept away `commit` tells who comes second; raises UsageError if it would not.
        """

    def display_path(self, name: str = "") -> str:
        """A file, or the output itself, as people know it."""

    def exists(self, folder: str) -> bool:
        """Whether there is anything in a folder, or such a folder."""

    def list(self, folder: str) -> list[FileInfo]:
        """The files below a folder, by name; none if there is no such folder."""

    def read(self, name: str) -> bytes | None:
        """A small file as it stands, None if there is none."""

    def tails(self, found: Iterable[FileInfo], length: int) -> Iterator[Tail | None]:
        """The last bytes of each file, at most so many, in the order given.

        A file that was replaced since it was listed is read as it is now. None if it is gone.
        """

    def local_copy(self, name: str, temp: Path) -> AbstractContextManager[LocalCopy | None]:
        """A file to read in the block, None if there is none; ``temp`` is where it may lie."""

    def version(self, name: str) -> Version | None:
        """What `commit` has to name to replace this file as it is now, None if there is none."""

    def put_if_version(self, temp: Path, name: str, over: Version | None) -> None:
        """Give a file that is whole its name, durably.

        ``over`` is the version it replaces, None for none. Raises LostRace if that is not what
        stands there; where others are kept away that is not looked at.
        """

    def put(self, temp: Path, name: str) -> None:
        """Give a file that is whole its name, durably, whatever stood there.

        For what has one writer ever: a `commit` whose answer got lost would look like a lost race.
        """

    def write(self, name: str, data: bytes | memoryview, temp: Path) -> None:
        """Write a small file durably, in the place of an older one; ``temp`` is made on the way."""

    def append(self, name: str, data: bytes | memoryview, temp: Path) -> Path:
        """Write a file under a new name, durably; returns where it can be read."""

    def copies(self, names: Iterable[str]) -> Iterator[Path | None]:
        """Where files that never change can be read, in the order given; None if there is none."""

    def move(self, name: str, to: str) -> bool:
        """Give a file another name, durably; False if there is none."""

    def delete(self, name: str) -> None:
        """Remove a file if it is there, and the folder it leaves empty."""


def contents(store: Store, found: Sequence[FileInfo]) -> Iterator[bytes | None]:
    """Small files whole, in the order given; None for one that is gone. Raises StoreError.

    An object store is asked for many at once.
    """
    longest = max((file.size for file in found), default=0)
    for tail in store.tails(found, longest):
        if tail is None or len(tail.data) == tail.file.size:
            yield None if tail is None else tail.data
        else:
            yield store.read(tail.file.name)
