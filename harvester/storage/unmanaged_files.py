"""Files in datasets' folders that are not harvester's. Engines read them all the same."""

from __future__ import annotations

from collections.abc import Iterable

from harvester.storage import layout
from harvester.storage.layout import Tree


def files(tree: Tree, datasets: Iterable[str]) -> list[str]:
    """Their names, by dataset. They are told of and left alone. Raises StoreError, UsageError."""
    found: list[str] = []
    for dataset in datasets:
        ours = {file.name for file in layout.partitions(tree, dataset).values()}
        found += [each.name for each in tree.store.list(dataset) if each.name not in ours]
    return found
