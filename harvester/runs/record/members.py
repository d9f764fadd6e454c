"""Members of the record of a run, and the merge of the records of its shards."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from copy import copy
from dataclasses import dataclass, field, fields
from functools import cache, reduce
from itertools import islice
from typing import Annotated, Any, NamedTuple, Self, TypeVar, get_type_hints

from harvester.core import calendar
from harvester.core.errors import HarvesterError
from harvester.core.exit_codes import Exit
from harvester.core.model import MAX_ODDITIES, DayRange, OddityKind, RowlessElement, Window
from harvester.core.results import Op, PausedAccount, PendingDays
from harvester.runs.record import expectations
from harvester.runs.record.absent_rows import AbsentRows
from harvester.runs.record.account_report import AccountSummary, Beginning, DatasetSummary, added
from harvester.runs.record.attention import Attention
from harvester.runs.record.expectations import Expectation
from harvester.runs.record.next_requests import NO_REQUESTS, NextRequests, merged_requests
from harvester.scheduling.listener import AbandonedDays
from harvester.scheduling.standing import Standing, merged_pending
from harvester.storage.empty_everywhere import EmptyEverywhere
from harvester.storage.publication import QuarantinedDay, SeenOddity

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


class AnswerDrift(NamedTuple):
    """Differences between the answers of one dataset and its catalogue entry.

    ``oddities`` has the first one of each kind and name, and at most MAX_ODDITIES.
    """

    unknown_members: AbstractSet[str]
    missing_members: AbstractSet[str]
    oddities: Mapping[tuple[OddityKind, str], SeenOddity]

    def joined(self, other: AnswerDrift) -> AnswerDrift:
        """Return these differences and later ones of the same dataset."""
        others = (item for item in other.oddities.items() if item[0] not in self.oddities)
        return AnswerDrift(
            self.unknown_members | other.unknown_members,
            self.missing_members | other.missing_members,
            dict(islice((*self.oddities.items(), *others), MAX_ODDITIES)),
        )


def _first(one: T, _: T) -> T:
    return one


def _known(one: T, other: T) -> T:
    return one or other


def _of_two(choose: Callable[[float, float], float]) -> Callable[[Any, Any], Any]:
    """Return a rule for numbers that may be None."""

    def chosen(one: float | None, other: float | None) -> float | None:
        found = [each for each in (one, other) if each is not None]
        return reduce(choose, found) if found else None

    return chosen


def _standings(one: Standing, other: Standing) -> Standing:
    sums = Standing(*map(operator.add, one, other))
    return sums._replace(least_seconds=max(one.least_seconds, other.least_seconds))


def _by_name(join: Callable[[T, T], T]) -> Callable[[Any, Any], dict[str, T]]:
    """Return a rule that joins two mappings: values of the same name are joined by ``join``."""

    def joined_by_name(one: Mapping[str, T], other: Mapping[str, T]) -> dict[str, T]:
        both = {name: join(one[name], other[name]) for name in one if name in other}
        return {**one, **other, **both}

    return joined_by_name


def _rows_by(name: str, join: Callable[[T, T], T]) -> Callable[[Any, Any], tuple[T, ...]]:
    """Return a rule that joins two lists: rows with the same ``name`` are joined by ``join``."""

    def joined_rows(one: Iterable[T], other: Iterable[T]) -> tuple[T, ...]:
        rows = ({getattr(row, name): row for row in part} for part in (one, other))
        return tuple(_by_name(join)(*rows).values())

    return joined_rows


_NOTHING_ASKED = Standing()


class ShardOutcome(NamedTuple):
    """The end of one shard: ``deaths`` of its processes, and the ``error`` that ended it early.

    ``signal`` ended the one that died last, which had up to ``peak_memory`` bytes.
    """

    shard: str
    exit_code: Exit
    reasons: tuple[str, ...]
    requests: int
    rows: int
    deaths: int = 0
    signal: str | None = None
    peak_memory: int | None = None
    error: HarvesterError | None = None


@dataclass(slots=True)
class Members:
    """Members of the record of one process of a run, or of several that were merged.

    Each is annotated with the function that joins its values in two shards of a run.

    ``shard`` is one like ``2/8``, ``labels`` come from the caller and its engine, ``selection`` has
    the options that narrowed the manifest. ``bound`` is the lower bound of the run's seconds that
    the limits set, and the limit. ``wanted_accounts`` counts the accounts with wanted days, covered
    or not. ``next_day_at`` is when the first day gets ready that the run does not want yet,
    ``asked_at`` when it stopped asking. Of the windows that it ``asked_again`` the first answer had
    no rows. ``clock_offset`` has the seconds that were added to the
    machine's clock; ``clock_apart`` says that it was more than ten minutes from WeChat's. ``waits``
    has the seconds that refused requests waited, by action. ``out_of_time`` and ``out_of_lease``
    say that the run was cut short by its time budget, or by a lease that was not renewed in time.
    ``failed`` is the error that ended the run early, ``frames`` the stack of a bug. ``bugs`` counts
    internal errors, and the days that one of them quarantined. This run put ``rejected`` days
    into quarantine, and replaced the final rows of ``corrected`` account-days. Final days were
    ``rechecked`` by lot; see `Published`. ``absent`` says
    which rows the files lack as a whole. ``beginnings`` names accounts of which the days before
    their first row were asked once so far.
    ``accounts`` are those with trouble, ``suspicious`` the first new ranges, ``damaged`` the raw
    groups that were moved to quarantine, ``without_rows`` the elements of answers that have no row.
    ``paused`` accounts are not asked. ``pending`` days were owed when the run was cut short, and
    ``attention`` is what a run that has ended leaves to a person. ``shards`` are those of a run in
    several processes, of which ``deaths`` died, the last one by ``signal`` and with up to
    ``peak_memory`` bytes. The members of a run that is not ``finished`` are those so far.
    """

    run_id: Annotated[str, _first] = ""
    verb: Annotated[str, _first] = "run"
    manifest: Annotated[str, _first] = ""
    manifest_digest: Annotated[str | None, _known] = None
    host: Annotated[str, _known] = ""
    started_at: Annotated[float, _first] = 0.0
    ended_at: Annotated[float, _first] = 0.0
    shard: Annotated[str | None, _first] = None
    labels: Annotated[dict[str, str], _first] = field(default_factory=dict)
    selection: Annotated[Mapping[str, Any], _first] = field(default_factory=dict)
    next_day_at: Annotated[float | None, _of_two(min)] = None
    asked_at: Annotated[float | None, _of_two(max)] = None
    bound: Annotated[tuple[float, str], max] = (0.0, "nothing")
    wanted_accounts: Annotated[int, operator.add] = 0
    windows: Annotated[int, operator.add] = 0
    account_days: Annotated[int, operator.add] = 0
    requests: Annotated[int, operator.add] = 0
    answered: Annotated[int, operator.add] = 0
    answered_days: Annotated[int, operator.add] = 0
    retries: Annotated[int, operator.add] = 0
    asked_again: Annotated[int, operator.add] = 0
    asked_again_with_rows: Annotated[int, operator.add] = 0
    token_calls: Annotated[int, operator.add] = 0
    bytes: Annotated[int, operator.add] = 0
    surplus_answers: Annotated[int, operator.add] = 0
    corrected: Annotated[int, operator.add] = 0
    rechecked: Annotated[dict[str, int], _by_name(operator.add)] = field(default_factory=dict)
    quota_questions: Annotated[int, operator.add] = 0
    quotas_refused: Annotated[int, operator.add] = 0
    bugs: Annotated[int, operator.add] = 0
    frames: Annotated[tuple[str, ...], _known] = ()
    clock_offset: Annotated[float, _first] = 0.0
    clock_apart: Annotated[bool, operator.or_] = False
    deaths: Annotated[int, operator.add] = 0
    signal: Annotated[str | None, _known] = None
    peak_memory: Annotated[int | None, _of_two(max)] = None
    stopped_by: Annotated[Exit | None, _known] = None
    out_of_time: Annotated[bool, operator.or_] = False
    out_of_lease: Annotated[bool, operator.or_] = False
    finished: Annotated[bool, _first] = False
    failed: Annotated[HarvesterError | None, _first] = None
    standing: Annotated[Standing, _standings] = _NOTHING_ASKED
    waits: Annotated[dict[str, float], _by_name(operator.add)] = field(default_factory=dict)
    datasets: Annotated[tuple[DatasetSummary, ...], _rows_by("dataset", added)] = ()
    accounts: Annotated[tuple[AccountSummary, ...], operator.add] = ()
    abandoned: Annotated[list[AbandonedDays], operator.add] = field(default_factory=list)
    quarantined: Annotated[tuple[QuarantinedDay, ...], operator.add] = ()
    rejected: Annotated[set[QuarantinedDay], operator.or_] = field(default_factory=set)
    suspicious: Annotated[tuple[DayRange, ...], operator.add] = ()
    empty_everywhere: Annotated[tuple[EmptyEverywhere, ...], operator.add] = ()
    expectations: Annotated[tuple[Expectation, ...], _rows_by("key", expectations.added)] = ()
    absent: Annotated[AbsentRows, AbsentRows.joined] = AbsentRows()  # noqa: RUF009 - immutable
    beginnings: Annotated[tuple[Beginning, ...], operator.add] = ()
    published: Annotated[list[PublishedFile], operator.add] = field(default_factory=list)
    drift: Annotated[dict[str, AnswerDrift], _by_name(AnswerDrift.joined)] = field(
        default_factory=dict
    )
    delayed: Annotated[set[Window], operator.or_] = field(default_factory=set)
    damaged: Annotated[list[str], operator.add] = field(default_factory=list)
    without_rows: Annotated[set[RowlessElement], operator.or_] = field(default_factory=set)
    # The longest that worked, which is what the scheduler keeps as well.
    shortened_spans: Annotated[dict[str, int], _by_name(max)] = field(default_factory=dict)
    next_requests: Annotated[NextRequests, merged_requests] = NO_REQUESTS
    pending: Annotated[tuple[PendingDays, ...], operator.add] = ()
    paused: Annotated[tuple[PausedAccount, ...], operator.add] = ()
    attention: Annotated[tuple[Attention, ...], operator.add] = ()
    shards: Annotated[list[ShardOutcome], operator.add] = field(default_factory=list)

    @classmethod
    def merge(cls, records: Iterable[Self]) -> Self:
        """Return one record of shards that run at the same time; the first one names the run."""
        parts = list(records)
        # Copies, because some functions return one of the values.
        joined = {
            name: copy(reduce(join, (getattr(part, name) for part in parts)))
            for name, join in joins().items()
        }
        whole = cls(**joined)
        place = {row.dataset: at for at, row in enumerate(whole.datasets)}

        def in_order(item: AccountSummary | DayRange) -> int:
            return place.get(item.dataset, len(place))

        whole.accounts = tuple(sorted(whole.accounts, key=in_order))
        whole.suspicious = tuple(sorted(whole.suspicious, key=in_order)[:MAX_SUSPICIOUS])
        whole.pending = tuple(merged_pending(whole.pending))
        # A shard may lack what the whole run has.
        whole.attention = expectations.by_the_sum(whole.attention, whole.expectations)
        return whole

    @property
    def today(self) -> calendar.Day:
        """The Beijing day on which the run began."""
        return calendar.today(self.started_at)

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
def joins() -> dict[str, Callable[[Any, Any], Any]]:
    """Return the function that joins two values of a member, by name."""
    # Kept, because resolving the annotations takes longer than a merge.
    hints = get_type_hints(Members, include_extras=True)
    return {member.name: hints[member.name].__metadata__[0] for member in fields(Members)}
