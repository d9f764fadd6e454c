"""Circuit breaker for all accounts: opens when WeChat cannot be reached.

A request that never left this machine says nothing about its account: the host is away. After
`FAILURES_TO_OPEN` of them only a probe is handed out every `PROBE_SECONDS`, and the first response
of the host closes the breaker. A run without an answer for `GIVE_UP_SECONDS` gives up, whatever
the reason. A run that has heard nothing of WeChat since its start, and each failure of which has
its cause on this machine's side, gives up after `LOCAL_GIVE_UP_SECONDS` already.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

FAILURES_TO_OPEN = 5
"""The breaker opens after so many consecutive attempts that did not reach the host."""

PROBE_SECONDS = 30.0
"""Between two attempts at a host that is away."""

LOCAL_PROBE_SECONDS = 10.0
"""Between two attempts at a host that was never heard, for causes on this machine's side."""

LOCAL_GIVE_UP_SECONDS = 30.0
"""So long such causes are waited out: a network that is just coming up may take some seconds."""

OUTAGE_SECONDS = 20.0
"""A disturbance of several accounts that lasts so long is no fault of their windows. One window
that always fails is given up sooner, a storm of half a minute lasts longer."""

OUTAGE_ACCOUNTS = 5
"""A run that ends amid failures of so many accounts ends in an outage, however short."""

GIVE_UP_SECONDS = 600.0
"""Without one answer for so long, a run leaves the rest to a later one."""


@dataclass(slots=True)
class CircuitBreaker:
    """Outcomes of the last attempts of all accounts.

    ``not_before`` is when the next probe may start; 0 as long as the host is there. ``failures``
    counts what came to nothing since the last answer, of these ``accounts``, and ``since`` is when
    that began. A disturbance lasts until as many attempts were answered as had failed:
    ``unmatched`` counts the failures without an answer yet, of the ``disturbed`` accounts, and
    ``disturbed_since`` is when it began. ``never_answered`` is True until the first answer,
    ``never_heard`` until the first answer or refusal of WeChat's, and ``all_local`` until the first
    failure whose cause is not on this machine's side. ``last_failure`` says what failed last.
    """

    not_before: float = 0.0
    failures: int = 0
    since: float = 0.0
    accounts: set[str] = field(default_factory=set)
    unmatched: int = 0
    disturbed_since: float = 0.0
    disturbed: set[str] = field(default_factory=set)
    never_answered: bool = True
    never_heard: bool = True
    all_local: bool = True
    last_failure: str = ""
    _unreachable_in_a_row: int = 0

    def probe_sent(self, now: float) -> None:
        """Take in that a probe starts."""
        self.not_before = now + self._probe_seconds

    def answered(self) -> None:
        """Take in a good answer."""
        self.failures = 0
        self.never_answered = self.never_heard = False
        self.accounts.clear()
        # One by one, because an outage may let single answers through.
        self.unmatched = max(0, self.unmatched - 1)
        if not self.unmatched:
            self.disturbed.clear()
        self.host_responded()

    def host_responded(self) -> None:
        """Close the breaker, because the host responded, even with a refusal."""
        self._unreachable_in_a_row = 0
        self.not_before = 0.0

    def heard(self) -> None:
        """Take in that WeChat itself refused something."""
        self.never_heard = False

    def failed(self, appid: str, now: float, why: str = "", *, is_local: bool = False) -> None:
        """Count a failed attempt of an account."""
        self.all_local &= is_local
        self.last_failure = why
        if not self.failures:
            self.since = now
        if not self.unmatched:
            self.disturbed_since = now
        self.failures += 1
        self.unmatched += 1
        self.accounts.add(appid)
        self.disturbed.add(appid)

    def host_unreachable(self, now: float) -> None:
        """Count an attempt that did not reach the host."""
        self._unreachable_in_a_row += 1
        if self._unreachable_in_a_row >= FAILURES_TO_OPEN:
            # Never earlier: an attempt that was in flight must not bring the next probe forward.
            self.not_before = max(self.not_before, now + self._probe_seconds)

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

    @property
    def is_shared(self) -> bool:
        """True if several accounts failed, and none was answered."""
        return len(self.accounts) > 1

    def is_outage(self, now: float) -> bool:
        """Return whether several accounts have been disturbed for so long that it is an outage."""
        return len(self.disturbed) > 1 and now - self.disturbed_since >= OUTAGE_SECONDS

    def recovers(self, appid: str, now: float) -> bool:
        """Return whether a good answer of this account ends an outage.

        An account that was disturbed alone has itself shown that its windows were not the cause.
        """
        alone = appid in self.accounts and now - self.since >= OUTAGE_SECONDS
        return alone or (self.unmatched == 1 and self.is_outage(now))

    def ends_in_outage(self, now: float, accounts: int) -> bool:
        """Return whether a run ends in an outage, with days of so many ``accounts`` wanted."""
        # Of a small run more than half is many, because it may not have OUTAGE_ACCOUNTS at all.
        many = len(self.disturbed) >= OUTAGE_ACCOUNTS or 2 * len(self.disturbed) > accounts
        return many or self.is_outage(now)

    def gave_up(self, now: float) -> bool:
        """Return whether the run has waited for an answer as long as it may."""
        if now >= self.cut_off_ends:
            return True
        return self.failures >= FAILURES_TO_OPEN and now - self.since >= GIVE_UP_SECONDS
