"""Troubles of a run under way: causes for which attempts fail and are made again.

What stops an account or a dataset for good is among the abandoned days, and not here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from harvester.catalogue.error_codes import Action, Rule
from harvester.core.model import Refusal
from harvester.scheduling.account_queue import Attempt

MAX_TROUBLES = 50
"""Maximum of different causes that are kept; the next ones differ in words alone."""

_PASSING = (Action.RETRY, Action.RETRY_NOW, Action.HOST_DOWN, Action.SLOW_DOWN)

TroubleKey: TypeAlias = tuple[Action, str, int | str]


@dataclass(slots=True)
class Trouble:
    """A cause: its rule, what was said first, the accounts that met it, and in how many attempts.

    ``last_at`` is when it was met last, in seconds since the Unix epoch.
    """

    rule: Rule
    why: Refusal | str
    attempts: int = 0
    last_at: float = 0.0
    accounts: dict[str, None] = field(default_factory=dict)


class Troubles:
    """The troubles of a run, in the order in which they appeared; ``found`` has them by cause."""

    def __init__(self) -> None:
        self.found: dict[TroubleKey, Trouble] = {}

    def take(self, attempt: Attempt, rule: Rule, why: Refusal | str, now: float) -> None:
        """Take in a failed attempt, before it is decided what becomes of it."""
        if rule.action not in _PASSING:
            return
        # A connection kept open may be closed just as a request is sent: that is no trouble.
        if rule.action is Action.RETRY_NOW and not attempt.tries:
            return
        # A code is one cause whatever its message says, which has a rid in it.
        said = why.errcode if isinstance(why, Refusal) else why
        key = rule.action, rule.meaning, said
        trouble = self.found.get(key)
        if trouble is None:
            if len(self.found) >= MAX_TROUBLES:
                return
            trouble = self.found[key] = Trouble(rule, why)
        trouble.attempts += 1
        trouble.last_at = now
        trouble.accounts.setdefault(attempt.queue.appid)
