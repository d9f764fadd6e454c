"""Published files, read back from the change logs and the records of earlier harvesters.

A record may be larger than memory, so it is read line by line; the ones that `forget` of an earlier
harvester wrote have an entry over many lines. A record that does not look like ours names nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from harvester.core.errors import StoreError
from harvester.storage import quarantine
from harvester.storage.backends import atomic_files, regular_files
from harvester.storage.backends.base import MAX_READ, FileInfo
from harvester.storage.layout import CHANGES, RUNS, Tree
from harvester.storage.state import (
    change_entries,
    change_folding,
    change_reader,
    json_file,
    run_records,
)
from harvester.storage.state.change_entries import BEGIN, LogEntry

MAX_RECORD_BYTES = 4 << 30
"""Longest record that is read."""

_RUN = re.compile(rf"{RUNS}/(\d{{8}}T\d{{6}}Z)[^/]*(\.json|/\d+\.entry)")
_BEGIN = b'  "published": ['
_END = b"  ]"
_ENTRY_LINES = (b"    {", b"    }")


def not_removed(tree: Tree) -> set[str]:
    """Return the names of the data files that were published and not removed since.

    A file that an earlier harvester published and removed within a second counts as removed.
    Raises StoreError, and UsageError for a log or a journal of a newer version.
    """
    published: dict[str, str] = {}
    removed = dict(quarantine.moved_files(tree))
    for began, entry in _entries(tree):
        moments = removed if _is_removal(entry) else published
        path = str(entry.get("path"))
        moments[path] = max(began, moments.get(path, ""))
    for label, shelf in change_entries.shelves(tree.store.list(CHANGES)).items():
        for path, at in change_folding.known_files(tree, label).paths.items():
            _take_in(LogEntry(path=path, at=at), published, removed)
        for logged in change_reader.entries_of(tree.store, shelf.files):
            _take_in(logged, published, removed)
    return {path for path, began in published.items() if began > removed.get(path, "")}


def _take_in(entry: LogEntry, published: dict[str, str], removed: dict[str, str]) -> None:
    """Apply an entry of a log, which is in the order of the changes."""
    moment = entry.at.replace("-", "").replace(":", "")
    if entry.op == "deleted":
        published.pop(entry.path, None)
    elif entry.op != BEGIN:
        published[entry.path] = moment
        # A file may be moved to the quarantine and published again within a second.
        if removed.get(entry.path, "") <= moment:
            removed.pop(entry.path, None)


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


def _is_removal(entry: dict[str, Any]) -> bool:
    """Return whether a file was removed; earlier harvesters wrote so only by what is empty."""
    is_empty = not (entry.get("rows_after") or entry.get("days") or entry.get("appids"))
    return bool(entry.get("removed", is_empty))


def _entries(tree: Tree) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what earlier harvesters recorded, with the moment at which the run began, as in its id.

    What is in a log has a number.
    """
    for found in tree.store.list(RUNS):
        if match := _RUN.fullmatch(found.name):
            of_file = _of_record if match[2] == ".json" else _of_journal
            found_entries = of_file(tree, found)
            yield from ((match[1], entry) for entry in found_entries if "seq" not in entry)


def _of_journal(tree: Tree, found: FileInfo) -> Iterator[dict[str, Any]]:
    entry = json_file.read(tree.store, found.name, dict[str, Any])
    if entry is not None:
        yield entry


def _of_record(tree: Tree, found: FileInfo) -> Iterator[dict[str, Any]]:
    if found.size > MAX_RECORD_BYTES:
        return
    with tree.store.local_copy(found.name, tree.store.scratch / "record.verify.tmp") as copy:
        if copy is not None:
            with atomic_files.os_errors_as_store_errors(copy.path):
                yield from _in_lines(copy.path)


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
