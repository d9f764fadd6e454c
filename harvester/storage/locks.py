"""Locks of buckets: one run at a time works in a bucket, where the store can lock or lease it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from harvester.core.errors import UsageError
from harvester.storage import layout
from harvester.storage.backends.claims import Claim
from harvester.storage.layout import Tree


@contextmanager
def hold(tree: Tree, buckets: Iterable[int], claim: Claim) -> Iterator[Tree]:
    """Lock these buckets, all or none, until the block ends.

    Yields the tree with its hold. Raises as `Store.lock`, StoreError if the file system cannot
    lock, UsageError if a run with another number of buckets is at work, and as
    `layout.check_folders`, which comes first.
    """
    layout.check_folders(tree)
    mine = frozenset(buckets)
    labels = sorted(map(tree.bucket_label, mine))
    with tree.store.lock(labels, claim) as held:
        # With the locks held: of two runs that begin at once one sees the other, or both do.
        _refuse_other_counts(tree, labels[:1])
        yield replace(tree, hold=held, held=mine)


def _refuse_other_counts(tree: Tree, mine: list[str]) -> None:
    """Raise UsageError if a run of another number of buckets is at work: its locks differ."""

    def is_other(label: str) -> bool:
        count = label.partition("-of-")[2]
        return count.isdecimal() and int(count) != tree.buckets

    others = [*tree.store.owners(is_other)]
    # Our lease was just put, by the store's clock. One that had ended by then is a dead run's.
    ours = tree.store.owners(lambda label: label in mine) if others else ()
    now = [owner.renewed_at or "" for owner in ours]
    for owner in others:
        if now and (owner.lease_ends_at or now[0]) >= now[0]:
            count = int(owner.bucket.partition("-of-")[2])
            raise UsageError(
                f"{tree.store.display_path()}: this run has buckets: {tree.buckets}, and a run with"
                f" buckets: {count} is at work: {owner}",
                "use one number of buckets for all runs into an output",
            )
