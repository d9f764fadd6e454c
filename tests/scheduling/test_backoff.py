"""The waits between attempts: random, bounded, and aligned to WeChat's minutes."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from harvester.core.config.settings import Retry
from harvester.scheduling.backoff import delay, until_next_minute

SECONDS = st.floats(0.001, 3600)


@given(st.integers(1, 5000), st.tuples(SECONDS, SECONDS), st.integers())
def test_a_delay_lies_between_nothing_and_the_doubled_bound(
    attempt: int, delays: tuple[float, float], seed: int
) -> None:
    """No delay is longer than max_delay, nor than initial_delay doubled once per failed attempt."""
    initial, most = sorted(delays)
    wait = delay(attempt, Retry(initial_delay=initial, max_delay=most), Random(seed))
    assert 0 <= wait <= most
    assert wait <= initial * 2 ** min(attempt - 1, 100)


def test_delays_use_all_of_their_range() -> None:
    """Windows that failed together come back spread over the whole delay, not at its end."""
    random = Random(1)
    policy = Retry(initial_delay=8.0, max_delay=30.0)
    third = sorted(delay(3, policy, random) for _ in range(1000))
    assert third[0] < 1
    assert 14 < third[500] < 16
    assert 29 < third[-1] <= 30


@given(st.floats(0, 4e9), st.integers())
def test_the_next_minute_begins_before_the_wait_ends(now: float, seed: int) -> None:
    """A minute's quota is tried again in the first quarter of the next minute, never before it."""
    wait = until_next_minute(now, Random(seed))
    assert 0 < wait <= 75
    assert -1e-6 <= (now + wait) - (now // 60 + 1) * 60 <= 15 + 1e-6
