"""A month of three accounts, written by hand, and what each report says of it."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from harvester.catalogue import CATALOGUE
from harvester.storage.derived.derived_files import SCHEMAS
from harvester.tables.columns import arrow_schema
from tests.support.views import write

A, B, C = (f"wx{number:016x}" for number in (1, 2, 3))


def day(number: int) -> date:
    """Return a day of the month."""
    return date(2026, 5, number)


ACCOUNTS = (
    {"appid": A, "name": "One", "tags": ["x"], "attributes": [("client", "Acme")]},
    {"appid": B, "name": "Two", "attributes": [("region", "华东")]},
)
"""The third account is of a manifest whose run was killed before it wrote this table."""

COVERAGE = (
    {"appid": A, "begin_date": day(1), "end_date": day(29), "state": "final", "has_rows": True},
    {"appid": A, "begin_date": day(30), "end_date": day(30), "state": "quarantined"},
    {"appid": A, "begin_date": day(31), "end_date": day(31), "state": "provisional"},
    {"appid": B, "begin_date": day(1), "end_date": day(30), "state": "final", "has_rows": False},
    {"appid": B, "begin_date": day(31), "end_date": day(31), "state": "missing", "reason": "quota"},
    {"appid": C, "begin_date": day(1), "end_date": day(31), "state": "missing", "reason": "paused"},
)
"""Ranges of every dataset: of `newest_complete_day` 29 May: the third account is paused."""

_ARTICLE = {"publish_type": 0, "title": "标题", "content_url": "http://a", "read_finish_rate": 0.5}
_ALL = "全部"

ROWS: dict[str, tuple[dict[str, Any], ...]] = {
    "user_summary": (
        {"appid": A, "ref_date": day(1), "user_source": 0, "new_user": 5, "cancel_user": 2},
        {"appid": A, "ref_date": day(1), "user_source": 17, "new_user": 1, "cancel_user": 0},
        {"appid": A, "ref_date": day(31), "user_source": 999, "new_user": 0, "cancel_user": 4},
        {"appid": C, "ref_date": day(2), "user_source": 1, "new_user": 7, "cancel_user": 0},
    ),
    "user_cumulate": (
        {"appid": A, "ref_date": day(1), "cumulate_user": 100},
        {"appid": B, "ref_date": day(1), "cumulate_user": 50},
        {"appid": A, "ref_date": day(31), "cumulate_user": 96},
    ),
    "biz_summary": (
        {
            "appid": A,
            "ref_date": day(1),
            "read_user": 30,
            "share_user": 3,
            "zaikan_user": 2,
            "like_user": 1,
            "comment_count": 0,
            "collection_user": 4,
            "send_page_count": 1,
            "redirect_ori_page_user": 6,
            "read_user_source": [
                {"user_count": 30, "scene_desc": _ALL},
                {"user_count": 20, "scene_desc": "朋友圈"},
                {"user_count": 11, "scene_desc": "新场景"},
            ],
        },
        {"appid": B, "ref_date": day(30), "read_user": 1, "read_user_source": []},
    ),
    "article_total_detail": tuple(
        {"appid": appid, "ref_date": day(2), "msgid": msgid, "stat_date": day(stat), **numbers}
        for appid, msgid, stat, numbers in (
            (A, "1_1", 2, {**_ARTICLE, "read_user": 10, "share_user": 1, "praise_money": 100}),
            (A, "1_1", 4, {**_ARTICLE, "read_user": 18, "share_user": 1, "praise_money": 250}),
            (A, "1_1", 8, {**_ARTICLE, "read_user": 19, "share_user": 1, "praise_money": 250}),
            (A, "1_1", 9, {**_ARTICLE, "read_user": 20, "share_user": 2, "praise_money": 250}),
            (A, "1_2", 2, {"publish_type": 7, "read_user": 9}),
            (A, "1_2", 3, {"publish_type": 7, "read_user": 8}),
            (A, "1_2", 4, {"publish_type": 7, "read_user": 12}),
        )
    ),
    "upstream_msg": (
        {"appid": A, "ref_date": day(1), "msg_type": 1, "msg_user": 4, "msg_count": 8},
        {"appid": A, "ref_date": day(1), "msg_type": 2, "msg_user": 3, "msg_count": 4},
        {"appid": B, "ref_date": day(1), "msg_type": 1, "msg_user": 1, "msg_count": 1},
    ),
    "upstream_msg_dist": (
        {"appid": A, "ref_date": day(1), "count_interval": 0, "msg_user": 90},
        {"appid": A, "ref_date": day(1), "count_interval": 1, "msg_user": 4},
        {"appid": A, "ref_date": day(1), "count_interval": 2, "msg_user": 1},
    ),
    "interface_summary": (
        {
            "appid": A,
            "ref_date": day(30),
            "callback_count": 8,
            "fail_count": 2,
            "total_time_cost": 100,
            "max_time_cost": 40,
        },
        {
            "appid": B,
            "ref_date": day(1),
            "callback_count": 0,
            "fail_count": 0,
            "total_time_cost": 0,
            "max_time_cost": 0,
        },
    ),
}

_ONE, _TWO, _THREE = ("One", A, "Acme"), ("Two", B, None), (None, C, None)

REPORTS: dict[str, list[tuple[Any, ...]]] = {
    "followers_daily": [
        (day(1), *_ONE, 6, 2, 4, 100, False),
        (day(1), *_TWO, None, None, None, 50, False),
        (day(2), *_THREE, 7, 0, 7, None, False),
        (day(31), *_ONE, 0, 4, -4, 96, True),
    ],
    "followers_by_source_daily": [
        (day(1), *_ONE, "other, since 2023-06 also followed after a payment", 5, 2, False),
        (day(1), *_ONE, "shared contact card", 1, 0, False),
        (day(2), *_THREE, "search for an Official Account", 7, 0, False),
        (day(31), *_ONE, "999", 0, 4, True),
    ],
    "reading_daily": [
        (day(1), *_ONE, 1, 30, 3, 2, 1, 0, 4, 6, False),
        (day(30), *_TWO, None, 1, None, None, None, None, None, None, False),
    ],
    "reading_by_source_daily": [
        (day(1), *_ONE, "Moments", 20, False),
        (day(1), *_ONE, "新场景", 11, False),
    ],
    "articles_latest": [
        (
            *(day(2), *_ONE, "1_1", day(2), "标题", "http://a", "with a notification"),
            *(20, 2, None, None, None, None, 10, 18, 19, 0.5, None, None, 2.5),
            *(day(9), False, False),
        ),
        (
            *(day(2), *_ONE, "1_2", day(2), None, None, "7"),
            *(12, None, None, None, None, None, 9, 12, None, None, None, None, None),
            *(day(4), True, False),
        ),
    ],
    "messages_daily": [
        (day(1), *_ONE, 12, 5, 2.4, False),
        (day(1), *_TWO, 1, None, None, False),
    ],
    "server_daily": [
        (day(1), *_TWO, 0, 0, None, None, 0, False),
        (day(30), *_ONE, 8, 2, 0.25, 12.5, 40, True),
    ],
    "newest_complete_day": [(name, day(29)) for name in sorted(ROWS)],
}
"""The rows of each report, in order of day, account and the columns behind."""

CHINESE: dict[str, tuple[list[str], tuple[Any, ...]]] = {
    "关注日报": (
        ["新增的用户数量", "取消关注的用户数量", "净增关注人数", "总用户量"],
        (day(31), *_ONE, 0, 4, -4, 96, "可能更新"),
    ),
    "关注来源日报": (
        ["关注渠道", "新增的用户数量", "取消关注的用户数量"],
        (day(1), *_ONE, "名片分享", 1, 0, "已确定"),
    ),
    "阅读日报": (
        [
            *("发布篇数", "阅读人数", "分享人数", "爱心赞人数", "拇指赞人数"),
            *("留言条数", "微信收藏人数", "跳转原文人数"),
        ],
        (day(1), *_ONE, 1, 30, 3, 2, 1, 0, 4, 6, "已确定"),
    ),
    "阅读来源日报": (["阅读渠道", "阅读人数"], (day(1), *_ONE, "朋友圈", 20, "已确定")),
    "文章数据": (
        [
            *("文章 ID", "发表日期", "标题", "链接", "发表类型", "阅读人数", "分享人数"),
            *("爱心赞人数", "拇指赞人数", "留言条数", "微信收藏人数"),
            *("首日阅读人数", "3日阅读人数", "7日阅读人数", "阅读完成率", "平均阅读时长(分钟)"),
            *("阅读后关注人数", "赞赏金额(元)", "统计截至", "累计值下降"),
        ],
        (
            *(day(2), *_ONE, "1_1", day(2), "标题", "http://a", "已通知"),
            *(20, 2, None, None, None, None, 10, 18, 19, 0.5, None, None, 2.5),
            *(day(9), False, "已确定"),
        ),
    ),
    "消息日报": (
        ["消息总数", "发送人数", "人均条数"],
        (day(1), *_ONE, 12, 5, 2.4, "已确定"),
    ),
    "接口日报": (
        ["调用次数", "失败次数", "失败率", "平均耗时", "最大耗时"],
        (day(30), *_ONE, 8, 2, 0.25, 12.5, 40, "可能更新"),
    ),
}
"""The columns between the account and the state, and a row, of each Chinese report."""


def write_month(folder: Path) -> None:
    """Write the files of the month as a run does."""
    for name, rows in ROWS.items():
        table = pa.Table.from_pylist(rows, arrow_schema(CATALOGUE[name]))
        write(folder, f"{name}/ref_month=2026-05", table)
    write(folder, "accounts", pa.Table.from_pylist(ACCOUNTS, SCHEMAS["accounts"]))
    ranges = [
        {"dataset": name, "params": "", "wanted": True, **row} for name in ROWS for row in COVERAGE
    ]
    coverage = pa.Table.from_pylist(ranges, SCHEMAS["coverage"])
    write(folder, "coverage/ref_month=2026-05", coverage)
