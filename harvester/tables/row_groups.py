"""Row groups: collects slices of batches, in key order, into tables; and makes batches of new rows.

New rows are converted to Arrow together, because a small Arrow array costs as much time as a large
one.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import accumulate
from typing import Any, NamedTuple

import pyarrow as pa

from harvester.core.calendar import Day
from harvester.tables import arrow_functions as pc
from harvester.tables.columns import Slice
from harvester.tables.day_rows import DayRows

ROW_GROUP_ROWS = 131_072
"""Rows in a row group: measured best both for reading one account and for reading one day."""

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


def account_slices(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, Slice]]:
    """Yield the rows of each account in each batch, in their order, with its appid."""
    for batch in batches:
        runs = pc.run_end_encode(batch.column("appid"))
        start = 0
        for appid, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            yield appid, Slice(batch, start, end - start)
            start = end


def into_row_groups(schema: pa.Schema, pieces: Iterable[Slice]) -> Iterator[pa.Table]:
    """Yield all pieces in order, as tables of equal length; the last may be shorter."""
    lists = sum(map(pa.types.is_list, schema.types))
    rows = ROW_GROUP_ROWS // (_ROWS_PER_LIST * lists or 1)
    group, length = deque[Slice](), 0
    for piece in pieces:
        _append(group, piece)
        length += piece.length
        while length >= rows:
            yield _cut(group, rows)
            length -= rows
    if length:
        yield _cut(group, length)


def _append(group: deque[Slice], piece: Slice) -> None:
    """Append rows to a group. Neighbours in the same batch are joined: each costs a chunk."""
    if group:
        batch, offset, length = group[-1]
        if batch is piece.batch and offset + length == piece.offset:
            group[-1] = Slice(batch, offset, length + piece.length)
            return
    group.append(piece)


def _cut(group: deque[Slice], rows: int) -> pa.Table:
    """Remove the first rows of a group and return them."""
    taken: list[pa.RecordBatch] = []
    while rows:
        batch, offset, length = group.popleft()
        taken.append(batch.slice(offset, min(length, rows)))
        # The rest begins the next group: groups are of equal length, whatever the pieces are.
        if length > rows:
            group.appendleft(Slice(batch, offset + rows, length - rows))
        rows -= len(taken[-1])
    table = pa.Table.from_batches(taken)
    return table.combine_chunks() if len(taken) > _MAX_CHUNKS else table


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
