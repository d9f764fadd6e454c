"""Rows of the four datasets of articles, by scene and with rates."""

from __future__ import annotations

from harvester.core.calendar import Day, day_text
from harvester.sandbox.data import publication
from harvester.sandbox.data.account import Row, overlap, split

ALL = "全部"
"""The first ``scene_desc``, which is the sum of all others."""

_COUNTS = ("share_user", "zaikan_user", "like_user", "comment_count", "collection_user")
"""Counts that an account's day and an article's total have in common."""

_NEW_READERS = 800
"""Of 1024 readers of a further article, those who read no other article of the account that day."""


def read_rows(appid: str, day: Day) -> list[Row]:
    """Return a row for each article that was read on the day."""
    rows: list[Row] = [
        {"msgid": msgid, "detail": _by_scene(figures)}
        for msgid, figures in _figures(appid, day).items()
    ]
    return [row for row in rows if row["detail"]["read_user"]]


def share_rows(appid: str, day: Day) -> list[Row]:
    """Return a row for each article that was shared on the day."""
    return [
        {"msgid": msgid, "detail": {"share_user": figures["share_user"]}}
        for msgid, figures in _figures(appid, day).items()
        if figures["share_user"]
    ]


def biz_rows(appid: str, day: Day) -> list[Row]:
    """Return the account's day in one row, or no row if nothing was read, done or published."""
    articles = list(_figures(appid, day).values())
    pages = len(publication.articles_of(appid, day))
    if not pages and not any(any(each.values()) for each in articles):
        return []
    # Some people read several articles, but each comment is written below one.
    people = {
        name: overlap([each[name] for each in articles], _NEW_READERS) for name in articles[0]
    }
    detail = {
        **_by_scene(people),
        **{name: people[name] for name in (*_COUNTS, "redirect_ori_page_user")},
        "comment_count": sum(each["comment_count"] for each in articles),
        "send_page_count": pages,
    }
    return [{"detail": detail}]


def total_rows(appid: str, day: Day) -> list[Row]:
    """Return the articles published on a day, with cumulative figures for each day counted."""
    return [
        {
            **article.head,
            "detail_list": [_detail(article, day + age) for age in range(publication.COUNTED_DAYS)],
        }
        for article in publication.articles_of(appid, day)
    ]


def _figures(appid: str, day: Day) -> dict[str, publication.Figures]:
    """Return the figures of a day of each article that is still counted, by its msgid."""
    return {
        article.head["msgid"]: article.figures(day, day)
        for published in range(day - publication.COUNTED_DAYS + 1, day + 1)
        for article in publication.articles_of(appid, published)
    }


def _by_scene(figures: publication.Figures) -> Row:
    """Return the readers in all and by scene; scenes without readers are left out."""
    readers = {scene: figures[scene] for scene in publication.SCENES}
    total = sum(readers.values())
    return {
        "read_user": total,
        "read_user_source": [
            {"user_count": people, "scene_desc": scene}
            for scene, people in {ALL: total, **readers}.items()
            if people
        ],
    }


def _detail(article: publication.Article, day: Day) -> Row:
    """Return the cumulative figures of an article at the end of a day."""
    figures = article.figures(article.published, day)
    return {
        "stat_date": day_text(day),
        **_by_scene(figures),
        **{name: figures[name] for name in _COUNTS},
        "praise_money": 100 * figures["praise_money"],  # fen
        "read_subscribe_user": figures["read_subscribe_user"],
        **_rates(article, figures, day - article.published),
    }


def _rates(article: publication.Article, figures: publication.Figures, age: int) -> Row:
    """Return quotients with the seven digits that WeChat sends; a zero has no decimal point."""
    chance = article.chance
    drift = chance[24 + age % 8] * 500
    rates = {
        "read_delivery_rate": figures["公众号消息"] * 10_000_000 // article.audience,
        "read_finish_rate": 2_000_000 + 23_000 * chance[23] + drift,
        "read_avg_activetime": 3_000_000 + 90_000 * chance[33] + drift,
    }
    leave = split(10_000_000, [6 * chance[40] + 200, *(40 + part for part in chance[41:45])], drift)
    if not any(figures[scene] for scene in publication.SCENES):
        rates, leave = dict.fromkeys(rates, 0), []
    return {
        **{name: rate / 10_000_000 or 0 for name, rate in rates.items()},
        "read_jump_position": [
            {"position": position, "rate": left / 10_000_000}
            for position, left in enumerate(leave, 1)
        ],
    }
