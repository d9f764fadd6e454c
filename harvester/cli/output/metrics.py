"""Metrics of a run or a status, in the classic text format that node_exporter reads from a file.

Each is about the whole output: labels are words of harvester and names of datasets, never an
account, a run, a host or a foreign text. See docs/metrics.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from harvester.core import calendar
from harvester.core.exit_codes import Exit, Outcome, first_of
from harvester.core.results import QuotaUse
from harvester.runs.record.account_report import DatasetSummary
from harvester.runs.record.attention import Attention
from harvester.runs.record.events import Cause
from harvester.runs.record.expectations import CAUSE, Expectation
from harvester.runs.record.record import Record

if TYPE_CHECKING:
    # A run reads no status, and loads none.
    from harvester.verbs.status import Status

HELP: Mapping[str, str] = {
    "coverage": "Account-days by state; those of paused accounts do not count",
    "backfill": "Missing account-days older than the newest 7 that an account wants",
    "newest_complete_day_timestamp_seconds": "Begin in Beijing of the newest day that 95% have",
    "accounts": "Accounts by state; after a run the paused ones alone",
    "attention": "Items that need a person, by cause",
    "attention_new": "Items that need a person and that no earlier run had",
    "expectation_met": "1 if an expectation of the manifest is met, 0 if not",
    "expectation_share": "Share of the accounts that meet an expectation, 0 to 1",
    "quota_left_calls": "Calls that the account with the fewest has left of its quota of the day",
    "quota_spent_accounts": "Accounts that have no call left of their quota of the day",
    "last_run_timestamp_seconds": "End of the last finished run",
    "last_run_duration_seconds": "Duration of the last finished run",
    "last_run_retry_timestamp_seconds": "Time from which a run can obtain more",
    "last_run_exit_code": "Exit code of the last finished run, the worst of its shards",
    "last_run_requests": "Requests of the last finished run",
    "last_run_retries": "Retries of the last finished run",
    "last_run_rows": "Rows that the last finished run added",
    "last_run_outcome": "1 for the outcome of the last finished run, 0 for any other",
}
"""The metrics by their names without ``harvester_``, each with its help."""

_Series: TypeAlias = tuple[str, float | None, dict[str, str]]
"""A metric, its value and its labels. Without a value it is left out."""


def of_run(done: Record, members: Mapping[str, Any], quota: Iterable[QuotaUse]) -> bytes:
    """Return the metrics of a run that has ended, with the ``members`` of its record for JSON."""
    paused = sum(not each.datasets for each in done.paused)
    standing = ("accounts", paused, {"state": "paused"}), *_attention(done.attention)
    return _text(
        *_coverage(done.datasets, done.expectations),
        # What one that has read no file did not meet may stand all the same; a 0 ends its alert.
        *(series for series in standing if series[1] or done.datasets),
        *_quota(quota),
        *_last_run(members),
    )


def of_status(found: Status, states: Iterable[str]) -> bytes:
    """Return the metrics of a status, and of the last finished run.

    Of shards the worst exit code counts. ``states`` are those that an account may have.
    """
    counts = Counter(account.state for account in found.accounts)
    # The last one to start need not be the last one to end.
    runs = sorted(found.last_shards, key=lambda run: run.ended_at)
    code = first_of(Exit(run.exit_code) for run in runs if run.exit_code is not None)
    worst = {"exit_code": int(code), "outcome": code.outcome}
    return _text(
        *_coverage(found.datasets, found.expectations),
        *(("accounts", counts[state], {"state": state}) for state in states),
        *_attention(found.attention),
        *_quota(found.quota or ()),
        *(series for run in runs[-1:] for series in _last_run(asdict(run) | worst)),
    )


def _text(*found: _Series) -> bytes:
    registry, gauges = CollectorRegistry(), dict[str, Gauge]()
    for name, value, labels in found:
        if value is not None:
            if name not in gauges:
                gauges[name] = Gauge(f"harvester_{name}", HELP[name], [*labels], registry=registry)
            (gauges[name].labels(**labels) if labels else gauges[name]).set(value)
    return generate_latest(registry)


def _coverage(
    datasets: Iterable[DatasetSummary], expectations: Iterable[Expectation]
) -> Iterator[_Series]:
    for row in datasets:
        label, counts = {"dataset": row.dataset}, row.days._asdict()
        newest = row.complete_days.newest
        begin = None if newest is None else calendar.instant(newest)
        yield "newest_complete_day_timestamp_seconds", begin, label
        yield "backfill", counts.pop("backfill"), label
        for state, days in counts.items():
            yield "coverage", days, {**label, "state": state}
    for each in expectations:
        labels = {"dataset": each.dataset, "cause": each.kind}
        yield "expectation_met", each.is_met, labels
        yield "expectation_share", each.share, labels


def _attention(attention: Sequence[Attention]) -> Iterator[_Series]:
    counts = Counter(item.cause for item in attention)
    # Every cause, because an alert ends by a series that falls to 0 and not by one that is gone.
    for cause in dict.fromkeys((*get_args(Cause), CAUSE, *counts)):
        yield "attention", counts[cause], {"cause": cause}
    yield "attention_new", sum(item.new for item in attention), {}


def _quota(quota: Iterable[QuotaUse]) -> Iterator[_Series]:
    for use in quota:
        yield "quota_left_calls", use.least_left, {"dataset": use.dataset}
        yield "quota_spent_accounts", use.spent, {"dataset": use.dataset}


def _last_run(run: Mapping[str, Any]) -> Iterator[_Series]:
    """Yield what the members of a run record say of its end."""
    begun, ended = (datetime.fromisoformat(run[name]) for name in ("started_at", "ended_at"))
    again = run["retry_at"] and datetime.fromisoformat(run["retry_at"]).timestamp()
    yield "last_run_timestamp_seconds", ended.timestamp(), {}
    yield "last_run_duration_seconds", (ended - begun).total_seconds(), {}
    yield "last_run_retry_timestamp_seconds", again, {}
    for name in ("exit_code", "requests", "retries", "rows"):
        yield f"last_run_{name}", run.get(name), {}
    for outcome in Outcome:
        yield "last_run_outcome", run["outcome"] == outcome, {"outcome": outcome}
