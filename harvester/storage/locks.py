"""Locks of buckets: one run at a time works in a bucket, where the store can lock or lease it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from harvester.core.errors import Busy
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


def sweep_elsewhere(tree: Tree, own: Iterable[int], claim: Claim) -> None:
    """Remove temporary files of dead runs in all buckets, also those of another bucket count.

    ``own`` are the buckets that the caller holds and has cleaned. Buckets that others hold are
    passed over, because their holders have cleaned them. Raises StoreError.
    """
    # Without waiting, because whoever holds a bucket cleans it.
    at_once = replace(claim, timeout=0.0)
    for label in layout.temp_buckets(tree).difference(map(tree.bucket_label, own)):
        with suppress(Busy), tree.store.lock([label], at_once):
            layout.clean_temp_of(tree, {label})
