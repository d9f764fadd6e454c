"""Whether WeChat can be reached at all, told from what attempts come to.

A request that never left this machine says nothing about its account: the host is away. After
`IN_A_ROW` of them nothing is handed out but a probe every `PROBE_SECONDS`, and the first word from
the host lets everybody go on. A run that has had no answer for `PATIENCE_SECONDS`, whatever the
reason, has nothing to wait for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FAILURES_TO_OPEN = 5
"""So many attempts that reached nobody, one after the other, and the host is taken to be away."""

PROBE_SECONDS = 30.0
"""Between two attempts at a host that is away."""

OUTAGE_SECONDS = 60.0
"""If several accounts fail and none is answered for so long, it is no fault of their windows."""

GIVE_UP_SECONDS = 600.0
"""Without one answer for so long, a run leaves the rest to a later one."""


@dataclass(slots=True)
class CircuitBreaker:
    """What the last attempts of all accounts came to.

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
        """A probe starts."""
        self.not_before = now + PROBE_SECONDS

    def answered(self) -> None:
        """A good answer came."""
        self.failures = 0
        self.never_answered = False
        self.accounts.clear()
        self.host_responded()

    def host_responded(self) -> None:
        """The host said something, be it a refusal."""
        self._unreachable_in_a_row = 0
        self.not_before = 0.0

    def failed(self, appid: str, now: float) -> None:
        """An attempt of an account came to nothing."""
        if not self.failures:
            self.since = now
        self.failures += 1
        self.accounts.add(appid)

    def host_unreachable(self, now: float) -> None:
        """It did so without having reached the host."""
        self._unreachable_in_a_row += 1
        if self._unreachable_in_a_row >= FAILURES_TO_OPEN:
            self.not_before = max(self.not_before, now + PROBE_SECONDS)

    @property
    def is_shared(self) -> bool:
        """Whether the trouble is more than one account's: several failed, and none was answered."""
        return len(self.accounts) > 1

    def is_outage(self, now: float) -> bool:
        """Whether that has gone on for long."""
        return self.is_shared and now - self.since >= OUTAGE_SECONDS

    def gave_up(self, now: float) -> bool:
        """Whether there was no answer for too long, though several attempts were made."""
        return self.failures >= FAILURES_TO_OPEN and now - self.since >= GIVE_UP_SECONDS
