"""Articles: four datasets with the same readers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harvester.core.calendar import day_text, parse_day
from harvester.sandbox.data import Row, expected_rows
from tests.support.sandboxes import BUSY, QUIET

BEGIN = parse_day("2025-11-01")

appids = st.integers(0, 2**64 - 1).map(lambda number: f"wx{number:016x}")
days = st.integers(BEGIN, BEGIN + 2_000)
quickly = settings(max_examples=15)


def scenes(detail: Row) -> dict[str, int]:
    """Readers by scene."""
    return {source["scene_desc"]: source["user_count"] for source in detail["read_user_source"]}


def details(dataset: str, appid: str, day: int) -> dict[str, Any]:
    """The nested members by msgid."""
    return {row["msgid"]: row["detail"] for row in expected_rows(dataset, appid, day)}


def totals(appid: str, day: int) -> list[Row]:
    """The articles published on a day, with their statistics."""
    return expected_rows("article_total_detail", appid, day)


def test_accounts_publish_now_and_then() -> None:
    """A busy account has something new on most days, a quiet one on few."""
    year = range(BEGIN, BEGIN + 180)
    busy, quiet = ([day for day in year if totals(appid, day)] for appid in (BUSY, QUIET))
    assert 0 < len(quiet) < 15
    assert len(busy) > 100


def test_msgids_are_unique() -> None:
    """No two articles share a msgid; the message's id leaves 32 bits, places count from 1."""
    year = range(BEGIN, BEGIN + 120)
    msgids = [row["msgid"] for day in year for row in totals(BUSY, day)]
    assert len(set(msgids)) == len(msgids)
    places: dict[str, list[int]] = {}
    for mid, _, place in (msgid.partition("_") for msgid in msgids):
        assert int(mid) > 2**31
        places.setdefault(mid, []).append(int(place))
    assert all(found == list(range(1, len(found) + 1)) for found in places.values())
    assert max(map(len, places.values())) > 2


def test_some_articles_come_without_notice() -> None:
    """Most articles are published with a notification, which is type 0, and some without."""
    year = range(BEGIN, BEGIN + 120)
    types = [row["publish_type"] for day in year for row in totals(BUSY, day)]
    assert types.count(0) > types.count(1) > 0


@given(appids, days)
@quickly
def test_an_article_is_counted_for_thirty_days(appid: str, day: int) -> None:
    """Each article has an entry for each of its 30 days, and its numbers only grow."""
    for row in totals(appid, day):
        entries = row["detail_list"]
        assert [entry["stat_date"] for entry in entries] == [day_text(day + n) for n in range(30)]
        counts = [name for name in entries[0] if name.endswith(("_user", "_count", "_money"))]
        for before, after in pairwise(entries):
            assert all(before[name] <= after[name] for name in counts)


@given(appids, days)
@quickly
def test_everywhere_is_the_sum_of_scenes(appid: str, day: int) -> None:
    """The scene 全部 is read_user and the sum of the others, in every dataset that has scenes."""
    found = [entry for row in totals(appid, day) for entry in row["detail_list"]]
    found += details("article_read", appid, day).values()
    found += [row["detail"] for row in expected_rows("biz_summary", appid, day)]
    for detail in found:
        readers = scenes(detail)
        everywhere = readers.pop("全部", 0)
        assert everywhere == detail["read_user"] == sum(readers.values())


@given(appids, days)
@quickly
def test_days_add_up_to_the_total(appid: str, day: int) -> None:
    """The daily readers and sharers of an article add up to its last total."""
    published = totals(appid, day)
    assume(published)
    read = [details("article_read", appid, day + n) for n in range(30)]
    shared = [details("article_share", appid, day + n) for n in range(30)]
    for row in published:
        last, msgid = row["detail_list"][-1], row["msgid"]
        assert last["read_user"] == sum(d[msgid]["read_user"] for d in read if msgid in d)
        assert last["share_user"] == sum(d[msgid]["share_user"] for d in shared if msgid in d)


@given(appids, days)
@quickly
def test_the_account_summary_fits_its_articles(appid: str, day: int) -> None:
    """The account's readers are at least its best article's and at most those of all."""
    read = [detail["read_user"] for detail in details("article_read", appid, day).values()]
    shared = [detail["share_user"] for detail in details("article_share", appid, day).values()]
    for row in expected_rows("biz_summary", appid, day):
        detail = row["detail"]
        assert max(read, default=0) <= detail["read_user"] <= sum(read)
        assert max(shared, default=0) <= detail["share_user"] <= sum(shared)
        assert detail["send_page_count"] == len(totals(appid, day))


def test_rates_are_shares_with_seven_digits() -> None:
    """Rates are shares of one with seven digits, and readers leave somewhere."""
    entries = [
        entry
        for day in range(BEGIN, BEGIN + 20)
        for row in totals(BUSY, day)
        for entry in row["detail_list"]
    ]
    for entry in entries:
        assert 0 < entry["read_delivery_rate"] < 1
        assert 0 < entry["read_finish_rate"] < 1
        assert 0 < entry["read_avg_activetime"] < 5
        left = {jump["position"]: jump["rate"] for jump in entry["read_jump_position"]}
        assert list(left) == [1, 2, 3, 4, 5]
        assert sum(left.values()) == pytest.approx(1)
        assert all(round(rate, 7) == rate for rate in left.values())


def test_unread_articles_have_zeros() -> None:
    """An article without readers has rates of 0, without a point, and no positions."""
    unread = [
        entry
        for day in range(BEGIN, BEGIN + 400)
        for row in totals(QUIET, day)
        for entry in row["detail_list"]
        if not entry["read_user"]
    ]
    assert unread
    for entry in unread:
        assert type(entry["read_finish_rate"]) is int
        assert (entry["read_user_source"], entry["read_jump_position"]) == ([], [])


@pytest.mark.parametrize(
    "dataset", ["article_read", "article_share", "biz_summary", "article_total_detail"]
)
def test_articles_begin_in_2025(dataset: str) -> None:
    """The endpoints have nothing of the days before 2025-11-01, for all that happened."""
    assert not any(expected_rows(dataset, BUSY, day) for day in range(BEGIN - 30, BEGIN))
    assert any(expected_rows(dataset, BUSY, day) for day in range(BEGIN, BEGIN + 30))


def test_titles_have_special_characters() -> None:
    """Titles have what titles have: quotes, ampersands and signs beyond the first plane."""
    titles = "".join(row["title"] for day in range(BEGIN, BEGIN + 90) for row in totals(BUSY, day))
    assert {'"', "&", "🎁", "「"} <= set(titles)
