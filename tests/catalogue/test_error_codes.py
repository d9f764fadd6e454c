from __future__ import annotations

import re

import pytest

from harvester.catalogue.error_codes import (
    DATA_RULES,
    PLATFORM_RULES,
    TOKEN_RULES,
    is_known,
    platform_rule_for,
    rule_for,
    token_rule_for,
)
from harvester.core.rule import Action, Rule, Scope

DATA_CASES = [
    (Action.RETRY, Scope.WINDOW, [-1, -1000, 61450, 268487001, 268487002]),
    (Action.SLOW_DOWN, Scope.ACCOUNT, [45011]),
    (Action.NOT_READY, Scope.WINDOW, [61503]),
    (Action.SPLIT, Scope.WINDOW, [61501]),
    (Action.REFRESH_TOKEN, Scope.ACCOUNT, [40001, 40014, 42001]),
    (Action.WAIT_FOR_QUOTA, Scope.ACCOUNT_DATASET, [45009, 48006]),
    (Action.STOP, Scope.ACCOUNT_DATASET, [43001, 43003, 48001, 61007, 61016, 61017, 61052]),
    (
        Action.STOP,
        Scope.ACCOUNT,
        [48004, 40013, 40125, 40164, 40243, 40200, 45035, 50001, 50002, 50004],
    ),
    (
        Action.STOP,
        Scope.ACCOUNT,
        [42007, 61003, 61004, 61023, 89501, 89503, 89506, 89507],
    ),
    (
        Action.STOP,
        Scope.ACCOUNT,
        [40030, 40090, 40091, 40094, 42002, 49001, 50003, 61000, 61001, 61028],
    ),
    (
        Action.STOP,
        Scope.WINDOW,
        [61500, 47001, 44002, 43002, 41001, 41003, 40097, 61451],
    ),
    (Action.STOP, Scope.DATASET, [47009, 404, 412, 40066]),
]
TOKEN_ENDPOINT = [40002, 40013, 40125, 40164, 41002, 41004, 43002, 40243]
TOKEN_ENDPOINT += [89501, 89503, 89506, 89507]


@pytest.mark.parametrize(
    ("code", "action", "scope"),
    [(code, action, scope) for action, scope, codes in DATA_CASES for code in codes],
)
def test_a_data_refusal_stops_exactly_what_it_condemns(
    code: int, action: Action, scope: Scope
) -> None:
    """Each code that WeChat's datacube is known to send has its action and its scope."""
    rule = rule_for(code)
    assert (rule.action, rule.scope) == (action, scope)
    assert is_known(code)


def test_an_unknown_code_costs_one_window() -> None:
    """An unknown code stops its window and nothing else."""
    assert not is_known(99999)
    assert (rule_for(99999).action, rule_for(99999).scope) == (Action.STOP, Scope.WINDOW)


@pytest.mark.parametrize("code", [*TOKEN_ENDPOINT, 40001, 40014, 42001, 48001, 61503, 99999])
def test_a_refused_token_stops_the_account(code: int) -> None:
    """Whatever the token endpoint refuses for good concerns one account, and all of it."""
    rule = token_rule_for(code)
    assert (rule.action, rule.scope) == (Action.STOP, Scope.ACCOUNT)


@pytest.mark.parametrize(
    ("code", "action"),
    [(-1, Action.RETRY), (45011, Action.SLOW_DOWN), (45009, Action.WAIT_FOR_QUOTA)],
)
def test_passing_trouble_at_the_token_endpoint_passes(code: int, action: Action) -> None:
    """A busy server, the minute's limit and the day's quota do not condemn an account for good."""
    rule = token_rule_for(code)
    assert (rule.action, rule.scope) == (action, Scope.ACCOUNT)


def test_40001_means_two_things() -> None:
    """A data call's 40001 speaks of the token, the token endpoint's of the AppSecret."""
    assert "token" in rule_for(40001).meaning
    assert "AppSecret" in token_rule_for(40001).meaning


def test_the_allow_list_is_named() -> None:
    """A refusal because of the machine's address has advice that names the IP allow-list."""
    assert "allow-list" in rule_for(40164).advice
    assert "allow-list" in token_rule_for(40164).advice


ALL_RULES = (DATA_RULES, TOKEN_RULES, PLATFORM_RULES)
EACH_RULE = [rule for rules in ALL_RULES for rule in rules.values()] + [rule_for(99999)]


@pytest.mark.parametrize(
    ("code", "like"),
    [(40030, 61023), (42002, 61023), (40091, 61006), (40090, 40164), (61004, 45035)],
)
def test_codes_of_one_meaning_share_a_rule(code: int, like: int) -> None:
    """The lists of the open platform and of Official Accounts number the same causes twice."""
    assert rule_for(code) == rule_for(like)
    assert platform_rule_for(40090) == platform_rule_for(40164)


@pytest.mark.parametrize("rule", EACH_RULE)
def test_no_advice_refers_to_what_the_refusal_may_not_have_said(rule: Rule) -> None:
    """A refusal may come without a rid or an address, and no other code was met."""
    assert "rid of the answer" not in rule.advice
    assert not re.search(r"\b\d{5}\b", rule.advice)


@pytest.mark.parametrize("code", [40090, 40164, 45035, 61004])
def test_the_advice_about_an_address_says_how_to_find_it(code: int) -> None:
    """Only a message with an address has advice that names it."""
    for rule in (rule_for(code), token_rule_for(code), platform_rule_for(code)):
        assert "curl" in rule.advice
    assert "203.0.113.7" in token_rule_for(40164, "invalid ip 203.0.113.7, not in w").advice


def test_an_account_that_may_not_use_an_api_has_three_causes() -> None:
    """48001 comes to unverified accounts, to tokens of Mini Programs and to platforms."""
    advice = rule_for(48001).advice
    assert all(cause in advice for cause in ("Verify", "Mini Program", "permission set"))


def test_the_quota_is_asked_of_wechat() -> None:
    """The console does not show the quota of the datacube, so no advice sends a person there."""
    assert "harvester check" in rule_for(45009).advice
    assert "console" not in rule_for(45009).advice


def test_one_code_is_repeated_before_it_counts() -> None:
    """50002 was seen to come and go; every other refusal says the same again."""
    repeated = {code: rule.repeats for code, rule in DATA_RULES.items() if rule.repeats}
    assert repeated == {50002: 1}
    assert token_rule_for(50002).repeats == 1


@pytest.mark.parametrize("rule", EACH_RULE)
def test_every_rule_can_be_explained(rule: Rule) -> None:
    """A rule has a meaning without a full stop and an advice of one sentence with one."""
    assert rule.meaning
    assert not rule.meaning.endswith(".")
    assert rule.advice[0].isupper()
    assert rule.advice.endswith(".")
    assert ". " not in rule.advice
