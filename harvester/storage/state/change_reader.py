"""Change logs, read: their entries, and what happened since a position in each of them.

An entry is in a file of its own until it is folded into a segment, and a segment until it is
merged into a longer one. A listing is no snapshot, and a file may be folded after it was listed, so
what cannot be read is listed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from sys import intern
from typing import NamedTuple

from harvester.catalogue import CATALOGUE
from harvester.storage.backends.base import FileInfo, Store, contents
from harvester.storage.layout import CHANGES, Tree, label_of, parse_name
from harvester.storage.state import json_file, packed_lines
from harvester.storage.state.change_entries import (
    BEGIN,
    BrokenHistory,
    LogEntry,
    LogFile,
    LogPosition,
    Shelf,
    files_mark,
    followed,
    needed,
    shelves,
)

UNKNOWN_MARK = "0" * 10
"""Mark of an entry that cannot be read."""

_MAX_LISTINGS = 10


class News(NamedTuple):
    """The entries since a cursor, bucket by bucket, and the positions behind them."""

    entries: list[LogEntry]
    positions: dict[str, LogPosition]


def since(store: Store, positions: Mapping[str, LogPosition]) -> News:
    """Return what happened after these positions in each log, and in the logs that began since.

    Raises BrokenHistory if that cannot be told, StoreError, and UsageError for a newer version.
    """
    before: list[FileInfo] | None = None
    for _ in range(_MAX_LISTINGS):
        listed = store.list(CHANGES)
        with suppress(BrokenHistory):
            return _since(store, shelves(listed), positions)
        # The same files as before: the entry is not on its way from one to another, it is gone.
        if listed == before:
            break
        before = listed
    raise BrokenHistory


def _since(store: Store, logs: Mapping[str, Shelf], positions: Mapping[str, LogPosition]) -> News:
    """Read all logs at once, because an object store answers many requests at a time."""
    logs = {label: logs.get(label, Shelf()) for label in sorted(logs.keys() | positions.keys())}
    places = {label: positions.get(label, LogPosition()) for label in logs}
    chosen = {label: needed(log.files, places[label].seq) for label, log in logs.items()}
    same = {label: log for label, log in logs.items() if places[label].seq and not chosen[label]}
    ends = heads(store, same)
    for label in same:
        # No entry is new, so the last one must be that of the position, if it can be read.
        at = places[label]
        if ends.get(label) not in (at, at._replace(mark=UNKNOWN_MARK)):
            raise BrokenHistory
    wanted = [(label, each) for label, files in chosen.items() for each in files]
    found: dict[str, list[LogEntry]] = {label: [] for label in chosen}
    for (label, _), entries in zip(wanted, _read(store, [each for _, each in wanted]), strict=True):
        found[label] += entries
    news: list[LogEntry] = []
    for label, entries in found.items():
        new = list(followed(entries, places[label]))
        # A file that is gone or damaged since it was listed.
        if chosen[label] and (not new or new[-1].seq != chosen[label][-1].last):
            raise BrokenHistory
        if new:
            places[label] = new[-1].position
        news += (entry for entry in new if entry.op != BEGIN)
    return News(news, places)


def ends(tree: Tree) -> tuple[dict[str, LogPosition], list[FileInfo]]:
    """Return the position behind each log, and the data files, which are as of then or newer.

    A bucket without a log has the position before its first entry. Raises StoreError, and
    UsageError for a newer version.
    """
    positions: dict[str, LogPosition] = {}
    for _ in range(_MAX_LISTINGS):
        positions = heads(tree.store, shelves(tree.store.list(CHANGES)))
        # An entry may have been folded after it was listed.
        if all(at.mark != UNKNOWN_MARK for at in positions.values()):
            break
    listed = data_files(tree)
    for label, found in listed.items():
        positions.setdefault(label, LogPosition(0, files_mark(found)))
    return positions, sorted(file for found in listed.values() for file in found)


def shelf(store: Store, label: str) -> Shelf:
    """Return the files of the log of a bucket as they are now. Raises StoreError."""
    return shelves(store.list(f"{CHANGES}/{label}")).get(label, Shelf())


def known_name(label: str) -> str:
    """Return the name of the file with the known files of a log."""
    return f"{CHANGES}/{label}/known.json"


def known_files(tree: Tree, label: str) -> frozenset[str]:
    """Return the data files that the dropped entries of a log leave behind. Raises StoreError."""
    found = json_file.read(tree.store, known_name(label), dict[str, frozenset[str]]) or {}
    return found.get("paths", frozenset())


def left_behind(tree: Tree, label: str, files: Iterable[LogFile]) -> set[str]:
    """Return the data files after the entries in these files, the oldest that a log still has.

    Raises StoreError, and UsageError for an entry of a newer version.
    """
    found = set(known_files(tree, label))
    for entry in entries_of(tree.store, files):
        if entry.op == "deleted":
            found.discard(entry.path)
        elif entry.op != BEGIN:
            found.add(entry.path)
    return found


def not_removed(tree: Tree) -> set[str]:
    """Return the names of the data files that were published and not removed since.

    Raises StoreError, and UsageError for a log of a newer version.
    """
    logs = shelves(tree.store.list(CHANGES)).items()
    return {name for label, shelf in logs for name in left_behind(tree, label, shelf.files)}


def data_files(tree: Tree) -> dict[str, list[FileInfo]]:
    """Return the data files of a tree by bucket as in names, of any number of buckets."""
    found: dict[str, list[FileInfo]] = {}
    for dataset in CATALOGUE:
        for file in tree.store.list(dataset):
            if parse_name(tree.store, file.name):
                found.setdefault(label_of(file.name), []).append(file)
    return found


def heads(store: Store, logs: Mapping[str, Shelf]) -> dict[str, LogPosition]:
    """Return the position behind the last entry of each log that has one."""
    ends = {label: newest for label, shelf in logs.items() if (newest := shelf.newest)}
    read = [each for each in ends.values() if each.is_entry]
    marks: dict[str, str] = {}
    for each, entries in zip(read, _read(store, read), strict=True):
        marks[each.file.name] = entries[-1].position.mark if entries else UNKNOWN_MARK
    return {
        label: LogPosition(each.last, each.mark or marks[each.file.name])
        for label, each in ends.items()
    }


def entries_of(store: Store, files: Iterable[LogFile], after: int = 0) -> Iterator[LogEntry]:
    """Yield the entries with a number above ``after`` that can be read, in order."""
    for entries in _read(store, needed(files, after)):
        for entry in entries:
            if entry.seq > after:
                yield entry
                after = entry.seq


def _read(store: Store, files: Sequence[LogFile]) -> Iterator[list[LogEntry]]:
    """Yield the entries of each file, none for one that is gone. Damaged entries are left out."""
    for each, data in zip(files, contents(store, [each.file for each in files]), strict=True):
        lines = [data or b""]
        if not each.is_entry:
            with suppress(ValueError):
                lines = packed_lines.unpack(lines[0])
        parsed = (_parse(store, each.file.name, line) for line in lines)
        yield [entry for entry in parsed if entry is not None]


def _parse(store: Store, name: str, line: bytes) -> LogEntry | None:
    """Parse an entry, None if it is damaged. Raises UsageError for a newer version."""
    entry = json_file.decoded(line, LogEntry, store.display_path(name))
    if entry is None:
        return None
    # A history names the same days and accounts again and again.
    days, appids = map(intern, entry.days), map(intern, entry.appids)
    return replace(entry, days=tuple(days), appids=tuple(appids))
