"""Rules of an emulator: its limits, speed, readiness of data and faults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one emulator. The defaults are WeChat's, without limits.

    Attributes:
        token_life: Seconds a token lives.
        token_tail: Ends the text of every token, to make it hard to quote or easy to search for.
        minute_limit: Calls per minute of the clock, account and dataset; one more answers 45011.
        daily_quota: Calls per Beijing day, account and dataset; one more answers 45009.
        latency: Seconds before every answer.
        fault_rate: Share of data calls that answer -1, from 0 to 1.
        seed: Determines which calls fail, in the order of the calls.
    """

    token_life: float = 7200.0
    token_tail: str = ""
    minute_limit: int | None = None
    daily_quota: int | None = None
    latency: float = 0.0
    fault_rate: float = 0.0
    seed: int = 0
