"""An emulator whose counters and peak load are read and reset, over HTTP too."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from dataclasses import dataclass, field

from harvester.core.calendar import Clock
from harvester.sandbox import FakeWeChat, Reply, Request, Rules
from harvester.sandbox.counters import Counters
from harvester.sandbox.limits import Limits
from harvester.sandbox.tokens import Token

COUNTERS_PATH = "/sandbox/counters"
RESET_PATH = "/sandbox/reset"


@dataclass(slots=True)
class _Load:
    """The calls of an account in the window that ends now, and the most in any such window."""

    arrived: deque[float] = field(default_factory=deque)
    peak: int = 0

    def arrive(self, seconds: float, now: float) -> None:
        """Count a call; one that is exactly ``seconds`` old is out of the window."""
        while self.arrived and self.arrived[0] <= now - seconds:
            self.arrived.popleft()
        self.arrived.append(now)
        self.peak = max(self.peak, len(self.arrived))


class CountingWeChat(FakeWeChat):
    """An emulated WeChat that has a path for its counters, and one that resets them."""

    def __init__(self, rules: Rules, clock: Clock) -> None:
        super().__init__(rules, clock)
        self._loads = defaultdict[str, _Load](_Load)

    def peak_load(self) -> dict[str, int]:
        """Return the most calls in any window of each account, refused ones included.

        It is empty without a ``window_limit``.
        """
        return {appid: load.peak for appid, load in self._loads.items()}

    def reset(self) -> None:
        """Reset the counters and the limits. Tokens, secrets and faults stay."""
        self.counters = Counters()
        self._limits = Limits(self.rules)
        self._loads.clear()

    def answer(self, request: Request) -> Reply:
        """Answer one request as of now; only those to its own paths are not counted."""
        if request.path == COUNTERS_PATH:
            counts = {name: getattr(self.counters, name) for name in self.counters.__slots__}
            return Reply(json.dumps({**counts, "peak_load": self.peak_load()}).encode())
        if request.path == RESET_PATH:
            if request.method != "POST":
                return Reply(b"", 405, "text/plain")
            self.reset()
            return Reply(b"{}")
        return super().answer(request)

    def _caller(self, request: Request, now: float) -> Token:
        token = super()._caller(request, now)
        if self.rules.window_limit is not None:
            _, seconds = self.rules.window_limit
            self._loads[token.appid].arrive(seconds, now)
        return token
