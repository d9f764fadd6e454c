"""Where everything is: the only module that makes paths inside the output.

::

    <root>/<dataset>/ref_month=2026-05/part-0000-of-0001.parquet
    <root>/_harvester/raw|quarantine|tmp|locks|runs/

Nothing but data files lies in a dataset's folder, and no name under ``_harvester`` ends in
``.parquet``: some engines read every such file they find below the folder they are given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harvester.days import Month, month_text, parse_month
from harvester.errors import UsageError
from harvester.model import Output
from harvester.store import files

OURS = "_harvester"
"""The folder beside the datasets that holds all that is no data."""

_PART = re.compile(r"part-(\d{4,})-of-(\d{4,})\.parquet")
_PREFIX = "ref_month="


class Partition(NamedTuple):
    """One data file: a dataset's month in a bucket."""

    dataset: str
    month: Month
    bucket: int


@dataclass(frozen=True, slots=True)
class Tree:
    """An output whose months are split into so many buckets. Holds nothing but names."""

    root: Path
    buckets: int = 1

    @property
    def ours(self) -> Path:
        """All that is no data."""
        return self.root / OURS

    @property
    def raw(self) -> Path:
        """Answers not yet published, a folder for each run."""
        return self.ours / "raw"

    @property
    def quarantine(self) -> Path:
        """Answers and groups that could not be used."""
        return self.ours / "quarantine"

    @property
    def temporary(self) -> Path:
        """Files that are not whole yet."""
        return self.ours / "tmp"

    @property
    def locks(self) -> Path:
        """Who works on which bucket."""
        return self.ours / "locks"

    @property
    def runs(self) -> Path:
        """The records of runs."""
        return self.ours / "runs"

    def path(self, partition: Partition) -> Path:
        """The data file of a partition."""
        month = f"{_PREFIX}{month_text(partition.month)}"
        return self.root / partition.dataset / month / f"part-{self.of(partition.bucket)}.parquet"

    def of(self, bucket: int) -> str:
        """A bucket as it stands in names, ``0003-of-0016``."""
        return f"{bucket:04d}-of-{self.buckets:04d}"

    def relative(self, path: Path) -> str:
        """A path as records name it: from the root, with slashes."""
        return path.relative_to(self.root).as_posix()

    def temp(self, bucket: int, name: str) -> Path:
        """A name for a file in the making; one at a time, by the holder of the bucket."""
        return self.temporary / f"{self.of(bucket)}.{name}.tmp"


def open_tree(output: Output) -> Tree:
    """The tree a manifest names. Makes nothing.

    Raises UsageError if a file stands there, or if it must exist and does not.
    """
    root = output.path
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root}: a file, not a folder", "name another `output.path`")
    if output.must_exist and not (root / OURS).is_dir():
        raise UsageError(
            f"{root}: nothing was harvested here, and `output.must_exist` says it must be",
            "correct `output.path`, or set must_exist: false for a new tree",
        )
    return Tree(root, output.buckets)


def partitions(
    tree: Tree, dataset: str, buckets: Iterable[int] | None = None
) -> Iterator[Partition]:
    """The partitions of a dataset that have a file, newest month first; all buckets by default.

    Foreign files are passed over. Raises UsageError if the dataset was made with another number of
    buckets, StoreError if the folder cannot be read.
    """
    wanted = None if buckets is None else set(buckets)
    for month, folder in _months(tree.root / dataset):
        for bucket, count in _parts(folder):
            if count != tree.buckets:
                raise UsageError(
                    f"{folder.parent}: made with buckets: {count}, not {tree.buckets}",
                    f"set buckets: {count}: accounts are filed by this number",
                )
            if wanted is None or bucket in wanted:
                yield Partition(dataset, month, bucket)


def sweep(tree: Tree, buckets: Iterable[int]) -> int:
    """Remove what dead runs left half-made in these buckets; only for who holds their locks.

    Returns how many files. Raises StoreError.
    """
    prefixes = tuple(f"{tree.of(bucket)}." for bucket in buckets)
    dead = [path for path in _children(tree.temporary) if path.name.startswith(prefixes)]
    for path in dead:
        files.remove(path)
    return len(dead)


def _months(folder: Path) -> Iterator[tuple[Month, Path]]:
    for path in sorted(_children(folder), reverse=True):
        if path.name.startswith(_PREFIX):
            try:
                month = parse_month(path.name.removeprefix(_PREFIX))
            except ValueError:
                continue
            yield month, path


def _parts(folder: Path) -> Iterator[tuple[int, int]]:
    """Bucket and number of buckets of each data file."""
    for path in sorted(_children(folder)):
        match = _PART.fullmatch(path.name)
        if match and path.name == f"part-{int(match[1]):04d}-of-{int(match[2]):04d}.parquet":
            yield int(match[1]), int(match[2])


def _children(folder: Path) -> list[Path]:
    with files.guarded(folder):
        try:
            return list(folder.iterdir())
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            return []
