"""A token serves one account: the same one for two accounts stops both."""

from __future__ import annotations

import pytest

from harvester.core.rule import Action, Scope
from harvester.core.secret import Secret
from harvester.core.text.safe_text import safe_text
from harvester.runs.processes.messages import TokenClaimed
from harvester.wechat.auth.token_owners import SAME_TOKEN, TokenOwners, digest_of

ONE, TWO, THREE = (f"wx000000000000000{number}" for number in (1, 2, 3))
TOKEN, OTHER = Secret("t" * 40), Secret("o" * 40)


@pytest.mark.anyio
async def test_accounts_with_tokens_of_their_own_go_on() -> None:
    """However often each of them gets the same one again, or a new one."""
    owners = TokenOwners()
    for appid, token in ((ONE, TOKEN), (TWO, OTHER), (ONE, TOKEN), (ONE, Secret("n" * 40))):
        await owners.claim(appid, token)
    assert not owners.shared
    assert owners.denial(ONE) is None


@pytest.mark.anyio
async def test_all_accounts_with_one_token_are_stopped_for_one_cause() -> None:
    """The message names the first two, with appid and name; all of them are stopped."""
    owners = TokenOwners({ONE: "First", TWO: "Second"})
    for appid in (TWO, ONE, THREE):
        await owners.claim(appid, TOKEN)
    denials = [owners.denial(appid) for appid in (ONE, TWO, THREE)]
    [rule] = {denial.rule for denial in denials if denial is not None}
    assert rule.meaning == f"{ONE} First and {TWO} Second have the same token"
    assert (rule.action, rule.scope, rule.cause) == (Action.STOP, Scope.ACCOUNT, "shared_token")
    assert all(denials)


def test_the_end_of_the_text_stays_with_names_of_any_length() -> None:
    """It tells the cause of a quarantined day, whose reason is cut."""
    names = dict.fromkeys((ONE, TWO), "a long name " * 50)
    owners, digest = TokenOwners(names), digest_of(TOKEN)
    owners.enter(ONE, digest)
    found = owners.enter(TWO, digest)
    assert found is not None
    assert safe_text(found.text).endswith(SAME_TOKEN)


@pytest.mark.anyio
async def test_an_account_stays_stopped_with_another_token() -> None:
    """Its next token may be of any account."""
    owners = TokenOwners()
    for appid, token in ((ONE, TOKEN), (TWO, TOKEN), (TWO, OTHER)):
        await owners.claim(appid, token)
    assert set(owners.shared) == {ONE, TWO}


def test_no_digest_is_shown() -> None:
    """Neither by the owners nor by the question that carries it to another process."""
    digest = digest_of(TOKEN)
    owners = TokenOwners()
    owners.enter(ONE, digest)
    shown = repr((owners, TokenClaimed(ONE, digest), owners.enter(TWO, digest)))
    assert digest.hex() not in shown
    assert repr(digest) not in shown
