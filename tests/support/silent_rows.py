"""Rows of the datasets of a silent life, simpler than the emulator's.

Counts of a guide are those that its table adds up to, unless the account lies.
"""

from __future__ import annotations

from collections.abc import Callable

from harvester.core.calendar import Day, day_text
from harvester.sandbox.data import Row
from tests.support.silent_accounts import Role, SilentAccounts
from tests.support.wechat_life import mixed

_COUNTED_DAYS = 30
_READ_DAYS, _SHARED_DAYS = 5, 3


def _interface(life: SilentAccounts, role: Role, day: Day) -> list[Row]:
    count = life.told(life.callbacks(role, day), role, day, 83)
    if not count and not life.has_zero(role, day):
        return []
    return [{"ref_date": day_text(day), **_calls(count, role.number + day)}]


def _interface_hour(life: SilentAccounts, role: Role, day: Day) -> list[Row]:
    return [
        {"ref_date": day_text(day), "ref_hour": hour * 100, **_calls(count, role.number + day)}
        for hour, count in _by_hour(life.callbacks(role, day), role.number)
    ]


def _calls(count: int, time: int) -> Row:
    times = {"total_time_cost": time * count, "max_time_cost": 100 if count else 0}
    return {"callback_count": count, "fail_count": count // 50, **times}


def _by_hour(count: int, number: int) -> list[tuple[int, int]]:
    """Share out a count among three hours; an hour without any is left out."""
    parts = (count - count // 2, count // 2 - count // 4, count // 4)
    hours = (number % 8, number % 8 + 5, number % 8 + 11)
    return [(hour, part) for hour, part in zip(hours, parts, strict=True) if part]


def _messages(life: SilentAccounts, role: Role, day: Day) -> list[Row]:
    count = life.told(life.messages(role, day), role, day, 89)
    parts = {1: count - count // 4, 2: count // 4}
    return [_written(day, kind, part) for kind, part in parts.items() if part]


def _messages_hour(life: SilentAccounts, role: Role, day: Day) -> list[Row]:
    count = life.messages(role, day)
    texts = _by_hour(count - count // 4, role.number)
    images = [(23, count // 4)] if count // 4 else []
    return [
        {"ref_hour": hour * 100, **_written(day, kind, part)}
        for kind, hours in ((1, texts), (2, images))
        for hour, part in hours
    ]


def _written(day: Day, kind: int, count: int) -> Row:
    people = {"msg_user": 1 + count // 3, "msg_count": count}
    return {"ref_date": day_text(day), "user_source": 0, "msg_type": kind, **people}


def _user_summary(life: SilentAccounts, role: Role, day: Day) -> list[Row]:
    if not life.follows(role, day):
        return []
    gained = mixed(role.number, day, 97)
    return [
        {"ref_date": day_text(day), "user_source": source, "new_user": many, "cancel_user": 1}
        for source, many in ((0, gained % 500), (30, gained // 500 % 50))
    ]


def _user_cumulate(life: SilentAccounts, role: Role, day: Day) -> list[Row]:
    del life
    if day < role.begin or day in role.frozen:
        return []
    count = role.number * 40_000 + day
    return [{"ref_date": day_text(day), "user_source": 0, "cumulate_user": count}]


def _scenes(count: int) -> list[Row]:
    return [{"user_count": count, "scene_desc": "公众号消息"}]


def _msgid(role: Role, day: Day) -> str:
    return f"{2_247_483_648 + role.number * 10_000 + day}_1"


def _article_read(life: SilentAccounts, role: Role, day: Day) -> list[Row]:
    return [
        _article(role, day, first, {"read_user": many, "read_user_source": _scenes(many)})
        for first in life.read(role, day, _READ_DAYS)
        for many in [200 // (1 + day - first)]
    ]


def _article_share(life: SilentAccounts, role: Role, day: Day) -> list[Row]:
    return [
        _article(role, day, first, {"share_user": 20 // (1 + day - first)})
        for first in life.read(role, day, _SHARED_DAYS)
    ]


def _article(role: Role, day: Day, first: Day, detail: Row) -> Row:
    return {"ref_date": day_text(day), "msgid": _msgid(role, first), "detail": detail}


def _biz_summary(life: SilentAccounts, role: Role, day: Day) -> list[Row]:
    reads, shares = (100 * len(life.read(role, day, many)) for many in (_READ_DAYS, _SHARED_DAYS))
    readers = life.told(reads, role, day, 101)
    counts = {
        "share_user": life.told(shares, role, day, 103),
        "send_page_count": life.told(int(life.publishes(role, day)), role, day, 107),
    }
    if not (readers or any(counts.values()) or life.has_zero(role, day)):
        return []
    others = {
        name: mixed(role.number, day, place) % 100 for place, name in enumerate(_REACTIONS, 109)
    }
    read = {"read_user": readers, "read_user_source": _scenes(readers) if readers else []}
    return [{"ref_date": day_text(day), "detail": {**read, **others, **counts}}]


_REACTIONS = (
    "zaikan_user",
    "like_user",
    "comment_count",
    "collection_user",
    "redirect_ori_page_user",
)


def _article_total_detail(life: SilentAccounts, role: Role, day: Day) -> list[Row]:
    if not life.publishes(role, day):
        return []
    head = {"ref_date": day_text(day), "msgid": _msgid(role, day), "publish_type": 0}
    entries = [_counts(role, day, age) for age in range(_COUNTED_DAYS)]
    return [{**head, "title": f"{role.number} {day}", "content_url": "", "detail_list": entries}]


def _counts(role: Role, day: Day, age: int) -> Row:
    readers = 1000 + age * (1 + role.number % 7)
    return {
        "stat_date": day_text(day + age),
        "read_user": readers,
        "read_user_source": _scenes(readers),
        "share_user": 10 + age,
        "zaikan_user": age,
        "like_user": age,
        "comment_count": age,
        "collection_user": age,
        "praise_money": age,
        "read_subscribe_user": age,
        "read_delivery_rate": 0.5,
        "read_finish_rate": 0.25,
        "read_avg_activetime": float(role.number),
        "read_jump_position": [{"position": 1, "rate": 0.5}],
    }


ROWS: dict[str, Callable[[SilentAccounts, Role, Day], list[Row]]] = {
    "interface_summary": _interface,
    "interface_summary_hour": _interface_hour,
    "user_summary": _user_summary,
    "user_cumulate": _user_cumulate,
    "upstream_msg": _messages,
    "upstream_msg_hour": _messages_hour,
    "article_read": _article_read,
    "article_share": _article_share,
    "biz_summary": _biz_summary,
    "article_total_detail": _article_total_detail,
}
"""The rows of a day by dataset: a function of the accounts, the role of one, and the day."""
