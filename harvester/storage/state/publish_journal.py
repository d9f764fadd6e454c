"""Journal of the files a run has replaced so far, an entry each, until its record takes them in.

An entry is durable before the raw groups behind it are deleted. So all that a killed run did stands
in its journal, or in groups that the next run publishes once more and tells of. The next run of the
bucket takes the journal over.
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
        """Make the entries of other runs in these buckets our own.

        Such a run is dead, for it would hold its bucket. Where runs cannot be kept apart it may be
        alive: then this one names what it did, in its place. Raises StoreError, and UsageError for
        an entry of a newer version.
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
                # Nothing is there any more but, in the end, an empty folder.
                store.delete(found.name)

    def remove(self) -> None:
        """Remove the entries: a record has them now. Raises StoreError."""
        for found in self._tree.store.list(self._folder):
            self._tree.store.delete(found.name)

    def _next_name(self) -> str:
        self._count += 1
        return f"{self._folder}/{self._count:06d}.entry"
