"""Layout of the output: the only module that makes names inside it.

::

    <root>/<dataset>/ref_month=2026-05/part-0000-of-0001.parquet
    <root>/_harvester/raw|quarantine|tmp|locks|quota|runs|changes|manifests|index|sql/

A dataset's folder has nothing but data files, and no name under ``_harvester`` ends in
``.parquet``, because some engines read every such file below the folder they are given.
"""

from __future__ import annotations

import re
import stat
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import FIRST_DAY, month_of, month_text, parse_month
from harvester.core.config.settings import Output
from harvester.core.errors import UsageError
from harvester.core.hold import UNLOSABLE, Hold
from harvester.core.model import Partition
from harvester.core.text.inert_text import inert
from harvester.storage.backends import atomic_files, flock
from harvester.storage.backends.base import (
    META_DIR,
    Blob,
    FileInfo,
    Store,
    Version,
    first_contact,
    is_version,
)
from harvester.storage.backends.local import LocalStore

RAW = f"{META_DIR}/raw"
"""Unpublished answers, a folder for each run."""

QUARANTINE = f"{META_DIR}/quarantine"
"""Rejected answers, and damaged groups and files."""

QUOTA = f"{META_DIR}/quota"
"""Quota ledgers, one file per bucket."""

RUNS = f"{META_DIR}/runs"
"""Run records."""

CHANGES = f"{META_DIR}/changes"
"""Logs of the replaced files, a folder for each bucket."""

FORCED_REFRESHES = f"{META_DIR}/quota/forced"
"""Counts of forced token refreshes."""

VIEWS = f"{META_DIR}/sql"
"""The views of `harvester sql`, one file per engine."""

MANIFESTS = f"{META_DIR}/manifests"
"""Manifests as the last run of each left it, without credentials."""

INDEX = f"{META_DIR}/index"
"""Indexes of footers, one file per dataset and bucket."""

DERIVED = f"{META_DIR}/tables"
"""Marks of what the files of `coverage` were made of, one file per bucket and manifest."""

ACCOUNT_CACHE = f"{META_DIR}/platform.json"
"""Cached list of the accounts that authorised the platform."""

MONTHS = range(month_of(FIRST_DAY), 2100 * 12)
"""The months that a data file may be of: from WeChat's first statistics to the year 2099."""

TABLES = ACCOUNTS, COVERAGE, CODES, RUN_ROWS = ("accounts", "coverage", "codes", "runs")
"""Folders of the tables beside the datasets, whose names no dataset has."""

_DATA_FILE_NAME = re.compile(r"[^/]+/ref_month=(\d{4}-\d{2})/part-(\d{4,})-of-(\d{4,})\.parquet")


MAX_KEPT_BYTES = 16 << 20
"""Most bytes that a command keeps of files that it read."""

_NAME_OF = attrgetter("name")

FOLDERS = (META_DIR, *TABLES, *CATALOGUE)
"""All folders of an output."""


class Listing:
    """Knowledge of a command about an output: its files, listed once, and what it read of some.

    The command lists the files again once it has changed some. No other process changes the files
    of a held bucket. Up to `MAX_KEPT_BYTES` of what was read are kept, by version.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._files: Sequence[FileInfo] | None = None
        self.kept: dict[str, Blob] = {}

    def forget(self) -> None:
        """List the files again when they are asked for."""
        self._files = None

    def files(self, folder: str) -> list[FileInfo]:
        """Return the files below a folder, by name. Raises StoreError."""
        if self._files is None:
            self._files = self._store.list_all(FOLDERS)
        # Behind the slash in the order of names comes the 0.
        ends = f"{folder}/", f"{folder}0"
        return [*self._files[slice(*(bisect_left(self._files, x, key=_NAME_OF) for x in ends))]]


@dataclass(frozen=True, slots=True)
class Tree:
    """An output whose months are split into ``buckets`` files each.

    ``keep_history`` is the age in days at which changes and run records are dropped. ``hold`` is
    that of the run which works on it, ``held`` are its buckets, and ``listing`` is what it knows
    of the files.
    """

    store: Store
    buckets: int = 1
    keep_history: int = 400
    hold: Hold = UNLOSABLE
    held: frozenset[int] = frozenset()
    listing: Listing | None = None

    def files(self, folder: str) -> list[FileInfo]:
        """Return the files below a folder, as the run knows them. Raises StoreError."""
        return self.listing.files(folder) if self.listing else self.store.list(folder)

    def listed_once(self) -> Tree:
        """Return the tree with one listing for all that is asked of it."""
        return replace(self, listing=Listing(self.store))

    def list_again(self) -> None:
        """Forget the listing, if there is one."""
        if self.listing:
            self.listing.forget()

    def remember(self, name: str, version: Version, data: bytes) -> None:
        """Keep what was read of a file, or written, if there is a listing and room for it."""
        if self.listing:
            kept = self.listing.kept
            kept.pop(name, None)
            if sum(len(each.data) for each in kept.values()) + len(data) <= MAX_KEPT_BYTES:
                kept[name] = Blob(data, version)

    def recall(self, file: FileInfo) -> Blob | None:
        """Return what is kept of a listed file, None if it is another version by now."""
        found = self.listing.kept.get(file.name) if self.listing else None
        return found if found and is_version(file, found.version) else None

    def name(self, partition: Partition) -> str:
        """Return the name of a partition's data file."""
        month = f"ref_month={month_text(partition.month)}"
        return f"{partition.dataset}/{month}/part-{self.bucket_label(partition.bucket)}.parquet"

    def bucket_label(self, bucket: int) -> str:
        """Return a bucket as in names, ``0003-of-0016``."""
        return f"{bucket:04d}-of-{self.buckets:04d}"


def is_harvested(store: Store) -> bool:
    """Return whether a run was there, or its data files are."""
    # The records first, because each run leaves one, and they are few.
    return any(map(store.list, (RUNS, META_DIR, *CATALOGUE)))


def refuse_unharvested(store: Store) -> None:
    """Raise UsageError for an output without data, whose path may be mistyped."""
    if not is_harvested(store):
        raise UsageError(f"{store.display_path()}: nothing was harvested here", "correct the path")


def only_count(store: Store, name: str, counts: Iterable[int]) -> int:
    """Return the one number of buckets that files are of, 1 without any.

    Raises UsageError for two, naming the folder.
    """
    first, *others = sorted({*counts}) or [1]
    if others:
        raise UsageError(
            f"{store.display_path(name)}: files of {first} and of {others[-1]} buckets",
            "two manifests have written there: move the files of one of them away",
        )
    return first


def label_of(name: str) -> str:
    """Return the bucket in the name of a data file, ``0003-of-0016``."""
    return name.rpartition("/part-")[2].removesuffix(".parquet")


def open_tree(output: Output, options: Mapping[str, str] | None = None) -> Tree:
    """Return the tree of a manifest's output. Creates nothing.

    ``options`` are those of an object store, and win over the environment.

    Raises UsageError if the path is a file, cannot be a folder, or must exist and does not, and
    StoreError if the disk cannot be read.
    """
    with first_contact():
        store = _open_store(output, options or {})
        is_usable = not output.must_exist or is_harvested(store)
    if not is_usable:
        raise UsageError(
            f"{store.display_path()}: nothing was harvested here, and `output.must_exist` is true",
            "correct `output.path`, or set must_exist: false for a new tree",
        )
    return Tree(store, output.buckets, output.keep_history)


def _open_store(output: Output, options: Mapping[str, str]) -> Store:
    if isinstance(output.path, str):
        # Imported here, because an output on a disk must not pay for loading obstore.
        from harvester.storage.backends.object_store import ObjectStore  # noqa: PLC0415 - see above

        return ObjectStore(output, options)
    with atomic_files.if_there(output.path):
        if not stat.S_ISDIR(output.path.stat().st_mode):
            where = inert(str(output.path))
            raise UsageError(f"{where}: a file, not a folder", "name another place")
    return LocalStore(output.path, follow_links=output.follow_links)


def check_folders(tree: Tree) -> None:
    """Check the folders of an output; called before the first write, also before that of a lock.

    Raises UsageError for a link that is not allowed, a pipe, a socket or a device, StoreError if a
    folder cannot be read.
    """
    # A store has objects alone, and no folders.
    if isinstance(tree.store, LocalStore):
        # Listed for the checks alone.
        tree.store.list_all(FOLDERS)


def partitions(
    tree: Tree, dataset: str, buckets: Iterable[int] | None = None
) -> dict[Partition, FileInfo]:
    """Return the partitions of a dataset that have a file, newest month first.

    ``buckets`` limits them to those buckets.

    Raises UsageError for files of another number of buckets, and as `located`.
    """
    made, found = located(tree, dataset)
    if found and made.buckets != tree.buckets:
        raise UsageError(
            f"{tree.store.display_path(dataset)}: made with buckets: {made.buckets}, "
            f"not {tree.buckets}",
            f"set buckets: {made.buckets}, or rewrite: harvester rewrite --buckets {tree.buckets}",
        )
    if buckets is None:
        return found
    wanted = set(buckets)
    return {each: file for each, file in found.items() if each.bucket in wanted}


def located(tree: Tree, dataset: str) -> tuple[Tree, dict[Partition, FileInfo]]:
    """Return a dataset's partitions, newest month first, and the tree that their names state.

    The buckets of ``tree`` do not matter. A dataset without files is in a tree of one bucket, and
    unmanaged files are passed over. Raises UsageError if there are files of two numbers of buckets,
    and StoreError if the folder cannot be read.
    """
    store = tree.store
    named = ((file, parse_name(store, file.name)) for file in tree.files(dataset))
    found = [(*place, file) for file, place in named if place is not None]
    buckets = only_count(store, dataset, (count for _, count, _ in found))
    found.sort(key=lambda item: (-item[0].month, item[0].bucket))
    return Tree(store, buckets), {each: file for each, _, file in found}


def datasets(store: Store) -> tuple[str, ...]:
    """Return the datasets that have a file, in the order of the catalogue. Raises as `located`."""
    return tuple(name for name in CATALOGUE if located(Tree(store), name)[1])


def unmanaged_files(tree: Tree, datasets: Iterable[str]) -> list[str]:
    """Return the names of files in datasets' folders that harvester did not write, by dataset.

    Query engines read them too. Raises StoreError.
    """
    found = (file.name for dataset in datasets for file in tree.files(dataset))
    return [name for name in found if parse_name(tree.store, name) is None]


def with_data(tree: Tree, datasets: Iterable[str], buckets: Collection[int]) -> set[int]:
    """Return those of the buckets that have a data file. Raises as `partitions`."""
    return {each.bucket for dataset in datasets for each in partitions(tree, dataset, buckets)}


def clean_temp(tree: Tree) -> int:
    """Remove temporary files of dead runs; return their number. Raises StoreError.

    No bucket's lock is needed, because each writer locks the file that it makes.
    """
    folder, found = tree.store.scratch, list[Path]()
    with atomic_files.if_there(folder), suppress(NotADirectoryError):
        found += folder.iterdir()
    return sum(flock.remove_if_abandoned(path) for path in found if path.suffix == ".tmp")


def parse_name(store: Store, name: str) -> tuple[Partition, int] | None:
    """Return the partition and the number of buckets that a name stands for, None for others."""
    if match := _DATA_FILE_NAME.fullmatch(name):
        # A month that does not exist is the name of an unmanaged file.
        with suppress(ValueError):
            partition = Partition(name.partition("/")[0], parse_month(match[1]), int(match[2]))
            # So is a number with too many zeros: two names would stand for one partition.
            is_ours = name == Tree(store, int(match[3])).name(partition)
            if is_ours and partition.month in MONTHS:
                return partition, int(match[3])
    return None
