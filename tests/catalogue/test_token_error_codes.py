"""Every error code of a token request: effect, scope, message and number of calls."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from harvester.catalogue.error_codes import PLATFORM_RULES, TOKEN_RULES
from harvester.core.exit_codes import Exit
from harvester.core.rule import Action, Scope
from harvester.sandbox import TOKEN
from tests.support.run_harness import RunHarness, appid
from tests.wechat.auth.test_platform import ONE, TWO, Setting, at, opened

__all__ = ["at"]

SICK, WELL = appid(1), (appid(2), appid(3))
DAYS = ("2026-03-01", "2026-03-04")


class Told(NamedTuple):
    """The expected message of a code, and its effect on a run."""

    meaning: str
    advice: str
    exit_code: Exit = Exit.INCOMPLETE
    calls: int = 1


# To the word where the words matter most: these are what people search for.
AT_THE_TOKEN_ENDPOINT = {
    40001: Told("the AppSecret is wrong", "Compare the AppSecret with the account's console"),
    40002: Told("the kind of grant was not accepted", "fault of harvester"),
    40013: Told("there is no account with this appid", "letter by letter"),
    40125: Told("the AppSecret is wrong", "a reset makes the old one invalid"),
    40164: Told("not on the account's IP allow-list", "Add 127.0.0.1 to the account's IP allow"),
    40243: Told("the AppSecret is frozen", "Unfreeze or reset the AppSecret"),
    41002: Told("the appid was missing", "fault of harvester"),
    41004: Told("the AppSecret was missing", "the variable or file the credential names"),
    42007: Told("a changed password ended the account's authorisations", "authorise"),
    43001: Told("the call must be a GET", "Check api.base_url"),
    43002: Told("the call must be a POST", "fault of harvester"),
    43003: Told("the call must be made over HTTPS", "Check api.base_url"),
    45009: Told("the daily quota of token calls is spent", "after midnight in Beijing", Exit.AGAIN),
    49001: Told("the token belongs to another appid", "account's credential"),
    50002: Told("restricted, frozen or closed", "mp.weixin.qq.com", calls=2),
    50003: Told("not on WeChat's list of those that may use this API", "mp.weixin.qq.com"),
    50004: Told("the account may not fetch tokens", "mp.weixin.qq.com"),
    50007: Told("restricted, frozen or closed", "mp.weixin.qq.com"),
    89501: Told("still waits for an administrator to confirm it", "Ask an administrator"),
    89503: Told("an administrator must confirm calls from this address", "Ask an administrator"),
    89506: Told("refused calls from this address for 24 hours", "Wait 24 hours"),
    89507: Told("refused calls from this address for an hour", "Wait an hour"),
    99999: Told("a code that is not in harvester's table", "WeChat's list of return codes"),
}


@pytest.mark.parametrize("code", AT_THE_TOKEN_ENDPOINT)
def test_at_the_token_endpoint(code: int, tmp_path: Path) -> None:
    """The account stops after one call, the others do not notice, and the record says why."""
    told = AT_THE_TOKEN_ENDPOINT[code]
    lab = RunHarness(tmp_path, begin=DAYS[0], end=DAYS[1])
    lab.sandbox.fail(SICK, code, dataset=TOKEN)
    done = lab.run()
    assert done.exit_code is told.exit_code
    assert lab.sandbox.counters.token_calls[SICK] == told.calls
    assert lab.sandbox.counters.calls[SICK] == 0
    assert all(lab.sandbox.counters.token_calls[account] == 1 for account in WELL)
    rules = {gone.rule for gone in done.abandoned}
    assert len(rules) == 1
    rule = rules.pop()
    assert rule.scope is Scope.ACCOUNT
    assert told.meaning in rule.meaning
    assert told.advice in rule.advice
    assert {gone.appid for gone in done.abandoned} == {SICK}


def test_the_table_above_has_every_code_of_its_own() -> None:
    """Whatever means something else at the token endpoint is tried there."""
    handed_over = {40014, 42001}
    assert set(TOKEN_RULES) - handed_over <= set(AT_THE_TOKEN_ENDPOINT)
    rejected = {40001, 40014, 42001}
    assert set(PLATFORM_RULES) - rejected <= set(THROUGH_THE_PLATFORM)


def test_a_busy_token_endpoint_is_asked_again(tmp_path: Path) -> None:
    """-1 and the minute limit pass, and the run is whole."""
    lab = RunHarness(tmp_path, begin=DAYS[0], end=DAYS[1])
    lab.sandbox.fail(SICK, -1, dataset=TOKEN, times=2)
    assert lab.run().exit_code is Exit.DONE
    assert lab.sandbox.counters.token_calls[SICK] == 3


THROUGH_THE_PLATFORM = {
    40013: Told("there is no platform with this appid", "platform.appid"),
    40125: Told("the platform's secret is wrong", "console of the open platform"),
    40090: Told("not on the platform's IP allow-list", "console of the open platform"),
    40091: Told("the platform's ticket is expired or invalid", "api_start_push_ticket"),
    40094: Told("the platform's appid or secret is not accepted", "Compare platform.secret"),
    40164: Told("not on the platform's IP allow-list", "console of the open platform"),
    61004: Told("not on the platform's IP allow-list", "console of the open platform"),
    61005: Told("the platform's ticket is expired or invalid", "api_start_push_ticket"),
    61006: Told("the platform's ticket is expired or invalid", "api_start_push_ticket"),
    61011: Told("there is no such third-party platform", "component_appid"),
    61028: Told("the third-party platform is not published", "Publish the platform"),
}


@pytest.mark.parametrize("code", THROUGH_THE_PLATFORM)
async def test_of_the_platform_itself(code: int, at: Setting) -> None:
    """One call stops all of its accounts: none of them can be authorised."""
    told = THROUGH_THE_PLATFORM[code]
    at.world.fail("wx00000000000000ff", code, dataset=TOKEN)
    async with opened(at) as agency:
        for account in (ONE, TWO, ONE):
            rule = (await agency.denial(account)).rule
            assert (rule.action, rule.scope) == (Action.STOP, Scope.ACCOUNT)
            assert told.meaning in rule.meaning
            assert told.advice in rule.advice
        assert agency.asked() == (told.calls, 0, 0)


OF_AN_AUTHORISATION = {
    41003: Told("the refresh token was missing", "fault of harvester"),
    61000: Told("of a kind that may not make this call", "the platform's type"),
    61052: Told("must be verified", "Only verified accounts"),
    42007: Told("a changed password ended the account's authorisations", "authorise"),
    61003: Told("the account has not authorised the platform", "authorise"),
    61023: Told("the platform's refresh token is invalid", "authorise"),
    61007: Told("lacks the permission set", "user analysis 2"),
}


@pytest.mark.parametrize("code", OF_AN_AUTHORISATION)
async def test_of_one_authorisation(code: int, at: Setting) -> None:
    """One call stops one account, and the other goes on."""
    told = OF_AN_AUTHORISATION[code]
    at.world.fail(ONE, code, dataset=TOKEN)
    async with opened(at) as agency:
        for _ in range(3):
            rule = (await agency.denial(ONE)).rule
            assert (rule.action, rule.scope) == (Action.STOP, Scope.ACCOUNT)
            assert told.meaning in rule.meaning
            assert told.advice in rule.advice
        assert isinstance(await agency.attempt(TWO), bytes)
        assert agency.asked() == (1, 2, 1)
