"""Files in datasets' folders that harvester did not write. Query engines read them too."""

from __future__ import annotations

from collections.abc import Iterable

from harvester.storage import layout
from harvester.storage.layout import Tree


def files(tree: Tree, datasets: Iterable[str]) -> list[str]:
    """Return their names, by dataset. Raises StoreError, and UsageError as `layout.partitions`."""
    found: list[str] = []
    for dataset in datasets:
        ours = {file.name for file in layout.partitions(tree, dataset).values()}
        found += [each.name for each in tree.store.list(dataset) if each.name not in ours]
    return found
