"""Articles: when an account publishes what, and how many read, share and like it from then on.

An article's whole life is decided when it is published. All figures run along one curve from zero
to their end, so that daily ones are the differences of cumulative ones and parts add up on each
day: every dataset of articles tells of the same readers.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from harvester.core.calendar import FIRST_DAY, Day
from harvester.sandbox.data.account import digest, followers, profile_of, share_of, words

LIFE = 30
"""Days for which an article is counted, the day of publication included."""

_FIRST_MESSAGE = (1 << 31) + 6_450
"""Message ids of today: they left 32 bits with a sign behind."""

_PLACES = (1000, 380, 260, 190, 150, 120, 100, 90)
"""How many read the first article of a message and the ones below it, in thousandths."""

_SUBJECTS = ("秋日新品", "本周活动", "会员福利", "门店地图", "招聘", "「深度」行业观察", "端午特辑")
_ENDINGS = ("来了", "，一文读懂", "：99 元起", " | 留言有礼", "🎁", "，“真香”！", ' & Q&A "问答"')


class Life(NamedTuple):
    """What an article comes to, or what it came to until some day.

    ``readers`` has the people by scene, in the order of SCENES; ``tips`` is in yuan.
    """

    readers: tuple[int, ...]
    sharers: int
    hearts: int
    thumbs: int
    comments: int
    keepers: int
    on_to_original: int
    subscribers: int
    tips: int


class Article(NamedTuple):
    """One article. ``whole`` is its life at the end, ``pace`` the curve to it, ``taste`` chance."""

    published: Day
    msgid: str
    title: str
    url: str
    silent: bool
    audience: int
    whole: Life
    pace: int
    taste: bytes


_SCENE_SHARES = (620, 110, 130, 30, 40, 50, 20)
"""Readers from the account's message, chats, Moments, its page, elsewhere, Top Stories, search."""


def _curve(first: int, stay: int) -> tuple[int, ...]:
    """Where an article stands after each of its days, in 65536ths of its end."""
    left, curve = 65_536 - first, []
    for _ in range(LIFE - 1):
        curve.append(65_536 - left)
        left = left * stay >> 10
    return (*curve, 65_536)


_CURVES = (_curve(46_000, 400), _curve(36_000, 560), _curve(24_000, 760), _curve(8_000, 940))


def _progress(article: Article, day: Day) -> int:
    """How far an article is at the end of a day, in 65536ths of its life."""
    age = day - article.published
    return _CURVES[article.pace][min(age, LIFE - 1)] if age >= 0 else 0


def reached(article: Article, day: Day) -> Life:
    """What the article came to from its publication to the end of a day."""
    return _between(article.whole, 0, _progress(article, day))


def added(article: Article, day: Day) -> Life:
    """What one day added to it."""
    return _between(article.whole, _progress(article, day - 1), _progress(article, day))


def _between(life: Life, before: int, after: int) -> Life:
    """The part of a life between two points of it, in 65536ths."""
    readers, *others = life
    return Life._make(
        (
            tuple([(people * after >> 16) - (people * before >> 16) for people in readers]),
            *[(figure * after >> 16) - (figure * before >> 16) for figure in others],
        )
    )


@functools.lru_cache(maxsize=4_096)
def published(appid: str, day: Day) -> tuple[Article, ...]:
    """The articles an account published on a day, in the order of their msgids.

    Most accounts have days without any, and the quietest publish once in a month.
    """
    chance, silent, many = words(f"publish {day} {appid}", 3)
    often, usual = _rhythm(appid)
    articles: tuple[Article, ...] = ()
    if chance < often:
        articles = _message(appid, day, 1 + many % usual, silent=False)
    if silent < often >> 3:
        articles += _message(appid, day, 1, silent=True)
    return articles


def alive(appid: str, day: Day) -> list[Article]:
    """List the articles that are counted on a day, oldest first."""
    return [a for then in range(day - LIFE + 1, day + 1) for a in published(appid, then)]


@functools.lru_cache(maxsize=16_384)
def _rhythm(appid: str) -> tuple[int, int]:
    """On how many of 65536 days the account publishes, and how many articles at most at once."""
    often, usual = words(f"rhythm {appid}", 2)
    octave = profile_of(appid).daily.bit_length() - 10  # 0 to 17
    return 1600 + often % 2400 + 220 * octave * octave, 1 + usual % min(8, 1 + octave // 2)


def _message(appid: str, day: Day, count: int, *, silent: bool) -> tuple[Article, ...]:
    """One message of so many articles; a silent one is published without notifying anybody."""
    mid = _FIRST_MESSAGE + 2 * (day - FIRST_DAY) + silent
    return tuple(_article(appid, day, mid, index) for index in range(1, count + 1))


def _article(appid: str, day: Day, mid: int, index: int) -> Article:
    taste = digest(f"article {mid} {index} {appid}", 48)
    silent = bool((mid - _FIRST_MESSAGE) & 1)
    audience = followers(appid, day)
    subject, ending = _SUBJECTS[taste[0] % len(_SUBJECTS)], _ENDINGS[taste[1] % len(_ENDINGS)]
    return Article(
        published=day,
        msgid=f"{mid}_{index}",
        title=f"{subject}{ending}",
        url=f"http://mp.weixin.qq.com/s?__biz={appid[2:]}&mid={mid}&idx={index}"
        f"&sn={taste[16:32].hex()}&chksm={taste[32:].hex()}#rd",
        silent=silent,
        audience=audience,
        whole=_whole(audience * _PLACES[index - 1] // (4000 if silent else 1000), taste),
        pace=taste[2] % len(_CURVES),
        taste=taste,
    )


def _whole(reach: int, taste: bytes) -> Life:
    """What comes of an article that so many people could see."""
    opened = 1_000 + 22 * taste[3]  # of 65536: 1.5 to 10 %
    viral = 1 + (taste[4] < 4) * taste[5] // 12
    readers = tuple(
        share_of(reach * opened // 1000, share * (viral if place else 1), taste[place] << 8)
        for place, share in enumerate(_SCENE_SHARES, 6)
    )
    everybody = sum(readers)
    return Life(
        readers,
        sharers=share_of(everybody, 300 + 9 * taste[3], taste[6] << 8),
        hearts=share_of(everybody, 100 + 3 * taste[7], taste[8] << 8),
        thumbs=share_of(everybody, 300 + 4 * taste[9], taste[10] << 8),
        comments=share_of(everybody, taste[11], taste[12] << 8),
        keepers=share_of(everybody, 120 + 2 * taste[13], taste[14] << 8),
        on_to_original=share_of(everybody, 40 * taste[15], taste[16] << 8) if taste[17] & 1 else 0,
        subscribers=share_of(everybody, 60 + taste[18], taste[19] << 8),
        tips=share_of(everybody, 2 * taste[20], taste[21] << 8) if taste[22] < 40 else 0,
    )
