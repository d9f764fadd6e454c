"""The built-in WeChat inside of a run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from harvester.sandbox import FakeWeChat, Rules, server

LATENCY = 0.015
"""Seconds it takes at least, and as many more at most: enough to look like a network."""


def serve(now: Callable[[], float]) -> AbstractAsyncContextManager[str]:
    """Serve a world that goes by this clock; gives its address."""
    return server.serve(FakeWeChat(Rules(latency=LATENCY, latency_jitter=LATENCY), now))
