"""Properties of decoding that hold for any answer of every dataset."""

from __future__ import annotations

import datetime as dt
import functools
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import Day, date_of, day_of, day_text, month_of, parse_day
from harvester.core.dataset import DATE_COLUMN, Column, Dataset, Grain, Kind, Nesting
from harvester.core.model import Partition, RawAnswer, Window
from harvester.sandbox.data import expected_rows
from harvester.storage.publish import publish
from harvester.storage.raw_log import write_group
from harvester.tables import decode as rows
from harvester.tables.day_rows import Decoded
from harvester.tables.record_layout import layout_of
from tests.support.answers import LONG_AFTER, appid, as_tuples, decode
from tests.support.nights import by_night
from tests.support.output_helpers import ANY_TIME, rows_of, tree_at
from tests.support.sandboxes import BUSY

each_dataset = pytest.mark.parametrize("dataset", CATALOGUE.values(), ids=CATALOGUE)

MARCH = parse_day("2026-03-01")

Members = dict[str, Any]

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30, 10**400]),
    st.floats(),
    st.text(st.characters(), max_size=3),
    st.sampled_from(["\ud800", "2026-03-01", "0"]),
)
ODD = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=2), SCALARS)

FITTING: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.COUNT: st.integers(0, 3) | st.integers(0, 2**63 - 1),
    Kind.RATE: st.floats(allow_nan=False, allow_infinity=False) | st.integers(-1, 2**53),
    Kind.TEXT: st.text(max_size=4),
    Kind.HOUR: st.integers(0, 23).map(lambda hour: hour * 100),
    Kind.DATE: st.integers(MARCH - 2, MARCH + 40).map(day_text),
}


def fitting(column: Column) -> st.SearchStrategy[Any]:
    """Values that a column takes."""
    if column.kind is Kind.LIST:
        fields = {each.name: fitting(each) for each in column.fields}
        return st.lists(st.fixed_dictionaries(fields), max_size=3)
    return FITTING[column.kind]


def members(columns: list[Column]) -> st.SearchStrategy[Members]:
    """Objects with all required members and some of the optional ones."""
    promised = {each.name: fitting(each) for each in columns if each.required}
    others = {each.name: fitting(each) for each in columns if not each.required}
    return st.fixed_dictionaries(promised, optional=others)


@functools.cache
def elements(dataset: Dataset) -> st.SearchStrategy[Members]:
    """Regular elements of an answer's list."""
    columns = [each for each in dataset.columns if each.name != DATE_COLUMN]
    own = members([each for each in columns if not each.nested])
    inner = members([each for each in columns if each.nested])
    dates = st.integers(MARCH - 1, MARCH + 3).map(day_text)
    nested: st.SearchStrategy[Members] = st.just({})
    if dataset.nesting is Nesting.OBJECT:
        nested = st.fixed_dictionaries({dataset.nested_field: inner})
    elif dataset.nesting is Nesting.ARRAY:
        nested = st.fixed_dictionaries({dataset.nested_field: st.lists(inner, max_size=3)})
    return st.builds(lambda day, one, other: {DATE_COLUMN: day, **one, **other}, dates, own, nested)


def objects(value: Any) -> Iterator[Members]:
    """Every object inside of a value."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            yield from objects(each)


@st.composite
def answers(draw: Callable[..., Any], dataset: Dataset) -> bytes:
    """Answers, some of them regular and most with a flaw or two."""
    sent = draw(st.lists(elements(dataset), max_size=4))
    if sent and draw(st.booleans()):
        sent.append(draw(st.sampled_from(sent)))
    if draw(st.booleans()):
        sent.sort(key=lambda each: [str(each.get(name)).zfill(25) for name in dataset.key])
    sent = json.loads(json.dumps(sent))
    for _ in range(draw(st.integers(0, 2)) if sent else 0):
        target = draw(st.sampled_from(list(objects(sent))))
        name = draw(st.sampled_from([*target, "surprise"]))
        if draw(st.booleans()):
            target[name] = draw(ODD)
        else:
            target.pop(name, None)
    return json.dumps({"list": sent}).encode()


class Found(NamedTuple):
    """Published rows by account and day, and the days in quarantine."""

    rows: dict[tuple[str, Day], list[Members]]
    quarantined: set[tuple[str, Day]]


def published(dataset: Dataset, windows: list[Window], bodies: list[bytes]) -> Found:
    """The content of the month's file after answers were published."""
    sent = [
        RawAnswer(window, LONG_AFTER, refetch=0, body=body)
        for window, body in zip(windows, bodies, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        tree = tree_at(Path(folder))
        partition = Partition(dataset.name, month_of(MARCH), 0)
        done = publish(
            tree,
            dataset,
            partition,
            [write_group(tree, 0, "run", sent)],
            ANY_TIME,
        )
        table = rows_of(tree, partition)
    table.validate(full=True)
    found = Found({}, {(entry.appid, day_of(entry.day)) for entry in done.quarantined})
    for row in table.to_pylist():
        assert row.pop("_run_id") == "run"
        assert row.pop("_fetched_at").timestamp() == LONG_AFTER
        row["_extra"] = json.loads(row["_extra"]) if row["_extra"] else None
        day = (row[DATE_COLUMN] - dt.date(1970, 1, 1)).days
        found.rows.setdefault((row.pop("appid"), day), []).append(row)
    return found


def stored(column: Column, value: Any, *, plain_hours: bool) -> Any:
    """Return the value that a column must hold; the test fails here if it is unexpected."""
    if value is None:
        return None
    match column.kind:
        case Kind.COUNT:
            assert type(value) is int
        case Kind.RATE:
            assert type(value) in {int, float}
            return float(value)
        case Kind.TEXT:
            assert type(value) is str
        case Kind.HOUR:
            assert type(value) is int
            return value if plain_hours else value // 100
        case Kind.DATE:
            return dt.date.fromisoformat(value)
        case Kind.LIST:
            return [
                {
                    each.name: stored(each, item.get(each.name), plain_hours=False)
                    for each in column.fields
                }
                for item in value
            ]
    return value


def undeclared(dataset: Dataset, own: Members, inner: Members) -> Members:
    """The undeclared members of a row, on their levels."""
    found: Members = {}
    for source, level in ((own, False), (inner, True)):
        columns = {each.name: each for each in dataset.columns if each.nested == level}
        rest = {
            k: v
            for k, v in source.items()
            if k not in columns and (level or k != dataset.nested_field)
        }
        for name, column in columns.items():
            if column.kind is Kind.LIST and source.get(name):
                known = {each.name for each in column.fields}
                left = [{k: v for k, v in item.items() if k not in known} for item in source[name]]
                rest |= {name: left} if any(left) else {}
        found |= {dataset.nested_field: rest} if level and rest else {} if level else rest
    return found


def expected(dataset: Dataset, sent: list[Members]) -> list[Members]:
    """The rows of a day, by what the standard library reads."""
    pairs: list[tuple[Members, Members]] = []
    for own in sent:
        inner = own.get(dataset.nested_field) if dataset.nested_field else None
        match dataset.nesting:
            case Nesting.ARRAY:
                pairs += [(own, each) for each in inner or ()]
            case _:
                pairs.append((own, inner or {}))
    plain = any(own["ref_hour"] % 100 for own, _ in pairs) if dataset.grain is Grain.HOUR else False
    found = []
    for own, inner in pairs:
        row = {
            column.name: stored(
                column, (inner if column.nested else own).get(column.name), plain_hours=plain
            )
            for column in dataset.columns
        }
        row["_extra"] = undeclared(dataset, own, inner) or None
        if row not in found:
            found.append(row)
    return found


def spelled(rows: list[Members]) -> list[str]:
    """Rows in an order, and so that 1, 1.0 and true differ."""
    return sorted(json.dumps(row, default=str, sort_keys=True) for row in rows)


@each_dataset
@pytest.mark.parametrize("examples", [6, *by_night([100])])
def test_exact_or_quarantined(dataset: Dataset, examples: int) -> None:
    """The file has what the standard library reads, to the letter, or the day is quarantined."""
    check = settings(max_examples=examples)(given(st.data())(is_exact_or_quarantined))
    check(dataset)


def is_exact_or_quarantined(dataset: Dataset, data: st.DataObject) -> None:
    """Publish random answers, and compare the file with them."""
    bodies = data.draw(st.lists(answers(dataset), min_size=1, max_size=3))
    last = MARCH + data.draw(st.sampled_from([0, 2]))
    windows = [Window(appid(n), dataset.name, MARCH, last) for n in range(len(bodies))]
    found = published(dataset, windows, bodies)
    for window, body in zip(windows, bodies, strict=True):
        for day in range(window.begin, window.end + 1):
            rows_of_day = found.rows.pop((window.appid, day), [])
            if (window.appid, day) in found.quarantined:
                assert not rows_of_day
                continue
            elements_of_day = [
                each for each in json.loads(body)["list"] if each[DATE_COLUMN] == day_text(day)
            ]
            assert spelled(rows_of_day) == spelled(expected(dataset, elements_of_day))
    assert not found.rows


@each_dataset
@pytest.mark.parametrize("examples", [12, *by_night([200])])
def test_the_fast_path_equals_the_strict_decoder(dataset: Dataset, examples: int) -> None:
    """The strict decoder gives the rows that the fast path gives, in the same order."""
    check = settings(max_examples=examples)(given(st.data())(is_decoded_alike))
    check(dataset)


def is_decoded_alike(dataset: Dataset, data: st.DataObject) -> None:
    """Decode a random regular answer in both ways."""
    sent = data.draw(st.lists(elements(dataset), min_size=1, max_size=5))
    window = Window(appid(1), dataset.name, MARCH - 1, MARCH + 3)
    body = json.dumps({"list": sent}).encode()
    layout = layout_of(dataset)
    fast = rows._decode_fast(layout, window, json.loads(body), body)
    strict, seen = rows._decode_strictly(layout, window, body)
    assert not seen.repeated
    if fast:
        assert strict == Decoded(strict.days, {})
        assert list(fast.days) == list(strict.days) == sorted(fast.days)
        for day, mine in fast.days.items():
            assert json.dumps(as_tuples(mine), sort_keys=True) == json.dumps(
                as_tuples(strict.days[day]), sort_keys=True
            )


@each_dataset
def test_ordinary_answers_take_the_fast_path(dataset: Dataset) -> None:
    """An ordinary answer of WeChat is decoded on the fast path, sorted or not."""
    begin = MARCH if dataset.grain is Grain.MONTH else MARCH + 1
    days = range(begin, begin + dataset.span)
    sent = [row for day in days for row in expected_rows(dataset.name, BUSY, day)]
    window = Window(BUSY, dataset.name, days[0], days[-1])
    assert sent
    for each in (sent, sent[::-1]):
        body = json.dumps({"list": each}).encode()
        found = rows._decode_fast(layout_of(dataset), window, json.loads(body), body)
        assert found
        assert found.days.keys() == {parse_day(row[DATE_COLUMN]) for row in sent}


@each_dataset
@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b'{"list":null}', b'{"list":[{}]}', b"<html>"])
def test_a_body_that_is_no_answer(dataset: Dataset, raw: bytes) -> None:
    """A body without a list of dated rows quarantines the whole window."""
    found = decode(dataset, Window(appid(1), dataset.name, MARCH, MARCH + 1), raw)
    assert list(found.quarantined) == [MARCH, MARCH + 1]
    assert not found.days


@each_dataset
@pytest.mark.parametrize("encoding", ["gbk", "utf-16", "utf-8-sig"])
def test_other_encodings(dataset: Dataset, encoding: str) -> None:
    """A text in another encoding is never guessed at; a byte order mark does no harm."""
    row = {DATE_COLUMN: date_of(MARCH).isoformat(), "surprise": "数据"}
    body = json.dumps({"list": [row]}, ensure_ascii=False).encode(encoding)
    found = decode(dataset, Window(appid(1), dataset.name, MARCH, MARCH), body)
    if encoding == "utf-8-sig":
        assert "surprise" in found.unknown
    else:
        assert list(found.quarantined) == [MARCH]
        assert not found.unknown
