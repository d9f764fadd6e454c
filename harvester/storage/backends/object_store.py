"""Output in an object store: S3, Google Cloud Storage, Azure and compatible ones.

An object is written on this machine and put in one request. Leases keep other runs from a bucket,
and may be lost: so a data file is put only over the version it was merged from, and one of two runs
that replace it at once loses the race, reads again and merges again. A store that ignores such
conditions is refused. A put whose answer got lost finds its own contents when it is repeated.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError, PreconditionError

from harvester.core.config.settings import Output
from harvester.core.errors import LostRace, StoreAway, UsageError
from harvester.core.hold import UNLOSABLE, Hold
from harvester.core.text.inert_text import inert
from harvester.storage.backends import atomic_files, lease, object_client
from harvester.storage.backends.base import (
    ANY,
    LOCKS,
    MAX_READ,
    Blob,
    FileInfo,
    LocalCopy,
    Source,
    Version,
    first_contact,
    read_bytes,
)
from harvester.storage.backends.claims import Claim, Owner
from harvester.storage.backends.concurrently import map_concurrently
from harvester.storage.backends.object_answers import (
    CHUNK_BYTES,
    beginning,
    file_info,
    put_mode,
    version_if_same,
    version_of,
)
from harvester.storage.backends.object_client import LIMITS, LONG_PUTS, TimeLimits
from harvester.storage.backends.scratch import Scratch

if TYPE_CHECKING:
    from obstore import Attributes, GetResult, ObjectMeta, PutMode
    from obstore.store import ObjectStore as Client

_T = TypeVar("_T")

_MIN_PATIENCE = 1.0
"""Seconds that a request for a lease may take at least."""

_SHORT_BYTES = 1 << 20
"""Length of a file up to which a put that is not answered soon is repeated."""

_PROBE = f"{LOCKS}/conditions"
"""The name of an empty object that stays, with which each run tests the store."""

_HTML: Attributes = {"Content-Type": "text/html; charset=utf-8"}
"""Attributes of an HTML page, by which a browser shows it and does not download it."""

_MAX_OTHERS = 2000
"""Most objects that are not harvester's in one listing of everything; there are 1,000 a page."""

_WRONG_VERSION: PutMode = {"e_tag": '"00000000000000000000000000000000"', "version": "1"}


class ObjectStore:
    """A prefix of a bucket. The store gets no request before the first use."""

    def __init__(
        self, output: Output, options: Mapping[str, str], limits: TimeLimits = LIMITS
    ) -> None:
        self._uri = str(output.path).rstrip("/")
        self._single_writer = output.single_writer
        self._lease = output.lease_seconds
        self._limits = limits
        self._connect = partial(object_client.connect, self._uri, output.endpoint, options)
        self._store = self._connect(limits)
        self._within = partial(ObjectStore, output, options)
        self._scratch = Scratch()

    @cached_property
    def _patient(self) -> Client:
        """The store for puts that may take long."""
        return self._connect(LONG_PUTS)

    @property
    def scratch(self) -> Path:
        """A folder in this machine's temporary folder, removed with this object."""
        return self._scratch.path

    def display_path(self, name: str = "") -> str:
        """Return the URI."""
        return inert(f"{self._uri}/{name}" if name else self._uri)

    @contextmanager
    def lock(self, names: Iterable[str], claim: Claim) -> Iterator[Hold]:
        """Hold one lease for each name; remove the scratch folder after the block.

        Raises UsageError if the store refuses a put. With ``output.single_writer`` nothing is
        locked. Else raises Busy, and UsageError if the store ignores conditions.
        """
        with ExitStack() as stack:
            hold = UNLOSABLE
            with first_contact():
                self._check_puts()
            if not self._single_writer:
                # A request that hangs must leave time for another one.
                seconds = max(_MIN_PATIENCE, self._lease / 6)
                quick = self._within(TimeLimits(seconds, seconds, seconds))
                hold = stack.enter_context(lease.held(quick, names, claim, self._lease))
            # Behind the lease, so that a run which waits in vain for it makes no folder.
            stack.callback(self._scratch.remove)
            self._scratch.make()
            yield hold

    def owners(self, which: Callable[[str], bool] = bool) -> Iterator[Owner]:
        """Yield the holders of leases, as their notes name them."""
        put_at = {meta["path"]: meta["last_modified"] for meta in self._listed(LOCKS)}
        leases = sorted(name for name in put_at if name.endswith(lease.SUFFIX))
        names = [name for name in leases if which(Path(name).stem)]
        notes = map_concurrently(partial(read_bytes, self), names)
        for name, note in zip(names, notes, strict=True):
            if owner := lease.owner(Path(name).stem, note or b"", put_at[name], self._lease):
                yield owner

    def list(self, folder: str) -> list[FileInfo]:
        """Return the files below a folder, by name."""
        return sorted(file_info(meta["path"], meta) for meta in self._listed(folder))

    def list_all(self, folders: Iterable[str]) -> Sequence[FileInfo]:
        """Return the files below all of these folders, by name, in one listing where that pays."""
        wanted, found = {*folders}, list[FileInfo]()

        def listed() -> bool:
            found.clear()
            others = 0
            for page in obstore.list(self._store):
                ours = [meta for meta in page if meta["path"].partition("/")[0] in wanted]
                found.extend(file_info(meta["path"], meta) for meta in ours)
                others += len(page) - len(ours)
                # The output is a place that others use too, which may have millions of objects.
                if others > _MAX_OTHERS:
                    return False
            return True

        if self._answered("", listed):
            return sorted(found)
        return sorted(chain.from_iterable(map_concurrently(self.list, wanted)))

    def get(self, name: str, length: int = MAX_READ) -> Blob | None:
        """Return the first bytes of a file and its tag; None if there is none."""
        if length > _SHORT_BYTES:
            return self._read(name, lambda it: Blob(beginning(it, length), version_of(it.meta)))
        found = self._range_of(name, 0, length)
        return found and Blob(found[1], version_of(found[0]))

    def get_many(self, found: Iterable[FileInfo], tail: int = 0) -> Iterator[bytes | None]:
        """Yield the bytes of each file; many files are read at once."""

        def read(file: FileInfo) -> bytes | None:
            return self._tail_of(file, tail) if tail else read_bytes(self, file.name)

        return map_concurrently(read, found)

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

    def put(self, name: str, source: Source, over: Version | None = ANY) -> Version:
        """Put a file over the version it replaces. Raises LostRace if another one is there.

        If what is there is this very file, an earlier try has put it, and its answer got lost.
        """
        mode: PutMode = "overwrite" if self._single_writer or over == ANY else put_mode(over)
        try:
            return self._answered(name, lambda: self._put(name, source, mode))
        except LostRace:
            found = self._read(name, lambda answer: version_if_same(answer, source))
            if found is None:
                raise
            return found

    def _put(self, name: str, data: Source, mode: PutMode) -> Version:
        length = data.stat().st_size if isinstance(data, Path) else len(data)
        store = self._store if length <= _SHORT_BYTES else self._patient
        try:
            # In one request, because a condition holds for a single one, and the parts of a
            # cancelled upload cost money and are never seen.
            kind = _HTML if name.endswith(".html") else None
            done = obstore.put(store, name, data, attributes=kind, mode=mode, use_multipart=False)
            return version_of(done)
        except (AlreadyExistsError, PreconditionError) as error:
            if object_client.is_conflict(error):
                raise
            where = self.display_path(name)
            raise LostRace(f"{where}: another run replaced it meanwhile", "run again") from None

    def append(self, name: str, data: bytes) -> Path:
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

    def delete(self, name: str) -> None:
        """Remove a file if it is there."""
        # The local copy as well, which `copies` would go on handing out.
        atomic_files.unlink_quietly(self.scratch / name)
        self._if_there(name, lambda: obstore.delete(self._store, name))

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

        def written(answer: GetResult) -> Version:
            pieces = answer.stream(min_chunk_size=CHUNK_BYTES)
            with atomic_files.os_errors_as_store_errors(path), path.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
            # A connection that ends early raises no error in every store.
            if path.stat().st_size != answer.meta["size"]:
                raise StoreAway(f"{self.display_path(name)}: came only in part", "run again")
            return version_of(answer.meta)

        return self._read(name, written)

    def _tail_of(self, found: FileInfo, length: int) -> bytes | None:
        # Stores refuse a range of an empty object.
        if not found.size:
            return b""
        answer = self._range_of(found.name, max(0, found.size - length), found.size)
        if answer is None or answer[0]["size"] == found.size:
            return answer and answer[1]
        # The answer says what the object is now, so one that was replaced is read by its new size.
        return self._tail_of(file_info(found.name, answer[0]), length)

    def _range_of(self, name: str, begin: int, end: int) -> tuple[ObjectMeta, bytes] | None:
        """Return a part of an object, as far as it goes, and what the store says of the object."""

        def read() -> tuple[ObjectMeta, bytes]:
            try:
                answer = obstore.get(self._store, name, options={"range": (begin, end)})
                return answer.meta, bytes(answer.bytes())
            except BaseError as error:
                # An empty object, or one that was replaced by a shorter one.
                if object_client.status(error) != object_client.BEYOND_THE_END:
                    raise
                return obstore.head(self._store, name), b""

        return self._if_there(name, read)

    def _check_puts(self) -> None:
        """Check that puts are accepted, but none whose condition is not met. Raises UsageError."""
        if self._single_writer:
            self._accepts(_PROBE, "overwrite")
            return
        # Refused where an earlier run has put it, which shows one of the conditions already. From
        # then on nothing fits: it is there, in another version, and the other name stands for
        # nothing.
        first = self._accepts(_PROBE, "create")
        wrong = [self._accepts(_PROBE, "create")] if first else []
        wrong_version = partial(self._accepts, mode=_WRONG_VERSION)
        wrong += map_concurrently(wrong_version, (_PROBE, f"{_PROBE}-gone"))
        if first is None or any(wrong):
            raise UsageError(
                f"{self._uri}: this store ignores conditions, and two runs at once would lose rows",
                "name another store; or set `output.single_writer: true`, which gives up the"
                " leases: then nothing keeps a second run from the same calls and from the rows of"
                " the first, and you see that there is none",
            )

    def _accepts(self, name: str, mode: PutMode) -> bool | None:
        """Return whether the store accepts a put with a condition, None if it knows none."""

        def put() -> bool | None:
            try:
                self._put(name, b"", mode)
            except LostRace:
                return False
            except BaseError as error:
                is_unknown = object_client.status(error) in {"405", "501"}
                if is_unknown or isinstance(error, NotSupportedError):
                    return None
                raise
            return True

        return self._answered(name, put)

    def _listed(self, folder: str) -> Sequence[ObjectMeta]:
        """Return what the store says of each object below a folder."""
        pages = partial(obstore.list, self._store, folder or None)
        return self._answered(folder, lambda: [meta for page in pages() for meta in page])

    def _read(self, name: str, use: Callable[[GetResult], _T]) -> _T | None:
        """Return what is made of an object, None if there is none."""
        return self._if_there(name, lambda: use(obstore.get(self._store, name)))

    def _if_there(self, name: str, request: Callable[[], _T]) -> _T | None:
        return self._answered(name, lambda: object_client.if_there(request))

    def _answered(self, name: str, request: Callable[[], _T]) -> _T:
        where = self.display_path(name)
        return object_client.answered(self._uri, where, request, self._limits.patience)
