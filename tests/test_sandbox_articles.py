"""Articles: ten datasets, old and new, that tell of the same readers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harvester.days import day_text, parse_day
from harvester.sandbox import Row, truth
from tests.sandboxes import BUSY, QUIET

BEGIN = parse_day("2025-11-01")

appids = st.integers(0, 2**64 - 1).map(lambda number: f"wx{number:016x}")
days = st.integers(BEGIN, BEGIN + 2_000)
quickly = settings(max_examples=40)

SCENES_OF_OLD = {
    "公众号消息": 0,
    "聊天会话": 1,
    "朋友圈": 2,
    "公众号主页": 4,
    "其他": 5,
    "推荐": 6,
    "搜一搜": 7,
}


def scenes(detail: Row) -> dict[str, int]:
    """Readers by scene."""
    return {source["scene_desc"]: source["user_count"] for source in detail["read_user_source"]}


def details(dataset: str, appid: str, day: int) -> dict[str, Any]:
    """The nested members by msgid."""
    return {row["msgid"]: row["detail"] for row in truth(dataset, appid, day)}


def totals(appid: str, day: int) -> list[Row]:
    """The articles published on a day, with their statistics."""
    return truth("article_total_detail", appid, day)


def test_accounts_publish_now_and_then() -> None:
    """A busy account has something new on most days, a quiet one on few."""
    year = range(BEGIN, BEGIN + 365)
    busy, quiet = ([day for day in year if totals(appid, day)] for appid in (BUSY, QUIET))
    assert 0 < len(quiet) < 30
    assert len(busy) > 200


def test_msgids_are_told_apart() -> None:
    """No two articles share a msgid; the message's id leaves 32 bits, places count from 1."""
    year = range(BEGIN, BEGIN + 365)
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
    year = range(BEGIN, BEGIN + 365)
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
    found += [row["detail"] for row in truth("biz_summary", appid, day)]
    for detail in found:
        readers = scenes(detail)
        everywhere = readers.pop("全部", 0)
        assert everywhere == detail["read_user"] == sum(readers.values())


@given(appids, days)
@quickly
def test_days_add_up_to_the_total(appid: str, day: int) -> None:
    """What the days tell of an article's readers and sharers adds up to its last total."""
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
def test_the_account_is_its_articles(appid: str, day: int) -> None:
    """The account's readers are at least its best article's and at most those of all."""
    read = [detail["read_user"] for detail in details("article_read", appid, day).values()]
    shared = [detail["share_user"] for detail in details("article_share", appid, day).values()]
    for row in truth("biz_summary", appid, day):
        detail = row["detail"]
        assert max(read, default=0) <= detail["read_user"] <= sum(read)
        assert max(shared, default=0) <= detail["share_user"] <= sum(shared)
        assert detail["send_page_count"] == len(totals(appid, day))


def test_rates_are_what_their_names_say() -> None:
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
    """An article that nobody has read has rates of 0, without a point, and no positions."""
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
def test_new_articles_begin_in_2025(dataset: str) -> None:
    """The newer endpoints have nothing of the days before 2025-11-01, for all that happened."""
    assert not any(truth(dataset, BUSY, day) for day in range(BEGIN - 30, BEGIN))
    assert any(truth(dataset, BUSY, day) for day in range(BEGIN, BEGIN + 30))


@given(appids, days)
@quickly
def test_both_generations_saw_the_same_readers(appid: str, day: int) -> None:
    """An article's readers of a day are as many by the old endpoint as by the new one."""
    new = details("article_read", appid, day)
    for row in truth("article_summary", appid, day):
        detail = new.get(row["msgid"], {"read_user": 0})
        assert row["int_page_read_user"] == detail["read_user"]


@given(appids, days)
@quickly
def test_old_totals_run_for_a_week(appid: str, day: int) -> None:
    """Each article has seven cumulative entries, whose places of reading add up."""
    for row in truth("article_total", appid, day):
        dates = [detail["stat_date"] for detail in row["details"]]
        assert dates == [day_text(day + n) for n in range(7)]
        for detail in row["details"]:
            for what in ("user", "count"):
                places = [
                    value
                    for name, value in detail.items()
                    if name.startswith("int_page_from") and name.endswith(what)
                ]
                assert detail[f"int_page_read_{what}"] == sum(places)
        for before, after in pairwise(row["details"]):
            assert all(before[name] <= after[name] for name in before if name != "stat_date")


def test_old_summaries_forget_after_a_week() -> None:
    """An article is listed on at most seven days, and only if there is anything to tell."""
    found: dict[str, list[int]] = {}
    for day in range(BEGIN, BEGIN + 60):
        for row in truth("article_summary", BUSY, day):
            found.setdefault(row["msgid"], []).append(day)
            assert sum(value for name, value in row.items() if name.endswith("_count")) >= 3
    assert max(max(listed) - min(listed) for listed in found.values()) == 6


@given(appids, days)
@quickly
def test_sources_add_up_to_everywhere(appid: str, day: int) -> None:
    """In user_read the source 99999999 counts what all other sources count, hour by hour too."""
    for dataset in ("user_read", "user_read_hour"):
        by_hour: dict[int, dict[int, int]] = {}
        for row in truth(dataset, appid, day):
            hour = by_hour.setdefault(row.get("ref_hour", 0), {})
            hour[row["user_source"]] = row["int_page_read_count"]
        for sources in by_hour.values():
            assert sources.pop(99_999_999) == sum(sources.values())
            assert set(sources) <= set(SCENES_OF_OLD.values())


@given(appids, days)
@quickly
def test_old_hours_add_up(appid: str, day: int) -> None:
    """Reads and shares of the hours are those of the day; nobody does it more often than all."""
    for dataset, member, key in (
        ("user_read", "int_page_read", "user_source"),
        ("user_share", "share", "share_scene"),
    ):
        hours = truth(f"{dataset}_hour", appid, day)
        for row in truth(dataset, appid, day):
            same = [hour for hour in hours if hour[key] == row[key]]
            assert row[f"{member}_count"] == sum(hour[f"{member}_count"] for hour in same)
            assert all(hour[f"{member}_user"] <= hour[f"{member}_count"] for hour in same)
            assert row[f"{member}_user"] <= row[f"{member}_count"]


@given(appids, days)
@quickly
def test_shares_are_counted_once(appid: str, day: int) -> None:
    """The shares of user_share are those of user_read's last row."""
    *_, everywhere = truth("user_read", appid, day) or [{"share_count": 0}]
    shares = sum(row["share_count"] for row in truth("user_share", appid, day))
    assert everywhere["share_count"] == shares


def test_members_went_missing_in_2020() -> None:
    """Since March 2020 the rows of Top Stories and search lack what was tapped further on."""

    def lacking(day: str) -> set[int]:
        rows = truth("user_read", BUSY, parse_day(day))
        return {row["user_source"] for row in rows if "ori_page_read_user" not in row}

    assert (lacking("2020-02-27"), lacking("2020-02-29"), lacking("2020-03-01")) == (
        set(),
        set(),
        {6, 7},
    )


def test_titles_are_not_plain() -> None:
    """Titles have what titles have: quotes, ampersands and signs beyond the first plane."""
    titles = "".join(row["title"] for day in range(BEGIN, BEGIN + 90) for row in totals(BUSY, day))
    assert {'"', "&", "🎁", "「"} <= set(titles)
