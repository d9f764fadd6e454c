"""Published files, read back from the change logs."""

from __future__ import annotations

from harvester.storage.layout import CHANGES, Tree
from harvester.storage.state import change_entries, change_folding, change_reader
from harvester.storage.state.change_entries import BEGIN


def not_removed(tree: Tree) -> set[str]:
    """Return the names of the data files that were published and not removed since.

    Raises StoreError, and UsageError for a log of a newer version.
    """
    found: set[str] = set()
    for label, shelf in change_entries.shelves(tree.store.list(CHANGES)).items():
        found.update(change_folding.known_files(tree, label).paths)
        for entry in change_reader.entries_of(tree.store, shelf.files):
            if entry.op == "deleted":
                found.discard(entry.path)
            elif entry.op != BEGIN:
                found.add(entry.path)
    return found
