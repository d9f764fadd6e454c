"""Answers depend on the moment of the call: over real HTTP, and by `rows_answered`."""

from __future__ import annotations

from typing import Any

import pytest

from harvester.catalogue import CATALOGUE, RETIRED
from harvester.core.calendar import Day, day_text, instant, month_end, month_of
from harvester.core.dataset import Dataset, Grain, api_of
from harvester.sandbox import ANYONE
from harvester.sandbox.data import Row, expected_rows
from tests.support.faulty_wechat import (
    DataFault,
    Delayed,
    Fault,
    FaultyWeChat,
    Late,
    Outage,
    Revised,
)
from tests.support.sandboxes import (
    BUSY,
    MONDAY_THE_FIRST,
    QUIET,
    Clock,
    Response,
    client_for,
    fake_wechat_at,
    rows_answered,
    with_other_years,
)

DAY = MONDAY_THE_FIRST
LONG_AFTER = DAY + 100
MARKED = [name for name, dataset in CATALOGUE.items() if dataset.may_be_delayed]

each_dataset = pytest.mark.parametrize("dataset", CATALOGUE.values(), ids=CATALOGUE)


def wechat_on(
    *data_faults: DataFault, on: Day = LONG_AFTER, **rules: Any
) -> tuple[FaultyWeChat, Clock]:
    """Return an emulator at noon of a day, with these data faults."""
    return fake_wechat_at(instant(on, 720), data_faults=data_faults, **rules)


async def ask(
    wechat: FaultyWeChat, name: str, begin: Day, end: Day | None = None, *, who: str = BUSY
) -> Response:
    """Make one data call for these days, or for one day."""
    last = day_text(begin if end is None else end)
    async with client_for(wechat) as client:
        token = wechat.token_of(who)
        return await client.ask(token, day_text(begin), last, path=CATALOGUE[name].path)


def last_day(dataset: Dataset) -> Day:
    """Return the last day of the period that begins on DAY."""
    if dataset.grain is Grain.WEEK:
        return DAY + 6
    return month_end(month_of(DAY)) if dataset.grain is Grain.MONTH else DAY


@each_dataset
async def test_old_windows_answer_all_rows(dataset: Dataset) -> None:
    """A window as long as the span answers all rows of its days, whole and in their order."""
    wechat, _ = wechat_on()
    end = DAY + dataset.span - 1
    rows = [row for day in range(DAY, end + 1) for row in expected_rows(dataset.name, BUSY, day)]
    answer = {"list": rows, "is_delay": False} if dataset.may_be_delayed else {"list": rows}
    assert rows
    for _ in range(2):
        assert (await ask(wechat, dataset.name, DAY, end)).json == answer


@each_dataset
async def test_a_period_has_rows_once_it_is_over_and_ready(dataset: Dataset) -> None:
    """Until the period's last day is over and its ready hour has come the answer has no row."""
    last = last_day(dataset)
    wechat, clock = wechat_on()
    for now, there in ((instant(last + 1, 479), False), (instant(last + 1, 480), True)):
        clock.now = now
        assert bool((await ask(wechat, dataset.name, DAY)).json["list"]) is there


@pytest.mark.parametrize("name", ["upstream_msg_dist_week", "upstream_msg_dist_month"])
async def test_a_window_must_hold_the_first_day(name: str) -> None:
    """A window gets the rows of the weeks and months that begin in it, however it goes on."""
    wechat, _ = wechat_on()
    got = await ask(wechat, name, DAY - 3, DAY + 3)
    assert got.json["list"] == expected_rows(name, BUSY, DAY)
    assert (await ask(wechat, name, DAY + 1, DAY + 6)).json["list"] == []


async def test_unfinished_periods_may_answer_61503() -> None:
    """With `unready`, a window with an unfinished week or month answers 61503."""
    wechat, _ = wechat_on(on=DAY + 20, unready=True)
    assert (await ask(wechat, "upstream_msg_month", DAY)).errcode == 61503
    assert (await ask(wechat, "upstream_msg_week", DAY + 7)).errcode == 0
    assert (await ask(wechat, "upstream_msg_week", DAY + 14)).errcode == 61503


def test_articles_grow_by_a_day_every_day() -> None:
    """An article has an entry for each day that is over, until it has all of them."""
    wechat, _ = wechat_on()
    name = "article_total_detail"
    (whole,) = expected_rows(name, BUSY, DAY)
    for age in range(1, 32):
        (row,) = rows_answered(wechat, name, BUSY, DAY, DAY + age)
        assert row == {**whole, "detail_list": whole["detail_list"][:age]}
    assert rows_answered(wechat, name, BUSY, DAY, DAY + 30) == [whole]


async def test_growing_answers_are_not_cached() -> None:
    """A call on the next day gets the next entry."""
    wechat, clock = wechat_on(on=DAY + 29)
    lengths = []
    for _ in range(4):
        (row,) = (await ask(wechat, "article_total_detail", DAY)).json["list"]
        lengths.append(len(row["detail_list"]))
        clock.now += 86_400
    assert lengths == [29, 30, 30, 30]


def test_the_account_summary_is_revised_for_a_week() -> None:
    """biz_summary has other, smaller figures on each of seven days, then the final ones."""
    wechat, _ = wechat_on()
    (whole,) = expected_rows("biz_summary", BUSY, DAY)
    told = [rows_answered(wechat, "biz_summary", BUSY, DAY, DAY + age)[0] for age in range(1, 10)]
    readers = [row["detail"]["read_user"] for row in told]
    assert all(count < whole["detail"]["read_user"] for count in readers[:7])
    assert len(set(readers[:7])) == 7
    assert told[7:] == [whole, whole]
    sources = told[0]["detail"]["read_user_source"]
    assert sources[0] == {"user_count": readers[0], "scene_desc": "全部"}


def test_other_datasets_are_final_at_once() -> None:
    """All other datasets have their final rows from the first day on."""
    wechat, _ = wechat_on()
    for name, dataset in CATALOGUE.items():
        if name not in {"biz_summary", "article_total_detail"}:
            asked_on = last_day(dataset) + 1
            assert rows_answered(wechat, name, BUSY, DAY, asked_on) == expected_rows(
                name, BUSY, DAY
            )


def test_the_future_has_no_rows() -> None:
    """A day that is not over has no rows on the day it is asked."""
    wechat, _ = wechat_on()
    assert rows_answered(wechat, "interface_summary", BUSY, DAY, DAY) == []
    assert rows_answered(wechat, "interface_summary", BUSY, DAY, DAY + 1) != []


@pytest.mark.parametrize("name", MARKED)
async def test_answers_say_whether_they_are_delayed(name: str) -> None:
    """is_delay is true while the newest day is computed, then false; figures are too small."""
    for text in (False, True):
        wechat, clock = wechat_on(Delayed(days=2), on=DAY + 2, delay_text=text)
        first = (await ask(wechat, name, DAY)).json
        clock.now += 86_400
        second = (await ask(wechat, name, DAY)).json
        assert (first["is_delay"], second["is_delay"]) == (
            ("true", "false") if text else (True, False)
        )
        assert first["list"] != second["list"]
        assert second["list"] == rows_answered(wechat, name, BUSY, DAY, DAY + 3)


async def test_other_datasets_have_no_delay() -> None:
    """Other datasets have neither `is_delay` nor preliminary figures."""
    wechat, _ = wechat_on(Delayed(days=2), on=DAY + 1)
    assert (await ask(wechat, "user_summary", DAY)).json == {
        "list": expected_rows("user_summary", BUSY, DAY)
    }


async def test_a_delayed_day_delays_the_whole_window() -> None:
    """A window is delayed if one of its days is, and no other window."""
    wechat, _ = wechat_on(Delayed(days=3), on=DAY + 10)
    assert (await ask(wechat, "biz_summary", DAY, DAY + 7)).json["is_delay"] is True
    assert (await ask(wechat, "biz_summary", DAY, DAY + 6)).json["is_delay"] is False


async def test_rewritten_answers_keep_their_delay() -> None:
    """A fault that rewrites rows leaves is_delay where it was."""
    wechat, _ = wechat_on()
    wechat.fail(BUSY, Fault(alter=lambda rows: rows[:0]))
    assert (await ask(wechat, "article_read", DAY)).json == {"list": [], "is_delay": False}


async def test_late_days_are_left_out() -> None:
    """A late day is missing until its hour days later; the other days of the window are there."""
    wechat, clock = wechat_on(Late(begin=DAY, end=DAY, days=2, minutes=840), on=DAY + 2)
    others = [row for n in (-1, 1) for row in expected_rows("interface_summary", BUSY, DAY + n)]
    missing = (await ask(wechat, "interface_summary", DAY - 1, DAY + 1)).json["list"]
    clock.now = instant(DAY + 3, 839)
    still = (await ask(wechat, "interface_summary", DAY)).json["list"]
    clock.now += 60
    there = (await ask(wechat, "interface_summary", DAY)).json["list"]
    assert (missing, still, there) == (others, [], expected_rows("interface_summary", BUSY, DAY))


async def test_late_days_may_be_an_error() -> None:
    """A late day may answer 61503 for the whole window, until it is there."""
    late = Late(begin=DAY, end=DAY, days=1, unready=True)
    wechat, clock = wechat_on(late, on=DAY + 1)
    assert (await ask(wechat, "interface_summary", DAY - 1, DAY)).errcode == 61503
    assert (await ask(wechat, "interface_summary", DAY - 1)).errcode == 0
    assert rows_answered(wechat, "interface_summary", BUSY, DAY, DAY + 1) == []
    clock.now += 86_400
    assert (await ask(wechat, "interface_summary", DAY - 1, DAY)).errcode == 0


def test_the_latest_of_several_delays_counts() -> None:
    """A day with several `Late` faults appears with the latest of them."""
    wechat, _ = wechat_on(Late(days=3), Late(days=1, unready=True), Late(minutes=60))
    there = [
        bool(rows_answered(wechat, "user_summary", BUSY, DAY, DAY + age)) for age in range(1, 6)
    ]
    assert there == [False, False, False, True, True]


@each_dataset
def test_revised_figures_settle(dataset: Dataset) -> None:
    """Revised figures differ until the catalogue calls them settled, and are final then."""
    wechat, _ = wechat_on(Revised())
    whole = expected_rows(dataset.name, BUSY, DAY)
    for age in range(1, 34):
        told = rows_answered(wechat, dataset.name, BUSY, DAY, last_day(dataset) + age)
        assert (told == whole) is (age > dataset.settle)


def test_revisions_last_for_the_days_given() -> None:
    """`Revised.days` overrides the catalogue."""
    wechat, _ = wechat_on(Revised(days=5, datasets=("interface_summary_hour",)))
    whole = expected_rows("interface_summary_hour", BUSY, DAY)
    told = [
        rows_answered(wechat, "interface_summary_hour", BUSY, DAY, DAY + age) for age in range(1, 8)
    ]
    assert [rows == whole for rows in told] == [False] * 5 + [True] * 2
    assert {len(rows) for rows in told} == {23, 24}


async def test_an_outage_answers_empty() -> None:
    """Days in an outage have no rows in its datasets, and have all rows once it is removed."""
    wechat, _ = wechat_on()
    before = (await ask(wechat, "interface_summary", DAY, DAY + 2)).json["list"]
    outage = Outage(begin=DAY + 1, end=DAY + 1, datasets=("interface_summary",))
    wechat.add_data_fault(outage)
    during = (await ask(wechat, "interface_summary", DAY, DAY + 2)).json["list"]
    other = (await ask(wechat, "user_cumulate", DAY + 1)).json["list"]
    wechat.remove_data_fault(outage)
    after = (await ask(wechat, "interface_summary", DAY, DAY + 2)).json["list"]
    assert [len(before), len(during), len(other), len(after)] == [3, 2, 1, 3]
    assert during == [before[0], before[2]]
    with pytest.raises(ValueError, match="not in list"):
        wechat.remove_data_fault(outage)


async def test_a_fault_may_add_rows_of_other_years() -> None:
    """Rows of one and two years before follow the day's rows, or replace them."""
    own = expected_rows("interface_summary", BUSY, DAY)
    wechat, _ = wechat_on()
    wechat.fail(BUSY, Fault(alter=with_other_years(2)), times=1)
    wechat.fail(BUSY, Fault(alter=with_other_years(1, alone=True)), times=1)
    with_own = (await ask(wechat, "interface_summary", DAY)).json["list"]
    alone = (await ask(wechat, "interface_summary", DAY)).json["list"]
    assert with_own[:1] == own
    assert [row["ref_date"] for row in with_own] == ["2026-06-01", "2025-05-26", "2024-05-20"]
    assert alone == [{**own[0], "ref_date": "2025-05-26"}]


@pytest.mark.parametrize("api", [*map(api_of, RETIRED)])
async def test_retired_endpoints_are_offline(api: str) -> None:
    """A retired endpoint answers 47009 in WeChat's words, and counts as any other call."""
    wechat, _ = wechat_on()
    path, day = f"/datacube/{api}", day_text(DAY)
    async with client_for(wechat) as client:
        got = await client.ask(wechat.token_of(BUSY), day, day, path=path)
        assert (got.status, got.errcode) == (200, 47009)
        assert got.json["errmsg"].startswith("this api is offline, please use the new api rid: ")
        assert (await client.ask("wrong", day, day, path=path)).errcode == 40001
        assert (await client.send("GET", path)).errcode == 43002
    assert wechat.counters.calls[BUSY] == 1
    assert wechat.counters.paths == {path: 3}
    assert wechat.counters.errcodes[47009] == 1


async def test_permissions_are_given_by_family() -> None:
    """An account may use the families it was permitted, and answers 48001 for the others."""
    wechat, _ = wechat_on()
    wechat.permit(BUSY, ["user", "article"])
    for name, dataset in CATALOGUE.items():
        permitted = dataset.family in {"user", "article"}
        assert (await ask(wechat, name, DAY)).errcode == (0 if permitted else 48001)
        assert (await ask(wechat, name, DAY, who=QUIET)).errcode == 0
    wechat.permit(BUSY, ["interface"])
    assert (await ask(wechat, "interface_summary", DAY)).errcode == 0


async def test_rules_may_shorten_a_span() -> None:
    """`Rules.spans` shortens the longest window of a dataset."""
    wechat, _ = wechat_on(spans={"user_summary": 3})
    assert (await ask(wechat, "user_summary", DAY, DAY + 3)).errcode == 61501
    assert (await ask(wechat, "user_summary", DAY, DAY + 2)).errcode == 0
    assert (await ask(wechat, "user_cumulate", DAY, DAY + 6)).errcode == 0


def test_data_faults_hit_their_accounts_datasets_and_days() -> None:
    """A data fault hits its account, datasets and days, both ends included, and nothing else."""
    wechat, _ = wechat_on(Outage(appid=BUSY, datasets=("user_cumulate",), begin=DAY, end=DAY + 1))

    def empty(name: str, who: str) -> list[int]:
        some = range(DAY - 2, DAY + 4)
        return [day - DAY for day in some if not rows_answered(wechat, name, who, day, LONG_AFTER)]

    assert empty("user_cumulate", BUSY) == [0, 1]
    assert empty("user_cumulate", QUIET) == []
    assert empty("user_summary", BUSY) == []


def test_a_share_of_the_days_is_hit() -> None:
    """So many days are hit, always the same for a seed, and for a smaller share some of them."""

    def hit(share: float, seed: int = 0) -> set[Day]:
        wechat, _ = wechat_on(Outage(share=share), seed=seed)
        some = range(DAY - 400, DAY)
        return {
            day for day in some if not rows_answered(wechat, "user_cumulate", BUSY, day, LONG_AFTER)
        }

    assert 60 < len(hit(0.25)) < 140
    assert hit(0.25) == hit(0.25)
    assert hit(0.25) != hit(0.25, seed=1)
    assert hit(0.05) < hit(0.25)


def test_all_data_faults_together_end_in_the_final_rows() -> None:
    """Late, revised and delayed datasets all have their final rows in the end."""
    wechat, _ = wechat_on(
        Late(share=0.3, days=2), Revised(), Delayed(days=2), Late(share=0.2, minutes=900)
    )
    for name, dataset in CATALOGUE.items():
        for who in (BUSY, QUIET):
            told = rows_answered(wechat, name, who, DAY, last_day(dataset) + 31)
            assert told == expected_rows(name, who, DAY)


async def test_call_faults_get_the_rows_that_data_faults_leave() -> None:
    """`Fault.alter` gets the rows as they are at the moment of the call."""
    seen: list[list[Row]] = []

    def look(rows: list[Row]) -> list[Row]:
        seen.append(rows)
        return rows

    wechat, _ = wechat_on(Outage(begin=DAY, end=DAY))
    wechat.fail(ANYONE, Fault(alter=look))
    await ask(wechat, "user_cumulate", DAY, DAY + 1)
    assert seen == [expected_rows("user_cumulate", BUSY, DAY + 1)]
