"""Retry budget of WeChat's host: how many attempts may fail before only probes go out.

An attempt without an answer takes 1 from the balance, and each answer, a refusal too, gives back a
quarter: a run in which one attempt in five fails hardly runs out of it. The gate closes when the
balance is used up or the host is away; then one probe goes out every `PROBE_SECONDS` until an
answer opens it. A dataset that fails for all accounts waits by itself, with a probe of its own, and
costs the others nothing if they are answered. See docs/decisions/0048-one-retry-budget.md.

A run without an answer for `GIVE_UP_SECONDS` gives up, whatever the reason. A run that has heard
nothing of WeChat since its start, and each failure of which has its cause on this machine's side,
gives up after `LOCAL_GIVE_UP_SECONDS` already.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from harvester.core.model import Window

BUDGET = 100.0
"""The balance of a run at its start, and at most."""

_PER_ANSWER = 0.25
_STORM = BUDGET / 2
_LOW = BUDGET / 4
"""Below this balance the number of attempts in flight grows with the answers."""

FAILURES_TO_OPEN = 5
"""Failures in a row that close the gate, before the first answer or while WeChat is away."""

ALONE_FAILURES = 10
"""Failures of a dataset in a row, over all accounts, after which it waits by itself."""

AWAY_SECONDS = 20.0
"""The host is away if no call was answered for so long."""

PROBE_SECONDS = 30.0
"""Between two attempts at a host that is away."""

LOCAL_PROBE_SECONDS = 10.0
"""Between two attempts at a host that was never heard, for causes on this machine's side."""

LOCAL_GIVE_UP_SECONDS = 30.0
"""So long such causes are waited out: a network that is just coming up may take some seconds."""

GIVE_UP_SECONDS = 600.0
"""Without one answer for so long, a run or a dataset leaves the rest to a later run."""


@dataclass(slots=True)
class _Row:
    """Failures of a dataset since its last answer, and when they began."""

    since: float
    failures: int = 0


@dataclass(slots=True)
class _Wait:
    """The wait of a dataset: its begin, when its next probe may start, and what it has cost."""

    since: float
    not_before: float
    cost: int


@dataclass(slots=True)
class RetryBudget:
    """Balance of the attempts of all accounts, and what failed since the last answer.

    ``not_before`` is when the next probe may start; 0 while the gate is open. ``failures`` counts
    what came to nothing since the last answer, and ``since`` is when that began. ``windows`` are
    those that failed since the balance was full. ``waiting`` has the datasets that wait by
    themselves, and ``rows`` what failed of each dataset since its last answer. ``never_answered``
    is True until the first answer, ``never_heard`` until the first answer or refusal of WeChat's,
    and ``all_local`` until the first failure whose cause is not on this machine's side.
    ``last_failure`` says what failed last.
    """

    balance: float = BUDGET
    not_before: float = 0.0
    failures: int = 0
    since: float = 0.0
    windows: set[Window] = field(default_factory=set)
    waiting: dict[str, _Wait] = field(default_factory=dict)
    never_answered: bool = True
    never_heard: bool = True
    all_local: bool = True
    last_failure: str = ""
    rows: dict[str, _Row] = field(default_factory=dict)

    @property
    def room(self) -> float:
        """The number of attempts that may be in flight; it grows with the answers if it is low."""
        return math.inf if self.balance >= _LOW else 1 + self.balance / _PER_ANSWER

    def answered(self, dataset: str, *, is_refusal: bool = False) -> None:
        """Open the gate, because WeChat answered, be it with a refusal."""
        self.never_heard = False
        self.never_answered &= is_refusal
        self.failures = 0
        self.not_before = 0.0
        self.rows.pop(dataset, None)
        self.waiting.pop(dataset, None)
        self.balance += _PER_ANSWER
        # What fails while others are answered takes nothing from them.
        for wait in self.waiting.values():
            self.balance += wait.cost
            wait.cost = 0
        self.balance = min(BUDGET, self.balance)
        if self.balance == BUDGET:
            self.windows.clear()

    def failed(self, window: Window, now: float, why: str = "", *, is_local: bool = False) -> None:
        """Take in an attempt without an answer."""
        self.all_local &= is_local
        self.last_failure = why
        if not self.failures:
            self.since = now
        self.failures += 1
        self.windows.add(window)
        self.rows.setdefault(window.dataset, _Row(now)).failures += 1

    def judge(self, dataset: str, failing_since: float, now: float) -> bool:
        """Charge a failure to the balance, close the gate, or let the dataset wait.

        ``failing_since`` is that of the pair that failed. A pair that fails amid answers of others
        has a bound of its own, and costs them nothing. Returns whether the dataset waits now.
        """
        if not self.is_storm(dataset, failing_since):
            return False
        if dataset not in self.waiting:
            self.balance = max(0.0, self.balance - 1)
        is_away = self.never_answered or now - self.since >= AWAY_SECONDS
        if self.balance < 1 or (self.failures >= FAILURES_TO_OPEN and is_away):
            self.not_before = now + self._probe_seconds
        in_a_row = self.rows[dataset].failures
        if in_a_row < ALONE_FAILURES or dataset in self.waiting:
            return False
        self.waiting[dataset] = _Wait(now, now + PROBE_SECONDS, in_a_row)
        return True

    def probe_sent(self, now: float) -> None:
        """Take in that a probe starts."""
        self.not_before = now + self._probe_seconds

    def holds_back(self, dataset: str, now: float) -> float:
        """Return until when a dataset waits by itself; 0 if an attempt, its probe, may start."""
        if (wait := self.waiting.get(dataset)) is None:
            return 0.0
        if now < wait.not_before:
            return wait.not_before
        wait.not_before = now + PROBE_SECONDS
        return 0.0

    @property
    def _probe_seconds(self) -> float:
        return LOCAL_PROBE_SECONDS if self.is_cut_off else PROBE_SECONDS

    @property
    def is_cut_off(self) -> bool:
        """True if WeChat was never heard, and only for causes on this machine's side."""
        return self.never_heard and self.all_local and self.failures > 0

    @property
    def cut_off_ends(self) -> float:
        """The moment at which a run that is cut off gives up; infinite for any other run."""
        return self.since + LOCAL_GIVE_UP_SECONDS if self.is_cut_off else math.inf

    def is_storm(self, dataset: str, failing_since: float) -> bool:
        """Return whether an account that fails since a moment is not the cause.

        No account got an answer for the dataset since then, or very much fails besides.
        """
        return self.rows[dataset].since <= failing_since or self.balance < _STORM

    def excuses(self, dataset: str, failing_since: float, *, is_heard: bool) -> bool:
        """Return whether a window that fails since a moment does so for no fault of its own.

        One that fails alone is its own cause if WeChat itself refused it, or answered meanwhile.
        """
        is_open = len(self.windows) > 1 or (failing_since >= self.since and not is_heard)
        return is_open and self.is_storm(dataset, failing_since)

    def gave_up(self, now: float) -> bool:
        """Return whether the run has waited for an answer as long as it may."""
        if now >= self.cut_off_ends:
            return True
        return self.failures >= FAILURES_TO_OPEN and now - self.since >= GIVE_UP_SECONDS
