"""Rows of the four datasets of articles, by scene and with rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harvester.core.calendar import Day, day_text
from harvester.sandbox.data import publication
from harvester.sandbox.data.account import Row, overlap, split

ALL = "全部"
SCENES = ("公众号消息", "聊天会话", "朋友圈", "公众号主页", "其他", "推荐", "搜一搜")
"""``scene_desc``: where articles are read. ALL precedes them and is their sum."""

_COUNTS = ("share_user", "zaikan_user", "like_user", "comment_count", "collection_user")
"""Counts that an account's day and an article's total have in common."""

_NEW_READERS = 800
"""Of 1024 readers of a further article, those who read no other article of the account that day."""


def read_rows(appid: str, day: Day) -> list[Row]:
    """Return a row for each article that was read on the day."""
    return [
        _row(article, _by_scene(figures.readers))
        for article, figures in _figures(appid, day)
        if any(figures.readers)
    ]


def share_rows(appid: str, day: Day) -> list[Row]:
    """Return a row for each article that was shared on the day."""
    return [
        _row(article, {"share_user": sharers})
        for article, figures in _figures(appid, day)
        if (sharers := figures.counts["share_user"])
    ]


def biz_rows(appid: str, day: Day) -> list[Row]:
    """Return the account's day in one row, or no row if nothing was read, done or published."""
    articles = [figures for _, figures in _figures(appid, day)]
    pages = len(publication.articles_of(appid, day))
    if not pages and not any(any((*each.readers, *each.counts.values())) for each in articles):
        return []
    names = (*_COUNTS, "redirect_ori_page_user")
    detail = {
        **_by_scene([_people([each.readers[n] for each in articles]) for n in range(len(SCENES))]),
        **{name: _people([each.counts[name] for each in articles]) for name in names},
        "comment_count": sum(each.counts["comment_count"] for each in articles),
        "send_page_count": pages,
    }
    return [{"detail": detail}]


def total_rows(appid: str, day: Day) -> list[Row]:
    """Return the articles published on a day, with cumulative figures for each day counted."""
    return [
        {
            "msgid": article.msgid,
            "publish_type": int(article.silent),
            "title": article.title,
            "content_url": article.url,
            "detail_list": [_detail(article, day + age) for age in range(publication.COUNTED_DAYS)],
        }
        for article in publication.articles_of(appid, day)
    ]


def _figures(appid: str, day: Day) -> list[tuple[publication.Article, publication.Figures]]:
    """Return each article that is still counted, with its figures of the day."""
    return [
        (article, article.figures_of(day))
        for published in range(day - publication.COUNTED_DAYS + 1, day + 1)
        for article in publication.articles_of(appid, published)
    ]


def _row(article: publication.Article, detail: dict[str, Any]) -> Row:
    return {"msgid": article.msgid, "detail": detail}


def _by_scene(readers: Sequence[int]) -> dict[str, Any]:
    """Return the readers in all and by scene; scenes without readers are left out."""
    total = sum(readers)
    scenes = [(ALL, total), *zip(SCENES, readers, strict=True)]
    return {
        "read_user": total,
        "read_user_source": [
            {"user_count": people, "scene_desc": scene} for scene, people in scenes if people
        ],
    }


def _people(parts: list[int]) -> int:
    """Return the number of distinct people; some of them did it with several articles."""
    return overlap(parts, _NEW_READERS)


def _detail(article: publication.Article, day: Day) -> dict[str, Any]:
    """Return the cumulative figures of an article at the end of a day."""
    figures = article.figures_until(day)
    return {
        "stat_date": day_text(day),
        **_by_scene(figures.readers),
        **{name: figures.counts[name] for name in _COUNTS},
        "praise_money": 100 * figures.counts["praise_money"],  # fen
        "read_subscribe_user": figures.counts["read_subscribe_user"],
        **_rates(article, figures, day - article.published),
    }


def _rates(article: publication.Article, figures: publication.Figures, age: int) -> dict[str, Any]:
    """Return quotients with the seven digits that WeChat sends; a zero has no decimal point."""
    chance = article.chance
    if not any(figures.readers):
        rates: dict[str, Any] = dict.fromkeys(
            ("read_delivery_rate", "read_finish_rate", "read_avg_activetime"), 0
        )
        return {**rates, "read_jump_position": []}
    drift = chance[24 + age % 8] * 500
    leave = split(10_000_000, [6 * chance[40] + 200, *(40 + part for part in chance[41:45])], drift)
    return {
        "read_delivery_rate": _rate(figures.readers[0] * 10_000_000 // article.audience),
        "read_finish_rate": _rate(2_000_000 + 23_000 * chance[23] + drift),
        "read_avg_activetime": _rate(3_000_000 + 90_000 * chance[33] + drift),
        "read_jump_position": [
            {"position": position, "rate": _rate(left)} for position, left in enumerate(leave, 1)
        ],
    }


def _rate(ten_millionths: int) -> float | int:
    return ten_millionths / 10_000_000 if ten_millionths else 0
