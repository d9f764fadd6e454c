"""A production service on the same account, and what harvester does to its token: nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from harvester.catalogue import CATALOGUE
from harvester.catalogue.error_codes import Action
from harvester.core.config import Api
from harvester.core.credentials import AppSecret
from harvester.core.errors import Exit
from harvester.core.model import Window
from harvester.core.secret import Secret
from harvester.sandbox import FakeWeChat, Rules
from harvester.sandbox.server import serve
from harvester.wechat import attempt
from harvester.wechat.attempt import RefusedAttempt
from harvester.wechat.auth import TokenProviders
from harvester.wechat.auth.token_cache import TokenCache
from harvester.wechat.transport import Transport
from tests.support.other_client import add_other_client
from tests.support.run_harness import DAILY, RunHarness
from tests.support.sandboxes import BUSY, TODAY, Clock, fake_wechat_at

WINDOW = Window(BUSY, DAILY, TODAY - 30, TODAY - 2)
WORKERS = 50


class Harvester:
    """As much of a run as touches tokens: many workers that make attempts."""

    def __init__(self, tokens: TokenCache, transport: Transport) -> None:
        self._tokens = tokens
        self._transport = transport

    async def attempt(self) -> bytes | RefusedAttempt:
        """One attempt at the window."""
        return await attempt.attempt(WINDOW, CATALOGUE[DAILY], self._tokens, self._transport)

    async def work(self, tries: int = 3) -> None:
        """Attempts until an answer comes, as the schedule grants them to one window."""
        for _ in range(tries):
            if isinstance(await self.attempt(), bytes):
                return
        pytest.fail("no answer")

    async def round(self, workers: int = WORKERS) -> None:
        """So many workers at the same time, each of which gets its answer."""
        async with anyio.create_task_group() as group:
            for _ in range(workers):
                group.start_soon(self.work)


@asynccontextmanager
async def harvesters(
    world: FakeWeChat, clock: Clock, count: int = 1, *, legacy: bool = False
) -> AsyncIterator[list[Harvester]]:
    """Harvesters that know nothing of each other."""

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
                TokenProviders(lambda _: secret, one, clock=clock, budget=always).provider, clock
            ) as mine,
            TokenCache(
                TokenProviders(lambda _: secret, two, clock=clock, budget=always).provider, clock
            ) as its,
        ):
            found = [Harvester(mine, one), Harvester(its, two)]
            yield found[:count]


async def test_a_day_of_work_costs_one_call_an_expiry() -> None:
    """Fifty workers, and a production service whose token never ends before its time."""
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


async def test_storms_of_40001_end_nobody_s_token() -> None:
    """All fifty are refused at once, again and again: one call each time, in normal mode."""
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


async def test_two_harvesters_share_the_token_of_production() -> None:
    """Each asks for itself, and all three hold the same one."""
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
    """Whether a token is replaced by force if each new one is refused so before it is rejected."""
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
async def test_a_token_that_something_else_was_refused_with_had_worked(errcode: int) -> None:
    """Who is told "not ready" is known by its token: a later 40001 is no second one in a row."""
    assert not await is_forced_after(errcode)


@pytest.mark.parametrize("errcode", [-1, 61450, 47009, 41001, 99999])
async def test_what_anybody_may_be_told_says_nothing_of_a_token(errcode: int) -> None:
    """WeChat is busy before it looks at a token, too: the 40001 after it is the second in a row."""
    assert await is_forced_after(errcode)


async def test_a_service_that_forces_is_not_answered_in_kind() -> None:
    """Somebody ends the token of all again and again; each time one call, never by force."""
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


async def test_the_judge_sees_a_token_that_is_replaced_by_force() -> None:
    """If WeChat rejects two of its own tokens in a row, force is tried: once, and it is seen."""
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


async def test_the_judge_sees_what_legacy_tokens_do() -> None:
    """Whoever asks /cgi-bin/token ends the token of a service that does the same."""
    world, clock = fake_wechat_at()
    legacy, stable = add_other_client(world, BUSY, legacy=True), add_other_client(world, BUSY)
    async with harvesters(world, clock, legacy=True) as [harvester]:
        for _ in range(4):
            await harvester.round()
            clock.now += 400
    assert legacy.broken
    assert stable.broken == []


def test_a_whole_run_beside_production(tmp_path: Path) -> None:
    """Refused once under way, it asks once more and goes on."""
    lab = RunHarness(tmp_path, rules=Rules(history=True))
    services = [add_other_client(lab.sandbox, appid) for appid in lab.appids]
    for appid in lab.appids:
        lab.sandbox.fail(appid, 40001, times=1)
    assert lab.run().exit_code is Exit.DONE
    assert [service.broken for service in services] == [[]] * len(services)
    assert all(lab.sandbox.counters.token_calls[appid] == 2 for appid in lab.appids)


def test_force_is_counted_over_runs(tmp_path: Path) -> None:
    """A second run within 30 s does not try it again; one a minute later may."""
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
