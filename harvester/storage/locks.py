"""Locks of buckets: one run at a time works in a bucket, where the store can lock or lease it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from harvester.storage import layout
from harvester.storage.backends.claims import Claim
from harvester.storage.layout import Tree


@contextmanager
def hold(tree: Tree, buckets: Iterable[int], claim: Claim) -> Iterator[Tree]:
    """Lock these buckets, all or none, until the block ends.

    Yields the tree with its hold. Raises as `Store.lock`, StoreError if the file system cannot
    lock, and as `layout.check_folders`, which comes first.
    """
    layout.check_folders(tree)
    with tree.store.lock(map(tree.bucket_label, buckets), claim) as held:
        yield replace(tree, hold=held)
