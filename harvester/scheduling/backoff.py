"""Waiting times before a request is repeated."""

from __future__ import annotations

from random import Random

from harvester.core.config.settings import Retry

_MINUTE = 60.0
_SPREAD = 15.0
_MOST_DOUBLINGS = 60


def delay(attempt: int, policy: Retry, random: Random) -> float:
    """Seconds to wait after so many attempts, counted from 1.

    Full jitter: ``uniform(0, min(max_delay, initial_delay * 2 ** (attempt - 1)))``, so that windows
    that failed together do not come back together.
    """
    # Bounded, because a float overflows after a thousand doublings.
    doublings = min(attempt - 1, _MOST_DOUBLINGS)
    return random.uniform(0, min(policy.max_delay, policy.initial_delay * 2**doublings))


def until_next_minute(now: float, random: Random) -> float:
    """Seconds to the next full minute of the epoch clock and up to a quarter more.

    WeChat counts calls in minutes and says "retry next minute" (45011). Two runs that share an
    account, and were refused together, do not come back together.
    """
    return _MINUTE - now % _MINUTE + random.uniform(0, _SPREAD)
