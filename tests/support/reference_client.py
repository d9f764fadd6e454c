"""A reference client that follows the rules of the datacube, to count the calls of a harvester.

It keeps a dictionary with an entry for each day, goes by calendar dates, and shares nothing with
the product but what WeChat documents: paths, spans, first days and grains.
"""

from __future__ import annotations

import calendar
import datetime as dt
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from harvester.core.dataset import Dataset, Grain
from harvester.sandbox.calls import Request
from harvester.sandbox.data import Row
from tests.support.faulty_wechat import FaultyWeChat as Sandbox
from tests.support.run_harness import flat_rows

BEIJING = dt.timezone(dt.timedelta(hours=8))
READY = dt.time(10, tzinfo=BEIJING)
ONE_DAY = dt.timedelta(days=1)
NOT_READY = 61503

Cell: TypeAlias = tuple[Dataset, str, dt.date]


def settling(dataset: Dataset) -> int:
    """Return the days for which rows are preliminary."""
    if dataset.grain in (Grain.WEEK, Grain.MONTH):
        return 0
    special = {"biz_summary": 7, "article_total_detail": 30}
    return special.get(dataset.name, 3 if dataset.span > 1 else 0)


def last_day(grain: Grain, first: dt.date) -> dt.date:
    """Return the last day of the period that begins on a day."""
    if grain is Grain.WEEK:
        return first + 6 * ONE_DAY
    if grain is Grain.MONTH:
        return first.replace(day=calendar.monthrange(first.year, first.month)[1])
    return first


def begins_period(grain: Grain, day: dt.date) -> bool:
    """Return whether a period of the grain begins on a day."""
    if grain is Grain.WEEK:
        return day.weekday() == calendar.MONDAY
    return day.day == 1 or grain is not Grain.MONTH


@dataclass
class Known:
    """The state of a day: its rows so far, the day of its last call, and whether it is final."""

    asked_on: dt.date
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    final: bool = False


@dataclass
class Reference:
    """The state of one client of an emulator, and the number of its calls."""

    sandbox: Sandbox
    clock: Callable[[], float]
    datasets: list[Dataset]
    appids: tuple[str, ...]
    begin: dt.date
    end: dt.date
    known: dict[Cell, Known] = field(default_factory=dict)
    calls: int = 0
    put_off: bool = False

    def run(self) -> None:
        """Ask for every day wanted now; set ``put_off`` if WeChat was not ready for one."""
        self.put_off = False
        for dataset in self.datasets:
            for appid in self.appids:
                for window in self.windows(dataset, appid):
                    self.ask(dataset, appid, window)

    def rows(self, dataset: Dataset) -> list[tuple[Any, ...]]:
        """Return all rows of a dataset, sorted by key."""
        return sorted(
            row for (of, _, _), day in self.known.items() if of is dataset for row in day.rows
        )

    @property
    def now(self) -> dt.datetime:
        """The time in Beijing."""
        return dt.datetime.fromtimestamp(self.clock(), BEIJING)

    def wanted(self, dataset: Dataset, appid: str) -> Iterator[dt.date]:
        """Yield the days that are ready and neither final nor asked today, the newest first."""
        day = self.end
        while day >= self.begin:
            over = last_day(dataset.grain, day) + ONE_DAY
            known = self.known.get((dataset, appid, day))
            if (
                begins_period(dataset.grain, day)
                and self.now >= dt.datetime.combine(over, READY)
                and (known is None or not (known.final or known.asked_on == self.now.date()))
            ):
                yield day
            day -= ONE_DAY

    def windows(self, dataset: Dataset, appid: str) -> list[list[dt.date]]:
        """Return those days in windows; delayed datasets are cut where rows are settled."""
        found: list[list[dt.date]] = []
        cut = self.now.date() - settling(dataset) * ONE_DAY

        def one_side(day: dt.date) -> bool:
            return dataset.may_be_delayed and day >= cut

        wanted = list(self.wanted(dataset, appid))
        for day in wanted:
            newest = found[-1][0] if found else None
            if newest and (newest - day).days < dataset.span and one_side(newest) == one_side(day):
                found[-1].append(day)
            else:
                found.append([day])
        sides = [[day for day in wanted if one_side(day) is side] for side in (False, True)]
        assert len(found) == sum(fewest(side[::-1], dataset.span) for side in sides)
        return found

    def ask(self, dataset: Dataset, appid: str, window: list[dt.date]) -> None:
        """Ask for a window; without its newest day if that is not ready."""
        answer = self.post(dataset, appid, window[-1], window[0])
        self.calls += 1
        if answer.get("errcode") == NOT_READY:
            self.put_off = True
            if window[1:]:
                self.ask(dataset, appid, window[1:])
            return
        delayed = str(answer.get("is_delay", False)).lower() == "true"
        self.put_off |= delayed
        told: dict[str, list[Row]] = {}
        for element in answer["list"]:
            told.setdefault(element["ref_date"], []).append(element)
        day = window[-1]
        while day <= window[0]:
            rows = list(flat_rows(dataset, appid, told.get(day.isoformat(), [])))
            self.note((dataset, appid, day), rows, delayed=delayed)
            day += ONE_DAY

    def note(self, cell: Cell, rows: list[tuple[Any, ...]], *, delayed: bool) -> None:
        """Update the state of a day from an answer."""
        dataset, _, day = cell
        today = self.now.date()
        known = self.known.setdefault(cell, Known(today))
        if known.final:
            return
        age = (today - last_day(dataset.grain, day)).days
        known.asked_on = today
        if rows:
            known.rows = rows
            known.final = age > settling(dataset) and not delayed
        elif not known.rows:
            known.final = age > max(3, settling(dataset)) and not delayed

    def post(self, dataset: Dataset, appid: str, begin: dt.date, end: dt.date) -> Any:
        """Make one call, without a network."""
        asked = {"begin_date": begin.isoformat(), "end_date": end.isoformat()}
        token = {"access_token": self.sandbox.token_of(appid)}
        request = Request("POST", dataset.path, token, json.dumps(asked).encode())
        return json.loads(self.sandbox.answer(request).body)


def fewest(days: list[dt.date], span: int) -> int:
    """Return the least number of windows that cover these days, which are in order."""
    if not days:
        return 0
    beyond = next((i for i, day in enumerate(days) if (day - days[0]).days >= span), len(days))
    return 1 + fewest(days[beyond:], span)
