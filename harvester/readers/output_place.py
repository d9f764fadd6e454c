"""An output that is read without its manifest: its place, and the files of its datasets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harvester.catalogue import CATALOGUE, unknown_dataset
from harvester.core.config import parsers
from harvester.core.errors import UsageError
from harvester.core.model import Partition
from harvester.storage import layout
from harvester.storage.backends.base import FileInfo, Store
from harvester.storage.layout import Tree


@dataclass(frozen=True, slots=True)
class OutputPlace:
    """The place of an output: a folder or a URI, and how its object store is reached."""

    path: Path | str
    endpoint: str | None = None
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def location(self, name: str) -> str:
        """Return the path or the URI of a file, as engines take it."""
        return f"{self.path}/{name}"

    @property
    def is_folder(self) -> bool:
        """True if the output is on a disk."""
        return isinstance(self.path, Path)


def place_of(
    output: str | os.PathLike[str], endpoint: str | None, options: Mapping[str, object]
) -> OutputPlace:
    """Return the place that a caller names. Raises UsageError."""
    # Not quoted, because an address may hold a password or a signature.
    text = parsers.parsed("output", os.fspath(output), parsers.place)
    if text.startswith(parsers.STORES):
        address = endpoint and parsers.parsed("endpoint", endpoint, parsers.endpoint)
        given = {key: _option_text(value) for key, value in options.items()}
        return OutputPlace(text, address, given)
    if endpoint or options:
        name = "endpoint" if endpoint else "storage_options"
        problem = f"{name} is for an object store, and the output is a folder"
        raise UsageError(problem, "leave it out")
    # A view must not depend on the working directory.
    return OutputPlace(Path(text).absolute())


def located(store: Store, name: str) -> tuple[Tree, dict[Partition, FileInfo]]:
    """Return the files of a dataset that is in the output, by month and bucket.

    Raises UsageError for any other name and for files of two numbers of buckets, and StoreError.
    """
    if name not in CATALOGUE:
        raise UsageError(*unknown_dataset(name, CATALOGUE))
    tree, found = layout.located(Tree(store), name)
    if not found:
        there = ", ".join(layout.datasets(store)) or "no dataset"
        where = store.display_path()
        raise UsageError(f"{where}: `{name}` was not harvested here", f"it has {there}")
    return tree, dict(sorted(found.items()))


def _option_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
