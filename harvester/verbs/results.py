"""Results of the Python API: frozen values that can be pickled, equal to the command's JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from harvester.core.errors import (
    HarvesterError,
    PartialFailure,
    RunFailed,
    Stopped,
    Unauthorised,
    Unfinished,
    UsageError,
)
from harvester.core.exit_codes import Exit, Outcome
from harvester.core.plain import Brief, plain
from harvester.core.text.wording import counted
from harvester.runs.record.account_report import AccountSummary, DatasetSummary
from harvester.runs.record.attention import Attention
from harvester.runs.record.causes import lost_lines
from harvester.runs.record.labels import safe
from harvester.runs.record.members import PublishedFile
from harvester.runs.record.record import Record
from harvester.runs.record.run_record import as_record


class VerbResult(Brief):
    """The result of a verb. Its fields are the members of the verb's JSON."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the result as the verb prints it with `--format json`."""
        return dict(plain(self))


@dataclass(frozen=True, slots=True, repr=False)
class Result(Brief):
    """The result of a run that began.

    ``reasons`` keep it from being complete, and ``attention`` is what needs a person. From
    ``retry_at`` on a run can obtain more; None if nothing comes by itself. ``next_ready_at`` is
    when the newest day that is not wanted yet gets ready. ``datasets`` count the account-days of
    each dataset by state, ``accounts`` are those with trouble, ``published`` the files that were
    replaced. ``error`` ended the run early, and ``names`` are those of the accounts with trouble.
    """

    run_id: str
    outcome: Outcome
    exit_code: int
    reasons: tuple[str, ...]
    retry_at: datetime | None
    next_ready_at: datetime | None
    requests: int
    rows: int
    datasets: tuple[DatasetSummary, ...]
    accounts: tuple[AccountSummary, ...]
    published: tuple[PublishedFile, ...]
    shard: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    error: HarvesterError | None = None
    attention: tuple[Attention, ...] = ()
    record: Record = field(default_factory=Record, repr=False, compare=False)
    names: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, done: Record, names: Mapping[str, str] | None = None) -> Self:
        """Return the result of a record that is complete. ``names`` are those of the accounts."""
        return cls(
            run_id=done.run_id,
            outcome=done.outcome,
            exit_code=int(done.exit_code),
            reasons=tuple(sorted(done.reasons())),
            attention=done.attention,
            retry_at=_moment(done.retry_at),
            next_ready_at=_moment(done.next_ready_at),
            requests=done.requests,
            rows=done.rows,
            datasets=tuple(done.datasets),
            accounts=tuple(done.accounts),
            published=tuple(done.published),
            shard=done.shard,
            labels=safe(done.labels),
            error=done.failed,
            record=done,
            names={row.appid: (names or {}).get(row.appid, "") for row in done.accounts},
        )

    @classmethod
    def merge(cls, results: Iterable[Self]) -> Self:
        """Return one result of several shards, as a run in several processes has one.

        It is ``unauthorised`` only if no account of any could be authorised. Raises UsageError
        without any result, and for anything else among them.
        """
        given: object = results
        parts = [*given] if isinstance(given, Iterable) else []
        if not parts or not all(isinstance(each, Result) for each in parts):
            raise UsageError("results are none", "give the results of one shard or more")
        names = {appid: name for each in parts for appid, name in each.names.items()}
        return cls.of(Record.of_shards([each.record for each in parts]), names)

    @property
    def attention_new(self) -> int:
        """Items of ``attention`` that no earlier run had."""
        return sum(item.new for item in self.attention)

    @property
    def attention_total(self) -> int:
        """Items of ``attention``."""
        return len(self.attention)

    def raise_for_outcome(self) -> None:
        """Raise the error of the outcome, which has this ``result``; nothing if it is ``complete``.

        Raises Unfinished, PartialFailure, Unauthorised or Stopped, and the error that ended the run
        early if there is one.
        """
        if self.error is None and self.outcome == "complete":
            return
        error = self.error or _failure(self)
        error.result = self
        raise error

    def to_dict(self) -> dict[str, Any]:
        """Return the run record, as `--summary` writes it."""
        return as_record(self.record)

    def __str__(self) -> str:
        days = [row.days for row in self.datasets]
        done, wanted = sum(each.done for each in days), sum(each.wanted for each in days)
        rows, files = counted(self.rows, "new row"), counted(len(self.published), "file")
        why = ", ".join(self.reasons) or "everything wanted is covered"
        lines = [
            self.record.wants_nothing or f"{self.outcome}: {why}",
            f"{counted(self.requests, 'request')}, {rows}, {files}",
            f"{done:,} of {counted(wanted, 'account-day')} covered",
            *lost_lines(self.record, self.names),
        ]
        if self.retry_at is not None:
            lines.append(f"run again from {self.retry_at:%Y-%m-%d %H:%M:%S} UTC on")
        return "\n".join(lines)


_RAISED: Mapping[str, type[RunFailed]] = {
    kind.exit_code.outcome: kind for kind in (Unfinished, PartialFailure, Unauthorised, Stopped)
}


def _failure(result: Result) -> RunFailed:
    """Return the error of an outcome that is not ``complete``."""
    name = "the run" if result.shard is None else f"shard {result.shard}"
    advice = "see the result's accounts and datasets"
    if result.retry_at is not None:
        advice = f"run again from {result.retry_at:%Y-%m-%dT%H:%M:%SZ} on"
    reasons = ", ".join(result.reasons) or "no reason"
    kind = _RAISED.get(result.outcome, RunFailed)
    causes = lost_lines(result.record, result.names)
    error = kind((f"{name} is {result.outcome}: {reasons}", *causes), advice)
    error.exit_code = Exit(result.exit_code)
    return error


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
