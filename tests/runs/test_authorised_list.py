"""The platform's list of accounts that a run requests first: refusals, repeats and errors."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import orjson
import pytest
from anyio.from_thread import start_blocking_portal

from harvester.catalogue import CATALOGUE
from harvester.core.config.credentials import PlatformAccess, SecretReader
from harvester.core.config.settings import Api, Manifest, Output, Retry
from harvester.core.errors import Unanswered, Unauthorised
from harvester.core.secret import Secret
from harvester.runs import authorised_accounts
from harvester.runs.clock import CheckedClock
from tests.support.fault_server import (
    Answer,
    FaultServer,
    certificate,
    fault_server,
    http,
    reset_after,
    say,
)
from tests.support.run_harness import appid
from tests.support.token_harness import refusal

ONE, TWO = appid(1), appid(2)
POLICY = Retry(max_attempts=2, initial_delay=0.001, max_delay=0.002)
LIST = say(
    http(
        orjson.dumps(
            {
                "total_count": 2,
                "list": [
                    {"authorizer_appid": name, "refresh_token": "token"} for name in (TWO, ONE)
                ],
            }
        )
    )
)


@contextmanager
def served(*answers: Answer, tls: ssl.SSLContext | None = None) -> Iterator[FaultServer]:
    """Serve the answers from a thread."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(fault_server(*answers, tls=tls)) as server,
    ):
        yield server


def ask(
    server: FaultServer, clock: CheckedClock | None = None, policy: Retry = POLICY
) -> tuple[str, ...]:
    """Request the accounts of a platform whose token is given."""
    platform = PlatformAccess("wx00000000000000ff", None, None, SecretReader(lambda: Secret("own")))
    api, output = Api(base_url=server.url, timeout=5.0), Output(Path("output"))
    manifest = Manifest(Path("jobs.yaml"), (), (), output, dict(CATALOGUE), api, retry=policy)
    clock = clock or CheckedClock()
    return anyio.run(authorised_accounts.ask, platform, manifest, clock.elapsed, clock.hear)


def test_the_list_has_wechat_s_order_and_its_date_is_told() -> None:
    """One request is enough."""
    clock = CheckedClock()
    with served(LIST) as server:
        assert ask(server, clock) == (TWO, ONE)
        assert len(server.requests) == 1
    assert clock.is_checked


@pytest.mark.parametrize("first", [reset_after(b"HTTP"), refusal(-1, "system error")])
def test_a_passing_failure_is_repeated(first: Answer) -> None:
    """A lost connection and a busy WeChat cost one more request."""
    with served(first, LIST) as server:
        assert ask(server) == (TWO, ONE)
        assert len(server.requests) == 2


def test_a_failure_that_stays_is_told_after_the_last_attempt() -> None:
    """The run ends with the last failure, and a later one may succeed."""
    with served(refusal(-1, "system error")) as server:
        with pytest.raises(Unanswered, match="platform's accounts: -1 system error: ") as caught:
            ask(server)
        assert len(server.requests) == POLICY.max_attempts
    assert "run again" in caught.value.advice


def test_nothing_is_waited_for_after_the_last_attempt() -> None:
    """The error is raised at once."""
    policy = Retry(max_attempts=1, initial_delay=100_000.0, max_delay=100_000.0)
    with served(refusal(-1, "system error")) as server, pytest.raises(Unanswered):
        ask(server, policy=policy)


def test_a_final_refusal_is_not_repeated() -> None:
    """The platform itself is unknown, so no account can be asked."""
    with served(refusal(61004, "access clientip is not registered")) as server:
        with pytest.raises(Unauthorised, match="platform's accounts: 61004 ") as caught:
            ask(server)
        assert len(server.requests) == 1
    assert caught.value.advice


def test_a_spent_quota_is_left_to_a_later_run() -> None:
    """It passes at midnight, so the run ends as unanswered and not as unauthorised."""
    with served(refusal(45009, "reach max api daily quota limit")) as server:
        with pytest.raises(Unanswered, match="platform's accounts: 45009 ") as caught:
            ask(server)
        assert len(server.requests) == 1
    assert "Check that WeChat can be reached" not in caught.value.advice


def test_a_rejected_certificate_is_not_repeated(tmp_path: Path) -> None:
    """A retry cannot help, and no request is sent over such a connection."""
    context, _ = certificate(tmp_path)
    with served(LIST, tls=context) as server:
        with pytest.raises(Unanswered, match=r"platform's accounts: .*certificate"):
            ask(server)
        assert server.requests == []
        assert server.connections <= 1
