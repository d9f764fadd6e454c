"""The calls: each dataset over its longest window, and what WeChat must refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import Enum
from typing import NamedTuple

from harvester.core import calendar, readiness
from harvester.core.calendar import Day
from harvester.core.dataset import Dataset, Grain
from harvester.core.model import Window

_LONG_AGO = 10
"""Age in days of the newest day of a window whose numbers change no more."""


class Purpose(Enum):
    """Question that a call puts."""

    ANSWER = "answer"
    """Members, types and dates, over as many days as the catalogue allows."""
    TOO_LONG = "a day more than the span"
    NOT_OVER = "today"
    NEWEST = "the newest ready day"
    TOO_EARLY = "before the first day"


class Call(NamedTuple):
    """A call, and the question that it puts."""

    purpose: Purpose
    dataset: Dataset
    window: Window

    @property
    def days(self) -> str:
        """The days of the window."""
        first, last = map(calendar.day_text, (self.window.begin, self.window.end))
        return first if first == last else f"{first}..{last}"


def calls(appid: str, datasets: Mapping[str, Dataset], now: float) -> Iterator[Call]:
    """Yield the calls for an account, each with the dataset as it has to be asked."""
    today, spans = calendar.today(now), set[int]()
    for dataset in datasets.values():
        end = _old_day(dataset, now)
        begin = end if _is_period(dataset) else end - dataset.span + 1
        yield _call(Purpose.ANSWER, dataset, appid, begin, end)
        if dataset.span not in spans and not _is_period(dataset):
            spans.add(dataset.span)
            yield _call(Purpose.TOO_LONG, dataset, appid, end - dataset.span, end)
    for name in ("interface_summary", "biz_summary"):
        yield _call(Purpose.NOT_OVER, datasets[name], appid, today, today)
    newest = readiness.newest_ready(datasets["biz_summary"], now)
    yield _call(Purpose.NEWEST, datasets["biz_summary"], appid, newest, newest)
    early = datasets["user_summary"].first_day - 1
    yield _call(Purpose.TOO_EARLY, datasets["user_summary"], appid, early, early)


def _is_period(dataset: Dataset) -> bool:
    return dataset.grain in (Grain.WEEK, Grain.MONTH)


def _old_day(dataset: Dataset, now: float) -> Day:
    day = readiness.newest_ready(dataset, now) - _LONG_AGO
    return readiness.period_begin(dataset.grain, day)


def _call(purpose: Purpose, dataset: Dataset, appid: str, begin: Day, end: Day) -> Call:
    # A window is asked as it is, also one that is longer than any run would ask.
    asked = replace(dataset, span=max(dataset.span, end - begin + 1))
    return Call(purpose, asked, Window(appid, dataset.name, begin, end))
