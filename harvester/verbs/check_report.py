"""Report of a check: the result of each probe, by account."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from typing import Any, NamedTuple

from harvester.core.exit_codes import Exit
from harvester.core.model import ReportedQuota
from harvester.core.plain import Brief, plain
from harvester.core.results import PausedAccount


class State(Enum):
    """The result of a probe, in the order in which it needs attention."""

    REFUSED = "refused"
    NO_ANSWER = "no answer"
    NOT_READY = "not ready"
    """Allowed, but not now: a quota is spent, or the day has no data yet."""
    WORKS = "works"


WHOLE_ACCOUNT = "all"
"""Stands for all families of an account."""


class ProbeResult(NamedTuple):
    """The result of one probe; the members after ``state`` are empty if it was answered.

    ``family`` is ``"all"`` if the result holds for the whole account, so that its other probes are
    left out. ``errcode`` is None if the refusal came from the network and not from WeChat.
    """

    family: str
    permission_set: int
    dataset: str
    day: date
    state: State
    errcode: int | None = None
    errmsg: str = ""
    rid: str = ""
    meaning: str = ""
    advice: str = ""

    @property
    def is_of_account(self) -> bool:
        """True if it holds for the whole account."""
        return self.family == WHOLE_ACCOUNT


@dataclass(slots=True)
class AccountCheck:
    """One account: its findings in the order of its jobs, and its quotas by dataset.

    ``paused`` is the manifest's pause if it is about that. Such an account has one finding, and is
    another one beside the same account if only a part of it is paused.
    ``calls`` counts the calls that WeChat may count, by dataset.
    """

    appid: str
    name: str
    findings: list[ProbeResult] = field(default_factory=list)
    allowances: dict[str, ReportedQuota] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    paused: PausedAccount | None = None

    @property
    def state(self) -> State:
        """The state of the worst finding."""
        states = [finding.state for finding in self.findings]
        return min(states, key=[*State].index, default=State.WORKS)

    @property
    def scarcest(self) -> ReportedQuota | None:
        """The known quota with the fewest calls left."""
        return min(self.allowances.values(), key=lambda quota: quota.remain, default=None)

    @property
    def is_authorised(self) -> bool:
        """True if WeChat accepts the account, even if it allows nothing or nothing now."""
        return any(
            finding.state is State.NOT_READY or not finding.is_of_account
            for finding in self.findings
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the findings and quotas as values for JSON."""
        quotas = [{"dataset": name, **plain(told)} for name, told in self.allowances.items()]
        for quota in quotas:
            del quota["asked_at"]
        return {
            "appid": self.appid,
            "name": self.name,
            "authorised": self.is_authorised,
            "findings": plain(self.findings),
            "quotas": quotas,
        }


@dataclass(slots=True, repr=False)
class Check(Brief):
    """All accounts in the manifest's order, and the number of calls, those for tokens included.

    ``paused`` accounts are in no count of states and no exit code. ``pause_lines`` would pause what
    was refused, put into the manifest.
    """

    accounts: list[AccountCheck] = field(default_factory=list)
    calls: int = 0
    paused: list[AccountCheck] = field(default_factory=list)
    pause_lines: list[str] = field(default_factory=list)

    @property
    def everyone(self) -> list[AccountCheck]:
        """The accounts, paused ones included."""
        return [*self.accounts, *self.paused]

    def to_dict(self) -> dict[str, Any]:
        """Return the check as `check --format json` prints it."""
        counts = {state.name.lower(): self.count(state) for state in State}
        paused = [
            {
                **plain(account.paused),
                "works_again": account.state is State.WORKS,
                "findings": plain(account.findings),
            }
            for account in self.paused
        ]
        accounts = [account.to_dict() for account in self.accounts]
        lists = {"accounts": accounts, "paused": paused, "pause_lines": self.pause_lines}
        return {**lists, **counts, "calls": self.calls}

    def count(self, state: State) -> int:
        """Count the accounts whose worst finding is ``state``."""
        return sum(account.state is state for account in self.accounts)

    @property
    def exit_code(self) -> Exit:
        """The code of the findings: 75 for a call without an answer, 4 or 3 for refusals, or 0."""
        states = {finding.state for account in self.accounts for finding in account.findings}
        # Without an answer nothing is known of the account, and a later check may tell.
        if State.NO_ANSWER in states:
            return Exit.AGAIN
        if self.accounts and not any(account.is_authorised for account in self.accounts):
            return Exit.UNAUTHORISED
        return Exit.INCOMPLETE if State.REFUSED in states else Exit.DONE
