"""Index of footers: the coverage of a bucket's files of one dataset, in one file beside them.

A command reads it in the place of one footer for each month. It names each file with the version
that a listing has, so a file that was replaced since is read itself. It is a cache, safe to lose: a
damaged one counts as none, and the holder of a bucket writes it anew where it is behind.

The file is a version byte, that of the coverage, the version of the columns of the data files, the
SHA-256 of all behind it, the length of a table of contents, that table as JSON, and the payloads of
the coverage one behind the other, compressed with zstd. Months of the same accounts are alike, so a
month more adds little.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa

from harvester.core.errors import LostRace
from harvester.core.model import Partition
from harvester.storage import footer, layout, partition_reader
from harvester.storage.backends.base import MAX_SIDE_FILE, Blob, FileInfo, Version
from harvester.storage.backends.concurrently import map_concurrently
from harvester.storage.layout import INDEX, Tree
from harvester.storage.state import json_file
from harvester.tables import coverage
from harvester.tables.coverage import Coverage

VERSION = 1
"""Version of the file, in its first byte in every version."""

_HEAD = struct.Struct("<BBH32sI")
_CODEC = "zstd"
_READ_AHEAD = 4
"""Indexes that are read at once."""

_DAMAGE = (ValueError, TypeError, OSError, struct.error, pa.ArrowException)


@dataclass(slots=True)
class _Index:
    """The index of one bucket and dataset.

    ``contents`` has the version of each file and the length of its payload, by name, in the order
    of the payloads. ``there`` is the version of the index itself, None if there is none.
    """

    name: str
    there: Version | None = None
    contents: dict[str, tuple[str, int]] = field(default_factory=dict)
    packed: memoryview = field(default_factory=lambda: memoryview(b""))

    def knows(self, file: FileInfo) -> bool:
        """Return whether the payload of a file is in the index, as the file is now."""
        return file.name in self.contents and self.contents[file.name][0] == file.version

    def payloads(self) -> Iterator[tuple[str, bytes]]:
        """Yield the payloads with the names of their files. Raises one of `_DAMAGE`."""
        if self.contents:
            with pa.CompressedInputStream(pa.BufferReader(self.packed), _CODEC) as stream:
                for name, (_, length) in self.contents.items():
                    # Of a negative length the stream would be read to its end.
                    if not 0 <= length <= coverage.MAX_PAYLOAD_BYTES:
                        raise ValueError("no payload of a month has this length")
                    yield name, stream.read(length)


class _Draft:
    """A new index of a bucket and dataset."""

    def __init__(self) -> None:
        self._contents: dict[str, tuple[str, int]] = {}
        self._sink = pa.BufferOutputStream()
        self._stream = pa.CompressedOutputStream(self._sink, _CODEC)

    def add(self, file: FileInfo, payload: bytes) -> None:
        """Add the coverage of a file."""
        self._contents[file.name] = file.version, len(payload)
        self._stream.write(payload)

    def made(self) -> bytes:
        """Return the contents of the file."""
        self._stream.close()
        contents = json.dumps(self._contents).encode()
        rest: bytes = contents + self._sink.getvalue().to_pybytes()
        return _HEAD.pack(*_versions(), _seal(len(contents), rest), len(contents)) + rest


def coverages(
    tree: Tree, wanted: Iterable[tuple[Partition, FileInfo]]
) -> Iterator[tuple[Partition, Coverage]]:
    """Yield the coverage of listed files, one dataset and bucket after the other.

    The indexes of buckets that are held are brought up to date. Raises StoreError and OtherVersion
    for a footer that cannot be read, because reading it as empty would ask for its days again.
    """
    shelves: dict[tuple[str, int], dict[str, tuple[Partition, FileInfo]]] = {}
    for place, file in wanted:
        shelves.setdefault((place.dataset, place.bucket), {})[file.name] = place, file
    there = {file.name: file for file in tree.files(INDEX)}
    names = [name_of(tree, *shelf) for shelf in shelves]
    read = partial(_read, tree, there)
    found = map_concurrently(read, names, calls=_READ_AHEAD)
    for (shelf, files), index in zip(shelves.items(), found, strict=True):
        yield from _of_shelf(tree, shelf, files, index)


def each_coverage(tree: Tree, files: Sequence[FileInfo]) -> Iterator[Coverage | None]:
    """Yield the coverage of listed files without an index, None of one that is gone.

    What this run wrote is not read again. Raises as `coverages`.
    """
    kept = [tree.recall(file) for file in files]
    unknown = (file for file, blob in zip(files, kept, strict=True) if blob is None)
    read = partition_reader.rows_and_footers(tree.store, unknown)
    for blob in kept:
        if blob is not None:
            yield coverage.parse_payload(blob.data)
        else:
            found = next(read)
            yield found and found[1].coverage


def name_of(tree: Tree, dataset: str, bucket: int) -> str:
    """Return the name of the index of a dataset and bucket."""
    return f"{INDEX}/{dataset}.{tree.bucket_label(bucket)}"


def renew(tree: Tree, datasets: Iterable[str], buckets: Iterable[int]) -> None:
    """Bring the indexes of held buckets up to date, so that they know no other coverage.

    Raises as `coverages`.
    """
    tree, held = tree.listed_once(), [*buckets]
    for dataset in datasets:
        files = layout.partitions(tree, dataset, held)
        deque(coverages(tree, files.items()), maxlen=0)
        for bucket in {*held} - {place.bucket for place in files}:
            tree.store.delete(name_of(tree, dataset, bucket))


def digests(tree: Tree, dataset: str) -> dict[tuple[str, str], bytes]:
    """Return what the indexes of a dataset have, as `digest`, by name and version of the file.

    Of a damaged index as much as can be read. Raises StoreError.
    """
    found: dict[tuple[str, str], bytes] = {}
    there = {file.name: file for file in tree.files(INDEX)}
    for name in (name_of(tree, dataset, bucket) for bucket in range(tree.buckets)):
        index = _read(tree, there, name)
        with suppress(*_DAMAGE):
            for file, payload in index.payloads():
                found[file, index.contents[file][0]] = hashlib.sha256(payload).digest()
    return found


def digest(known: Coverage) -> bytes:
    """Return the digest of a coverage."""
    return hashlib.sha256(coverage.payload(known)).digest()


def _of_shelf(
    tree: Tree,
    shelf: tuple[str, int],
    wanted: dict[str, tuple[Partition, FileInfo]],
    index: _Index,
) -> Iterator[tuple[Partition, Coverage]]:
    """Yield the coverage of files of a bucket and dataset; write an index that is behind."""
    dataset, bucket = shelf
    listed = {x.name: x for x in layout.partitions(tree, dataset, [bucket]).values()}
    current = {name for name in index.contents if name in listed and index.knows(listed[name])}
    is_behind = len(current) < len(index.contents) or not current.issuperset(wanted)
    left, draft = dict(wanted), _Draft()
    with suppress(*_DAMAGE):
        for name, payload in index.payloads():
            if name in left and name in current:
                known = coverage.parse_payload(payload)
                if known.month != left[name][0].month:
                    break
                yield left.pop(name)[0], known
            if is_behind and name in current:
                draft.add(listed[name], payload)
    read = each_coverage(tree, [file for _, file in left.values()])
    for (place, file), found in zip(left.values(), read, strict=True):
        if found is not None:
            yield place, found
            draft.add(file, coverage.payload(found))
    # What is left of a damaged index is not in the new one either, and the next run adds it.
    if bucket in tree.held and (is_behind or left):
        _write(tree, index, draft)


def _write(tree: Tree, index: _Index, draft: _Draft) -> None:
    """Put an index over the one that was read, unless another run did or may work here."""
    if tree.hold.is_good():
        with suppress(LostRace):
            data = draft.made()
            tree.remember(index.name, tree.store.put(index.name, data, index.there), data)


def _read(tree: Tree, there: Mapping[str, FileInfo], name: str) -> _Index:
    """Read an index; one that is damaged or of another version is read as empty."""
    file = there.get(name)
    found = file and (tree.recall(file) or tree.store.get(name, MAX_SIDE_FILE))
    if not found:
        return _Index(name)
    tree.remember(name, found.version, found.data)
    try:
        return _Index(name, found.version, *_opened(found))
    except _DAMAGE:
        return _Index(name, found.version)


def _opened(found: Blob) -> tuple[dict[str, tuple[str, int]], memoryview]:
    """Return the table of contents and the packed payloads. Raises one of `_DAMAGE`."""
    *versions, seal, length = _HEAD.unpack_from(found.data)
    rest = memoryview(found.data)[_HEAD.size :]
    if (*versions,) != _versions() or seal != _seal(length, rest):
        raise ValueError("not an index of this version")
    plain: Mapping[str, tuple[str, int]] = json_file.parse(bytes(rest[:length]))
    contents = {str(name): (str(tag), int(size)) for name, (tag, size) in plain.items()}
    return contents, rest[length:]


def _versions() -> tuple[int, int, int]:
    # A data file of another version is to be refused, so its footer must be read.
    return VERSION, coverage.VERSION, footer.SCHEMA_VERSION


def _seal(length: int, rest: bytes | memoryview) -> bytes:
    return hashlib.sha256(length.to_bytes(4, "little") + rest).digest()
