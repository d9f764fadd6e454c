"""Run record: a summary as plain values for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harvester import __version__
from harvester.core import calendar
from harvester.core.inert_text import inert
from harvester.core.model import Refusal
from harvester.core.safe_text import safe_text
from harvester.operations.plain import plain
from harvester.operations.record.account_report import AccountSummary, DatasetSummary, DayCounts
from harvester.operations.record.summary import Summary
from harvester.scheduling.account_queue import AbandonedDays
from harvester.storage.answer_notes import SeenOddity
from harvester.storage.publish import Published

RECORD_VERSION = 1
"""Version of the record's members. A newer version may add members and never changes one."""

MAX_LISTED = 20_000
"""Maximum accounts, exceptions and elements without rows that are listed, of each."""


def as_record(summary: Summary) -> dict[str, Any]:
    """Return the record of a summary, without ``published``: the journal has the change feed."""
    return {
        "record_version": RECORD_VERSION,
        "harvester": __version__,
        "run_id": summary.run_id,
        "manifest": inert(summary.manifest),
        "started_at": calendar.utc_text(summary.started_at),
        "ended_at": calendar.utc_text(summary.ended_at),
        "seconds": round(summary.seconds, 3),
        "bound_seconds": summary.bound_seconds,
        "bound_by": summary.bound_by,
        "today": calendar.day_text(summary.today),
        "clock_offset": round(summary.clock_offset, 3),
        "state": "finished" if summary.finished else "running",
        "exit_code": int(summary.exit_code) if summary.finished else None,
        "reasons": list(summary.reasons()) if summary.finished else [],
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
        "exceptions": [_exception(item) for item in summary.abandoned[:MAX_LISTED]],
        "left_out": _left_out(summary.accounts, summary.abandoned, summary.without_rows),
        "quarantined": [
            {**plain(item), "reason": safe_text(item.reason)} for item in summary.quarantined
        ],
        "suspicious": plain(summary.suspicious),
        "oddities": [
            _oddity(seen) for drift in summary.drift.values() for seen in drift.oddities.values()
        ],
        "without_rows": plain(summary.without_rows[:MAX_LISTED]),
        "notes": summary.notes(),
    }


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


def _account(row: AccountSummary, summary: Summary) -> dict[str, Any]:
    found = plain_row(row)
    midnight = calendar.utc_text(calendar.instant(calendar.today(summary.ended_at) + 1, 0))
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


def feed_entry(item: Published) -> dict[str, Any]:
    """Return an entry of the change feed: a replaced file, and its days and accounts with news."""
    return {
        "dataset": item.dataset,
        "ref_month": item.ref_month,
        "path": item.path,
        "days": [calendar.day_text(day) for day in item.days],
        "appids": list(item.appids),
        "rows_before": item.rows_before,
        "rows_after": item.rows_after,
        "removed": item.removed,
    }
