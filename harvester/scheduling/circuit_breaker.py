"""Circuit breaker for all accounts: opens when WeChat cannot be reached.

A request that never left this machine says nothing about its account: the host is away. After
`FAILURES_TO_OPEN` of them only a probe is handed out every `PROBE_SECONDS`, and the first response
of the host closes the breaker. A run without an answer for `GIVE_UP_SECONDS` gives up, whatever
the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FAILURES_TO_OPEN = 5
"""The breaker opens after so many consecutive attempts that did not reach the host."""

PROBE_SECONDS = 30.0
"""Between two attempts at a host that is away."""

OUTAGE_SECONDS = 60.0
"""If several accounts fail and none is answered for so long, it is no fault of their windows."""

GIVE_UP_SECONDS = 600.0
"""Without one answer for so long, a run leaves the rest to a later one."""


@dataclass(slots=True)
class CircuitBreaker:
    """Outcomes of the last attempts of all accounts.

    ``not_before`` is when the next probe may start; 0 as long as the host is there. ``failures``
    counts what came to nothing since the last answer, of these ``accounts``, and ``since`` is when
    that began. ``is_silent`` until the first answer of the run.
    """

    not_before: float = 0.0
    failures: int = 0
    since: float = 0.0
    accounts: set[str] = field(default_factory=set)
    never_answered: bool = True
    _unreachable_in_a_row: int = 0

    def probe_sent(self, now: float) -> None:
        """Take in that a probe starts."""
        self.not_before = now + PROBE_SECONDS

    def answered(self) -> None:
        """Take in a good answer."""
        self.failures = 0
        self.never_answered = False
        self.accounts.clear()
        self.host_responded()

    def host_responded(self) -> None:
        """Close the breaker, because the host responded, even with a refusal."""
        self._unreachable_in_a_row = 0
        self.not_before = 0.0

    def failed(self, appid: str, now: float) -> None:
        """Count a failed attempt of an account."""
        if not self.failures:
            self.since = now
        self.failures += 1
        self.accounts.add(appid)

    def host_unreachable(self, now: float) -> None:
        """Count an attempt that did not reach the host."""
        self._unreachable_in_a_row += 1
        if self._unreachable_in_a_row >= FAILURES_TO_OPEN:
            self.not_before = max(self.not_before, now + PROBE_SECONDS)

    @property
    def is_shared(self) -> bool:
        """True if several accounts failed, and none was answered."""
        return len(self.accounts) > 1

    def is_outage(self, now: float) -> bool:
        """Return whether several accounts have failed for so long that it is an outage."""
        return self.is_shared and now - self.since >= OUTAGE_SECONDS

    def gave_up(self, now: float) -> bool:
        """Return whether several attempts had no answer for `GIVE_UP_SECONDS`."""
        return self.failures >= FAILURES_TO_OPEN and now - self.since >= GIVE_UP_SECONDS
