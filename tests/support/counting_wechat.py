"""An emulator whose counters and peak load are read and reset, over HTTP too."""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from harvester.core.calendar import Clock
from harvester.sandbox import FakeWeChat, Rules
from harvester.sandbox.call_faults import Refused
from harvester.sandbox.calls import Reply, Request
from harvester.sandbox.data.account import fraction
from harvester.sandbox.limits import Limits
from harvester.sandbox.tokens import Token

COUNTERS_PATH = "/sandbox/counters"
RESET_PATH = "/sandbox/reset"


@dataclass(frozen=True, slots=True)
class StrictRules(Rules):
    """The rules of an emulator that counts calls in sliding windows too.

    Attributes:
        latency_jitter: Maximum of additional seconds before an answer, evenly distributed.
        window_limit: ``(calls, seconds)``: an account's calls in any window of that length, over
            all datasets and tokens; one more answers 45011.
    """

    latency_jitter: float = 0.0
    window_limit: tuple[int, float] | None = None


@dataclass(slots=True)
class Counters:
    """Counts of requests. ``errcodes`` is counted with the answer, all others on arrival.

    Attributes:
        requests: All requests.
        paths: Requests by path; unknown paths are counted under ``?``.
        calls: Data calls with a valid token, by appid.
        token_calls: Calls of any token endpoint, by appid.
        errcodes: Errors answered, by errcode.
    """

    requests: int = 0
    paths: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    token_calls: Counter[str] = field(default_factory=Counter)
    errcodes: Counter[int] = field(default_factory=Counter)


class StrictLimits(Limits):
    """The limits of an emulator, those in sliding windows included."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self.window = rules.window_limit if isinstance(rules, StrictRules) else None
        self._admitted = defaultdict[str, deque[float]](deque)

    def admit(self, appid: str, dataset: str, now: float) -> None:
        """Spend one call. Raises Refused 45009 or 45011; a refused call spends nothing."""
        calls = self._admitted[appid]
        if self.window is not None:
            limit, seconds = self.window
            # A call exactly that old is out.
            while calls and calls[0] <= now - seconds:
                calls.popleft()
            if len(calls) >= limit:
                raise Refused(45011)
        super().admit(appid, dataset, now)
        if self.window is not None:
            calls.append(now)


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
        self.counters = Counters()
        self._limits: StrictLimits = StrictLimits(rules)
        self._loads = defaultdict[str, _Load](_Load)

    def peak_load(self) -> dict[str, int]:
        """Return the most calls in any window of each account, refused ones included.

        It is empty without a ``window_limit``.
        """
        return {appid: load.peak for appid, load in self._loads.items()}

    def reset(self) -> None:
        """Reset the counters and the limits. Tokens, secrets and faults stay."""
        self.counters = Counters()
        self._limits = StrictLimits(self.rules)
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
        self.counters.requests += 1
        reply = super().answer(request)
        jitter = self.rules.latency_jitter if isinstance(self.rules, StrictRules) else 0.0
        if not jitter:
            return reply
        chance = fraction(f"latency {self.rules.seed} {self.requests}")
        return reply._replace(delay=reply.delay + jitter * chance)

    def _call(self, request: Request, now: float) -> Reply:
        self.counters.paths[request.path if request.path in self._endpoints else "?"] += 1
        return super()._call(request, now)

    def _token(
        self, appid: str, secret: str, *, issue: Callable[[str, float], Token], now: float
    ) -> bytes:
        self.counters.token_calls[appid] += 1
        return super()._token(appid, secret, issue=issue, now=now)

    def _error(self, errcode: int, now: float, errmsg: str = "") -> bytes:
        self.counters.errcodes[errcode] += 1
        return super()._error(errcode, now, errmsg)

    def _caller(self, request: Request, now: float) -> Token:
        token = super()._caller(request, now)
        self.counters.calls[token.appid] += 1
        if self._limits.window is not None:
            _, seconds = self._limits.window
            self._loads[token.appid].arrive(seconds, now)
        return token
