"""Tokens through a third-party platform, against the sandbox over real HTTP."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.config.credentials import (
    Command,
    ExternalSource,
    PlatformAccess,
    RefreshToken,
    SecretReader,
    Sink,
)
from harvester.core.config.settings import Api
from harvester.core.model import Window
from harvester.core.rule import Action, Scope
from harvester.core.secret import Secret
from harvester.sandbox import TOKEN
from harvester.sandbox.server import serve
from harvester.wechat import attempt
from harvester.wechat.attempt import RefusedAttempt
from harvester.wechat.auth.component import Component
from harvester.wechat.auth.provider import TokenDenied
from harvester.wechat.auth.token_cache import TokenCache
from harvester.wechat.auth.token_providers import TokenProviders
from harvester.wechat.transport import Transport
from tests.support.emulated_platform import (
    AUTHORIZER_LIST_PATH,
    AUTHORIZER_TOKEN_PATH,
    COMPONENT_TOKEN_PATH,
)
from tests.support.faulty_wechat import FaultyWeChat, platform_token_of, refresh_token_of
from tests.support.run_harness import DAILY, appid
from tests.support.sandboxes import TODAY, Clock, fake_wechat_at

PLATFORM = "wx00000000000000ff"
SECRET = "platformsecret+/=&%"
ONE, TWO = appid(1), appid(2)


@dataclass
class Agency:
    """A platform, its authorised accounts, and a harvester that uses both."""

    world: FaultyWeChat
    clock: Clock
    office: TokenProviders
    tokens: TokenCache
    transport: Transport
    component: Component

    def asked(self) -> tuple[int, int, int]:
        """Count the calls for the platform's token, for accounts' tokens and for the list."""
        paths = self.world.counters.paths
        calls = (COMPONENT_TOKEN_PATH, AUTHORIZER_TOKEN_PATH, AUTHORIZER_LIST_PATH)
        return paths[calls[0]], paths[calls[1]], paths[calls[2]]

    async def denial(self, account: str = ONE) -> TokenDenied:
        """Return the error for an account without a token."""
        with pytest.raises(TokenDenied) as caught:
            await self.tokens.current(account)
        return caught.value

    async def attempt(self, account: str = ONE, dataset: str = DAILY) -> bytes | RefusedAttempt:
        """Make a data call of an account."""
        window = Window(account, dataset, TODAY - 3, TODAY - 2)
        return await attempt.attempt(window, CATALOGUE[dataset], self.tokens, self.transport)


@dataclass
class Setting:
    """The configuration of the platform that a test may change before it is opened."""

    world: FaultyWeChat
    clock: Clock
    ticket: str = ""
    sink: Sink | None = None
    own: ExternalSource | None = None
    given: Callable[[str], Secret] | None = None

    def access(self, account: str) -> RefreshToken:
        """Return the credential of an account."""
        given = self.given
        return RefreshToken(None if given is None else SecretReader(lambda: given(account)))

    def platform(self) -> PlatformAccess:
        """Return the platform as the manifest configures it."""
        if self.own is not None:
            return PlatformAccess(PLATFORM, None, None, self.own, self.sink)
        ticket = SecretReader(lambda: Secret(self.ticket))
        return PlatformAccess(PLATFORM, Secret(SECRET), ticket, None, self.sink)


@pytest.fixture
def at() -> Setting:
    """Configure a platform with a ticket that two accounts have authorised."""
    world, clock = fake_wechat_at()
    world.platforms.register(PLATFORM, SECRET)
    setting = Setting(world, clock, world.platforms.push_ticket(PLATFORM))
    for account in (ONE, TWO):
        world.platforms.authorise(PLATFORM, account)
    return setting


@asynccontextmanager
async def opened(setting: Setting) -> AsyncIterator[Agency]:
    """Open a harvester as a new run does."""

    async def never(_: str) -> bool:
        return False

    async with (
        serve(setting.world) as address,
        Transport(Api(base_url=address), connections=50) as transport,
    ):
        component = Component(setting.platform(), transport, setting.clock)
        office = TokenProviders(
            setting.access, transport, clock=setting.clock, budget=never, component=component
        )
        async with TokenCache(office, setting.clock) as tokens:
            yield Agency(setting.world, setting.clock, office, tokens, transport, component)


async def test_an_account_s_token_comes_through_the_platform(at: Setting) -> None:
    """One call for the platform's own token, one for the list, one for each account's."""
    async with opened(at) as agency:
        for account in (ONE, TWO):
            assert isinstance(await agency.attempt(account), bytes)
        assert agency.asked() == (1, 2, 1)
        assert agency.office.calls == 4


async def test_fifty_accounts_share_the_platform_s_token(at: Setting) -> None:
    """Accounts that start at once share one request for the platform's own token."""
    accounts = [appid(number) for number in range(10, 60)]
    for account in accounts:
        at.world.platforms.authorise(PLATFORM, account)
    async with opened(at) as agency:
        async with anyio.create_task_group() as group:
            for account in accounts:
                group.start_soon(agency.tokens.current, account)
        assert agency.asked() == (1, 50, 1)


async def test_both_tokens_are_renewed_in_time(at: Setting, tmp_path: Path) -> None:
    """Over ten hours WeChat refuses no call, though each refresh ends a token."""
    at.sink = lambda account: tmp_path / account
    async with opened(at) as agency:
        for _ in range(20):
            assert isinstance(await agency.attempt(), bytes)
            at.clock.now += 1800
        assert agency.asked() == (5, 5, 1)
    assert at.world.counters.errcodes == {}


# Refresh tokens


async def test_a_replaced_refresh_token_is_kept_before_its_token_is_used(
    at: Setting, tmp_path: Path
) -> None:
    """It is written to a file that only its owner may read, and no other file is left."""
    at.sink = lambda account: tmp_path / "refresh" / account
    async with opened(at) as agency:
        await agency.tokens.current(ONE)
    file = tmp_path / "refresh" / ONE
    assert file.read_text() == refresh_token_of(at.world, PLATFORM, ONE)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == [ONE]


async def test_a_refresh_token_is_on_the_disk_before_its_file_has_its_name(
    at: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut a file without it would be all that is left of the authorisation."""
    at.sink = lambda account: tmp_path / account
    done, rename = list[str](), Path.replace

    def flushed(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")

    def renamed(path: Path, target: Path) -> Path:
        done.append("name")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", renamed)
    async with opened(at) as agency:
        await agency.tokens.current(ONE)
    assert done == ["file", "name", "folder"]


async def test_the_sink_wins_over_the_manifest(at: Setting, tmp_path: Path) -> None:
    """The next run uses the stored refresh token and requests no list."""
    old = refresh_token_of(at.world, PLATFORM, ONE)
    at.given = lambda _: Secret(old)
    at.sink = lambda account: tmp_path / account
    for run in range(1, 4):
        async with opened(at) as agency:
            assert isinstance(await agency.attempt(), bytes)
            assert agency.asked() == (run, run, 0)
    assert at.world.counters.errcodes == {}


async def test_a_command_is_given_the_refresh_token(at: Setting, tmp_path: Path) -> None:
    """It is written to the standard input, so that no argument shows it."""
    code = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.stdin.read())"
    at.sink = lambda account: Command((sys.executable, "-c", code, account), tmp_path)
    async with opened(at) as agency:
        await agency.tokens.current(ONE)
    assert (tmp_path / ONE).read_text() == refresh_token_of(at.world, PLATFORM, ONE)


@pytest.mark.parametrize("kind", ["file", "command"])
async def test_a_token_whose_refresh_token_is_lost_is_not_used(
    at: Setting, tmp_path: Path, kind: str
) -> None:
    """The account stops, others go on, and the next run finds the refresh token in the list."""
    (tmp_path / "taken").touch()
    good = tmp_path / "good"
    at.sink = lambda one: (tmp_path / "taken" if one == ONE else good) / one
    if kind == "command":
        code = "import sys; sys.exit(sys.argv[1] == sys.argv[2])"
        argv = (sys.executable, "-c", code, ONE)
        at.sink = lambda account: Command((*argv, account), tmp_path)
    async with opened(at) as agency:
        refused = await agency.denial(ONE)
        assert "refresh token could not be kept" in refused.rule.meaning
        await agency.denial(ONE)
        assert isinstance(await agency.attempt(TWO), bytes)
        assert agency.asked() == (1, 2, 1)
    assert at.world.counters.calls[ONE] == 0
    at.sink = lambda account: good / account
    async with opened(at) as agency:
        assert isinstance(await agency.attempt(ONE), bytes)


async def test_an_old_refresh_token_is_looked_up_in_the_list(at: Setting) -> None:
    """After one 61023 all accounts use the refresh tokens of the list."""
    at.given = lambda account: Secret(f"old one of {account}")
    async with opened(at) as agency:
        for account in (ONE, TWO):
            assert isinstance(await agency.attempt(account), bytes)
        assert agency.asked() == (1, 3, 1)
    assert at.world.counters.errcodes == {61023: 1}


@pytest.mark.parametrize("code", [40030, 42002])
async def test_other_codes_of_an_old_refresh_token_look_it_up_too(at: Setting, code: int) -> None:
    """The open platform has three codes for a refresh token that is not accepted any more."""
    at.given = lambda account: Secret(f"old one of {account}")
    at.world.fail(ONE, code, dataset=TOKEN, times=1)
    async with opened(at) as agency:
        assert isinstance(await agency.attempt(ONE), bytes)
        assert agency.asked() == (1, 2, 1)


async def test_a_refresh_token_that_the_list_confirms_and_wechat_rejects_stops_its_account(
    at: Setting,
) -> None:
    """WeChat rejects the refresh token of its own new list, so the account stops."""
    at.world.fail(ONE, 61023, dataset=TOKEN)
    async with opened(at) as agency:
        refused = await agency.denial()
        await agency.denial()
        assert (refused.rule.action, refused.rule.scope) == (Action.STOP, Scope.ACCOUNT)
        assert agency.asked() == (1, 1, 1)
        assert isinstance(await agency.attempt(TWO), bytes)


async def test_a_refresh_token_replaced_by_another_service_is_found_in_the_list(
    at: Setting,
) -> None:
    """The refresh token of this run may be outdated; the list has the newer one."""
    async with opened(at) as agency:
        token = await agency.tokens.current(ONE)
        at.clock.now += 10
        at.world.platforms.authorise(PLATFORM, ONE)
        agency.tokens.invalidate(ONE, token, 40001)
        assert isinstance(await agency.attempt(), bytes)
        assert agency.asked() == (1, 3, 2)


async def test_a_list_that_was_long_on_its_way_replaces_no_newer_refresh_token(
    at: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one in the list is spent by then, and the account would stop."""
    async with opened(at) as agency:
        await agency.component.listed(since=agency.clock())
        post = agency.transport.post_as_platform

        async def slowly(path: str, body: bytes, token: Secret) -> tuple[int, bytes]:
            answer = await post(path, body, token)
            if path == AUTHORIZER_LIST_PATH:
                await agency.component.refresh(ONE, RefreshToken())
            return answer

        monkeypatch.setattr(agency.transport, "post_as_platform", slowly)
        at.clock.now += 10
        listed = await agency.component.listed(since=agency.clock())
        assert listed[ONE].reveal() == refresh_token_of(at.world, PLATFORM, ONE)
        assert agency.asked() == (1, 1, 2)


async def test_accounts_that_did_not_authorise_cost_one_list(at: Setting) -> None:
    """They are refused with 61003 by the list alone, and other accounts go on."""
    async with opened(at) as agency:
        for _ in range(3):
            refused = await agency.denial(appid(3))
            assert str(refused).startswith("61003 ")
        assert isinstance(await agency.attempt(ONE), bytes)
        assert agency.asked() == (1, 1, 1)


async def test_a_missing_permission_stops_one_dataset_family(at: Setting) -> None:
    """61007 stops a dataset of the account; its other datasets are answered."""
    at.world.platforms.authorise(PLATFORM, ONE)
    at.world.fail(ONE, 61007, dataset="user_summary")
    async with opened(at) as agency:
        refused = await agency.attempt(ONE, "user_summary")
        assert isinstance(refused, RefusedAttempt)
        assert (refused.rule.action, refused.rule.scope) == (Action.STOP, Scope.ACCOUNT_DATASET)
        assert "user analysis 2" in refused.rule.advice
        assert isinstance(await agency.attempt(ONE), bytes)


async def test_the_list_comes_page_by_page(at: Setting) -> None:
    """A page has five hundred accounts, and WeChat's order is kept."""
    accounts = [appid(number) for number in range(1, 1102)]
    for account in accounts[2:]:
        at.world.platforms.authorise(PLATFORM, account)
    async with opened(at) as agency:
        found = await agency.component.listed(since=agency.clock())
        assert list(found) == accounts
        assert agency.asked() == (1, 0, 3)


async def test_entries_that_are_no_accounts_are_ignored(at: Setting) -> None:
    """The list of accounts has only appids."""
    for strange in ("WX0000000000000001", "../../x", "gh_0123456789ab"):
        at.world.platforms.authorise(PLATFORM, strange)
    async with opened(at) as agency:
        found = await agency.component.listed(since=agency.clock())
        assert list(found) == [ONE, TWO]


async def test_entries_that_are_no_accounts_count_in_the_offset(at: Setting) -> None:
    """A page without an account is not taken for the last, and no page is requested twice."""
    for number in range(600):
        at.world.platforms.authorise(PLATFORM, f"gh_{number:012x}")
    at.world.platforms.authorise(PLATFORM, appid(3))
    async with opened(at) as agency:
        found = await agency.component.listed(since=agency.clock())
        assert list(found) == [ONE, TWO, appid(3)]
        assert agency.asked() == (1, 0, 2)


# The platform's own token


async def test_a_ticket_that_expired_is_looked_up_again(at: Setting) -> None:
    """After 61005 the ticket is read again and a newer one used."""
    stale = at.ticket
    tickets = iter([stale, at.world.platforms.push_ticket(PLATFORM)])
    at.clock.now += 11 * 3600
    at.own = None
    platform = PlatformAccess(
        PLATFORM, Secret(SECRET), SecretReader(lambda: Secret(next(tickets))), None
    )
    at.platform = lambda: platform  # type: ignore[method-assign]
    async with opened(at) as agency:
        assert isinstance(await agency.attempt(), bytes)
        assert agency.asked() == (2, 1, 1)


async def test_without_a_newer_ticket_all_accounts_stop(at: Setting) -> None:
    """They cost one call in all, and the advice says how to get a ticket."""
    at.clock.now += 12 * 3600
    async with opened(at) as agency:
        for account in (ONE, TWO, ONE):
            refused = await agency.denial(account)
            assert str(refused).startswith("61005 ")
            assert "api_start_push_ticket" in refused.rule.advice
        assert agency.asked() == (1, 0, 0)


async def test_a_component_token_may_be_configured(at: Setting) -> None:
    """A token that WeChat rejects is read once more."""
    held = [platform_token_of(at.world, PLATFORM)]
    at.own = SecretReader(lambda: Secret(held[-1]))
    async with opened(at) as agency:
        assert isinstance(await agency.attempt(ONE), bytes)
        at.clock.now += 7200
        held.append(platform_token_of(at.world, PLATFORM))
        assert isinstance(await agency.attempt(TWO), bytes)
        assert agency.asked()[0] == 0
    assert at.world.counters.errcodes == {42001: 1}


async def test_an_expired_component_token_stops_all_accounts(at: Setting) -> None:
    """They cost one call in all."""
    own = platform_token_of(at.world, PLATFORM)
    at.own = SecretReader(lambda: Secret(own))
    at.clock.now += 7200
    async with opened(at) as agency:
        for account in (ONE, TWO):
            refused = await agency.denial(account)
            assert "component token is not accepted" in refused.rule.meaning
        assert agency.asked() == (0, 0, 1)


async def test_a_wrong_secret_of_the_platform_costs_one_call(at: Setting) -> None:
    """40125 means the platform's secret here, and the message says so."""
    at.world.platforms.register(PLATFORM, "another")
    async with opened(at) as agency:
        for account in (ONE, TWO):
            assert (await agency.denial(account)).rule.meaning == "the platform's secret is wrong"
        assert agency.asked() == (1, 0, 0)
