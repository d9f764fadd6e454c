from __future__ import annotations

import json
import time
from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given

from harvester.core.calendar import Day, day_text, parse_day
from harvester.core.contradictions import CachedBody
from harvester.core.dataset import Dataset
from harvester.core.model import Window
from harvester.core.secret import Secret
from harvester.tables import decode as rows
from harvester.tables import record_layout
from harvester.tables.columns import arrow_schema
from harvester.tables.day_rows import Decoded
from tests.support.answers import DAILY, HOURLY, MARCH, appid, as_tuples, body, decode, row

HOUR = Window(appid(1), HOURLY.name, MARCH, MARCH)
DAYS = Window(appid(1), DAILY.name, MARCH, MARCH + 9)
METRICS = ("callback_count", "fail_count", "total_time_cost", "max_time_cost")


def tuples(decoded: Decoded) -> dict[Day, list[tuple[Any, ...]]]:
    """All rows by day."""
    return {day: as_tuples(found) for day, found in decoded.days.items()}


def read_hours(*hours: dict[str, Any]) -> Decoded:
    """An hourly answer of one day."""
    return decode(HOURLY, HOUR, body(hours))


def read_days(*days: dict[str, Any]) -> Decoded:
    """A daily answer of ten days."""
    return decode(DAILY, DAYS, body(days))


OFFICIAL_DAY = (
    b'{"list":[{"ref_date":"2014-12-07","callback_count":36974,"fail_count":67,'
    b'"total_time_cost":14994291,"max_time_cost":5044}]}'
)
OFFICIAL_HOUR = (
    b'{"list":[{"ref_date":"2014-12-07","ref_hour":0,"callback_count":331,"fail_count":18,'
    b'"total_time_cost":167870,"max_time_cost":5042}]}'
)


@pytest.mark.parametrize(
    ("dataset", "sample", "expected"),
    [
        (DAILY, OFFICIAL_DAY, (36974, 67, 14994291, 5044, None)),
        (HOURLY, OFFICIAL_HOUR, (0, 331, 18, 167870, 5042, None)),
    ],
)
def test_official_samples(dataset: Dataset, sample: bytes, expected: tuple[Any, ...]) -> None:
    """The sample rows of WeChat's own pages become rows, number by number."""
    day = parse_day("2014-12-07")
    found = decode(dataset, Window(appid(1), dataset.name, day, day), sample)
    assert tuples(found) == {day: [expected]}
    assert not found.quarantined


def test_rows_are_sorted_by_key() -> None:
    """Rows come in key order, whatever order WeChat sent them in."""
    found = read_hours(row(MARCH, 5), row(MARCH, 23), row(MARCH, 0))
    assert [values[0] for values in as_tuples(found.days[MARCH])] == [0, 5, 23]
    several = read_days(row(MARCH + 2, number=3), row(MARCH, number=1))
    assert {day: found[0][0] for day, found in tuples(several).items()} == {MARCH: 1, MARCH + 2: 3}


def test_an_empty_list_is_an_answer() -> None:
    """A list without rows yields no rows and no complaint."""
    assert read_hours() == Decoded({}, {})


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ([0, 100, 2300], [0, 1, 23]),
        ([0, 1, 23], [0, 1, 23]),
        ([7], [7]),
        ([0], [0]),
        ([700], [7]),
        ([0, 100, 5], None),
        ([2400], None),
        ([150], None),
        ([24], None),
        ([-100], None),
        ([True], None),
        ([100.0], None),
        (["100"], None),
        ([None], None),
    ],
)
def test_hours_as_hundreds_or_plain(hours: list[Any], expected: list[int] | None) -> None:
    """Hours are hundreds, or plain when a day proves it; a mixture puts the day in quarantine."""
    found = read_hours(*(row(MARCH) | {"ref_hour": hour} for hour in hours))
    if expected is None:
        assert list(found.quarantined) == [MARCH]
        assert "ref_hour" in found.quarantined[MARCH]
    else:
        assert [values[0] for values in as_tuples(found.days[MARCH])] == expected


@pytest.mark.parametrize(
    "value",
    ["1", 1.5, 1.0, True, -1, 2**63, 2**64, 10**30, [1], {"a": 1}, float("nan"), float("inf")],
    ids=repr,
)
@pytest.mark.parametrize("metric", METRICS)
def test_a_value_that_does_not_fit(metric: str, value: Any) -> None:
    """A value that does not fit its column puts its day in quarantine and no other."""
    found = read_days(row(MARCH), row(MARCH + 1) | {metric: value}, row(MARCH + 2))
    assert list(found.days) == [MARCH, MARCH + 2]
    assert list(found.quarantined) == [MARCH + 1]
    assert found.quarantined[MARCH + 1].startswith(f"{metric}: ")


def test_the_largest_number_fits() -> None:
    """A count of 63 bits comes through exactly."""
    assert as_tuples(read_days(row(MARCH, fail_count=2**63 - 1)).days[MARCH])[0][1] == 2**63 - 1


@pytest.mark.parametrize("value", ["2024-3-01", "2024-02-30", "20240301", "", 5, None, True, ["a"]])
def test_a_row_that_does_not_tell_its_day(value: Any) -> None:
    """A row of no readable day could be any day's: the whole window is in quarantine."""
    found = read_days(row(MARCH), row(MARCH) | {"ref_date": value})
    assert not found.days
    assert list(found.quarantined) == list(range(DAYS.begin, DAYS.end + 1))


def test_a_row_without_ref_date() -> None:
    """The same when ref_date is not there at all."""
    assert len(decode(DAILY, DAYS, b'{"list":[{"fail_count":1}]}').quarantined) == 10


@pytest.mark.parametrize("element", [b"1", b"null", b'"a"', b"[]", b"[[]]"])
def test_an_element_that_is_no_object(element: bytes) -> None:
    """An element of the list that is no row puts the whole window in quarantine."""
    found = decode(HOURLY, HOUR, b'{"list":[' + element + b"]}")
    assert found.quarantined == {MARCH: "a row that is no object"}


def test_rows_outside_the_window_put_all_of_it_into_quarantine() -> None:
    """Even if they are broken: they may be rows of a day that seems empty."""
    found = read_days(row(MARCH - 1), row(MARCH), row(MARCH + 10, fail_count="x"))
    assert not found.days
    assert list(found.quarantined) == list(range(DAYS.begin, DAYS.end + 1))
    assert {*found.quarantined.values()} == {"rows lie outside the window"}


def test_all_rows_outside_the_window() -> None:
    """An answer that is about other days only is not taken for an empty one."""
    found = read_days(row(MARCH - 700), row(MARCH + 10))
    assert len(found.quarantined) == 10


@pytest.mark.parametrize("more", [b'"has_more":true', b'"next_cursor":"b2"', b'"next_page":2'])
def test_an_answer_that_announces_more_rows_is_no_whole_one(more: bytes) -> None:
    """All of its days are quarantined, because its rows may be a part of any of them."""
    found = decode(DAILY, DAYS, body([row(MARCH)])[:-1] + b"," + more + b"}")
    assert (len(found.quarantined), found.days) == (10, {})
    name = more.split(b'"')[1].decode()
    assert {*found.quarantined.values()} == {f"{name}: an answer that says that there is more"}


TWICE = [
    b'{"list":[{ROW}],"list":[]}',
    b'{"list":[],"list":[{ROW}]}',
    b'{"list":[{ROW}],"list":[{ROW}]}',
    rb'{"list":[{ROW}],"l\u0069st":[{ROW}]}',
    b'{"is_delay":true,"list":[{ROW}],"is_delay":false}',
    rb'{"list":[{ROW}],"errmsg":"\u003a","is_delay":false,"is_delay":false}',
    b'{"list":[{"fail_count":7,ROW}]}',
    rb'{"list":[{"fail_c\u006funt":7,ROW}]}',
    b'{"list":[{"novel":{"a":1,"a":1},ROW}]}',
]


@pytest.mark.parametrize("whole", TWICE)
def test_a_name_that_comes_twice_leaves_no_day_usable(whole: bytes) -> None:
    """A parser would keep the last of its values without a word, also if a name is escaped."""
    members = json.dumps(row(MARCH), separators=(",", ":")).encode()[1:-1]
    found = decode(DAILY, DAYS, whole.replace(b"ROW", members))
    assert (len(found.quarantined), found.days) == (10, {})
    [reason] = {*found.quarantined.values()}
    assert reason.endswith(": a name that comes twice in an object")


@pytest.mark.parametrize("separators", [(",", ":"), (" , ", " : ")])
def test_texts_and_blanks_are_not_taken_for_names(separators: tuple[str, str]) -> None:
    """A colon in a text, or a blank before one, repeats no name."""
    sent = {"list": [row(MARCH, novel='"fail_count": 1, \u003a')], "errmsg": "ok"}
    found = decode(DAILY, DAYS, json.dumps(sent, separators=separators).encode())
    assert (list(found.days), found.quarantined) == ([MARCH], {})


@pytest.mark.parametrize("depth", [900, 1000, 1020])
def test_members_beside_the_list_may_be_nested_deeply(depth: int) -> None:
    """One parser reads a little deeper than the other: that is no bug of harvester's."""
    deep = b"[" * depth + b"]" * depth
    whole = body([row(MARCH)])[:-1]
    twice = decode(DAILY, DAYS, whole + b',"x":' + deep + b',"list":[]}')
    [reason] = {*twice.quarantined.values()}
    assert reason in {
        "list: a name that comes twice in an object",
        "nested too deeply, or a number that cannot be kept exactly",
    }
    found = decode(DAILY, DAYS, whole + b',"total":' + deep + b"}")
    assert [(odd.kind.value, odd.name) for odd in found.oddities] == [("hint", "total")]
    assert found.doubtful


def test_an_undeclared_member_beside_the_list_puts_an_answer_in_doubt() -> None:
    """Its rows are kept; what says nothing against them is no doubt."""
    quiet = b'"has_more":false,"next_cursor":"","total":1,"errcode":0,"errmsg":"ok"'
    whole = body([row(MARCH)])[:-1] + b","
    assert decode(DAILY, DAYS, whole + quiet + b"}") == read_days(row(MARCH))
    noted = decode(DAILY, DAYS, whole + b'"novel":0}')
    assert not noted.doubtful
    assert [(odd.kind.value, odd.name) for odd in noted.oddities] == [("beside_list", "novel")]
    found = decode(DAILY, DAYS, whole + b'"novel":[1],"hasMore":true,"is_delay":3}')
    told = [(odd.kind.value, odd.name) for odd in found.oddities]
    assert told == [("hint", "novel"), ("hint", "hasMore"), ("unknown_mark", "3")]
    assert found.doubtful
    assert list(found.days) == [MARCH]


def test_another_total_leaves_no_day_usable() -> None:
    """Those without rows neither: they may be the ones that are missing."""
    found = decode(DAILY, DAYS, body([row(MARCH)])[:-1] + b',"total_count":7}')
    assert {*found.quarantined} == {*range(DAYS.begin, DAYS.end + 1)}
    reason = "total_count: an answer that tells another number of rows"
    assert {*found.quarantined.values()} == {reason}


def test_an_answer_of_a_cache_is_doubtful() -> None:
    """Its rows may be of a time at which the day was not over."""
    for elements in ([], [row(MARCH)]):
        found = decode(DAILY, DAYS, CachedBody(body(elements), 3_600))
        assert found.doubtful
        assert [odd[1:] for odd in found.oddities] == [("Age", "of a cache is 3,600 s")]


def test_words_of_failure_beside_an_empty_list_settle_nothing() -> None:
    """As of an answer that an earlier build took: the day is asked again."""
    assert decode(DAILY, DAYS, b'{"list":[],"errmsg":"system error"}').delayed
    found = decode(DAILY, DAYS, body([row(MARCH)])[:-1] + b',"errmsg":"system error"}')
    assert (found.delayed, found.doubtful, list(found.days)) == (False, True, [MARCH])


def test_rows_without_a_count_put_their_answer_in_doubt() -> None:
    """One row is enough, and a count that is null."""
    short = row(MARCH)
    del short["max_time_cost"]
    for lacking in (short, row(MARCH, max_time_cost=None)):
        found = read_days(lacking, row(MARCH + 1))
        assert found.doubtful
        assert [odd.name for odd in found.oddities] == ["max_time_cost"]
    assert not read_days(row(MARCH)).doubtful


def test_a_long_irregular_answer_is_not_read_value_by_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That takes a third of a second a MiB; a regular one of any length is read."""
    sent = [row(MARCH + day) for day in range(10)]
    monkeypatch.setattr(rows, "MAX_IRREGULAR", len(body(sent)) - 1)
    assert not read_days(*sent).quarantined
    assert len(read_days(*sent[:-1], row(MARCH + 9, x=1)).quarantined) == 10


def test_identical_rows_count_once() -> None:
    """A row that comes twice is there once."""
    found = read_hours(row(MARCH, 1), row(MARCH, 1), row(MARCH, 0))
    assert [values[0] for values in as_tuples(found.days[MARCH])] == [0, 1]
    assert len(as_tuples(read_days(row(MARCH), row(MARCH)).days[MARCH])) == 1


def test_contradicting_rows() -> None:
    """The same key with different numbers puts the day in quarantine."""
    found = read_days(row(MARCH, number=1), row(MARCH, number=2), row(MARCH + 1))
    assert list(found.days) == [MARCH + 1]
    assert found.quarantined == {MARCH: "two different rows for the same key"}


def test_undeclared_members_are_kept_as_far_as_they_fit() -> None:
    """By name, whole or not at all; the oddity tells the first such day and its length."""
    fits: dict[str, Any] = dict.fromkeys("bd", "x" * 30_000)
    found = read_days(row(MARCH, **fits), row(MARCH + 1, a="x" * 2**17, c=5, **fits, e="y" * 9_999))
    assert [json.loads(found.days[day].extra[0] or "") for day in found.days] == [
        fits,
        {**fits, "c": 5},
    ]
    told = [(odd.kind.value, odd.name, odd.value) for odd in found.oddities]
    assert told == [("long_extra", "_extra", "201,106 bytes on 2024-03-02")]
    nothing = read_days(row(MARCH, a=["x" * 2**16]))
    assert nothing.days[MARCH].extra == ["{}"]


def test_a_million_undeclared_members_take_a_moment() -> None:
    """The search for secrets leaves out all that is not kept, and few are named."""
    Secret("0123456789abcdef" * 2)
    many: dict[str, Any] = {f"member_{number}": "text" for number in range(70_000)}
    sent = body([row(MARCH + day, **many) for day in range(2)])
    begin = time.process_time()
    found = decode(DAILY, DAYS, sent)
    # One by one they took three seconds.
    assert time.process_time() - begin < 2
    assert len(found.unknown) == 100
    assert all(len(rows.extra[0] or "") <= 2**16 for rows in found.days.values())


def test_unknown_members_are_kept() -> None:
    """Undeclared members go into _extra exactly, as sorted compact JSON, and are reported."""
    found = read_days(row(MARCH, zeta=2**70, alpha={"名": [1.5, None]}), row(MARCH + 1))
    assert found.unknown == {"zeta", "alpha"}
    assert found.days[MARCH].extra == ['{"alpha":{"名":[1.5,null]},"zeta":1180591620717411303424}']
    assert found.days[MARCH + 1].extra == [None]


def test_an_echoed_secret_does_not_reach_extra() -> None:
    """Known secrets are masked in undeclared members, in their names and below; the rest stays."""
    token = "97_the\\token-of+an/account"
    Secret(token)
    found = read_days(row(MARCH, echo=token, deep=[{"a": f"x {token[4:]}"}], near="97_the-same"))
    extra = json.loads(found.days[MARCH].extra[0] or "")
    assert extra == {"echo": "***", "deep": [{"a": "x ***"}], "near": "97_the-same"}
    found = read_days(row(MARCH, **{token: 1}))
    assert json.loads(found.days[MARCH].extra[0] or "") == {"***": 1}
    assert found.unknown == {"***"}


def test_an_unknown_lone_surrogate_is_kept() -> None:
    """A text that UTF-8 cannot spell stays escaped, as it came."""
    raw = body([row(MARCH, odd="X")]).replace(b'"X"', rb'"\ud800"')
    assert decode(DAILY, DAYS, raw).days[MARCH].extra == [r'{"odd":"\ud800"}']


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"1e999"])
def test_an_unknown_number_beyond_json(value: bytes) -> None:
    """A value that JSON cannot spell is not kept as something else: its day is in quarantine."""
    raw = body([row(MARCH, odd="X"), row(MARCH + 1)]).replace(b'"X"', value)
    found = decode(DAILY, DAYS, raw)
    assert list(found.quarantined) == [MARCH]
    assert list(found.days) == [MARCH + 1]


def test_missing_metrics_become_null() -> None:
    """A metric that is null or left out becomes null and is named."""
    short = row(MARCH)
    del short["max_time_cost"]
    found = read_days(short, row(MARCH + 1, fail_count=None), row(MARCH + 2))
    assert found.missing == {"max_time_cost", "fail_count"}
    assert as_tuples(found.days[MARCH]) == [(1, 1, 400, None, None)]
    assert as_tuples(found.days[MARCH + 1]) == [(1, None, 400, 5000, None)]


def test_a_missing_key_member() -> None:
    """A row without a part of its key cannot be filed: its day is in quarantine."""
    assert read_hours(row(MARCH, 1), row(MARCH)).quarantined == {
        MARCH: "ref_hour: a row without it"
    }


def test_control_characters_alone_do_no_harm() -> None:
    """A control character in an undeclared text does not quarantine the day."""
    raw = body([row(MARCH, odd="X")]).replace(b"X", b"a\x01b")
    assert decode(DAILY, DAYS, raw).days[MARCH].extra == [r'{"odd":"a\u0001b"}']


def test_broken_utf8() -> None:
    """Bytes that are no UTF-8 are never replaced: the whole window is in quarantine."""
    raw = body([row(MARCH, odd="X")]).replace(b"X", b"\xff\xfe")
    assert set(decode(DAILY, DAYS, raw).quarantined.values()) == {"broken UTF-8"}


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b'{"list":null}', b"<html>", b'{"list":[{]}'])
def test_no_answer_at_all(raw: bytes) -> None:
    """An answer without a list of rows puts the whole window in quarantine."""
    found = decode(DAILY, DAYS, raw)
    assert len(found.quarantined) == 10
    assert not found.days


@given(st.binary(max_size=200))
def test_never_raises_on_bytes(raw: bytes) -> None:
    """Reading never raises, whatever the bytes."""
    decode(DAILY, DAYS, raw)


def test_never_raises_on_deep_nesting() -> None:
    """A member nested past any recursion limit is no reason to raise either."""
    deep = b"[" * 990 + b"]" * 990
    found = decode(DAILY, DAYS, body([row(MARCH, odd="X")]).replace(b'"X"', deep))
    assert found.days or found.quarantined


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 40),
    st.sampled_from([2**63 - 1, 2**63, 2**64, -(2**63)]),
    st.floats(),
    st.text(max_size=3),
)
HOUR_VALUES = st.one_of(
    st.integers(0, 23).map(lambda hour: hour * 100), st.integers(0, 23), SCALARS
)
ODD_ROWS = st.fixed_dictionaries(
    {"ref_date": st.sampled_from([day_text(MARCH + offset) for offset in range(-1, 4)])},
    optional={
        "ref_hour": HOUR_VALUES,
        **{metric: st.one_of(st.integers(0, 9), SCALARS) for metric in METRICS},
        "surprise": SCALARS | st.lists(SCALARS, max_size=2),
    },
)


def spelled(extra: str) -> str:
    """The surprise in a row's _extra, as the standard library spells it."""
    return json.dumps(json.loads(extra)["surprise"])


@given(st.lists(ODD_ROWS, max_size=6))
def test_exact_or_quarantined(sent: list[dict[str, Any]]) -> None:
    """Every row inside the window is in the result exactly as sent, or its day is quarantined."""
    window = Window(appid(1), HOURLY.name, MARCH, MARCH + 2)
    raw = json.dumps({"list": sent}).encode()
    found = decode(HOURLY, window, raw)
    assert not found.days.keys() & found.quarantined.keys()
    for day in range(window.begin, window.end + 1):
        if day in found.quarantined:
            continue
        mine = [each for each in json.loads(raw)["list"] if each["ref_date"] == day_text(day)]
        plain = any(each["ref_hour"] % 100 for each in mine)
        expected = {
            (
                each["ref_hour"] if plain else each["ref_hour"] // 100,
                *(each.get(metric) for metric in METRICS),
                json.dumps(each["surprise"]) if "surprise" in each else None,
            )
            for each in mine
        }
        got = as_tuples(found.days[day]) if day in found.days else []
        assert {
            (*it[:-1], it[-1] and json.dumps(json.loads(it[-1])["surprise"])) for it in got
        } == expected
        assert len(got) == len(expected)
        assert all(type(value) in {int, type(None)} for it in got for value in it[:-1])


REGULAR = st.builds(
    lambda day, hour, number: row(MARCH + day, hour, number),
    st.integers(0, 9),
    st.integers(0, 23),
    st.integers(0, 2**63 // 400 - 1),
)


@given(st.lists(REGULAR, min_size=1, max_size=30))
def test_the_fast_path_equals_the_strict_decoder(sent: list[dict[str, Any]]) -> None:
    """The strict decoder gives the same result as the fast path."""
    for dataset in (HOURLY, DAILY):
        names = {column.name for column in dataset.columns}
        cut = [{name: each[name] for name in each if name in names} for each in sent]
        layout = record_layout.layout_of(dataset)
        fast = rows._decode_fast(layout, DAYS, {"list": cut}, body(cut))
        strict, seen = rows._decode_strictly(layout, DAYS, body(cut))
        assert not seen.repeated
        if fast:
            assert tuples(fast) == tuples(strict)
            assert not strict.quarantined


def test_schema() -> None:
    """The columns of a file are those of the contract, and only the key is never null."""
    schema = arrow_schema(HOURLY)
    assert schema.names == [
        *("appid", "ref_date", "ref_hour"),
        *METRICS,
        *("_fetched_at", "_run_id", "_extra"),
    ]
    assert [schema.field(name).type for name in ("appid", "ref_date", "ref_hour")] == [
        pa.string(),
        pa.date32(),
        pa.int32(),
    ]
    assert {schema.field(name).type for name in METRICS} == {pa.int64()}
    assert schema.field("_fetched_at").type == pa.timestamp("us", tz="UTC")
    assert [field.name for field in schema if not field.nullable] == [
        "appid",
        "ref_date",
        "ref_hour",
    ]
