"""Run records: what each run did, one JSON file a run, replaced whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from harvester.errors import StoreError
from harvester.store import files
from harvester.store.layout import RUNS, Tree


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The head of a run record. Times are RFC 3339 in UTC.

    A run that is ``running``, or was killed, has no exit code yet.
    """

    run_id: str
    started_at: str
    ended_at: str
    state: str
    exit_code: int | None
    reasons: tuple[str, ...]
    requests: int
    rows: int


def write(
    tree: Tree, run_id: str, record: dict[str, Any], feed: Iterable[bytes] = (), *, bucket: int = 0
) -> None:
    """Keep a run's record in the tree, in the place of an earlier one. Raises StoreError.

    Nobody but the run itself writes it, so what stands there is always older.
    ``feed`` is what stands in its ``published``, as JSON, and is never held whole. ``bucket`` is
    one that the run holds: what a killed run leaves half-made is swept with it.
    """
    temp = tree.temp(bucket, f"{run_id}.json")
    name = f"{RUNS}/{run_id}.json"
    try:
        _make(temp, _pieces(record, feed))
        tree.store.settle(temp, name)
    finally:
        files.discard(temp)


def write_file(path: Path, record: dict[str, Any], feed: Iterable[bytes] = ()) -> None:
    """Write a record where the user wants it, whole or not at all. Raises StoreError.

    What is no file, such as ``/dev/stdout``, gets the record once it is final.
    """
    with files.guarded(path):
        is_no_file = path.exists() and not path.is_file()
    if is_no_file:
        if record["state"] != "running":
            with files.guarded(path), path.open("wb") as sink:
                sink.writelines(_pieces(record, feed))
        return
    temp = path.with_name(f".{path.name}.tmp")
    try:
        _make(temp, _pieces(record, feed))
        files.settle(temp, path)
    finally:
        files.discard(temp)


def entry(plain: dict[str, Any]) -> bytes:
    """An entry of ``published`` as a journal keeps it and `write` takes it."""
    return orjson.dumps(plain)


def last(tree: Tree, count: int) -> list[RunRecord]:
    """The newest records, newest first. One that cannot be read is passed over: it is only news."""
    found: list[RunRecord] = []
    for file in reversed(tree.store.list(RUNS)):
        record = _read(tree, file.name) if file.name.endswith(".json") else None
        if record is not None:
            found.append(record)
        if len(found) == count:
            break
    return found


def _make(temp: Path, pieces: Iterable[bytes]) -> None:
    with files.guarded(temp):
        files.make_folder(temp.parent)
        with temp.open("wb") as file:
            file.writelines(pieces)


def _pieces(record: dict[str, Any], feed: Iterable[bytes]) -> Iterator[bytes]:
    """The record as JSON, ``published`` last: an entry a line."""
    text = orjson.dumps({**record, "published": []}, option=orjson.OPT_INDENT_2)
    yield text.removesuffix(b"]\n}")
    separator = b"\n    "
    for item in feed:
        yield separator + item
        separator = b",\n    "
    yield b"]\n}\n" if separator.startswith(b"\n") else b"\n  ]\n}\n"


def _read(tree: Tree, name: str) -> RunRecord | None:
    try:
        record = orjson.loads(tree.store.read(name) or b"")
        return RunRecord(
            run_id=record["run_id"],
            started_at=record["started_at"],
            ended_at=record["ended_at"],
            state=record["state"],
            exit_code=record["exit_code"],
            reasons=tuple(record["reasons"]),
            requests=record["requests"],
            rows=record["rows"],
        )
    except (StoreError, ValueError, KeyError, TypeError):
        return None
