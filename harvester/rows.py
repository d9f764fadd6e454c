"""Answers to rows: what WeChat sent, as columns of the dataset's table.

Nothing is coerced. A value that does not fit its column puts its *day* into quarantine with a
reason, and the window's other days stand. Most answers are flawless, so they take a fast way that
looks at whole columns; what is unusual takes the careful way, day by day and row by row.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

from harvester.catalogue.dataset import Column, Dataset, Kind
from harvester.columns import DATE_COLUMN, Check, Unfit, check_counts, check_of
from harvester.days import Day, parse_day
from harvester.errors import BadAnswer
from harvester.model import Window
from harvester.wire import parse


class DayRows(NamedTuple):
    """The rows of one account's day, sorted by the dataset's key.

    They are the slice ``start`` to ``stop`` of ``columns``, a list for each of the dataset's
    columns but ``ref_date``, which is the day; and of ``extra``, the JSON of members nobody
    declared. The days of one answer share these lists.
    """

    columns: tuple[list[Any], ...]
    extra: list[str | None]
    start: int
    stop: int

    def tuples(self) -> list[tuple[Any, ...]]:
        """The rows as tuples: the columns but ``ref_date``, then extra."""
        cut = slice(self.start, self.stop)
        return list(zip(*(values[cut] for values in (*self.columns, self.extra)), strict=True))


class Decoded(NamedTuple):
    """An answer, read.

    ``days`` has only days with rows. ``quarantined`` names the days whose rows cannot be trusted
    and why. ``dropped`` counts rows outside the window. ``unknown`` and ``missing`` are members
    that nobody declared, and declared ones that had no value.
    """

    days: dict[Day, DayRows]
    quarantined: dict[Day, str]
    dropped: int = 0
    unknown: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()


Row: TypeAlias = dict[str, Any]
Reader: TypeAlias = Callable[[Window, bytes], Decoded]


def reader(dataset: Dataset) -> Reader:
    """The decoder of a dataset's answers, for many of them: see `decode`."""
    return partial(_decode, _shape_of(dataset))


def decode(dataset: Dataset, window: Window, body: bytes) -> Decoded:
    """Read the answer to a window. Never raises, whatever the body holds.

    A row outside the window is dropped and counted, but if all are, the whole window is
    quarantined; so it is if a row does not tell its day. Identical rows count once.
    """
    return reader(dataset)(window, body)


_ESCAPED = json.JSONEncoder(allow_nan=False, separators=(",", ":"), sort_keys=True)
_READABLE = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
)


class _Shape(NamedTuple):
    """What reading a dataset needs to know, worked out once."""

    columns: tuple[Column, ...]
    names: tuple[str, ...]
    declared: frozenset[str]
    lengths: frozenset[int]
    key: tuple[int, ...]
    counts: tuple[int, ...]
    others: tuple[tuple[int, Check], ...]
    by_day: bool


def _shape_of(dataset: Dataset) -> _Shape:
    """Columns and their places, without ``ref_date``."""
    columns = tuple(column for column in dataset.columns if column.name != DATE_COLUMN)
    names = tuple(column.name for column in columns)
    return _Shape(
        columns=columns,
        names=names,
        declared=frozenset((DATE_COLUMN, *names)),
        lengths=frozenset((len(names) + 1,)),
        key=tuple(names.index(name) for name in dataset.key if name != DATE_COLUMN),
        counts=tuple(i for i, column in enumerate(columns) if column.kind is Kind.COUNT),
        others=tuple(
            (i, check_of(column.kind))
            for i, column in enumerate(columns)
            if column.kind is not Kind.COUNT
        ),
        by_day=any(column.kind is Kind.HOUR for column in columns),
    )


def _decode(shape: _Shape, window: Window, body: bytes) -> Decoded:
    try:
        value, flaw = parse(body)
    except BadAnswer as error:
        return _refused(window, str(error))
    if flaw and not _is_utf8(body):
        return _refused(window, "broken UTF-8")
    rows = value.get("list") if type(value) is dict else None
    if type(rows) is not list:
        return _refused(window, "an answer without a list")
    if not rows:
        return Decoded({}, {})
    return _read_fast(shape, window, rows) or _read_carefully(shape, window, rows, body)


def _read_fast(shape: _Shape, window: Window, rows: list[Any]) -> Decoded | None:
    """All columns at once; None if anything at all is out of the ordinary."""
    try:
        columns = [[row[name] for row in rows] for name in shape.names]
        texts = [row[DATE_COLUMN] for row in rows]
        one_day = len(set(texts)) == 1
        if set(map(len, rows)) != shape.lengths or (shape.by_day and not one_day):
            return None
        counts: list[Any] = []
        for place in shape.counts:
            counts += columns[place]
        if counts:
            check_counts(counts)
        for place, check in shape.others:
            columns[place] = check(columns[place])
        days = [parse_day(texts[0])] if one_day else [parse_day(text) for text in texts]
    except (Unfit, KeyError, TypeError, ValueError):
        return None
    if min(days) < window.begin or max(days) > window.end:
        return None
    order = _order(len(rows), [*([] if one_day else [days]), *(columns[i] for i in shape.key)])
    if order is None:
        return None
    if order:
        days = days if one_day else [days[i] for i in order]
        columns = [[values[i] for i in order] for values in columns]
    return Decoded(_by_day(days, tuple(columns), [None] * len(rows)), {})


def _order(count: int, keys: list[list[Any]]) -> list[int] | None:
    """How to sort rows by these columns: empty if they are sorted, None if two are the same."""
    if not keys:
        return [] if count == 1 else None
    rows = keys[0] if len(keys) == 1 else list(zip(*keys, strict=True))
    if len(set(rows)) < count:
        return None
    return [] if sorted(rows) == rows else sorted(range(count), key=rows.__getitem__)


def _by_day(
    days: list[Day], columns: tuple[list[Any], ...], extra: list[str | None]
) -> dict[Day, DayRows]:
    """Cut columns that are sorted by day into days."""
    if len(days) == 1:
        return {days[0]: DayRows(columns, extra, 0, len(extra))}
    edges = [i for i, (one, other) in enumerate(pairwise(days), 1) if one != other]
    bounds = pairwise((0, *edges, len(days)))
    return {days[start]: DayRows(columns, extra, start, stop) for start, stop in bounds}


def _read_carefully(shape: _Shape, window: Window, rows: list[Any], body: bytes) -> Decoded:
    """Row by row: finds which day is to blame, what is unknown and what is missing."""
    if any(type(row) is not dict for row in rows):
        return _refused(window, "a row that is no object")
    if any(not shape.declared.issuperset(row) for row in rows):
        # Undeclared members are kept as text; orjson makes floats of integers beyond 64 bits.
        exact = _exact_rows(body)
        if exact is None:
            return _refused(window, "a number that cannot be kept exactly")
        rows = exact
    filed: dict[Day, list[Row]] = {}
    for row in rows:
        day = _day_of(row)
        if day is None:
            return _refused(window, "a row without a readable ref_date")
        filed.setdefault(day, []).append(row)
    inside = {day: filed[day] for day in sorted(filed) if window.begin <= day <= window.end}
    dropped = len(rows) - sum(map(len, inside.values()))
    if not inside:
        return _refused(window, "every row lies outside the window", dropped)
    return _read_days(shape, inside, dropped)


def _read_days(shape: _Shape, filed: dict[Day, list[Row]], dropped: int) -> Decoded:
    days: dict[Day, DayRows] = {}
    quarantined: dict[Day, str] = {}
    unknown: set[str] = set()
    missing: set[str] = set()
    for day, rows in filed.items():
        unknown.update(*(row.keys() - shape.declared for row in rows))
        missing.update(name for name in shape.names if any(row.get(name) is None for row in rows))
        try:
            days[day] = _read_day(shape, rows)
        except Unfit as error:
            quarantined[day] = str(error)
    return Decoded(days, quarantined, dropped, frozenset(unknown), frozenset(missing))


def _read_day(shape: _Shape, rows: list[Row]) -> DayRows:
    """The rows of one day. Raises Unfit with the reason for which the day cannot be used."""
    columns = [_read_column(shape, place, rows) for place in range(len(shape.names))]
    extra = [_extra(row, shape.declared) for row in rows]
    kept: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for values in zip(*columns, extra, strict=True):
        key = tuple(values[place] for place in shape.key)
        if kept.setdefault(key, values) != values:
            raise Unfit("two different rows for the same key")
    *sorted_columns, sorted_extra = map(list, zip(*(kept[k] for k in sorted(kept)), strict=True))
    return DayRows(tuple(sorted_columns), sorted_extra, 0, len(kept))


def _read_column(shape: _Shape, place: int, rows: list[Row]) -> list[Any]:
    """A column's values, checked; null where a metric has none. Raises Unfit."""
    column = shape.columns[place]
    values = [row.get(column.name) for row in rows]
    present = [value for value in values if value is not None]
    if len(present) < len(values) and place in shape.key:
        raise Unfit(f"{column.name}: a row without it")
    if not present:
        return values
    try:
        checked = iter(check_of(column.kind)(present))
    except Unfit as error:
        raise Unfit(f"{column.name}: {error}") from None
    return [None if value is None else next(checked) for value in values]


def _extra(row: Row, declared: frozenset[str]) -> str | None:
    """The members nobody declared as compact, sorted JSON. Raises Unfit for NaN and infinity."""
    members = {name: row[name] for name in row if name not in declared}
    if not members:
        return None
    try:
        text = _READABLE.encode(members)
        return text if _is_writable(text) else _ESCAPED.encode(members)
    except (ValueError, RecursionError):
        raise Unfit("an undeclared member that cannot be kept exactly") from None


def _exact_rows(body: bytes) -> list[Row] | None:
    """The rows as the standard library reads them, integers of any size included."""
    try:
        rows: list[Row] = json.loads(body.decode("utf-8-sig"), strict=False)["list"]
    except (ValueError, RecursionError):
        return None
    return rows


def _day_of(row: Row) -> Day | None:
    try:
        return parse_day(row[DATE_COLUMN])
    except (KeyError, TypeError, ValueError):
        return None


def _refused(window: Window, reason: str, dropped: int = 0) -> Decoded:
    """The whole window in quarantine."""
    return Decoded({}, dict.fromkeys(range(window.begin, window.end + 1), reason), dropped)


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_writable(text: str) -> bool:
    """Whether UTF-8 can spell it, which it cannot for lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
