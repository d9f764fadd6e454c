"""Trouble of one run that needs a person: what it lost, and what keeps one run after another."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import takewhile

from harvester.core import calendar, readiness
from harvester.core.config.settings import Manifest
from harvester.core.dataset import Dataset
from harvester.core.errors import Busy, HarvesterError, Unauthorised
from harvester.core.exit_codes import Exit
from harvester.core.rule import Scope
from harvester.core.text.wording import said
from harvester.runs.record import attention, causes, expectations
from harvester.runs.record.account_report import errcode_of, reason_of
from harvester.runs.record.attention import AccountLabel, Attention, FormerRun
from harvester.runs.record.events import cause_of
from harvester.runs.record.expectations import Expectation
from harvester.runs.record.record import Record
from harvester.storage.empty_everywhere import EmptyEverywhere
from harvester.storage.publication import QuarantinedDay

STANDS_SECONDS = 86_400
"""Seconds after which a reason of an unfinished run needs a person."""

IN_A_ROW = 3
"""Runs in a row that an error ended early, after which the error needs a person."""

CLOCK = Attention("clock", "clock", causes.CLOCK_ADVICE)
"""The item of a machine whose clock and WeChat's differ."""

_PASSING = {"quota", "time_budget", "clock", "empty_everywhere"}
"""Reasons of an unfinished run that pass, or that need a person by a rule of their own."""

_FOR_ALL = (Scope.DATASET, Scope.RUN)

_STANDING_ADVICE = said("One run after another ends with it, so it does not pass by itself.")
_LATE_ADVICE = said("WeChat has computed these days for longer than a day. See its console.")


def attention_of(
    record: Record, manifest: Manifest, former: Iterable[FormerRun]
) -> tuple[Attention, ...]:
    """Return what a run that has ended leaves to a person.

    ``former`` are the finished runs before it, newest first. They are read only as far as they
    tell something.
    """
    found = [
        *_lost(record),
        *of_files(record.quarantined, record.empty_everywhere, record.expectations),
        *_of_all(record),
    ]
    late = list(_late(record, manifest.datasets))
    standing = {
        reason
        for reason, code in record.reasons().items()
        if code is Exit.AGAIN and reason not in _PASSING and (reason != "not_ready" or late)
    }
    if not (found or standing):
        return ()

    def is_whole(run: FormerRun) -> bool:
        """Return whether what a run did not meet was not there."""
        return run.scope == record.scope and run.is_whole

    def tells_of_standing(run: FormerRun) -> bool:
        """Return whether a run also tells since when the reasons stand."""
        is_old = record.ended_at - _moment(run.started_at) >= STANDS_SECONDS
        return is_whole(run) and (is_old or not standing & {*run.reasons})

    runs = list(attention.until(former, tells_of_standing))
    found += _standing(record, standing, runs, late)
    # Newest last, because it knows best since when a trouble lasts.
    met = reversed([*attention.until(runs, is_whole)])
    known = {item.key: replace(item, new=False) for run in met for item in run.attention}
    dated = attention.since_when(found, known, calendar.utc_text(record.started_at))
    return attention.in_order(attention.labelled(dated, labels_of(manifest)))


def labels_of(manifest: Manifest) -> dict[str, AccountLabel]:
    """Return the labels of the accounts by appid."""
    return {
        each.appid: AccountLabel(each.appid, each.name, tuple(sorted(each.tags)), each.attributes)
        for each in manifest.accounts
    }


def of_files(
    rejected: Iterable[QuarantinedDay],
    silent: Iterable[EmptyEverywhere],
    judged: Iterable[Expectation],
) -> Iterator[Attention]:
    """Yield the items that the files show, whatever became of the runs, without labels."""
    for day in rejected:
        cause = causes.cause_of_quarantined(day)
        where = "" if cause == "shared_token" else f"/{day.dataset}"
        about = (AccountLabel(day.appid),), (day.dataset,)
        yield Attention(f"{cause}/{day.appid}{where}", cause, causes.QUARANTINE_ADVICE, *about)
    for each in silent:
        if each.meaning == "person":
            key, cause = f"empty_everywhere/{each.dataset}", "empty_everywhere"
            yield Attention(key, cause, causes.EMPTY_ADVICE["person"], datasets=(each.dataset,))
    yield from expectations.attention_of(judged)


def _lost(record: Record) -> Iterator[Attention]:
    """Yield the items of days that were given up for good."""
    # By a wrong clock a run asks for wrong days, which WeChat then refuses one by one.
    lost = {"refused"} if record.clock_apart else {"refused", "failed"}
    for item in record.abandoned:
        reason, _ = reason_of(item)
        if reason in lost:
            cause = item.rule.cause or reason
            code = errcode_of(item)
            whose = item.dataset if item.rule.scope in _FOR_ALL else item.appid
            key = "/".join([cause, whose, *([] if code is None else [str(code)])])
            advice = causes.remedy(item.rule)
            account = AccountLabel(item.appid)
            yield Attention(key, cause, advice, (account,), (item.dataset,), code)


def _late(record: Record, datasets: Mapping[str, Dataset]) -> Iterator[Attention]:
    """Yield the items of days that are not ready although they were to be a day before."""
    yesterday = record.ended_at - STANDS_SECONDS
    for item in record.abandoned:
        ready = readiness.newest_ready(datasets[item.dataset], yesterday)
        if reason_of(item)[0] == "not_ready" and item.begin <= ready:
            key, account = f"not_ready/{item.appid}/{item.dataset}", AccountLabel(item.appid)
            yield Attention(key, "not_ready", _LATE_ADVICE, (account,), (item.dataset,))


def _of_all(record: Record) -> Iterator[Attention]:
    """Yield the items that concern all accounts."""
    if record.clock_apart:
        yield CLOCK
    if isinstance(record.failed, Unauthorised):
        yield Attention("unauthorised", "unauthorised", record.failed.advice)


def _standing(
    record: Record, standing: Iterable[str], known: Iterable[FormerRun], late: list[Attention]
) -> Iterator[Attention]:
    """Yield the reasons that have stood for a day, or ended three runs in a row.

    In the place of `not_ready`, which some new day causes every morning, stand ``late`` days.
    """
    errors: dict[str, HarvesterError] = {cause_of(error): error for error in record.errors}
    same = [run for run in known if run.scope == record.scope]
    for reason in standing:
        error = errors.get(reason)
        met = list(takewhile(lambda run: reason in run.reasons, same))  # noqa: B023 - used at once
        starts = [_moment(run.started_at) for run in met]
        if isinstance(error, Busy):
            starts.append(_moment(error.since))
        began = min([record.started_at, *starts])
        is_in_a_row = reason in attention.ENDS_EARLY and len(met) + 1 >= IN_A_ROW
        if is_in_a_row or record.ended_at - began >= STANDS_SECONDS:
            advice = error.advice if error else _STANDING_ADVICE
            item = Attention(reason, reason, advice, since=calendar.utc_text(began))
            yield from late if reason == "not_ready" else [item]


def _moment(text: str) -> float:
    """Return the seconds of a time in a file of the output, infinite for one that is no time."""
    try:
        return max(0.0, dt.datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        return float("inf")
