"""Gate for jobs that read the files: checks whether all days up to a given day are present.

The files show which days are missing, and the run records show why. A day is lost if the last
finished run that asked for it was refused or failed: no later run obtains it by itself.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import chain
from typing import NamedTuple

from harvester.core import calendar, readiness
from harvester.core.calendar import Day
from harvester.core.day_states import NOT_ASKED, ExplainedDays
from harvester.core.exit_codes import Exit
from harvester.core.model import DayRange
from harvester.planning.ledger import Moment
from harvester.planning.wanted_days import Wanted, wanted
from harvester.runs.attention_finder import CLOCK, Pairs, concerns
from harvester.runs.days.missing_days import MAX_RECORDS, Missing, RunHistory
from harvester.runs.record.absent_rows import NO_ROWS
from harvester.runs.record.attention import Attention
from harvester.runs.record.expectations import CAUSE, Expectation
from harvester.runs.record.prospects import comes_at
from harvester.storage.account_scan import States
from harvester.storage.coverage_scan import day_ranges_of
from harvester.storage.empty_everywhere import EmptyEverywhere, exit_of
from harvester.storage.state import quota_ledger

_OF_THE_WHOLE = {"clock", NO_ROWS}
"""Reasons that close a gate whatever days are there."""


class Required(NamedTuple):
    """Days that a gate waits for: up to ``day``, or to the newest that is ready if it is None.

    ``final`` demands final answers; otherwise provisional ones are enough. ``at`` is the moment of
    this machine, to be compared with what its runs have heard of WeChat's time. ``at_least`` is the
    share of the days that is enough, None for all of them. ``of_wanting`` asks nothing of accounts
    and datasets that do not want the day itself.
    """

    day: Day | None = None
    final: bool = False
    at: Moment | None = None
    at_least: float | None = None
    of_wanting: bool = False


@dataclass(frozen=True, slots=True)
class LostDays(DayRange):
    """Missing days that no run obtains by itself.

    ``reason`` is ``"refused"``, ``"failed"`` or ``"quarantined"``; ``errcode`` is None without an
    answer of WeChat's, and ``run_id`` names the run that asked, except for quarantined days. The
    days that a gate does without may have any reason.
    """

    reason: str
    errcode: int | None = None
    run_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """The result of a gate: the required days that are not present.

    ``day`` is the one that was judged, ``newest_ready`` the newest day that is ready in all
    datasets, and ``wanted`` False if nothing is wanted of ``day``. ``obtainable`` are missing days
    that a run can still obtain, from ``retry_at`` on (RFC 3339 in UTC, None if nothing comes by
    itself), and ``lost`` those that it cannot. ``reasons`` are all that closes the gate, in the
    words of a run and sorted; empty if it is open. ``empty_everywhere`` are days without rows of
    nearly all accounts. ``attention`` is what needs a person. ``share`` of the account-days is
    there. If that is enough, because ``at_least`` says so, all that are missing are in ``without``
    instead. ``expectations`` are those that are not met and close the gate.
    """

    day: date
    final: bool
    obtainable: tuple[DayRange, ...] = ()
    lost: tuple[LostDays, ...] = ()
    retry_at: str | None = None
    reasons: tuple[str, ...] = ()
    empty_everywhere: tuple[EmptyEverywhere, ...] = ()
    attention: tuple[Attention, ...] = ()
    share: float = 1.0
    at_least: float | None = None
    without: tuple[LostDays, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    newest_ready: date | None = None
    wanted: bool = True

    @property
    def exit_code(self) -> Exit:
        """75 while a run can obtain more, 76 if something needs a person as well.

        3 if the rest is lost, or an expectation that closes the gate is not met; 0 if everything is
        there.
        """
        code = exit_of(self.empty_everywhere)
        if self.obtainable or _OF_THE_WHOLE & {*self.reasons} or code is Exit.AGAIN:
            return Exit.ATTENTION if self.attention else Exit.AGAIN
        return Exit.INCOMPLETE if self.lost or self.expectations else code


class Trouble(NamedTuple):
    """Trouble of an output, other than missing days, that may close a gate.

    ``silent`` are the days that are empty everywhere, ``attention`` is what needs a person, and
    ``judged`` are the expectations. A ``rowless`` output has no row at all and ought to have one.
    """

    silent: tuple[EmptyEverywhere, ...] = ()
    attention: tuple[Attention, ...] = ()
    judged: tuple[Expectation, ...] = ()
    rowless: bool = False


def read_gate(required: Required, history: RunHistory, trouble: Trouble) -> Gate:
    """Compare the required days with the files and the run records. Raises StoreError."""
    known, now = history.manifest.datasets, history.now
    ready = readiness.newest_ready_day((known[name] for name in history.states), now)
    last = ready if required.day is None else required.day
    day, want = calendar.date_of(last), _required_days(required, last, history)
    asked = {name for name, of_dataset in want.items() if any(of_dataset.values())}
    silent = tuple(each for each in trouble.silent if each.dataset in asked and each.begin <= day)
    due = (each for each in trouble.judged if each.dataset in asked and each.day <= day)
    unmet = {each.key: each for each in due if not each.is_met}
    found = list(_explained(want, required, history))
    share = _share_there(want, found)
    is_enough = required.at_least is not None and share >= required.at_least
    lacking = [] if is_enough else found
    obtainable = tuple(chain.from_iterable(_ranges(x) for x in lacking if x.at is not None))
    gone = tuple(_named((x for x in found if x.at is None or is_enough), history.manifest.names))
    is_apart = _is_clock_apart(required, history)
    whole = [*["clock"] * is_apart, *[NO_ROWS] * trouble.rowless]
    needed = _about(trouble.attention, _pairs(obtainable), _pairs(gone), unmet)
    # The clock may have been set since the last run, or gone wrong.
    needed += [CLOCK] * is_apart
    moments = [item.at for item in found if item.at is not None]
    moments += (at for reason in whole if (at := comes_at(reason, now)) is not None)
    moments += (each.retry_at for each in silent if each.retry_at is not None)
    closed = tuple(each for each in unmet.values() if each.gate == "closed")
    reasons = {*whole, *(item.reason for item in lacking)}
    reasons |= set() if exit_of(silent) is Exit.DONE else {"empty_everywhere"}
    reasons |= {CAUSE} if closed else set()
    return Gate(
        day,
        required.final,
        obtainable,
        () if is_enough else gone,
        calendar.utc_text(max(now, min(moments))) if moments else None,
        tuple(sorted(reasons)),
        silent,
        tuple(needed),
        share,
        required.at_least,
        gone if is_enough else (),
        closed,
        calendar.date_of(ready),
        bool(asked),
    )


def _about(
    found: Iterable[Attention], obtainable: Pairs, lost: Pairs, unmet: Container[str]
) -> list[Attention]:
    """Return the items of days that are required; those that a run can obtain may only be late.

    ``unmet`` are the keys of expectations of such days.
    """

    def is_required(item: Attention) -> bool:
        if item.cause in ("clock", CAUSE):
            return item.key in unmet
        return concerns(item, obtainable if item.cause == "not_ready" else lost)

    return list(filter(is_required, found))


def _pairs(days: Iterable[DayRange]) -> Pairs:
    return {(each.dataset, each.appid) for each in days}


def _ranges(item: ExplainedDays) -> Iterator[DayRange]:
    return day_ranges_of(item.appid, item.dataset, item.days)


def _named(found: Iterable[ExplainedDays], names: Mapping[str, str]) -> Iterator[LostDays]:
    for item in found:
        cause = item.reason, item.errcode, item.run_id, names.get(item.appid, "")
        yield from (LostDays(x.appid, x.dataset, x.begin, x.end, *cause) for x in _ranges(item))


def _share_there(want: Wanted, lacking: Iterable[ExplainedDays]) -> float:
    """Return the share of the required account-days that are present."""
    every = sum(calendar.count_days(days) for of in want.values() for days in of.values())
    gone = sum(calendar.count_days(item.days) for item in lacking)
    return (every - gone) / every if every else 1.0


def _is_clock_apart(required: Required, history: RunHistory) -> bool:
    """Return whether the last run that asked WeChat has heard another time than this machine's."""
    # That of the first bucket, as a run does: what one account hears of the time holds for all.
    ledger = quota_ledger.read(history.tree, calendar.today(history.now), 0)
    at = required.at
    return at is not None and ledger is not None and ledger.agrees_with(at) is False


def _required_days(required: Required, last: Day, history: RunHistory) -> Wanted:
    """Return the days up to the last one that must be there, ready or not.

    Of weeks and months these are the periods that are over by then.
    """
    # At the end of the day after it, because each dataset has its own ready hour.
    until = max(history.now, calendar.instant(last + 2) - 1)
    found: Wanted = {}
    for name, of_dataset in wanted(history.manifest, until).items():
        newest = readiness.newest_ended(history.manifest.datasets[name].grain, last)
        upto = calendar.day_range(calendar.FIRST_DAY, newest)
        found[name] = {
            appid: days & upto
            for appid, days in of_dataset.items()
            if not required.of_wanting or calendar.has_day(days, newest)
        }
    return found


def _explained(want: Wanted, required: Required, history: RunHistory) -> Iterator[ExplainedDays]:
    """Yield the required days that are not present, each once, with their cause."""
    now, missing, unready, ready_at = history.now, Missing(), Missing(), list[float]()
    for dataset, of_dataset in want.items():
        known = history.manifest.datasets[dataset]
        ready = calendar.day_range(calendar.FIRST_DAY, readiness.newest_ready(known, now))
        for appid, days in of_dataset.items():
            state = history.states[dataset].get(appid, States())
            there = state.answered & ~state.provisional if required.final else state.answered
            lacking = days & ~there
            if later := lacking & ~ready:
                unready[dataset, appid] = later
                ready_at.append(readiness.ready_at(known, calendar.newest(later)))
            # The run that asked got an answer, so no record says why such a day is not there.
            if lost := lacking & ready & state.quarantined:
                yield ExplainedDays(dataset, appid, lost, None, "quarantined")
            if rest := lacking & ready & ~state.quarantined:
                missing[dataset, appid] = rest
    for (dataset, appid), days in unready.items():
        # The gate does not open before the last of them is ready.
        yield ExplainedDays(dataset, appid, days, max(ready_at), "not_ready")
    for item in history.explain(missing, MAX_RECORDS):
        is_there = not item.days & ~history.states[item.dataset][item.appid].provisional
        is_early = is_there and item.reason == NOT_ASKED
        yield item._replace(reason="provisional") if is_early else item
