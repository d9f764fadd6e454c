"""Answers to valid windows, as they are at the moment of the call.

Most answers are final; those are made once and cached. The others depend on the moment of the call
and on the data faults.
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
from harvester.sandbox.data_faults import DataFault, Delayed, Late, Outage, Revised
from harvester.sandbox.preliminary_data import grown_so_far, preliminary
from harvester.sandbox.rules import Rules

Source: TypeAlias = Callable[[str, str, Day], list[Row]]
"""A pure function from (dataset name, appid, day) to the final rows of that day."""

Alter: TypeAlias = Callable[[list[Row]], list[Row]]
"""A function from the rows of an answer to the rows that are sent."""

_DAYS_UNTIL_FINAL = {
    name: len(table.period(FIRST_DAY)) - 1 + table.unsettled_days for name, table in TABLES.items()
}
"""Days after a day until its rows can be final. FIRST_DAY begins a week and a month of 31 days."""


class Window(NamedTuple):
    """Days of an account's dataset, both included, asked for at ``now`` in Unix time."""

    dataset: Dataset
    appid: str
    begin: Day
    end: Day
    now: float


class Archive:
    """Answers by window. `Rules.cache_bytes` of final answers are cached, the last ones sent."""

    def __init__(self, source: Source, rules: Rules) -> None:
        self.data_faults = list(rules.data_faults)
        self._source = source
        self._rules = rules
        self._size = 0
        self._bodies: OrderedDict[tuple[str, str, Day, Day], bytes] = OrderedDict()

    def body(self, window: Window, alter: Alter | None = None) -> bytes:
        """Return the answer's body; ``alter`` changes its rows. Raises Refused 61503."""
        name, appid, begin, end = window.dataset.name, window.appid, window.begin, window.end
        changes = end + _DAYS_UNTIL_FINAL[name] >= self._first_unready_day(window.now)
        if changes or alter or self.data_faults:
            rows = self.rows(window)
            return self._encode(window, alter(rows) if alter else rows)
        key = (name, appid, begin, end)
        if key in self._bodies:
            self._bodies.move_to_end(key)
            return self._bodies[key]
        rows = [row for day in range(begin, end + 1) for row in self._source(name, appid, day)]
        body = self._bodies[key] = self._encode(window, rows)
        self._size += len(body)
        while self._size > self._rules.cache_bytes:
            self._size -= len(self._bodies.popitem(last=False)[1])
        return body

    def rows(self, window: Window) -> list[Row]:
        """Return the rows of the answer. Raises Refused 61503 if a day is not ready."""
        return [
            row for day in range(window.begin, window.end + 1) for row in self._day(window, day)
        ]

    def _encode(self, window: Window, rows: list[Row]) -> bytes:
        if not TABLES[window.dataset.name].has_is_delay:
            return list_of(rows)
        is_delay = any(
            isinstance(fault, Delayed) and today(window.now) - day <= fault.days
            for day in range(window.begin, window.end + 1)
            for fault in self._faults_of(window, day)
        )
        return list_of(rows, is_delay=str(is_delay).lower() if self._rules.delay_text else is_delay)

    def _faults_of(self, window: Window, day: Day) -> list[DataFault]:
        dataset, seed = window.dataset.name, self._rules.seed
        return [f for f in self.data_faults if f.hits(window.appid, dataset, day, seed=seed)]

    def _day(self, window: Window, day: Day) -> list[Row]:
        """Return the rows of one day as they are at the moment of the call."""
        dataset, now = window.dataset, window.now
        table = TABLES[dataset.name]
        period = table.period(day)
        faults = self._faults_of(window, day)
        if not period or not self._is_ready(period[-1], faults, now):
            return []
        if any(isinstance(fault, Outage) for fault in faults):
            return []
        rows = self._source(dataset.name, window.appid, day)
        if table.growing:
            rows = grown_so_far(rows, table.growing, self._first_unready_day(now))
        age = today(now) - period[-1]
        if age <= max(_preliminary_days(dataset, fault) for fault in (None, *faults)):
            chance = f"{dataset.name} {window.appid} {day} {today(now)}"
            return preliminary(rows, age=age, chance=chance)
        return rows

    def _is_ready(self, last: Day, faults: list[DataFault], now: float) -> bool:
        """Return whether a period has its rows. Raises Refused 61503 if that is an error."""
        usual, refuses = self._rules.ready_minutes, self._rules.unready
        ready_at = instant(last + 1, usual)
        for late in faults:
            if isinstance(late, Late):
                minutes = usual if late.minutes is None else late.minutes
                late_at = instant(last + 1 + late.days, minutes)
                # Of several late faults the latest decides, also about the error.
                if late_at > ready_at:
                    ready_at, refuses = late_at, late.unready or self._rules.unready
        if now < ready_at and refuses:
            raise Refused(61503)
        return now >= ready_at

    def _first_unready_day(self, now: float) -> Day:
        """Return the Beijing day before which all days are ready, unless a fault makes one late."""
        return today(now - 60.0 * self._rules.ready_minutes)


def _preliminary_days(dataset: Dataset, fault: DataFault | None) -> int:
    """Return for how many days figures are preliminary under a fault, or without one (None)."""
    table = TABLES[dataset.name]
    if fault is None:
        return 0 if table.growing else table.unsettled_days
    if isinstance(fault, Revised):
        return dataset.settle if fault.days is None else fault.days
    return fault.days if isinstance(fault, Delayed) and table.has_is_delay else 0
