"""Raw log: answers as received, kept until their months are published.

One file is a *group* of answers of one bucket under ``_harvester/raw/<run>/``, sorted by dataset,
account and window. It has batches, compressed with lz4, and at its end an index. A batch is small
and of one dataset, and the index has its months, so a reader skips the others and has one
decompressed batch in memory at a time. The index has the version of all side files.
"""

from __future__ import annotations

import os
import re
import secrets
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from harvester.core.calendar import FIRST_DAY, Month, month_begin, month_end, month_of
from harvester.core.contradictions import CachedBody
from harvester.core.errors import UsageError
from harvester.core.model import Count, RawAnswer, Window, bucket_of, is_appid
from harvester.core.text.inert_text import inert
from harvester.storage import arrow_files, quarantine
from harvester.storage.backends import regular_files
from harvester.storage.layout import MONTHS, RAW, Tree
from harvester.storage.state import json_file

BATCH_BYTES = 128 << 10
"""Most memory of the answers of a batch, unless it holds a longer one alone."""

_ANSWER_BYTES = 400
"""Memory of an answer beside its body."""

MERGED_GROUPS = 512
"""Most groups that are merged at once. Each holds a batch, or no body: at most 64 MiB together."""

UNREAD = bytes(bytearray(b"unread"))
"""Body of an answer whose turn has not come: this very object."""

MAX_BATCH_BYTES = 64 << 20
"""Most memory of a batch: `BATCH_BYTES`, the longest answer, and room."""

MAX_GROUP_BYTES = 2 << 30
"""Most memory of all batches of a group, one after the other."""

MAX_INDEX_BYTES = 4 << 20
"""Longest index that is read."""

_MAX_DAYS = 400
_LATEST = 1 << 32
"""No answer was asked for so many seconds after 1970, and the coverage has 32 bits for it."""

_END = struct.Struct("<II8s")
"""End of a group: length and CRC-32 of the index before it, and what marks a group."""

_ROW = struct.Struct("<iiqHHI")
"""Head of an answer: begin, end, ``asked_at`` and above its 32 bits the age of a `CachedBody`, and
the lengths of what follows it: the account, the mask of the refetched days, and the body."""

_MAX_AGE = 366 * 86_400
"""Seconds of the age of an answer from a cache; an older one is said to be of this age."""

_MARK = b"HARVGRP1"
_LZ4 = pa.Codec("lz4")
_DAMAGE = (FileNotFoundError, ValueError, KeyError, TypeError, struct.error)
_GROUP_NAME = re.compile(rf"{RAW}/[^/]+/(\d{{4,}})-[^/]+\.group")


class DamagedGroup(Exception):
    """A group that is gone or cannot be read. Its days are not covered, so they are asked again."""


class Batch(NamedTuple):
    """A batch of a group: the dataset of its answers, and their months.

    ``length`` and ``checksum``, a CRC-32, are those of its bytes in the file, and ``size`` is the
    length of its answers.
    """

    dataset: str
    months: tuple[Month, ...]
    length: Count
    size: Count
    checksum: int


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
        return (each for each in self.by_turns(dataset, month) if each.body is not UNREAD)

    def by_turns(self, dataset: str, month: Month) -> Iterator[RawAnswer]:
        """Yield them for a merge of many groups: a long one comes as `UNREAD` first.

        Its body is read once the merge has taken that, and so wants it next.
        """
        places = accumulate((batch.length for batch in self.batches), initial=0)
        for at, batch in zip(places, self.batches, strict=False):
            if batch.dataset == dataset and month in batch.months:
                found = _read(self.path, at, batch, month)
                for appid in {answer.window.appid for answer in found}:
                    self._refuse_foreign(appid)
                if batch.size <= BATCH_BYTES:
                    yield from found
                    continue
                found = [answer._replace(body=UNREAD) for answer in found]
                for place, answer in enumerate(found):
                    yield answer
                    yield _read(self.path, at, batch, month)[place]

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
    parts = _batches_of(sorted(answers, key=_group_order))
    batches, packed = zip(*map(_packed, parts), strict=True)
    members: dict[str, Any] = {
        "id": secrets.token_hex(8),
        "run_id": run_id,
        "bucket": bucket,
        "buckets": tree.buckets,
        "fetched_at": max([answer.asked_at for answer in answers]) * 1_000_000,
        "behind": behind,
        "batches": batches,
    }
    index = json_file.encoded(members)
    data = b"".join((*packed, index, _END.pack(len(index), zlib.crc32(index), _MARK)))
    name = f"{RAW}/{run_id}/{bucket:04d}-{members['id']}.group"
    return Group(name, tree.store.append(name, data), size=len(data), **members)


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
    with _errors_as_damage(path), regular_files.reader(path) as file:
        size = os.fstat(file.fileno()).st_size
        end = max(0, size - _END.size)
        length, checksum, mark = _END.unpack(os.pread(file.fileno(), _END.size, end))
        if mark != _MARK or length > min(end, MAX_INDEX_BYTES):
            raise DamagedGroup(path)
        text = os.pread(file.fileno(), length, end - length)
        if zlib.crc32(text) != checksum:
            raise DamagedGroup(path)
        index = json_file.parse(text)
    where = f"{inert(name)}: raw group"
    group = json_file.value_of(index, Group, where, name=name, path=path, size=size)
    if group is None or not _is_plausible(group, end - length):
        raise DamagedGroup(path)
    return group


def group_names(tree: Tree) -> list[str]:
    """Return the names of all groups. Raises StoreError."""
    names = (file.name for file in tree.files(RAW))
    return [name for name in names if _bucket_of_name(name) is not None]


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
    """Cut sorted answers into batches, each of one dataset."""
    part: list[RawAnswer] = []
    size = 0
    for answer in ordered:
        size += _ANSWER_BYTES + len(answer.body)
        if part and (size > BATCH_BYTES or answer.window.dataset != part[0].window.dataset):
            yield part
            part, size = [], _ANSWER_BYTES + len(answer.body)
        part.append(answer)
    yield part


def _packed(part: list[RawAnswer]) -> tuple[Batch, bytes]:
    """Return a batch of answers, and its bytes in the file."""
    spans = {(answer.window.begin, answer.window.end) for answer in part}
    months = {month for begin, end in spans for month in range(month_of(begin), month_of(end) + 1)}
    plain = b"".join(map(_encoded, part))
    data = _LZ4.compress(plain, asbytes=True)
    dataset = part[0].window.dataset
    return Batch(dataset, tuple(sorted(months)), len(data), len(plain), zlib.crc32(data)), data


def _encoded(answer: RawAnswer) -> bytes:
    window, asked_at, mask, body = answer
    age = min(body.age, _MAX_AGE) if isinstance(body, CachedBody) else 0
    appid = window.appid.encode()
    # As bytes, because a mask may have hundreds of bits and most have none.
    refetch = mask.to_bytes((mask.bit_length() + 7) // 8, "little")
    lengths = len(appid), len(refetch), len(body)
    head = _ROW.pack(window.begin, window.end, asked_at + age * _LATEST, *lengths)
    return b"".join((head, appid, refetch, body))


def _decoded(data: bytes, dataset: str, month: Month) -> Iterator[RawAnswer]:
    """Yield the answers of a batch with days of a month.

    Raises ValueError and struct.error for damage in any of its answers.
    """
    first, last = month_begin(month), month_end(month)
    at = 0
    while at < len(data):
        begin, end, times, name, mask, body = _ROW.unpack_from(data, at)
        age, asked_at = divmod(times, _LATEST)
        if not (FIRST_DAY <= begin <= end < begin + _MAX_DAYS and 0 <= age <= _MAX_AGE):
            raise ValueError("an impossible time")
        name_at = at + _ROW.size
        mask_at = name_at + name
        body_at = mask_at + mask
        at = body_at + body
        if begin <= last and end >= first:
            window = Window(data[name_at:mask_at].decode(), dataset, begin, end)
            refetch = int.from_bytes(data[mask_at:body_at], "little")
            sent = data[body_at:at]
            yield RawAnswer(window, asked_at, refetch, CachedBody(sent, age) if age else sent)
    if at != len(data):
        raise ValueError("an answer without an end")


def _bucket_of_name(name: str) -> int | None:
    """Return the bucket in a group's name, None for the name of another file."""
    match = _GROUP_NAME.fullmatch(name)
    return int(match[1]) if match else None


def _is_plausible(group: Group, length: int) -> bool:
    """Return whether a harvester may have written these values, with so many bytes of batches."""
    sizes = [batch.size for batch in group.batches]
    return (
        _bucket_of_name(group.name) in (group.bucket, None)
        and 0 <= group.bucket < group.buckets
        and 0 <= group.fetched_at < _LATEST * 1_000_000
        and 0 <= group.behind < _LATEST
        and all(month in MONTHS for batch in group.batches for month in batch.months)
        and sum(batch.length for batch in group.batches) == length
        # All sizes before a batch is read, because a kilobyte may stand for gigabytes.
        and max(sizes, default=0) <= MAX_BATCH_BYTES
        and sum(sizes) <= MAX_GROUP_BYTES
    )


def _read(path: Path, at: int, batch: Batch, month: Month) -> list[RawAnswer]:
    """Read the answers of a month in a batch that begins at a byte.

    Each body is in memory once when it returns.
    """
    with _errors_as_damage(path), regular_files.reader(path) as file:
        data = os.pread(file.fileno(), batch.length, at)
        if zlib.crc32(data) != batch.checksum:
            raise DamagedGroup(path)
        plain = _LZ4.decompress(data, batch.size, asbytes=True)
        return list(_decoded(plain, batch.dataset, month))


def _errors_as_damage(path: Path) -> AbstractContextManager[None]:
    """Raise DamagedGroup for damaged bytes, StoreError if the system refuses to read the file."""
    return arrow_files.damage_as(lambda: DamagedGroup(path), path, *_DAMAGE)
