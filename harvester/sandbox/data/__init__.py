"""What happened on the sandbox's accounts: a pure function of (dataset, appid, day).

The figures have the shape of real ones and agree with each other: hours add up to days, what
followers came and went is the change of how many there are, and every dataset of articles tells of
the same readers. Quiet accounts have days on which nothing happened.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias

from harvester.core.calendar import Day
from harvester.sandbox.data import article, interface, message, user
from harvester.sandbox.data.account import Profile, Row, profile_of
from harvester.sandbox.data.message import just, month_from, week_of
from harvester.sandbox.data.publication import LIFE

Days: TypeAlias = Callable[[Day], range]


class Table(NamedTuple):
    """One dataset: where its rows come from, and how they depend on when they are asked for.

    ``rows`` gives the rows of (appid, day) as they are in the end. ``period`` gives the days that
    the row of a day sums up, none if no period begins with it. Answers of a table that ``marks``
    say ``is_delay``. ``growing`` names the list that gets an entry every day of ``restless`` ones;
    without it, all figures change so many days.
    """

    rows: Callable[[str, Day], list[Row]]
    period: Days = just
    marks: bool = False
    growing: str = ""
    restless: int = 0


def _messages(period: Days) -> Table:
    return Table(partial(message.rows_of, days=period), period)


def _distribution(period: Days) -> Table:
    return Table(partial(message.distribution_rows, days=period), period)


TABLES: dict[str, Table] = {
    "user_summary": Table(user.summary_rows),
    "user_cumulate": Table(user.cumulate_rows),
    "upstream_msg": _messages(just),
    "upstream_msg_hour": Table(message.hourly_rows),
    "upstream_msg_week": _messages(week_of),
    "upstream_msg_month": _messages(month_from),
    "upstream_msg_dist": _distribution(just),
    "upstream_msg_dist_week": _distribution(week_of),
    "upstream_msg_dist_month": _distribution(month_from),
    "interface_summary": Table(interface.daily_rows),
    "interface_summary_hour": Table(interface.hourly_rows),
    "article_read": Table(article.read_rows, marks=True),
    "article_share": Table(article.share_rows, marks=True),
    "biz_summary": Table(article.biz_rows, marks=True, restless=7),
    "article_total_detail": Table(
        article.total_rows, marks=True, growing="detail_list", restless=LIFE
    ),
}
"""Every dataset by its name in the catalogue."""


def expected_rows(dataset: str, appid: str, day: Day) -> list[Row]:
    """Every row WeChat will ever have of one account's day, as it sends them and in its order.

    ``dataset`` is a name of the catalogue. Weeks have their rows on Mondays, months on their first
    days. Raises KeyError for a dataset the sandbox has no data for.
    """
    return TABLES[dataset].rows(appid, day)


__all__ = ["TABLES", "Profile", "Row", "Table", "expected_rows", "profile_of"]
