"""Folding of change logs: the files of publish rounds into segments, each of one month.

A segment never changes. It is complete before the files that it replaces are removed, and a reader
takes any set of files that holds an entry, so a killed fold is finished by the next one, and two
folds of the same bucket at once do no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import takewhile

from harvester.core import calendar
from harvester.core.errors import LostRace
from harvester.storage.layout import CHANGES, Tree
from harvester.storage.state import change_reader, json_file
from harvester.storage.state.change_entries import (
    LogEntry,
    LogFile,
    Shelf,
    needed,
    segment_name,
    shelves,
)
from harvester.storage.state.change_reader import known_name
from harvester.storage.state.packed_lines import pack

MAX_SEGMENT_BYTES = 4 << 20
"""Bytes of entries that a segment does not exceed, unless it has one: files are read whole."""

MAX_ROUNDS = 16
"""Files of single rounds. So many are folded."""

_SECONDS_A_DAY = 86_400


def fold(tree: Tree, label: str, now: float) -> None:
    """Drop old segments of a bucket, and fold its rounds if they are many or of an earlier month.

    The caller has its lock. Raises StoreError, and UsageError for an entry of a newer version.
    """
    shelf = shelves(tree.files(f"{CHANGES}/{label}")).get(label, Shelf())
    files, newest = shelf.files, shelf.newest
    first_day = calendar.utc_text(now - tree.keep_history * _SECONDS_A_DAY)[:10]
    old = [*takewhile(lambda each: "" < each.day < first_day and each != newest, files)]
    if old:
        remember(tree, label, change_reader.left_behind(tree, label, old))
    kept = needed(files[len(old) :], 0)
    is_due = _are_due(tree, kept, calendar.utc_text(now)[:7])
    names = _folded(tree, label, kept) if is_due else {each.file.name for each in kept}
    # Also what a fold left that was killed after it had put its segment.
    for each in (*shelf.segments, *shelf.rounds):
        if each.file.name not in names:
            tree.store.delete(each.file.name)


def remember(tree: Tree, label: str, names: set[str]) -> None:
    """Write the data files that are there although no entry names them. Raises StoreError."""
    if names != change_reader.known_files(tree, label):
        known = {"paths": sorted(names)}
        json_file.write(tree.store, known_name(label), known)


def line(entry: LogEntry) -> bytes:
    """Return an entry as a line of its file."""
    return json_file.encoded(entry) + b"\n"


def _are_due(tree: Tree, files: list[LogFile], this_month: str) -> bool:
    rounds = [each for each in files if each.is_round]
    first = change_reader.entries_of(tree.store, rounds[:1])
    return len(rounds) >= MAX_ROUNDS or any(entry.at[:7] < this_month for entry in first)


def _folded(tree: Tree, label: str, files: list[LogFile]) -> set[str]:
    """Fold the rounds in these files into segments; return the names of the files that stay."""
    rounds = [each for each in files if each.is_round]
    last = files[: -len(rounds)][-1:]
    entries = list(change_reader.entries_of(tree.store, last))
    # A segment that lost an entry stays as it is: readers must see the gap.
    if len(entries) != sum(each.last - each.first + 1 for each in last):
        last, entries = [], []
    entries += change_reader.entries_of(tree.store, rounds)
    names = {each.file.name for each in files if each not in last + rounds}
    return names | {_put_segment(tree, label, piece) for piece in _pieces(entries)}


def _pieces(entries: Iterable[LogEntry]) -> Iterator[list[tuple[LogEntry, bytes]]]:
    """Cut entries, and their lines, where a segment ends: at its length, and with its month.

    Also at a gap: a segment across it would hide the entry, which another fold may have written.
    """
    piece: list[tuple[LogEntry, bytes]] = []
    size = 0
    for entry in entries:
        text = line(entry)
        if piece:
            last = piece[-1][0]
            is_next = entry.seq == last.seq + 1 and entry.at[:7] == last.at[:7]
            if not is_next or size + len(text) > MAX_SEGMENT_BYTES:
                yield piece
                piece, size = [], 0
        piece.append((entry, text))
        size += len(text)
    if piece:
        yield piece


def _put_segment(tree: Tree, label: str, piece: list[tuple[LogEntry, bytes]]) -> str:
    """Put a segment; return its name."""
    name = segment_name(label, piece[0][0].seq, piece[-1][0])
    # Another fold of the same entries has written the same.
    with suppress(LostRace):
        tree.store.put(name, pack(text for _, text in piece), None)
    return name
