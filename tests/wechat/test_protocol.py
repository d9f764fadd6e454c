"""Data calls and tokens on the wire: bodies, answers, refusals and their messages."""

from __future__ import annotations

import json
import math
import traceback
import unicodedata
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core.calendar import parse_day
from harvester.core.errors import BadAnswer, SaidFailure
from harvester.core.model import Refusal, Window
from harvester.core.secret import Secret
from harvester.core.text.lenient_json import parse
from harvester.core.text.safe_text import safe_text
from harvester.wechat.auth.token_api import Grant, grant_of, request_body
from harvester.wechat.protocol import answers_another_window, days_body, refusal_of

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)

# Bodies out


def test_a_window_s_body_has_its_first_and_last_day() -> None:
    """The body has exactly the two members that WeChat documents."""
    asked = days_body(parse_day("2024-01-01"), parse_day("2024-01-30"))
    assert asked == b'{"begin_date":"2024-01-01","end_date":"2024-01-30"}'


def test_a_token_s_body_has_the_secret_as_it_is() -> None:
    """Any characters of it are quoted."""
    body = json.loads(request_body(appid="wx1", secret=Secret('with "quotes" and \udcff')))
    assert body == {"appid": "wx1", "secret": 'with "quotes" and \udcff'}


# Reading JSON


@given(JSON)
def test_strict_json_is_read_without_a_flaw(value: Any) -> None:
    """Any document that strict JSON allows is read as it is."""
    body = orjson.dumps(value)
    assert parse(body) == (orjson.loads(body), "")


@given(st.binary(max_size=40) | st.text(max_size=40).map(lambda text: f'{{"a":"{text}"}}'.encode()))
def test_any_bytes_are_json_or_a_bad_answer(body: bytes) -> None:
    """Any bytes are a document that can be serialised, or a BadAnswer."""
    with suppress(BadAnswer):
        json.dumps(parse(body).value, ensure_ascii=False).encode()


@given(st.binary(), st.binary(min_size=1).filter(lambda tail: tail.strip(b" \t\r\n") != b""))
def test_an_incomplete_document_is_a_bad_answer(text: bytes, rest: bytes) -> None:
    """A document that is cut off or followed by other bytes is not accepted."""
    whole = orjson.dumps({"list": [{"text": text.hex()}]})
    for broken in (whole[:-1], whole[: len(whole) // 2], whole + rest):
        with pytest.raises(BadAnswer):
            parse(broken)


@pytest.mark.parametrize(
    ("body", "value", "flaw"),
    [
        (b'{"a":"x\x01\n"}', {"a": "x\x01\n"}, "control character"),
        (b'{"a":"x\xff"}', {"a": "x\ufffd"}, "broken UTF-8"),
        (b'{"a":"\\ud800"}', {"a": "?"}, "surrogate"),
        (b'{"a":"\\ud800\x01\xff"}', {"a": "?\x01\ufffd"}, "broken UTF-8"),
        (b"\xef\xbb\xbf{}", {}, "BOM"),
        (b'{"a":1e400}', {"a": math.inf}, "infinity"),
        ('{"a":"\u597d"}'.encode("gbk"), {"a": "\ufffd\ufffd"}, "broken UTF-8"),
    ],
)
def test_known_flaws_of_wechat_are_read_and_named(body: bytes, value: object, flaw: str) -> None:
    """Control characters and broken texts are read, and the flaw names them."""
    parsed = parse(body)
    assert parsed.value == value
    assert flaw in parsed.flaw


def test_nan_is_read_as_a_float_with_a_flaw() -> None:
    """NaN is not JSON, but the answer is complete: it spoils its row and not the answer."""
    parsed = parse(b'{"a":NaN}')
    assert math.isnan(parsed.value["a"])
    assert parsed.flaw


def test_a_document_nested_too_deep_is_a_bad_answer() -> None:
    """Deep nesting does not overflow the stack, and the error has no part of the body."""
    with pytest.raises(BadAnswer, match="not one whole JSON document") as caught:
        parse(b"[" * 100_000 + b"]" * 100_000)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


# Answers to data calls


@pytest.mark.parametrize(
    "body",
    [
        b'{"list":[]}',
        b'{"list":[{"ref_date":"2024-01-01"}]}',
        b'{"list":[],"is_delay":false}',
        b'{"errcode":0,"errmsg":"ok","list":[]}',
        b'{"errcode":"0","list":[]}',
        b'{"errcode":null,"list":[]}',
        b'{"list":[{"title":"\x01\xff"}]}',
    ],
)
def test_a_list_is_a_success(body: bytes) -> None:
    """An answer with a list, and with no errcode or 0, is rows, flawed or not."""
    assert refusal_of(200, body) is None


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b'{"errcode":45009,"errmsg":"reach max"}', (45009, "reach max", "")),
        (b'{"errcode":"40001","errmsg":"x"}', (40001, "x", "")),
        (b'{"errcode":-1}', (-1, "", "")),
        (b'{"errcode":48001.0,"errmsg":null}', (48001, "", "")),
        (b'{"errcode":61503,"errmsg":"not ready","list":[]}', (61503, "not ready", "")),
        (b'{"list":[],"errcode":45009,"errmsg":"reach max","more":[]}', (45009, "reach max", "")),
        (
            b'{"errcode":48001,"errmsg":"api unauthorized rid: 6371b685-50ea5c73-12ae17eb"}',
            (48001, "api unauthorized", "6371b685-50ea5c73-12ae17eb"),
        ),
        (
            b'{"errcode":61501,"errmsg":"date range error hint: [43R2TA0767e541]"}',
            (61501, "date range error", "43R2TA0767e541"),
        ),
        (b'{"errcode":-1,"errmsg":"broken \xff\x01"}', (-1, "broken \\ufffd\\x01", "")),
    ],
)
def test_an_errcode_is_a_refusal(body: bytes, refusal: tuple[int, str, str]) -> None:
    """An errcode, also one in quotes, comes with its message and the id to ask WeChat about."""
    found = refusal_of(200, body)
    assert found is not None
    assert (found.errcode, found.rid) == (refusal[0], refusal[2])
    assert found.errmsg == refusal[1].replace("\\ufffd", "\ufffd")


@pytest.mark.parametrize(
    "body",
    [
        b'{"list":[],"errmsg":"system error rid: 6371b685-50ea5c73-12ae17eb"}',
        b'{"errcode":0,"errmsg":"system error","list":[]}',
        b'{"list":[],"ErrMsg":"system error"}',
    ],
)
def test_an_empty_list_beside_words_of_failure_is_a_failure(body: bytes) -> None:
    """It is no empty day. The error has the words, without the id that is new each time."""
    with pytest.raises(SaidFailure) as caught:
        refusal_of(200, body)
    assert str(caught.value) == "no rows, and an errmsg: system error"


def test_no_field_of_a_refusal_shows_a_secret() -> None:
    """Neither the message nor the id, whether the secret is known or only looks like one."""
    Secret("the-known-secret-of-it")
    for rid, shown in (
        ("the-known-secret-of-it", "***"),
        (f"97_{'aB3x' * 10}", "***"),
        ("a1!", "a1!"),
    ):
        found = refusal_of(200, f'{{"errcode":1,"errmsg":"no {rid} hint: [{rid}]"}}'.encode())
        assert found == Refusal(1, f"no {shown}", shown)


@pytest.mark.parametrize("code", ["10000000000", "-123456789012", '"0123456789012345678901"'])
def test_digits_that_may_be_of_a_secret_are_no_errcode(code: str) -> None:
    """An errcode has seven digits at most; a long one is not repeated anywhere."""
    with pytest.raises(BadAnswer, match="the errcode is not a number"):
        refusal_of(200, f'{{"errcode":{code}}}'.encode())


@pytest.mark.parametrize("status", [404, 412])
def test_a_wrong_path_is_a_refusal(status: int) -> None:
    """HTTP 404 and 412 are refusals, because repeating cannot change them."""
    assert refusal_of(status, b"<html>") == Refusal(status, f"HTTP {status}", "")
    assert grant_of(status, b"") == Refusal(status, f"HTTP {status}", "")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (502, b"<html>", "HTTP 502"),
        (500, b'{"errcode":-1}', "HTTP 500"),
        (204, b'{"list":[]}', "HTTP 204"),
        (200, b"", "an empty body"),
        (200, b" \r\n", "an empty body"),
        (200, b"<!DOCTYPE html><title>Sign in</title>", "HTML instead of JSON"),
        (200, b"{}", "neither a list nor an errcode"),
        (200, b'{"list":null}', "neither a list nor an errcode"),
        (200, b'{"list":{}}', "neither a list nor an errcode"),
        (200, b'{"errcode":0,"errmsg":"ok"}', "neither a list nor an errcode"),
        (200, b'{"errmsg":"system error"}', "neither a list nor an errcode"),
        (200, b"[]", "not an object"),
        (200, b"null", "not an object"),
        (200, b'{"errcode":"soon"}', "the errcode is not a number"),
        (200, b'{"errcode":true,"list":[]}', "the errcode is not a number"),
        (200, b'{"errcode":{},"list":[]}', "the errcode is not a number"),
        (200, b'{"errcode":1.5}', "the errcode is not a number"),
        (200, b'{"errcode":1e400}', "the errcode is not a number"),
        (200, b'{"list":[', "not one whole JSON document"),
        (200, b'{"list":[]}{"list":[]}', "not one whole JSON document"),
    ],
)
def test_anything_else_is_a_bad_answer(status: int, body: bytes, words: str) -> None:
    """An answer that is neither rows nor a refusal is never taken for an empty day."""
    with pytest.raises(BadAnswer, match=words):
        refusal_of(status, body)


def test_a_refusal_reads_as_one_line() -> None:
    """Its text is the code, the message and the rid."""
    assert str(Refusal(-1, "system error", "")) == "-1 system error"
    assert str(Refusal(40164, "invalid ip", "1-2-3")) == "40164 invalid ip (rid 1-2-3)"


# Messages

TOKEN = "72_" + "aB3_-x9" * 22


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist", None),
        ("access_token is invalid, could get access_token by getStableAccessToken", None),
        ("more details at https://mmbizurl.cn/s/JtxxFh33r", None),
        ("access_token=abc&x=1", "access_token=***&x=1"),
        ('{"access_token": "abc"}', '{"access_token": "***"}'),
        ("secret=0123456789abcdef0123456789abcdef", "secret=***"),
        ("invalid appsecret 0123456789abcdef0123456789ABCDEF!", "invalid appsecret ***!"),
        (f"token {TOKEN} expired", "token *** expired"),
        ("component_verify_ticket:ticket@@@x y", "component_verify_ticket:*** y"),
        ("\x1b[2Jred\r\n", "\\x1b[2Jred\\r\\n"),
        ("\u202egnorw", "\\u202egnorw"),
        ("\ud800", "\\ud800"),
        ("\u516c\u4f17\u53f7", None),
    ],
)
def test_a_message_is_safe_to_print(text: str, safe: str | None) -> None:
    """Secrets are masked and control characters escaped; all else stays as it is."""
    assert safe_text(text) == (text if safe is None else safe)


@given(st.text(), st.integers(0, 5000), st.text())
def test_a_token_is_never_shown_in_part(before: str, padding: int, after: str) -> None:
    """Wherever a message is cut, no part of a token is left."""
    shown = safe_text(f"{before}{'. ' * padding}{TOKEN} {after}")
    assert "aB3_-x9" not in shown


@given(st.text(st.characters()), st.integers(1, 400))
def test_a_message_is_short_and_printable(text: str, longest: int) -> None:
    """It has at most the requested length, and nothing invisible but blanks and joiners."""
    shown = safe_text(text * 20, longest)
    assert len(shown) <= longest
    kinds = {unicodedata.category(character) for character in set(shown) - {"\u200c", "\u200d"}}
    assert not kinds & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def test_a_long_message_is_cut() -> None:
    """A refusal's message has 300 characters at most, the last of them an ellipsis."""
    refusal = refusal_of(200, orjson.dumps({"errcode": 1, "errmsg": "no " * 1_000_000}))
    assert refusal is not None
    assert len(refusal.errmsg) == 300
    assert refusal.errmsg.endswith("…")


# Tokens


@pytest.mark.parametrize(
    ("life", "seconds"),
    [
        ("7200", 7200),
        ("345", 345),
        ('"345"', 345),
        ("345.0", 345),
        ("0", 0),
        ("-1", 0),
        ("1e9", 7200),
        ("1e999", 0),
        ("NaN", 0),
        ('"soon"', 0),
        ("null", 0),
        ("true", 0),
        ("[]", 0),
    ],
)
def test_a_token_s_life_is_between_zero_and_two_hours(life: str, seconds: int) -> None:
    """An invalid life counts as 0, and a longer one as two hours."""
    answer = f'{{"access_token":"t","expires_in":{life}}}'.encode()
    assert grant_of(200, answer) == Grant(Secret("t"), seconds)


def test_a_long_odd_token_is_kept_whole() -> None:
    """A token is taken as it is, whatever its length and characters."""
    token = "%+/=_-" * 100
    granted = grant_of(200, orjson.dumps({"access_token": token}))
    assert isinstance(granted, Grant)
    assert granted.token.reveal() == token
    assert token not in repr(granted)


def test_a_refused_token_is_a_refusal() -> None:
    """The token endpoint's errcode comes with its message."""
    body = b'{"errcode":40125,"errmsg":"invalid appsecret rid: 654df33c-64386a2f-2"}'
    assert grant_of(200, body) == Refusal(40125, "invalid appsecret", "654df33c-64386a2f-2")


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"access_token":""}',
        b'{"access_token":["canary"]}',
        b'{"access_token":"canary","expires_in":7200',
        b'{"errcode":0,"token":"canary"}',
        b"canary",
    ],
)
def test_a_broken_token_answer_is_not_quoted(body: bytes) -> None:
    """The error has no part of an answer that may hold a token."""
    with pytest.raises(BadAnswer) as caught:
        grant_of(200, body)
    assert "canary" not in "".join(traceback.format_exception(caught.value, chain=True))


@pytest.mark.parametrize(
    ("rows", "another"),
    [
        ([], False),
        (["2024-01-02"], False),
        (["2024-01-01", "2024-01-02"], False),
        (["2024-01-05"], True),
        (["2024-01-05", "2024-01-06"], True),
        (["2023-12-31", "2024-01-01"], False),
        (["2024-01-02", "2024-01-05"], False),
        (["soon"], False),
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", " : ")])
def test_an_answer_whose_rows_all_lie_outside_answers_another_window(
    rows: list[str], separators: tuple[str, str], *, another: bool
) -> None:
    """A few stray rows beside those that were asked for are dropped later, and no sign of it."""
    first, last = parse_day("2024-01-01"), parse_day("2024-01-03")
    window = Window("wx0000000000000001", "interface_summary", first, last)
    answer = {"list": [{"ref_date": day, "callback_count": 1} for day in rows]}
    body = json.dumps(answer, separators=separators).encode()
    assert answers_another_window(window, body) is another
