"""The data of the emulator's accounts: a pure function of (dataset, appid, day).

The figures have the shape of real ones and are consistent: hours add up to days, new minus lost
followers is the change of their number, and all datasets of articles have the same readers. Quiet
accounts have days without rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import Day, day_text
from harvester.core.dataset import Grain
from harvester.sandbox.data import article, interface, message, user
from harvester.sandbox.data.account import Row
from harvester.sandbox.data.message import period_of

TABLES: dict[str, Callable[[str, Day], list[Row]]] = {
    "user_summary": user.summary_rows,
    "user_cumulate": user.cumulate_rows,
    "upstream_msg": partial(message.rows_of, Grain.DAY),
    "upstream_msg_hour": message.hourly_rows,
    "upstream_msg_week": partial(message.rows_of, Grain.WEEK),
    "upstream_msg_month": partial(message.rows_of, Grain.MONTH),
    "upstream_msg_dist": partial(message.distribution_rows, Grain.DAY),
    "upstream_msg_dist_week": partial(message.distribution_rows, Grain.WEEK),
    "upstream_msg_dist_month": partial(message.distribution_rows, Grain.MONTH),
    "interface_summary": interface.daily_rows,
    "interface_summary_hour": interface.hourly_rows,
    "article_read": article.read_rows,
    "article_share": article.share_rows,
    "biz_summary": article.biz_rows,
    "article_total_detail": article.total_rows,
}
"""For each dataset of the catalogue the function from (appid, day) to its rows without the day."""


def expected_rows(dataset: str, appid: str, day: Day) -> list[Row]:
    """Return the final rows of one account's day, in WeChat's form and order.

    ``dataset`` is a name of the catalogue. The rows of a week are those of its Monday, the rows of
    a month those of its first day. Raises KeyError for an unknown dataset.
    """
    if day < CATALOGUE[dataset].first_day:
        return []
    date = day_text(day)
    return [{"ref_date": date, **row} for row in TABLES[dataset](appid, day)]


__all__ = ["TABLES", "Row", "expected_rows", "period_of"]
