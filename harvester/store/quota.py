"""Notes of the calls spent: a file per Beijing day and bucket, under ``_harvester/quota``.

Losing them costs calls and never rows, so a note that cannot be read counts for nothing. They are
kept for two days: yesterday's tells whether its run ended in order.
"""

from __future__ import annotations

import re
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

_NAME = re.compile(r".*/(\d{4}-\d{2}-\d{2})\.([0-9-]+of-\d+)\.json")


def read(tree: Tree, day: Day, bucket: int) -> Note | None:
    """The note of a bucket and a day; None if there is none that can be read."""
    try:
        return _note(orjson.loads(tree.store.read(_name(tree, day, bucket)) or b""))
    except (StoreError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write(tree: Tree, note: Note, bucket: int) -> None:
    """Keep a note in the place of an earlier one, durably. Raises StoreError."""
    temp = tree.temp(bucket, f"quota-{days.day_text(note.day)}")
    tree.store.write(_name(tree, note.day, bucket), orjson.dumps(_plain(note)), temp)


def sweep(tree: Tree, day: Day, bucket: int) -> None:
    """Remove the notes of a bucket that are older than the day before this one."""
    oldest, mine = days.day_text(day - 1), tree.of(bucket)
    for file in tree.store.list(QUOTA):
        match = _NAME.fullmatch(file.name)
        if match and match[2] == mine and match[1] < oldest:
            with suppress(StoreError):
                tree.store.delete(file.name)


def _name(tree: Tree, day: Day, bucket: int) -> str:
    return f"{QUOTA}/{days.day_text(day)}.{tree.of(bucket)}.json"


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
    )
