"""The cost of a plan: calls per account, days under the quota, and shorter ranges.

It is computed from the missing days and today's quota ledger. Days that get ready later need calls
of their own and are not part of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from typing import NamedTuple, TypeAlias

from harvester.core import calendar
from harvester.core.calendar import FIRST_DAY, Day, DaySet
from harvester.core.config.settings import Manifest
from harvester.core.windows import count_windows
from harvester.planning.quota import DailyQuota
from harvester.planning.wanted_days import Missing, Plan, each_missing

SHORTER_RANGES = (30, 90, 365, 3 * 365)
"""Ranges that a plan is compared with, in days up to today."""

MIN_EMPTY_DAYS = 90
"""Empty days before an account's first row after which older days are expected to be empty too."""

Rows: TypeAlias = Callable[[str, str], tuple[DaySet, DaySet]]
"""Function that returns the days with and those answered without rows of a dataset of an appid."""

Quotas: TypeAlias = Callable[[str, str], DailyQuota]
"""Function that returns today's quota of a dataset of an appid."""


class AccountPrice(NamedTuple):
    """The cost of one account: requests, and Beijing days under its quotas."""

    appid: str
    name: str
    requests: int
    calendar_days: int


class ShorterRange(NamedTuple):
    """The cost of the plan from a later first day on."""

    begin: date
    requests: int
    calendar_days: int


class EmptyPrefix(NamedTuple):
    """Requests that one account needs for days before its first row.

    ``empty`` days before the first row were answered, all without rows. ``first_row`` is None if
    no day has any.
    """

    appid: str
    name: str
    dataset: str
    first_row: date | None
    empty: int
    requests: int


class Price(NamedTuple):
    """The cost of a plan.

    ``calendar_days`` is the number of Beijing days with requests under the quota; today counts only
    if some of its quota is left. ``complete_on`` is the last of these days, or today without any.
    ``requests_today`` is the number of requests that the quota allows today, and
    ``quota_questions`` the number of questions to WeChat about the quota. ``read``, ``assumed`` and
    ``refused`` count quotas: those reported by WeChat, those unknown, and the unknown ones that
    WeChat refused to report. All other quotas are set in the manifest. ``bound_seconds`` and
    ``bound_by`` are the plan's, or the quota's if that takes longer.
    """

    requests_today: int
    quota_questions: int
    calendar_days: int
    complete_on: date
    bound_seconds: float
    bound_by: str
    read: int
    assumed: int
    refused: int
    accounts: tuple[AccountPrice, ...]
    shorter_ranges: tuple[ShorterRange, ...]


class _Item(NamedTuple):
    """Missing days of one dataset of one account, its quota, and the calls ``left`` today."""

    appid: str
    missing: DaySet
    span: int
    quota: DailyQuota
    left: int

    def requests(self, begin: Day = FIRST_DAY) -> int:
        """Count the requests for the days from ``begin`` on."""
        older = begin - FIRST_DAY
        missing = self.missing >> older << older if older > 0 else self.missing
        return count_windows(missing, self.span)

    def later_days(self, requests: int) -> int:
        """Count the Beijing days after today that this number of requests needs."""
        return max(0, -((self.left - requests) // max(1, self.quota.budget)))

    def calendar_days(self, requests: int) -> int:
        """Count the Beijing days that this number of requests needs."""
        return self.later_days(requests) + (min(requests, self.left) > 0)


def price(manifest: Manifest, missing: Missing, found: Plan, quotas: Quotas, now: float) -> Price:
    """Compute the cost of a plan. ``found`` is the plan of the same missing days."""
    today = calendar.today(now)
    items, names = list(_items(manifest, missing, quotas)), manifest.names
    requests: Counter[str] = Counter()
    longest: Counter[str] = Counter()
    later_days = 0
    for item in items:
        needed = item.requests()
        requests[item.appid] += needed
        longest[item.appid] = max(longest[item.appid], item.calendar_days(needed))
        later_days = max(later_days, item.later_days(needed))
    seconds, binds = found.bound
    if later_days:
        seconds, binds = max(seconds, calendar.instant(today + later_days) - now), "quota"
    origins = Counter(item.quota.origin for item in items)
    return Price(
        requests_today=sum(min(item.requests(), item.left) for item in items),
        quota_questions=sum(item.quota.questions(item.requests()) for item in items),
        calendar_days=max(longest.values(), default=0),
        complete_on=calendar.date_of(today + later_days),
        bound_seconds=round(seconds, 3),
        bound_by=binds,
        read=origins["read"],
        assumed=origins["assumed"],
        refused=sum(item.quota.is_refused for item in items),
        accounts=tuple(
            AccountPrice(appid, names[appid], count, longest[appid])
            for appid, count in requests.most_common()
        ),
        shorter_ranges=tuple(_shorter_ranges(items, found.requests, today)),
    )


def empty_prefixes(
    manifest: Manifest, missing: Missing, rows: Rows, today: Day
) -> tuple[EmptyPrefix, ...]:
    """Return the requests for days before the first row, by account and dataset.

    The entry with the most requests is first. Below `MIN_EMPTY_DAYS` there is no entry.
    """
    found, names = [], manifest.names
    for dataset, appid, lacking in each_missing(manifest, missing):
        name = dataset.name
        with_rows, empty = rows(name, appid)
        first = calendar.oldest(with_rows) if with_rows else None
        before = calendar.day_range(FIRST_DAY, (today if first is None else first) - 1)
        in_vain = calendar.count_days(empty & before)
        if in_vain >= MIN_EMPTY_DAYS and lacking & before:
            requests = count_windows(lacking & before, dataset.span)
            date = None if first is None else calendar.date_of(first)
            found.append(EmptyPrefix(appid, names[appid], name, date, in_vain, requests))
    return tuple(sorted(found, key=lambda item: -item.requests))


def _items(manifest: Manifest, missing: Missing, quotas: Quotas) -> Iterator[_Item]:
    for dataset, appid, lacking in each_missing(manifest, missing):
        quota = quotas(dataset.name, appid)
        yield _Item(appid, lacking, dataset.span, quota, quota.left())


def _shorter_ranges(items: list[_Item], everything: int, today: Day) -> Iterator[ShorterRange]:
    """Yield the ranges that would need fewer requests."""
    for back in SHORTER_RANGES:
        begin = today - back
        counts = [item.requests(begin) for item in items]
        if 0 < sum(counts) < everything:
            days = max(map(_Item.calendar_days, items, counts))
            yield ShorterRange(calendar.date_of(begin), sum(counts), days)
