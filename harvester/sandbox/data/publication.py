"""Articles of an account, and their readers, sharers and likes on each day.

The final figures of an article are fixed when it is published. All figures follow one curve from
zero to the final figures, so daily figures are differences of cumulative ones, and all datasets of
articles have the same readers.
"""

from __future__ import annotations

import functools
from typing import NamedTuple, TypeAlias

from harvester.core.calendar import FIRST_DAY, Day
from harvester.sandbox.data.account import Row, digest, followers, profile_of, share_of, words

COUNTED_DAYS = 30
"""Days for which an article is counted, including the day of publication."""

SCENES = ("公众号消息", "聊天会话", "朋友圈", "公众号主页", "其他", "推荐", "搜一搜")
"""``scene_desc``: where articles are read."""

_SCENE_SHARES = (620, 110, 130, 30, 40, 50, 20)
"""Readers in each of SCENES, in thousandths."""

_FIRST_MESSAGE = (1 << 31) + 6_450
"""Message ids begin here: today's do not fit into a signed integer of 32 bits."""

_PLACES = (1000, 380, 260, 190, 150, 120, 100, 90)
"""Readers of the first article of a message and of those below it, in thousandths."""

_SUBJECTS = ("秋日新品", "本周活动", "会员福利", "门店地图", "招聘", "「深度」行业观察", "端午特辑")
_ENDINGS = ("来了", "，一文读懂", "：99 元起", " | 留言有礼", "🎁", "，“真香”！", ' & Q&A "问答"')

Figures: TypeAlias = dict[str, int]
"""Figures of an article: of one day, or cumulative until a day.

They are its readers by scene, and what they did by the names of WeChat's members; money is in yuan.
"""


class Article(NamedTuple):
    """One article: its ``final`` figures, and the random bytes that it is made from.

    ``head`` has WeChat's members that name it and never change.
    """

    published: Day
    head: Row
    audience: int
    final: Figures
    chance: bytes

    def figures(self, begin: Day, end: Day) -> Figures:
        """Return the figures of the days from ``begin`` to ``end``, both included and counted."""
        curve = _CURVES[self.chance[2] % len(_CURVES)]
        before, after = curve[begin - self.published], curve[end - self.published + 1]
        return {
            name: (count * after >> 16) - (count * before >> 16)
            for name, count in self.final.items()
        }


def _curve(first: int, stay: int) -> tuple[int, ...]:
    """Return the share of the final figures before and after each day counted, in 65536ths."""
    left, curve = 65_536 - first, [0]
    for _ in range(COUNTED_DAYS - 1):
        curve.append(65_536 - left)
        left = left * stay >> 10
    return (*curve, 65_536)


_CURVES = (_curve(46_000, 400), _curve(36_000, 560), _curve(24_000, 760), _curve(8_000, 940))


@functools.lru_cache(maxsize=4_096)
def articles_of(appid: str, day: Day) -> tuple[Article, ...]:
    """Return the articles that an account published on a day, in the order of their msgids.

    Most accounts have days without articles; the quietest publish once a month.
    """
    chance, quiet, many = words(f"publish {day} {appid}", 3)
    often, usual = _rhythm(appid)
    notified = 1 + many % usual if chance < often else 0
    unnotified = int(quiet < often >> 3)
    # A silent message is published without a notification.
    return tuple(
        _article(appid, day, index, silent=silent)
        for silent, count in ((False, notified), (True, unnotified))
        for index in range(1, count + 1)
    )


def _rhythm(appid: str) -> tuple[int, int]:
    """Return on how many of 65536 days an account publishes, and its most articles at once."""
    often, usual = words(f"rhythm {appid}", 2)
    octave = profile_of(appid).daily.bit_length() - 10  # 0 to 17
    return 1600 + often % 2400 + 220 * octave * octave, 1 + usual % min(8, 1 + octave // 2)


def _article(appid: str, day: Day, index: int, *, silent: bool) -> Article:
    mid = _FIRST_MESSAGE + 2 * (day - FIRST_DAY) + silent
    chance = digest(f"article {mid} {index} {appid}", 48)
    audience = followers(appid, day)
    subject, ending = _SUBJECTS[chance[0] % len(_SUBJECTS)], _ENDINGS[chance[1] % len(_ENDINGS)]
    return Article(
        published=day,
        head={
            "msgid": f"{mid}_{index}",
            "publish_type": int(silent),
            "title": f"{subject}{ending}",
            "content_url": f"http://mp.weixin.qq.com/s?__biz={appid[2:]}&mid={mid}&idx={index}"
            f"&sn={chance[16:32].hex()}&chksm={chance[32:].hex()}#rd",
        },
        audience=audience,
        final=_final(audience * _PLACES[index - 1] // (4000 if silent else 1000), chance),
        chance=chance,
    )


def _final(reach: int, chance: bytes) -> Figures:
    """Return the final figures of an article that ``reach`` people could see."""
    opened = 1_000 + 22 * chance[3]  # of 65536: 1.5 to 10 %
    viral = 1 + (chance[4] < 4) * chance[5] // 12
    readers = {
        scene: share_of(reach * opened // 1000, share * viral, chance[place] << 8)
        for place, (scene, share) in enumerate(zip(SCENES, _SCENE_SHARES, strict=True), 6)
    }
    total = sum(readers.values())
    on_to_original = 40 * chance[15] if chance[17] & 1 else 0
    tips = 2 * chance[20] if chance[22] < 40 else 0
    return {
        **readers,
        "share_user": share_of(total, 300 + 9 * chance[3], chance[6] << 8),
        "zaikan_user": share_of(total, 100 + 3 * chance[7], chance[8] << 8),
        "like_user": share_of(total, 300 + 4 * chance[9], chance[10] << 8),
        "comment_count": share_of(total, chance[11], chance[12] << 8),
        "collection_user": share_of(total, 120 + 2 * chance[13], chance[14] << 8),
        "redirect_ori_page_user": share_of(total, on_to_original, chance[16] << 8),
        "read_subscribe_user": share_of(total, 60 + chance[18], chance[19] << 8),
        "praise_money": share_of(total, tips, chance[21] << 8),
    }
