"""The data of the emulator's accounts: a pure function of (dataset, appid, day).

The figures have the shape of real ones and are consistent: hours add up to days, new minus lost
followers is the change of their number, and all datasets of articles have the same readers. Quiet
accounts have days without rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from harvester.core.calendar import Day
from harvester.sandbox.data import article, interface, message, user
from harvester.sandbox.data.account import Profile, Row, profile_of
from harvester.sandbox.data.message import Period, month_from, single_day, week_from


class Table(NamedTuple):
    """One dataset: its rows, and how they depend on the moment of the call.

    Attributes:
        rows: Returns the final rows of (appid, day).
        period: Returns the days that the rows of a day sum up; none if no period begins with it.
        has_is_delay: Whether answers have the member ``"is_delay"``.
        growing: Name of the list that gets an entry on each day that is counted.
    """

    rows: Callable[[str, Day], list[Row]]
    period: Period = single_day
    has_is_delay: bool = False
    growing: str = ""


def _summed(rows: Callable[..., list[Row]], period: Period) -> Table:
    return Table(partial(rows, period=period), period)


TABLES: dict[str, Table] = {
    "user_summary": Table(user.summary_rows),
    "user_cumulate": Table(user.cumulate_rows),
    "upstream_msg": _summed(message.rows_of, single_day),
    "upstream_msg_hour": Table(message.hourly_rows),
    "upstream_msg_week": _summed(message.rows_of, week_from),
    "upstream_msg_month": _summed(message.rows_of, month_from),
    "upstream_msg_dist": _summed(message.distribution_rows, single_day),
    "upstream_msg_dist_week": _summed(message.distribution_rows, week_from),
    "upstream_msg_dist_month": _summed(message.distribution_rows, month_from),
    "interface_summary": Table(interface.daily_rows),
    "interface_summary_hour": Table(interface.hourly_rows),
    "article_read": Table(article.read_rows, has_is_delay=True),
    "article_share": Table(article.share_rows, has_is_delay=True),
    "biz_summary": Table(article.biz_rows, has_is_delay=True),
    "article_total_detail": Table(article.total_rows, has_is_delay=True, growing="detail_list"),
}
"""All datasets by their names in the catalogue."""


def expected_rows(dataset: str, appid: str, day: Day) -> list[Row]:
    """Return the final rows of one account's day, in WeChat's form and order.

    ``dataset`` is a name of the catalogue. The rows of a week are those of its Monday, the rows of
    a month those of its first day. Raises KeyError for an unknown dataset.
    """
    return TABLES[dataset].rows(appid, day)


__all__ = ["TABLES", "Profile", "Row", "Table", "expected_rows", "profile_of"]
