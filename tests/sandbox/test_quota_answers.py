"""Questions for a quota that the emulator refuses, its rate limit, and few people's messages."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from harvester.sandbox.calls import Request
from harvester.sandbox.data.message import _intervals
from harvester.sandbox.server_state import QUOTA_PATH
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.sandboxes import BUSY, DAILY, fake_wechat_at


def quota_of(world: FaultyWeChat, path: str) -> dict[str, Any]:
    """Ask for the quota of an API."""
    query = {"access_token": world.token_of(BUSY)}
    reply = world.answer(Request("POST", QUOTA_PATH, query, orjson.dumps({"cgi_path": path})))
    found: dict[str, Any] = orjson.loads(reply.body)
    return found


def test_an_unknown_api_has_no_quota() -> None:
    """The path is compared with those of all datasets."""
    world, _ = fake_wechat_at()
    found = quota_of(world, "/datacube/nothing")
    assert found["errcode"] == 76021
    assert "quota" not in found


def test_the_quota_of_a_forbidden_api_is_not_told() -> None:
    """An account hears of the APIs that it may call."""
    world, _ = fake_wechat_at()
    world.permit(BUSY, ["user"])
    assert quota_of(world, DAILY)["errcode"] == 76022
    world.permit(BUSY, ["interface"])
    assert quota_of(world, DAILY)["errcode"] == 0


@pytest.mark.parametrize(
    ("limit", "told"), [(None, None), (50, {"call_count": 50, "refresh_second": 60})]
)
def test_a_minute_limit_is_told_with_the_quota(
    limit: int | None, told: dict[str, int] | None
) -> None:
    """Without such a limit the member is left out."""
    world, _ = fake_wechat_at(minute_limit=limit)
    found = quota_of(world, DAILY)
    assert found.get("rate_limit") == told
    assert found["quota"]["daily_limit"] > 0


@pytest.mark.parametrize(
    ("users", "messages", "intervals"),
    [
        (1, 5, (1, 0, 0)),
        (1, 6, (0, 1, 0)),
        (1, 10, (0, 0, 1)),
        (1, 18, (0, 0, 1)),
        (2, 22, (0, 1, 1)),
        (1, 25, (0, 0, 1)),
    ],
)
def test_few_people_with_many_messages_move_to_a_higher_interval(
    users: int, messages: int, intervals: tuple[int, int, int]
) -> None:
    """Up to 5, up to 10 and more messages a person; each interval can hold what was written."""
    assert _intervals(users, messages) == intervals
