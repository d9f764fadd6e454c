"""The sandbox inside of a run."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from harvester.core.calendar import Clock
from harvester.sandbox import FakeWeChat, Rules, server

LATENCY = 0.015
"""Minimum latency and maximum jitter of an answer in seconds, like those of a network."""


def serve(now: Clock) -> AbstractAsyncContextManager[str]:
    """Serve a sandbox that goes by this clock while the block lasts; yields its address."""
    return server.serve(FakeWeChat(Rules(latency=LATENCY, latency_jitter=LATENCY), now))
