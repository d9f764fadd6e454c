"""Answers to valid windows, as they are at the moment of the call.

Most answers are final; those are made once and cached. The others depend on the moment of the call:
lists still grow, and figures are preliminary.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from harvester.core.calendar import FIRST_DAY, Day, parse_day, today
from harvester.core.dataset import Dataset
from harvester.sandbox.calls import list_of
from harvester.sandbox.data import TABLES, Row
from harvester.sandbox.data.account import words
from harvester.sandbox.rules import Rules

Source: TypeAlias = Callable[[str, str, Day], list[Row]]
"""A pure function from (dataset name, appid, day) to the final rows of that day."""

READY_MINUTES = 8 * 60
"""Minutes after midnight at which the rows of the day before appear."""

_DAYS_UNTIL_FINAL = {
    name: len(table.period(FIRST_DAY)) - 1 + table.unsettled_days for name, table in TABLES.items()
}
"""Days after a day until its rows can be final. FIRST_DAY begins a week and a month of 31 days."""

_CODES = {"ref_hour", "user_source", "msg_type", "count_interval", "publish_type", "position"}
"""Members whose integers are codes, not counts."""


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


def grown_so_far(rows: list[Row], member: str, until: Day) -> list[Row]:
    """Return the rows with those entries of the list ``member`` whose days are before ``until``."""
    return [
        {**row, member: [entry for entry in row[member] if parse_day(entry["stat_date"]) < until]}
        for row in rows
    ]


def preliminary(rows: list[Row], *, age: int, chance: str) -> list[Row]:
    """Return the rows as they may be answered ``age`` days after their period.

    Every count above zero is too small, by up to a half on the first day and by less from day to
    day; sums and equalities within a row hold approximately. Of several rows one may be missing.
    """
    missing, which, *lacking = words(f"unsettled {chance}", 2 + len(rows))
    young = [
        _scaled(row, 1023 - lack % (512 >> min(age - 1, 8)))
        for row, lack in zip(rows, lacking, strict=True)
    ]
    if len(young) > 1 and not missing % 3:
        del young[which % len(young)]
    return young


def _scaled(value: Any, share: int, name: str = "") -> Any:
    """Scale all counts in a row, at any depth, to ``share`` 1024ths."""
    if isinstance(value, dict):
        return {key: _scaled(inner, share, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_scaled(inner, share, name) for inner in value]
    if isinstance(value, int) and name not in _CODES:
        return value * share >> 10
    return value
