from __future__ import annotations

import re
from typing import Any

import pytest

from harvester.core.calendar import instant
from harvester.sandbox import ANYONE
from harvester.sandbox.call_faults import MESSAGES
from harvester.sandbox.data import Row, expected_rows
from tests.support import emulated_platform
from tests.support.faulty_wechat import Fault
from tests.support.sandboxes import (
    BUSY,
    DAILY,
    HOURLY,
    NOON,
    QUIET,
    TODAY,
    Client,
    Response,
    client_for,
    fake_wechat_at,
)


async def errcodes(client: Client, token: str, count: int, *, path: str = DAILY) -> list[int]:
    """The errcodes of so many equal calls."""
    return [
        (await client.ask(token, "2024-06-01", "2024-06-01", path=path)).errcode
        for _ in range(count)
    ]


async def ask_once(begin: Any, end: Any, *, path: str = DAILY, **rules: Any) -> Response:
    """Make one call for BUSY under these rules."""
    wechat, _ = fake_wechat_at(**rules)
    async with client_for(wechat) as client:
        return await client.ask(wechat.token_of(BUSY), begin, end, path=path)


async def test_answers_have_all_rows() -> None:
    """A window answers the rows of its days, in their order, and no errcode."""
    daily = await ask_once("2024-05-13", "2024-06-11")
    assert daily.json == {
        "list": [
            row
            for n in range(30, 0, -1)
            for row in expected_rows("interface_summary", BUSY, TODAY - n)
        ]
    }
    hourly = await ask_once("2024-06-11", "2024-06-11", path=HOURLY)
    assert hourly.json == {"list": expected_rows("interface_summary_hour", BUSY, TODAY - 1)}


@pytest.mark.parametrize(
    ("begin", "end", "path"),
    [
        ("2024-05-12", "2024-06-10", DAILY),
        ("2014-12-01", "2014-12-30", DAILY),
        ("2024-06-11", "2024-06-11", HOURLY),
    ],
)
async def test_windows_that_are_answered(begin: str, end: str, path: str) -> None:
    """A window as long as the span, the first day of all and yesterday are in order."""
    assert (await ask_once(begin, end, path=path)).errcode == 0


@pytest.mark.parametrize(
    ("begin", "end", "path"),
    [
        ("2024-05-11", "2024-06-10", DAILY),
        ("2024-06-10", "2024-06-11", HOURLY),
        ("2024-06-02", "2024-06-01", DAILY),
        ("2014-11-30", "2014-12-01", DAILY),
        ("2024-06-12", "2024-06-12", DAILY),
        ("2024-06-01", "2025-06-01", HOURLY),
    ],
    ids=["a day too long", "two days", "backwards", "too early", "today", "the future"],
)
async def test_windows_out_of_range(begin: str, end: str, path: str) -> None:
    """A window longer than the span, backwards, too early or not over yet answers 61501."""
    assert (await ask_once(begin, end, path=path)).errcode == 61501


@pytest.mark.parametrize(
    "day", ["2024-6-1", "20240601", "2024-02-30", "yesterday", "", 20240601, None]
)
async def test_days_out_of_shape(day: object) -> None:
    """Anything but a zero-padded day of the calendar answers 61500."""
    assert (await ask_once(day, "2024-06-01")).errcode == 61500


async def test_days_turn_over_in_beijing() -> None:
    """Yesterday can be asked from midnight in Beijing on, which is 16:00 UTC of the day before."""
    wechat, clock = fake_wechat_at(instant(TODAY) - 1)
    async with client_for(wechat) as client:
        token = wechat.token_of(BUSY)
        assert (await client.ask(token, "2024-06-11", "2024-06-11")).errcode == 61501
        clock.now = instant(TODAY)
        assert (await client.ask(token, "2024-06-11", "2024-06-11")).errcode == 0


async def test_yesterday_is_empty_until_it_is_ready() -> None:
    """Until 08:00 an answer lacks yesterday without a word; from then on it is there."""
    wechat, clock = fake_wechat_at(instant(TODAY, 479))
    async with client_for(wechat) as client:
        token = wechat.token_of(BUSY)
        early = await client.ask(token, "2024-06-10", "2024-06-11")
        alone = await client.ask(token, "2024-06-11", "2024-06-11")
        clock.now += 60
        ready = await client.ask(token, "2024-06-10", "2024-06-11")
    assert early.json == {"list": expected_rows("interface_summary", BUSY, TODAY - 2)}
    assert alone.json == {"list": []}
    assert [row["ref_date"] for row in ready.json["list"]] == ["2024-06-10", "2024-06-11"]


async def test_days_that_are_not_ready_may_answer_61503() -> None:
    """By a rule, a window that reaches into a day not ready answers 61503."""
    for minutes, errcode in ((719, 61503), (720, 0)):
        wechat, _ = fake_wechat_at(instant(TODAY, minutes), unready=True, ready_minutes=720)
        async with client_for(wechat) as client:
            got = await client.ask(wechat.token_of(BUSY), "2024-06-10", "2024-06-11")
            assert got.errcode == errcode


async def test_wrong_data_calls() -> None:
    """A data call with a wrong method, token or body answers the errcode of the mistake."""
    wechat, _ = fake_wechat_at()
    token = {"access_token": wechat.token_of(BUSY)}
    async with client_for(wechat) as client:
        assert (await client.send("GET", DAILY, params=token)).errcode == 43002
        assert (await client.send("POST", DAILY)).errcode == 41001
        assert (await client.send("POST", DAILY, params={"access_token": "x"})).errcode == 40001
        assert (await client.send("POST", DAILY, params=token)).errcode == 44002
        for body in (b"{", b"[]", b"begin_date=2024-06-01"):
            assert (await client.send("POST", DAILY, params=token, data=body)).errcode == 47001
        assert (await client.send("POST", DAILY, params=token, data=b"{}")).errcode == 61500


async def test_errors_are_worded_as_wechat_does() -> None:
    """The errmsg ends in an id whose first group is the time of the call; HTTP says 200."""
    got = await ask_once("2024-06-12", "2024-06-12")
    match = re.fullmatch(r"(.+) rid: ([0-9a-f]{8})-[0-9a-f]{8}-[0-9a-f]{8}", got.json["errmsg"])
    assert match
    assert (match[1], int(match[2], 16)) == ("date range error", int(NOON))
    assert (got.status, got.headers["Content-Type"]) == (200, "application/json; encoding=utf-8")


async def test_the_minute_limit() -> None:
    """Calls are counted per account and dataset until the minute of the clock is over."""
    wechat, clock = fake_wechat_at(minute_limit=2)
    async with client_for(wechat) as client:
        token, other = wechat.token_of(BUSY), wechat.token_of(QUIET)
        assert await errcodes(client, token, 3) == [0, 0, 45011]
        assert await errcodes(client, token, 1, path=HOURLY) == [0]
        assert await errcodes(client, other, 1) == [0]
        clock.now += 60
        assert await errcodes(client, token, 3) == [0, 0, 45011]


async def test_the_daily_quota() -> None:
    """Calls are counted per account and dataset until midnight in Beijing."""
    wechat, clock = fake_wechat_at(daily_quota=2)
    async with client_for(wechat) as client:
        token, other = wechat.token_of(BUSY), wechat.token_of(QUIET)
        assert await errcodes(client, token, 4) == [0, 0, 45009, 45009]
        assert await errcodes(client, token, 1, path=HOURLY) == [0]
        assert await errcodes(client, other, 1) == [0]
        clock.now = instant(TODAY + 1)
        assert await errcodes(client, wechat.token_of(BUSY), 1) == [0]


async def test_the_window_limit_slides() -> None:
    """No stretch of the rule's length lets in more calls than it allows, over all datasets."""
    wechat, clock = fake_wechat_at(window_limit=(2, 10.0))
    async with client_for(wechat) as client:
        token = wechat.token_of(BUSY)
        assert await errcodes(client, token, 1) == [0]
        clock.now += 6
        assert await errcodes(client, token, 1, path=HOURLY) == [0]
        clock.now += 3.9
        assert await errcodes(client, token, 1) == [45011]
        clock.now += 0.1
        assert await errcodes(client, token, 1) == [0]


async def test_the_peak_load_counts_all_calls() -> None:
    """The peak load is the most calls in any window, with refused calls and over all tokens."""
    wechat, clock = fake_wechat_at(NOON // 10 * 10 + 6, window_limit=(3, 10.0))
    async with client_for(wechat) as client:
        assert await errcodes(client, wechat.token_of(BUSY), 2) == [0, 0]
        clock.now += 5
        wechat.tokens.revoke(BUSY, clock.now)
        assert await errcodes(client, wechat.token_of(BUSY), 3) == [0, 45011, 45011]
        clock.now += 100
        assert await errcodes(client, wechat.token_of(BUSY), 1) == [0]
    assert wechat.peak_load() == {BUSY: 5}


async def test_random_faults_follow_the_seed() -> None:
    """The share of calls that the rules want answers -1, always the same ones for a seed."""

    async def run(seed: int) -> list[int]:
        wechat, _ = fake_wechat_at(fault_rate=0.25, seed=seed)
        async with client_for(wechat) as client:
            return await errcodes(client, wechat.token_of(BUSY), 200)

    first = await run(1)
    assert 25 < first.count(-1) < 75
    assert set(first) == {0, -1}
    assert (await run(1) == first, await run(2) == first) == (True, False)


async def test_faults_hit_their_account_and_dataset() -> None:
    """A fault hits one account, or one of its datasets, and no other call."""
    wechat, _ = fake_wechat_at()
    wechat.fail(BUSY, 48001, dataset="interface_summary_hour")
    async with client_for(wechat) as client:
        token, other = wechat.token_of(BUSY), wechat.token_of(QUIET)
        assert await errcodes(client, token, 2, path=HOURLY) == [48001, 48001]
        assert await errcodes(client, token, 1) == [0]
        assert await errcodes(client, other, 1, path=HOURLY) == [0]
        wechat.heal(BUSY, dataset="interface_summary_hour")
        assert await errcodes(client, token, 1, path=HOURLY) == [0]


async def test_faults_may_hit_every_account() -> None:
    """A fault of ANYONE hits all accounts; a fault of one account comes first."""
    wechat, _ = fake_wechat_at()
    wechat.fail(ANYONE, 47009, dataset="interface_summary")
    wechat.fail(BUSY, 50002, times=1)
    async with client_for(wechat) as client:
        assert await errcodes(client, wechat.token_of(BUSY), 2) == [50002, 47009]
        assert await errcodes(client, wechat.token_of(QUIET), 1) == [47009]
        assert await errcodes(client, wechat.token_of(QUIET), 1, path=HOURLY) == [0]


async def test_faults_are_used_up_in_order() -> None:
    """Faults of the same calls are used one after the other, each as often as given."""
    wechat, _ = fake_wechat_at(daily_quota=2)
    wechat.fail(BUSY, 45011, times=1)
    wechat.fail(BUSY, -1, times=2)
    async with client_for(wechat) as client:
        got = await errcodes(client, wechat.token_of(BUSY), 6)
    assert got == [45011, -1, -1, 0, 0, 45009]


async def test_a_fault_may_rewrite_the_rows() -> None:
    """Rows can be added, lost or bent on their way, as in the incident of 2022."""

    def bend(rows: list[Row]) -> list[Row]:
        return [*rows, {**rows[0], "ref_date": "2022-08-26"}]

    wechat, _ = fake_wechat_at()
    wechat.fail(BUSY, Fault(alter=bend), times=1)
    async with client_for(wechat) as client:
        token = wechat.token_of(BUSY)
        bent = await client.ask(token, "2024-06-01", "2024-06-01")
        straight = await client.ask(token, "2024-06-01", "2024-06-01")
    assert [row["ref_date"] for row in bent.json["list"]] == ["2024-06-01", "2022-08-26"]
    assert bent.json["list"][:1] == straight.json["list"]


async def test_a_fault_may_choose_its_words() -> None:
    """Any errcode can be answered, with any message."""
    wechat, _ = fake_wechat_at()
    wechat.fail(BUSY, Fault(errcode=99999, errmsg="what nobody knows"))
    async with client_for(wechat) as client:
        got = await client.ask(wechat.token_of(BUSY), "2024-06-01", "2024-06-01")
    assert got.errcode == 99999
    assert got.json["errmsg"].startswith("what nobody knows rid: ")


async def test_the_source_of_rows_can_be_replaced() -> None:
    """An emulator answers the rows of its source."""
    wechat, _ = fake_wechat_at()
    other = type(wechat)(wechat.rules, lambda: NOON, source=lambda name, _, day: [{name: day}])
    async with client_for(other) as client:
        got = await client.ask(other.token_of(BUSY), "2024-06-10", "2024-06-11")
    assert got.json["list"] == [{"interface_summary": TODAY - 2}, {"interface_summary": TODAY - 1}]


def test_every_message_is_wechats() -> None:
    """All errors have words of their own, without the id that is added to each."""
    known = (*MESSAGES.values(), *emulated_platform.MESSAGES.values())
    assert all(words and "rid" not in words.split() for words in known)
