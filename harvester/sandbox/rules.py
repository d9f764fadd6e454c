"""How strict, how slow and how faulty a world is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harvester.sandbox.data_faults import DataFault


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one world. The defaults are WeChat's, with every limit off.

    Attributes:
        token_life: Seconds a token lives.
        token_tail: Ends every token, to make it hard to quote or easy to search for.
        rotate_refresh_tokens: Whether a refresh through a platform replaces the refresh token.
        minute_limit: Calls a minute of the clock, per account and dataset; one more answers 45011.
        daily_quota: Calls a Beijing day, per account and dataset; one more answers 45009.
        window_limit: ``(n, seconds)``: an account's calls in any such stretch of time, over all its
            datasets and tokens; one more answers 45011.
        latency: Seconds every answer takes.
        latency_jitter: Up to so many seconds more, evenly spread.
        fault_rate: The share of data calls that answer -1.
        seed: Decides which calls fail and how the jitter falls, in the order the calls come, and
            which days are in trouble.
        ready_minutes: Minutes after midnight at which the rows of the day before appear.
        unready: Whether a window with a day that is not ready answers 61503. Otherwise the day is
            left out.
        spans: The most days of a window by dataset, where they are not the catalogue's; more answer
            61501.
        delay_text: Whether ``is_delay`` is a string, as some have seen it, and not a boolean.
        troubles: What is wrong from the beginning; `World.afflict` adds to it.
        cache_bytes: How much memory answers may take that are kept to be sent again.
        history: Whether the counters remember every window that was asked, which costs memory.
    """

    token_life: float = 7200.0
    token_tail: str = ""
    rotate_refresh_tokens: bool = True
    minute_limit: int | None = None
    daily_quota: int | None = None
    window_limit: tuple[int, float] | None = None
    latency: float = 0.0
    latency_jitter: float = 0.0
    fault_rate: float = 0.0
    seed: int = 0
    ready_minutes: int = 8 * 60
    unready: bool = False
    spans: Mapping[str, int] = field(default_factory=dict, hash=False)
    delay_text: bool = False
    data_faults: tuple[DataFault, ...] = ()
    cache_bytes: int = 16 * 1024 * 1024
    history: bool = False
