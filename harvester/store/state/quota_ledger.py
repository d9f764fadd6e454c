"""Notes of the calls spent: a file per Beijing day and bucket, under ``_harvester/quota``.

Losing them costs calls and never rows, so a note that cannot be read counts for nothing. They are
kept for two days: yesterday's tells whether its run ended in order.

A bucket's note is written by the run that holds the bucket. A check holds none and leaves a file of
its own, which counts for whoever reads a note of that day and is in it from its next writing on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import orjson

from harvester import days
from harvester.days import Day
from harvester.errors import StoreError
from harvester.quota import Note
from harvester.store.layout import QUOTA, Tree
from harvester.wire import Refusal

VERSION = 1
"""Of the form of a note. Another one is passed over."""

_NAME = re.compile(r".*/(\d{4}-\d{2}-\d{2})\.(?:([0-9-]+of-\d+)|check-[\w-]+)\.json")

_UNREADABLE = (StoreError, ValueError, KeyError, TypeError, AttributeError)


def read(tree: Tree, day: Day, bucket: int) -> Note | None:
    """The note of a bucket and a day, checks counted in; None if there is none to be read."""
    note: Note | None = None
    with suppress(*_UNREADABLE):
        note = _note(orjson.loads(tree.store.read(_name(tree, day, bucket)) or b""))
    for check in _checks(tree, day, bucket):
        note = note or Note(day)
        note.count_in(check)
    return note


def write(tree: Tree, note: Note, bucket: int) -> None:
    """Keep a note in the place of an earlier one, durably. Raises StoreError."""
    temp = tree.temp(bucket, f"quota-{days.day_text(note.day)}")
    tree.store.write(_name(tree, note.day, bucket), orjson.dumps(_plain(note)), temp)


def leave(tree: Tree, spent: Mapping[int, Note]) -> None:
    """Keep what one check has spent on one day, by bucket. Raises StoreError."""
    [(day, check)] = {(note.day, note.run) for note in spent.values()}
    notes = {tree.of(bucket): _plain(note) for bucket, note in spent.items()}
    name = f"{_check_names(day)}{check}.json"
    tree.store.write(name, orjson.dumps(notes), tree.store.scratch / f"check-{check}.tmp")


def sweep(tree: Tree, day: Day, bucket: int) -> None:
    """Remove the notes of a bucket, and of checks, older than the day before this one."""
    oldest, mine = days.day_text(day - 1), tree.of(bucket)
    for file in tree.store.list(QUOTA):
        match = _NAME.fullmatch(file.name)
        if match and match[2] in (None, mine) and match[1] < oldest:
            with suppress(StoreError):
                tree.store.delete(file.name)


def _name(tree: Tree, day: Day, bucket: int) -> str:
    return f"{QUOTA}/{days.day_text(day)}.{tree.of(bucket)}.json"


def _check_names(day: Day) -> str:
    return f"{QUOTA}/{days.day_text(day)}.check-"


def _checks(tree: Tree, day: Day, bucket: int) -> Iterator[Note]:
    """What checks have spent on a day in a bucket, in their order."""
    names: list[str] = []
    with suppress(StoreError):
        names = [file.name for file in tree.store.list(QUOTA)]
    for name in sorted(name for name in names if name.startswith(_check_names(day))):
        with suppress(*_UNREADABLE):
            yield _note(orjson.loads(tree.store.read(name) or b"")[tree.of(bucket)])


def _plain(note: Note) -> dict[str, Any]:
    return {
        "version": VERSION,
        "day": days.day_text(note.day),
        "run": note.run,
        "open": note.open,
        "period": note.period,
        "quiet_at": note.quiet_at,
        "recent": note.recent,
        "calls": note.calls,
        "parked": {
            dataset: {appid: list(refusal) for appid, refusal in of_dataset.items()}
            for dataset, of_dataset in note.parked.items()
        },
        "heard": note.heard,
    }


def _note(plain: dict[str, Any]) -> Note:
    """Read a note. Raises KeyError, TypeError, ValueError or AttributeError for anything else."""
    if plain["version"] != VERSION:
        raise ValueError("another version")
    return Note(
        day=days.parse_day(plain["day"]),
        run=str(plain["run"]),
        open=bool(plain["open"]),
        period=float(plain["period"]),
        quiet_at=float(plain["quiet_at"]),
        recent=int(plain["recent"]),
        calls={
            dataset: {appid: int(calls) for appid, calls in of_dataset.items()}
            for dataset, of_dataset in plain["calls"].items()
        },
        parked={
            dataset: {
                appid: Refusal(int(errcode), str(errmsg), str(rid))
                for appid, (errcode, errmsg, rid) in of_dataset.items()
            }
            for dataset, of_dataset in plain["parked"].items()
        },
        heard=list(map(str, plain.get("heard", ()))),
    )
