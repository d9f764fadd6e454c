"""Harvester never ends the token of another service that uses the same account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.config.credentials import AppSecret
from harvester.core.config.settings import Api
from harvester.core.exit_codes import Exit
from harvester.core.model import Window
from harvester.core.rule import Action
from harvester.core.secret import Secret
from harvester.sandbox import Rules
from harvester.sandbox.server import serve
from harvester.wechat import attempt
from harvester.wechat.attempt import RefusedAttempt
from harvester.wechat.auth.token_cache import TokenCache
from harvester.wechat.auth.token_providers import TokenProviders
from harvester.wechat.transport import Transport
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.other_client import add_other_client
from tests.support.run_harness import DAILY, RunHarness
from tests.support.sandboxes import BUSY, TODAY, Clock, fake_wechat_at

WINDOW = Window(BUSY, DAILY, TODAY - 30, TODAY - 2)
WORKERS = 50


class Harvester:
    """The part of a run that uses tokens: many workers that make attempts."""

    def __init__(self, tokens: TokenCache, transport: Transport) -> None:
        self._tokens = tokens
        self._transport = transport

    async def attempt(self) -> bytes | RefusedAttempt:
        """Make one attempt at the window."""
        return await attempt.attempt(WINDOW, CATALOGUE[DAILY], self._tokens, self._transport)

    async def work(self, tries: int = 3) -> None:
        """Make attempts until an answer comes, as many as the scheduler allows one window."""
        for _ in range(tries):
            if isinstance(await self.attempt(), bytes):
                return
        pytest.fail("no answer")

    async def round(self, workers: int = WORKERS) -> None:
        """Run workers at the same time, each of which must get its answer."""
        async with anyio.create_task_group() as group:
            for _ in range(workers):
                group.start_soon(self.work)


@asynccontextmanager
async def harvesters(
    world: FaultyWeChat, clock: Clock, count: int = 1, *, legacy: bool = False
) -> AsyncIterator[list[Harvester]]:
    """Open independent harvesters against one server."""

    async def always(_: str) -> bool:
        return True

    secret = AppSecret(Secret("s" * 32), legacy=legacy)
    async with serve(world) as address, anyio.create_task_group():
        found: list[Harvester] = []
        api = Api(base_url=address)
        async with (
            Transport(api, connections=WORKERS) as one,
            Transport(api, connections=WORKERS) as two,
            TokenCache(
                TokenProviders(lambda _: secret, one, clock=clock, budget=always), clock
            ) as mine,
            TokenCache(
                TokenProviders(lambda _: secret, two, clock=clock, budget=always), clock
            ) as its,
        ):
            found = [Harvester(mine, one), Harvester(its, two)]
            yield found[:count]


@pytest.mark.long
async def test_a_day_costs_one_token_call_per_expiry() -> None:
    """Beside fifty workers, the token of a production service never ends before its time."""
    world, clock = fake_wechat_at()
    production = add_other_client(world, BUSY)
    async with harvesters(world, clock) as [harvester]:
        for _ in range(48):
            await harvester.round()
            clock.now += 1800
    assert production.broken == []
    # Every 6900 s of the day, and at its beginning.
    assert world.counters.token_calls[BUSY] == 12
    assert production.renewals == 12
    assert world.counters.errcodes == {}


async def test_many_40001_at_once_end_no_token() -> None:
    """One token call in normal mode follows the refusal of all fifty workers at once."""
    world, clock = fake_wechat_at()
    production = add_other_client(world, BUSY)
    async with harvesters(world, clock) as [harvester]:
        await harvester.round()
        for storm in range(1, 11):
            world.fail(BUSY, 40001, times=WORKERS)
            await harvester.round()
            assert world.counters.token_calls[BUSY] == 1 + storm
            clock.now += 10
    assert production.broken == []


async def test_two_harvesters_share_the_production_token() -> None:
    """Each harvester requests the token itself, and both get that of the production service."""
    world, clock = fake_wechat_at()
    production = add_other_client(world, BUSY)
    async with harvesters(world, clock, 2) as both:
        for _ in range(20):
            async with anyio.create_task_group() as group:
                for harvester in both:
                    group.start_soon(harvester.round, 25)
            clock.now += 900
            world.fail(BUSY, 40001, times=5)
    assert production.broken == []
    assert world.counters.errcodes.keys() == {40001}


async def is_forced_after(errcode: int) -> bool:
    """Return whether a token is replaced by force when each new one meets this errcode first."""
    world, clock = fake_wechat_at()
    async with harvesters(world, clock) as [harvester]:
        await harvester.round(1)
        for _ in range(3):
            world.tokens.revoke(BUSY, clock.now)
            held = world.token_of(BUSY)
            world.fail(BUSY, errcode, times=1)
            for code in (40001, errcode):
                refused = await harvester.attempt()
                assert isinstance(refused, RefusedAttempt)
                assert str(refused.why).startswith(f"{code} ")
            if world.token_of(BUSY) != held:
                return True
            clock.now += 60
    return False


@pytest.mark.parametrize(
    "errcode", [61503, 61501, 45011, 45009, 48006, 48001, 61007, 61016, 61017, 61502]
)
async def test_refusals_that_prove_a_token_valid_prevent_force(errcode: int) -> None:
    """WeChat says "not ready" to a valid token only, so a later 40001 counts as the first."""
    assert not await is_forced_after(errcode)


@pytest.mark.parametrize("errcode", [-1, 61450, 47009, 41001, 99999])
async def test_refusals_that_prove_nothing_about_a_token_allow_force(errcode: int) -> None:
    """WeChat may be busy before it checks a token, so the next 40001 is the second in a row."""
    assert await is_forced_after(errcode)


async def test_force_by_another_service_is_not_answered_with_force() -> None:
    """Each time another service ends the token, one call in normal mode follows."""
    world, clock = fake_wechat_at()
    async with harvesters(world, clock) as [harvester]:
        await harvester.round()
        for times in range(1, 6):
            world.tokens.revoke(BUSY, clock.now)
            held = world.token_of(BUSY)
            await harvester.round()
            assert world.token_of(BUSY) == held
            assert world.counters.token_calls[BUSY] == 1 + times
            clock.now += 60


async def test_the_emulator_detects_a_token_replaced_by_force() -> None:
    """If WeChat rejects two of its own tokens in a row, one replacement by force follows."""
    world, clock = fake_wechat_at()
    production = add_other_client(world, BUSY)
    world.fail(BUSY, 40001)
    async with harvesters(world, clock) as [harvester]:
        outcomes = [await harvester.attempt() for _ in range(5)]
    assert len(production.broken) == 1
    assert world.counters.token_calls[BUSY] == 3
    assert world.counters.calls[BUSY] == 3
    last = outcomes[-1]
    assert isinstance(last, RefusedAttempt)
    assert last.rule.action is Action.STOP


async def test_the_emulator_detects_conflicts_of_legacy_tokens() -> None:
    """A call of /cgi-bin/token ends the token of a service that uses the same endpoint."""
    world, clock = fake_wechat_at()
    legacy, stable = add_other_client(world, BUSY, legacy=True), add_other_client(world, BUSY)
    async with harvesters(world, clock, legacy=True) as [harvester]:
        for _ in range(4):
            await harvester.round()
            clock.now += 400
    assert legacy.broken
    assert stable.broken == []


def test_a_run_beside_a_production_service(tmp_path: Path) -> None:
    """After one 40001 the run requests the token once more and goes on."""
    lab = RunHarness(tmp_path, rules=Rules())
    services = [add_other_client(lab.sandbox, appid) for appid in lab.appids]
    for appid in lab.appids:
        lab.sandbox.fail(appid, 40001, times=1)
    assert lab.run().exit_code is Exit.DONE
    assert [service.broken for service in services] == [[]] * len(services)
    assert all(lab.sandbox.counters.token_calls[appid] == 2 for appid in lab.appids)


def test_the_budget_for_force_spans_runs(tmp_path: Path) -> None:
    """A second run within 30 s may not use force again; one a minute later may."""
    lab = RunHarness(tmp_path, accounts=1, limits=RunHarness(tmp_path).one_of_each_at_a_time())
    [appid] = lab.appids
    production = add_other_client(lab.sandbox, appid)
    lab.sandbox.fail(appid, 40001)
    calls = []
    for seconds in (0, 10, 60):
        lab.advance(seconds)
        assert lab.run().exit_code in {Exit.INCOMPLETE, Exit.UNAUTHORISED}
        calls.append(lab.sandbox.counters.token_calls[appid])
    assert calls == [3, 5, 8]
    assert len(production.broken) == 2
