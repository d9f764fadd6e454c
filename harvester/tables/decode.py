"""Answers to rows: what WeChat sent, as columns of the dataset's table.

Nothing is coerced. A value that does not fit its column puts its *day* into quarantine with a
reason, and the window's other days stand. Most answers are flawless, so they take a fast way that
looks at whole columns; what is unusual takes the careful way, day by day and row by row.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from operator import lt
from typing import Any, TypeAlias

from harvester.core.calendar import Day, parse_day
from harvester.core.dataset import DATE_COLUMN, Dataset
from harvester.core.errors import BadAnswer, places
from harvester.core.lenient_json import parse
from harvester.core.model import Window
from harvester.tables import decode_strict
from harvester.tables.columns import ValueMismatch, check_counts
from harvester.tables.day_rows import DayRows, Decoded, DecodeResult
from harvester.tables.decode_strict import SchemaDrift
from harvester.tables.record_layout import Level, Members, RecordLayout, flatten, layout_of

Decoder: TypeAlias = Callable[[Window, bytes], Decoded]

INTERNAL_ERROR = "a bug in harvester"
"""Why a day is in quarantine if nothing may be wrong with its answer."""

_DELAYED = {False: False, True: True, "false": False, "true": True}
"""What ``is_delay`` may be."""


def decoder(dataset: Dataset) -> Decoder:
    """The decoder of a dataset's answers, for many of them: see `decode`."""
    return partial(_decode_guarded, layout_of(dataset))


def decode(dataset: Dataset, window: Window, body: bytes) -> Decoded:
    """Read the answer to a window. Never raises, whatever the body holds.

    A row outside the window is dropped and counted, but if all are, the whole window is
    quarantined; so it is if a row does not tell its day. Identical rows count once.
    """
    return decoder(dataset)(window, body)


def _decode_guarded(shape: RecordLayout, window: Window, body: bytes) -> Decoded:
    """A fault of our own puts a window into quarantine, where its answer is kept."""
    try:
        return _decode(shape, window, body)
    except Exception as error:  # noqa: BLE001 - whatever it is, the day's reason tells
        return _refused(window, f"{INTERNAL_ERROR}: {type(error).__name__} at {places(error)[-1]}")


def _decode(shape: RecordLayout, window: Window, body: bytes) -> Decoded:
    try:
        value, flaw = parse(body)
    except BadAnswer as error:
        return _refused(window, str(error))
    if flaw and not _is_utf8(body):
        return _refused(window, "broken UTF-8")
    elements = value.get("list") if type(value) is dict else None
    if type(elements) is not list:
        return _refused(window, "an answer without a list")
    mark = value.get("is_delay", False)
    if mark is not False and (type(mark) not in {bool, str} or mark not in _DELAYED):
        return _refused(window, "is_delay: neither true nor false")
    found: Decoded
    if not elements:
        found = DecodeResult({}, {})
    else:
        # What strict JSON refuses was replaced, so there only a second, exact reading counts.
        quick = None if flaw else _read_fast(shape, window, elements)
        found = quick or _read_strictly(shape, window, body)
    return found._replace(delayed=True) if mark and _DELAYED[mark] else found


def _read_fast(shape: RecordLayout, window: Window, elements: list[Any]) -> Decoded | None:
    """All columns at once; None if anything at all is out of the ordinary."""
    try:
        columns, texts = _columns(shape, elements)
        _check(shape, columns)
        one_day = window.begin == window.end or shape.single_day_answers
        if one_day:
            days = [parse_day(texts[0])]
            if texts.count(texts[0]) < len(texts):
                return None
        else:
            days = list(map(parse_day, texts))
    except (ValueMismatch, AttributeError, KeyError, TypeError, ValueError):
        return None
    keys = [columns[place] for place in shape.key]
    order = _order(len(texts), keys if one_day else [days, *keys])
    if order is None:
        return None
    if order:
        days = days if one_day else [days[i] for i in order]
        columns = [[values[i] for i in order] for values in columns]
    if days[0] < window.begin or days[-1] > window.end:
        return None
    found = DayRows(tuple(columns), [None] * len(texts), 0, len(texts))
    return DecodeResult({days[0]: found} if len(days) == 1 else _by_day(shape, days, found), {})


def _columns(shape: RecordLayout, elements: list[Any]) -> tuple[list[list[Any]], list[Any]]:
    """The columns and what each row has for ``ref_date``, all as they came.

    Raises Unfit, AttributeError, KeyError or TypeError for what is out of the ordinary.
    """
    if not shape.nested_field:
        columns = _gathered(shape.own, elements)
        if shape.order:
            columns = [columns[place] for place in shape.order]
        return columns, [element[DATE_COLUMN] for element in elements]
    if shape.is_array and not all(element[shape.nested_field] for element in elements):
        raise ValueMismatch("an element without rows")
    own, inner = flatten(shape, elements)
    found = _gathered(shape.own, own) + _gathered(shape.nested, inner)
    return [found[place] for place in shape.order], [members[DATE_COLUMN] for members in own]


def _gathered(level: Level, rows: list[Members]) -> list[list[Any]]:
    """The columns of a level. Raises Unfit or KeyError if a row has more members or less."""
    columns = [[row[name] for row in rows] for name in level.required]
    if not level.optional:
        if set(map(len, rows)) != level.widths:
            raise ValueMismatch("undeclared members")
        return columns
    expected = len(rows) * level.width
    for name in level.optional:
        values = [row.get(name) for row in rows]
        expected += len(rows) - values.count(None)
        columns.append(values)
    if sum(map(len, rows)) != expected:
        raise ValueMismatch("undeclared members")
    return columns


def _check(shape: RecordLayout, columns: list[list[Any]]) -> None:
    """Check the columns and put them into the form of the file. Raises Unfit."""
    counts: list[Any] = []
    for place in shape.counts:
        counts += columns[place]
    for place in shape.nullable_counts:
        counts += [value for value in columns[place] if value is not None]
    if counts:
        check_counts(counts)
    for place, fitting in shape.others:
        columns[place] = fitting(columns[place])


def _order(count: int, keys: list[list[Any]]) -> list[int] | None:
    """How to sort rows by these columns: empty if they are sorted, None if two are the same."""
    if not keys:
        return [] if count == 1 else None
    rows = keys[0] if len(keys) == 1 else list(zip(*keys, strict=True))
    if all(map(lt, rows, rows[1:])):
        return []
    if len(set(rows)) < count:
        return None
    return sorted(range(count), key=rows.__getitem__)


def _by_day(shape: RecordLayout, days: list[Day], rows: DayRows) -> dict[Day, DayRows]:
    """Cut rows, whose days these are in order, into days."""
    columns, extra, _, stop = rows
    if not shape.key:
        # The day alone is the key, so each row is another day. The tuple's own constructor does
        # what DayRows(…) does in two thirds of the time.
        new = tuple.__new__
        return {
            day: new(DayRows, (columns, extra, place, place + 1)) for place, day in enumerate(days)
        }
    edges = [place for place in range(1, stop) if days[place] != days[place - 1]]
    bounds = pairwise((0, *edges, stop))
    return {days[begin]: DayRows(columns, extra, begin, end) for begin, end in bounds}


def _read_strictly(shape: RecordLayout, window: Window, body: bytes) -> Decoded:
    """Row by row: finds which day is to blame, what is unknown and what is missing."""
    elements = decode_strict.exact_elements(body)
    if elements is None:
        return _refused(window, "a number that cannot be kept exactly")
    filed: dict[Day, list[Members]] = {}
    for element in elements:
        if type(element) is not dict:
            return _refused(window, "a row that is no object")
        day = _day_of(element)
        if day is None:
            return _refused(window, "a row without a readable ref_date")
        filed.setdefault(day, []).append(element)
    inside = {day: filed[day] for day in sorted(filed) if window.begin <= day <= window.end}
    dropped = len(elements) - sum(map(len, inside.values()))
    if not inside:
        return _refused(window, "every row lies outside the window", dropped)
    return _read_days(shape, inside, dropped)


def _read_days(shape: RecordLayout, filed: dict[Day, list[Members]], dropped: int) -> Decoded:
    days: dict[Day, DayRows] = {}
    quarantined: dict[Day, str] = {}
    odd = SchemaDrift()
    for day, elements in filed.items():
        try:
            columns, extra = decode_strict.read_day(shape, elements, odd)
        except ValueMismatch as error:
            quarantined[day] = str(error)
        else:
            if extra:
                days[day] = DayRows(columns, extra, 0, len(extra))
    return DecodeResult(days, quarantined, dropped, frozenset(odd.unknown), frozenset(odd.missing))


def _day_of(row: Members) -> Day | None:
    try:
        return parse_day(row[DATE_COLUMN])
    except (KeyError, TypeError, ValueError):
        return None


def _refused(window: Window, reason: str, dropped: int = 0) -> Decoded:
    """The whole window in quarantine."""
    return DecodeResult({}, dict.fromkeys(range(window.begin, window.end + 1), reason), dropped)


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
