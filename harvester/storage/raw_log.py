"""Answers as they came, until their months are published: nothing WeChat sent is lost to a parser.

One file is a *group* of answers of one bucket, an Arrow IPC file (lz4) under
``_harvester/raw/<run>/``, sorted by dataset, account and window. Its record batches are small, of
one dataset each, and the file says of each which months it touches, so a reader passes over what it
does not want and holds one decompressed batch at a time.
"""

from __future__ import annotations

import errno
import json
import re
import secrets
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from harvester.core.calendar import Month, month_begin, month_end, month_of
from harvester.core.errors import OtherVersion, UsageError
from harvester.core.model import Answer, Window
from harvester.storage import quarantine
from harvester.storage.backends import atomic_files
from harvester.storage.layout import RAW, Tree

VERSION = 2
"""Version of a group. A later one stays an Arrow file that says its version in the same place."""

BATCH_BYTES = 128 << 10
"""A record batch is closed when its bodies are this long together."""

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
_KEY = b"harvester.group"
_GROUP = re.compile(rf"{RAW}/[^/]+/(\d{{4,}})-\d+[^/]*\.group")


class DamagedGroup(Exception):
    """A group that is gone or cannot be read. What it held is not covered: it is asked again."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: a damaged raw group")
        self.path = path


class Batch(NamedTuple):
    """What one record batch holds: answers of one dataset, touching these months.

    ``checksum`` is the CRC-32 of its columns, since neither Arrow nor lz4 keeps any.
    """

    dataset: str
    months: tuple[Month, ...]
    checksum: int


@dataclass(frozen=True, slots=True)
class Group:
    """One durable file of answers. Two are the same if their names are.

    It is read at ``path``. ``id`` is unlike that of any other group ever written. ``fetched_at`` is
    in microseconds since the Unix epoch, ``size`` in bytes.
    """

    name: str
    path: Path = field(compare=False)
    id: str = field(compare=False)
    run_id: str = field(compare=False)
    bucket: int = field(compare=False)
    buckets: int = field(compare=False)
    fetched_at: int = field(compare=False)
    size: int = field(compare=False)
    batches: tuple[Batch, ...] = field(compare=False, repr=False)

    @property
    def months(self) -> frozenset[tuple[str, Month]]:
        """The datasets and months that answers of this group have days of."""
        return frozenset((batch.dataset, month) for batch in self.batches for month in batch.months)

    def answers(self, dataset: str, month: Month) -> Iterator[Answer]:
        """The answers with days of a month, by appid and window. Raises DamagedGroup, StoreError.

        The file is open only while a batch is read: a publish walks hundreds of groups at once.
        """
        first, last = month_begin(month), month_end(month)
        for place, batch in enumerate(self.batches):
            if batch.dataset != dataset or month not in batch.months:
                continue
            # No name holds the columns: each body would be in memory twice, in hundreds of groups.
            columns = (each.to_pylist() for each in _read(self.path, place, batch.checksum))
            rows = zip(*columns, strict=True)
            for appid, begin, end, asked_at, refetch, body in rows:
                if begin <= last and end >= first:
                    mask = int.from_bytes(refetch, "little")
                    yield Answer(Window(appid, dataset, begin, end), asked_at, mask, body)


class UnpublishedGroups(NamedTuple):
    """Groups that wait to be published, oldest first, and where damaged ones were moved to."""

    groups: list[Group]
    damaged: list[str]


def write_group(tree: Tree, bucket: int, run_id: str, answers: Sequence[Answer]) -> Group:
    """Write answers of one bucket; durable when it returns. Raises StoreError.

    The group's rows will be stamped with the newest ``asked_at`` of its answers.
    """
    ordered = sorted(answers, key=_order)
    parts = list(_parts(ordered))
    arrays = [_arrays(part) for part in parts]
    index = {
        "version": VERSION,
        "id": secrets.token_hex(8),
        "run_id": run_id,
        "bucket": bucket,
        "buckets": tree.buckets,
        "fetched_at": max(answer.asked_at for answer in answers) * 1_000_000,
        "batches": list(map(_batch, parts, arrays)),
    }
    data = _bytes_of(arrays, index)
    folder = f"{RAW}/{run_id}"
    # The id keeps a name from ever standing for two groups: numbers begin anew in an empty folder.
    number = _next_number(tree, folder, bucket)
    name = f"{folder}/{bucket:04d}-{number:06d}-{index['id']}.group"
    path = tree.store.append(name, data, tree.temp(bucket, f"{run_id}.group"))
    return _group(name, path, len(data), index)


def existing(tree: Tree, groups: Iterable[Group]) -> list[Group]:
    """Those of some groups that are still there. One that is gone was published by another run."""
    names = {file.name for file in tree.store.list(RAW)}
    return [group for group in groups if group.name in names]


def delete(tree: Tree, group: Group) -> None:
    """Remove a group, once everything it touches is published. Raises StoreError."""
    tree.store.delete(group.name)


def unpublished(tree: Tree, buckets: Iterable[int]) -> UnpublishedGroups:
    """The groups of all runs in these buckets; only for who holds their locks.

    A group that cannot be read is moved to the quarantine. Raises StoreError, and UsageError for
    groups of another version or another number of buckets; then nothing is moved.
    """
    wanted = set(buckets)
    groups: list[Group] = []
    damaged: list[str] = []
    names = [file.name for file in tree.store.list(RAW) if _bucket_named(file.name) in wanted]
    for name, path in zip(names, tree.store.copies(names), strict=True):
        if path is None:
            continue
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
    moved = [to for name in damaged if (to := quarantine.quarantine_group(tree, name))]
    return UnpublishedGroups(sorted(groups, key=lambda group: group.fetched_at), moved)


def open_group(name: str, path: Path) -> Group:
    """Read what a group says of itself.

    Raises DamagedGroup, OtherVersion for another version, and StoreError if the system will not
    give it to us.
    """
    with _reading(path), pa.OSFile(str(path)) as source:
        reader = pa.ipc.open_file(source)
        index = json.loads(reader.schema.metadata[_KEY])
        if index["version"] > VERSION:
            raise OtherVersion.newer(f"{name}: raw group", index["version"], VERSION)
        if index["version"] < VERSION:
            raise OtherVersion(
                f"{name}: raw group version {index['version']}, older than version {VERSION}",
                "run the harvester that wrote it once more: it publishes the group",
            )
        group = _group(name, path, source.size(), index)
        if reader.num_record_batches != len(group.batches):
            raise DamagedGroup(path)
        return group


def group_names(tree: Tree) -> list[str]:
    """All groups there are, by name. Raises StoreError."""
    found = (file.name for file in tree.store.list(RAW))
    return [name for name in found if _bucket_named(name) is not None]


def readable_groups(tree: Tree, buckets: Iterable[int]) -> Iterator[Group]:
    """The groups of these buckets, damaged ones left out; nothing is moved. Raises StoreError."""
    wanted = set(buckets)
    mine = [name for name in group_names(tree) if _bucket_named(name) in wanted]
    for name, path in zip(mine, tree.store.copies(mine), strict=True):
        if path is not None:
            with suppress(DamagedGroup):
                yield open_group(name, path)


def _order(answer: Answer) -> tuple[str, str, int, int]:
    window = answer.window
    return (window.dataset, window.appid, window.begin, answer.asked_at)


def _parts(ordered: list[Answer]) -> Iterator[list[Answer]]:
    """Cut sorted answers into record batches, each of one dataset."""
    for _, group in groupby(ordered, key=lambda answer: answer.window.dataset):
        part: list[Answer] = []
        size = 0
        for answer in group:
            part.append(answer)
            size += len(answer.body)
            if size >= BATCH_BYTES:
                yield part
                part, size = [], 0
        if part:
            yield part


def _arrays(part: list[Answer]) -> list[pa.Array]:
    """The columns of a record batch."""
    windows, asked_at, masks, bodies = zip(*part, strict=True)
    # A window may have hundreds of days, and most masks none.
    refetch = [mask.to_bytes((mask.bit_length() + 7) // 8, "little") for mask in masks]
    appids, _, begins, ends = zip(*windows, strict=True)
    columns = (appids, begins, ends, asked_at, refetch, bodies)
    return list(map(pa.array, columns, _SCHEMA.types))


def _batch(part: list[Answer], arrays: list[pa.Array]) -> Batch:
    spans = {(answer.window.begin, answer.window.end) for answer in part}
    months = {month for begin, end in spans for month in range(month_of(begin), month_of(end) + 1)}
    return Batch(part[0].window.dataset, tuple(sorted(months)), _checksum(arrays))


def _checksum(arrays: list[pa.Array]) -> int:
    found = 0
    for array in arrays:
        for buffer in array.buffers():
            if buffer is not None:
                found = zlib.crc32(buffer, found)
    return found


def _bytes_of(batches: list[list[pa.Array]], index: dict[str, Any]) -> memoryview:
    schema = _SCHEMA.with_metadata({_KEY: json.dumps(index)})
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with pa.ipc.new_file(sink, schema, options=options) as writer:
        for arrays in batches:
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
    return memoryview(sink.getvalue())


def _next_number(tree: Tree, folder: str, bucket: int) -> int:
    names = [file.name for file in tree.store.list(folder)]
    mine = [name for name in names if _bucket_named(name) == bucket]
    return 1 + max((int(name.rpartition("/")[2].split("-")[1]) for name in mine), default=0)


def _bucket_named(name: str) -> int | None:
    """The bucket of a group, by its name; None if it is not named like one."""
    match = _GROUP.fullmatch(name)
    return int(match[1]) if match else None


def _group(name: str, path: Path, size: int, index: dict[str, Any]) -> Group:
    return Group(
        name=name,
        path=path,
        id=index["id"],
        run_id=index["run_id"],
        bucket=index["bucket"],
        buckets=index["buckets"],
        fetched_at=index["fetched_at"],
        size=size,
        batches=tuple(
            Batch(dataset, tuple(months), checksum)
            for dataset, months, checksum in index["batches"]
        ),
    )


def _read(path: Path, place: int, checksum: int) -> list[pa.Array]:
    with _reading(path), pa.OSFile(str(path)) as source:
        batch = pa.ipc.open_file(source).get_batch(place)
        # Lengths first; what is inside of them is as it was written if the checksum is.
        batch.validate()
        arrays: list[pa.Array] = batch.columns
        if _checksum(arrays) != checksum:
            raise DamagedGroup(path)
        return arrays


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Tell a file that is damaged from one that the system will not give us."""
    try:
        yield
    except OSError as error:
        if error.errno in {None, errno.ENOENT}:
            raise DamagedGroup(path) from error
        raise atomic_files.store_error(path, error) from error
    except (pa.ArrowException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedGroup(path) from error
