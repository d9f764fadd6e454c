"""Journal of the files a run has replaced, an entry each, until its run record has them.

An entry is durable before its raw groups are deleted. So each replacement by a killed run has an
entry, or groups that the next run publishes and reports again. The next run of the bucket takes the
journal over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from harvester.core.errors import StoreError
from harvester.storage.layout import RUNS, Tree
from harvester.storage.state import json_file

_ENTRY = re.compile(rf"({RUNS}/[^/]+\.(\d{{4,}})-of-(\d{{4,}}))/\d+\.entry")


class Journal:
    """The entries of one run; ``bucket`` is one that it holds."""

    def __init__(self, tree: Tree, run_id: str, bucket: int) -> None:
        self.run_id = run_id
        self._tree = tree
        self._folder = f"{RUNS}/{run_id}.{tree.bucket_label(bucket)}"
        self._temp = tree.temp(bucket, f"{run_id}.entry")
        self._count = 0

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add an entry, durably. Raises StoreError."""
        json_file.write(self._tree.store, self._next_name(), entry, self._temp)

    def entries(self) -> Iterator[dict[str, Any]]:
        """Return the entries in the order they were added. Raises StoreError."""
        store = self._tree.store
        return json_file.read_all(store, store.list(self._folder), dict[str, Any])

    def take_over(self, buckets: Iterable[int]) -> None:
        """Move the entries of other runs in these buckets into this journal.

        Those runs are dead, because this run holds their buckets. In an object store one may be
        alive: then this run reports its files. Raises StoreError, and UsageError for an entry of a
        newer version.
        """
        store = self._tree.store
        wanted = {(bucket, self._tree.buckets) for bucket in buckets}
        for found in store.list(RUNS):
            match = _ENTRY.fullmatch(found.name)
            if match and match[1] != self._folder and (int(match[2]), int(match[3])) in wanted:
                # A newer entry is refused now, before any request, not when the record is closed.
                with suppress(StoreError):
                    json_file.read(store, found.name, dict[str, Any])
                store.move(found.name, self._next_name())
                # The file is gone; this removes the folder once it is empty.
                store.delete(found.name)

    def remove(self) -> None:
        """Remove the entries after a run record has them. Raises StoreError."""
        for found in self._tree.store.list(self._folder):
            self._tree.store.delete(found.name)

    def _next_name(self) -> str:
        self._count += 1
        return f"{self._folder}/{self._count:06d}.entry"
