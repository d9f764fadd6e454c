"""Trouble that needs a person: of a run that has ended, and of an output.

A run leaves what it lost, and what keeps one run after another. Of an output the records of earlier
runs tell the trouble, as far as the files still show it.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import islice, takewhile
from typing import TypeAlias

from harvester.core import calendar, readiness
from harvester.core.config.settings import Manifest
from harvester.core.dataset import Dataset
from harvester.core.errors import Busy, HarvesterError, Unauthorised
from harvester.core.exit_codes import Exit
from harvester.core.rule import Scope
from harvester.core.text.wording import said
from harvester.runs.record import absent_rows, attention, causes, expectations
from harvester.runs.record.absent_rows import ACCOUNT_SILENT, CONTRADICTED, NO_ROWS
from harvester.runs.record.account_report import errcode_of, reason_of
from harvester.runs.record.attention import AccountLabel, Attention, FormerRun
from harvester.runs.record.events import cause_of
from harvester.runs.record.expectations import Expectation
from harvester.runs.record.record import Record
from harvester.storage.empty_everywhere import EmptyEverywhere
from harvester.storage.layout import Tree
from harvester.storage.publication import QuarantinedDay
from harvester.storage.state import run_records

STANDS_SECONDS = 86_400
"""Seconds after which a reason of an unfinished run needs a person."""

IN_A_ROW = 3
"""Runs in a row that an error ended early, after which the error needs a person."""

CLOCK = Attention("clock", "clock", causes.CLOCK_ADVICE)
"""The item of a machine whose clock and WeChat's differ."""

_PASSING = {"quota", "time_budget", "clock", "empty_everywhere", NO_ROWS}
"""Reasons of an unfinished run that pass, or that need a person by a rule of their own."""

_OF_WINDOWS = {"failed", "not_ready"}
"""Causes that say nothing of the account."""

MANY = 5
"""Least number of accounts whose common trouble is one item of the dataset, if it is over half."""

_FOR_ALL = (Scope.DATASET, Scope.RUN)

_FEW = 5
"""Records that are read of an output without missing days: trouble of the runs themselves."""

_FROM_FILES = {
    *("quarantined", "empty_everywhere", NO_ROWS, ACCOUNT_SILENT, CONTRADICTED),
    expectations.CAUSE,
}
"""Causes that the files show, whatever the records tell."""

Pairs: TypeAlias = AbstractSet[tuple[str, str]]
"""Datasets with their appids."""

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
        *absent_rows.attention_of(
            record.absent, record.ended_at, record.empty_everywhere, rowless=record.is_rowless
        ),
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
    found = list(_of_datasets(found, record, known))
    dated = attention.since_when(found, known, calendar.utc_text(record.started_at))
    return attention.in_order(_labelled(dated, manifest))


def _of_datasets(
    found: Iterable[Attention], record: Record, known: Iterable[str]
) -> Iterator[Attention]:
    """Yield the items, with one key for a trouble that most accounts have with a dataset.

    Items that were ``known`` by such a key keep it while the accounts recover one by one. What
    condemns no window, such as a missing permission, is mended account by account.
    """
    found, asked = list(found), {row.dataset: row.accounts for row in record.datasets}
    of_windows = {errcode_of(item) for item in record.abandoned if item.rule.scope is Scope.WINDOW}
    alike: defaultdict[str, set[str]] = defaultdict(set)
    for item in found:
        alike[_key_of_dataset(item)] |= {each.appid for each in item.accounts}
    common = {*known}
    for item in found:
        key = _key_of_dataset(item)
        if len(alike[key]) >= MANY and 2 * len(alike[key]) > asked.get(item.datasets[0], 0):
            common.add(key)
        is_learnt = item.cause == "refused" and item.errcode in of_windows - {None}
        is_one = key in common and (is_learnt or item.cause in _OF_WINDOWS)
        yield replace(item, key=key) if is_one else item


def _key_of_dataset(item: Attention) -> str:
    """Return the key of an item that is about a dataset and not about its accounts."""
    code = [] if item.errcode is None else [str(item.errcode)]
    return "/".join([item.cause, *item.datasets, *code])


def _labelled(found: Iterable[Attention], manifest: Manifest) -> Iterator[Attention]:
    labels = {
        each.appid: AccountLabel(each.appid, each.name, tuple(sorted(each.tags)), each.attributes)
        for each in manifest.accounts
    }
    return attention.labelled(found, labels)


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
            about = (AccountLabel(item.appid),), (item.dataset,), code
            yield Attention(key, cause, causes.remedy(item.rule), *about)


def _late(record: Record, datasets: Mapping[str, Dataset]) -> Iterator[Attention]:
    """Yield the items of days that are not ready although they were to be a day before."""
    yesterday = record.ended_at - STANDS_SECONDS
    reasons = [(reason_of(item)[0], item) for item in record.abandoned]
    refused = {(each.appid, each.dataset) for reason, each in reasons if reason == "refused"}
    for reason, item in reasons:
        ready = readiness.newest_ready(datasets[item.dataset], yesterday)
        # If the rest was refused, one item is enough.
        is_told = (item.appid, item.dataset) in refused
        if reason == "not_ready" and item.begin <= ready and not is_told:
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


def former_runs(tree: Tree, most: int = attention.MAX_FORMER) -> Iterator[FormerRun]:
    """Yield the finished runs among the newest records, newest first. Raises StoreError."""
    newest = islice(run_records.newest(tree, FormerRun), most)
    # Another verb, such as `forget`, asks for no day and meets no trouble.
    return (each for each in newest if (each.verb, each.state) == ("run", "finished"))


def open_attention(
    manifest: Manifest, tree: Tree, lacking: Pairs, shown: Iterable[Attention]
) -> tuple[Attention, ...]:
    """Return what needs a person, with the time since when it does. Raises StoreError.

    The files show pairs that are ``lacking`` days, and ``shown`` is what `of_files` makes of them.
    """
    shown = list(_labelled(shown, manifest))
    length = attention.MAX_FORMER if shown or lacking else _FEW
    told = _told(former_runs(tree, length), manifest.file.name)
    lasting = (item for item in told.values() if item.cause not in _FROM_FILES)
    still = [each for item in lasting for each in _still(item, lacking)]
    return attention.in_order([*still, *attention.since_when(shown, told)])


def concerns(item: Attention, pairs: Pairs) -> bool:
    """Return whether an item is about one of the pairs, or about all accounts."""
    return not item.accounts or bool(_pairs(item, pairs))


def _told(former: Iterable[FormerRun], manifest: str) -> Mapping[str, Attention]:
    """Return the items of the last runs of each scope by key; ``former`` are newest first.

    None is read from before the last runs of all shards of the whole manifest of this name.
    """
    found: dict[str, Attention] = {}
    known, shards = set[object](), set[str | None]()
    for run in former:
        # One of the whole manifest has asked for all that one of a selection asks for.
        if known & {run.scope, attention.scope_of(run.manifest, run.shard, {})}:
            continue
        for item in run.attention:
            # Shards have parts of an item that is about a dataset.
            found[item.key] = attention.joined([found.get(item.key, item), item])
        # What this run did not meet is gone.
        if run.is_whole:
            known.add(run.scope)
            if run.scope == attention.scope_of(manifest, run.shard, {}):
                shards.add(run.shard)
        if run.shard in shards and len(shards) >= _shard_count(run.shard):
            break
    return found


def _shard_count(shard: str | None) -> int:
    """Return the number of shards of a run that had one like ``2/8``."""
    total = (shard or "1/1").partition("/")[2]
    # From a file, in which a number may have any length.
    return int(total) if total.isdecimal() and len(total) < 5 else 1


def _still(item: Attention, lacking: Pairs) -> Iterator[Attention]:
    """Yield an item with the accounts and datasets of which days are missing still."""
    if not item.accounts:
        yield item
        return
    if pairs := _pairs(item, lacking):
        datasets, appids = ({*each} for each in zip(*pairs, strict=True))
        accounts = tuple(each for each in item.accounts if each.appid in appids)
        yield replace(item, accounts=accounts, datasets=tuple(sorted(datasets)))


def _pairs(item: Attention, lacking: Pairs) -> Pairs:
    return lacking & {(name, each.appid) for name in item.datasets for each in item.accounts}
