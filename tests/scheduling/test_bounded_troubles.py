"""Troubles of a run under way: their number has a bound."""

from __future__ import annotations

import pytest

from harvester.catalogue import CATALOGUE
from harvester.catalogue.error_codes import Action, Rule, Scope
from harvester.core.calendar import NO_DAYS, parse_day
from harvester.core.model import Refusal, Window
from harvester.scheduling.account_queue import AccountQueue, Attempt, Backlog
from harvester.scheduling.troubles import MAX_TROUBLES, Troubles
from tests.support.run_harness import DAILY, appid

DAY = parse_day("2026-05-20")
LOST = Rule(Action.RETRY, Scope.WINDOW, "the connection was lost", "Check the network.")


def attempt_of(account: str) -> Attempt:
    """Return the first attempt at one day of an account."""
    backlog = Backlog(CATALOGUE[DAILY], NO_DAYS)
    queue = AccountQueue(account, 0, [backlog])
    return Attempt(queue, backlog, Window(account, DAILY, DAY, DAY), NO_DAYS)


@pytest.fixture
def full() -> Troubles:
    """As many different causes as are kept."""
    troubles = Troubles()
    for number in range(MAX_TROUBLES):
        troubles.take(attempt_of(appid(1)), LOST, f"host {number} is away", float(number))
    return troubles


def test_further_causes_are_not_kept(full: Troubles) -> None:
    """A server that words every failure anew does not fill the memory."""
    before = dict(full.found)
    full.take(attempt_of(appid(1)), LOST, "one more host is away", 100.0)
    assert len(full.found) == MAX_TROUBLES
    assert full.found == before
    assert all(trouble.attempts == 1 for trouble in full.found.values())


def test_known_causes_are_counted_on(full: Troubles) -> None:
    """A cause that is kept gets new attempts and accounts after the bound was reached."""
    full.take(attempt_of(appid(2)), LOST, "host 7 is away", 100.0)
    trouble = full.found[Action.RETRY, LOST.meaning, "host 7 is away"]
    assert (trouble.attempts, trouble.last_at) == (2, 100.0)
    assert list(trouble.accounts) == [appid(1), appid(2)]


def test_a_refusal_that_ends_the_attempts_is_no_trouble() -> None:
    """A cause that stops an account is reported with its abandoned days."""
    troubles = Troubles()
    stop = Rule(Action.STOP, Scope.ACCOUNT, "the account is unknown", "Check the appid.")
    troubles.take(attempt_of(appid(1)), stop, Refusal(40013, "invalid appid", ""), 0.0)
    assert troubles.found == {}
