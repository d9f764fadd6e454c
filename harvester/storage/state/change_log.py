"""Logs of the changes in the buckets that a run holds: announces changes and appends them.

An entry is durable before the raw groups behind it are deleted, so each replacement by a killed run
has an entry, or groups that the next run publishes and reports again. A change without groups, by
`forget` or a repair, is announced first, and the next run of the bucket reports what was announced
and not reported. The entries of a publish round are one file. It is created under the number of its
first entry only if that is free, because a run may learn late that another has taken over its lease
of a bucket.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from itertools import groupby

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import Clock
from harvester.core.errors import LostRace
from harvester.core.hold import UNLOSABLE
from harvester.core.results import Op
from harvester.storage.backends.base import retry_races
from harvester.storage.layout import CHANGES, Tree, label_of, parse_name, partitions
from harvester.storage.state import change_folding, change_reader, json_file
from harvester.storage.state.change_entries import (
    BEGIN,
    LogEntry,
    LogPosition,
    files_mark,
    mark_of,
    round_name,
    shelves,
)
from harvester.storage.state.packed_lines import pack

MAX_ROUND_BYTES = 256 << 10
"""Bytes of entries in the file of a round, unless it has one; a longer round has several."""

_DEAD_AFTER_SECONDS = 86_400
"""Age at which an announcement is of a dead run, where a run may lose its lease."""


class ChangeLog:
    """The logs of the buckets of a run. ``now`` is in seconds since the Unix epoch.

    ``run_id`` is set anew when the clock of the run was wrong, and names further changes.

    Those that are not opened here are opened and folded by the processes of the run's shards.
    """

    def __init__(self, tree: Tree, run_id: str, now: Clock) -> None:
        self.tree = tree
        self.run_id = run_id
        self._now = now
        self._heads: dict[str, LogPosition] = {}
        self._announced: dict[str, str] = {}

    def open(self, labels: Iterable[str], *, is_new: bool = False) -> None:
        """Begin the logs that do not exist, and report what dead runs could not report.

        The buckets must be locked, and none of their files changed yet. ``is_new`` begins the logs
        of a tree that is being made. Raises StoreError, and UsageError for a newer version and for
        files of another number of buckets.
        """
        store, own = self.tree.store, set(labels)
        logs = shelves(self.tree.files(CHANGES))
        logs = {label: shelf for label, shelf in logs.items() if label in own}
        self._heads = change_reader.heads(store, logs)
        lacking = sorted(own - self._heads.keys())
        files = change_reader.data_files(self.tree) if lacking and not is_new else {}
        for dataset in CATALOGUE if files else ():
            # Refused here already, so that a run with a wrong number of buckets leaves no log.
            partitions(self.tree, dataset)
        for label in lacking:
            # The first entry is linked to the files that there were, so a cursor from before it
            # fits.
            there = files.get(label, [])
            self._heads[label] = LogPosition(0, files_mark(there))
            change_folding.remember(self.tree, label, {file.name for file in there})
            self._append(label, [LogEntry(op=BEGIN, run_id=self.run_id)])
        for label, shelf in logs.items():
            for file in shelf.begun:
                self._take_over(label, file.name)

    def announce(self, item: LogEntry) -> None:
        """Note, durably, that a file is about to be changed. Raises StoreError."""
        # Again after a lost race, which makes no second announcement.
        file = f"{self.run_id}.{mark_of(item.path)}.entry"
        name = f"{CHANGES}/{label_of(item.path)}/begun/{file}"
        begun = replace(item, at=calendar.utc_text(self._now()), run_id=self.run_id)
        json_file.write(self.tree.store, name, begun)
        self._announced[item.path] = name

    def add(self, *entries: LogEntry) -> None:
        """Append entries to the logs of their files' buckets, durably. Raises StoreError.

        Those of a bucket are put at once.
        """
        ours = [replace(entry, run_id=self.run_id) for entry in entries]
        ours.sort(key=_label)
        for label, found in groupby(ours, _label):
            self._append(label, [*found])
        # After the entry: killed in between, the change is reported twice instead of never.
        for entry in entries:
            if announced := self._announced.pop(entry.path, None):
                self.tree.store.delete(announced)

    def close(self) -> None:
        """Fold the open logs, and drop old entries of them. Raises StoreError."""
        for label in self._heads:
            change_folding.fold(self.tree, label, self._now())

    def _append(self, label: str, entries: list[LogEntry]) -> None:
        while entries:
            written = retry_races(partial(self._put_round, label, entries))
            entries = entries[written:]

    def _put_round(self, label: str, entries: list[LogEntry], lost: int) -> int:
        """Put entries into a file, as many as it may have; return their number.

        Raises LostRace if the number of the first is taken.
        """
        head = self._heads[label] if label in self._heads and not lost else self._head(label)
        first, at, size = head.seq + 1, calendar.utc_text(self._now()), 0
        lines: list[bytes] = []
        for entry in entries:
            numbered = replace(entry, seq=head.seq + 1, after=head.mark, at=at)
            text = change_folding.line(numbered)
            size += len(text)
            if lines and size > MAX_ROUND_BYTES:
                break
            lines.append(text)
            head = numbered.position
        self._create(label, first, pack(lines))
        self._heads[label] = head
        return len(lines)

    def _create(self, label: str, first: int, data: bytes) -> None:
        """Create the file of a round. Raises LostRace if its first number is taken."""
        store, name = self.tree.store, round_name(label, first)
        store.put(name, data, None)
        # A run that took over a lost lease may have folded an entry of this number, and removed
        # its file since. The rounds are not listed: a run may have thousands of them.
        found = shelves(store.list(f"{CHANGES}/{label}/log"))
        if label in found and any(each.last >= first for each in found[label].segments):
            store.delete(name)
            raise LostRace(f"{store.display_path(name)}: folded by another run", "run again")

    def _head(self, label: str) -> LogPosition:
        store = self.tree.store
        logs = {label: change_reader.shelf(store, label)}
        return change_reader.heads(store, logs).get(label, LogPosition())

    def _take_over(self, label: str, name: str) -> None:
        """Report a change that was announced: done or not, its file is to be read again."""
        store = self.tree.store
        begun = json_file.read(store, name, LogEntry)
        if begun and label_of(begun.path) == label and parse_name(store, begun.path):
            op: Op = "deleted" if store.get(begun.path, 1) is None else "erased"
            self._append(label, [replace(begun, op=op)])
            dead = calendar.utc_text(self._now() - _DEAD_AFTER_SECONDS)
            if self.tree.hold is not UNLOSABLE and begun.at > dead:
                # Its run may live although it lost its lease, and may change the file after this.
                return
        store.delete(name)


def _label(entry: LogEntry) -> str:
    return label_of(entry.path)
