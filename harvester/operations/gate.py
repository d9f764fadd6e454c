"""Gate for the jobs that read the files: whether the days up to one are there, or may still come.

The files say which days are missing, and the run records why: a day that the last finished run
which asked for it was refused, or failed to obtain, does not come by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, TypeAlias

from harvester.catalogue import readiness
from harvester.catalogue.error_codes import Action, Scope
from harvester.core import calendar
from harvester.core.calendar import Day, DaySet
from harvester.core.config import Manifest
from harvester.core.exit_codes import Exit
from harvester.core.model import DayRange
from harvester.operations.record.account_report import reason_for
from harvester.operations.record.prospects import comes_at
from harvester.planning.windows import Wanted, wanted
from harvester.storage.coverage_scan import States, day_ranges_of
from harvester.storage.layout import Tree
from harvester.storage.state import run_records
from harvester.storage.state.run_records import GivenUp, RunResult

MAX_RECORDS = 500
"""Maximum run records that are searched. A refusal that none of them has counts as unknown, so that
the next run asks again and its own record answers."""

_Missing: TypeAlias = dict[tuple[str, str], DaySet]
"""Days by dataset and appid."""


class Required(NamedTuple):
    """Days that a gate waits for: up to ``day``, or to the newest that is ready if it is None.

    ``final`` demands final answers; otherwise provisional ones are enough.
    """

    day: Day | None = None
    final: bool = False


@dataclass(frozen=True, slots=True)
class LostDays:
    """Missing days that no run obtains by itself.

    ``reason`` is ``refused``, ``failed`` or ``quarantined``; ``errcode`` is None without an answer
    of WeChat's, and ``run_id`` names the run that asked, except for quarantined days.
    """

    appid: str
    dataset: str
    begin: Day
    end: Day
    reason: str
    errcode: int | None = None
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """The answer of a gate.

    ``obtainable`` are missing days that a run can still obtain, from ``retry_at`` on (RFC 3339 in
    UTC, None without such days), and ``lost`` those that it cannot.
    """

    day: Day | None
    final: bool
    obtainable: tuple[DayRange, ...] = ()
    lost: tuple[LostDays, ...] = ()
    retry_at: str | None = None

    @property
    def exit_code(self) -> Exit:
        """75 while a run can obtain more, 3 if the rest is lost, 0 if everything is there."""
        if self.obtainable:
            return Exit.AGAIN
        return Exit.INCOMPLETE if self.lost else Exit.DONE


class _Explained(NamedTuple):
    """Missing days of one account and dataset with the same cause.

    ``at`` is the moment from which a run may obtain them, in seconds since the Unix epoch; it is
    None for lost days, which have a reason.
    """

    dataset: str
    appid: str
    days: DaySet
    at: float | None
    reason: str = ""
    errcode: int | None = None
    run_id: str = ""


def read_gate(
    required: Required,
    manifest: Manifest,
    tree: Tree,
    now: float,
    states: dict[str, dict[str, States]],
) -> Gate:
    """Judge the required days at ``now`` by the states of the wanted ones.

    ``now`` is in seconds since the Unix epoch. Raises StoreError.
    """
    explained = list(_Judge(required, manifest, tree, now, states).explain())
    coming = [item for item in explained if item.at is not None]
    moments = [item.at for item in coming if item.at is not None]
    return Gate(
        day=required.day,
        final=required.final,
        obtainable=tuple(
            each for item in coming for each in day_ranges_of(item.appid, item.dataset, item.days)
        ),
        lost=tuple(
            LostDays(item.appid, item.dataset, *ends, item.reason, item.errcode, item.run_id)
            for item in explained
            if item.at is None
            for ends in calendar.day_ranges(item.days)
        ),
        retry_at=calendar.utc_text(max(now, min(moments))) if moments else None,
    )


@dataclass(slots=True)
class _Judge:
    """Finds what keeps each required day away. ``missing`` are the days still to explain."""

    required: Required
    manifest: Manifest
    tree: Tree
    now: float
    states: dict[str, dict[str, States]]
    missing: _Missing = field(default_factory=dict)

    def explain(self) -> Iterator[_Explained]:
        """Yield the required days that are not there, each once, with their cause."""
        today = calendar.today(self.now)
        for dataset, of_dataset in self._required_days().items():
            known = self.manifest.datasets[dataset]
            newest = readiness.newest_ready(known, self.now)
            for appid, days in of_dataset.items():
                state = self.states[dataset].get(appid, States())
                lacking = days & ~self._there(state)
                ready = lacking & calendar.day_range(calendar.FIRST_DAY, newest)
                if lacking != ready:
                    at = calendar.instant(today, known.ready_minutes)
                    yield _Explained(dataset, appid, lacking & ~ready, at)
                if lost := ready & state.quarantined:
                    yield _Explained(dataset, appid, lost, None, "quarantined")
                if rest := ready & ~state.quarantined:
                    self.missing[dataset, appid] = rest
        yield from self._given_up()
        for (dataset, appid), days in self.missing.items():
            # A provisional day that was asked today is asked again tomorrow.
            asked = days & self.states[dataset][appid].no_ask_today
            for found, at in ((days & ~asked, self.now), (asked, calendar.instant(today + 1))):
                if found:
                    yield _Explained(dataset, appid, found, at)

    def _required_days(self) -> Wanted:
        """Return the wanted days up to the required one; a named day even before it is ready."""
        day = self.required.day
        if day is None:
            return wanted(self.manifest, self.now)
        # At the end of the day after it, because each dataset has its own ready hour.
        want = wanted(self.manifest, max(self.now, calendar.instant(day + 2) - 1))
        upto = calendar.day_range(calendar.FIRST_DAY, day)
        return {
            dataset: {appid: days & upto for appid, days in of_dataset.items()}
            for dataset, of_dataset in want.items()
        }

    def _there(self, state: States) -> DaySet:
        """Return the days with an answer that is good enough."""
        return state.answered & ~state.provisional if self.required.final else state.answered

    def _given_up(self) -> Iterator[_Explained]:
        """Yield the days that the last finished run which asked for them gave up.

        Older runs are read while one of them may have asked for a day that is not explained yet.
        """
        oldest = self._oldest()
        for record in islice(run_records.newest(self.tree, RunResult), MAX_RECORDS):
            # Clipped, because a planted time must end in no error and in no date without a name.
            ended = min(max(0.0, record.ended_at.timestamp()), self.now)
            if not any(
                day <= readiness.newest_ready(self.manifest.datasets[dataset], ended)
                for dataset, day in oldest.items()
            ):
                return
            if record.state == "finished":
                found = list(self._given_up_by(record, ended))
                yield from found
                oldest = self._oldest() if found else oldest

    def _oldest(self) -> dict[str, Day]:
        """Return the oldest day of each dataset that is not explained yet."""
        oldest: dict[str, Day] = {}
        for (dataset, _), days in self.missing.items():
            if days:
                day = calendar.oldest(days)
                oldest[dataset] = min(day, oldest.get(dataset, day))
        return oldest

    def _given_up_by(self, record: RunResult, ended: float) -> Iterator[_Explained]:
        is_of_today = calendar.today(ended) == calendar.today(self.now)
        # The ranges of two entries may overlap, if days between those of one are in the other: a
        # single window within the rest of its dataset. The narrower one is exact.
        for item in sorted(record.exceptions, key=lambda item: item.end_date - item.begin_date):
            key = item.dataset, item.appid
            begin, end = map(calendar.day_of, (item.begin_date, item.end_date))
            days = self.missing.get(key, calendar.NO_DAYS) & calendar.day_range(begin, end)
            if days and not is_of_today:
                # A provisional day was answered since, or would have been asked again today.
                days &= ~self.states[item.dataset][item.appid].provisional
            if days:
                self.missing[key] &= ~days
                at, reason = _prospect(item, ended)
                yield _Explained(*key, days, at, reason, item.errcode, record.run_id)


def _prospect(item: GivenUp, ended: float) -> tuple[float | None, str]:
    """Return when a run may obtain given up days, None if none does by itself, and the reason."""
    try:
        reason, _ = reason_for(Action(item.action), Scope(item.scope))
    except ValueError:
        # A word of another version does not tell, and the record of the next run does.
        return ended, ""
    return comes_at(reason, ended), reason
