"""Results that programs receive."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal, NamedTuple, TypeAlias

from harvester.core.calendar import Day

Op: TypeAlias = Literal["replaced", "deleted", "erased"]
"""Operation on a file. Of an ``erased`` file neither days nor accounts are named."""


@dataclass(frozen=True, slots=True)
class PausedAccount:
    """An account that the manifest pauses, with its reason.

    ``datasets`` are those that are not asked, empty if none of the account is. ``until`` is the
    last day of the pause.
    """

    appid: str
    name: str
    reason: str
    datasets: tuple[str, ...] = ()
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A replaced or deleted file, with the days and accounts whose rows differ.

    ``seq`` counts the changes of the file's bucket, and ``path`` is relative to the output. A file
    that is listed because it exists has no ``run_id``. ``corrected`` is True if final rows of one
    of the days were replaced.
    """

    seq: int = 0
    op: Op = "replaced"
    dataset: str = ""
    ref_month: str = ""
    path: str = ""
    days: tuple[str, ...] = ()
    appids: tuple[str, ...] = ()
    run_id: str | None = None
    rows_before: int = 0
    rows_after: int = 0
    corrected: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the change as values for JSON."""
        return {**asdict(self), "days": list(self.days), "appids": list(self.appids)}


@dataclass(frozen=True, slots=True)
class DatasetPlan:
    """Requests of a run for one dataset, with its first and last missing day.

    ``accounts`` counts those that lack days. ``account_days`` are missing of the ``wanted`` ones.
    """

    dataset: str
    accounts: int
    requests: int
    account_days: int
    wanted: int
    begin: date | None
    end: date | None


class PendingDays(NamedTuple):
    """Days of one dataset that a run still owes: of how many accounts, and between which days.

    ``first`` names the first accounts.
    """

    dataset: str
    accounts: int
    account_days: int
    begin: Day
    end: Day
    first: tuple[str, ...]


class QuotaUse(NamedTuple):
    """The calls of one dataset on a Beijing day.

    ``least_left`` is what the account with the fewest calls left has, its reserve included: each
    account has a quota of its own, so a sum would hide one that is spent. ``spent`` accounts have
    none left.
    """

    dataset: str
    calls: int
    least_left: int
    spent: int
