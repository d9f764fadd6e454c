"""State of each account over all of its datasets, and its missing days."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import DaySet
from harvester.core.config.settings import Account, Manifest
from harvester.core.day_states import NOT_ASKED, ExplainedDays
from harvester.planning.wanted_days import Wanted
from harvester.runs.record.account_report import backfill_of
from harvester.runs.record.prospects import moment_text
from harvester.storage import layout, partition_reader
from harvester.storage.account_scan import States
from harvester.storage.layout import Tree

_WORST_FIRST = (
    "refused",
    "failed",
    "quarantined",
    "deferred",
    "minute_limit",
    "not_ready",
    "quota",
)
"""Reasons in the order in which they need attention; any other comes behind them."""

_NO_CAUSE = ExplainedDays("", "", calendar.NO_DAYS, at=None, reason="")

STATES = ("refused", "pending", "backfilling", "complete", "paused")
"""States of accounts, the worst first."""


@dataclass(frozen=True, slots=True)
class DaysOfAccount:
    """Days of one account, the same ones in each of ``datasets``.

    ``days`` counts them over the datasets, and ``ranges`` has them once, as first and last days.
    """

    appid: str
    name: str
    datasets: tuple[str, ...]
    days: int
    ranges: tuple[tuple[date, date], ...]


@dataclass(frozen=True, slots=True)
class MissingDays(DaysOfAccount):
    """Missing days of one account with the same reason.

    ``errcode`` is None without an answer of WeChat's. ``retry_at`` is the moment from which a run
    may obtain them (RFC 3339 in UTC), None if none does by itself.
    """

    reason: str = NOT_ASKED
    errcode: int | None = None
    retry_at: str | None = None


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """One account over all of its datasets.

    ``wanted`` and ``done`` count account-days. ``percent`` is 100 only if every wanted day is
    covered, and None if no day is wanted. ``provisional`` counts the account-days that may change.
    ``newest_day`` is the newest day with an answer. ``state`` is refused if a day does not come by
    itself, pending if only recent days are missing, backfilling if older ones are too, complete or
    paused. ``reason`` and ``errcode`` are the worst cause of its missing days.
    ``waiting_until`` is set if no run before that time can obtain a missing day. ``paused_since``
    is the day of the first run that found it paused, as text, and ``paused_days`` that long ago.
    """

    appid: str
    name: str
    tags: tuple[str, ...]
    wanted: int
    done: int
    percent: float | None
    provisional: int
    newest_day: date | None
    state: str
    reason: str
    errcode: int | None = None
    waiting_until: str | None = None
    paused: str = ""
    paused_since: str | None = None
    paused_days: int = 0


class UnlistedAccount(NamedTuple):
    """An account of the output that is in no manifest: its account-days, and files with them.

    `forget` would delete the days and write the files anew.
    """

    appid: str
    days: int
    files: int


def account_days(
    names: Mapping[str, str], found: Mapping[tuple[str, str], DaySet]
) -> Iterator[DaysOfAccount]:
    """Yield days by dataset and appid of each account; datasets with the same are one entry."""
    each = (ExplainedDays(*pair, days, at=None) for pair, days in found.items() if days)
    for item in missing_days(names, each):
        yield DaysOfAccount(item.appid, item.name, item.datasets, item.days, item.ranges)


def missing_days(
    names: Mapping[str, str], explained: Iterable[ExplainedDays]
) -> Iterator[MissingDays]:
    """Yield missing days; datasets with the same days and the same reason are one entry."""
    # A record has the refused window and the rest of its dataset as two entries.
    together: defaultdict[ExplainedDays, DaySet] = defaultdict(int)
    for item in explained:
        together[item._replace(days=calendar.NO_DAYS, run_id="")] |= item.days
    alike: defaultdict[ExplainedDays, list[str]] = defaultdict(list)
    for item, days in together.items():
        alike[item._replace(dataset="", days=days)].append(item.dataset)
    for item, datasets in alike.items():
        ranges = tuple(
            (calendar.date_of(begin), calendar.date_of(end))
            for begin, end in calendar.day_ranges(item.days)
        )
        account = item.appid, names.get(item.appid, ""), tuple(datasets)
        cause = item.reason, item.errcode, moment_text(item.at)
        yield MissingDays(*account, calendar.count_days(item.days) * len(datasets), ranges, *cause)


def account_statuses(
    manifest: Manifest,
    want: Wanted,
    states: Mapping[str, Mapping[str, States]],
    lacks: Mapping[str, list[ExplainedDays]],
    now: float,
    *,
    since: Mapping[str, date],
) -> list[AccountStatus]:
    """Return the accounts with wanted days, the worst first, and paused ones at the end.

    ``want`` and ``states`` include paused accounts; ``lacks`` has the missing days of all others,
    by appid. ``now`` is in seconds since the Unix epoch. ``since`` has the days of the first runs
    that found an account paused, by appid.
    """
    found = []
    for account in manifest.accounts:
        appid = account.appid
        own = {name: (of[appid], states[name][appid]) for name, of in want.items() if appid in of}
        if own:
            found.append(_status(account, own, lacks.get(appid, []), now, since.get(appid)))
    return sorted(found, key=_urgency)


def _status(
    account: Account,
    found: dict[str, tuple[DaySet, States]],
    lacks: list[ExplainedDays],
    now: float,
    since: date | None,
) -> AccountStatus:
    """Return the state of an account: of the datasets that are asked, or of all if none is.

    ``found`` is by dataset, and ``lacks`` are the causes of its missing days.
    """
    asked = [each for name, each in found.items() if not account.pauses(name)]
    paused = account.paused if account.paused and not asked else None
    sets = asked or [*found.values()]
    if any(state.unanswered for _, state in sets):
        lacks = [*lacks, _NO_CAUSE._replace(reason="quarantined")]
    wanted = sum(calendar.count_days(days) for days, _ in sets)
    done = sum(calendar.count_days(days & state.covered) for days, state in sets)
    answered = functools.reduce(int.__or__, (state.answered for _, state in sets))
    lack = _lack(lacks, now)
    return AccountStatus(
        account.appid,
        account.name,
        tuple(sorted(account.tags)),
        wanted,
        done,
        # Rounded down, because 100 means that nothing is missing.
        percent=1000 * done // wanted / 10 if wanted else None,
        provisional=sum(calendar.count_days(state.provisional) for _, state in sets),
        newest_day=calendar.date_of(calendar.newest(answered)) if answered else None,
        state="paused" if paused else _state(sets, lacks),
        # No record of a run explains its days: runs leave a paused account out.
        reason="paused" if paused and done < wanted else lack.reason,
        errcode=lack.errcode,
        waiting_until=moment_text(lack.at),
        paused=paused.reason if paused else "",
        paused_since=None if since is None else str(since),
        paused_days=calendar.today(now) - calendar.day_of(since) if since else 0,
    )


def _state(sets: list[tuple[DaySet, States]], lacks: list[ExplainedDays]) -> str:
    """Return the state of an account that is not paused."""
    if any(item.at is None for item in lacks):
        return "refused"
    missing = [(days, days & ~state.covered) for days, state in sets if days & ~state.covered]
    old = any(backfill_of(days, lacking) for days, lacking in missing)
    return "backfilling" if old else "pending" if missing else "complete"


def _lack(explained: list[ExplainedDays], now: float) -> ExplainedDays:
    """Return the worst cause of an account, with the earliest time when a day may be asked."""
    if not explained:
        return _NO_CAUSE
    worst = min(explained, key=lambda item: _rank(item.reason))
    # Lost days have no moment; days that may be asked at once wait for none.
    at = min((item.at for item in explained if item.at is not None), default=now)
    return worst._replace(at=at if at > now else None)


def _rank(reason: str) -> int:
    return _WORST_FIRST.index(reason) if reason in _WORST_FIRST else len(_WORST_FIRST)


def _urgency(account: AccountStatus) -> tuple[int, int, float]:
    percent = 100.0 if account.percent is None else account.percent
    return STATES.index(account.state), _rank(account.reason), percent


def unlisted_accounts(tree: Tree, known: Collection[str]) -> list[UnlistedAccount]:
    """Return the accounts of the output that are not known. Reads all footers; raises StoreError.

    Also raises UsageError for files of a newer version or another number of buckets.
    """
    days, files = Counter[str](), Counter[str]()
    for name in CATALOGUE:
        partitions = layout.partitions(tree, name)
        for footer in partition_reader.footers(tree.store, partitions.values()):
            for appid in {*footer.coverage.appids}.difference(known):
                days[appid] += footer.coverage.account(appid).covered.bit_count()
                files[appid] += 1
    return [UnlistedAccount(appid, count, files[appid]) for appid, count in days.most_common()]
