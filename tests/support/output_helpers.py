"""Output trees for tests of the storage, and the contents of their files."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.core.model import Partition
from harvester.storage import layout, partition_reader
from harvester.storage.backends.base import Store
from harvester.storage.backends.local import LocalStore
from harvester.storage.footer import Footer
from harvester.storage.layout import Tree
from harvester.storage.publish import TrustedTimes
from harvester.storage.state.change_entries import BEGIN, LogEntry, shelves
from harvester.storage.state.change_reader import entries_of
from harvester.tables.coverage import Coverage

ANY_TIME = TrustedTimes(lambda: math.inf)
"""Trust in every time of asking."""


def tree_at(root: Path, buckets: int = 1) -> Tree:
    """Return the tree in a folder."""
    return Tree(LocalStore(root), buckets)


def path_of(tree: Tree, name: str | Partition) -> Path:
    """Return the path of a file of a tree in a folder."""
    return Path(tree.store.display_path(tree.name(name) if isinstance(name, Partition) else name))


def rows_of(tree: Tree, partition: Partition) -> pa.Table:
    """The rows of a data file, which must be there."""
    with partition_reader.opened(tree.store, tree.name(partition)) as stored:
        assert stored is not None
        return pq.ParquetFile(stored.path).read()


def footer_of(tree: Tree, partition: Partition) -> Footer | None:
    """Return the footer of a data file; None without a file."""
    found = layout.partitions(tree, partition.dataset).get(partition)
    return None if found is None else next(partition_reader.footers(tree.store, [found]))


def coverage_of(tree: Tree, partition: Partition) -> Coverage:
    """Return the coverage in the file of a partition, which must exist."""
    footer = footer_of(tree, partition)
    assert footer is not None
    return footer.coverage


def entries_of_logs(store: Store) -> list[LogEntry]:
    """Return the changes in the change logs of a store, bucket by bucket."""
    logs = shelves(store.list(layout.CHANGES))
    found = (entry for _, log in sorted(logs.items()) for entry in entries_of(store, log.files))
    return [entry for entry in found if entry.op != BEGIN]
