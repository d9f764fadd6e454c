"""Journal of a rewrite, in the new tree: the tree it is made from, and the months that are done.

The files are ``rewrite.json`` and ``rewrite/<dataset>.json``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harvester.core.errors import UsageError
from harvester.storage.backends.base import META_DIR, first_contact
from harvester.storage.layout import Tree
from harvester.storage.state import json_file

JOURNAL = f"{META_DIR}/rewrite"


@dataclass(frozen=True, slots=True)
class DoneMonth:
    """A finished month: the versions of its old files, and the rows of its new ones, by name."""

    of: dict[str, str]
    files: dict[str, int]


def read(tree: Tree) -> dict[str, Any] | None:
    """Read the journal: ``from``, ``buckets`` and ``finished``; None if there is none.

    Raises StoreError, and UsageError for a newer version.
    """
    return json_file.read(tree.store, f"{JOURNAL}.json", dict[str, Any])


def write(tree: Tree, journal: dict[str, Any]) -> None:
    """Write the journal, which has one writer: the holder of the tree. Raises StoreError."""
    json_file.write(tree.store, f"{JOURNAL}.json", journal)


def months(tree: Tree, dataset: str) -> dict[str, DoneMonth]:
    """Read the finished months of a dataset. Raises as `read`."""
    return json_file.read(tree.store, f"{JOURNAL}/{dataset}.json", dict[str, DoneMonth]) or {}


def write_months(tree: Tree, dataset: str, done: dict[str, DoneMonth]) -> None:
    """Write the finished months of a dataset, as `write` does."""
    json_file.write(tree.store, f"{JOURNAL}/{dataset}.json", done)


def is_journal(name: str) -> bool:
    """Return whether a side file belongs to the journal of a rewrite."""
    return name.startswith((f"{JOURNAL}.json", f"{JOURNAL}/"))


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
