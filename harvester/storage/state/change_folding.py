"""Folding of change logs: entries into segments, short segments into longer ones of one month.

A segment never changes. It is complete before the files that it replaces are removed, and a reader
takes any set of files that holds an entry, so a killed fold is finished by the next one, and two
folds of the same bucket at once do no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby, takewhile

from harvester.core import calendar
from harvester.core.errors import LostRace
from harvester.storage.layout import Tree
from harvester.storage.state import change_reader, json_file
from harvester.storage.state.change_entries import LogEntry, LogFile, needed, segment_name
from harvester.storage.state.change_reader import known_name
from harvester.storage.state.packed_lines import pack

MAX_SEGMENT_BYTES = 4 << 20
"""Bytes of entries that a segment does not exceed, unless it has one: files are read whole."""

MAX_SHORT_SEGMENTS = 16
"""Segments of a month that is not over. So many are merged, and a month that is over is merged."""

_SECONDS_A_DAY = 86_400


def fold(tree: Tree, label: str, now: float) -> None:
    """Fold the entries of a bucket, merge its segments and drop old ones; the caller has its lock.

    Raises StoreError, and UsageError for an entry of a newer version.
    """
    this_month = calendar.utc_text(now)[:7]
    _join(tree, label, this_month)
    # Once more, because the segments of these entries may be due with earlier ones.
    _join(tree, label, this_month)
    _drop(tree, label, calendar.utc_text(now - tree.keep_history * _SECONDS_A_DAY)[:10])


def remember(tree: Tree, label: str, names: set[str]) -> None:
    """Write the data files that are there although no entry names them. Raises StoreError."""
    if names != change_reader.known_files(tree, label):
        known = {"paths": sorted(names)}
        json_file.write(tree.store, known_name(label), known)


def line(entry: LogEntry) -> bytes:
    """Return an entry as a line of its file."""
    return json_file.encoded(entry) + b"\n"


def _join(tree: Tree, label: str, this_month: str) -> None:
    """Join the files of each group that is due into one segment, then remove what it holds."""
    files = change_reader.shelf(tree.store, label).files
    kept = needed(files, 0)
    # Left by a fold that was killed after it had put its segment.
    superfluous = [each for each in files if each not in kept]
    for group in _groups(kept):
        if _is_due(group, this_month):
            entries = list(change_reader.entries_of(tree.store, group, group[0].first - 1))
            is_whole = len(entries) == group[-1].last - group[0].first + 1
            # A segment that lost an entry stays as it is: readers must see the gap. Of files of one
            # entry a damaged one is left out, or no later one would ever be folded.
            if is_whole or group[0].is_entry:
                _put_segments(tree, label, entries)
                superfluous += group
    for each in superfluous:
        tree.store.delete(each.file.name)


def _put_segments(tree: Tree, label: str, entries: Iterable[LogEntry]) -> None:
    """Put entries into a segment, and behind a gap into another.

    A segment across a gap would hide the missing entry, which another fold may have written.
    """
    for _, found in groupby(enumerate(entries), key=lambda item: item[1].seq - item[0]):
        piece = [entry for _, entry in found]
        lines = [*map(line, piece)]
        name = segment_name(label, piece[0].seq, piece[-1], sum(map(len, lines)))
        # Another fold of the same entries has written the same.
        with suppress(LostRace):
            tree.store.put(name, pack(lines), None)


def _is_due(group: Sequence[LogFile], this_month: str) -> bool:
    if group[0].is_entry:
        return True
    is_over = group[-1].day[:7] < this_month
    return len(group) > 1 and (is_over or len(group) >= MAX_SHORT_SEGMENTS)


def _groups(files: Iterable[LogFile]) -> Iterator[list[LogFile]]:
    """Yield the files that may become one: without a gap, not too long, segments of one month.

    Files of one entry name no day, and so are in groups of their own.
    """
    group: list[LogFile] = []
    size = 0
    for each in files:
        is_apart = group and each.first != group[-1].last + 1
        is_of_other_month = group and each.day[:7] != group[-1].day[:7]
        is_too_long = group and size + each.length > MAX_SEGMENT_BYTES
        if is_apart or is_of_other_month or is_too_long:
            yield group
            group, size = [], 0
        group.append(each)
        size += each.length
    if group:
        yield group


def _drop(tree: Tree, label: str, before: str) -> None:
    """Drop segments that ended before a day, oldest first; the newest file always stays."""
    shelf = change_reader.shelf(tree.store, label)
    newest = shelf.newest

    def is_old(each: LogFile) -> bool:
        return not each.is_entry and each.day < before and each is not newest

    if old := list(takewhile(is_old, shelf.files)):
        remember(tree, label, change_reader.left_behind(tree, label, old))
        for each in old:
            tree.store.delete(each.file.name)
