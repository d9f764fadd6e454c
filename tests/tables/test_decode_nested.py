"""Answers of every layout: nested, with lists, delayed, with missing or undeclared members."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import day_text, parse_day
from harvester.core.dataset import Dataset
from harvester.core.model import OddityKind, RowlessElement, Window
from harvester.tables import decode as decode_module
from harvester.tables.day_rows import Decoded, Oddity
from harvester.tables.record_layout import flatten, layout_of
from tests.support.answers import appid, as_tuples, decode

READ = CATALOGUE["article_read"]
BIZ = CATALOGUE["biz_summary"]
DETAIL = CATALOGUE["article_total_detail"]
CUMULATE = CATALOGUE["user_cumulate"]
MESSAGES = CATALOGUE["upstream_msg"]

DAY = parse_day("2026-03-02")
TODAY = day_text(DAY)

SCENES = [{"user_count": 4123, "scene_desc": "全部"}, {"user_count": 0, "scene_desc": "其他"}]
JUMPS = [{"position": 1, "rate": 0.5304147}, {"position": 5, "rate": 0}]


def article(msgid: str = "1_1", **more: Any) -> dict[str, Any]:
    """An element of article_read; ``detail`` can be replaced."""
    detail = {"read_user": 4123, "read_user_source": SCENES}
    return {"ref_date": TODAY, "msgid": msgid, "detail": detail, **more}


def entry(stat_date: str = TODAY, **more: Any) -> dict[str, Any]:
    """A day of an article in article_total_detail."""
    found = {column.name: 1 for column in DETAIL.columns if column.nested}
    lists = {"read_user_source": SCENES, "read_jump_position": JUMPS}
    return {**found, **lists, "stat_date": stat_date, "read_finish_rate": 0.25, **more}


def published(*entries: Any, msgid: str = "1_1", **more: Any) -> dict[str, Any]:
    """An element of article_total_detail."""
    own = {"ref_date": TODAY, "msgid": msgid, "publish_type": 0}
    return {**own, "detail_list": list(entries), **more}


def read(dataset: Dataset, *elements: Any, days: int = 1, **top: Any) -> Decoded:
    """Decode an answer about so many days."""
    window = Window(appid(1), dataset.name, DAY, DAY + days - 1)
    return decode(dataset, window, json.dumps({"list": elements, **top}).encode())


def column(dataset: Dataset, found: Decoded, name: str) -> list[Any]:
    """A column of the first day."""
    names = [each.name for each in dataset.columns if each.name != "ref_date"] + ["_extra"]
    return [values[names.index(name)] for values in as_tuples(found.days[DAY])]


def test_a_nested_object_is_part_of_its_row() -> None:
    """The members of ``detail`` become columns, and its list stays a list."""
    found = read(READ, article("2_1"), article("10_1"))
    assert as_tuples(found.days[DAY]) == [
        ("10_1", 4123, SCENES, None),
        ("2_1", 4123, SCENES, None),
    ]
    assert found == Decoded(found.days, {})


def test_each_entry_of_a_nested_array_is_a_row() -> None:
    """An article's days are rows, and what belongs to the article is repeated."""
    days = [day_text(DAY + ahead) for ahead in (30, 0, 1)]
    found = read(
        DETAIL,
        published(*map(entry, days), msgid="7_2", title="two"),
        published(entry(), msgid="7_1"),
    )
    assert not found.quarantined
    assert column(DETAIL, found, "msgid") == ["7_1", "7_2", "7_2", "7_2"]
    assert column(DETAIL, found, "stat_date") == [DAY, DAY, DAY + 1, DAY + 30]
    assert column(DETAIL, found, "title") == [None, "two", "two", "two"]
    assert column(DETAIL, found, "publish_type") == [0] * 4
    assert column(DETAIL, found, "read_finish_rate") == [0.25] * 4
    assert column(DETAIL, found, "read_jump_position") == [JUMPS] * 4


TITLED = published(entry(), entry("2026-03-03"), title="12:30", content_url="http://a/?b=1:2")


@pytest.mark.parametrize("name", ["read_user", "scene_desc", "position", "title", "stat_date"])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", " : ")])
def test_a_name_that_comes_twice_on_any_level(name: str, separators: tuple[str, str]) -> None:
    """It is noticed beside texts with colons, which alone cost no exact parse."""
    window = Window(appid(1), DETAIL.name, DAY, DAY)
    whole = json.dumps({"list": [TITLED], "is_delay": False}, separators=separators).encode()
    layout = layout_of(DETAIL)
    assert decode_module._decode_fast(layout, window, json.loads(whole), whole)
    member = f'"{name}"'.encode()
    for spelled in (
        member,
        member.replace(b"_", rb"\u005f"),
        b'"\\u%04x' % ord(name[0]) + member[2:],
    ):
        twice = whole.replace(member, spelled + b":7," + member, 1)
        found = decode(DETAIL, window, twice)
        assert {*found.quarantined.values()} == {f"{name}: a name that comes twice in an object"}


def test_an_escaped_colon_hides_no_name() -> None:
    """It is one colon less in the body, as a name that comes twice is one more."""
    window = Window(appid(1), DETAIL.name, DAY, DAY)
    whole = json.dumps({"list": [TITLED]}).replace("12:30", r"12\u003a30")
    twice = whole.replace('"read_user"', '"read_user":7,"read_user"', 1).encode()
    assert len(decode(DETAIL, window, twice).quarantined) == 1
    assert not decode(DETAIL, window, whole.encode()).quarantined


def test_texts_sort_by_their_bytes() -> None:
    """Keys that are texts are in the order in which Parquet has them: of UTF-8, not of UTF-16."""
    ids = ["a", "B", "￿", "😀", "é", "", "10_1", "9_1"]
    found = read(READ, *map(article, ids))
    assert column(READ, found, "msgid") == sorted(ids, key=str.encode)
    odd = read(READ, *(article(each, new=1) for each in ids))
    assert column(READ, odd, "msgid") == sorted(ids, key=str.encode)


def test_flattening_keeps_elements_and_entries_together() -> None:
    """Each row has the members of its element and those of its entry, in the order they came."""
    flat = layout_of(CUMULATE)
    assert flatten(flat, [{"ref_date": TODAY}]) == ([{"ref_date": TODAY}], [])
    elements: list[dict[str, Any]] = [{"a": 1, "detail": {"b": 2}}, {"a": 3, "detail": None}]
    assert flatten(layout_of(READ), elements) == (elements, [{"b": 2}, {}])
    arrays: list[dict[str, Any]] = [
        {"a": 1, "detail_list": [{"b": 1}, {"b": 2}]},
        {"a": 2, "detail_list": []},
        {"a": 3},
        {"a": 4, "detail_list": [{"b": 3}]},
    ]
    own, inner = flatten(layout_of(DETAIL), arrays)
    assert [each["a"] for each in own] == [1, 1, 4]
    assert inner == [{"b": 1}, {"b": 2}, {"b": 3}]


def test_an_article_without_days_is_no_row() -> None:
    """An empty ``detail_list`` gives no row, and the day counts as answered."""
    alone = read(DETAIL, published())
    assert (alone.days, alone.quarantined, alone.missing) == ({}, {}, frozenset())
    bare = RowlessElement(appid(1), DETAIL.name, DAY, "1_1")
    assert alone.without_rows == (bare,)
    beside = read(DETAIL, published(), published(entry(), msgid="2_1"))
    assert column(DETAIL, beside, "msgid") == ["2_1"]
    assert beside.without_rows == (bare,)
    for absent in (published(detail_list=None), {"ref_date": TODAY, "msgid": "1_1"}):
        assert read(DETAIL, absent).without_rows == (bare,)
    absent = published(ref_date=day_text(DAY + 1), msgid="9_1")
    assert read(DETAIL, published(), absent).without_rows == ()


def test_an_article_without_metrics_is_a_row() -> None:
    """An empty ``detail`` leaves a row of nulls, and its members are noted as missing."""
    found = read(READ, article(detail={}))
    assert as_tuples(found.days[DAY]) == [("1_1", None, None, None)]
    assert found.missing == {"detail.read_user", "detail.read_user_source"}
    assert found.without_rows == ()


@pytest.mark.parametrize("absent", [{"detail_list": None}, {}])
def test_a_nested_array_that_is_missing(absent: dict[str, Any]) -> None:
    """Without ``detail_list`` there is no row, and it is named as missing."""
    element = {"ref_date": TODAY, "msgid": "1_1", "publish_type": 0, **absent}
    found = read(DETAIL, element, published(entry(), msgid="2_1"))
    assert column(DETAIL, found, "msgid") == ["2_1"]
    assert found.missing == {"detail_list"}


def test_a_nested_array_that_was_renamed() -> None:
    """Rows under another name are never taken for no rows: their day is in quarantine."""
    element = {"ref_date": TODAY, "msgid": "1_1", "publish_type": 0, "details": [entry()]}
    found = read(DETAIL, element)
    assert list(found.quarantined) == [DAY]
    assert found.quarantined[DAY].startswith("detail_list: ")
    assert found.unknown == {"details"}
    assert found.missing == {"detail_list"}


def test_a_nested_object_that_is_missing() -> None:
    """A row without ``detail`` has nulls, and what came in its place is kept."""
    element = {"ref_date": TODAY, "msgid": "1_1", "details": {"read_user": 5}}
    found = read(READ, element)
    assert as_tuples(found.days[DAY]) == [("1_1", None, None, '{"details":{"read_user":5}}')]
    assert found.missing == {"detail", "detail.read_user", "detail.read_user_source"}
    assert found.unknown == {"details"}


@pytest.mark.parametrize("nested", [[], "x", 1, True, [{"read_user": 1}]])
def test_a_nested_object_of_another_type(nested: Any) -> None:
    """A ``detail`` that is no object puts its day into quarantine, and no other."""
    later = article(ref_date=day_text(DAY + 1))
    found = read(READ, article(detail=nested), later, days=2)
    assert list(found.quarantined) == [DAY]
    assert found.quarantined[DAY].startswith("detail: ")
    assert list(found.days) == [DAY + 1]


@pytest.mark.parametrize("nested", [{}, {"stat_date": TODAY}, "x", 0, [None], [[]], [entry(), 1]])
def test_a_nested_array_of_another_type(nested: Any) -> None:
    """A ``detail_list`` that is no array of objects puts its day into quarantine."""
    found = read(DETAIL, published(entry()) | {"detail_list": nested})
    assert list(found.quarantined) == [DAY]
    assert found.quarantined[DAY].startswith("detail_list: ")


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([entry(), entry(read_user=2)], "two different rows for the same key"),
        ([entry(), entry(read_user_source=[])], "two different rows for the same key"),
        ([entry() | {"stat_date": None}], "detail_list.stat_date: a row without it"),
        ([entry("2026-3-2")], "detail_list.stat_date: a date that is none"),
        ([entry(read_finish_rate="1")], "detail_list.read_finish_rate: a text where a number"),
        ([entry(read_finish_rate=2**53 + 1)], "detail_list.read_finish_rate: an integer beyond"),
        ([entry(read_finish_rate=10**400)], "detail_list.read_finish_rate: an integer beyond"),
        ([entry(read_finish_rate=float("nan"))], "detail_list.read_finish_rate: infinity or no"),
        ([entry(read_user_source={})], "detail_list.read_user_source: an object where a list"),
        ([entry(read_user_source=[None])], "detail_list.read_user_source: null where an object"),
        (
            [entry(read_user_source=[{"user_count": 1.5, "scene_desc": "x"}])],
            "detail_list.read_user_source.user_count: a fraction where an integer",
        ),
        (
            [entry(read_user_source=[{"user_count": 1, "scene_desc": "\udfff"}])],
            "detail_list.read_user_source.scene_desc: a text with half a character",
        ),
    ],
)
def test_nested_rows_that_do_not_fit(entries: list[Any], reason: str) -> None:
    """One value that does not fit quarantines the day, and the reason leads to it."""
    found = read(DETAIL, published(*entries))
    assert not found.days
    assert found.quarantined[DAY].startswith(reason)


@pytest.mark.parametrize("number", [b"1e400", b"Infinity", b"-Infinity", b"NaN"])
def test_numbers_beyond_a_double(number: bytes) -> None:
    """A number that no double can hold is never stored as infinity."""
    window = Window(appid(1), DETAIL.name, DAY, DAY)
    body = json.dumps({"list": [published(entry(read_finish_rate=0.125))]}).encode()
    found = decode(DETAIL, window, body.replace(b"0.125", number))
    assert list(found.quarantined) == [DAY]


@pytest.mark.parametrize("number", ["1e30", "1E+2", "-0.5", "18446744073709551616.0", "-0", "7"])
def test_rates_are_what_was_sent(number: str) -> None:
    """A rate is the double that the standard library reads, however it is spelled."""
    window = Window(appid(1), DETAIL.name, DAY, DAY)
    body = json.dumps({"list": [published(entry(read_finish_rate=0.125))]}).encode()
    found = decode(DETAIL, window, body.replace(b"0.125", number.encode()))
    assert column(DETAIL, found, "read_finish_rate") == [float(number)]


def test_a_long_integer_for_a_rate() -> None:
    """An integer that orjson rounds without a word is found out: its day is in quarantine."""
    found = read(DETAIL, published(entry(read_finish_rate=2**64)))
    assert "integer beyond 2**53" in found.quarantined[DAY]


@pytest.mark.parametrize("text", ["a\x01\n\tb", "\u2028", "😀", "\ufffd", "=cmd|x", "\x00"])
def test_texts_are_what_was_sent(text: str) -> None:
    """A text is kept character by character, also where strict JSON refuses the answer for it."""
    window = Window(appid(1), DETAIL.name, DAY, DAY)
    body = json.dumps({"list": [published(entry(), title="X")]}).encode()
    raw = decode(DETAIL, window, body.replace(b'"X"', f'"{text}"'.encode()))
    assert column(DETAIL, raw, "title") == [text]
    assert column(DETAIL, read(DETAIL, published(entry(), title=text)), "title") == [text]


def test_a_text_with_half_a_character() -> None:
    """A text that UTF-8 cannot spell is not stored as something else."""
    found = read(DETAIL, published(entry(), title="\ud83d"), published(entry(), msgid="2_1"))
    assert found.quarantined == {DAY: "title: a text with half a character"}


def test_unknown_members_stay_where_they_stood() -> None:
    """Undeclared members are in _extra, under the members that held them."""
    scenes = [{**SCENES[0], "share": 0.5}, SCENES[1]]
    plain = published(entry(), msgid="2_1")
    found = read(
        DETAIL,
        published(entry(read_user_source=scenes, fresh=2**70), copyright=[1]),
        plain,
    )
    assert [extra and json.loads(extra) for extra in column(DETAIL, found, "_extra")] == [
        {
            "copyright": [1],
            "detail_list": {"fresh": 2**70, "read_user_source": [{"share": 0.5}, {}]},
        },
        None,
    ]
    assert column(DETAIL, found, "read_user_source") == [SCENES, SCENES]
    assert found.unknown == {
        "copyright",
        "detail_list.fresh",
        "detail_list.read_user_source.share",
    }


def test_a_member_on_the_wrong_level_is_unknown() -> None:
    """A name counts only where it is declared: its namesake elsewhere goes into _extra."""
    found = read(READ, article(read_user=7))
    assert as_tuples(found.days[DAY]) == [("1_1", 4123, SCENES, '{"read_user":7}')]
    found = read(READ, article(detail={"read_user": 1, "read_user_source": [], "msgid": "x"}))
    assert as_tuples(found.days[DAY]) == [("1_1", 1, [], '{"detail":{"msgid":"x"}}')]


def test_unknown_names_are_fit_to_print() -> None:
    """The name of an unknown member may come from anywhere, so it is escaped and cut."""
    found = read(READ, article() | {"\x1b[2J": 1, "\ud800": 2, "x" * 500: 3})
    assert len(found.unknown) == 3
    assert all(name.isprintable() and len(name) <= 100 for name in found.unknown)


@pytest.mark.parametrize(
    ("source", "stored", "missing"),
    [
        (None, None, {"detail.read_user_source"}),
        ([], [], set()),
        ([{}], [{"user_count": None, "scene_desc": None}], {"user_count", "scene_desc"}),
        (
            [{"user_count": None, "scene_desc": "x"}],
            [{"user_count": None, "scene_desc": "x"}],
            {"user_count"},
        ),
    ],
)
def test_lists_with_gaps(source: Any, stored: Any, missing: set[str]) -> None:
    """Null is null, empty is empty, and an element without a member has null there."""
    found = read(READ, article(detail={"read_user": 1, "read_user_source": source}))
    assert as_tuples(found.days[DAY]) == [("1_1", 1, stored, None)]
    paths = {f"detail.read_user_source.{name}" if "." not in name else name for name in missing}
    assert found.missing == paths


def test_optional_members() -> None:
    """Optional members are stored if they are sent, and not reported as missing otherwise."""
    rows = [{"ref_date": day_text(DAY + i), "cumulate_user": i} for i in range(4)]
    rows[1]["user_source"] = 0
    rows[2]["user_source"] = None
    found = read(CUMULATE, *rows, days=7)
    assert [as_tuples(day) for day in found.days.values()] == [
        [(None, 0, None)],
        [(0, 1, None)],
        [(None, 2, None)],
        [(None, 3, None)],
    ]
    assert found == Decoded(found.days, {})
    constant = read(CUMULATE, *({**row, "user_source": 0} for row in rows), days=7)
    assert all(as_tuples(day)[0][0] == 0 for day in constant.days.values())


@pytest.mark.parametrize("value", [1.5, "0", True, -1])
def test_optional_members_are_checked(value: Any) -> None:
    """An optional member must fit its column too."""
    row = {"ref_date": TODAY, "user_source": value, "cumulate_user": 1}
    assert list(read(CUMULATE, row).quarantined) == [DAY]


def test_a_required_member_that_is_missing() -> None:
    """A missing required metric becomes null and is reported."""
    found = read(MESSAGES, {"ref_date": TODAY, "msg_type": 1, "msg_user": 3})
    assert found.missing == {"msg_count"}
    assert as_tuples(found.days[DAY]) == [(1, None, 3, None, None)]


@pytest.mark.parametrize("mark", [True, "true"])
@pytest.mark.parametrize("elements", [[], [article()], [article(new=1)]])
def test_a_delayed_answer(mark: Any, elements: list[Any]) -> None:
    """``is_delay`` marks an answer, rows or none, as a boolean or spelled out."""
    found = read(READ, *elements, is_delay=mark)
    assert found.delayed
    assert found._replace(delayed=False) == read(READ, *elements)
    assert not read(READ, *elements, is_delay=False).delayed
    assert not read(READ, *elements, is_delay="false").delayed


UNKNOWN_MARKS: dict[str, Any] = {
    "null": None,
    "1": 1,
    "0": 0,
    '""': "",
    '"yes"': "yes",
    '"TRUE"': "TRUE",
    '"False"': "False",
    "a list": [],
    "an object": {"deep": {}},
    "0.0": 0.0,
}


@pytest.mark.parametrize("shown", UNKNOWN_MARKS)
@pytest.mark.parametrize("elements", [[], [article()], [article(new=1)]])
def test_a_mark_that_is_not_known(shown: str, elements: list[Any]) -> None:
    """An ``is_delay`` that is neither true nor false costs no row and settles no day."""
    found = read(READ, *elements, is_delay=UNKNOWN_MARKS[shown])
    assert found.delayed
    assert found.oddities == (Oddity(OddityKind.UNKNOWN_MARK, shown),)
    assert found._replace(delayed=False, oddities=()) == read(READ, *elements)


def test_a_long_mark_is_cut_and_inert() -> None:
    """The value is a foreign text: no control character of it is printed, and not all of it."""
    [odd] = read(READ, is_delay="\x1b[31m::error::" + "soon " * 99).oddities
    assert len(odd.name) <= 40
    assert "\x1b" not in odd.name
    assert "::error" not in odd.name


def test_identical_nested_rows_count_once() -> None:
    """An article that comes twice with the same days is there once."""
    found = read(DETAIL, published(entry()), published(entry(), entry()))
    assert len(as_tuples(found.days[DAY])) == 1
    assert not found.quarantined


def test_the_publication_day_decides() -> None:
    """Rows are filed by ``ref_date``: a ``stat_date`` may lie outside of the window."""
    beyond = [day_text(DAY + ahead) for ahead in (-400, 29)]
    found = read(DETAIL, published(*map(entry, beyond)))
    assert column(DETAIL, found, "stat_date") == [DAY - 400, DAY + 29]
    assert not found.quarantined
    outside = read(DETAIL, published(entry()), published(entry(), ref_date=day_text(DAY + 1)))
    assert list(outside.quarantined) == [DAY]
