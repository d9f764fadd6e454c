"""Rules of an emulator: its limits, speed, readiness of data and faults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harvester.sandbox.data_faults import DataFault


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one emulator. The defaults are WeChat's, without limits.

    Attributes:
        token_life: Seconds a token lives.
        token_tail: Ends the text of every token, to make it hard to quote or easy to search for.
        rotate_refresh_tokens: Whether a refresh through a platform replaces the refresh token.
        minute_limit: Calls per minute of the clock, account and dataset; one more answers 45011.
        daily_quota: Calls per Beijing day, account and dataset; one more answers 45009.
        window_limit: ``(calls, seconds)``: an account's calls in any window of that length, over
            all datasets and tokens; one more answers 45011.
        latency: Seconds before every answer.
        latency_jitter: Maximum of additional seconds, evenly distributed.
        fault_rate: Share of data calls that answer -1, from 0 to 1.
        seed: Determines which calls fail and how the jitter falls, in the order of the calls, and
            which days data faults hit.
        ready_minutes: Minutes after midnight at which the rows of the day before appear.
        unready: Whether a window with a day that is not ready answers 61503. Otherwise the answer
            leaves the day out.
        spans: Maximum days of a window by dataset where it is not the catalogue's; more days answer
            61501.
        odd_answers: Whether the form of answers varies in odd but legal ways, see `odd_answers`.
        delay_text: Whether ``"is_delay"`` is a string, as seen in some answers, and not a boolean.
        data_faults: Data faults from the start; `FakeWeChat.add_data_fault` adds more.
        cache_bytes: Maximum bytes of answers kept to be sent again.
        history: Whether the counters keep every window asked for, which takes memory.
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
    odd_answers: bool = False
    delay_text: bool = False
    data_faults: tuple[DataFault, ...] = ()
    cache_bytes: int = 16 * 1024 * 1024
    history: bool = False
