"""Run record: a summary as plain values for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harvester import __version__
from harvester.core import calendar
from harvester.core.model import Refusal
from harvester.core.plain import plain
from harvester.core.results import PausedAccount, PendingDays
from harvester.core.text.inert_text import inert
from harvester.core.text.safe_text import safe_text
from harvester.runs.record import labels
from harvester.runs.record.account_report import AccountSummary, DatasetSummary, DayCounts
from harvester.runs.record.shard_outcome import ShardOutcome
from harvester.runs.record.summary import Summary
from harvester.scheduling.account_queue import AbandonedDays
from harvester.storage.answer_notes import SeenOddity
from harvester.storage.publication import Published
from harvester.storage.state.change_entries import LogEntry
from harvester.tables.columns import SCHEMA_VERSION

RECORD_VERSION = 2
"""Version of the record's members. A newer version may add members and never changes one."""

MAX_LISTED = 20_000
"""Maximum of accounts, paused ones, exceptions and elements without rows that are listed each."""


def as_record(summary: Summary) -> dict[str, Any]:
    """Return the record of a summary, without ``published``: the journal has the change feed."""
    return {
        "record_version": RECORD_VERSION,
        "harvester_version": __version__,
        "schema_version": SCHEMA_VERSION,
        "run_id": summary.run_id,
        "manifest": inert(summary.manifest),
        "shard": summary.shard,
        "labels": labels.safe(summary.labels),
        "started_at": calendar.utc_text(summary.started_at),
        "ended_at": calendar.utc_text(summary.ended_at),
        "seconds": round(summary.seconds, 3),
        "bound_seconds": summary.bound_seconds,
        "bound_by": summary.bound_by,
        "today": calendar.day_text(summary.today),
        "clock_offset": round(summary.clock_offset, 3),
        "state": "finished" if summary.finished else "running",
        **(_end(summary) if summary.finished else _NO_END),
        "next_ready_at": _time(summary.next_ready_at),
        "windows": summary.windows,
        "requests": summary.requests,
        "answered": summary.answered,
        "retries": summary.retries,
        "waits": {cause: round(seconds, 3) for cause, seconds in sorted(summary.waits.items())},
        "token_calls": summary.token_calls,
        "quota_questions": summary.quota_questions,
        "assumed": ["daily_quota"] if summary.quotas_refused else [],
        "bytes": summary.bytes,
        "surplus_answers": summary.surplus_answers,
        "rows": summary.rows,
        "datasets": list(map(plain_row, summary.datasets)),
        "accounts": [_account(row, summary) for row in summary.accounts[:MAX_LISTED]],
        "paused": list(map(_paused, summary.paused[:MAX_LISTED])),
        "pending": list(map(_pending, summary.pending)),
        "exceptions": [_exception(item) for item in summary.abandoned[:MAX_LISTED]],
        "left_out": _left_out(
            summary.accounts, summary.abandoned, summary.without_rows, summary.paused
        ),
        "quarantined": [
            {**plain(item), "reason": safe_text(item.reason)} for item in summary.quarantined
        ],
        "suspicious": plain(summary.suspicious),
        "oddities": [
            _oddity(seen) for drift in summary.drift.values() for seen in drift.oddities.values()
        ],
        "without_rows": plain(summary.without_rows[:MAX_LISTED]),
        "notes": summary.notes({}),
        "shards": list(map(_shard, summary.shards)),
    }


def _shard(shard: ShardOutcome) -> dict[str, Any]:
    lines = () if shard.error is None else shard.error.lines
    return {
        "shard": shard.shard,
        "outcome": shard.exit_code.outcome.value,
        "exit_code": int(shard.exit_code),
        "reasons": list(shard.reasons),
        "requests": shard.requests,
        "rows": shard.rows,
        "deaths": shard.deaths,
        "error": "; ".join(lines) or None,
    }


def _pending(days: PendingDays) -> dict[str, Any]:
    return {
        "dataset": days.dataset,
        "accounts": days.accounts,
        "account_days": days.account_days,
        "begin_date": calendar.day_text(days.begin),
        "end_date": calendar.day_text(days.end),
    }


def _paused(account: PausedAccount) -> dict[str, str]:
    return {name: inert(text) for name, text in plain(account).items()}


def _left_out(*lists: Sequence[object]) -> int:
    return sum(max(0, len(items) - MAX_LISTED) for items in lists)


def _oddity(seen: SeenOddity) -> dict[str, Any]:
    return {
        "dataset": seen.window.dataset,
        "kind": seen.kind.value,
        "name": seen.name,
        "value": seen.value,
        "appid": seen.window.appid,
        "begin_date": calendar.day_text(seen.window.begin),
        "end_date": calendar.day_text(seen.window.end),
    }


def key_figures(summary: Summary) -> dict[str, str | int | None]:
    """Return what a scheduler acts on, of a run that has ended, in the words of the record."""
    end = _end(summary)
    return {
        **end,
        "reasons": ",".join(end["reasons"]),
        "requests": summary.requests,
        "rows": summary.rows,
        "accounts_failed": summary.accounts_failed,
    }


def _end(summary: Summary) -> dict[str, Any]:
    return {
        "outcome": summary.outcome.value,
        "exit_code": int(summary.exit_code),
        "reasons": list(summary.reasons()),
        "retry_at": _time(summary.retry_at),
    }


_NO_END: dict[str, Any] = {"outcome": None, "exit_code": None, "reasons": [], "retry_at": None}


def _time(moment: float | None) -> str | None:
    return None if moment is None else calendar.utc_text(moment)


def _account(row: AccountSummary, summary: Summary) -> dict[str, Any]:
    found = plain_row(row)
    asked = summary.ended_at if summary.asked_at is None else summary.asked_at
    midnight = calendar.utc_text(calendar.instant(calendar.today(asked) + 1))
    found["quota_resets_at"] = midnight if found.pop("waits_for_quota") else None
    return found


def plain_row(row: AccountSummary | DatasetSummary) -> dict[str, Any]:
    """Return the members of a row, with its counts of days beside the others."""
    found: dict[str, Any] = {}
    for name in row.__slots__:
        value = getattr(row, name)
        found |= value._asdict() if isinstance(value, DayCounts) else {name: value}
    return found


def _exception(item: AbandonedDays) -> dict[str, Any]:
    refusal = item.why if isinstance(item.why, Refusal) else None
    return {
        "appid": item.appid,
        "dataset": item.dataset,
        "begin_date": calendar.day_text(item.begin),
        "end_date": calendar.day_text(item.end),
        "days": item.count,
        "action": item.rule.action.value,
        "scope": item.rule.scope.value,
        "meaning": item.rule.meaning,
        "advice": item.rule.advice,
        "errcode": refusal.errcode if refusal else None,
        "errmsg": refusal.errmsg if refusal else safe_text(str(item.why)),
        "rid": refusal.rid if refusal else "",
    }


def feed_entry(item: Published) -> LogEntry:
    """Return an entry of the change feed: a file, and its days and accounts whose rows differ."""
    return LogEntry(
        op=item.op,
        dataset=item.dataset,
        ref_month=item.ref_month,
        path=item.path,
        days=tuple(map(calendar.day_text, item.changed_days)),
        appids=item.changed_appids,
        rows_before=item.rows_before,
        rows_after=item.rows_after,
    )
