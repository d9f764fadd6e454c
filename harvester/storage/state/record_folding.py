"""Folding of run records: many small files into few, and those of old months into their heads.

A head is kept for ever, because it is what ``_run_id`` joins to, with the days that the run gave
up. A month has one file of heads; the whole records beside it go with the history that is kept.
Both are complete before the files that they replace are removed, and readers take a record from
either place, so a killed fold is finished by the next one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from itertools import groupby
from typing import Any, TypeAlias

import orjson

from harvester.core import calendar
from harvester.storage.backends.base import FileInfo, retry_races
from harvester.storage.layout import RUNS, Tree
from harvester.storage.state import json_file
from harvester.storage.state.packed_lines import LINES, pack
from harvester.storage.state.run_records import HEADS, GivenUp, RunResult, by_run

DAYS = 4
"""Age at which records are folded, once the oldest is twice as old. A run that still writes its own
makes it anew."""

MAX_GIVEN_UP = 100
"""Maximum ranges of days in a head, and items of attention. Later runs name all of them again."""

MAX_FILE_BYTES = 4 << 20
"""Size of the records that are folded at once, but for the last: files are read whole."""

_MEMBERS = (
    *("run_id", "started_at", "ended_at", "state", "harvester_version", "outcome", "exit_code"),
    *("reasons", "retry_at", "shard", "verb", "manifest_digest", "host", "labels", "requests"),
    *("retries", "rows", "manifest", "selection", "attention_new", "attention_total", "rechecked"),
)
_MONTH = slice(len(RUNS) + 1, len(RUNS) + 7)
_NAME = re.compile(rf"{RUNS}/\d{{8}}T\d{{6}}Z-[^/]+?(\.json|{re.escape(LINES)})")

_Old: TypeAlias = tuple[FileInfo, dict[str, Any]]


def fold(tree: Tree, now: float) -> None:
    """Fold older records, and drop those of months before the history that is kept.

    The caller has the lock of the first bucket, so that one run folds at a time. Raises StoreError.
    """
    for month, found in groupby(_due(tree, now), key=lambda old: old[0].name[_MONTH]):
        _fold_month(tree, f"{RUNS}/{month[:4]}-{month[4:]}{HEADS}", list(found))
    oldest = _name_at(now, tree.keep_history)[_MONTH]
    for file in tree.files(RUNS):
        if _NAME.fullmatch(file.name) and file.name[_MONTH] < oldest:
            tree.store.delete(file.name)


def _name_at(now: float, age: int) -> str:
    """Return the beginning of the names of records that are so many days old."""
    return f"{RUNS}/{calendar.utc_text(now - age * 86_400)[:10].replace('-', '')}"


def _due(tree: Tree, now: float) -> Iterator[_Old]:
    """Yield the records to fold, oldest first. Unreadable ones are passed over."""
    listed = (file for file in tree.files(RUNS) if _NAME.fullmatch(file.name))
    due = [x for x in listed if x.name.endswith(".json") and x.name < _name_at(now, DAYS)]
    if not due or due[0].name > _name_at(now, 2 * DAYS):
        return
    size = 0
    for file, data in zip(due, tree.store.get_many(due), strict=True):
        with suppress(ValueError):
            record = json_file.parse(data or b"")
            is_readable = json_file.value_of(record, RunResult) is not None
            if is_readable and size < MAX_FILE_BYTES:
                size += file.size
                yield file, record


def _fold_month(tree: Tree, name: str, found: list[_Old]) -> None:
    """Fold records of one month: first their heads into the file of that name, then all of them."""

    def attempt(_: int) -> None:
        old = tree.store.get(name)
        heads = by_run(old.data) if old else {}
        heads |= {record["run_id"]: _head(record) for _, record in found}
        lines = (_line(head) for _, head in sorted(heads.items()))
        tree.store.put(name, pack(lines), old.version if old else None)

    retry_races(attempt)
    # Over the file of a killed fold: while the first of its records is there, all of them are.
    whole = found[0][0].name.removesuffix(".json") + LINES
    tree.store.put(whole, pack(_line(record) for _, record in found))
    for file, _ in found:
        tree.store.delete(file.name)


def _head(record: dict[str, Any]) -> dict[str, Any]:
    names = [member.name for member in fields(GivenUp)]
    given_up = record.get("exceptions", ())[:MAX_GIVEN_UP]
    head = {name: record[name] for name in _MEMBERS if name in record}
    head["attention"] = record.get("attention", ())[:MAX_GIVEN_UP]
    return {**head, "exceptions": [{name: item[name] for name in names} for item in given_up]}


def _line(record: dict[str, Any]) -> bytes:
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
