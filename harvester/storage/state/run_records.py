"""Run records: one JSON file a run, replaced whole or not at all, until it is folded.

A record has a version of its own, ``record_version``, which only ever adds members, so a record of
any version can be read. `record_folding` keeps the heads of older records, one file per month.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import chain, islice
from typing import Any, TypeVar

import orjson

from harvester.core.errors import StoreError
from harvester.core.model import Count, Difference, ExitCode
from harvester.storage.backends.base import MAX_READ, read_bytes
from harvester.storage.layout import RUNS, Tree
from harvester.storage.state import json_file
from harvester.storage.state.packed_lines import LINES, unpack

T = TypeVar("T")
HEADS = f".heads{LINES}"
"""Ending of the file with the heads of a month, and what their runs gave up, a line each."""

HEAD_BYTES = 64 << 10
"""Bytes of a record that hold the members of `RunRecord`."""

_NAME = re.compile(rf"{RUNS}/(\d{{4}})-?(\d{{2}})(?:\d\dT.*\.json|{re.escape(HEADS)})")
"""Name of a record, or of the heads of a month."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Days that a run gave up, with the action and the scope of the rule, by their names."""

    appid: str
    dataset: str
    begin_date: date
    end_date: date
    action: str
    scope: str
    errcode: int | None


@dataclass(frozen=True, slots=True)
class RunResult:
    """The part of a run record that says which days the run asked in vain, and when it ended."""

    run_id: str
    ended_at: datetime
    state: str
    exceptions: tuple[GivenUp, ...] = ()

    def __post_init__(self) -> None:
        """Raise ValueError or OverflowError for a time that no clock has: the record is damaged."""
        self.ended_at.timestamp()


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The head of a run record. Times are RFC 3339 in UTC.

    A run that is ``"running"``, or was killed, has no exit code and no outcome yet.
    """

    run_id: str
    started_at: str
    ended_at: str
    state: str
    exit_code: ExitCode | None
    reasons: tuple[str, ...]
    requests: Count
    rows: Difference
    outcome: str | None
    retry_at: str | None = None
    verb: str = "run"
    shard: str | None = None

    def __post_init__(self) -> None:
        """Raise an error for a text that is no time, so that the record counts as unreadable."""
        for moment in (self.started_at, self.ended_at, self.retry_at):
            if moment is not None:
                datetime.fromisoformat(moment).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class RunRechecks:
    """The part of a run record that counts the final days that were asked again by lot."""

    rechecked: Mapping[str, Count]


def write(tree: Tree, run_id: str, record: dict[str, Any]) -> None:
    """Write a run's record into the tree, in the place of an earlier one. Raises StoreError.

    A run writes only its own record, so the one there is always older.
    """
    tree.store.put(f"{RUNS}/{run_id}.json", orjson.dumps(record))


def delete(tree: Tree, run_id: str) -> None:
    """Delete a run's record. Raises StoreError."""
    tree.store.delete(f"{RUNS}/{run_id}.json")


def newest(
    tree: Tree,
    kind: type[T],
    length: int = MAX_READ - 1,
    month: str = "",
    known: Collection[str] = (),
) -> Iterator[T]:
    """Yield the records as ``kind``, newest first. Unreadable ones are passed over.

    The first ``length`` bytes must hold the members of ``kind``: a record may be larger than
    memory, and its longest member comes last. Of a folded record the head has them all. With a
    ``month`` like ``2026-05`` only the records of runs that began in it are read, and of those not
    the ``known`` ones; who knows some knows the folded ones.
    """
    whole, begin_of = {*known}, f"{RUNS}/{month.replace('-', '')}"
    for file in reversed(tree.files(RUNS)):
        run_id = file.name.removeprefix(f"{RUNS}/").removesuffix(".json")
        is_record = file.name.startswith(begin_of) and file.name.endswith(".json")
        if not is_record or run_id in known:
            continue
        with suppress(StoreError):
            begin = read_bytes(tree.store, file.name, length)
            if begin is None:
                continue
            whole.add(run_id)
            where, is_cut = tree.store.display_path(file.name), len(begin) == length
            record = json_file.decoded(begin, kind, where, partial=is_cut)
            if record is not None:
                yield record
    if not known:
        yield from _folded(tree, kind, whole, month)


def months(tree: Tree) -> set[str]:
    """Return the months like ``2026-05`` in which a run began that left a record."""
    found = (_NAME.fullmatch(file.name) for file in tree.files(RUNS))
    return {f"{each[1]}-{each[2]}" for each in found if each}


def _folded(tree: Tree, kind: type[T], whole: set[str], month: str) -> Iterator[T]:
    """Yield the folded records, newest first, without those that are there as a whole."""
    # Listed only now: what was folded since the other listing is in one of these.
    for file in reversed(tree.files(RUNS)):
        if file.name.startswith(f"{RUNS}/{month}") and file.name.endswith(HEADS):
            heads = by_run(read_bytes(tree.store, file.name) or b"")
            for run_id in sorted(heads.keys() - whole, reverse=True):
                record = json_file.value_of(heads[run_id], kind)
                if record is not None:
                    yield record


def by_run(data: bytes) -> dict[str, Any]:
    """Return the heads in a file by their runs, none of a damaged one."""
    with suppress(ValueError, TypeError, KeyError):
        return {str(head["run_id"]): head for head in map(json_file.parse, unpack(data))}
    return {}


def last(tree: Tree, count: int) -> list[RunRecord]:
    """Return the newest records, newest first, and behind them older ones of `last_of_shards`.

    Unreadable ones are passed over.
    """
    records = newest(tree, RunRecord, HEAD_BYTES)
    found = [*islice(records, count)]
    # Shards that are under way, or runs that were killed, may be the newest ones.
    finished = last_of_shards(chain(found, records))
    return [*found, *(record for record in finished if record not in found)]


def last_of_shards(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Return the newest finished run, or that of each shard if it was one of several.

    ``records`` are read newest first, and up to a run of all accounts, or in another number of
    shards.
    """
    found, count = dict[str, RunRecord](), ""
    for record in filter(_is_finished, records):
        shard = record.shard or ""
        if found and not shard.endswith(f"/{count}"):
            break
        _, _, count = shard.partition("/")
        found.setdefault(shard, record)
        if count in {"", str(len(found))}:
            break
    return [*found.values()]


def _is_finished(record: RunRecord) -> bool:
    return record.verb == "run" and record.state == "finished"


def text(record: Mapping[str, Any]) -> bytes:
    """Return a record as JSON to be read by people too, for a file of the user."""
    return orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n"
