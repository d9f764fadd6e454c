"""Problems of a run under way: the causes for which days are given up, in quarantine or late."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeAlias, cast

from harvester.catalogue.error_codes import Scope
from harvester.core.model import Refusal, Window
from harvester.core.text.safe_text import safe_text
from harvester.runs.record.account_report import reason_of
from harvester.runs.record.events import MAX_ACCOUNTS, REPEAT_SECONDS, Cause, Problem, Stamp
from harvester.runs.record.prospects import comes_at_text
from harvester.scheduling.account_queue import AbandonedDays
from harvester.storage.publication import QuarantinedDay

_WHOLE_ACCOUNTS = (Scope.ACCOUNT, Scope.RUN)

_QUARANTINE_ADVICE = (
    "The answers are in _harvester/quarantine. Once the cause is gone:"
    " harvester run --refetch quarantined"
)
_LATE_ADVICE = "What there is so far is published, and asked for again on a later day."

_Key: TypeAlias = tuple[Cause, str, str | None, int | None]


@dataclass(slots=True)
class _OpenCause:
    """A cause of days that are given up; ``first`` is where it appeared.

    ``told`` is the number of accounts that was told last.
    """

    first: AbandonedDays
    accounts: dict[str, None] = field(default_factory=dict)
    told_at: float = 0.0
    told: int = 0

    def is_due(self, now: float) -> bool:
        """Return whether it has more accounts than were told a minute ago."""
        return len(self.accounts) > self.told and now - self.told_at >= REPEAT_SECONDS


class KnownCauses:
    """The causes of the days that a run has given up, as it was last told of them."""

    def __init__(self) -> None:
        self._days: list[AbandonedDays] = []
        self._seen = 0
        self._causes: dict[_Key, _OpenCause] = {}

    def changes(self, days: list[AbandonedDays], stamp: Stamp) -> Iterator[Problem]:
        """Take in the days of `Scheduler.abandoned`; yield new causes, then those that are gone.

        A cause of more accounts than were told is told again, a minute after the last time.

        That list only grows, or is another one, so its days are looked at once each.
        """
        before = dict(self._causes)
        if days is not self._days:
            self._days, self._seen, self._causes = days, 0, {}
        for item in islice(days, self._seen, None):
            cause = self._causes.setdefault(_key(item), _OpenCause(item))
            cause.accounts.setdefault(item.appid)
        self._seen = len(days)
        for key, cause in self._causes.items():
            told = before.get(key)
            if told is not None:
                cause.told_at, cause.told = told.told_at, told.told
            if told is None or cause.is_due(stamp.time):
                cause.told_at, cause.told = stamp.time, len(cause.accounts)
                yield replace(_given_up(key, cause, stamp), repeated=told is not None)
        for key, cause in before.items():
            if key not in self._causes:
                yield replace(_given_up(key, cause, stamp), retry_at=None, resolved=True)


def quarantined(days: Iterable[QuarantinedDay], stamp: Stamp) -> Iterator[Problem]:
    """Yield a problem for each dataset and reason of quarantined days."""
    alike: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for item in days:
        alike[item.dataset, item.reason].setdefault(item.appid)
    for (dataset, reason), accounts in alike.items():
        told = f"an answer does not fit its columns: {safe_text(reason)}"
        yield _of(
            accounts,
            Problem(*stamp, "quarantined", told, _QUARANTINE_ADVICE, Scope.WINDOW.value, dataset),
        )


def late(windows: Iterable[Window], stamp: Stamp) -> Iterator[Problem]:
    """Yield a problem for each dataset with windows that WeChat is still computing."""
    alike: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for window in sorted(windows):
        alike[window.dataset].setdefault(window.appid)
    for dataset, accounts in alike.items():
        told = "WeChat is still computing the answer"
        yield _of(
            accounts, Problem(*stamp, "not_ready", told, _LATE_ADVICE, Scope.WINDOW.value, dataset)
        )


def _key(item: AbandonedDays) -> _Key:
    """Return what days have in common that are given up for one cause.

    A code is one cause whatever its message says, which has a rid in it. What concerns whole
    accounts is one for all their datasets.
    """
    cause = cast("Cause", reason_of(item)[0])
    dataset = None if item.rule.scope in _WHOLE_ACCOUNTS else item.dataset
    code = item.why.errcode if isinstance(item.why, Refusal) else None
    return cause, item.rule.meaning, dataset, code


def _given_up(key: _Key, open_cause: _OpenCause, stamp: Stamp) -> Problem:
    cause, meaning, dataset, code = key
    rule, why = open_cause.first.rule, open_cause.first.why
    told = f"{meaning}: {safe_text(str(why))}" if str(why) else meaning
    problem = Problem(*stamp, cause, told, rule.advice, rule.scope.value, dataset, errcode=code)
    return _of(open_cause.accounts, problem)


def _of(accounts: dict[str, None], problem: Problem) -> Problem:
    """Return a problem that names the first of its accounts, counts all and says when it ends."""
    return replace(
        problem,
        accounts=tuple(islice(accounts, MAX_ACCOUNTS)),
        count=len(accounts),
        retry_at=comes_at_text(problem.cause, problem.time),
    )
