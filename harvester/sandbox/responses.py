"""The archive: what is answered to windows that are in order, at the moment they are asked.

Most answers are final: they are made once and kept for a while. The others depend on the moment, on
what the rows were like by then, and on the troubles of the world.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from harvester.core.calendar import FIRST_DAY, Day, instant, today
from harvester.core.dataset import Dataset
from harvester.sandbox.call_faults import Refused
from harvester.sandbox.calls import list_of
from harvester.sandbox.data import TABLES, Row
from harvester.sandbox.data_faults import (
    DataFault,
    DataFaults,
    Delayed,
    Late,
    Outage,
    Revised,
    Strays,
)
from harvester.sandbox.preliminary_data import grown_so_far, preliminary, stray
from harvester.sandbox.rules import Rules

Source: TypeAlias = Callable[[str, str, Day], list[Row]]
"""Where rows come from: (dataset name, appid, day) → rows. Must be a pure function."""

_CHANGING = {
    name: len(table.period(FIRST_DAY)) - 1 + table.restless for name, table in TABLES.items()
}
"""Days after a day until its rows can be final. FIRST_DAY begins a week and a month of 31 days."""


class Window(NamedTuple):
    """What is asked: days of an account's dataset, both included, at a moment of Unix time."""

    dataset: Dataset
    appid: str
    begin: Day
    end: Day
    now: float


class Archive:
    """Answers by window. At most ``cache_bytes`` of them are kept, those that were sent last."""

    def __init__(self, source: Source, rules: Rules) -> None:
        self.troubles = DataFaults(rules.data_faults, rules.seed)
        self._source = source
        self._rules = rules
        self._size = 0
        self._bodies: OrderedDict[tuple[str, str, Day, Day], bytes] = OrderedDict()

    def body(self, window: Window) -> bytes:
        """The answer of WeChat. Raises Refused 61503 if it is not ready."""
        dataset, appid, begin, end, now = window
        name = dataset.name
        if self.troubles or end + _CHANGING[name] >= self._ready_today(now):
            return self.told(window, self.rows(window))
        key = (name, appid, begin, end)
        body = self._bodies.get(key)
        if body is not None:
            self._bodies.move_to_end(key)
            return body
        rows = [row for day in range(begin, end + 1) for row in self._source(name, appid, day)]
        body = self.told(window, rows)
        self._keep(key, body)
        return body

    def rows(self, window: Window) -> list[Row]:
        """The rows of the answer. Raises Refused 61503 if it is not ready."""
        return [
            row for day in range(window.begin, window.end + 1) for row in self._day(window, day)
        ]

    def told(self, window: Window, rows: list[Row]) -> bytes:
        """Rows as the bytes of an answer, which of some datasets says whether it is delayed."""
        if not TABLES[window.dataset.name].marks:
            return list_of(rows)
        days = range(window.begin, window.end + 1)
        is_delay = any(self._is_delayed(window, day) for day in days)
        return list_of(rows, is_delay=str(is_delay).lower() if self._rules.delay_text else is_delay)

    def _day(self, window: Window, day: Day) -> list[Row]:
        """The rows of one day as they are at the moment."""
        dataset, appid, _, _, now = window
        period = TABLES[dataset.name].period(day)
        if not period:
            return []
        data_faults = self.troubles.of(appid, dataset.name, day)
        if not self._is_ready(period[-1], data_faults, now):
            return []
        if any(isinstance(trouble, Outage) for trouble in data_faults):
            return []
        rows = self._source(dataset.name, appid, day)
        rows = self._so_far(window, day, data_faults, rows)
        strays = [trouble for trouble in data_faults if isinstance(trouble, Strays)]
        if any(trouble.alone for trouble in strays):
            return stray(rows, day, max(trouble.years for trouble in strays))
        return rows + [row for trouble in strays for row in stray(rows, day, trouble.years)]

    def _is_ready(self, last: Day, troubles: list[DataFault], now: float) -> bool:
        """Whether a period has its rows. Raises Refused 61503 if not having them is an error."""
        ready_at, unready = instant(last + 1, self._rules.ready_minutes), self._rules.unready
        for late in troubles:
            if isinstance(late, Late):
                minutes = self._rules.ready_minutes if late.minutes is None else late.minutes
                late_at = instant(last + 1 + late.days, minutes)
                if late_at > ready_at:
                    ready_at, unready = late_at, late.unready or self._rules.unready
        if now < ready_at and unready:
            raise Refused(61503)
        return now >= ready_at

    def _so_far(
        self, window: Window, day: Day, troubles: list[DataFault], rows: list[Row]
    ) -> list[Row]:
        """The rows of a day as far as they have come."""
        dataset, appid, _, _, now = window
        table = TABLES[dataset.name]
        if table.growing:
            rows = grown_so_far(rows, table.growing, self._ready_today(now))
        age = today(now) - table.period(day)[-1]
        if age <= max(_preliminary_days(dataset, trouble) for trouble in (None, *troubles)):
            return preliminary(rows, age=age, chance=f"{dataset.name} {appid} {day} {today(now)}")
        return rows

    def _is_delayed(self, window: Window, day: Day) -> bool:
        age = today(window.now) - day
        return any(
            isinstance(trouble, Delayed) and age <= trouble.days
            for trouble in self.troubles.of(window.appid, window.dataset.name, day)
        )

    def _ready_today(self, now: float) -> Day:
        """The Beijing day before which all days are ready, if none is late."""
        return today(now - 60.0 * self._rules.ready_minutes)

    def _keep(self, key: tuple[str, str, Day, Day], body: bytes) -> None:
        self._bodies[key] = body
        self._size += len(body)
        while self._size > self._rules.cache_bytes:
            self._size -= len(self._bodies.popitem(last=False)[1])


def _preliminary_days(dataset: Dataset, trouble: DataFault | None) -> int:
    """For how many days the figures of a period change, by a trouble's doing or by nature."""
    table = TABLES[dataset.name]
    match trouble:
        case None:
            return 0 if table.growing else table.restless
        case Revised(days=None):
            return dataset.settle
        case Revised(days=int(days)):
            return days
        case Delayed(days=days) if table.marks:
            return days
    return 0
