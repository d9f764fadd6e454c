"""Days that are empty for all accounts: whether WeChat may still fill them, and when to ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from itertools import groupby
from typing import Literal, NamedTuple, TypeAlias

from harvester.core import calendar, readiness
from harvester.core.calendar import Day, DaySet
from harvester.core.exit_codes import Exit
from harvester.core.text.wording import Message, counted, said
from harvester.storage.account_scan import Scan, States
from harvester.tables.evidence import HOURLY_RUNS

_HOUR = 3600
_PATIENCE = 2
"""Days for which a run asks again in an outage."""
_WITHOUT_A_SAY = "user"
"""Family whose tables do not tell a holiday from an outage."""


Meaning: TypeAlias = Literal["again", "note", "person"]


class EmptyEverywhere(NamedTuple):
    """Consecutive days of one dataset without rows of 90% of the accounts that usually have some.

    Or without rows of some of them, once late rows came of others, or between days with rows of a
    dataset without gaps. ``accounts`` counts those that wait, the first one since ``since``.
    ``meaning`` is "again" while a run may obtain rows, from ``retry_at`` on; "person" if the user
    should look; and "note" on a holiday, on which other datasets have no rows either. Times are in
    seconds since the Unix epoch; in JSON they are RFC 3339 in UTC.
    """

    dataset: str
    begin: date
    end: date
    accounts: int
    since: int
    meaning: Meaning
    retry_at: float | None

    @property
    def days(self) -> int:
        """The number of days."""
        return (self.end - self.begin).days + 1

    @property
    def text(self) -> Message:
        """The days, and how many accounts wait for them."""
        days = calendar.range_text(*map(calendar.day_of, (self.begin, self.end)))
        accounts = counted(self.accounts, "account")
        return said("no rows of {days} so far, of {accounts}", days=days, accounts=accounts)


def empty_everywhere(scan: Scan, now: float) -> list[EmptyEverywhere]:
    """Return the days without rows that are not final and are owed, each dataset's oldest first."""
    found: list[EmptyEverywhere] = []
    for dataset, states in scan.states.items():
        evidence = scan.evidence[dataset]
        reopened = evidence.reopened & evidence.was_empty
        days = evidence.empty_everywhere | reopened | _holes(scan, dataset)
        for day in calendar.each_day(days):
            # Late rows came of some accounts, and others usually have some as well.
            is_reopened = calendar.has_day(reopened, day)
            whose = evidence.usual(day) if is_reopened else states
            until = _filled_at(states, day) if is_reopened else now
            since = [
                states[appid].asked[day].first
                for appid in whose
                if appid in states and _is_owed(states[appid], day, until)
            ]
            if since:
                silent = calendar.has_day(evidence.empty_everywhere, day) and not is_reopened
                meaning = _meaning(scan, dataset, day, min(since), now) if silent else "again"
                at = _retry_at(scan, dataset, min(since), now) if meaning == "again" else None
                date = calendar.date_of(day)
                about = len(since), min(since), meaning, at
                found.append(EmptyEverywhere(dataset, date, date, *about))
    return list(_joined(found))


def _is_owed(state: States, day: Day, until: float) -> bool:
    """Return whether a day is empty so far, and was asked last until a moment."""
    is_empty = calendar.has_day(state.provisional & state.empty, day)
    return is_empty and day in state.asked and state.asked[day].last <= until


def _filled_at(states: Mapping[str, States], day: Day) -> int:
    """Return the time of the last late rows of a day, from which on no account is owed any."""
    filled = (state for state in states.values() if calendar.has_day(state.with_rows, day))
    return max((x.asked[day].rests_on for x in filled if day in x.asked), default=0)


def _holes(scan: Scan, dataset: str) -> DaySet:
    """Return the days between rows of an account that a dataset without gaps owes."""
    found = calendar.NO_DAYS
    if scan.evidence[dataset].dataset.gapless:
        for state in scan.states[dataset].values():
            found |= state.contradicted & state.provisional & state.empty
    return found


def exit_of(found: Iterable[EmptyEverywhere]) -> Exit:
    """Return the exit code that such days call for."""
    meanings = {each.meaning for each in found}
    if "again" in meanings:
        return Exit.AGAIN
    return Exit.INCOMPLETE if "person" in meanings else Exit.DONE


def _meaning(scan: Scan, dataset: str, day: Day, since: int, now: float) -> Meaning:
    """Return the meaning of a day that is empty everywhere and was asked first at ``since``."""
    age, evidence = calendar.today(now) - calendar.today(since), scan.evidence[dataset]
    if _is_holiday(scan, dataset, day):
        before = readiness.period_begin(evidence.dataset.grain, day - 1)
        is_first = not calendar.has_day(evidence.empty_everywhere, before)
        return "again" if is_first and age < 1 else "note"
    return "again" if age < _PATIENCE else "person"


def _retry_at(scan: Scan, dataset: str, since: int, now: float) -> float:
    """Return the next full hour in the first two hours, then the next ready hour."""
    if now // _HOUR - since // _HOUR < HOURLY_RUNS:
        return now - now % _HOUR + _HOUR
    ready = scan.evidence[dataset].dataset.ready_minutes
    today = calendar.instant(calendar.today(now), ready)
    return today if today > now else calendar.instant(calendar.today(now) + 1, ready)


def _is_holiday(scan: Scan, dataset: str, day: Day) -> bool:
    """Return whether half of the other tables of the accounts are silent about a day too.

    These are the ones that usually have rows of the account around the day. The user family has
    rows of days on which nothing happens, so it has no say.
    """
    silent = asked = 0
    whose = scan.evidence[dataset].usual(day)
    for name, other in scan.evidence.items():
        if name == dataset or other.dataset.family == _WITHOUT_A_SAY:
            continue
        usual = {*other.usual(day)}
        known = [other.histories[appid] for appid in whose if appid in usual]
        answered = [each for each in known if calendar.has_day(each.answered, day)]
        asked += len(answered)
        silent += sum(not calendar.has_day(each.with_rows, day) for each in answered)
    return 0 < asked <= 2 * silent


def _joined(found: list[EmptyEverywhere]) -> Iterator[EmptyEverywhere]:
    """Join consecutive days of the same meaning."""

    def stretch(item: tuple[int, EmptyEverywhere]) -> tuple[str, str, Day]:
        place, day = item
        return day.dataset, day.meaning, calendar.day_of(day.begin) - place

    for _, items in groupby(enumerate(found), stretch):
        days = [day for _, day in items]
        yield days[0]._replace(
            end=days[-1].end,
            accounts=max(day.accounts for day in days),
            since=min(day.since for day in days),
        )
