"""Journal of a rewrite, in the new tree: the tree it is made from, and whether it is finished."""

from __future__ import annotations

from typing import Any

from harvester.core.errors import UsageError
from harvester.storage.backends.base import META_DIR, first_contact
from harvester.storage.layout import Tree
from harvester.storage.state import json_file

JOURNAL = f"{META_DIR}/rewrite.json"


def read(tree: Tree) -> dict[str, Any] | None:
    """Read the journal: ``from``, ``buckets`` and ``finished``; None if there is none.

    Raises StoreError, and UsageError for a newer version.
    """
    return json_file.read(tree.store, JOURNAL, dict[str, Any])


def write(tree: Tree, journal: dict[str, Any]) -> None:
    """Write the journal, which has one writer: the holder of the tree. Raises StoreError."""
    json_file.write(tree.store, JOURNAL, journal)


def refuse_unfinished(tree: Tree) -> None:
    """Raise UsageError for an unfinished tree: a run would fetch again what it still lacks.

    It is the first read of an output, so a place that refuses it is a UsageError too. Raises also
    as `read`.
    """
    with first_contact():
        found = read(tree)
    if found and not found.get("finished"):
        place = tree.store.display_path()
        count = found.get("buckets")
        buckets = f" --buckets {count}" if isinstance(count, int) else ""
        raise UsageError(
            f"{place}: the rewrite that makes this tree is not finished",
            f"repeat it: harvester rewrite --to {place}{buckets}",
        )
