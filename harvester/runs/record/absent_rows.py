"""Rows that nothing else misses: of an output, an account, or days that another table counts.

All are judged by the files alone, because every single answer is a good one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple, Self

from harvester.core import calendar, readiness
from harvester.core.config.settings import Manifest
from harvester.core.text.wording import said
from harvester.runs.record.attention import AccountLabel, Attention
from harvester.storage.account_scan import States
from harvester.storage.empty_everywhere import EmptyEverywhere

NO_ROWS = "no_rows"
"""The reason of a run, and the cause of its item of attention."""

ACCOUNT_SILENT = "account_silent"
"""The cause of the items of silent accounts."""

CONTRADICTED = "contradicted"
"""The cause of the items of open empty days of which an exact guide counts something."""

PATIENCE = 2
"""Beijing days on which an output without rows needs no person."""

SILENT_DAYS = 3
"""Days without a row after which an account is silent."""

ENOUGH_DAYS, ENOUGH_SPARSE_DAYS = 14, 60
"""Answered days of an account from which on a dataset ought to have a row, by `Dataset.sparse`."""

_FOLLOWERS = "user_cumulate"
"""The dataset with a row for each day of an account."""

NO_ROWS_TEXT = said("no dataset has a row of any account")
NO_ROWS_ADVICE = said(
    "See if WeChat's console has numbers, and if these are the right accounts. If there are none:"
    " `expect: {all: {min_share_with_rows: 0%}}` says that this is fine."
)
_SILENT_ADVICE = said(
    "These accounts had followers until three days ago or longer. See if WeChat's console has"
    " numbers; pause accounts that are closed."
)
_CONTRADICTED_ADVICE = said(
    "Another table counts something on days that this one lacks. They are asked for four weeks;"
    " tell WeChat if its console has numbers of them."
)


class AbsentRows(NamedTuple):
    """Findings in the files of one shard, or of a whole output.

    ``has_rows`` is True if a dataset has a row. ``since`` is when the first dataset that ought to
    have one had answers of enough days, in seconds since the Unix epoch; 0.0 if the files do not
    tell when, None if there is no such dataset. ``silent`` accounts are among the ``followed`` ones
    that have had rows of followers. The ``denied`` datasets of accounts have open empty days, by
    two answers, of which an exact guide counts something.
    """

    has_rows: bool = False
    since: float | None = None
    followed: int = 0
    silent: tuple[str, ...] = ()
    denied: tuple[tuple[str, str], ...] = ()

    @property
    def is_rowless(self) -> bool:
        """True if there is no row, and there ought to be one."""
        return self.since is not None and not self.has_rows

    def joined(self, other: Self) -> AbsentRows:
        """Return the findings of two shards together."""
        times = [each.since for each in (self, other) if each.since is not None]
        return AbsentRows(
            self.has_rows or other.has_rows,
            min(times, default=None),
            self.followed + other.followed,
            self.silent + other.silent,
            self.denied + other.denied,
        )


def absent_rows(
    manifest: Manifest, states: Mapping[str, Mapping[str, States]], now: float
) -> AbsentRows:
    """Return the findings in the states of all wanted days at ``now``."""
    if not any(state.with_rows for of_dataset in states.values() for state in of_dataset.values()):
        return AbsentRows(since=min(_rowless(manifest, states), default=None))
    followers = {x: state for x, state in states.get(_FOLLOWERS, {}).items() if state.with_rows}
    newest = readiness.newest_ready(manifest.datasets[_FOLLOWERS], now)
    silent = (appid for appid, state in followers.items() if _is_silent(state, newest))
    denied = tuple(_denied(manifest, states))
    return AbsentRows(True, followed=len(followers), silent=tuple(silent), denied=denied)


def _denied(
    manifest: Manifest, states: Mapping[str, Mapping[str, States]]
) -> Iterator[tuple[str, str]]:
    """Yield the datasets and accounts of `AbsentRows.denied`."""
    for name, of_dataset in states.items():
        guide = manifest.datasets[name].guide
        if guide is None or not guide.is_exact:
            continue
        for appid, state in of_dataset.items():
            if state.twice & state.contradicted & ~state.everywhere:
                yield name, appid


def _rowless(manifest: Manifest, states: Mapping[str, Mapping[str, States]]) -> Iterator[float]:
    """Yield the moment at which each account had answers of enough days of a dataset."""
    for name, of_dataset in states.items():
        expect = manifest.expect.get(name)
        if expect is not None and expect.min_share_with_rows == 0:
            continue
        enough = ENOUGH_SPARSE_DAYS if manifest.datasets[name].sparse else ENOUGH_DAYS
        for state in of_dataset.values():
            if (days := calendar.count_days(state.answered)) >= enough:
                asked = filter(partial(calendar.has_day, state.answered), state.asked)
                times = sorted(state.asked[day].first for day in asked)
                # Without a time of their own days are as old as the oldest one, or older.
                oldest = state.old_asked or min(times, default=0)
                yield float(times[enough - 1] if len(times) == days else oldest)


def _is_silent(state: States, newest_ready: calendar.Day) -> bool:
    """Return whether an account that is still asked had rows, and has had none for some days."""
    last = calendar.newest(state.answered)
    first = calendar.newest(state.with_rows) + 1
    days = state.answered & calendar.day_range(first, last)
    return last > newest_ready - SILENT_DAYS and calendar.count_days(days) >= SILENT_DAYS


def attention_of(
    found: AbsentRows, now: float, told: Iterable[EmptyEverywhere], *, rowless: bool
) -> Iterator[Attention]:
    """Yield the items at ``now``, without labels; ``rowless`` says that the whole output is.

    Days that are ``told`` as empty everywhere tell of all accounts already.
    """
    for dataset, appid in found.denied:
        about = (AccountLabel(appid),), (dataset,)
        key = f"{CONTRADICTED}/{appid}/{dataset}"
        yield Attention(key, CONTRADICTED, _CONTRADICTED_ADVICE, *about)
    age = calendar.today(now) - calendar.today(found.since or 0.0)
    if rowless and age >= PATIENCE:
        yield Attention(NO_ROWS, NO_ROWS, NO_ROWS_ADVICE)
    if any((each.dataset, each.meaning) == (_FOLLOWERS, "person") for each in told):
        return
    is_one = len(found.silent) > 1 and 2 * len(found.silent) > found.followed
    for appid in found.silent:
        key = f"{ACCOUNT_SILENT}/{_FOLLOWERS if is_one else appid}"
        about = (AccountLabel(appid),), (_FOLLOWERS,)
        yield Attention(key, ACCOUNT_SILENT, _SILENT_ADVICE, *about)
