"""Articles as the four endpoints of today tell of them, by scene and with rates."""

from __future__ import annotations

from typing import Any

from harvester.core.calendar import Day, day_text, parse_day
from harvester.sandbox.data.account import Row, overlap, split
from harvester.sandbox.data.publication import LIFE, Article, Life, added, alive, published, reached

FIRST_DAY_OF_ARTICLES = parse_day("2025-11-01")
"""These endpoints have nothing of the days before."""

ALL = "全部"
SCENES = ("公众号消息", "聊天会话", "朋友圈", "公众号主页", "其他", "推荐", "搜一搜")
"""``scene_desc``: where articles are read. ALL stands before them and is their sum."""

_SAME_READERS = 800


def read_rows(appid: str, day: Day) -> list[Row]:
    """A row for each article that was read on the day."""
    return [
        _row(article, day, _readers(life))
        for article, life in _lives(appid, day)
        if any(life.readers)
    ]


def share_rows(appid: str, day: Day) -> list[Row]:
    """A row for each article that was shared on the day."""
    return [
        _row(article, day, {"share_user": life.sharers})
        for article, life in _lives(appid, day)
        if life.sharers
    ]


def biz_rows(appid: str, day: Day) -> list[Row]:
    """The account's day in one row, or none if nobody read, did or published anything."""
    lives = [life for _, life in _lives(appid, day)]
    pages = len(published(appid, day)) if day >= FIRST_DAY_OF_ARTICLES else 0
    if not pages and not any(any(life.readers) or any(life[1:]) for life in lives):
        return []
    detail = {
        **_sources([_people([life.readers[n] for life in lives]) for n in range(len(SCENES))]),
        "share_user": _people([life.sharers for life in lives]),
        "zaikan_user": _people([life.hearts for life in lives]),
        "like_user": _people([life.thumbs for life in lives]),
        "comment_count": sum(life.comments for life in lives),
        "collection_user": _people([life.keepers for life in lives]),
        "redirect_ori_page_user": _people([life.on_to_original for life in lives]),
        "send_page_count": pages,
    }
    return [{"ref_date": day_text(day), "detail": detail}]


def total_rows(appid: str, day: Day) -> list[Row]:
    """What came of the articles published on a day, cumulative, over all the days they count."""
    if day < FIRST_DAY_OF_ARTICLES:
        return []
    return [
        {
            "ref_date": day_text(day),
            "msgid": article.msgid,
            "publish_type": int(article.silent),
            "title": article.title,
            "content_url": article.url,
            "detail_list": [_detail(article, day + age) for age in range(LIFE)],
        }
        for article in published(appid, day)
    ]


def _lives(appid: str, day: Day) -> list[tuple[Article, Life]]:
    """Each article that is still counted, with what the day added to it."""
    if day < FIRST_DAY_OF_ARTICLES:
        return []
    return [(article, added(article, day)) for article in alive(appid, day)]


def _row(article: Article, day: Day, detail: dict[str, Any]) -> Row:
    return {"ref_date": day_text(day), "msgid": article.msgid, "detail": detail}


def _readers(life: Life) -> dict[str, Any]:
    return _sources(life.readers)


def _sources(readers: list[int] | tuple[int, ...]) -> dict[str, Any]:
    """The readers, all of them and by scene; scenes without any are left out."""
    everybody = sum(readers)
    scenes = [(ALL, everybody), *zip(SCENES, readers, strict=True)]
    return {
        "read_user": everybody,
        "read_user_source": [
            {"user_count": people, "scene_desc": scene} for scene, people in scenes if people
        ],
    }


def _people(parts: list[int]) -> int:
    """How many different people did it, some of them with several articles."""
    return overlap(parts, _SAME_READERS)


def _detail(article: Article, day: Day) -> dict[str, Any]:
    """What came of an article until the end of a day."""
    life = reached(article, day)
    return {
        "stat_date": day_text(day),
        **_readers(life),
        "share_user": life.sharers,
        "zaikan_user": life.hearts,
        "like_user": life.thumbs,
        "comment_count": life.comments,
        "collection_user": life.keepers,
        "praise_money": 100 * life.tips,  # fen
        "read_subscribe_user": life.subscribers,
        **_rates(article, life, day - article.published),
    }


def _rates(article: Article, life: Life, age: int) -> dict[str, Any]:
    """Quotients with the seven digits that WeChat sends; a zero comes without a point."""
    taste = article.taste
    if not any(life.readers):
        rates: dict[str, Any] = dict.fromkeys(
            ("read_delivery_rate", "read_finish_rate", "read_avg_activetime"), 0
        )
        return {**rates, "read_jump_position": []}
    drift = taste[24 + age % 8] * 500
    leave = split(10_000_000, [6 * taste[40] + 200, *(40 + part for part in taste[41:45])], drift)
    return {
        "read_delivery_rate": _rate(life.readers[0] * 10_000_000 // article.audience),
        "read_finish_rate": _rate(2_000_000 + 23_000 * taste[23] + drift),
        "read_avg_activetime": _rate(3_000_000 + 90_000 * taste[33] + drift),
        "read_jump_position": [
            {"position": position, "rate": _rate(left)} for position, left in enumerate(leave, 1)
        ],
    }


def _rate(ten_millionths: int) -> float | int:
    return ten_millionths / 10_000_000 if ten_millionths else 0
