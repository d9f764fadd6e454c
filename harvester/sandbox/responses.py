"""Answers to valid windows, as they are at the moment of the call.

Most answers are final; those are made once and cached. The others depend on the moment of the call.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from harvester.core.calendar import FIRST_DAY, Day, today
from harvester.core.dataset import Dataset
from harvester.sandbox.calls import list_of
from harvester.sandbox.data import TABLES, Row
from harvester.sandbox.preliminary_data import grown_so_far, preliminary
from harvester.sandbox.rules import Rules

Source: TypeAlias = Callable[[str, str, Day], list[Row]]
"""A pure function from (dataset name, appid, day) to the final rows of that day."""

READY_MINUTES = 8 * 60
"""Minutes after midnight at which the rows of the day before appear."""

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
        self._source = source
        self._cache_bytes = rules.cache_bytes
        self._size = 0
        self._bodies: OrderedDict[tuple[str, str, Day, Day], bytes] = OrderedDict()

    def body(self, window: Window) -> bytes:
        """Return the answer's body."""
        name, appid, begin, end = window.dataset.name, window.appid, window.begin, window.end
        if end + _DAYS_UNTIL_FINAL[name] >= first_unready_day(window.now):
            return self._encode(window, self.rows(window))
        key = (name, appid, begin, end)
        if key in self._bodies:
            self._bodies.move_to_end(key)
            return self._bodies[key]
        rows = [row for day in range(begin, end + 1) for row in self._source(name, appid, day)]
        # Only final answers are kept, because the others change with the clock.
        body = self._bodies[key] = self._encode(window, rows)
        self._size += len(body)
        while self._size > self._cache_bytes:
            self._size -= len(self._bodies.popitem(last=False)[1])
        return body

    def rows(self, window: Window) -> list[Row]:
        """Return the rows of the answer."""
        return [
            row for day in range(window.begin, window.end + 1) for row in self._day(window, day)
        ]

    def _encode(self, window: Window, rows: list[Row]) -> bytes:
        return list_of(rows, is_delay=False if TABLES[window.dataset.name].has_is_delay else None)

    def _day(self, window: Window, day: Day) -> list[Row]:
        """Return the rows of one day as they are at the moment of the call."""
        dataset, now = window.dataset, window.now
        table = TABLES[dataset.name]
        period = table.period(day)
        if not period or period[-1] >= first_unready_day(now):
            return []
        rows = self._source(dataset.name, window.appid, day)
        if table.growing:
            rows = grown_so_far(rows, table.growing, first_unready_day(now))
        age = today(now) - period[-1]
        if age <= table.preliminary_days:
            chance = f"{dataset.name} {window.appid} {day} {today(now)}"
            return preliminary(rows, age=age, chance=chance)
        return rows


def first_unready_day(now: float) -> Day:
    """Return the Beijing day before which all days are ready."""
    return today(now - 60.0 * READY_MINUTES)
