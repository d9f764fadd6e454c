"""Row groups in the making: slices of old batches and new rows, in the order they belong.

New rows are gathered as Python lists and become Arrow in one piece, since a small Arrow array costs
as much as a large one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import accumulate
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from harvester.core.calendar import Day
from harvester.tables.columns import Slice
from harvester.tables.day_rows import DayRows

ROW_GROUP_ROWS = 131_072
"""Rows in a row group: measured best for reading one account as well as one day."""

_MOST_LISTED = 16_384
"""New rows held as Python integers, which take ten times the room, before they become Arrow."""

_LENGTH_OF_LIST = 8
"""A list takes the room of so many rows without any: of such rows fewer are held at once."""

_MOST_CHUNKS = 32
"""Parquet takes a column in so many pieces as fast as in one; more are joined first."""

_CODES = {pa.int64(): "q", pa.int32(): "i", pa.float64(): "d", pa.date32(): "i"}


class Provenance(NamedTuple):
    """Where rows come from: when, in microseconds since the Unix epoch, and in which run."""

    fetched_at: int
    run_id: str


class NewRows(NamedTuple):
    """The new rows of one account's day."""

    appid: str
    day: Day
    rows: DayRows
    provenance: Provenance


def row_group_rows(schema: pa.Schema) -> int:
    """How many rows of these columns make a row group."""
    return ROW_GROUP_ROWS // _length(schema)


def _length(schema: pa.Schema) -> int:
    lists = [kind for kind in schema.types if pa.types.is_list(kind)]
    return _LENGTH_OF_LIST * len(lists) or 1


def into_row_groups(
    schema: pa.Schema, pieces: Iterable[Slice | NewRows], rows: int
) -> Iterator[pa.Table]:
    """All pieces in order, as tables of ``rows`` rows; the last may be shorter."""
    group = _RowGroup(schema)
    for piece in pieces:
        if isinstance(piece, Slice):
            group.keep(piece)
        else:
            group.add(piece)
        while group.length >= rows:
            yield group.cut(rows)
    if group.length:
        yield group.cut(group.length)


class _RowGroup:
    """Pieces that wait until there are enough of them. New rows not yet in Arrow have no batch."""

    def __init__(self, schema: pa.Schema) -> None:
        self.length = 0
        self._schema = schema
        self._most_listed = _MOST_LISTED // _length(schema)
        self._pieces: list[Slice] = []
        self._listed: list[NewRows] = []
        self._listed_rows = 0

    def keep(self, piece: Slice) -> None:
        """Append rows that are in Arrow already."""
        self.length += piece.length
        if self._pieces:
            batch, offset, length = self._pieces[-1]
            if batch is piece.batch and offset + length == piece.offset:
                self._pieces[-1] = Slice(batch, offset, length + piece.length)
                return
        self._pieces.append(piece)

    def add(self, new: NewRows) -> None:
        """Append new rows."""
        length = new.rows.stop - new.rows.start
        self._listed.append(new)
        self.keep(Slice(None, self._listed_rows, length))
        self._listed_rows += length
        if self._listed_rows >= self._most_listed:
            self._flush()

    def cut(self, rows: int) -> pa.Table:
        """Take the first rows away."""
        self._flush()
        taken: list[pa.RecordBatch] = []
        left = rows
        for place, (batch, offset, length) in enumerate(self._pieces):
            taken.append(batch.slice(offset, min(length, left)))
            left -= len(taken[-1])
            if not left:
                rest = Slice(batch, offset + len(taken[-1]), length - len(taken[-1]))
                self._pieces[: place + 1] = [rest] if rest.length else []
                break
        self.length -= rows
        table = pa.Table.from_batches(taken)
        return table.combine_chunks() if len(taken) > _MOST_CHUNKS else table

    def _flush(self) -> None:
        """Turn listed rows into Arrow, and let the pieces that stand for them know."""
        if not self._listed:
            return
        batch = to_record_batch(self._schema, self._listed)
        self._listed, self._listed_rows = [], 0
        self._pieces = [
            Slice(batch, piece.offset, piece.length) if piece.batch is None else piece
            for piece in self._pieces
        ]


def to_record_batch(schema: pa.Schema, news: list[NewRows]) -> pa.RecordBatch:
    """New rows, at least one day of them, as one batch.

    What is the same for all rows of a day is written out by Arrow.
    """
    ends = pa.array(accumulate(new.rows.stop - new.rows.start for new in news), pa.int32())
    appid, day, *kinds, fetched_at, run_id, extra = schema.types

    def spread(values: Iterable[object], kind: pa.DataType) -> pa.Array:
        return pc.run_end_decode(pa.RunEndEncodedArray.from_arrays(ends, pa.array(values, kind)))

    columns, extras = _joined(news, len(kinds))
    arrays = [
        spread([new.appid for new in news], appid),
        spread([new.day for new in news], day),
        *map(_values, columns, kinds),
        spread([new.provenance.fetched_at for new in news], fetched_at),
        spread([new.provenance.run_id for new in news], run_id),
        pa.array(extras, extra),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _joined(news: list[NewRows], width: int) -> tuple[list[list[Any]], list[str | None]]:
    """The columns of all new rows, then their extra. An answer's days that follow are one slice."""
    columns: list[list[Any]] = [[] for _ in range(width)]
    extras: list[str | None] = []
    last = news[0].rows
    for new in (*news[1:], None):
        rows = new.rows if new else None
        if rows and rows.columns is last.columns and rows.start == last.stop:
            last = last._replace(stop=rows.stop)
            continue
        whole = not last.start and last.stop == len(last.extra)
        for place, values in enumerate(last.columns):
            columns[place] += values if whole else values[last.start : last.stop]
        extras += last.extra if whole else last.extra[last.start : last.stop]
        last = rows or last
    return columns, extras


def _values(values: list[Any], kind: pa.DataType) -> pa.Array:
    """A column in Arrow. Numbers without nulls go by way of `struct`, three times as fast."""
    code = _CODES.get(kind)
    if code:
        with suppress(struct.error):
            data = struct.pack(f"{len(values)}{code}", *values)
            return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(data)])
    return pa.array(values, kind)
