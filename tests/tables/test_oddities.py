"""Oddities: totals that fall, shares above their maximum, marks that are not known."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import day_text, instant, parse_day
from harvester.core.model import MAX_ODDITIES, OddityKind, RawAnswer, Window
from harvester.sandbox.data import expected_rows
from harvester.tables.day_rows import Oddity
from harvester.tables.decode_batch import BatchResult, batch_decoder
from harvester.tables.row_groups import Provenance
from tests.support.answers import appid

DETAIL = CATALOGUE["article_total_detail"]
DAY = parse_day("2026-03-02")
FALL, ABOVE = OddityKind.FALLING_TOTAL, OddityKind.ABOVE_MAXIMUM
STAMP = Provenance(0, "run")


def entry(number: int, **more: Any) -> dict[str, Any]:
    """The statistics of an article on its ``number``-th day, all of them 1."""
    found: dict[str, Any] = {column.name: 1 for column in DETAIL.columns if column.nested}
    lists: dict[str, Any] = {"read_user_source": [], "read_jump_position": []}
    return {**found, **lists, "stat_date": day_text(DAY + number), **more}


def article(*entries: dict[str, Any], msgid: str = "1_1") -> dict[str, Any]:
    """An element of article_total_detail."""
    own = {"ref_date": day_text(DAY), "msgid": msgid, "publish_type": 0}
    return {**own, "detail_list": list(entries)}


def answer(number: int, *elements: dict[str, Any], **top: Any) -> RawAnswer:
    """An answer to an account."""
    window = Window(appid(number), DETAIL.name, DAY, DAY)
    body = json.dumps({"list": elements, **top}).encode()
    return RawAnswer(window, int(instant(DAY + 40)), 0, body)


def decoded(*answers: RawAnswer) -> Sequence[BatchResult]:
    """Decode answers in one batch."""
    return list(batch_decoder(DETAIL)([(each, STAMP) for each in answers]))


def test_a_total_that_falls_is_told_with_its_place() -> None:
    """The first fall of each column, with the numbers and the day of the smaller one."""
    days = [entry(0, read_user=1200), entry(1, read_user=90), entry(2, read_user=8)]
    [found] = decoded(answer(1, article(*days)))
    assert found.oddities == (Oddity(FALL, "read_user", "from 1,200 to 90 on 2026-03-03"),)
    assert len(found.days) == 1


def test_only_what_cannot_be_taken_back_counts() -> None:
    """Likes, favourites and comments may be withdrawn, so their fall says nothing."""
    names = {column.name for column in DETAIL.columns if column.is_total}
    assert names == {"read_user", "share_user", "praise_money", "read_subscribe_user"}
    for column in DETAIL.columns:
        if column.nested and column.kind.value == "int64":
            [found] = decoded(answer(1, article(entry(0), entry(1, **{column.name: 0}))))
            assert [odd.name for odd in found.oddities] == [column.name] * (column.name in names)


def test_other_articles_accounts_and_answers_are_other_series() -> None:
    """A number that is smaller than that of another article, account or answer is no fall."""
    many, few = entry(0, read_user=9), entry(0, read_user=1)
    found = decoded(
        answer(1, article(many), article(few, msgid="1_2")),
        answer(2, article(few)),
        answer(2, article(few)),
        answer(3, article(many)),
        answer(3, article(few)),
    )
    assert [each.oddities for each in found] == [()] * 5


def test_the_odd_answer_is_told_from_its_neighbours() -> None:
    """Of the answers of a batch the odd ones alone have oddities, also on the strict path."""
    falls = article(entry(0, read_user=2), entry(1, read_user=1, undeclared=1))
    found = decoded(
        answer(1, article(entry(0))),
        answer(2),
        answer(3, falls),
        answer(4, article()),
        answer(5, article(entry(0, read_finish_rate=63.04))),
    )
    assert [[odd.name for odd in each.oddities] for each in found] == [
        [],
        [],
        ["read_user"],
        [],
        ["read_finish_rate"],
    ]
    assert [len(each.without_rows) for each in found] == [0, 0, 0, 1, 0]


def test_shares_above_one() -> None:
    """A rate that WeChat documents as a share, also within a list; exactly 1 is one."""
    jumps = [{"position": 1, "rate": 0.5}, {"position": 2, "rate": 50.5}]
    odd = entry(0, read_delivery_rate=1.5, read_avg_activetime=7.5, read_jump_position=jumps)
    [found] = decoded(answer(1, article(odd)))
    assert set(found.oddities) == {
        Oddity(ABOVE, "read_delivery_rate", "1.5"),
        Oddity(ABOVE, "read_jump_position[].rate", "50.5"),
    }
    [whole] = decoded(answer(1, article(entry(0, read_finish_rate=1.0))))
    assert whole.oddities == ()


def test_missing_numbers_are_no_fall() -> None:
    """A null before or after a number decides nothing."""
    days = [entry(0, read_user=9), entry(1, read_user=None), entry(2, read_user=3)]
    [found] = decoded(answer(1, article(*days)))
    assert [odd.kind for odd in found.oddities] == [OddityKind.MISSING_COUNT]
    assert found.missing == {"detail_list.read_user"}


def test_a_mark_and_a_fall_are_told_together() -> None:
    """Oddities of the answer as a whole stay beside those of its rows."""
    days = [entry(0, read_user=2), entry(1)]
    [found] = decoded(answer(1, article(*days), is_delay=0))
    assert [odd.kind for odd in found.oddities] == [OddityKind.UNKNOWN_MARK, FALL]


numbers = st.lists(st.integers(0, 3) | st.none(), min_size=1, max_size=4)


@pytest.mark.long
@settings(max_examples=200)
@given(st.lists(st.lists(numbers, min_size=1, max_size=3), min_size=1, max_size=4))
def test_the_columns_agree_with_a_loop(answers: list[list[list[int | None]]]) -> None:
    """For any accounts, articles and numbers the falls are those that a loop over rows finds."""
    found = decoded(
        *(
            answer(
                number,
                *(
                    article(
                        *(entry(day, read_user=readers) for day, readers in enumerate(readers_of)),
                        msgid=f"1_{place}",
                    )
                    for place, readers_of in enumerate(articles)
                ),
            )
            for number, articles in enumerate(answers)
        )
    )
    for articles, each in zip(answers, found, strict=True):
        falls = any(
            before is not None and after is not None and after < before
            for readers in articles
            for before, after in itertools.pairwise(readers)
        )
        assert any(odd.kind is FALL for odd in each.oddities) == falls


@pytest.mark.parametrize("dataset", CATALOGUE.values(), ids=lambda each: each.name)
def test_what_the_sandbox_answers_is_not_odd(dataset: Any) -> None:
    """The emulator's totals rise and its shares are shares; flat datasets have neither."""
    members = [each for column in dataset.columns for each in (column, *column.fields)]
    is_checked = any(each.is_total or each.maximum is not None for each in members)
    assert is_checked == (dataset.name == DETAIL.name)
    first = parse_day("2026-01-05")
    answers = [
        RawAnswer(
            Window(appid(number), dataset.name, first, first),
            int(instant(first + 400)),
            0,
            json.dumps({"list": expected_rows(dataset.name, appid(number), first)}).encode(),
        )
        for number in range(1, 9)
    ]
    found = list(batch_decoder(dataset)([(each, STAMP) for each in answers]))
    assert {each.oddities for each in found} == {()}


def test_so_many_oddities_are_kept() -> None:
    """A mark may have another value in each answer; the limit is small and not zero."""
    assert 4 < MAX_ODDITIES < 100
