"""A life of WeChat's that tries the rule of empty days: what is true of a day, and since when.

It is a function of dataset, account, day and moment. Only an answer that is empty by chance also
depends on how often its window was asked in a run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import Day, instant, today
from harvester.sandbox.data import Row
from harvester.sandbox.responses import grown_so_far
from tests.support.silent_accounts import SilentAccounts
from tests.support.silent_rows import ROWS
from tests.support.wechat_life import READY_MINUTES, mixed, number_of

SILENT = (
    "interface_summary",
    "user_summary",
    "interface_summary_hour",
    "upstream_msg",
    "upstream_msg_hour",
    "user_cumulate",
    "biz_summary",
    "article_read",
    "article_share",
    "article_total_detail",
)
"""Datasets of all spans, with all guides."""

UNGUIDED = (
    "interface_summary",
    "user_summary",
    "upstream_msg",
    "user_cumulate",
    "article_read",
    "article_share",
    "article_total_detail",
)
"""Datasets of which none has its guide beside it."""

LATE, CHANCE, JOINED, OTHER = "late", "empty by chance", "new account", "other"
"""Causes of a day without rows that are no `Silence`."""

_DAY = 86_400.0
_LATE_OF_1000 = 12
_LATEST = 20
_PARTIAL_OF_1000 = 5
_CORRECTED_OF_1000 = 10
_EMPTY_OF_100 = {"user_summary": 3, "user_cumulate": 3}
_CORRECTED = {
    "interface_summary": "total_time_cost",
    "interface_summary_hour": "total_time_cost",
    "user_summary": "new_user",
    "user_cumulate": "cumulate_user",
    "upstream_msg": "msg_user",
    "upstream_msg_hour": "msg_user",
    "article_read": "read_user",
    "article_share": "share_user",
    "biz_summary": "like_user",
    "article_total_detail": "like_user",
}
"""The number that a correction changes; it is none by which a guide and its table are compared."""


class Silence(NamedTuple):
    """Days that some datasets answer without rows until WeChat fills them, account by account.

    They are filled within ``hours`` from the midnight ``later`` days after the last one on. If only
    ``half`` of the accounts are hit, each day is late by ``later`` days.
    """

    kind: str
    days: range
    datasets: tuple[str, ...]
    later: int
    hours: float = 0.0
    half: bool = False

    def filled_at(self, day: Day, chance: int) -> float:
        """Return when the rows of a day appear for an account with this number of 30 bits."""
        if self.half:
            return instant(day + 1 + self.later, READY_MINUTES) if chance % 2 else -math.inf
        return instant(self.days.stop + self.later) + self.hours * 3600 * chance / (1 << 30)


@dataclass
class SilentLife(SilentAccounts):
    """A life whose truth is that of the moment ``until``."""

    until: float = math.inf
    silences: tuple[Silence, ...] = ()

    def truth(self, dataset: str, appid: str, day: Day) -> list[Row]:
        """Return the rows of a day at the end."""
        rows = ROWS[dataset](self, self.role(appid), day)
        return self._as_of(self.until, dataset, appid, day, rows)

    def since(self, dataset: str, appid: str, day: Day) -> float:
        """Return when WeChat has rows of a day; infinite if it never has."""
        has_rows = ROWS[dataset](self, self.role(appid), day)
        return self.appears_at(dataset, appid, day) if has_rows else math.inf

    def appears_at(self, dataset: str, appid: str, day: Day) -> float:
        """Return when the rows of a day appear, in seconds since the Unix epoch."""
        return self.delay(dataset, appid, day)[0]

    def delay(self, dataset: str, appid: str, day: Day) -> tuple[float, str]:
        """Return when the rows of a day appear, and what delays them; empty for nothing."""
        usual = instant(day + 1, READY_MINUTES)
        if self.calm:
            return usual, ""
        found = usual, ""
        chance = self._chance(dataset, appid, day, 41)
        if chance % 1000 < _LATE_OF_1000:
            days = 1 + chance // 1000 % _LATEST
            found = usual + days * _DAY + chance // 20_000 % 720 * 60.0, LATE
        for silence in self.silences:
            if day in silence.days and dataset in silence.datasets:
                lot = mixed(number_of(appid), silence.days.start, self.seed)
                found = max(found, (silence.filled_at(day, lot), silence.kind))
        return found

    def shown(self, dataset: str, appid: str, day: Day, now: float) -> tuple[list[Row], bool]:
        """Return the rows that a call gets at ``now``; none is marked as delayed."""
        if now < self.appears_at(dataset, appid, day):
            return [], False
        rows = ROWS[dataset](self, self.role(appid), day)
        rows = self._as_of(now, dataset, appid, day, rows)
        return grown_so_far(rows, CATALOGUE[dataset], today(now - 60 * READY_MINUTES)), False

    def is_hushed(self, dataset: str, appid: str, end: Day, now: float, times: int) -> bool:
        """Return whether an answer is empty by chance; ``times`` it was asked in this run."""
        if self.calm:
            return False
        chance = self._chance(dataset, appid, end, 43 + 1009 * today(now) + 31 * times)
        return chance % 100 < _EMPTY_OF_100.get(dataset, 1)

    def is_partial(self, dataset: str, appid: str, day: Day) -> bool:
        """Return whether some hours of a day appear later than the others."""
        chance = self._chance(dataset, appid, day, 47)
        return not self.calm and dataset.endswith("_hour") and chance % 1000 < _PARTIAL_OF_1000

    def corrected_at(self, dataset: str, appid: str, day: Day) -> float:
        """Return when a number of a day changes; infinite if it never does."""
        chance = self._chance(dataset, appid, day, 53)
        if self.calm or chance % 1000 >= _CORRECTED_OF_1000:
            return math.inf
        return instant(day + 5 + chance // 1000 % 56, chance % 1440)

    def _as_of(
        self, moment: float, dataset: str, appid: str, day: Day, rows: list[Row]
    ) -> list[Row]:
        if self.is_partial(dataset, appid, day):
            whole = self.appears_at(dataset, appid, day) + _DAY * (1 + number_of(appid) % 10)
            rows = rows if moment >= whole else rows[: max(1, len(rows) // 2)]
        if moment >= self.corrected_at(dataset, appid, day):
            rows = [_corrected(row, _CORRECTED[dataset]) for row in rows]
        return rows

    def _chance(self, dataset: str, appid: str, day: Day, salt: int) -> int:
        return mixed(number_of(appid) * 31 + _PLACES[dataset], day, self.seed * 65_537 + salt)


_PLACES = {name: place for place, name in enumerate(CATALOGUE)}


def _corrected(value: Any, name: str, key: str = "") -> Any:
    if isinstance(value, dict):
        return {each: _corrected(inner, name, each) for each, inner in value.items()}
    if isinstance(value, list):
        return [_corrected(inner, name) for inner in value]
    return value + 100_000 if key == name else value
