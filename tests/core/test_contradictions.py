"""Contradictions of an answer: each has one verdict."""

from __future__ import annotations

from typing import Any

import pytest

from harvester.core.contradictions import Seen, Verdict, contradictions, failure_in
from harvester.core.model import OddityKind

ROWS = [{"ref_date": "2024-03-01"}] * 5

QUIET: list[dict[str, Any]] = [
    {},
    {"is_delay": True},
    {"errcode": 0, "errmsg": "ok"},
    {"errcode": "0", "errmsg": "OK "},
    {"errMsg": "success"},
    {"errmsg": None},
    {"has_more": False, "next_page": 0, "next_cursor": ""},
    {"total": 5, "total_count": 5, "TotalNum": 5, "count": 5},
]


@pytest.mark.parametrize("members", QUIET)
def test_what_agrees_with_the_rows_is_no_contradiction(members: dict[str, Any]) -> None:
    """Nor is what WeChat declares, and what other APIs of it send with each answer."""
    assert not [*contradictions({"list": ROWS, **members}, Seen())]


@pytest.mark.parametrize(
    ("name", "value", "verdict"),
    [
        ("has_more", True, Verdict.QUARANTINED),
        ("has_more", "maybe", Verdict.QUARANTINED),
        ("next_cursor", "b2", Verdict.QUARANTINED),
        ("total", 7, Verdict.QUARANTINED),
        ("total", 0, Verdict.QUARANTINED),
        ("totalCount", 7, Verdict.QUARANTINED),
        ("TOTAL_NUM", 4, Verdict.QUARANTINED),
        ("total", "7", Verdict.OPEN),
        ("hasMore", True, Verdict.OPEN),
        ("nextPage", 2, Verdict.OPEN),
        ("cursor", "b2", Verdict.OPEN),
        ("partial", 1, Verdict.OPEN),
        ("count", 7, Verdict.OPEN),
        ("Count", 0, Verdict.OPEN),
        ("ErrCode", -1, Verdict.OPEN),
        ("errmsg", "system error", Verdict.OPEN),
        ("ERR_MSG", {"code": 1}, Verdict.OPEN),
        ("is_end", False, Verdict.OPEN),
        ("isEnd", 0, Verdict.OPEN),
        ("complete", "false", Verdict.OPEN),
        ("novel", [1], Verdict.OPEN),
        ("isDelay", True, Verdict.OPEN),
        ("is_end", True, Verdict.NOTED),
        ("hasMore", False, Verdict.NOTED),
        ("cursor", "", Verdict.NOTED),
        ("partial", 0, Verdict.NOTED),
        ("ErrCode", 0, Verdict.NOTED),
        ("novel", [], Verdict.NOTED),
    ],
)
def test_a_member_beside_the_list_has_one_verdict(name: str, value: Any, verdict: Verdict) -> None:
    """In any spelling: more pages, another total, a doubt, or just a name to tell."""
    [found] = contradictions({"list": ROWS, name: value}, Seen())
    assert (found.verdict, found.name) == (verdict, name)
    is_noted = verdict is Verdict.NOTED
    assert (found.kind is OddityKind.BESIDE_LIST) is is_noted


@pytest.mark.parametrize("name", ["errmsg", "errMsg", "err_msg"])
def test_words_beside_an_empty_list_are_a_failure(name: str) -> None:
    """Unless they say that all is well, or nothing."""
    assert failure_in({"list": [], name: "system error"}) == name
    assert failure_in({"list": [], name: "ok"}) is None
    assert failure_in({"list": [], name: ""}) is None
    assert failure_in({"list": ROWS, name: "system error"}) is None
    assert failure_in({"list": [], "cursor": "b2"}) is None


def test_what_a_decoder_saw_has_a_verdict_too() -> None:
    """A name twice, rows of other days, counts without a value, and a cache."""
    found = contradictions({"list": ROWS}, Seen("a", 2, ["b"], 3_600))
    assert [(each.verdict, each.text) for each in found] == [
        (Verdict.QUARANTINED, "a: a name that comes twice in an object"),
        (Verdict.QUARANTINED, "rows lie outside the window"),
        (Verdict.OPEN, "is missing in rows"),
        (Verdict.OPEN, "of a cache is 3,600 s"),
    ]
    [every] = contradictions({"list": ROWS}, Seen(outside=5))
    assert every.text == "every row lies outside the window"
