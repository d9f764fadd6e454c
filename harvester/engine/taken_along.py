"""Months that a group of answers touches with days that its windows only took along.

A window reaches back over its span, and so into older months that owe nothing. For such days alone
no file is written, but when an answer has rows of a day that had none, and on one weekday of each
bucket, so that final days are compared once a week. In a file that is written for another reason
they are merged like all others.
"""

from __future__ import annotations

from collections.abc import Sequence

from harvester.core import calendar
from harvester.core.calendar import NO_DAYS, Day, DaySet, Month
from harvester.core.model import RawAnswer
from harvester.scheduling.account_queue import Attempt
from harvester.storage.publish import EvidenceOf
from harvester.storage.raw_log import Group


def idle_months(
    group: Group, answers: Sequence[tuple[Attempt, RawAnswer]], evidence: EvidenceOf, today: Day
) -> set[tuple[str, Month]]:
    """Return the datasets and months of a group for which nothing needs to be written."""
    # Most answers of a group owe the same days.
    owed = {(attempt.window.dataset, attempt.days) for attempt, _ in answers}
    due = {(name, month) for name, days in owed for month in calendar.each_month(days)}
    idle = {*group.months} - due
    if not idle or today % 7 == group.bucket % 7:
        return set()
    for _, answer in answers:
        window = answer.window
        for month in range(calendar.month_of(window.begin), calendar.month_of(window.end)):
            if (window.dataset, month) in idle:
                history = evidence[window.dataset].histories.get(window.appid)
                if _has_news(answer, month, history.with_rows if history else NO_DAYS):
                    idle.discard((window.dataset, month))
    return idle


def _has_news(answer: RawAnswer, month: Month, with_rows: DaySet) -> bool:
    """Return whether an answer names a day of a month that had no rows."""
    # A day that is named elsewhere costs one write.
    if f"{calendar.month_text(month)}-".encode() not in answer.body:
        return False
    taken = calendar.day_range(answer.window.begin, calendar.month_end(month)) & ~with_rows
    return bool(named_days(answer.body, taken & calendar.month_days(month)))


def named_days(body: bytes, among: DaySet) -> DaySet:
    """Return those days that the bytes of an answer name, as each row does with its day."""
    return sum(
        calendar.one_day(day)
        for day in calendar.each_day(among)
        if calendar.day_text(day).encode() in body
    )
