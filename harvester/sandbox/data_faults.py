"""Faults of days: late, empty, preliminary or delayed data.

A data fault hits days of accounts and datasets. The rules have it from the start, or
`FakeWeChat.add_data_fault` adds it later. It always hits the same days, so a run can be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass

from harvester.core.calendar import FIRST_DAY, Day
from harvester.sandbox.data.account import fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFault:
    """The days that a fault hits; a field that is left out does not narrow them.

    Attributes:
        appid: Hits this account alone.
        datasets: Hits these datasets alone.
        begin: First day of data; a week or a month counts as its first day.
        end: Last day of data.
        share: Share of the days of each account and dataset, from 0 to 1, chosen by the seed of the
            rules. Two faults of one kind and share hit the same days; a smaller share hits some of
            the days of a larger one.
    """

    appid: str = ""
    datasets: tuple[str, ...] = ()
    begin: Day = FIRST_DAY
    end: Day = 1 << 31
    share: float = 1.0

    def hits(self, appid: str, dataset: str, day: Day, *, seed: int) -> bool:
        """Return whether the fault hits a day of an account's dataset."""
        chance = f"{type(self).__name__} {seed} {appid} {dataset} {day}"
        return (
            self.begin <= day <= self.end
            and self.appid in {"", appid}
            and (not self.datasets or dataset in self.datasets)
            and (self.share >= 1 or fraction(chance) < self.share)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Late(DataFault):
    """Rows that appear ``days`` later than usual, ``minutes`` after midnight.

    Without ``minutes`` they appear at the usual minute. Until then the answer leaves the day out,
    or with ``unready`` the whole window answers 61503.
    """

    days: int = 0
    minutes: int | None = None
    unready: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage(DataFault):
    """Days that are answered without rows until the fault is removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revised(DataFault):
    """Preliminary figures: too small, other ones on each day of asking, sometimes a row missing.

    They are final once the period is more than ``days`` days old; without ``days``, once the
    catalogue calls the dataset settled.
    """

    days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delayed(DataFault):
    """Answers with ``"is_delay"`` true while one of their periods is at most ``days`` days old.

    Their figures are preliminary, as with `Revised`. Datasets without ``"is_delay"`` are not hit.
    """

    days: int = 1
