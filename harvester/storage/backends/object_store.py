"""An output in an object store: S3, Google Cloud Storage, Azure, and whatever speaks like them.

An object is made on this machine and put whole, in one request. There are no locks: a data file is
put only over the version it was merged from, so of two runs that replace it at once one loses the
race, reads again and merges again. A store that does not keep its side of this is refused.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotSupportedError,
    PreconditionError,
)

from harvester.core.errors import LostRace, StoreError, UsageError
from harvester.storage.backends import atomic_files, object_client
from harvester.storage.backends.base import FileInfo, LocalCopy, Tail, Version
from harvester.storage.backends.scratch import Scratch

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutMode

_T = TypeVar("_T")
_R = TypeVar("_R")

_READERS = 16
"""So many objects are read at once."""

_PIECE = 8 << 20
"""A file is received in pieces of about this size."""

_TRIES = 5

_PROBE = "_harvester/probe"
_BOGUS: PutMode = {"e_tag": '"00000000000000000000000000000000"', "version": "1"}


class ObjectStore:
    """A place in a bucket. Nothing is asked of the store before the first use."""

    def __init__(
        self, uri: str, endpoint: str | None = None, *, single_writer: bool = False
    ) -> None:
        self._uri = uri.rstrip("/")
        self._single_writer = single_writer
        self._store = object_client.connect(self._uri, endpoint)
        self._scratch = Scratch()

    @property
    def scratch(self) -> Path:
        """In the temporary folder of this machine; gone when the process is."""
        return self._scratch.path

    def display_path(self, name: str = "") -> str:
        """The URI."""
        return f"{self._uri}/{name}" if name else self._uri

    @contextmanager
    def lock(self, names: Iterable[str], note: bytes) -> Iterator[None]:
        """Keep nobody away, but see that a lost race will be noticed; tidy this machine at the end.

        Raises UsageError if the store takes no conditions, and nobody said that there is but one
        writer.
        """
        del names, note
        if not self._single_writer:
            self._prove()
        with self._scratch.kept():
            yield

    def exists(self, folder: str) -> bool:
        """Whether there is anything in a folder."""
        with self._telling(folder):
            return any(len(page) > 0 for page in obstore.list(self._store, folder, chunk_size=1))

    def list(self, folder: str) -> list[FileInfo]:
        """The files below a folder, by name."""
        with self._telling(folder):
            pages = obstore.list(self._store, folder or None)
            return sorted(_found(meta["path"], meta) for page in pages for meta in page)

    def read(self, name: str) -> bytes | None:
        """A small file as it stands, None if there is none."""
        with self._telling(name):
            try:
                return bytes(obstore.get(self._store, name).bytes())
            except FileNotFoundError as error:
                if object_client.has_bucket(error):
                    return None
                raise

    def tails(self, found: Iterable[FileInfo], length: int) -> Iterator[Tail | None]:
        """The last bytes of each file, many files at once."""
        return _side_by_side(lambda file: self._tail(file, length), found)

    @contextmanager
    def local_copy(self, name: str, temp: Path) -> Iterator[LocalCopy | None]:
        """The file as it was a moment ago, on this machine."""
        try:
            version = self._receive(name, temp)
            yield None if version is None else LocalCopy(temp, version)
        finally:
            atomic_files.unlink_quietly(temp)
            self._scratch.leave()

    def version(self, name: str) -> Version | None:
        """The tag and the generation, from the object itself."""
        with self._telling(name):
            try:
                return _version(obstore.head(self._store, name))
            except FileNotFoundError:
                # Such an answer has no words: a bucket that is missing is told by who puts there.
                return None

    def put_if_version(self, temp: Path, name: str, over: Version | None) -> None:
        """Put a file over the version it replaces. Raises LostRace if that is not there."""
        mode = "overwrite" if self._single_writer else _put_mode(over)
        with self._telling(name):
            try:
                obstore.put(self._store, name, temp, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                # Or it was our own put, whose answer was lost: merging again finds it in there.
                raise LostRace(
                    f"{self.display_path(name)}: another run replaced it meanwhile", "run again"
                ) from None

    def put(self, temp: Path, name: str) -> None:
        """Put a file in the place of an older one, whatever that is."""
        with self._telling(name):
            obstore.put(self._store, name, temp, mode="overwrite", use_multipart=False)

    def write(self, name: str, data: bytes | memoryview, temp: Path) -> None:
        """Put a small file in the place of an older one."""
        del temp
        with self._telling(name):
            obstore.put(self._store, name, bytes(data), mode="overwrite", use_multipart=False)

    def append(self, name: str, data: bytes | memoryview, temp: Path) -> Path:
        """Put a file under a new name, and keep it here to be read."""
        self.write(name, data, temp)
        path = self._kept(name)
        self._make_room(path)
        with atomic_files.os_errors_as_store_errors(path):
            path.write_bytes(data)
        return path

    def copies(self, names: Iterable[str]) -> Iterator[Path | None]:
        """Files that never change, many at once, kept here to be read."""
        return _side_by_side(self._copy, names)

    def move(self, name: str, to: str) -> bool:
        """Give a file another name; False if there is none."""
        with self._telling(name):
            try:
                obstore.copy(self._store, name, to)
            except FileNotFoundError as error:
                if object_client.has_bucket(error):
                    return False
                raise
        self.delete(name)
        return True

    def delete(self, name: str) -> None:
        """Remove a file if it is there."""
        atomic_files.unlink_quietly(self._kept(name))
        with self._telling(name), suppress(FileNotFoundError):
            obstore.delete(self._store, name)

    def _kept(self, name: str) -> Path:
        return self.scratch / name

    def _make_room(self, path: Path) -> None:
        self._scratch.make()
        with atomic_files.os_errors_as_store_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)

    def _copy(self, name: str) -> Path | None:
        path = self._kept(name)
        if not path.exists():
            temp = path.with_name(f"{path.name}.tmp")
            if self._receive(name, temp) is None:
                return None
            temp.replace(path)
        return path

    def _receive(self, name: str, path: Path) -> Version | None:
        """Write an object to a file of this machine; its version, None if there is none."""
        self._make_room(path)
        with self._telling(name):
            try:
                answer = obstore.get(self._store, name)
            except FileNotFoundError as error:
                if object_client.has_bucket(error):
                    return None
                raise
            meta = answer.meta
            with atomic_files.os_errors_as_store_errors(path), path.open("wb") as file:
                for piece in answer.stream(min_chunk_size=_PIECE):
                    file.write(piece)
            if path.stat().st_size != meta["size"]:
                raise StoreError(f"{self.display_path(name)}: came only in part", "run again")
        return _version(meta)

    def _tail(self, found: FileInfo, length: int) -> Tail | None:
        for _ in range(_TRIES):
            if not found.size:
                return Tail(found, b"")
            with self._telling(found.name):
                now, data = self._end_of(found, length)
            if now is None or now == found:
                return None if now is None else Tail(found, data)
            found = now
        raise StoreError(f"{self.display_path(found.name)}: replaced again and again", "run again")

    def _end_of(self, found: FileInfo, length: int) -> tuple[FileInfo | None, bytes]:
        """The file as it is now, and its end if it is the same one."""
        wanted = (max(0, found.size - length), found.size)
        try:
            answer = obstore.get(self._store, found.name, options={"range": wanted})
            return _found(found.name, answer.meta), bytes(answer.bytes())
        except FileNotFoundError:
            return None, b""
        except BaseError as error:
            if object_client.status(error) != object_client.BEYOND_THE_END:
                raise
        try:
            return _found(found.name, obstore.head(self._store, found.name)), b""
        except FileNotFoundError:
            return None, b""

    def _prove(self) -> None:
        """See that a put that must fail does fail. Raises UsageError."""
        name = f"{_PROBE}/{secrets.token_hex(8)}"
        try:
            with self._telling(name):
                proven = (
                    self._put_if(name, "create")
                    and not self._put_if(name, "create")
                    and not self._put_if(name, _BOGUS)
                    and not self._put_if(f"{name}-gone", _BOGUS)
                )
        finally:
            with suppress(StoreError):
                self.delete(name)
        if not proven:
            raise UsageError(
                f"{self._uri}: this store ignores conditions, and two runs at once would lose rows",
                "see that only one run at a time writes there, and say so with"
                " `output.single_writer: true`; or name another store",
            )

    def _put_if(self, name: str, mode: PutMode) -> bool:
        """Whether a put under a condition was taken. A store that knows none takes none."""
        try:
            obstore.put(self._store, name, b"", mode=mode, use_multipart=False)
        except (AlreadyExistsError, PreconditionError):
            return False
        except BaseError as error:
            if (
                isinstance(error, NotSupportedError)
                or object_client.status(error) in object_client.KNOWS_NOT
            ):
                return mode != "create"
            raise
        return True

    def _telling(self, name: str) -> AbstractContextManager[None]:
        return object_client.translated_errors(self._uri, self.display_path(name))


def _side_by_side(work: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
    """What comes of each item, in their order, with a bounded number of them under way."""
    pool = ThreadPoolExecutor(_READERS)
    waiting: deque[Future[_R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) == 2 * _READERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _found(name: str, meta: ObjectMeta) -> FileInfo:
    # Azure quotes the tag in an answer and not in a listing.
    version = (meta["e_tag"] or str(meta["last_modified"])).strip('"')
    return FileInfo(name, meta["size"], version)


def _version(meta: ObjectMeta) -> Version:
    """What a put needs to replace just this: the tag, and for Google the generation."""
    return Version(f"{meta['e_tag'] or ''} {meta['version'] or ''}")


def _put_mode(version: Version | None) -> PutMode:
    if version is None:
        return "create"
    tag, _, generation = version.rpartition(" ")
    if not tag:
        # An empty condition is none to some stores, and to others never fulfilled.
        raise StoreError("this store gives its objects no tags", "name another store")
    # A member without a value is refused.
    return {"e_tag": tag, "version": generation} if generation else {"e_tag": tag}
