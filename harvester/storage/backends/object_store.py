"""Output in an object store: S3, Google Cloud Storage, Azure and compatible ones.

An object is written on this machine and put in one request. Leases keep other runs from a bucket,
and may be lost: so a data file is put only over the version it was merged from, and one of two runs
that replace it at once loses the race, reads again and merges again. A store that ignores such
conditions is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError, PreconditionError

from harvester.core.config.settings import Output
from harvester.core.errors import LostRace, StoreError, UsageError
from harvester.core.hold import UNLOSABLE, Hold
from harvester.core.text.inert_text import inert
from harvester.storage.backends import atomic_files, lease, object_client
from harvester.storage.backends.base import (
    ANY,
    LOCKS,
    MAX_READ,
    MAX_SIDE_FILE,
    FileInfo,
    LocalCopy,
    Source,
    Tail,
    Version,
    Versioned,
)
from harvester.storage.backends.claims import Claim, Owner
from harvester.storage.backends.concurrently import map_concurrently
from harvester.storage.backends.scratch import Scratch

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta, PutMode, PutResult

_MIN_PATIENCE = 1.0
"""Seconds that a request for a lease may take at least."""

_CHUNK_BYTES = 8 << 20
"""Bytes of an object held in memory while it is downloaded."""

_MAX_TAIL_READS = 5
"""Reads of a file's end before it counts as replaced again and again."""

_PROBE_FOLDER = "_harvester/probe"

_PROBE_LIFE = timedelta(hours=1)
"""Age by the store's clock at which a probe is of a dead run. A younger one may be in use."""

_WRONG_VERSION: PutMode = {"e_tag": '"00000000000000000000000000000000"', "version": "1"}


class ObjectStore:
    """A prefix of a bucket. The store gets no request before the first use.

    ``seconds`` is the time limit of each request.
    """

    def __init__(
        self, output: Output, options: Mapping[str, str], seconds: float = object_client.SECONDS
    ) -> None:
        self._uri = str(output.path).rstrip("/")
        self._single_writer = output.single_writer
        self._lease = output.lease_seconds
        self._store = object_client.connect(self._uri, output.endpoint, options, seconds)
        self._within = partial(ObjectStore, output, options)
        self._scratch = Scratch()

    @property
    def scratch(self) -> Path:
        """A folder in this machine's temporary folder, removed with the process."""
        return self._scratch.path

    def display_path(self, name: str = "") -> str:
        """Return the URI."""
        return inert(f"{self._uri}/{name}" if name else self._uri)

    @property
    def is_exclusive(self) -> bool:
        """True if the user has promised that there is one writer."""
        return self._single_writer

    @contextmanager
    def lock(self, names: Iterable[str], claim: Claim) -> Iterator[Hold]:
        """Hold one lease for each name; remove the scratch folder after the block.

        With ``output.single_writer`` nothing is locked. Else raises Busy, and UsageError if the
        store ignores conditions.
        """
        with ExitStack() as stack:
            hold = UNLOSABLE
            if not self._single_writer:
                self._check_conditional_puts()
                # A request that hangs must leave time for another one.
                patient = self._within(seconds=max(_MIN_PATIENCE, self._lease / 6))
                hold = stack.enter_context(lease.held(patient, names, claim, self._lease))
            # Behind the lease, so that a run which waits in vain for it makes no folder.
            stack.enter_context(self._scratch.kept())
            yield hold

    def owners(self) -> Iterator[Owner]:
        """Yield the holders of leases, as their notes name them."""
        with self._translated_errors(LOCKS):
            pages = obstore.list(self._store, LOCKS)
            put_at = {meta["path"]: meta["last_modified"] for page in pages for meta in page}
        names = sorted(name for name in put_at if name.endswith(lease.SUFFIX))
        for name, data in zip(names, map_concurrently(self.read, names), strict=True):
            owner = lease.owner(name, data or b"", put_at[name], self._lease)
            if owner is not None:
                yield owner

    def check_folders(self, names: Iterable[str]) -> None:
        """Do nothing: a store has objects alone, and no folders."""

    def exists(self, folder: str) -> bool:
        """Return whether a folder has any file."""
        with self._translated_errors(folder):
            # One name is enough, however many there are.
            return any(len(page) > 0 for page in obstore.list(self._store, folder, chunk_size=1))

    def list(self, folder: str) -> list[FileInfo]:
        """Return the files below a folder, by name."""
        with self._translated_errors(folder):
            pages = obstore.list(self._store, folder or None)
            return sorted(_file_info(meta["path"], meta) for page in pages for meta in page)

    def read(self, name: str, length: int = MAX_READ) -> bytes | None:
        """Return the first bytes of a file, None if there is none."""
        with self._translated_errors(name), object_client.missing_objects_ignored():
            return _beginning(obstore.get(self._store, name), length)
        return None

    def tails(self, found: Iterable[FileInfo], length: int) -> Iterator[Tail | None]:
        """Yield the last bytes of each file; many files are read at once."""
        return map_concurrently(lambda file: self._read_tail(file, length), found)

    @contextmanager
    def local_copy(self, name: str) -> Iterator[LocalCopy | None]:
        """Download a file for the block."""
        # Under a name of its own, because several readers may have the file open.
        temp = self.scratch / f"{secrets.token_hex(8)}.copy"
        try:
            version = self._download(name, temp)
            yield None if version is None else LocalCopy(temp, version)
        finally:
            atomic_files.unlink_quietly(temp)
            # A command that only reads leaves no folder behind.
            self._scratch.remove_if_unused()

    def version(self, name: str) -> Version | None:
        """Return the tag and the generation of an object, None if there is none."""
        # A missing bucket counts as none too, because the answer has no body: a put reports it.
        with self._translated_errors(name), suppress(FileNotFoundError):
            return version_of(obstore.head(self._store, name))
        return None

    def put(self, name: str, source: Source, over: Version | None = ANY) -> Version:
        """Put a file over the version it replaces. Raises LostRace if another one is there.

        The race may be lost to this put itself, because an answer that got lost is asked for again.
        """
        data = source if isinstance(source, Path) else bytes(source)
        mode: PutMode = "overwrite" if self._single_writer or over == ANY else put_mode(over)
        with self._translated_errors(name):
            try:
                # In one request, because a condition holds for a single one, and the parts of a
                # cancelled upload cost money and are never seen.
                done = obstore.put(self._store, name, data, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                where = self.display_path(name)
                raise LostRace(f"{where}: another run replaced it meanwhile", "run again") from None
        return version_of(done)

    def read_versioned(self, name: str) -> Versioned | None:
        """Return the contents of a file and their tag; None if there is none."""
        with self._translated_errors(name), object_client.missing_objects_ignored():
            answer = obstore.get(self._store, name)
            return Versioned(_beginning(answer, MAX_SIDE_FILE), version_of(answer.meta))
        return None

    def append(self, name: str, data: bytes | memoryview) -> Path:
        """Put a file under a new name; return its copy in the scratch folder."""
        self.put(name, data)
        path = self.scratch / name
        self._make_parent(path)
        with atomic_files.os_errors_as_store_errors(path):
            path.write_bytes(data)
        return path

    def copies(self, names: Iterable[str]) -> Iterator[Path | None]:
        """Yield the copies of files that never change; many files are downloaded at once."""
        return map_concurrently(self._cached_copy, names)

    def move(self, name: str, to: str) -> bool:
        """Give a file another name; return False if there is none."""
        with self._translated_errors(name), object_client.missing_objects_ignored():
            # A store has no rename. Killed in between, both are there, and the next run moves it
            # again.
            obstore.copy(self._store, name, to)
            self.delete(name)
            return True
        return False

    def delete(self, name: str) -> None:
        """Remove a file if it is there."""
        # The local copy as well, which `copies` would go on handing out.
        atomic_files.unlink_quietly(self.scratch / name)
        with self._translated_errors(name), suppress(FileNotFoundError):
            obstore.delete(self._store, name)

    def _make_parent(self, path: Path) -> None:
        self._scratch.make()
        with atomic_files.os_errors_as_store_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)

    def _cached_copy(self, name: str) -> Path | None:
        path = self.scratch / name
        if not path.exists():
            # Under another name first, so that a half-written copy is never read.
            temp = path.with_name(f"{path.name}.tmp")
            if self._download(name, temp) is None:
                return None
            temp.replace(path)
        return path

    def _download(self, name: str, path: Path) -> Version | None:
        """Write an object to a file; return its version, None if there is none."""
        self._make_parent(path)
        with self._translated_errors(name), object_client.missing_objects_ignored():
            answer = obstore.get(self._store, name)
            meta = answer.meta
            with atomic_files.os_errors_as_store_errors(path), path.open("wb") as file:
                for piece in answer.stream(min_chunk_size=_CHUNK_BYTES):
                    file.write(piece)
            # A connection that ends early raises no error in every store.
            if path.stat().st_size != meta["size"]:
                raise StoreError(f"{self.display_path(name)}: came only in part", "run again")
            return version_of(meta)
        return None

    def _read_tail(self, found: FileInfo, length: int) -> Tail | None:
        for _ in range(_MAX_TAIL_READS):
            # Stores refuse a range of an empty object.
            if not found.size:
                return Tail(found, b"")
            with self._translated_errors(found.name):
                now, data = self._read_range(found, length)
            # The answer says what the object is now, so one that was replaced is read again by its
            # size.
            if now is None or now == found:
                return None if now is None else Tail(found, data)
            found = now
        raise StoreError(f"{self.display_path(found.name)}: replaced again and again", "run again")

    def _read_range(self, found: FileInfo, length: int) -> tuple[FileInfo | None, bytes]:
        """Return the file as it is now, None if it is gone, and its end if it is unchanged."""
        wanted = (max(0, found.size - length), found.size)
        with suppress(FileNotFoundError):
            try:
                answer = obstore.get(self._store, found.name, options={"range": wanted})
                return _file_info(found.name, answer.meta), bytes(answer.bytes())
            except BaseError as error:
                # The file was replaced by a shorter one.
                if object_client.status(error) != object_client.BEYOND_THE_END:
                    raise
            return _file_info(found.name, obstore.head(self._store, found.name)), b""
        return None, b""

    def _check_conditional_puts(self) -> None:
        """Check that a put fails whose condition is not met. Raises UsageError."""
        name = f"{_PROBE_FOLDER}/{secrets.token_hex(8)}"
        try:
            with self._translated_errors(name):
                # One put that must succeed, then three that must fail: over what is there, over
                # another version of it, and over a version of what is not there.
                are_checked = (
                    self._put_empty_if(name, "create")
                    and not self._put_empty_if(name, "create")
                    and not self._put_empty_if(name, _WRONG_VERSION)
                    and not self._put_empty_if(f"{name}-gone", _WRONG_VERSION)
                )
        finally:
            with suppress(StoreError):
                self._sweep_probes(name)
        if not are_checked:
            raise UsageError(
                f"{self._uri}: this store ignores conditions, and two runs at once would lose rows",
                "see that only one run at a time writes there, and say so with"
                " `output.single_writer: true`; or name another store",
            )

    def _sweep_probes(self, own: str) -> None:
        """Remove this run's probes, and those that killed runs left."""
        with self._translated_errors(_PROBE_FOLDER):
            pages = obstore.list(self._store, _PROBE_FOLDER)
            written = {meta["path"]: meta["last_modified"] for page in pages for meta in page}
        # The newest one is this run's, unless its put failed.
        newest = max(written.values(), default=None)
        for name, at in written.items():
            if name.startswith(own) or (newest and newest - at > _PROBE_LIFE):
                self.delete(name)

    def _put_empty_if(self, name: str, mode: PutMode) -> bool:
        """Return whether the store accepted a put with a condition, or would accept any."""
        try:
            obstore.put(self._store, name, b"", mode=mode, use_multipart=False)
        except (AlreadyExistsError, PreconditionError):
            return False
        except BaseError as error:
            # A store without conditions has not proven that it refuses a wrong one.
            if isinstance(error, NotSupportedError) or object_client.is_not_implemented(error):
                return mode != "create"
            raise
        return True

    def _translated_errors(self, name: str) -> AbstractContextManager[None]:
        return object_client.translated_errors(self._uri, self.display_path(name))


def version_of(meta: ObjectMeta | PutResult) -> Version:
    """Return the tag of an object, and for Google its generation."""
    return Version(f"{meta['e_tag'] or ''} {meta['version'] or ''}")


def put_mode(version: Version | None) -> PutMode:
    """Return the condition of a put over a version, None for none. Raises StoreError."""
    if version is None:
        return "create"
    tag, _, generation = version.rpartition(" ")
    if not tag:
        # Some stores ignore an empty condition, and others never accept it.
        raise StoreError("this store gives its objects no tags", "name another store")
    # obstore refuses a member without a value.
    return {"e_tag": tag, "version": generation} if generation else {"e_tag": tag}


def _beginning(answer: GetResult, length: int) -> bytes:
    """Return the first bytes of an object, without waiting for those behind them."""
    if answer.meta["size"] <= length:
        return bytes(answer.bytes())
    beginning = b""
    for piece in answer.stream(min_chunk_size=min(length, _CHUNK_BYTES)):
        beginning += bytes(piece)
        if len(beginning) >= length:
            break
    return beginning[:length]


def _file_info(name: str, meta: ObjectMeta) -> FileInfo:
    # Azure quotes the tag in an answer and not in a listing.
    version = (meta["e_tag"] or str(meta["last_modified"])).strip('"')
    return FileInfo(name, meta["size"], version)
