"""Articles as the six endpoints told of them that WeChat took offline in 2026.

The same readers as `harvester.sandbox.data.article` has, counted as people and times.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from harvester.days import Day, day_text, parse_day
from harvester.sandbox.data.account import DAY_SHARES, Row, overlap, split, words
from harvester.sandbox.data.publication import (
    Article,
    Life,
    added,
    alive,
    progress,
    published,
    reached,
)

LIFE = 7
"""Days for which these endpoints know an article, the day of publication included."""

EVERYWHERE = 99_999_999
"""``user_source`` of the row that sums up the others."""

SOURCES = (0, 1, 2, 4, 5, 6, 7)
"""``user_source``: message, friends, Moments, history page, elsewhere, Top Stories, search."""

SHARE_SCENES = (1, 2, 255, 5)
"""``share_scene``: friend, Moments, elsewhere, and one that stands in samples only."""

_Block: TypeAlias = dict[str, int]
"""The metrics that all these endpoints share: people and times of each of _MEMBERS."""

_SHARE_WEIGHTS = (550, 400, 45, 5)

_TOP_STORIES_AND_SEARCH = parse_day("2020-02-28")
_FEWER_MEMBERS = parse_day("2020-03-01")

_PREFIXES = ("session", "friends", "feed", "hist_msg", "other", "kanyikan", "souyisou")
_SHARED_FROM = ("session", "feed", "other")
_SAME_READERS = 800
_MEMBERS = ("int_page_read", "ori_page_read", "share", "add_to_fav")


def summary_rows(appid: str, day: Day) -> list[Row]:
    """A row for each article of the last week of which there is anything to tell."""
    rows = []
    for article in alive(appid, day, LIFE):
        metrics = _metrics(article, added(article, day))
        if sum(metrics[f"{member}_count"] for member in _MEMBERS) >= 3:
            rows.append({**_head(article, day), "title": article.title, **metrics})
    return rows


def total_rows(appid: str, day: Day) -> list[Row]:
    """What came of the articles published on a day, cumulative, in each of seven days."""
    return [
        {
            **_head(article, day),
            "title": article.title,
            "url": article.url,
            "details": [_detail(article, day + age) for age in range(LIFE)],
        }
        for article in published(appid, day)
    ]


def read_rows(appid: str, day: Day) -> list[Row]:
    """How the account's articles were read on a day, by source and everywhere."""
    date = day_text(day)
    return [
        {"ref_date": date, "user_source": source, **_told(source, day, block)}
        for source, block in _with_all(_reads(appid, day))
    ]


def read_hour_rows(appid: str, day: Day) -> list[Row]:
    """The same by hour and source. Times add up to the day's, people do not."""
    date = day_text(day)
    by_source = [
        (source, _hours_of(block, words(f"read {day} {source} {appid}", len(_MEMBERS))))
        for source, block in _reads(appid, day)
    ]
    return [
        {
            "ref_date": date,
            "ref_hour": hour * 100,
            "user_source": source,
            **_told(source, day, block),
            "total_online_time": 0,
        }
        for hour in range(24)
        for source, block in _with_all(_any_of(hour, by_source))
    ]


def share_rows(appid: str, day: Day) -> list[Row]:
    """How the account's articles were shared on a day, by scene."""
    date = day_text(day)
    return [
        {
            "ref_date": date,
            "user_source": 0,
            "share_scene": scene,
            "share_count": times,
            "share_user": _users(times),
        }
        for scene, times in _shares(appid, day)
    ]


def share_hour_rows(appid: str, day: Day) -> list[Row]:
    """The same by hour. Times add up to the day's, people do not."""
    date = day_text(day)
    by_scene = [
        (scene, split(times, DAY_SHARES, words(f"share {day} {scene} {appid}", 1)[0]))
        for scene, times in _shares(appid, day)
    ]
    return [
        {
            "ref_date": date,
            "ref_hour": hour * 100,
            "user_source": 0,
            "share_scene": scene,
            "share_count": hours[hour],
            "share_user": _users(hours[hour]),
        }
        for hour in range(24)
        for scene, hours in by_scene
        if hours[hour]
    ]


def _head(article: Article, day: Day) -> Row:
    return {"ref_date": day_text(day), "user_source": 0, "msgid": article.msgid}


def _times(article: Article, people: int) -> int:
    """How often so many people did it."""
    return people + (people * article.taste[45] >> 9)


def _users(times: int) -> int:
    """How many people it takes to do it so often."""
    return times - times // 4


def _metrics(article: Article, life: Life) -> _Block:
    """The block of an article."""
    people = (sum(life.readers), life.on_to_original, life.sharers, life.keepers)
    metrics: _Block = {}
    for member, users in zip(_MEMBERS, people, strict=True):
        metrics[f"{member}_user"] = users
        metrics[f"{member}_count"] = _times(article, users)
    metrics["int_page_read_count"] = sum(_times(article, users) for users in life.readers)
    return metrics


def _detail(article: Article, day: Day) -> dict[str, Any]:
    """What came of an article until the end of a day, with WeChat's ``_count`` and ``_cnt``."""
    life = reached(article, day)
    metrics = _metrics(article, life)
    detail: dict[str, Any] = {
        "stat_date": day_text(day),
        "target_user": 0 if article.silent else article.audience,
        **metrics,
    }
    for place, users in zip(_PREFIXES, life.readers, strict=True):
        detail[f"int_page_from_{place}_read_user"] = users
        detail[f"int_page_from_{place}_read_count"] = _times(article, users)
    weights = [1 + weight for weight in article.taste[40:43]]
    for place, part in zip(_SHARED_FROM, split(article.whole.sharers, weights, 0), strict=True):
        users = part * progress(article, day) >> 16
        detail[f"feed_share_from_{place}_user"] = users
        detail[f"feed_share_from_{place}_cnt"] = _times(article, users)
    return detail


def _reads(appid: str, day: Day) -> list[tuple[int, _Block]]:
    """The day's metrics for each source that has any."""
    lives = [(article, added(article, day)) for article in alive(appid, day)]
    readers = [
        (
            overlap([life.readers[n] for _, life in lives], _SAME_READERS),
            sum(_times(article, life.readers[n]) for article, life in lives),
        )
        for n in range(len(SOURCES))
    ]
    if day < _TOP_STORIES_AND_SEARCH:
        *readers, first, second, third = readers
        readers.append((first[0] + second[0] + third[0], first[1] + second[1] + third[1]))
    whole = _sum([_metrics(article, life) for article, life in lives])
    weights = [1 + times for _, times in readers]
    blocks: list[_Block] = [
        {"int_page_read_user": users, "int_page_read_count": times} for users, times in readers
    ]
    for member in _MEMBERS[1:]:
        times_by_source = split(whole[f"{member}_count"], weights, 0)
        for block, times in zip(blocks, times_by_source, strict=True):
            block.update(_part(whole, member, times))
    return [(s, block) for s, block in zip(SOURCES, blocks, strict=False) if any(block.values())]


def _any_of(hour: int, by_source: list[tuple[int, list[_Block]]]) -> list[tuple[int, _Block]]:
    """The sources of which there is anything to tell in an hour."""
    return [(source, hours[hour]) for source, hours in by_source if any(hours[hour].values())]


def _with_all(blocks: list[tuple[int, _Block]]) -> list[tuple[int, _Block]]:
    """The blocks of the sources, and of all of them together if there are any."""
    return [*blocks, (EVERYWHERE, _sum([block for _, block in blocks]))] if blocks else []


def _sum(blocks: list[_Block]) -> _Block:
    members = [f"{member}_{what}" for member in _MEMBERS for what in ("user", "count")]
    return {member: sum(block[member] for block in blocks) for member in members}


def _part(whole: _Block, member: str, times: int) -> _Block:
    """So many times of a member, and how many of its people that takes."""
    users, all_times = whole[f"{member}_user"], whole[f"{member}_count"]
    people = min(times, users, 1 + times * users // all_times) if times else 0
    return {f"{member}_user": people, f"{member}_count": times}


def _told(source: int, day: Day, block: _Block) -> _Block:
    """The block as far as WeChat tells it: since 2020-03 not all of the newest sources."""
    if source in {6, 7} and day >= _FEWER_MEMBERS:
        return {name: figure for name, figure in block.items() if not name.startswith("ori_page")}
    return block


def _hours_of(block: _Block, chances: tuple[int, ...]) -> list[_Block]:
    """A day's block by hour."""
    hours: list[_Block] = [{} for _ in range(24)]
    for member, chance in zip(_MEMBERS, chances, strict=True):
        times_by_hour = split(block[f"{member}_count"], DAY_SHARES, chance)
        for hour, times in zip(hours, times_by_hour, strict=True):
            hour.update(_part(block, member, times))
    return hours


def _shares(appid: str, day: Day) -> list[tuple[int, int]]:
    """How often the account's articles were shared on a day, for each scene with any."""
    times = sum(_times(article, added(article, day).sharers) for article in alive(appid, day))
    parts = split(times, _SHARE_WEIGHTS, words(f"shared {day} {appid}", 1)[0])
    by_scene = zip(SHARE_SCENES, parts, strict=True)
    return sorted((scene, part) for scene, part in by_scene if part)
