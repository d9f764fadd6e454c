"""An emulator that keeps its answers: beside a client on two cores it must cost less than that."""

from __future__ import annotations

from harvester.core.calendar import Clock
from harvester.sandbox import Rules
from harvester.sandbox.responses import Window
from tests.support.counting_wechat import CountingWeChat


class CachedWeChat(CountingWeChat):
    """An emulator that makes each of its first ``most`` answers once.

    The days of a benchmark are long settled, so an answer does not depend on the moment.
    """

    def __init__(self, rules: Rules, clock: Clock, *, most: int) -> None:
        super().__init__(rules, clock)
        self._most = most
        self._bodies: dict[tuple[object, ...], bytes] = {}

    def _answer(self, window: Window) -> bytes:
        key = (window.dataset.name, window.appid, window.begin, window.end)
        body = self._bodies.get(key)
        if body is None:
            body = super()._answer(window)
            if len(self._bodies) < self._most:
                self._bodies[key] = body
        return body
