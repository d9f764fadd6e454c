"""Facts: what happens in a run, said once, where it happens.

`harvester.runs.stream.Stream` folds each fact into the record of the run and hands it to the
listeners. Facts are frozen and can be pickled, and cross processes as they are. An event of the
Python API is made of facts: see `harvester.runs.narrator`. Times are in seconds since the
Unix epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from harvester.core.errors import HarvesterError
from harvester.core.exit_codes import Exit
from harvester.core.model import DayRange
from harvester.core.results import PausedAccount, PendingDays
from harvester.runs.record.absent_rows import AbsentRows
from harvester.runs.record.account_report import AccountSummary, Beginning, DatasetSummary
from harvester.runs.record.attention import Attention
from harvester.runs.record.expectations import Expectation
from harvester.runs.record.next_requests import NextRequests
from harvester.scheduling.listener import AbandonedDays, Reopened, Troubled
from harvester.scheduling.standing import Standing
from harvester.storage.empty_everywhere import EmptyEverywhere
from harvester.storage.publication import Published, QuarantinedDay


class Begun(NamedTuple):
    """A run got its labels; ``shard`` is one like ``2/8``, None if it is the only one.

    ``selection`` has the options that narrow the manifest, of which ``manifest_digest`` is one.

    ``next_day_at`` is when the first day gets ready that the run does not want yet.
    """

    labels: Mapping[str, str]
    shard: str | None = None
    next_day_at: float | None = None
    selection: Mapping[str, Any] = {}
    manifest_digest: str | None = None


class ClockCorrected(NamedTuple):
    """The clock was moved by ``offset`` seconds, and the run goes on under another id."""

    offset: float
    run_id: str


class Planned(NamedTuple):
    """The work of a run, or of one of its shards.

    Its members have the same meaning in `Record`. A run in several processes reports its ``bound``
    alone, because each shard reports its own work.
    """

    windows: int = 0
    account_days: int = 0
    bound: tuple[float, str] = (0.0, "nothing")
    wanted_accounts: int = 0
    paused: tuple[PausedAccount, ...] = ()


class Counted(NamedTuple):
    """The counts since the last fact of this kind; it is made twice a second.

    Its members are members of `Record` with the same meaning. ``standing`` is None if the queues
    were not read for this fact.
    """

    requests: int = 0
    answered: int = 0
    answered_days: int = 0
    retries: int = 0
    asked_again: int = 0
    asked_again_with_rows: int = 0
    token_calls: int = 0
    bytes: int = 0
    surplus_answers: int = 0
    quota_questions: int = 0
    quotas_refused: int = 0
    bugs: int = 0
    waits: Mapping[str, float] = {}
    shortened_spans: Mapping[str, int] = {}
    standing: Standing | None = None


class GroupsDamaged(NamedTuple):
    """Raw groups could not be read; ``paths`` are those in quarantine."""

    paths: tuple[str, ...]


class AskingEnded(NamedTuple):
    """The last request was made. Its members are members of `Record` with the same meaning."""

    asked_at: float | None
    pending: tuple[PendingDays, ...] = ()
    out_of_time: bool = False
    out_of_lease: bool = False


class CoverageRead(NamedTuple):
    """The files say what is covered now. Its members have the same meaning in `Record`."""

    datasets: tuple[DatasetSummary, ...]
    accounts: tuple[AccountSummary, ...]
    quarantined: tuple[QuarantinedDay, ...]
    suspicious: tuple[DayRange, ...]
    next_requests: NextRequests
    clock_apart: bool = False
    empty_everywhere: tuple[EmptyEverywhere, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    absent: AbsentRows = AbsentRows()
    beginnings: tuple[Beginning, ...] = ()


class Died(NamedTuple):
    """A process of the run was killed or crashed; another one may go on.

    ``signal`` ended it, None if none is known. ``peak_memory`` is in bytes, None if unknown.
    """

    signal: str | None = None
    peak_memory: int | None = None


class AttentionFound(NamedTuple):
    """Trouble of a run that has ended and that needs a person, as a member of `Record`."""

    attention: tuple[Attention, ...]


class Ended(NamedTuple):
    """A run ended at ``at``: by itself, by an error, or by a signal with an exit code."""

    at: float
    error: HarvesterError | None = None
    bug: bool = False
    stopped_by: Exit | None = None


Fact: TypeAlias = (
    Begun
    | ClockCorrected
    | Planned
    | Counted
    | AbandonedDays
    | Reopened
    | Troubled
    | Published
    | GroupsDamaged
    | AskingEnded
    | CoverageRead
    | Died
    | AttentionFound
    | Ended
)
"""Anything that happens in a run.

`Published` is what storage says of a replaced file. `AbandonedDays`, `Reopened` and `Troubled` are
what the scheduler says.
"""
