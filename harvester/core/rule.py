"""Rule of a failed request: what becomes of it, how much of the run it stops, and why.

The rules of WeChat's error codes are in `harvester.catalogue.error_codes`.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Action(Enum):
    """The reaction to a refused request."""

    RETRY = "retry"
    """Repeat the request after a delay, a limited number of times."""
    RETRY_NOW = "retry_now"
    """Repeat the request at once, since an idle connection may close during a send; then RETRY."""
    REFRESH_TOKEN = "refresh_token"
    """Discard the token if it is still the current one, fetch a new one, and repeat once."""
    SLOW_DOWN = "slow_down"
    """Send nothing for the account until the next minute. Does not count as an attempt."""
    SPLIT = "split"
    """Ask for the days of the window again, fewer at once from now on."""
    NOT_READY = "not_ready"
    """Ask for the days before the newest one now, and for the newest one in a later run."""
    WAIT_FOR_QUOTA = "wait_for_quota"
    """Ask again on the next Beijing day, when the quota is renewed."""
    HOST_DOWN = "host_down"
    """Repeat the request when the host is reachable. Does not count as an attempt."""
    DEFER = "defer"
    """Leave the window to a later run, because the failure says nothing about the window."""
    STOP = "stop"
    """Ask no more in this run."""


TRANSIENT = (Action.RETRY, Action.RETRY_NOW, Action.HOST_DOWN)
"""Actions after a failure that may be over when the request is made again."""

NO_ANSWER = (*TRANSIENT, Action.DEFER)
"""Actions after which nothing is known of the window, and a later question may be answered."""


class Scope(Enum):
    """The part of a run that a refusal affects; all other parts continue."""

    WINDOW = "window"
    ACCOUNT_DATASET = "dataset of the account"
    ACCOUNT = "account"
    DATASET = "dataset of all accounts"
    RUN = "run"


class Rule(NamedTuple):
    """Meaning of one code or failure, with the reaction to it.

    ``advice`` is one sentence that says what the operator has to do. It refers to nothing that the
    refusal may not have said. ``repeats`` is how often a request is repeated, after a delay, before
    the action is taken. ``is_local`` is True if the cause lies between this machine and WeChat, so
    that WeChat cannot end it: an unknown name, a refused connection, a proxy, a certificate, a page
    instead of JSON. ``cause`` is the word for the problem where action and scope do not give it.
    ``is_deferred`` is True if a later run may have what all attempts of this one did not bring.
    """

    action: Action
    scope: Scope
    meaning: str
    advice: str
    repeats: int = 0
    is_local: bool = False
    cause: str = ""
    is_deferred: bool = False

    @property
    def is_passing(self) -> bool:
        """True if a request that meets the rule is made again, so that the cause may pass."""
        return self.action in (*TRANSIENT, Action.SLOW_DOWN)
