"""Raw log: answers as received, kept until their months are published.

One file is a *group* of answers of one bucket, an Arrow IPC file (lz4) under
``_harvester/raw/<run>/``, sorted by dataset, account and window. Its record batches are small and
of one dataset each, and the file's index has the months of each, so a reader skips the others and
has one decompressed batch in memory at a time.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from harvester.core.calendar import FIRST_DAY, Month, month_begin, month_end, month_of
from harvester.core.errors import OtherVersion, UsageError
from harvester.core.model import RawAnswer, Window, bucket_of, is_appid
from harvester.core.text.inert_text import inert
from harvester.storage import arrow_batches, arrow_files, quarantine
from harvester.storage.arrow_batches import BatchPlace
from harvester.storage.backends import regular_files
from harvester.storage.layout import MONTHS, RAW, Tree
from harvester.storage.state import json_file

VERSION = 1
"""Version of the format. Later versions stay Arrow files with the version in the same place."""

BATCH_BYTES = 128 << 10
"""Total length of bodies at which a record batch is closed."""

MAX_BATCH_BYTES = 64 << 20
"""Most memory of a record batch: `BATCH_BYTES`, the longest answer, and room."""

MAX_GROUP_BYTES = 2 << 30
"""Most memory of all record batches of a group, one after the other."""

_MAX_BATCHES = 4096
_MAX_DAYS = 400
_END = 1 << 32
"""No answer was asked for so many seconds after 1970, and the coverage has 32 bits for it."""

_SCHEMA = pa.schema(
    [
        pa.field("appid", pa.string(), nullable=False),
        pa.field("begin", pa.int32(), nullable=False),
        pa.field("end", pa.int32(), nullable=False),
        pa.field("asked_at", pa.int64(), nullable=False),
        pa.field("refetch", pa.binary(), nullable=False),
        pa.field("body", pa.binary(), nullable=False),
    ]
)
_INDEX_KEY = b"harvester.group"
_DAMAGE = (
    FileNotFoundError,
    pa.ArrowException,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    struct.error,
)
_GROUP_NAME = re.compile(rf"{RAW}/[^/]+/(\d{{4,}})-\d+[^/]*\.group")


class DamagedGroup(Exception):
    """A group that is gone or cannot be read. Its days are not covered, so they are asked again."""


class Batch(NamedTuple):
    """A record batch of a group: the dataset of its answers, their months, and its place.

    ``checksum`` is the CRC-32 of its columns, because neither Arrow nor lz4 has any.
    """

    dataset: str
    months: tuple[Month, ...]
    checksum: int
    place: BatchPlace


@dataclass(frozen=True, slots=True)
class Group:
    """One durable file of answers. Groups are equal if their names are.

    ``path`` is its local copy, and ``id`` is unique among all groups ever written. ``fetched_at``
    is in microseconds since the Unix epoch, ``size`` in bytes. ``behind`` is by how many seconds
    the time that settles days is earlier than the times at which the answers were asked.
    """

    name: str
    path: Path = field(compare=False)
    id: str = field(compare=False)
    run_id: str = field(compare=False)
    bucket: int = field(compare=False)
    buckets: int = field(compare=False)
    fetched_at: int = field(compare=False)
    behind: int = field(compare=False)
    size: int = field(compare=False)
    batches: tuple[Batch, ...] = field(compare=False, repr=False)

    @property
    def months(self) -> frozenset[tuple[str, Month]]:
        """Datasets and months of the group's answers."""
        return frozenset((batch.dataset, month) for batch in self.batches for month in batch.months)

    def answers(self, dataset: str, month: Month) -> Iterator[RawAnswer]:
        """Yield the answers with days of a month, by appid and window.

        The file is open only while a batch is read, because a publish reads hundreds of groups at
        once. Raises DamagedGroup and StoreError.
        """
        first, last = month_begin(month), month_end(month)
        ours = set[str]()
        for batch in self.batches:
            if batch.dataset != dataset or month not in batch.months:
                continue
            # No variable holds the columns, or each body would be in memory twice, in every group.
            columns = (each.to_pylist() for each in _read_columns(self.path, batch))
            rows = zip(*columns, strict=True)
            for appid, begin, end, asked_at, refetch, body in rows:
                if appid not in ours:
                    self._refuse_foreign(appid)
                    ours.add(appid)
                if not (FIRST_DAY <= begin <= end < begin + _MAX_DAYS and 0 <= asked_at < _END):
                    raise DamagedGroup(self.path)
                if begin <= last and end >= first:
                    mask = int.from_bytes(refetch, "little")
                    yield RawAnswer(Window(appid, dataset, begin, end), asked_at, mask, body)

    def _refuse_foreign(self, appid: str) -> None:
        """Raise DamagedGroup for an account of another bucket: its rows would be there twice."""
        if not is_appid(appid) or bucket_of(appid, self.buckets) != self.bucket:
            raise DamagedGroup(self.path)


def write_group(
    tree: Tree, bucket: int, run_id: str, answers: Sequence[RawAnswer], behind: int = 0
) -> Group:
    """Write answers of one bucket durably. Raises StoreError.

    The group's rows get the newest ``asked_at`` of its answers. ``behind`` is that of `Group`.
    """
    parts = list(_batches_of(sorted(answers, key=_group_order)))
    arrays = [_columns_of(part) for part in parts]
    index = {
        "version": VERSION,
        "id": secrets.token_hex(8),
        "run_id": run_id,
        "bucket": bucket,
        "buckets": tree.buckets,
        "fetched_at": max(answer.asked_at for answer in answers) * 1_000_000,
        "behind": behind,
        "batches": list(map(_index_entry, parts, arrays)),
    }
    data = _encode_group(arrays, index)
    folder = f"{RAW}/{run_id}"
    # Numbers restart in an empty folder, so the id keeps a name from standing for two groups.
    number = _next_group_number(tree, folder, bucket)
    name = f"{folder}/{bucket:04d}-{number:06d}-{index['id']}.group"
    path = tree.store.append(name, data)
    places = arrow_batches.places(pa.BufferReader(data))
    return _group_from_index(name, path, len(data), index, places)


def existing(tree: Tree, groups: Iterable[Group]) -> list[Group]:
    """Return the groups that still exist. The others were published by another run."""
    names = {file.name for file in tree.store.list(RAW)}
    return [group for group in groups if group.name in names]


def delete(tree: Tree, group: Group) -> None:
    """Remove a group after all its months are published. Raises StoreError."""
    tree.store.delete(group.name)


def unpublished(tree: Tree, buckets: Iterable[int]) -> tuple[list[Group], list[str]]:
    """Return the groups of all runs in these buckets, oldest first; the caller holds their locks.

    Damaged groups are moved to the quarantine, and their paths there returned too. Raises
    StoreError, and UsageError for groups of another version or another number of buckets; then
    nothing is moved.
    """
    groups: list[Group] = []
    damaged: list[str] = []
    for name, path in local_copies(tree, buckets):
        try:
            group = open_group(name, path)
        except DamagedGroup:
            damaged.append(name)
            continue
        if group.buckets != tree.buckets:
            raise UsageError(
                f"{tree.store.display_path(name)}: written with buckets: {group.buckets},"
                f" not {tree.buckets}",
                f"run once with buckets: {group.buckets} to have it published",
            )
        groups.append(group)
    # Only now, because a group of another version may still refuse all of them.
    moved = [to for name in damaged if (to := quarantine.quarantine_group(tree, name))]
    return sorted(groups, key=lambda group: group.fetched_at), moved


def open_group(name: str, path: Path) -> Group:
    """Read the index of a group.

    Raises DamagedGroup, OtherVersion for a newer version, and StoreError if the system refuses to
    read the file.
    """
    with _errors_as_damage(path), arrow_files.open_file(path) as source:
        places = arrow_batches.places(source)
        sizes = [arrow_batches.decompressed_size(source, place) for place in places]
        reader = pa.ipc.open_file(source)
        index = json_file.parse(reader.schema.metadata[_INDEX_KEY])
        if index["version"] > VERSION:
            raise OtherVersion.newer(f"{inert(name)}: raw group", index["version"], VERSION)
        group = _group_from_index(name, path, source.size(), index, places)
        # All sizes before a batch is read, because a kilobyte may stand for gigabytes.
        is_ours = (
            index["version"] == VERSION
            and reader.schema.equals(_SCHEMA)
            and reader.num_record_batches == len(group.batches) <= _MAX_BATCHES
            and max(sizes, default=0) <= MAX_BATCH_BYTES
            and sum(sizes) <= MAX_GROUP_BYTES
            and _is_plausible(group)
        )
        if not is_ours:
            raise DamagedGroup(path)
        return group


def group_names(tree: Tree) -> list[str]:
    """Return the names of all groups. Raises StoreError."""
    names = (file.name for file in tree.store.list(RAW))
    return [name for name in names if _bucket_of_name(name) is not None]


def readable_groups(tree: Tree, buckets: Iterable[int]) -> Iterator[Group]:
    """Yield the groups of these buckets without damaged ones; move nothing. Raises StoreError."""
    for name, path in local_copies(tree, buckets):
        with suppress(DamagedGroup):
            yield open_group(name, path)


def local_copies(tree: Tree, buckets: Iterable[int] | None = None) -> Iterator[tuple[str, Path]]:
    """Yield name and path of each group that exists, of all buckets or of the given ones."""
    ours = None if buckets is None else set(buckets)
    names = [name for name in group_names(tree) if ours is None or _bucket_of_name(name) in ours]
    for name, path in zip(names, tree.store.copies(names), strict=True):
        if path is not None:
            yield name, path


def _group_order(answer: RawAnswer) -> tuple[str, str, int, int]:
    window = answer.window
    return (window.dataset, window.appid, window.begin, answer.asked_at)


def _batches_of(ordered: list[RawAnswer]) -> Iterator[list[RawAnswer]]:
    """Cut sorted answers into record batches, each of one dataset."""
    for _, group in groupby(ordered, key=lambda answer: answer.window.dataset):
        part: list[RawAnswer] = []
        size = 0
        for answer in group:
            part.append(answer)
            size += len(answer.body)
            if size >= BATCH_BYTES:
                yield part
                part, size = [], 0
        if part:
            yield part


def _columns_of(part: list[RawAnswer]) -> list[pa.Array]:
    """Return the columns of a record batch."""
    windows, asked_at, masks, bodies = zip(*part, strict=True)
    # As bytes, because a mask may have hundreds of bits and most have none.
    refetch = [mask.to_bytes((mask.bit_length() + 7) // 8, "little") for mask in masks]
    appids, _, begins, ends = zip(*windows, strict=True)
    columns = (appids, begins, ends, asked_at, refetch, bodies)
    return list(map(pa.array, columns, _SCHEMA.types))


def _index_entry(part: list[RawAnswer], arrays: list[pa.Array]) -> tuple[Any, ...]:
    """Return what the index says of a record batch: its dataset, its months, its checksum."""
    spans = {(answer.window.begin, answer.window.end) for answer in part}
    months = {month for begin, end in spans for month in range(month_of(begin), month_of(end) + 1)}
    return part[0].window.dataset, sorted(months), _checksum(arrays)


def _checksum(arrays: list[pa.Array]) -> int:
    crc = 0
    for buffer in chain.from_iterable(array.buffers() for array in arrays):
        if buffer is not None:
            crc = zlib.crc32(buffer, crc)
    return crc


def _encode_group(batches: list[list[pa.Array]], index: dict[str, Any]) -> memoryview:
    schema = _SCHEMA.with_metadata({_INDEX_KEY: json.dumps(index)})
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with pa.ipc.new_file(sink, schema, options=options) as writer:
        for arrays in batches:
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
    return memoryview(sink.getvalue())


def _next_group_number(tree: Tree, folder: str, bucket: int) -> int:
    names = [file.name for file in tree.store.list(folder)]
    mine = [name for name in names if _bucket_of_name(name) == bucket]
    return 1 + max((int(name.rpartition("/")[2].split("-")[1]) for name in mine), default=0)


def _bucket_of_name(name: str) -> int | None:
    """Return the bucket in a group's name, None for the name of another file."""
    match = _GROUP_NAME.fullmatch(name)
    return int(match[1]) if match else None


def _group_from_index(
    name: str, path: Path, size: int, index: dict[str, Any], places: Iterable[BatchPlace]
) -> Group:
    batches = tuple(
        Batch(dataset, tuple(months), crc, place)
        for (dataset, months, crc), place in zip(index["batches"], places, strict=True)
    )
    keys = ("id", "run_id", "bucket", "buckets", "fetched_at", "behind")
    members = {key: index[key] for key in keys}
    return Group(name, path, size=size, batches=batches, **members)


def _is_plausible(group: Group) -> bool:
    """Return whether the index of a group has values that a harvester may have written."""
    months = {month for batch in group.batches for month in batch.months}
    numbers = [group.bucket, group.buckets, group.fetched_at, group.behind]
    numbers += [batch.checksum for batch in group.batches]
    texts = [group.id, group.run_id, *(batch.dataset for batch in group.batches)]
    return (
        # Not isinstance, because JSON's true is an int of Python too.
        all(type(number) is int for number in (*numbers, *months))
        and all(type(text) is str for text in texts)
        and _bucket_of_name(group.name) in (group.bucket, None)
        and 0 <= group.bucket < group.buckets
        and 0 <= group.fetched_at < _END * 1_000_000
        and 0 <= group.behind < _END
        and all(month in MONTHS for month in months)
    )


def _read_columns(path: Path, batch: Batch) -> list[pa.Array]:
    with _errors_as_damage(path), regular_files.reader(path) as file:
        # At its place, because to read the index again would cost more than to read the batch.
        at, head, body = batch.place
        data = os.pread(file.fileno(), head + body, at)
        record = pa.ipc.read_record_batch(pa.py_buffer(data), _SCHEMA)
        # Lengths are checked first, because the checksum reads through them.
        record.validate(full=True)
        arrays: list[pa.Array] = record.columns
        if _checksum(arrays) != batch.checksum or any(array.null_count for array in arrays):
            raise DamagedGroup(path)
        return arrays


def _errors_as_damage(path: Path) -> AbstractContextManager[None]:
    """Raise DamagedGroup for damaged bytes, StoreError if the system refuses to read the file."""
    return arrow_files.damage_as(lambda: DamagedGroup(path), path, *_DAMAGE)
