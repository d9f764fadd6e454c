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
)
from harvester.core.exit_codes import Exit, Outcome, first_of
from harvester.runs.record.account_report import (
    AccountSummary,
    DatasetSummary,
    added,
)
from harvester.runs.record.members import PublishedFile
from harvester.runs.record.record import Record
from harvester.runs.record.run_record import as_record


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a run that began.

    ``reasons`` keep it from being complete. From ``retry_at`` on a run can obtain more; None if
    nothing comes by itself. ``next_ready_at`` is when the newest day that is not wanted yet gets
    ready. ``datasets`` count the account-days of each dataset by state, ``accounts`` are those
    with trouble, ``published`` the files that were replaced. ``error`` ended the run early.
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
    record: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def merge(cls, results: Iterable[Self]) -> Self:
        """Return one result of several shards: sums, and the outcome of the most severe.

        It is ``unauthorised`` only if all of them are, and else that counts as ``partial``. Raises
        ValueError without any.
        """
        found = list(results)
        if not found:
            raise ValueError("no result to merge")
        codes = [Exit(each.exit_code) for each in found]
        if any(code is not Exit.UNAUTHORISED for code in codes):
            codes = [Exit.INCOMPLETE if each is Exit.UNAUTHORISED else each for each in codes]
        worst = first_of(codes)
        one = found[codes.index(worst)]
        retries = [each.retry_at for each in found if each.retry_at is not None]
        ready = [each.next_ready_at for each in found if each.next_ready_at is not None]
        return cls(
            run_id=one.run_id,
            outcome=worst.outcome,
            exit_code=int(worst),
            reasons=tuple(dict.fromkeys(reason for each in found for reason in each.reasons)),
            retry_at=min(retries, default=None),
            next_ready_at=min(ready, default=None),
            requests=sum(each.requests for each in found),
            rows=sum(each.rows for each in found),
            datasets=tuple(added(each.datasets for each in found)),
            accounts=tuple(account for each in found for account in each.accounts),
            published=tuple(item for each in found for item in each.published),
            labels=one.labels,
            error=one.error,
            record={"runs": [each.to_dict() for each in found]},
        )

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
        """Return the run record, as `--summary` writes it but for the days of each file."""
        return dict(self.record)

    def __str__(self) -> str:
        days = [row.days for row in self.datasets]
        done, wanted = sum(each.done for each in days), sum(each.wanted for each in days)
        lines = [
            f"{self.outcome}: {', '.join(self.reasons) or 'everything wanted is covered'}",
            f"{self.requests:,} requests, {self.rows:,} new rows, {len(self.published):,} files",
            f"{done:,} of {wanted:,} account-days covered",
        ]
        if self.retry_at is not None:
            lines.append(f"run again from {self.retry_at:%Y-%m-%d %H:%M:%S} UTC on")
        return "\n".join(lines)


_RAISED: Mapping[str, type[RunFailed]] = {
    "unfinished": Unfinished,
    "partial": PartialFailure,
    "unauthorised": Unauthorised,
    "stopped": Stopped,
}


def result_of(done: Record) -> Result:
    """Return the result of a record that is complete."""
    record = as_record(done)
    return Result(
        run_id=done.run_id,
        outcome=done.outcome,
        exit_code=int(done.exit_code),
        reasons=tuple(done.reasons()),
        retry_at=_moment(done.retry_at),
        next_ready_at=_moment(done.next_ready_at),
        requests=done.requests,
        rows=done.rows,
        datasets=tuple(done.datasets),
        accounts=tuple(done.accounts),
        published=tuple(done.published),
        shard=record["shard"],
        labels=record["labels"],
        error=done.failed,
        record=record,
    )


def _failure(result: Result) -> RunFailed:
    """Return the error of an outcome that is not ``complete``."""
    name = "the run" if result.shard is None else f"shard {result.shard}"
    advice = "see the result's accounts and datasets"
    if result.retry_at is not None:
        advice = f"run again from {result.retry_at:%Y-%m-%dT%H:%M:%SZ} on"
    reasons = ", ".join(result.reasons) or "no reason"
    kind = _RAISED.get(result.outcome, RunFailed)
    return kind(f"{name} is {result.outcome}: {reasons}", advice)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
