"""Where everything is: the only module that makes names inside the output.

::

    <root>/<dataset>/ref_month=2026-05/part-0000-of-0001.parquet
    <root>/_harvester/raw|quarantine|tmp|locks|quota|runs/

Nothing but data files lies in a dataset's folder, and no name under ``_harvester`` ends in
``.parquet``: some engines read every such file they find below the folder they are given.
"""

from __future__ import annotations

import errno
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harvester.core.calendar import Month, month_text, parse_month
from harvester.core.config import Output
from harvester.core.errors import UsageError
from harvester.storage.backends import atomic_files, flock
from harvester.storage.backends.base import FileInfo, Store
from harvester.storage.backends.local import META_DIR, LocalStore

RAW = f"{META_DIR}/raw"
"""Answers not yet published, a folder for each run."""

QUARANTINE = f"{META_DIR}/quarantine"
"""Answers and groups that could not be used."""

QUOTA = f"{META_DIR}/quota"
"""Notes of the calls that were spent, a file for each day and bucket; what WeChat allows a day."""

RUNS = f"{META_DIR}/runs"
"""The records of runs."""

FORCED_REFRESHES = f"{META_DIR}/quota/forced"
"""Notes of the tokens that were replaced by force."""

ACCOUNT_CACHE = f"{META_DIR}/platform.json"
"""Who authorised the platform, as last heard."""

_TEMP = re.compile(r"(\d{4,}-of-\d{4,})\.")
_FILE = re.compile(r"[^/]+/ref_month=(\d{4}-\d{2})/part-(\d{4,})-of-(\d{4,})\.parquet")

_OF_THE_PATH = (errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR)
"""What the system says of a path that is mistaken, and not of a disk that is sick."""


class Partition(NamedTuple):
    """One data file: a dataset's month in a bucket."""

    dataset: str
    month: Month
    bucket: int


@dataclass(frozen=True, slots=True)
class Tree:
    """An output whose months are split into so many buckets."""

    store: Store
    buckets: int = 1

    def name(self, partition: Partition) -> str:
        """The data file of a partition."""
        month = f"ref_month={month_text(partition.month)}"
        return f"{partition.dataset}/{month}/part-{self.bucket_label(partition.bucket)}.parquet"

    def bucket_label(self, bucket: int) -> str:
        """A bucket as it stands in names, ``0003-of-0016``."""
        return f"{bucket:04d}-of-{self.buckets:04d}"

    def temp(self, bucket: int, name: str) -> Path:
        """A path for a file in the making; one at a time, by the holder of the bucket."""
        return self.store.scratch / f"{self.bucket_label(bucket)}.{name}.tmp"


def open_tree(output: Output) -> Tree:
    """The tree a manifest names. Makes nothing.

    Raises UsageError if a file stands there, if no output can ever be there, or if it must exist
    and does not; StoreError if the disk will not say.
    """
    store = _open_store(output)
    if output.must_exist and not store.exists(META_DIR):
        raise UsageError(
            f"{store.display_path()}: nothing was harvested here, and `output.must_exist` is true",
            "correct `output.path`, or set must_exist: false for a new tree",
        )
    return Tree(store, output.buckets)


def _open_store(output: Output) -> Store:
    if isinstance(output.path, str):
        # Loaded only here: an output on a disk should not pay for it.
        from harvester.storage.backends.object_store import ObjectStore  # noqa: PLC0415 - as the line above says

        endpoint, alone = output.endpoint, output.single_writer
        return ObjectStore(output.path, endpoint=endpoint, single_writer=alone)
    mode = _mode_of(output.path)
    if mode is not None and not stat.S_ISDIR(mode):
        raise UsageError(f"{output.path}: a file, not a folder", "name another `output.path`")
    return LocalStore(output.path)


def _mode_of(root: Path) -> int | None:
    """What stands there, None for nothing."""
    try:
        return root.stat().st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        refusal = atomic_files.store_error(root, error)
        if error.errno in _OF_THE_PATH:
            raise UsageError(refusal.problem, refusal.advice) from error
        raise refusal from error


def partitions(
    tree: Tree, dataset: str, buckets: Iterable[int] | None = None
) -> dict[Partition, FileInfo]:
    """The partitions of a dataset that have a file, newest month first; all buckets by default.

    Foreign files are passed over. Raises UsageError if the dataset was made with another number of
    buckets, StoreError if the folder cannot be read.
    """
    wanted = None if buckets is None else set(buckets)
    located: dict[Partition, FileInfo] = {}
    for partition, count, found in _data_files(tree.store, dataset):
        if count != tree.buckets:
            raise UsageError(
                f"{tree.store.display_path(dataset)}: made with buckets: {count}, "
                f"not {tree.buckets}",
                f"set buckets: {count}: accounts are filed by this number",
            )
        if wanted is None or partition.bucket in wanted:
            located[partition] = found
    return dict(sorted(located.items(), key=lambda item: (-item[0].month, item[0].bucket)))


def clean_temp(tree: Tree, buckets: Iterable[int]) -> int:
    """Remove what dead runs left half-made in these buckets; only for who holds their locks.

    What is of no bucket is removed too, if nobody makes it any more. Returns how many files. Raises
    StoreError.
    """
    return temp_places(tree, map(tree.bucket_label, buckets))


def temp_places(tree: Tree, places: Iterable[str]) -> int:
    """The same for buckets as they stand in names."""
    mine = {*places}
    return sum(_sweep(path, mine) for path in _children(tree.store.scratch))


def temp_buckets(tree: Tree) -> set[str]:
    """The buckets, as they stand in names, that something half-made lies of, or is being made of.

    They may be of another number of buckets than the tree has now. Raises StoreError.
    """
    places = {_place(path) for path in _children(tree.store.scratch)}
    return {place for place in places if place}


def _sweep(path: Path, places: set[str]) -> bool:
    place = _place(path)
    if place in places:
        atomic_files.remove(path)
        return True
    return not place and path.suffix == ".tmp" and flock.remove_if_abandoned(path)


def _place(path: Path) -> str:
    """The bucket of a file in the making, empty if it is of none."""
    match = _TEMP.match(path.name)
    return match[1] if match else ""


def _data_files(store: Store, dataset: str) -> Iterator[tuple[Partition, int, FileInfo]]:
    """The data files of a dataset, each with the number of buckets in its name."""
    for found in store.list(dataset):
        match = _FILE.fullmatch(found.name)
        if not match:
            continue
        try:
            partition = Partition(dataset, parse_month(match[1]), int(match[2]))
        except ValueError:
            continue
        count = int(match[3])
        if found.name.endswith(f"/part-{partition.bucket:04d}-of-{count:04d}.parquet"):
            yield partition, count, found


def _children(folder: Path) -> list[Path]:
    with atomic_files.os_errors_as_store_errors(folder):
        try:
            return list(folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
