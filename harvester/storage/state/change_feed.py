"""Published files, read back from the change logs, and run records that are edited in parts.

A record may be larger than memory, so it is read line by line. Once `forget` has written it, an
entry takes many lines.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from harvester.core.errors import StoreError
from harvester.storage.backends import atomic_files, regular_files
from harvester.storage.backends.base import MAX_READ
from harvester.storage.layout import CHANGES, Tree
from harvester.storage.state import (
    change_entries,
    change_folding,
    change_reader,
    json_file,
    run_records,
)
from harvester.storage.state.change_entries import BEGIN

MAX_RECORD_BYTES = 4 << 30
"""Longest record that is copied."""

_BEGIN = b'  "published": ['
_END = b"  ]"
_ENTRY_LINES = (b"    {", b"    }")


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


def edit_record(
    tree: Tree, name: str, edit: Callable[[list[Any]], list[Any]], temp: Path | None
) -> bool:
    """Edit the parts of a long record: its members, then each entry; return whether any differs.

    ``edit`` gets and returns a list of parts. Without ``temp`` nothing is written. Raises
    StoreError, also for a record of another form.
    """
    with tree.store.local_copy(name, tree.store.scratch / "record.old.tmp") as copy:
        if copy is None:
            return False
        with atomic_files.os_errors_as_store_errors(copy.path):
            head = _head(copy.path)
            if head is None:
                raise StoreError(
                    f"{tree.store.display_path(name)}: not the record of a run, and too long",
                    "move it away: it may name the accounts",
                )
            parts = chain([head], _in_lines(copy.path))
            is_changed = any(edit([part]) != [part] for part in parts)
            if is_changed and temp is not None:
                entries = (new for entry in _in_lines(copy.path) for new in edit([entry]))
                run_records.replace(tree, name, temp, dict(*edit([head])), entries)
    return is_changed


def _head(path: Path) -> dict[str, Any] | None:
    """Return the members of a record without ``published``, None if it is none."""
    text = b""
    with _opened(path) as file, suppress(ValueError):
        for line in iter(partial(file.readline, MAX_READ), b""):
            if line.startswith(_BEGIN):
                head = json_file.parse(text.rstrip(b",\n") + b"}")
                return head if isinstance(head, dict) else None
            text += line
            if len(text) >= MAX_READ:
                break
    return None


def _in_lines(path: Path) -> Iterator[dict[str, Any]]:
    with _opened(path) as file:
        lines = iter(partial(file.readline, MAX_READ), b"")
        # A line that begins so is no part of a text, because JSON has no line break in one.
        if not any(line.startswith(_BEGIN) for line in lines):
            return
        text = b""
        for line in lines:
            text += line
            if line.startswith(_END) or len(text) >= MAX_READ:
                return
            end = line.rstrip(b",\n")
            if line.startswith(_ENTRY_LINES) and end.endswith(b"}"):
                with suppress(ValueError):
                    entry = json_file.parse(text.rstrip(b",\n"))
                    if isinstance(entry, dict):
                        yield entry
                text = b""


def _opened(path: Path) -> BinaryIO:
    return os.fdopen(regular_files.open_regular(path, os.O_RDONLY), "rb")
