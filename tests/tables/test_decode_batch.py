"""Batches of answers are decoded to exactly what the answers give one by one."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import day_of, day_text, parse_day
from harvester.core.contradictions import CachedBody
from harvester.core.dataset import Kind, Nesting
from harvester.core.model import OddityKind, RawAnswer, Window
from harvester.sandbox.data import expected_rows
from harvester.tables import decode_batch
from harvester.tables.columns import Slice
from harvester.tables.day_rows import DayRows, Decoded
from harvester.tables.decode_batch import BatchResult, batch_decoder, batches
from harvester.tables.extra import MAX_BYTES
from harvester.tables.row_groups import Provenance
from tests.support.answers import as_tuples, decode
from tests.support.run_harness import appid

BEGIN = parse_day("2026-03-02")
FLAT = [name for name, dataset in CATALOGUE.items() if dataset.nesting is Nesting.FLAT]

odd_values: st.SearchStrategy[Any] = st.sampled_from(
    [-1, 1.5, "7", True, None, 2**63, 2300, 5, 0, "2026-03-02", []]
)


def answer_of(dataset: str, number: int, day: int, elements: list[Any]) -> RawAnswer:
    """An answer with these elements, to a window as long as the dataset's span allows."""
    end = day + CATALOGUE[dataset].span - 1
    body = json.dumps({"list": elements}).encode()
    return RawAnswer(Window(appid(number), dataset, day, end), 1_800_000_000, refetch=0, body=body)


def true_answer(dataset: str, number: int, day: int) -> RawAnswer:
    """The final answer of the sandbox."""
    days = range(day, day + CATALOGUE[dataset].span)
    elements = [row for one in days for row in expected_rows(dataset, appid(number), one)]
    return answer_of(dataset, number, day, elements)


def tuples(found: BatchResult | Decoded) -> object:
    """The content of a decoded answer, whether its days are Python lists or Arrow slices."""
    days = {day: _plain(part) for day, part in found.days.items()}
    return (days, *found[1:])


def _plain(part: DayRows | Slice) -> list[tuple[Any, ...]]:
    if not isinstance(part, Slice):
        return as_tuples(part)
    batch = part.batch.slice(part.offset, part.length).to_pylist()
    own = [name for name in batch[0] if name not in _OURS]
    return [tuple(_as_listed(row[name]) for name in own) for row in batch]


def _as_listed(value: Any) -> Any:
    return day_of(value) if isinstance(value, dt.date) else value


_OURS = {"appid", "ref_date", "_fetched_at", "_run_id"}


def same(dataset: str, answers: list[RawAnswer]) -> bool:
    """Return whether the batch decoder and the decoder of single answers agree on all answers."""
    read = CATALOGUE[dataset]
    alone = [tuples(decode(read, answer.window, answer.body)) for answer in answers]
    batch = [(answer, Provenance(1_800_000_000_000_000, "run")) for answer in answers]
    return list(map(tuples, batch_decoder(read)(batch))) == alone


@pytest.mark.parametrize("dataset", CATALOGUE)
def test_a_regular_batch_equals_its_answers_one_by_one(dataset: str) -> None:
    """Three accounts over some weeks, days without rows among them."""
    answers = [
        true_answer(dataset, number, BEGIN + day) for number in (1, 2, 3) for day in range(9)
    ]
    assert same(dataset, answers)


@pytest.mark.parametrize("dataset", ["article_read", "article_total_detail", "user_summary"])
def test_irregular_answers_become_arrow_in_pieces(
    dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers that are decoded one by one become Arrow before the Python objects are many."""
    monkeypatch.setattr(decode_batch, "_PIECE_BYTES", 2_000)
    answers = [true_answer(dataset, 1, BEGIN + day) for day in range(30)]
    bad = next(at for at, answer in enumerate(answers) if at > 2 and len(answer.body) > 1_000)
    flawed = json.loads(answers[bad].body)["list"]
    flawed[0] |= {"msgid": 7}
    answers[bad] = answer_of(dataset, 1, BEGIN + bad, flawed)
    assert same(dataset, answers)
    batch = [(answer, Provenance(1, "run")) for answer in answers]
    found = [day for each in batch_decoder(CATALOGUE[dataset])(batch) for day in each.days.values()]
    assert found
    assert len({id(day.batch) for day in found}) > 1


@pytest.mark.parametrize("added", [{}, {"surplus": 1}])
@pytest.mark.parametrize("dataset", ["user_summary", "interface_summary_hour", "article_read"])
def test_only_rows_of_the_kept_days_are_in_memory(dataset: str, added: dict[str, int]) -> None:
    """An answer of twelve months is checked as a whole, and holds the rows of one."""
    rows = [row for day in range(40) for row in expected_rows(dataset, appid(1), BEGIN + day)]
    rows[0] |= added
    window = Window(appid(1), dataset, BEGIN, BEGIN + 39)
    each = RawAnswer(window, 1_800_000_000, 0, json.dumps({"list": rows}).encode())
    read, stamp = CATALOGUE[dataset], Provenance(1, "run")
    [whole] = batch_decoder(read)([(each, stamp)])
    for kept in (range(BEGIN + 5, BEGIN + 9), range(BEGIN + 50, BEGIN + 60)):
        [found] = batch_decoder(read, kept)([(each, stamp)])
        days = {day: rows for day, rows in whole.days.items() if day in kept}
        assert tuples(found) == tuples(whole._replace(days=days))
        held = {id(part.batch): len(part.batch) for part in found.days.values()}
        assert sum(held.values()) == sum(part.length for part in days.values())


def test_batches_are_bounded_by_their_answers_and_by_their_bytes() -> None:
    """Every answer is in one batch, in its order, and no batch is longer than it may be."""
    small = answer_of("interface_summary", 1, BEGIN, [])
    large = small._replace(body=b" " * 400_000)
    answers = [
        (answer, Provenance(at, "run")) for at, answer in enumerate([small] * 600 + [large] * 7)
    ]
    cut = list(batches(answers))
    assert [each for batch in cut for each in batch] == answers
    assert [len(batch) for batch in cut] == [256, 256, 88 + 3, 3, 1]


@pytest.mark.long
@given(st.sampled_from(FLAT), st.data())
def test_one_irregular_answer_does_not_change_the_others(dataset: str, data: st.DataObject) -> None:
    """A batch with an irregular value anywhere is decoded like its answers one by one."""
    answers = [true_answer(dataset, 1, BEGIN + day) for day in range(4)]
    elements = json.loads(answers[2].body)["list"]
    if elements:
        element = data.draw(st.sampled_from(elements))
        element[data.draw(st.sampled_from([*element, "strange"]))] = data.draw(odd_values)
    answers[2] = answer_of(dataset, 1, BEGIN + 2, elements)
    assert same(dataset, answers)


@pytest.mark.long
@given(st.sampled_from(FLAT), st.data())
def test_both_decoders_find_missing_counts_and_long_extras(
    dataset: str, data: st.DataObject
) -> None:
    """An answer is doubtful if a row lacks a count; what is kept of a row is short JSON."""
    read = CATALOGUE[dataset]
    counts = [each.name for each in read.columns if each.kind is Kind.COUNT and each.required]
    names = st.sampled_from([name for name in counts if name not in read.key])
    days: dict[int, list[dict[str, Any]]] = {}
    for element in json.loads(true_answer(dataset, 1, BEGIN).body)["list"]:
        days.setdefault(parse_day(element["ref_date"]), []).append(element)
    for elements in days.values():
        gone = data.draw(st.sets(names))
        for element in elements:
            element.update(dict.fromkeys(gone ^ data.draw(st.sets(names, max_size=1))))
            element.update(data.draw(st.sampled_from(_UNDECLARED)))
    odd = answer_of(dataset, 1, BEGIN, [row for elements in days.values() for row in elements])
    alone = decode(read, odd.window, odd.body)
    stamp = Provenance(1, "run")
    first, second = batch_decoder(read)([(odd, stamp), (true_answer(dataset, 2, BEGIN), stamp)])
    assert (tuples(first), first[6:]) == (tuples(alone), alone[6:])
    assert not second.doubtful
    lacking = {
        name
        for elements in days.values()
        for each in elements
        for name in counts
        if each.get(name) is None
    }
    told = {odd.name for odd in alone.oddities if odd.kind is OddityKind.MISSING_COUNT}
    assert (alone.doubtful, told) == (bool(lacking), lacking)
    kept = [text for rows in alone.days.values() for *_, text in as_tuples(rows) if text]
    assert all(len(text.encode()) <= MAX_BYTES for text in kept)
    assert {name for text in kept for name in json.loads(text)} <= {"novel", "few"}
    lost = any("many" in row for elements in days.values() for row in elements)
    assert any(odd.kind is OddityKind.LONG_EXTRA for odd in alone.oddities) is lost


_UNDECLARED: list[dict[str, Any]] = [
    {},
    {"novel": "名"},
    {"few": 1, "many": "\ud800" + "名" * 12_000},
]


@given(dataset=st.sampled_from(FLAT), shift=st.integers(-3, 3), twice=st.booleans())
def test_a_row_outside_its_window_is_not_given_to_another_answer(
    *, dataset: str, shift: int, twice: bool
) -> None:
    """A row outside of its own window is dropped, though another answer asked for its day."""
    answers = [true_answer(dataset, 1, BEGIN + day * 7) for day in range(3)]
    elements = json.loads(answers[1].body)["list"]
    for element in elements:
        element["ref_date"] = day_text(parse_day(element["ref_date"]) + shift * 7)
    answers[1] = answer_of(dataset, 1, BEGIN + 7, elements * 2 if twice else elements)
    assert same(dataset, answers)


@pytest.mark.parametrize(
    "body", [b'{"list":[]},{"list":[]}', b'{"list":[', b"", b"[]", b'{"list":null}', b'{"a":1}']
)
def test_a_body_that_is_not_one_document_does_not_shift_the_others(body: bytes) -> None:
    """Joined with its neighbours, such a body is not decoded as two answers or as none."""
    dataset = "interface_summary_hour"
    answers = [true_answer(dataset, 1, BEGIN + day) for day in range(4)]
    answers[1] = answers[1]._replace(body=body)
    assert same(dataset, answers)


def test_a_regular_batch_is_decoded_by_arrow() -> None:
    """A regular batch is not decoded row by row, and its rows have their account and run."""
    dataset = "interface_summary_hour"
    answers = [true_answer(dataset, number, BEGIN + day) for number in (1, 2) for day in range(3)]
    batch = [(answer, Provenance(7_000_000, f"run-{at}")) for at, answer in enumerate(answers)]
    for (answer, stamp), found in zip(batch, batch_decoder(CATALOGUE[dataset])(batch), strict=True):
        for part in found.days.values():
            assert isinstance(part, Slice)
            rows_ = part.batch.slice(part.offset, part.length).to_pylist()
            assert {row["appid"] for row in rows_} == {answer.window.appid}
            assert {row["_run_id"] for row in rows_} == {stamp.run_id}


@pytest.mark.parametrize(
    ("dataset", "change"),
    [
        ("interface_summary_hour", {"ref_hour": 7}),
        ("interface_summary_hour", {"ref_hour": 2400}),
        ("user_summary", {"user_source": 1 << 32}),
        ("interface_summary", None),
    ],
    ids=["a plain hour", "no hour", "a very large key", "no object"],
)
def test_what_a_batch_cannot_take_is_decoded_alone(
    dataset: str, change: dict[str, Any] | None
) -> None:
    """The last row of the last answer differs; every answer is what it is by itself."""
    answers = [true_answer(dataset, number, BEGIN) for number in (1, 2)]
    elements = json.loads(answers[1].body)["list"]
    elements[-1] = None if change is None else {**elements[-1], **change}
    assert same(dataset, [answers[0], answer_of(dataset, 2, BEGIN, elements)])


def doubted(answers: list[RawAnswer]) -> list[BatchResult]:
    """The answers of one publish, decoded in batches of six."""
    read = batch_decoder(CATALOGUE[answers[0].window.dataset])
    stamped = [(answer, Provenance(1, "run")) for answer in answers]
    return [each for at in range(0, len(stamped), 6) for each in read(stamped[at : at + 6])]


def beside(answer: RawAnswer, members: bytes) -> RawAnswer:
    """The same answer with members beside its list."""
    return answer._replace(body=answer.body[:-1] + b"," + members + b"}")


@pytest.mark.parametrize("dataset", ["interface_summary", "article_read"])
def test_a_member_of_nine_in_ten_answers_is_new_and_no_doubt(dataset: str) -> None:
    """WeChat has changed its API: the member is told, and the answers count again."""
    plain = [true_answer(dataset, number, BEGIN) for number in range(12)]
    odd = [beside(answer, b'"version":"v%d"' % at) for at, answer in enumerate(plain)]
    found = doubted(odd)
    assert [each.doubtful for each in found] == [True] * 6 + [False] * 6
    assert [{odd.kind for odd in each.oddities} for each in found[6:]] == [
        {OddityKind.BESIDE_LIST}
    ] * 6
    # Of one in ten answers it may say that this one is not whole.
    rare = doubted([*plain[:11], odd[11]])
    assert [each.doubtful for each in rare] == [False] * 11 + [True]


def test_a_new_member_hides_no_other_doubt() -> None:
    """More pages, rows without a count, and a cache stay what they are, however often they come."""
    plain = [beside(true_answer("article_read", at, BEGIN), b'"version":2') for at in range(20)]
    more = doubted([beside(answer, b'"has_more":true') for answer in plain])
    assert all(each.quarantined and not each.days for each in more)
    cached = [answer._replace(body=CachedBody(answer.body, 60)) for answer in plain]
    assert all(each.doubtful for each in doubted(cached))
    assert not doubted(plain)[-1].doubtful


def test_many_other_members_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that invents names in each answer is doubted, and few of them are counted."""
    monkeypatch.setattr(decode_batch, "_MAX_HINTS", 5)
    answers = [
        beside(true_answer("interface_summary", 1, BEGIN), b'"m%d":1' % at) for at in range(30)
    ]
    assert all(each.doubtful for each in doubted(answers))


def test_an_answer_of_a_cache_is_decoded_alone() -> None:
    """Its neighbours are regular, and no doubt is cast on them."""
    answers = [true_answer("interface_summary", number, BEGIN) for number in range(3)]
    answers[1] = answers[1]._replace(body=CachedBody(answers[1].body, 60))
    assert [each.doubtful for each in doubted(answers)] == [False, True, False]
    assert same("interface_summary", answers)
