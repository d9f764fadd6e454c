"""A token cache over real HTTP, with an endpoint whose answers a test chooses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

import orjson
import pytest

from harvester.core.config.credentials import Access, AppSecret, PlatformAccess
from harvester.core.config.settings import Api
from harvester.core.secret import Secret
from harvester.wechat.auth.component import Component
from harvester.wechat.auth.provider import TokenDenied
from harvester.wechat.auth.token_cache import TokenCache
from harvester.wechat.auth.token_providers import Budget
from harvester.wechat.auth.token_providers import TokenProviders as Sources
from harvester.wechat.transport import Transport
from tests.support.fault_server import Answer, FaultServer, fault_server, http, say

A, B = "wx00000000000000aa", "wx00000000000000bb"
APP_SECRET = "canary0123456789abcdef0123456789"
FETCHED: Mapping[str, Access] = dict.fromkeys((A, B), AppSecret(Secret(APP_SECRET)))

Kinds: TypeAlias = Mapping[str, Access] | Callable[[str], Mapping[str, Access]]
"""The access of each account, or a function from the server's URL to it."""


class Clock:
    """A clock in seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class TokenHarness:
    """A token cache, its providers, and the token endpoint that they call."""

    tokens: TokenCache
    server: FaultServer
    clock: Clock
    sources: Sources

    @property
    def calls(self) -> int:
        """The number of token calls."""
        return self.sources.calls


async def no_force(_: str) -> bool:
    """Refuse every forced refresh."""
    return False


@asynccontextmanager
async def token_harness(
    *answers: Answer,
    kinds: Kinds = FETCHED,
    seconds: float = 5.0,
    clock: Clock | None = None,
    budget: Budget = no_force,
    platform: PlatformAccess | None = None,
) -> AsyncIterator[TokenHarness]:
    """Yield a token cache whose endpoint gives the answers in turn."""
    clock = clock or Clock()
    async with (
        fault_server(*answers) as server,
        Transport(Api(base_url=server.url, timeout=seconds), connections=4) as transport,
    ):
        access = kinds(server.url) if callable(kinds) else kinds
        office = Component(platform, transport, clock) if platform else None
        sources = Sources(
            access.__getitem__, transport, clock=clock, budget=budget, component=office
        )
        async with TokenCache(sources, clock) as tokens:
            yield TokenHarness(tokens, server, clock, sources)


async def denial(at: TokenHarness) -> TokenDenied:
    """Return the error for an account without a token."""
    with pytest.raises(TokenDenied) as caught:
        await at.tokens.current(A)
    return caught.value


def grant(token: str, **life: object) -> Answer:
    """Return an answer with a token."""
    return say(http(orjson.dumps({"access_token": token, **life})))


def refusal(errcode: int, errmsg: str = "no") -> Answer:
    """Return an answer with an errcode."""
    return say(http(orjson.dumps({"errcode": errcode, "errmsg": errmsg})))


FIRST, SECOND = grant("first", expires_in=7200), grant("second", expires_in=7200)
