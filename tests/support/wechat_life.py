"""A year in the life of WeChat and of its accounts: what is true of a day, and since when it shows.

The truth is a pure function of dataset, account and day. What is answered follows from it and from
the moment of the call: days are late, figures are corrected, and holes are filled later. The rows
are simpler than the emulator's, because a year has some millions of answers.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import Day, date_of, day_text, instant, today
from harvester.core.dataset import Nesting
from harvester.sandbox.data import Row, expected_rows, period_of
from harvester.sandbox.responses import grown_so_far
from tests.support.preliminary_figures import preliminary

READY_MINUTES = 8 * 60
"""Minutes after midnight at which the rows of the day before usually appear."""

ALWAYS = "user_cumulate"
"""The dataset that has a row for every day of a living account."""

_LATEST_MINUTES = 63 * 60
"""Minutes by which a late day is late at most: before midnight of the third day after it."""

_COUNTED_DAYS = 30
_SATURDAY = 5


class Fill(Enum):
    """Order in which WeChat fills a hole."""

    ONCE = "all at once"
    NEWEST_FIRST = "newest day first"
    BY_DATASET = "one dataset after another"


@dataclass(frozen=True, slots=True)
class Hole:
    """Days that are answered without rows until they are filled, of all accounts or of one.

    It is filled from the midnight of the Beijing day ``filled`` on, within so many ``hours``.
    """

    begin: Day
    days: int
    filled: Day
    order: Fill = Fill.ONCE
    hours: int = 24
    appid: str = ""

    @property
    def end(self) -> Day:
        """The last day."""
        return self.begin + self.days - 1

    def hits(self, appid: str, day: Day) -> bool:
        """Return whether a day of an account lies in the hole."""
        return self.begin <= day <= self.end and self.appid in {"", appid}

    def filled_at(self, day: Day, place: float) -> float:
        """Return when the rows of a day appear.

        ``place`` is that of the dataset among all, from 0 to below 1.
        """
        share = {
            Fill.ONCE: 0.0,
            Fill.NEWEST_FIRST: (self.end - day) / self.days,
            Fill.BY_DATASET: place,
        }[self.order]
        return instant(self.filled) + share * self.hours * 3600


class Habits(NamedTuple):
    """Habits of an account: its first day, its weekends, and a time without any traffic."""

    begin: Day
    rests: bool
    dormant: range


@dataclass
class Life:
    """Everything that happens to the accounts and their days.

    ``begin`` is the first day with rows. ``calm`` accounts have neither late nor corrected days nor
    days on which nothing happens, but for those of articles. ``lost`` has the days on which an
    account's secret is not accepted.
    """

    appids: tuple[str, ...]
    datasets: tuple[str, ...]
    begin: Day
    days: int
    seed: int = 0
    calm: bool = False
    holes: tuple[Hole, ...] = ()
    holidays: tuple[range, ...] = ()
    lost: dict[str, range] = field(default_factory=dict)
    _known: dict[str, Habits] = field(default_factory=dict)

    def habits(self, appid: str) -> Habits:
        """Return the habits of an account."""
        if appid not in self._known:
            self._known[appid] = self._habits_of(number_of(appid) - 1)
        return self._known[appid]

    def _habits_of(self, place: int) -> Habits:
        if self.calm:
            return Habits(self.begin, rests=False, dormant=range(0))
        chance = mixed(self.seed, place, 7)
        begin, dormant = self.begin, range(0)
        match place % 10:
            case 3 | 8:
                # One of them is in the manifest from the beginning.
                begin += self.days // 4 + chance % (self.days // 2)
            case 5:
                first = self.begin + chance % self.days
                dormant = range(first, first + 20 + chance % 100)
        return Habits(begin, rests=place % 5 == 1, dormant=dormant)

    def joins(self, appid: str) -> Day:
        """Return the day from which an account is in the manifest."""
        habits = self.habits(appid)
        return habits.begin + 2 if number_of(appid) % 2 and habits.begin > self.begin else 0

    def truth(self, dataset: str, appid: str, day: Day) -> list[Row]:
        """Return the final rows of a day, of a week or a month those of its first day."""
        period = period_of(CATALOGUE[dataset].grain, day)
        if not any(self._is_alive(dataset, appid, each) for each in period):
            return []
        made = _ROWS.get(dataset)
        return expected_rows(dataset, appid, day) if made is None else made(number_of(appid), day)

    def _is_alive(self, dataset: str, appid: str, day: Day) -> bool:
        habits = self.habits(appid)
        if day < habits.begin or dataset == ALWAYS:
            return day >= habits.begin
        is_free = habits.rests and date_of(day).weekday() >= _SATURDAY
        return not (
            is_free or day in habits.dormant or any(day in holiday for holiday in self.holidays)
        )

    def appears_at(self, dataset: str, appid: str, day: Day) -> float:
        """Return when the rows of a day appear, in seconds since the Unix epoch."""
        end = period_of(CATALOGUE[dataset].grain, day)[-1]
        at = instant(end + 1, READY_MINUTES)
        chance = mixed(number_of(appid) * 31 + len(dataset), end, self.seed)
        if not self.calm and chance % 50 == 0:
            at += 60.0 * (60 + chance // 50 % (_LATEST_MINUTES - 8 * 60))
        for hole in self.holes:
            if hole.hits(appid, end):
                place = self.datasets.index(dataset) / len(self.datasets)
                at = max(at, hole.filled_at(end, place))
        return at

    def shown(self, dataset: str, appid: str, day: Day, now: float) -> tuple[list[Row], bool]:
        """Return the rows that a call gets at ``now``, and whether they are marked as delayed."""
        facts = CATALOGUE[dataset]
        period = period_of(facts.grain, day)
        if not period or now < self.appears_at(dataset, appid, day):
            return [], False
        rows = self.truth(dataset, appid, day)
        rows = grown_so_far(rows, facts, today(now - 60 * READY_MINUTES))
        if self.calm or not rows:
            return rows, False
        age = today(now) - period[-1]
        chance = mixed(number_of(appid), day * 17 + len(dataset), self.seed + 1)
        # On some days WeChat is late for half of the accounts.
        is_late = mixed(day, len(dataset), self.seed + 2) % 12 == 0
        is_delayed = facts.may_be_delayed and age <= 1 and is_late and chance % 4 < 2
        is_young = age <= facts.settle and facts.nesting is not Nesting.ARRAY and chance % 2 == 0
        if is_delayed or is_young:
            said = f"{dataset} {appid} {day} {today(now)}"
            rows = preliminary(rows, age=max(1, age), chance=said)
        return rows, is_delayed

    def is_hushed(self, dataset: str, appid: str, end: Day, now: float, times: int) -> bool:
        """Return whether the answer to a window is empty by chance."""
        del dataset, appid, end, now, times
        return False

    def is_lost(self, appid: str, now: float) -> bool:
        """Return whether an account's secret is refused."""
        return today(now) in self.lost.get(appid, range(0))


def number_of(appid: str) -> int:
    """Return the number of an account of `tests.support.run_harness.appid`."""
    return int(f"0x{appid[2:]}", 0)


def mixed(one: int, two: int, three: int) -> int:
    """Return a number of 30 bits that looks random."""
    x = (one * 0x9E3779B1 + two * 0x85EBCA77 + three * 0xC2B2AE3D) & 0xFFFFFFFF
    x = (x ^ x >> 15) * 0x2C1B3C6D & 0xFFFFFFFF
    x = (x ^ x >> 12) * 0x297A2D39 & 0xFFFFFFFF
    return (x ^ x >> 15) >> 2


# Rows. Each has a number that no other account and day has, so that none can pass for another.


def _numbers(number: int, day: Day, salt: int) -> tuple[int, ...]:
    """Return sixteen numbers below 4,096."""
    found = hashlib.blake2b(_THREE.pack(number, day, salt), digest_size=32).digest()
    return tuple([each & 0xFFF for each in _SIXTEEN.unpack(found)])


_THREE, _SIXTEEN = struct.Struct("<QII"), struct.Struct("<16H")


def _unique(number: int, day: Day) -> int:
    return number * 40_000 + day


def _interface(number: int, day: Day) -> list[Row]:
    calls, fails, longest, *_ = _numbers(number, day, 11)
    counts = {"callback_count": calls + 1, "fail_count": fails % 50, "max_time_cost": longest}
    return [{"ref_date": day_text(day), "total_time_cost": _unique(number, day), **counts}]


def _interface_hour(number: int, day: Day) -> list[Row]:
    text, unique = day_text(day), _unique(number, day) * 24
    chance = (*_numbers(number, day, 13), *_numbers(number, day, 14), *_numbers(number, day, 15))
    return [
        {
            "ref_date": text,
            "ref_hour": hour * 100,
            "callback_count": chance[hour] + 1,
            "fail_count": chance[hour + 16] % 20,
            "total_time_cost": unique + hour,
            "max_time_cost": chance[hour + 24],
        }
        for hour in range(number % 8, 24)
    ]


def _user_summary(number: int, day: Day) -> list[Row]:
    text, chance = day_text(day), _numbers(number, day, 17)
    return [
        {"ref_date": text, "user_source": 0, "new_user": _unique(number, day), "cancel_user": 1},
        {"ref_date": text, "user_source": 1, "new_user": chance[0], "cancel_user": chance[1]},
        {"ref_date": text, "user_source": 30, "new_user": chance[2], "cancel_user": chance[3]},
    ]


def _user_cumulate(number: int, day: Day) -> list[Row]:
    count = _unique(number, day)
    return [{"ref_date": day_text(day), "user_source": 0, "cumulate_user": count}]


def _scenes(message: int, moments: int) -> list[Row]:
    return [
        {"user_count": message, "scene_desc": "公众号消息"},
        {"user_count": moments, "scene_desc": "朋友圈"},
    ]


def _published(number: int, day: Day) -> list[Day]:
    """Return the days of the week up to a day on which an article was published."""
    return [each for each in range(day, day - 7, -1) if _is_published(number, each)]


def _is_published(number: int, day: Day) -> bool:
    return mixed(number, day, 19) % 4 == 0


def _msgid(number: int, day: Day) -> str:
    return f"{2_247_483_648 + number * 1000 + day % 997}_1"


def _article_read(number: int, day: Day) -> list[Row]:
    text, unique, chance = day_text(day), _unique(number, day), _numbers(number, day, 21)
    return [
        {
            "ref_date": text,
            "msgid": _msgid(number, first),
            "detail": {
                "read_user": unique - day + first,
                "read_user_source": _scenes(chance[day - first], chance[day - first + 8]),
            },
        }
        for first in _published(number, day)
    ]


def _article_share(number: int, day: Day) -> list[Row]:
    text, unique = day_text(day), _unique(number, day)
    return [
        {
            "ref_date": text,
            "msgid": _msgid(number, first),
            "detail": {"share_user": unique - day + first},
        }
        for first in _published(number, day)
    ]


def _biz_summary(number: int, day: Day) -> list[Row]:
    chance = _numbers(number, day, 23)
    detail = {
        "read_user": _unique(number, day),
        "read_user_source": _scenes(chance[0], chance[1]),
        "share_user": chance[2],
        "zaikan_user": chance[3],
        "like_user": chance[4],
        "comment_count": chance[5],
        "collection_user": chance[6],
        "redirect_ori_page_user": chance[7],
        "send_page_count": chance[8] % 4,
    }
    return [{"ref_date": day_text(day), "detail": detail}]


def _article_total_detail(number: int, day: Day) -> list[Row]:
    if not _is_published(number, day):
        return []
    whole: Row = {"ref_date": day_text(day), "msgid": _msgid(number, day), "publish_type": 0}
    entries = [_counts(number, day, age) for age in range(_COUNTED_DAYS)]
    return [{**whole, "title": f"{number} {day}", "content_url": "", "detail_list": entries}]


def _counts(number: int, day: Day, age: int) -> Row:
    """Return what an article has got until a day."""
    chance = _numbers(number, day, 1_000 + age)
    return {
        "stat_date": day_text(day + age),
        "read_user": age << 12 | chance[0],
        "read_user_source": _scenes(chance[1], chance[2]),
        "share_user": age << 12 | chance[3],
        "zaikan_user": chance[4],
        "like_user": chance[5],
        "comment_count": chance[6],
        "collection_user": chance[7],
        "praise_money": age,
        "read_subscribe_user": age << 12 | chance[8],
        "read_delivery_rate": chance[9] / 4096,
        "read_finish_rate": chance[10] / 4096,
        "read_avg_activetime": float(number),
        "read_jump_position": [
            {"position": 1, "rate": chance[11] / 4096},
            {"position": 2, "rate": chance[12] / 4096},
        ],
    }


_ROWS: dict[str, Callable[[int, Day], list[Row]]] = {
    "interface_summary": _interface,
    "interface_summary_hour": _interface_hour,
    "user_summary": _user_summary,
    "user_cumulate": _user_cumulate,
    "article_read": _article_read,
    "article_share": _article_share,
    "biz_summary": _biz_summary,
    "article_total_detail": _article_total_detail,
}
"""The rows of these datasets; those of all others are the emulator's."""
