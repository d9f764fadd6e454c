"""Members of the record of a run, and the merge of the records of its shards."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, fields
from functools import cache, reduce
from typing import Annotated, Any, NamedTuple, Self, TypeVar, get_type_hints

from harvester.core import calendar
from harvester.core.errors import HarvesterError
from harvester.core.exit_codes import Exit
from harvester.core.model import DayRange, Window
from harvester.core.results import Op, PausedAccount, PendingDays
from harvester.runs.record import account_report
from harvester.runs.record.account_report import AccountSummary, DatasetSummary
from harvester.runs.record.answer_drift import AnswerDrift, merged_drift
from harvester.runs.record.next_requests import NO_REQUESTS, NextRequests, merged_requests
from harvester.scheduling.listener import AbandonedDays
from harvester.scheduling.standing import Standing, merged_pending
from harvester.storage.answer_notes import RowlessElement
from harvester.storage.publication import QuarantinedDay

T = TypeVar("T")

MAX_SUSPICIOUS = 100
"""Maximum suspicious ranges in a record: quiet accounts have many, `harvester status` has all."""


class PublishedFile(NamedTuple):
    """A file that was replaced. The change feed has its days and accounts, which may be many."""

    dataset: str
    ref_month: str
    path: str
    rows_before: int
    rows_after: int
    op: Op = "replaced"


class _Rule(NamedTuple):
    """Rule by which the values of one member become one.

    ``beside`` joins those of shards that run at the same time, ``after`` those of two processes of
    one shard, of which the first one died.
    """

    beside: Callable[[Any, Any], Any]
    after: Callable[[Any, Any], Any]


def _first(one: T, _: T) -> T:
    return one


def _last(_: T, other: T) -> T:
    return other


def _known(one: T, other: T) -> T:
    """Return the value of the first process, unless it died before it had any."""
    return one or other


def _of_two(choose: Callable[[float, float], float]) -> Callable[[Any, Any], Any]:
    """Return a rule for numbers that may be None."""

    def chosen(one: float | None, other: float | None) -> float | None:
        found = [each for each in (one, other) if each is not None]
        return reduce(choose, found) if found else None

    return chosen


def _datasets(one: list[DatasetSummary], other: list[DatasetSummary]) -> list[DatasetSummary]:
    return account_report.added((one, other))


def _standings(one: Standing, other: Standing) -> Standing:
    return Standing(
        one.done + other.done,
        one.waiting + other.waiting,
        one.refused + other.refused,
        one.windows_left + other.windows_left,
        max(one.least_seconds, other.least_seconds),
    )


def longest_spans(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Return the longest span of each dataset, which is what the scheduler keeps as well."""
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in {**one, **other}}


def added_waits(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Return the seconds of both, by action."""
    return {name: one.get(name, 0.0) + other.get(name, 0.0) for name in {**one, **other}}


_FIRST = _Rule(_first, _first)
_COUNT = _Rule(operator.add, operator.add)
_PLANNED = _Rule(operator.add, _known)
_AT_END = _Rule(operator.add, _last)
_FLAG = _Rule(operator.or_, _last)
_SPANS = _Rule(longest_spans, longest_spans)
_WAITS = _Rule(added_waits, added_waits)
_NOTHING_ASKED = Standing()


@dataclass(frozen=True, slots=True)
class ShardOutcome:
    """The end of one shard: ``deaths`` of its processes, and the ``error`` that ended it early."""

    shard: str
    exit_code: Exit
    reasons: tuple[str, ...]
    requests: int
    rows: int
    deaths: int = 0
    error: HarvesterError | None = None


@dataclass(slots=True)
class Members:
    """Members of the record of one process of a run, or of several that were merged.

    ``shard`` is one like ``2/8``, ``labels`` are those of the caller and its engine. ``bound`` is
    the lower bound that the limits set, and the limit. ``wanted_accounts`` counts the accounts with
    wanted days, covered or not. ``next_day_at`` is when the first day gets ready that the run does
    not want yet, ``asked_at`` when it stopped asking. ``clock_offset`` has the seconds that were
    added to the machine's clock, and ``repeated`` the requests made before that, whose answers were
    dropped. ``waits`` has the seconds that refused requests waited, by action. ``out_of_time`` and
    ``out_of_lease`` say that the run was cut short by its time budget, or by a lease that was not
    renewed in time. ``failed`` is the error that ended the run early, ``bugs`` counts internal
    errors and ``undecodable_days`` the days that such an error quarantined. ``accounts`` are those
    with trouble, ``suspicious`` the first ranges, ``damaged`` the raw groups that were moved to
    quarantine, ``without_rows`` the elements of answers that have no row. ``paused`` accounts are
    not asked. ``pending`` days were owed when the run was cut short. ``shards`` are those of a run
    in several processes, of which ``deaths`` died. The members of a run that is not ``finished``
    are those so far.
    """

    run_id: Annotated[str, _FIRST] = ""
    manifest: Annotated[str, _FIRST] = ""
    started_at: Annotated[float, _FIRST] = 0.0
    ended_at: Annotated[float, _Rule(_first, max)] = 0.0
    today: Annotated[calendar.Day, _FIRST] = 0
    shard: Annotated[str | None, _FIRST] = None
    labels: Annotated[dict[str, str], _FIRST] = field(default_factory=dict)
    next_day_at: Annotated[float | None, _Rule(_of_two(min), _last)] = None
    asked_at: Annotated[float | None, _Rule(_of_two(max), _last)] = None
    bound: Annotated[tuple[float, str], _Rule(max, max)] = (0.0, "nothing")
    wanted_accounts: Annotated[int, _PLANNED] = 0
    windows: Annotated[int, _PLANNED] = 0
    account_days: Annotated[int, _PLANNED] = 0
    requests: Annotated[int, _COUNT] = 0
    answered: Annotated[int, _COUNT] = 0
    retries: Annotated[int, _COUNT] = 0
    token_calls: Annotated[int, _COUNT] = 0
    bytes: Annotated[int, _COUNT] = 0
    surplus_answers: Annotated[int, _COUNT] = 0
    quota_questions: Annotated[int, _COUNT] = 0
    quotas_refused: Annotated[int, _COUNT] = 0
    bugs: Annotated[int, _COUNT] = 0
    undecodable_days: Annotated[int, _COUNT] = 0
    clock_offset: Annotated[float, _FIRST] = 0.0
    repeated: Annotated[int, _COUNT] = 0
    deaths: Annotated[int, _COUNT] = 0
    stopped_by: Annotated[Exit | None, _Rule(_known, _known)] = None
    out_of_time: Annotated[bool, _FLAG] = False
    out_of_lease: Annotated[bool, _FLAG] = False
    finished: Annotated[bool, _Rule(_first, _last)] = False
    failed: Annotated[HarvesterError | None, _Rule(_first, _last)] = None
    standing: Annotated[Standing, _Rule(_standings, _last)] = _NOTHING_ASKED
    waits: Annotated[dict[str, float], _WAITS] = field(default_factory=dict)
    datasets: Annotated[list[DatasetSummary], _Rule(_datasets, _last)] = field(default_factory=list)
    accounts: Annotated[list[AccountSummary], _AT_END] = field(default_factory=list)
    abandoned: Annotated[list[AbandonedDays], _AT_END] = field(default_factory=list)
    quarantined: Annotated[list[QuarantinedDay], _AT_END] = field(default_factory=list)
    suspicious: Annotated[list[DayRange], _AT_END] = field(default_factory=list)
    published: Annotated[list[PublishedFile], _COUNT] = field(default_factory=list)
    drift: Annotated[dict[str, AnswerDrift], _Rule(merged_drift, merged_drift)] = field(
        default_factory=dict
    )
    delayed: Annotated[set[Window], _Rule(operator.or_, _last)] = field(default_factory=set)
    damaged: Annotated[list[str], _COUNT] = field(default_factory=list)
    without_rows: Annotated[list[RowlessElement], _AT_END] = field(default_factory=list)
    shortened_spans: Annotated[dict[str, int], _SPANS] = field(default_factory=dict)
    next_requests: Annotated[NextRequests, _Rule(merged_requests, _last)] = NO_REQUESTS
    pending: Annotated[list[PendingDays], _AT_END] = field(default_factory=list)
    paused: Annotated[tuple[PausedAccount, ...], _PLANNED] = ()
    shards: Annotated[list[ShardOutcome], _COUNT] = field(default_factory=list)

    @classmethod
    def merge(cls, records: Iterable[Self]) -> Self:
        """Return one record of shards that run at the same time; the first one names the run.

        Raises ValueError without any.
        """
        whole = cls._joined(list(records), lambda rule: rule.beside)
        place = {row.dataset: at for at, row in enumerate(whole.datasets)}

        def in_order(item: AccountSummary | DayRange) -> int:
            return place.get(item.dataset, len(place))

        whole.accounts.sort(key=in_order)
        whole.suspicious = sorted(whole.suspicious, key=in_order)[:MAX_SUSPICIOUS]
        whole.pending = merged_pending(whole.pending)
        return whole

    @classmethod
    def sequence(cls, records: Sequence[Self]) -> Self:
        """Return one record of processes of one shard, of which all but the last one died."""
        return cls._joined(list(records), lambda rule: rule.after)

    @classmethod
    def _joined(
        cls, records: list[Self], rule_of: Callable[[_Rule], Callable[[Any, Any], Any]]
    ) -> Self:
        if not records:
            raise ValueError("no record to merge")
        members = {
            # A copy, because some rules return one of the values.
            name: copy(reduce(rule_of(rule), (getattr(each, name) for each in records)))
            for name, rule in _rules().items()
        }
        return cls(**members)

    @property
    def bound_seconds(self) -> float:
        """The lower bound of the run's time that the limits set."""
        return self.bound[0]

    @property
    def bound_by(self) -> str:
        """The limit that sets the bound."""
        return self.bound[1]

    @property
    def seconds(self) -> float:
        """Duration of the run in seconds."""
        return self.ended_at - self.started_at

    @property
    def rows(self) -> int:
        """Rows that the published files have gained."""
        return sum(item.rows_after - item.rows_before for item in self.published)

    @property
    def missing(self) -> int:
        """Account-days that are wanted and ready, and are not covered."""
        return sum(row.days.missing for row in self.datasets)


@cache
def _rules() -> dict[str, _Rule]:
    """Return the rule of each member of a record."""
    hints = get_type_hints(Members, include_extras=True)
    return {member.name: hints[member.name].__metadata__[0] for member in fields(Members)}
