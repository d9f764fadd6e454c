"""Days of accounts that are asked morning by morning, with the footers of the files in memory."""

from __future__ import annotations

import functools
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from harvester.catalogue import CATALOGUE
from harvester.core import calendar, readiness
from harvester.core.calendar import Day, DaySet, Month, day_text, instant, month_of
from harvester.core.dataset import DATE_COLUMN, Dataset, Kind
from harvester.core.model import RawAnswer, Window
from harvester.core.windows import windows
from harvester.planning.wanted_days import Wanted
from harvester.storage import coverage_scan
from harvester.storage.account_scan import Scan, States
from harvester.storage.publish import answered_on
from harvester.tables import coverage
from harvester.tables.corrections import DecodedAnswer
from harvester.tables.coverage import AccountDays, AccountEvidence, Coverage
from harvester.tables.decode_batch import batch_decoder
from harvester.tables.merge import AccountChange
from harvester.tables.row_groups import Provenance

NOON = 12 * 60
"""Minute of the Beijing day at which a run asks."""

_RUN = Provenance(0, "run")
_decoder = functools.cache(batch_decoder)
_answered_on = functools.cache(answered_on)


class Asked(NamedTuple):
    """A day of an account that a window covers, and the Beijing day of its answer."""

    dataset: str
    appid: str
    day: Day
    on: Day


Source = Callable[[Asked], int | None]
"""The count in the day's row, None if it has none."""


@dataclass
class LivedDays:
    """Accounts whose datasets are asked at noon of each Beijing day, as ``source`` answers.

    ``want`` has the wanted days by dataset and appid. Answers of the datasets in ``delayed`` say
    that they are not complete. ``answers`` has those of each day, by dataset, appid and day: the
    Beijing day and the count. ``due`` counts how often a run asked for a day of its own accord.
    """

    want: Wanted
    source: Source
    delayed: frozenset[str] = frozenset()
    files: dict[tuple[str, Month], Coverage] = field(default_factory=dict)
    due: Counter[tuple[str, str, Day]] = field(default_factory=Counter)
    answers: dict[tuple[str, str, Day], list[tuple[Day, int | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _stored: dict[tuple[str, str, Day], int] = field(default_factory=dict)

    def scan(self, on: Day) -> Scan:
        """Return the states as the run of a Beijing day finds them."""
        found = ((name, each) for (name, _), each in self.files.items())
        return coverage_scan.scan_of(found, self._ready(on), instant(on, NOON), CATALOGUE)

    def state(self, name: str, appid: str, on: Day) -> States:
        """Return the days of an account as the run of a Beijing day finds them."""
        return self.scan(on).states[name][appid]

    def known(self, name: str, appid: str, day: Day) -> AccountDays:
        """Return what the file of a day says of the account's month."""
        month = month_of(day)
        return self.files.get((name, month), coverage.empty(month)).account(appid)

    def run(self, on: Day) -> Wanted:
        """Ask for what is due on a Beijing day, and return it."""
        scan, ready = self.scan(on), self._ready(on)
        due = coverage_scan.to_ask(scan.states, ready, None).days
        for name, of_dataset in due.items():
            for appid, days in of_dataset.items():
                if days:
                    self.due.update((name, appid, day) for day in calendar.each_day(days))
                    found = windows(days, CATALOGUE[name].span, ready[name][appid])
                    asked = [self._answer(Window(appid, name, *ends), on) for ends in found]
                    self._publish(asked, scan)
        return due

    def _ready(self, on: Day) -> Wanted:
        now = instant(on, NOON)
        ready = {
            name: calendar.day_range(
                calendar.FIRST_DAY, readiness.newest_ready(CATALOGUE[name], now)
            )
            for name in self.want
        }
        return {
            name: {appid: days & ready[name] for appid, days in of_dataset.items()}
            for name, of_dataset in self.want.items()
        }

    def _answer(self, window: Window, on: Day) -> RawAnswer:
        rows, dataset = [], CATALOGUE[window.dataset]
        for day in range(window.begin, window.end + 1):
            if day == readiness.period_begin(dataset.grain, day):
                count = self.source(Asked(window.dataset, window.appid, day, on))
                self.answers[window.dataset, window.appid, day].append((on, count))
                rows += [] if count is None else [_row(dataset, day, count)]
        body = {"list": rows, **({"is_delay": True} if window.dataset in self.delayed else {})}
        return RawAnswer(window, int(instant(on, NOON)), 0, json.dumps(body).encode())

    def _publish(self, asked: list[RawAnswer], scan: Scan) -> None:
        name, appid = asked[0].window.dataset, asked[0].window.appid
        dataset, months = CATALOGUE[name], defaultdict[Month, list[RawAnswer]](list)
        evidence = scan.evidence[name].accounts.get(appid, AccountEvidence())
        for each in asked:
            span = range(month_of(each.window.begin), month_of(each.window.end) + 1)
            for month in span:
                months[month].append(each)
        for month, answers in months.items():
            known = self.files.setdefault((name, month), coverage.empty(month))
            change = AccountChange(appid, month, known.account(appid), evidence=evidence)
            change.settle_by_guide()
            for each in answers:
                [decoded] = _decoder(dataset)([(each, _RUN)])
                on = _answered_on(dataset, month, calendar.today(each.asked_at))
                if accepted := change.accepted_days(each):
                    change.apply(accepted, DecodedAnswer(each, decoded, _RUN, on))
            self._note_rows(change, name)
            self.files[name, month] = known.updated({appid: change.known})

    def _note_rows(self, change: AccountChange, name: str) -> None:
        for day in change.rows:
            key = name, change.appid, day
            count = next(count for _, count in reversed(self.answers[key]))
            if self._stored.get(key) == count:
                change.unchanged.add(day)
            elif count is not None:
                self._stored[key] = count
        change.record_news()


def _row(dataset: Dataset, day: Day, count: int) -> dict[str, Any]:
    """Return a row of a day with a count in each column that is not in the key."""
    plain = {Kind.HOUR: 0, Kind.TEXT: "x"}
    row: dict[str, Any] = {DATE_COLUMN: day_text(day)}
    for column in dataset.columns:
        if column.name != DATE_COLUMN:
            is_key = column.name in dataset.key
            row[column.name] = plain.get(column.kind, 1 if is_key else count)
    return row


def every_day(*names: str, appids: tuple[str, ...], begin: Day, end: Day) -> Wanted:
    """Return wanted days: all of these datasets from ``begin`` to ``end``."""
    days: DaySet = calendar.day_range(begin, end)
    return {
        name: dict.fromkeys(appids, days & readiness.periods(CATALOGUE[name].grain, begin, end))
        for name in names
    }
