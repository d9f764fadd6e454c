"""Ledger of the calls spent: a file per Beijing day and bucket, under ``_harvester/quota``.

Losing them costs calls and never rows, so a damaged note counts for nothing. They are kept for two
days: yesterday's tells whether its run ended in order. The last ones stay until the next run.

A bucket's note is written by the run that holds the bucket. A check holds none and leaves a file of
its own, which counts in every note of that day that is read, and is in it from its next writing on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from harvester.core import calendar
from harvester.core.calendar import Day, parse_day
from harvester.core.errors import LostRace, StoreError
from harvester.planning.quota import Calls, DayLedger
from harvester.storage.backends.base import Version
from harvester.storage.layout import QUOTA, Tree
from harvester.storage.state import json_file

_NAME = re.compile(r".*/(\d{4}-\d{2}-\d{2})\.(?:([0-9-]+of-\d+)|check-[\w-]+)\.json")

MAX_RACES = 20
"""Maximum times in a row that other runs replace a note before it is put."""


class StoredLedger(NamedTuple):
    """A stored note: its version, None if there is none, and the calls in it."""

    version: Version | None
    calls: Calls


def read(tree: Tree, day: Day, bucket: int) -> DayLedger | None:
    """Return the note of a bucket and a day, checks counted in; None if there is none.

    A file that is damaged or out of reach counts as absent. Raises UsageError for a newer version.
    """
    note: DayLedger | None = None
    with suppress(StoreError):
        note = json_file.read(tree.store, _name(tree, day, bucket), DayLedger, day=day)
    for check in _checks(tree, day, bucket):
        note = note or DayLedger(day)
        note.merge(check)
    return note


def read_stored(tree: Tree, day: Day, bucket: int) -> tuple[DayLedger, StoredLedger]:
    """Return the note of a bucket and a day as `read`, and what it is based on.

    An empty note if there is none. Raises StoreError, because a note that is out of reach would be
    overwritten.
    """
    name = _name(tree, day, bucket)
    found, version = json_file.read_versioned(tree.store, name, DayLedger, day=day)
    note = found or DayLedger(day)
    for check in _checks(tree, day, bucket):
        note.merge(check)
    return note, _stored(tree, note, version)


def write_over(tree: Tree, note: DayLedger, bucket: int, base: StoredLedger) -> StoredLedger:
    """Put a note over the version that it is based on; return what it is based on then.

    If another run has put its own meanwhile, what was entered here since ``base`` is added to that.
    Raises StoreError.
    """
    day = calendar.day_text(note.day)
    name, temp = _name(tree, note.day, bucket), tree.temp(bucket, f"quota-{day}")
    for _ in range(MAX_RACES):
        over = base.version
        with suppress(LostRace):
            version = json_file.write_over(tree.store, name, note, temp, over, day=day)
            return _stored(tree, note, version)
        theirs, base_now = read_stored(tree, note.day, bucket)
        if (theirs.run, theirs.written) != (note.run, note.written):
            note.add_to(theirs, base.calls)
        # Else it was lost to this very write, whose answer did not come.
        base = base_now
    raise LostRace(f"{tree.store.display_path(name)}: replaced again and again", "run again")


def _stored(tree: Tree, note: DayLedger, version: Version | None) -> StoredLedger:
    # Where no other run can write, nothing is ever added.
    calls = {} if tree.store.is_exclusive else note.copied_calls()
    return StoredLedger(version, calls)


def read_all(tree: Tree, bucket: int) -> list[DayLedger]:
    """Return the notes of a bucket of all days that have one, oldest first. Raises as `read`."""
    days: set[Day] = set()
    mine = tree.bucket_label(bucket)
    with suppress(StoreError):
        for file in tree.store.list(QUOTA):
            name = _NAME.fullmatch(file.name)
            if name and name[2] in (None, mine):
                # A day that does not exist is no name of ours.
                with suppress(ValueError):
                    days.add(parse_day(name[1]))
    return [note for day in sorted(days) if (note := read(tree, day, bucket)) is not None]


def write(tree: Tree, note: DayLedger, bucket: int) -> None:
    """Replace the note of a bucket, durably. Raises StoreError."""
    day = calendar.day_text(note.day)
    temp = tree.temp(bucket, f"quota-{day}")
    json_file.write(tree.store, _name(tree, note.day, bucket), note, temp, day=day)


def leave(tree: Tree, spent: Mapping[int, DayLedger]) -> None:
    """Keep the calls of one check on one day, by bucket. Raises StoreError."""
    [(day, check)] = {(calendar.day_text(note.day), note.run) for note in spent.values()}
    notes = {tree.bucket_label(at): json_file.members(note, day=day) for at, note in spent.items()}
    temp = tree.store.scratch / f"check-{check}.tmp"
    json_file.write(tree.store, f"{QUOTA}/{day}.check-{check}.json", notes, temp)


def sweep(tree: Tree, bucket: int, begin: Day, end: Day) -> None:
    """Remove the notes of a bucket, and of checks, older than ``begin`` or later than ``end``."""
    first, last, mine = calendar.day_text(begin), calendar.day_text(end), tree.bucket_label(bucket)
    for file in tree.store.list(QUOTA):
        match = _NAME.fullmatch(file.name)
        if match and match[2] in (None, mine) and not first <= match[1] <= last:
            with suppress(StoreError):
                tree.store.delete(file.name)


def _name(tree: Tree, day: Day, bucket: int) -> str:
    return f"{QUOTA}/{calendar.day_text(day)}.{tree.bucket_label(bucket)}.json"


def _checks(tree: Tree, day: Day, bucket: int) -> Iterator[DayLedger]:
    """Yield the notes that checks have left of a day and a bucket, in their order."""
    with suppress(StoreError):
        begin = f"{QUOTA}/{calendar.day_text(day)}.check-"
        found = [file for file in tree.store.list(QUOTA) if file.name.startswith(begin)]
        for notes in json_file.read_all(tree.store, found, dict[str, Any]):
            note = json_file.value_of(notes.get(tree.bucket_label(bucket)), DayLedger, day=day)
            if note is not None:
                yield note
