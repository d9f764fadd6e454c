"""Change logs, read: their entries, and what happened since a position in each of them.

An entry is in the file of its publish round until that is folded into a segment, and a segment is
made longer as long as its month lasts. A listing is no snapshot, and a file may be folded after it
was listed, so what cannot be read is listed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, islice
from sys import intern
from typing import NamedTuple

from harvester.catalogue import CATALOGUE
from harvester.storage.backends.base import FileInfo, Store
from harvester.storage.layout import CHANGES, Tree, label_of, only_count, parse_name
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
"""Mark of the last entry of a round that cannot be read."""

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
    wanted = {label: needed(logs[label].files, at.seq) for label, at in places.items()}
    found = iter([*_read(store, [*chain.from_iterable(wanted.values())])])
    news: list[LogEntry] = []
    for label, files in wanted.items():
        read = [*islice(found, len(files))]
        at, newest = places[label], logs[label].newest
        new = list(followed(chain.from_iterable(read), at))
        places[label] = new[-1].position if new else at
        end = _end_of(newest, read[-1] if read else ()) if newest else LogPosition(0, at.mark)
        # A file that is gone or damaged since it was listed, or a position of another history.
        if places[label] != end:
            raise BrokenHistory
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


def whole_tree(store: Store) -> Tree:
    """Return the tree with the buckets that its files have, or had by its logs.

    Raises StoreError, and UsageError for two numbers of buckets and for a log of a newer version.
    """
    tree = Tree(store)
    labels = data_files(tree) or {label_of(name) for name in not_removed(tree)}
    counts = (int(label.rpartition("-")[2]) for label in labels)
    return Tree(store, only_count(store, "", counts))


def heads(store: Store, logs: Mapping[str, Shelf]) -> dict[str, LogPosition]:
    """Return the position behind the last entry of each log that has one."""
    newest = {label: each for label, shelf in logs.items() if (each := shelf.newest)}
    rounds = [each for each in newest.values() if each.is_round]
    read = dict(zip(rounds, _read(store, rounds), strict=True))
    return {label: _end_of(each, read.get(each, ())) for label, each in newest.items()}


def _end_of(newest: LogFile, entries: Sequence[LogEntry]) -> LogPosition:
    """Return the position behind the newest file of a log; ``entries`` are those of a round."""
    if not newest.is_round:
        return LogPosition(newest.last, newest.mark)
    return entries[-1].position if entries else LogPosition(newest.first, UNKNOWN_MARK)


def entries_of(store: Store, files: Iterable[LogFile], after: int = 0) -> Iterator[LogEntry]:
    """Yield the entries with a number above ``after`` that can be read, in order."""
    for entries in _read(store, needed(files, after)):
        for entry in entries:
            if entry.seq > after:
                yield entry
                after = entry.seq


def _read(store: Store, files: Sequence[LogFile]) -> Iterator[list[LogEntry]]:
    """Yield the entries of each file, none for one that is gone. Damaged entries are left out."""
    for each, data in zip(files, store.get_many([each.file for each in files]), strict=True):
        lines: list[bytes] = []
        with suppress(ValueError):
            lines = packed_lines.unpack(data or b"")
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
