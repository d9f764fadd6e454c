"""Folding of change logs: entries into segments, short segments into longer ones of one month.

A segment never changes. It is complete before the files that it replaces are removed, and a reader
takes any set of files that holds an entry, so a killed fold is finished by the next one, and two
folds of the same bucket at once do no harm.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from harvester.core import calendar
from harvester.core.errors import LostRace
from harvester.storage.backends import atomic_files, regular_files
from harvester.storage.backends.base import FileInfo, Store, contents
from harvester.storage.layout import CHANGES, Tree
from harvester.storage.state import change_reader, json_file
from harvester.storage.state.change_entries import (
    LogEntry,
    LogFile,
    Shelf,
    segment_name,
    shelves,
)

MAX_SEGMENT_BYTES = 4 << 20
"""Size that a segment does not exceed, unless it has one entry: files are read whole."""

MAX_SHORT_SEGMENTS = 16
"""Segments of a month that is not over. So many are merged, and a month that is over is merged."""

_SECONDS_A_DAY = 86_400


@dataclass(frozen=True, slots=True)
class KnownFiles:
    """The data files that the dropped entries of a log leave behind, each with its last time."""

    paths: dict[str, str]


def fold(tree: Tree, label: str, now: float) -> None:
    """Fold the entries of a bucket, merge its segments and drop old ones; the caller has its lock.

    Raises StoreError, and UsageError for an entry of a newer version.
    """
    _fold_entries(tree, label)
    today = calendar.utc_text(now)[:10]
    _merge_segments(tree, label, today[:7])
    _drop(tree, label, calendar.utc_text(now - tree.keep_history * _SECONDS_A_DAY)[:10])


def known_files(tree: Tree, label: str) -> KnownFiles:
    """Return the data files that the dropped entries of a log leave behind. Raises StoreError."""
    return json_file.read(tree.store, _known_name(label), KnownFiles) or KnownFiles({})


def remember(tree: Tree, label: str, paths: Mapping[str, str]) -> None:
    """Write the data files that are there although no entry names them. Raises StoreError."""
    known = KnownFiles(dict(sorted(paths.items())))
    if known != known_files(tree, label):
        json_file.write(tree.store, _known_name(label), known, _temp(tree, label))


def line(entry: LogEntry) -> bytes:
    """Return an entry as a line of its file."""
    return orjson.dumps(json_file.members(entry)) + b"\n"


def put_new(store: Store, name: str, lines: Iterable[bytes], temp: Path) -> None:
    """Give these lines a new name, durably. Raises LostRace if a store without locks has it."""
    try:
        with atomic_files.os_errors_as_store_errors(temp):
            atomic_files.make_folder(temp.parent)
            with os.fdopen(regular_files.create(temp), "wb") as file:
                file.writelines(lines)
        store.put_if_version(temp, name, None)
    finally:
        atomic_files.unlink_quietly(temp)


def _fold_entries(tree: Tree, label: str) -> None:
    shelf = _shelf(tree, label)
    covered = [each for each in shelf.files if _is_covered(each, shelf)]
    loose = [each for each in shelf.files if each.is_entry and each not in covered]
    folded: list[LogEntry] = []
    size = 0
    for data, each in zip(contents(tree.store, [one.file for one in loose]), loose, strict=True):
        entry = change_reader.parse(tree.store, each.file.name, data or b"")
        if entry is None:
            continue
        is_next = not folded or entry.seq == folded[-1].seq + 1
        if not is_next or size + each.file.size > MAX_SEGMENT_BYTES:
            _put_segment(tree, label, folded)
            folded, size = [], 0
        folded.append(entry)
        size += each.file.size
    _put_segment(tree, label, folded)
    _delete(tree, (each.file for each in (*covered, *loose)))


def _put_segment(tree: Tree, label: str, entries: Sequence[LogEntry]) -> None:
    if entries:
        name = segment_name(label, entries[0].seq, entries[-1])
        # Another fold of the same entries has written the same.
        with suppress(LostRace):
            put_new(tree.store, name, map(line, entries), _temp(tree, label))


def _merge_segments(tree: Tree, label: str, this_month: str) -> None:
    for group in _groups(_shelf(tree, label).files):
        is_over = group[-1].day[:7] < this_month
        if len(group) > 1 and (is_over or len(group) >= MAX_SHORT_SEGMENTS):
            entries = list(change_reader.entries_of(tree.store, group, group[0].first - 1))
            # A segment that lost an entry stays as it is: readers must see the gap.
            if len(entries) == group[-1].last - group[0].first + 1:
                _put_segment(tree, label, entries)
                _delete(tree, (each.file for each in group))


def _groups(files: Iterable[LogFile]) -> Iterator[list[LogFile]]:
    """Yield the segments that may become one: of one month, without a gap, and not too long."""
    group: list[LogFile] = []
    for each in (file for file in files if not file.is_entry):
        size = sum(one.file.size for one in group) + each.file.size
        fits = group and each.first == group[-1].last + 1 and each.day[:7] == group[-1].day[:7]
        if not fits or size > MAX_SEGMENT_BYTES:
            if group:
                yield group
            group = []
        group.append(each)
    if group:
        yield group


def _drop(tree: Tree, label: str, before: str) -> None:
    """Drop segments that ended before a day, oldest first; the newest file always stays."""
    shelf = _shelf(tree, label)
    old: list[LogFile] = []
    for each in shelf.files:
        if each.is_entry or each.day >= before or each is shelf.newest:
            break
        old.append(each)
    if not old:
        return
    there = dict(known_files(tree, label).paths)
    for entry in change_reader.entries_of(tree.store, old):
        if entry.op == "deleted":
            there.pop(entry.path, None)
        elif entry.path:
            there[entry.path] = entry.at
    remember(tree, label, there)
    _delete(tree, (each.file for each in old))


def _is_covered(file: LogFile, shelf: Shelf) -> bool:
    return any(each.holds(file) for each in shelf.files)


def _delete(tree: Tree, files: Iterable[FileInfo]) -> None:
    for file in files:
        tree.store.delete(file.name)


def _shelf(tree: Tree, label: str) -> Shelf:
    return shelves(tree.store.list(f"{CHANGES}/{label}")).get(label, Shelf())


def _known_name(label: str) -> str:
    return f"{CHANGES}/{label}/known.json"


def _temp(tree: Tree, label: str) -> Path:
    return tree.temp(int(label.partition("-of-")[0]), "changes")
