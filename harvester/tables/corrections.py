"""Corrections of final days: what becomes of answers whose rows differ from the published ones.

One bad answer must not touch a final day, so its rows are replaced only once answers of two Beijing
days differ from them in the same way. The first one leaves a digest in the coverage.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from harvester.core.calendar import Day
from harvester.core.dataset import DATE_COLUMN
from harvester.tables.columns import Slice, numbers_of
from harvester.tables.coverage import Difference
from harvester.tables.row_difference import PROVENANCE, unchanged_days

_SAYS_NOTHING = {*PROVENANCE, "_extra"}
"""Columns in which rows may differ without being other rows."""


def corrected_days(
    old: Sequence[Slice],
    new: Mapping[Day, tuple[Slice, Day]],
    known: dict[Day, Difference],
    key: Sequence[str],
) -> Iterator[Day]:
    """Yield the final days whose rows are replaced, and keep the differences that are new.

    ``old`` are the account's rows, ``new`` those of final days with the Beijing day of their
    answer, ``known`` the differences so far, and ``key`` the columns that tell rows apart.
    """
    stored = {day: list(_of_day(old, day)) for day in new}
    same = unchanged_days(stored, {day: rows for day, (rows, _) in new.items()})
    for day, (rows, on) in new.items():
        before = known.get(day)
        if before and before.day >= on:
            continue
        known.pop(day, None)
        if day in same:
            continue
        digest = _digest_of_others(stored[day], rows, key)
        if digest and before is None:
            known[day] = Difference(on, digest)
        # A second answer that differs in another way leaves nothing: neither is known to be right.
        elif before and before.digest == digest:
            yield day


def _of_day(pieces: Iterable[Slice], day: Day) -> Iterator[Slice]:
    for piece in pieces:
        dates = numbers_of(piece.batch.column(DATE_COLUMN), "i")
        begin, end = piece.offset, piece.offset + piece.length
        begin, end = bisect_left(dates, day, begin, end), bisect_right(dates, day, begin, end)
        if begin < end:
            yield Slice(piece.batch, begin, end - begin)


def _digest_of_others(old: Iterable[Slice], new: Slice, key: Sequence[str]) -> int:
    """Return a digest of rows that say something else, 0 if they do not or lack a key."""
    before = [row for piece in old for row in _rows(piece)]
    after = _rows(new)
    if before == after or {_key(row, key) for row in before} - {_key(row, key) for row in after}:
        return 0
    text = repr(after).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") or 1


def _key(row: Mapping[str, Any], key: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row[name] for name in key)


def _rows(piece: Slice) -> list[dict[str, Any]]:
    names = [name for name in piece.batch.schema.names if name not in _SAYS_NOTHING]
    rows: list[dict[str, Any]]
    rows = piece.batch.select(names).slice(piece.offset, piece.length).to_pylist()
    return rows
