"""Counts of days after a run: a total for each dataset, and each account that needs attention."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from harvester.core import calendar
from harvester.core.calendar import DaySet
from harvester.core.exit_codes import Exit
from harvester.core.model import Refusal
from harvester.core.rule import TRANSIENT, Action, Scope
from harvester.planning.wanted_days import Wanted
from harvester.runs.record.complete_days import CompleteDays
from harvester.scheduling.account_queue import AccountQueue, pairs
from harvester.scheduling.listener import AbandonedDays
from harvester.storage import coverage_scan
from harvester.storage.account_scan import States
from harvester.storage.state.run_records import GivenUp

_RECENT_DAYS = 7
"""Newest days that an account wants of a dataset. What it lacks of older ones is backfill."""


class DayCounts(NamedTuple):
    """Numbers of days by state, as the files have them; ``backfill`` is the old part of missing.

    The last members count final days by what they rest on, in the words of the table `coverage`.
    """

    wanted: int = 0
    done: int = 0
    missing: int = 0
    empty: int = 0
    suspicious: int = 0
    provisional: int = 0
    quarantined: int = 0
    backfill: int = 0
    rows: int = 0
    two_answers: int = 0
    guide: int = 0
    stretch: int = 0
    contradicted: int = 0


WITNESSES = ("rows", "two_answers", "guide", "stretch", "contradicted")
"""Words for the witnesses of final days, as in the column `witness` of the table `coverage`."""


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """The state of one dataset after a run, in account-days.

    ``complete_days`` counts the accounts by day that are neither paused nor refused.
    """

    dataset: str
    accounts: int
    days: DayCounts
    complete_days: CompleteDays = field(default_factory=CompleteDays, repr=False)

    @property
    def newest_complete_day(self) -> date | None:
        """The newest day on which at least 95% of these accounts have an answer that fits."""
        newest = self.complete_days.newest
        return None if newest is None else calendar.date_of(newest)


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """One dataset of one account after a run.

    ``requests`` and ``retries`` count its calls in the run, ``failed`` the windows given up.
    ``waits_for_quota`` is True if its quota is spent until the next Beijing day. ``reasons`` are
    the run's reasons that this account causes, ``errcodes`` the codes that WeChat answered.
    """

    appid: str
    dataset: str
    days: DayCounts
    requests: int
    retries: int
    failed: int = 0
    waits_for_quota: bool = False
    reasons: tuple[str, ...] = ()
    errcodes: tuple[int, ...] = ()


class Beginning(NamedTuple):
    """An account's oldest day with rows. Older days were asked for the first time."""

    appid: str
    day: calendar.Day


# Reasons that the action alone decides; the next run asks such days again.
_AGAIN = {
    Action.WAIT_FOR_QUOTA: "quota",
    Action.SLOW_DOWN: "minute_limit",
    Action.DEFER: "deferred",
    Action.NOT_READY: "not_ready",
}


def reason_of(abandoned: AbandonedDays) -> tuple[str, Exit]:
    """Return the reason that given up days are for a run, and the exit code it calls for."""
    return reason_for(abandoned.rule.action, abandoned.rule.scope)


def errcode_of(abandoned: AbandonedDays) -> int | None:
    """Return WeChat's code for given up days; None without an answer of WeChat's."""
    return abandoned.why.errcode if isinstance(abandoned.why, Refusal) else None


def given_up(item: AbandonedDays) -> GivenUp:
    """Return given up days as a record has them."""
    begin, end = map(calendar.date_of, (item.begin, item.end))
    kind = item.rule.action.value, item.rule.scope.value
    return GivenUp(item.appid, item.dataset, begin, end, *kind, errcode_of(item))


def reason_for(action: Action, scope: Scope) -> tuple[str, Exit]:
    """Return the reason and the exit code of days that were given up by such a rule."""
    if action in _AGAIN:
        return _AGAIN[action], Exit.AGAIN
    # A bounded refusal or a passing one says nothing of the account's permissions.
    if scope is Scope.WINDOW or action in TRANSIENT:
        return "failed", Exit.INCOMPLETE
    return "refused", Exit.INCOMPLETE


def summarise_states(
    want: Wanted,
    states: Mapping[str, Mapping[str, States]],
    lost: Container[tuple[str, str, str]],
) -> Iterator[DatasetSummary]:
    """Count the account-days of each dataset by state.

    ``lost`` has datasets and appids of which days do not come by themselves, with the reason.
    """
    for dataset, of_dataset in want.items():
        found = [(appid, wanted, states[dataset][appid]) for appid, wanted in of_dataset.items()]
        counts = [_counts(wanted, state) for _, wanted, state in found]
        yield DatasetSummary(
            dataset,
            len(found),
            DayCounts(*map(sum, zip(*counts, strict=True))),
            CompleteDays.of(
                (wanted, wanted & ~state.covered | state.unanswered)
                for appid, wanted, state in found
                if (dataset, appid, "refused") not in lost
            ),
        )


def beginnings(
    states: Mapping[str, Mapping[str, States]], today: calendar.Day
) -> Iterator[Beginning]:
    """Yield the beginning of each account of which days before it were first asked today."""
    first = coverage_scan.first_days(states)
    fresh = defaultdict[str, DaySet](int)
    for of_dataset in states.values():
        for appid, state in of_dataset.items():
            if state.old_asked and calendar.today(state.old_asked) == today:
                fresh[appid] |= state.provisional & ~state.with_rows
    for appid, day in first.items():
        if fresh[appid] & calendar.day_range(calendar.FIRST_DAY, day - 1):
            yield Beginning(appid, day)


def added(one: DatasetSummary, other: DatasetSummary) -> DatasetSummary:
    """Return the sums of two reports of a dataset."""
    days = DayCounts(*map(sum, zip(one.days, other.days, strict=True)))
    complete = one.complete_days + other.complete_days
    return DatasetSummary(one.dataset, one.accounts + other.accounts, days, complete)


def with_trouble(
    want: Wanted,
    states: Mapping[str, Mapping[str, States]],
    abandoned: Iterable[AbandonedDays],
    queues: Iterable[AccountQueue],
) -> Iterator[AccountSummary]:
    """Yield every dataset of an account with missing, quarantined or abandoned days.

    Complete ones are left out: of ten thousand accounts most are complete.
    """
    lost: defaultdict[tuple[str, str], list[AbandonedDays]] = defaultdict(list)
    for item in abandoned:
        lost[item.dataset, item.appid].append(item)
    spent = {
        (backlog.dataset.name, queue.appid): (backlog.calls, backlog.retries)
        for queue, backlog in pairs(queues)
    }
    for dataset, of_dataset in want.items():
        for appid, wanted in of_dataset.items():
            state, key = states[dataset][appid], (dataset, appid)
            if key in lost or wanted & ~state.covered or state.quarantined:
                days, calls = _counts(wanted, state), spent.get(key, (0, 0))
                yield _account_summary(appid, dataset, days, calls, lost.get(key, []))


def _account_summary(
    appid: str, dataset: str, days: DayCounts, calls: tuple[int, int], lost: list[AbandonedDays]
) -> AccountSummary:
    reasons = [reason_of(item)[0] for item in lost]
    if days.quarantined:
        reasons.append("quarantined")
    codes = filter(None, map(errcode_of, lost))
    return AccountSummary(
        appid,
        dataset,
        days,
        *calls,
        failed=reasons.count("failed"),
        waits_for_quota="quota" in reasons,
        reasons=tuple(dict.fromkeys(reasons)),
        errcodes=tuple(dict.fromkeys(codes)),
    )


def _counts(wanted: calendar.DaySet, state: States) -> DayCounts:
    """Count the days of one dataset of one account by state."""
    missing = wanted & ~state.covered
    sets = DayCounts(
        wanted=wanted,
        done=wanted & state.covered,
        missing=missing,
        empty=state.empty,
        suspicious=state.suspicious,
        provisional=state.provisional,
        quarantined=state.quarantined,
        backfill=missing and backfill_of(wanted, missing),
        **state.by_witness(),
    )
    return DayCounts(*map(calendar.count_days, sets))


def final_days(state: States) -> DayCounts:
    """Count the final days of one dataset of one account by what they rest on."""
    found = state.by_witness()
    return DayCounts(**{name: calendar.count_days(days) for name, days in found.items()})


def backfill_of(wanted: calendar.DaySet, missing: calendar.DaySet) -> calendar.DaySet:
    """Return the missing days before the newest wanted ones."""
    newest = calendar.newest(wanted) - _RECENT_DAYS
    return missing & calendar.day_range(calendar.FIRST_DAY, newest)


def any_unexplained(rows: Iterable[AccountSummary]) -> bool:
    """Return whether days are missing without a reason; a quarantined day counts as covered."""
    return any(row.days.missing > 0 and not {*row.reasons} - {"quarantined"} for row in rows)
