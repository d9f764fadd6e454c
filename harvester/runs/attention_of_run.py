"""Trouble of one run that needs a person: what it lost, and what keeps one run after another."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile

from harvester.core import calendar, readiness
from harvester.core.config.settings import Manifest
from harvester.core.dataset import Dataset
from harvester.core.errors import Busy, HarvesterError, Unauthorised
from harvester.core.exit_codes import Exit
from harvester.core.model import Refusal
from harvester.core.rule import Scope
from harvester.core.text.wording import said
from harvester.runs.record import causes, expectations
from harvester.runs.record.account_report import reason_of
from harvester.runs.record.attention import (
    ENDS_EARLY,
    AccountLabel,
    Attention,
    FormerRun,
    in_order,
    since_when,
    until_whole,
)
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
    labels = labels_of(manifest)
    found = [
        *_lost(record, labels),
        *of_files(labels, record.quarantined, record.empty_everywhere, record.expectations),
        *_of_all(record),
    ]
    late = list(_late(record, labels, manifest.datasets))
    standing = {
        reason
        for reason, code in record.reasons().items()
        if code is Exit.AGAIN and reason not in _PASSING and (reason != "not_ready" or late)
    }
    if not (found or standing):
        return ()
    known = list(_back(former, record, standing))
    found += _standing(record, standing, known, late)
    began = calendar.utc_text(record.started_at)
    return in_order(since_when(found, until_whole(known, record.scope), began))


def labels_of(manifest: Manifest) -> dict[str, AccountLabel]:
    """Return the labels of the accounts by appid."""
    return {
        each.appid: AccountLabel(each.appid, each.name, tuple(sorted(each.tags)), each.attributes)
        for each in manifest.accounts
    }


def of_files(
    labels: Mapping[str, AccountLabel],
    rejected: Iterable[QuarantinedDay],
    silent: Iterable[EmptyEverywhere],
    judged: Iterable[Expectation],
) -> Iterator[Attention]:
    """Yield the items that the files show, whatever became of the runs."""
    yield from _quarantined(rejected, labels)
    yield from _empty_everywhere(silent)
    yield from expectations.attention_of(judged, labels)


def _quarantined(
    days: Iterable[QuarantinedDay], labels: Mapping[str, AccountLabel]
) -> Iterator[Attention]:
    """Yield the items of days in quarantine."""
    for day in days:
        cause = causes.cause_of_quarantined(day)
        where = "" if cause == "shared_token" else f"/{day.dataset}"
        key, whose = f"{cause}/{day.appid}{where}", _whose(day.appid, labels)
        yield Attention(key, cause, causes.QUARANTINE_ADVICE, whose, (day.dataset,))


def _empty_everywhere(found: Iterable[EmptyEverywhere]) -> Iterator[Attention]:
    """Yield the items of datasets with days that are empty for all accounts since three days."""
    for each in found:
        if each.meaning == "person":
            key, cause = f"empty_everywhere/{each.dataset}", "empty_everywhere"
            yield Attention(key, cause, causes.EMPTY_ADVICE["person"], datasets=(each.dataset,))


def _lost(record: Record, labels: Mapping[str, AccountLabel]) -> Iterator[Attention]:
    """Yield the items of days that were given up for good."""
    # By a wrong clock a run asks for wrong days, which WeChat then refuses one by one.
    lost = {"refused"} if record.clock_apart else {"refused", "failed"}
    for item in record.abandoned:
        reason, _ = reason_of(item)
        if reason in lost:
            cause = item.rule.cause or reason
            code = item.why.errcode if isinstance(item.why, Refusal) else None
            whose = item.dataset if item.rule.scope in _FOR_ALL else item.appid
            key = "/".join([cause, whose, *([] if code is None else [str(code)])])
            advice = causes.remedy(item.rule)
            account = _whose(item.appid, labels)
            yield Attention(key, cause, advice, account, (item.dataset,), code)


def _late(
    record: Record, labels: Mapping[str, AccountLabel], datasets: Mapping[str, Dataset]
) -> Iterator[Attention]:
    """Yield the items of days that are not ready although they were to be a day before."""
    yesterday = record.ended_at - STANDS_SECONDS
    for item in record.abandoned:
        ready = readiness.newest_ready(datasets[item.dataset], yesterday)
        if reason_of(item)[0] == "not_ready" and item.begin <= ready:
            key, whose = f"not_ready/{item.appid}/{item.dataset}", _whose(item.appid, labels)
            yield Attention(key, "not_ready", _LATE_ADVICE, whose, (item.dataset,))


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
        is_in_a_row = reason in ENDS_EARLY and len(met) + 1 >= IN_A_ROW
        if is_in_a_row or record.ended_at - began >= STANDS_SECONDS:
            advice = error.advice if error else _STANDING_ADVICE
            item = Attention(reason, reason, advice, since=calendar.utc_text(began))
            yield from late if reason == "not_ready" else [item]


def _back(former: Iterable[FormerRun], record: Record, standing: set[str]) -> Iterator[FormerRun]:
    """Yield earlier runs up to the last one that can tell since when the trouble lasts."""
    for run in former:
        yield run
        is_old = record.ended_at - _moment(run.started_at) >= STANDS_SECONDS
        is_told = run.is_whole and (is_old or not standing & {*run.reasons})
        if run.scope == record.scope and is_told:
            return


def _moment(text: str) -> float:
    """Return the seconds of a time in a file of the output, infinite for one that is no time."""
    try:
        return max(0.0, dt.datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        return float("inf")


def _whose(appid: str, labels: Mapping[str, AccountLabel]) -> tuple[AccountLabel, ...]:
    return (labels.get(appid, AccountLabel(appid)),)
