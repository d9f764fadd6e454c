"""Days that are answered otherwise than they should be: late, empty, preliminary or mixed up.

A trouble says what happens to which days of whom. It stands in the rules of a world or comes and
goes while the world runs, and it always hits the same days, so that a run can be repeated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from harvester.core.calendar import FIRST_DAY, Day
from harvester.sandbox.call_faults import ANYONE

_FOR_EVER: Day = 1 << 31


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFault:
    """Which days of whom are in trouble; all fields that are left out mean all.

    ``begin`` and ``end`` are the first and the last day the rows tell of, not the days of asking;
    weeks and months go by their first day. ``share`` of the days of each account and dataset are
    hit, spread by chance, always the same for the seed of the rules. Two troubles of one kind with
    the same share hit the same days; of a smaller share, some of the same.
    """

    appid: str = ANYONE
    datasets: tuple[str, ...] = ()
    begin: Day = FIRST_DAY
    end: Day = _FOR_EVER
    share: float = 1.0

    def hits(self, appid: str, dataset: str, day: Day, *, seed: int) -> bool:
        """Whether a day of an account's dataset is one of them."""
        return (
            self.begin <= day <= self.end
            and self.appid in {ANYONE, appid}
            and (not self.datasets or dataset in self.datasets)
            and (self.share >= 1 or self._chance(f"{seed} {appid} {dataset} {day}") < self.share)
        )

    def _chance(self, text: str) -> float:
        kind = type(self).__name__
        drawn = hashlib.shake_128(f"{kind} {text}".encode()).digest(6)
        return int.from_bytes(drawn, "big") / (1 << 48)


@dataclass(frozen=True, slots=True, kw_only=True)
class Late(DataFault):
    """The rows appear ``days`` later than usual, ``minutes`` after that midnight.

    Without ``minutes`` it is the hour of the rules. Until then an answer lacks the day, or with
    ``unready`` the whole window answers 61503.
    """

    days: int = 0
    minutes: int | None = None
    unready: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage(DataFault):
    """The days are answered as if nothing had happened on them, until the trouble is healed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revised(DataFault):
    """Figures change from day to day of asking and are too small, until they are settled.

    Now and then a row is missing too. They are as they stay when the period is more than ``days``
    days old; without it the catalogue says when the dataset is settled.
    """

    days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delayed(DataFault):
    """Answers say ``is_delay`` while one of their periods is no more than ``days`` days old.

    Their figures are as preliminary as under `Revised`. Only the four newer endpoints of articles
    say it; the others are not hit.
    """

    days: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Strays(DataFault):
    """Rows of other days come along, as in August 2022.

    ``years`` copies, dated a year (53 weeks) before each other, follow each day's rows; with
    ``alone`` they take its place.
    """

    years: int = 2
    alone: bool = False


class DataFaults:
    """All troubles there are at present."""

    def __init__(self, troubles: Iterable[DataFault], seed: int) -> None:
        self._troubles = list(troubles)
        self._seed = seed

    def __bool__(self) -> bool:
        return bool(self._troubles)

    def add(self, trouble: DataFault) -> None:
        """Let it begin."""
        self._troubles.append(trouble)

    def remove(self, trouble: DataFault) -> None:
        """Let it end. Raises ValueError if there is no such trouble."""
        self._troubles.remove(trouble)

    def of(self, appid: str, dataset: str, day: Day) -> list[DataFault]:
        """The troubles of a day."""
        return [t for t in self._troubles if t.hits(appid, dataset, day, seed=self._seed)]
