"""Batch decoder: many answers at once, by Arrow, without a Python object for any number.

Arrow's JSON reader gets the exact columns, and is then as strict as the other decoders: it rejects
fractions, texts, booleans and numbers beyond 64 bits where an integer belongs, undeclared members,
and members that come twice. The rest (nulls, negative numbers, days, order) is checked here column
by column. If a check fails, all answers of the batch are decoded one by one: see `decode`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import TypeAlias

import pyarrow as pa
import pyarrow.json as pj

from harvester.core.calendar import Day
from harvester.core.dataset import DATE_COLUMN, Dataset, Kind, Nesting
from harvester.core.model import DOUBTS, OddityKind, RawAnswer, Window
from harvester.tables import arrow_functions as pc
from harvester.tables.columns import Slice, arrow_schema, neighbours, numbers_of
from harvester.tables.day_rows import Decoded, DecodeResult, Oddity
from harvester.tables.decode import decoder
from harvester.tables.oddities import OddityCheck, check_of
from harvester.tables.row_groups import NewRows, Provenance, to_record_batch

BATCH = 256
"""Maximum answers in a batch: a longer one is not faster, and takes more memory."""

BATCH_BYTES = 1 << 20
"""Bytes of bodies at which a batch ends."""

_PIECE_BYTES = 256 << 10
"""Bytes of answers that are kept as Python objects before they become Arrow."""

SourcedAnswer: TypeAlias = tuple[RawAnswer, Provenance]
BatchResult: TypeAlias = DecodeResult[Slice]
BatchDecoder: TypeAlias = Callable[[Sequence[SourcedAnswer]], Iterable[BatchResult]]

# The kinds of flat datasets. TEXT is not among them: Arrow does not check that a text is UTF-8.
_PARSED_TYPES = {Kind.COUNT: pa.int64(), Kind.HOUR: pa.int64(), Kind.DATE: pa.string()}
_NEW_SHARE = 0.9
_MIN_ANSWERS = 10
"""Number of answers from which on a member that stands in such a share of them is new."""

_MAX_HINTS = 1_000
"""Maximum members that are counted: a foreign server may send others in each answer."""

_KEY_BITS = 32
"""Bits of a number in a sort key: a day and such a number fit into 64 bits."""


class _NeedsRowDecoding(Exception):
    """A batch whose answers must be decoded one by one."""


def batch_decoder(dataset: Dataset, kept: range = range(1 << 31)) -> BatchDecoder:
    """Return the decoder of batches of a dataset's answers, which never raises an exception.

    The days of a regular batch are slices of one Arrow batch in the dataset's schema. Those of an
    irregular one are slices of a few. An answer is checked as a whole, and then loses the rows of
    days that are not ``kept``: a slice holds its batch in memory, and a year has twelve months.
    """
    schema, check, one_by_one = arrow_schema(dataset), check_of(dataset), decoder(dataset)
    # The answers of a publish so far, and those that each undeclared member puts in doubt.
    seen = Counter[str]()

    def in_pieces(batch: Sequence[SourcedAnswer]) -> Iterator[BatchResult]:
        # Each becomes Arrow before the next is decoded: Python's objects take 8 times the memory.
        for piece in batches(batch, _PIECE_BYTES):
            decoded = [_within(kept, one_by_one(answer.window, answer.body)) for answer, _ in piece]
            yield from _to_arrow(schema, check, piece, _without_new(seen, decoded))

    if dataset.nesting is not Nesting.FLAT:
        return in_pieces
    members = [(column.name, _PARSED_TYPES[column.kind]) for column in dataset.columns]
    options = pj.ParseOptions(
        explicit_schema=pa.schema([("list", pa.list_(pa.struct(members)))]),
        unexpected_field_behavior="error",
    )

    def whole(batch: Sequence[SourcedAnswer]) -> Iterable[BatchResult]:
        try:
            found = _decode_clean(dataset, kept, schema, options, batch)
            seen[""] += len(batch)
            return found
        except Exception:  # noqa: BLE001 - a bug must not stop the answers that can be decoded
            return in_pieces(batch)

    return whole


def _within(kept: range, found: Decoded) -> Decoded:
    """Return the content of an answer without the rows of days that are not kept."""
    return found._replace(days={day: rows for day, rows in found.days.items() if day in kept})


def _without_new(seen: Counter[str], decoded: list[Decoded]) -> list[Decoded]:
    """Count answers, and return them without the doubts that new members cast.

    A member of nine in ten answers is a change of the API, and contradicts none of them.
    """
    seen[""] += len(decoded)
    hints = (odd.name for each in decoded for odd in each.oddities if odd.kind is OddityKind.HINT)
    seen.update(name for name in hints if len(seen) < _MAX_HINTS)
    least = _NEW_SHARE * max(seen[""], _MIN_ANSWERS)
    new = {(OddityKind.HINT, name) for name, count in seen.items() if name and count >= least}

    def judged(found: Decoded) -> Decoded:
        oddities = tuple(
            Oddity(OddityKind.BESIDE_LIST, odd.name) if odd[:2] in new else odd
            for odd in found.oddities
        )
        doubtful = found.doubtful and any(odd.kind in DOUBTS for odd in oddities)
        return found._replace(oddities=oddities, doubtful=doubtful)

    return list(map(judged, decoded)) if new else decoded


def batches(
    answers: Iterable[SourcedAnswer], max_bytes: int = BATCH_BYTES
) -> Iterator[list[SourcedAnswer]]:
    """Split answers into batches; a batch ends with the answer that reaches ``max_bytes``."""
    batch: list[SourcedAnswer] = []
    size = 0
    for each in answers:
        batch.append(each)
        size += len(each[0].body)
        if len(batch) >= BATCH or size >= max_bytes:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _to_arrow(
    schema: pa.Schema,
    check: OddityCheck,
    piece: list[SourcedAnswer],
    decoded: list[Decoded],
) -> Iterator[BatchResult]:
    """Convert the rows of decoded answers to one Arrow batch, and their days to slices of it."""
    news = [
        NewRows(answer.window.appid, day, rows, provenance)
        for (answer, provenance), found in zip(piece, decoded, strict=True)
        for day, rows in found.days.items()
    ]
    table = to_record_batch(schema, news) if news else None
    # Answers are checked one by one only if there is an oddity among them.
    is_odd = bool(table and check(table))
    start = 0
    for found in decoded:
        begin = start
        days: dict[Day, Slice] = {}
        for day, rows in found.days.items():
            days[day] = Slice(table, start, rows.stop - rows.start)
            start += rows.stop - rows.start
        result: BatchResult = DecodeResult(days, *found[1:])
        if is_odd and table:
            odd = check(table.slice(begin, start - begin))
            result = result._replace(oddities=(*found.oddities, *odd))
        yield result


def _decode_clean(
    dataset: Dataset,
    kept: range,
    schema: pa.Schema,
    options: pj.ParseOptions,
    batch: Sequence[SourcedAnswer],
) -> Sequence[BatchResult]:
    """Decode all answers as one table.

    Raises _NeedsRowDecoding, ArrowException or ValueError if an answer is not regular.
    """
    lists = _parse_lists(options, [answer.body for answer, _ in batch])
    rows = lists.flatten()
    if not len(rows):
        return [DecodeResult({}, {}) for _ in batch]
    parents = pc.list_parent_indices(lists)
    columns = {
        column.name: _check_column(column.kind, rows.field(i), nulls=not column.required)
        for i, column in enumerate(dataset.columns)
    }
    windows = [answer.window for answer, _ in batch]
    day = columns[DATE_COLUMN].cast(pa.int32())
    _check_windows(day, windows, parents)
    _check_order(_sort_key(dataset, day, columns), parents)
    wanted = _inside(day, *pa.array([kept.start, kept.stop - 1], pa.int32()))
    if not pc.all(wanted).as_py():
        columns = {name: values.filter(wanted) for name, values in columns.items()}
        day, parents = day.filter(wanted), parents.filter(wanted)
        if not len(day):
            return [DecodeResult({}, {}) for _ in batch]
    table = pa.RecordBatch.from_arrays(
        [
            pa.array([window.appid for window in windows]).take(parents),
            *columns.values(),
            pa.array([source.fetched_at for _, source in batch], schema.types[-3]).take(parents),
            pa.array([source.run_id for _, source in batch]).take(parents),
            pa.nulls(len(day), pa.string()),
        ],
        schema=schema,
    )
    return _slices_by_day(table, day, parents, len(batch))


def _parse_lists(options: pj.ParseOptions, bodies: list[bytes]) -> pa.ListArray:
    """Parse the ``list`` of each body, in order, with one call of Arrow's JSON reader."""
    # Each body must be one line with one document: after a line break inside of a body, or with
    # more or less than one bracket in it, Arrow could read one body as two, or two as one.
    first = [*map(bytes.find, bodies, repeat(b"["))]
    if (
        any(map(bytes.__contains__, bodies, repeat(b"\n")))
        or -1 in first
        # Found from both ends, because a search takes a tenth of the time of a count.
        or first != [*map(bytes.rfind, bodies, repeat(b"["))]
        or {*map(type, bodies)} != {bytes}
    ):
        raise _NeedsRowDecoding("a body of a cache, or of more than one line or document")
    data = b"\n".join(bodies)
    whole = pj.ReadOptions(use_threads=False, block_size=len(data) + 1)
    table = pj.read_json(pa.BufferReader(data), read_options=whole, parse_options=options)
    [lists] = table.column("list").chunks
    if len(lists) != len(bodies) or lists.null_count or lists.flatten().null_count:
        raise _NeedsRowDecoding("an answer without a list, or a row that is no object")
    return lists


def _check_column(kind: Kind, values: pa.Array, *, nulls: bool) -> pa.Array:
    """Convert a column to the type of the file. Raises _NeedsRowDecoding."""
    if values.null_count and not nulls:
        raise _NeedsRowDecoding("a member without a value")
    if kind is Kind.DATE:
        return values.cast(pa.date32())
    if (pc.min_max(values)["min"].as_py() or 0) < 0:
        raise _NeedsRowDecoding("a negative number")
    return _convert_hours(values) if kind is Kind.HOUR else values


def _convert_hours(values: pa.Array) -> pa.Array:
    """Convert ``hour * 100`` to hours. Raises _NeedsRowDecoding for plain hours."""
    hours = pc.divide(values, 100)
    if pc.max(hours).as_py() > 23 or not pc.all(pc.equal(pc.multiply(hours, 100), values)).as_py():
        raise _NeedsRowDecoding("hours of another form")
    return hours.cast(pa.int32())


def _check_windows(day: pa.Array, windows: Iterable[Window], parents: pa.Array) -> None:
    edges = zip(*((window.begin, window.end) for window in windows), strict=True)
    inside = _inside(day, *(pa.array(each, pa.int32()).take(parents) for each in edges))
    if not pc.all(inside).as_py():
        raise _NeedsRowDecoding("a row outside of its window")


def _inside(day: pa.Array, begin: pa.Array | pa.Scalar, end: pa.Array | pa.Scalar) -> pa.Array:
    return pc.and_(pc.greater_equal(day, begin), pc.less_equal(day, end))


def _sort_key(dataset: Dataset, day: pa.Array, columns: dict[str, pa.Array]) -> pa.Array:
    """Return the key of each row as one integer that sorts in the same way."""
    kinds = {column.name: column.kind for column in dataset.columns}
    found = day.cast(pa.int64())
    for name in dataset.key[1:]:
        bits = 5 if kinds[name] is Kind.HOUR else _KEY_BITS
        part = columns[name].cast(pa.int64())
        # A longer part would run into the one before it, and two keys could be equal.
        if pc.max(part).as_py() >= 1 << bits:
            raise _NeedsRowDecoding("a very large key")
        found = pc.add(pc.shift_left(found, bits), part)
    return found


def _check_order(key: pa.Array, parents: pa.Array) -> None:
    ascending = pc.less(*neighbours(key))
    # Between two answers the order starts anew.
    if not pc.all(pc.or_(ascending, _changed(parents)), min_count=0).as_py():
        raise _NeedsRowDecoding("rows out of order, or two of the same key")


def _changed(values: pa.Array) -> pa.Array:
    """Return for each value but the first whether it differs from the one before."""
    return pc.not_equal(*neighbours(values))


def _slices_by_day(
    table: pa.RecordBatch, day: pa.Array, parents: pa.Array, count: int
) -> Sequence[BatchResult]:
    """Return the result of each answer, with its days as slices of the table."""
    changes = pc.indices_nonzero(pc.or_(_changed(parents), _changed(day)))
    starts = pa.concat_arrays([pa.array([0], pa.int64()), pc.add(changes.cast(pa.int64()), 1)])
    found: list[dict[Day, Slice]] = [{} for _ in range(count)]
    begins = _to_ints(starts)
    slices = zip(
        _to_ints(parents.take(starts)),
        _to_ints(day.take(starts)),
        begins,
        [*begins[1:], len(table)],
        strict=True,
    )
    for answer, date, start, end in slices:
        # tuple.__new__ takes half the time of Slice(…).
        found[answer][date] = tuple.__new__(Slice, (table, start, end - start))
    nothing: frozenset[str] = frozenset()
    # tuple.__new__ takes a third of the time of DecodeResult(days, {}).
    return [
        tuple.__new__(DecodeResult, (days, {}, nothing, nothing, False, (), (), False))
        for days in found
    ]


def _to_ints(values: pa.Array) -> list[int]:
    """Convert integers without nulls to Python's, five times as fast as ``to_pylist``."""
    return numbers_of(values.cast(pa.int64()), "q").tolist()
