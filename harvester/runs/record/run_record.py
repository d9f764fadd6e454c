"""Run record: a run as plain values for JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from harvester import __version__
from harvester.core import calendar
from harvester.core.model import Refusal
from harvester.core.plain import plain
from harvester.core.results import PendingDays
from harvester.core.text.inert_text import inert
from harvester.core.text.safe_text import safe_text
from harvester.runs.record import events, labels
from harvester.runs.record.account_report import AccountSummary, DatasetSummary, DayCounts, given_up
from harvester.runs.record.complete_days import CompleteDays
from harvester.runs.record.members import ShardOutcome
from harvester.runs.record.notes import notes_of
from harvester.runs.record.prospects import moment_text
from harvester.runs.record.record import Record
from harvester.scheduling.listener import AbandonedDays
from harvester.storage.empty_everywhere import EmptyEverywhere
from harvester.storage.footer import SCHEMA_VERSION
from harvester.storage.publication import Published, SeenOddity
from harvester.storage.state.change_entries import LogEntry

RECORD_VERSION = 2
"""Version of the record's members. A newer version may add members and never changes one."""

MAX_LISTED = 20_000
"""Maximum of accounts, paused ones, exceptions and items of attention that are listed each."""

MAX_SHOWN = 50
"""Maximum items of attention in an event, and in an output of a step."""

MAX_ROWLESS = 100
"""Maximum elements without rows: WeChat answers them again until their days are final."""


_AS_THEY_ARE = (
    *("run_id", "verb", "manifest_digest", "shard", "windows", "requests", "answered", "retries"),
    *("asked_again", "asked_again_with_rows"),
    *("token_calls", "quota_questions", "bytes", "surplus_answers", "rows"),
    *("corrected", "rechecked"),
)
"""Members of `Record` that the record for JSON has under the same names."""


def as_record(record: Record) -> dict[str, Any]:
    """Return the record of a run; the change feed has the days and accounts of each file."""
    bound_seconds, bound_by = record.bound
    put_away = (item for item in record.quarantined if item in record.rejected)
    seen = (odd for drift in record.drift.values() for odd in drift.oddities.values())
    return {
        "record_version": RECORD_VERSION,
        "harvester_version": __version__,
        "schema_version": SCHEMA_VERSION,
        **{name: plain(getattr(record, name)) for name in _AS_THEY_ARE},
        "manifest": inert(record.manifest),
        "host": inert(record.host),
        "labels": labels.safe(record.labels),
        "selection": dict(record.selection),
        "started_at": calendar.utc_text(record.started_at),
        "ended_at": calendar.utc_text(record.ended_at),
        "seconds": round(record.seconds, 3),
        "bound_seconds": bound_seconds,
        "bound_by": bound_by,
        "today": calendar.day_text(record.today),
        "clock_offset": round(record.clock_offset, 3),
        "state": "finished" if record.finished else "running",
        **(_end(record) | ({} if record.finished else _NO_END)),
        "frames": list(record.frames),
        "next_ready_at": moment_text(record.next_ready_at),
        "waits": {cause: round(seconds, 3) for cause, seconds in sorted(record.waits.items())},
        "assumed": ["daily_quota"] if record.quotas_refused else [],
        "attention": attention_rows(record, MAX_LISTED),
        "datasets": list(map(plain_row, record.datasets)),
        "accounts": [_account(row, record) for row in record.accounts[:MAX_LISTED]],
        "paused": events.with_texts(inert, plain(record.paused[:MAX_LISTED])),
        "pending": list(map(_pending, record.pending)),
        "exceptions": [_exception(item) for item in record.abandoned[:MAX_LISTED]],
        "left_out": _left_out(record),
        "quarantined": list(map(plain, put_away)),
        "suspicious": plain(record.suspicious),
        "empty_everywhere": plain_silence(record.empty_everywhere),
        "expectations": [each.to_dict() for each in record.expectations],
        "oddities": list(map(_oddity, seen)),
        "without_rows": plain(sorted(record.without_rows)[:MAX_ROWLESS]),
        "notes": list(notes_of(record, {})),
        "shards": list(map(_shard, record.shards)),
        "published": plain(record.published),
    }


def attention_rows(record: Record, most: int) -> list[dict[str, Any]]:
    """Return the first items of what needs a person, new ones first."""
    return [events.with_texts(inert, plain(item)) for item in record.attention[:most]]


def _shard(shard: ShardOutcome) -> dict[str, Any]:
    error = None if shard.error is None else "; ".join(shard.error.lines)
    return {**plain(shard), "outcome": shard.exit_code.outcome.value, "error": error}


def _pending(days: PendingDays) -> dict[str, Any]:
    return {name: value for name, value in plain(days).items() if name != "first"}


def _left_out(record: Record) -> int:
    lists = (record.accounts, record.abandoned, record.paused, record.attention)
    rowless = max(0, len(record.without_rows) - MAX_ROWLESS)
    return rowless + sum(max(0, len(items) - MAX_LISTED) for items in lists)


def _oddity(seen: SeenOddity) -> dict[str, Any]:
    found: dict[str, Any] = plain(seen)
    return {**found.pop("window"), **found}


def key_figures(record: Record) -> dict[str, str | int | None]:
    """Return what a scheduler acts on, of a run that has ended, in the words of the record."""
    end = _end(record)
    return {
        **end,
        "reasons": ",".join(end["reasons"]),
        "attention": json.dumps(attention_rows(record, MAX_SHOWN), ensure_ascii=False),
        "requests": record.requests,
        "rows": record.rows,
        "accounts_failed": record.accounts_failed,
    }


def _end(record: Record) -> dict[str, Any]:
    return {
        "outcome": record.outcome.value,
        "exit_code": int(record.exit_code),
        "reasons": sorted(record.reasons()),
        "retry_at": moment_text(record.retry_at),
        "attention_new": sum(item.new for item in record.attention),
        "attention_total": len(record.attention),
    }


_NO_END: dict[str, Any] = {"outcome": None, "exit_code": None, "reasons": [], "retry_at": None}


def _account(row: AccountSummary, record: Record) -> dict[str, Any]:
    found = plain_row(row)
    asked = record.ended_at if record.asked_at is None else record.asked_at
    midnight = calendar.utc_text(calendar.instant(calendar.today(asked) + 1))
    found["quota_resets_at"] = midnight if found.pop("waits_for_quota") else None
    return found


def plain_silence(found: Iterable[EmptyEverywhere]) -> list[dict[str, Any]]:
    """Return days that are empty everywhere, with their times as text."""
    return [
        {**plain(days), "since": moment_text(days.since), "retry_at": moment_text(days.retry_at)}
        for days in found
    ]


def plain_row(row: AccountSummary | DatasetSummary) -> dict[str, Any]:
    """Return the members of a row, with its counts of days beside the others."""
    found: dict[str, Any] = {}
    for name in row.__slots__:
        match getattr(row, name):
            case DayCounts() as days:
                found |= days._asdict()
            case CompleteDays(newest=day):
                found["newest_complete_day"] = None if day is None else calendar.day_text(day)
            case value:
                found[name] = plain(value)
    return found


def _exception(item: AbandonedDays) -> dict[str, Any]:
    refusal = item.why if isinstance(item.why, Refusal) else None
    return {
        **plain(given_up(item)),
        "days": item.count,
        "meaning": item.rule.meaning,
        "advice": item.rule.advice,
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
        days=tuple(map(calendar.day_text, calendar.each_day(item.changed_days))),
        appids=tuple(sorted(item.changed_appids)),
        rows_before=item.rows_before,
        rows_after=item.rows_after,
        corrected=bool(item.corrected),
    )
