"""What a run has replaced so far, a small file each, until its record takes them in.

An entry is safe before the raw groups behind it are deleted. So whatever a run did that was killed
stands in its journal, or in groups that the next run publishes once more and tells of. The next run
of the bucket takes the journal over: nobody has to look back for what a dead one did.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from harvester.store.interface import contents
from harvester.store.layout import RUNS, Tree

_ENTRY = re.compile(rf"({RUNS}/[^/]+\.(\d{{4,}})-of-(\d{{4,}}))/\d+\.entry")


class Journal:
    """The entries of one run; ``bucket`` is one that it holds."""

    def __init__(self, tree: Tree, run_id: str, bucket: int) -> None:
        self._tree = tree
        self._folder = f"{RUNS}/{run_id}.{tree.of(bucket)}"
        self._temp = tree.temp(bucket, f"{run_id}.entry")
        self._count = 0

    def add(self, entry: bytes) -> None:
        """Add an entry, durably. Raises StoreError."""
        self._tree.store.write(self._next_name(), entry, self._temp)

    def entries(self) -> Iterator[bytes]:
        """All that was added, in its order. Raises StoreError."""
        store = self._tree.store
        for entry in contents(store, store.list(self._folder)):
            if entry is not None:
                yield entry

    def take_over(self, buckets: Iterable[int]) -> None:
        """Make the entries of other runs in these buckets our own. Raises StoreError.

        Such a run is dead, for it would hold its bucket. Where nobody can be kept away it may be
        alive: then we name what it did, in its place.
        """
        store = self._tree.store
        wanted = {(bucket, self._tree.buckets) for bucket in buckets}
        for found in store.list(RUNS):
            match = _ENTRY.fullmatch(found.name)
            if match and match[1] != self._folder and (int(match[2]), int(match[3])) in wanted:
                store.move(found.name, self._next_name())
                # Nothing is there any more but, in the end, an empty folder.
                store.delete(found.name)

    def remove(self) -> None:
        """Forget the entries: a record has them now. Raises StoreError."""
        for found in self._tree.store.list(self._folder):
            self._tree.store.delete(found.name)

    def _next_name(self) -> str:
        self._count += 1
        return f"{self._folder}/{self._count:06d}.entry"
