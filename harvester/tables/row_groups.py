"""Row groups: collects slices of old batches and new rows, in key order, into tables.

New rows are collected as Python lists and converted to Arrow together, because a small Arrow array
costs as much time as a large one.
"""

from __future__ import annotations

import struct
from collections import deque
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
"""Rows in a row group: measured best both for reading one account and for reading one day."""

_MAX_LISTED_ROWS = 16_384
"""New rows kept as Python objects, which take ten times the memory, before the conversion."""

_ROWS_PER_LIST = 8
"""Rows without a list column that take as much memory as one row with such a column."""

_MAX_CHUNKS = 32
"""Chunks of a column that Parquet writes as fast as one; more are joined first."""

_STRUCT_CODES = {pa.int64(): "q", pa.int32(): "i", pa.float64(): "d", pa.date32(): "i"}


class Provenance(NamedTuple):
    """Origin of rows: the time in microseconds since the Unix epoch, and the run.

    ``behind`` is by how many seconds earlier than asked for an answer settles days.
    """

    fetched_at: int
    run_id: str
    behind: int = 0


class NewRows(NamedTuple):
    """The new rows of one account and day."""

    appid: str
    day: Day
    rows: DayRows
    provenance: Provenance


def _row_weight(schema: pa.Schema) -> int:
    """Return the memory of a row, in rows without a list column."""
    lists = [kind for kind in schema.types if pa.types.is_list(kind)]
    return _ROWS_PER_LIST * len(lists) or 1


def account_slices(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, Slice]]:
    """Yield the rows of each account in each batch, in their order, with its appid."""
    for batch in batches:
        runs = pc.run_end_encode(batch.column("appid"))
        start = 0
        for appid, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            yield appid, Slice(batch, start, end - start)
            start = end


def into_row_groups(
    schema: pa.Schema, pieces: Iterable[Slice | NewRows], rows: int | None = None
) -> Iterator[pa.Table]:
    """Yield all pieces in order, as tables of ``rows`` rows; the last may be shorter.

    Without ``rows`` each table is a row group.
    """
    group = _RowGroup(schema)
    rows = rows or ROW_GROUP_ROWS // _row_weight(schema)
    for piece in pieces:
        if isinstance(piece, Slice):
            group.add_slice(piece)
        else:
            group.add_rows(piece)
        while group.length >= rows:
            yield group.cut(rows)
    if group.length:
        yield group.cut(group.length)


class _RowGroup:
    """Pieces of the next row groups. The batch of a piece is None until it is converted."""

    def __init__(self, schema: pa.Schema) -> None:
        self.length = 0
        self._schema = schema
        self._max_listed_rows = _MAX_LISTED_ROWS // _row_weight(schema)
        self._pieces: deque[Slice] = deque()
        self._listed: list[NewRows] = []
        self._listed_rows = 0

    def add_slice(self, piece: Slice) -> None:
        """Append rows that are already in Arrow."""
        self.length += piece.length
        if self._pieces:
            # Neighbours in the same batch are joined: each piece costs a chunk.
            batch, offset, length = self._pieces[-1]
            if batch is piece.batch and offset + length == piece.offset:
                self._pieces[-1] = Slice(batch, offset, length + piece.length)
                return
        self._pieces.append(piece)

    def add_rows(self, new: NewRows) -> None:
        """Append new rows."""
        length = new.rows.stop - new.rows.start
        self._listed.append(new)
        self.add_slice(Slice(None, self._listed_rows, length))
        self._listed_rows += length
        if self._listed_rows >= self._max_listed_rows:
            self._flush()

    def cut(self, rows: int) -> pa.Table:
        """Remove the first rows and return them."""
        self._flush()
        self.length -= rows
        taken: list[pa.RecordBatch] = []
        while rows:
            batch, offset, length = self._pieces.popleft()
            taken.append(batch.slice(offset, min(length, rows)))
            # The rest begins the next group: groups are of equal length, whatever the pieces are.
            if length > rows:
                self._pieces.appendleft(Slice(batch, offset + rows, length - rows))
            rows -= len(taken[-1])
        table = pa.Table.from_batches(taken)
        return table.combine_chunks() if len(taken) > _MAX_CHUNKS else table

    def _flush(self) -> None:
        """Convert listed rows to Arrow, and set the batch of the pieces that refer to them."""
        if not self._listed:
            return
        batch = to_record_batch(self._schema, self._listed)
        self._listed, self._listed_rows = [], 0
        self._pieces = deque(
            piece._replace(batch=batch) if piece.batch is None else piece for piece in self._pieces
        )


def to_record_batch(schema: pa.Schema, news: list[NewRows]) -> pa.RecordBatch:
    """Convert new rows, of at least one day, to one batch."""
    ends = pa.array(accumulate(new.rows.stop - new.rows.start for new in news), pa.int32())
    appid, day, *kinds, fetched_at, run_id, extra = schema.types

    # Values that are equal in all rows of a day are repeated by Arrow.
    def repeated(values: Iterable[object], kind: pa.DataType) -> pa.Array:
        return pc.run_end_decode(pa.RunEndEncodedArray.from_arrays(ends, pa.array(values, kind)))

    columns, extras = _join_columns(news, len(kinds))
    arrays = [
        repeated([new.appid for new in news], appid),
        repeated([new.day for new in news], day),
        *map(_to_array, columns, kinds),
        repeated([new.provenance.fetched_at for new in news], fetched_at),
        repeated([new.provenance.run_id for new in news], run_id),
        pa.array(extras, extra),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _join_columns(news: list[NewRows], width: int) -> tuple[list[list[Any]], list[str | None]]:
    """Join the columns of all new rows, and their extras."""
    columns: list[list[Any]] = [[] for _ in range(width)]
    extras: list[str | None] = []
    # Consecutive days of one answer share its lists, so they are copied as one slice.
    last = news[0].rows
    for new in (*news[1:], None):
        rows = new.rows if new else None
        if rows and rows.columns is last.columns and rows.start == last.stop:
            last = last._replace(stop=rows.stop)
            continue
        whole = not last.start and last.stop == len(last.extra)
        for i, values in enumerate(last.columns):
            columns[i] += values if whole else values[last.start : last.stop]
        extras += last.extra if whole else last.extra[last.start : last.stop]
        last = rows or last
    return columns, extras


def _to_array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Convert a column to Arrow. `struct` is three times as fast for numbers without nulls."""
    code = _STRUCT_CODES.get(kind)
    if code:
        with suppress(struct.error):
            data = struct.pack(f"{len(values)}{code}", *values)
            return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(data)])
    return pa.array(values, kind)
