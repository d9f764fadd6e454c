"""What is answered depends on when it is asked: over real HTTP, and by `rows_told`."""

from __future__ import annotations

from typing import Any

import pytest

from harvester.catalogue import CATALOGUE, RETIRED
from harvester.core.calendar import Day, day_text, instant, month_end, month_of
from harvester.core.dataset import Dataset, Grain
from harvester.sandbox import (
    ANYONE,
    DataFault,
    Delayed,
    FakeWeChat,
    Fault,
    Late,
    Outage,
    Revised,
    Row,
    expected_rows,
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
MARKED = [name for name, dataset in CATALOGUE.items() if dataset.delays]

each_dataset = pytest.mark.parametrize("dataset", CATALOGUE.values(), ids=CATALOGUE)


def late_world(
    *troubles: DataFault, on: Day = LONG_AFTER, **rules: Any
) -> tuple[FakeWeChat, Clock]:
    """A world at noon of a day, with these troubles."""
    return fake_wechat_at(instant(on, 720), data_faults=troubles, **rules)


async def ask(
    world: FakeWeChat, name: str, begin: Day, end: Day | None = None, *, who: str = BUSY
) -> Response:
    """One data call for these days, or only one day."""
    last = day_text(begin if end is None else end)
    async with client_for(world) as client:
        token = world.token_of(who)
        return await client.ask(token, day_text(begin), last, path=CATALOGUE[name].path)


def last_day(dataset: Dataset) -> Day:
    """The last day of the period that begins on DAY."""
    if dataset.grain is Grain.WEEK:
        return DAY + 6
    return month_end(month_of(DAY)) if dataset.grain is Grain.MONTH else DAY


@each_dataset
async def test_long_after_answers_are_the_truth(dataset: Dataset) -> None:
    """A window as long as the span answers all rows of its days, whole and in their order."""
    world, _ = late_world()
    end = DAY + dataset.span - 1
    rows = [row for day in range(DAY, end + 1) for row in expected_rows(dataset.name, BUSY, day)]
    answer = {"list": rows, "is_delay": False} if dataset.delays else {"list": rows}
    assert rows
    for _ in range(2):
        assert (await ask(world, dataset.name, DAY, end)).json == answer


@each_dataset
async def test_a_period_is_there_when_it_is_over(dataset: Dataset) -> None:
    """Until the period's last day is over and its ready hour has come the answer has no row."""
    last = last_day(dataset)
    world, clock = late_world()
    for now, there in ((instant(last + 1, 479), False), (instant(last + 1, 480), True)):
        clock.now = now
        assert bool((await ask(world, dataset.name, DAY)).json["list"]) is there


@pytest.mark.parametrize("name", ["upstream_msg_dist_week", "upstream_msg_dist_month"])
async def test_a_window_must_hold_the_first_day(name: str) -> None:
    """A window gets the rows of the weeks and months that begin in it, however it goes on."""
    world, _ = late_world()
    got = await ask(world, name, DAY - 3, DAY + 3)
    assert got.json["list"] == expected_rows(name, BUSY, DAY)
    assert (await ask(world, name, DAY + 1, DAY + 6)).json["list"] == []


async def test_a_strict_world_refuses_unfinished_periods() -> None:
    """Where days that are not ready are an error, so is a month that is not over."""
    world, _ = late_world(on=DAY + 20, unready=True)
    assert (await ask(world, "upstream_msg_month", DAY)).errcode == 61503
    assert (await ask(world, "upstream_msg_week", DAY + 7)).errcode == 0
    assert (await ask(world, "upstream_msg_week", DAY + 14)).errcode == 61503


def test_articles_grow_by_a_day_every_day() -> None:
    """An article has an entry for each day that is over, until all of them are the truth."""
    world, _ = late_world()
    name = "article_total_detail"
    (whole,) = expected_rows(name, BUSY, DAY)
    for age in range(1, 32):
        (row,) = rows_answered(world, name, BUSY, DAY, DAY + age)
        assert row == {**whole, "detail_list": whole["detail_list"][:age]}
    assert rows_answered(world, name, BUSY, DAY, DAY + 30) == [whole]


async def test_growing_answers_are_not_kept() -> None:
    """Who asks again on the next day gets the next entry."""
    world, clock = late_world(on=DAY + 29)
    lengths = []
    for _ in range(4):
        (row,) = (await ask(world, "article_total_detail", DAY)).json["list"]
        lengths.append(len(row["detail_list"]))
        clock.now += 86_400
    assert lengths == [29, 30, 30, 30]


def test_the_account_summary_is_revised_for_a_week() -> None:
    """biz_summary tells other, smaller figures on each of seven days, then the truth."""
    world, _ = late_world()
    (whole,) = expected_rows("biz_summary", BUSY, DAY)
    told = [rows_answered(world, "biz_summary", BUSY, DAY, DAY + age)[0] for age in range(1, 10)]
    readers = [row["detail"]["read_user"] for row in told]
    assert all(count < whole["detail"]["read_user"] for count in readers[:7])
    assert len(set(readers[:7])) == 7
    assert told[7:] == [whole, whole]
    sources = told[0]["detail"]["read_user_source"]
    assert sources[0] == {"user_count": readers[0], "scene_desc": "全部"}


def test_nothing_else_changes_by_nature() -> None:
    """All other datasets tell the truth from the first day on."""
    world, _ = late_world()
    for name, dataset in CATALOGUE.items():
        if name not in {"biz_summary", "article_total_detail"}:
            asked_on = last_day(dataset) + 1
            assert rows_answered(world, name, BUSY, DAY, asked_on) == expected_rows(name, BUSY, DAY)


def test_the_future_has_no_rows() -> None:
    """A day that is not over has no rows on the day it is asked."""
    world, _ = late_world()
    assert rows_answered(world, "interface_summary", BUSY, DAY, DAY) == []
    assert rows_answered(world, "interface_summary", BUSY, DAY, DAY + 1) != []


@pytest.mark.parametrize("name", MARKED)
async def test_answers_say_whether_they_are_delayed(name: str) -> None:
    """is_delay is true while the newest day is computed, then false; figures are too small."""
    for text in (False, True):
        world, clock = late_world(Delayed(days=2), on=DAY + 2, delay_text=text)
        first = (await ask(world, name, DAY)).json
        clock.now += 86_400
        second = (await ask(world, name, DAY)).json
        assert (first["is_delay"], second["is_delay"]) == (
            ("true", "false") if text else (True, False)
        )
        assert first["list"] != second["list"]
        assert second["list"] == rows_answered(world, name, BUSY, DAY, DAY + 3)


async def test_other_answers_know_no_delay() -> None:
    """Of the other datasets neither the answer nor the figures tell of a delay."""
    world, _ = late_world(Delayed(days=2), on=DAY + 1)
    assert (await ask(world, "user_summary", DAY)).json == {
        "list": expected_rows("user_summary", BUSY, DAY)
    }


async def test_a_delay_lies_on_the_whole_window() -> None:
    """A window is delayed if one of its days is, and no other window."""
    world, _ = late_world(Delayed(days=3), on=DAY + 10)
    assert (await ask(world, "biz_summary", DAY, DAY + 7)).json["is_delay"] is True
    assert (await ask(world, "biz_summary", DAY, DAY + 6)).json["is_delay"] is False


async def test_rewritten_answers_keep_their_delay() -> None:
    """A fault that rewrites rows leaves is_delay where it was."""
    world, _ = late_world()
    world.fail(BUSY, Fault(alter=lambda rows: rows[:0]))
    assert (await ask(world, "article_read", DAY)).json == {"list": [], "is_delay": False}


async def test_late_days_are_left_out() -> None:
    """A late day is missing until its hour days later; the other days of the window are there."""
    world, clock = late_world(Late(begin=DAY, end=DAY, days=2, minutes=840), on=DAY + 2)
    others = [row for n in (-1, 1) for row in expected_rows("interface_summary", BUSY, DAY + n)]
    missing = (await ask(world, "interface_summary", DAY - 1, DAY + 1)).json["list"]
    clock.now = instant(DAY + 3, 839)
    still = (await ask(world, "interface_summary", DAY)).json["list"]
    clock.now += 60
    there = (await ask(world, "interface_summary", DAY)).json["list"]
    assert (missing, still, there) == (others, [], expected_rows("interface_summary", BUSY, DAY))


async def test_late_days_may_be_an_error() -> None:
    """A late day may answer 61503 for the whole window, until it is there."""
    trouble = Late(begin=DAY, end=DAY, days=1, unready=True)
    world, clock = late_world(trouble, on=DAY + 1)
    assert (await ask(world, "interface_summary", DAY - 1, DAY)).errcode == 61503
    assert (await ask(world, "interface_summary", DAY - 1)).errcode == 0
    assert rows_answered(world, "interface_summary", BUSY, DAY, DAY + 1) == []
    clock.now += 86_400
    assert (await ask(world, "interface_summary", DAY - 1, DAY)).errcode == 0


def test_the_latest_of_several_delays_counts() -> None:
    """Where two troubles make a day late, it comes with the later one."""
    world, _ = late_world(Late(days=3), Late(days=1, unready=True), Late(minutes=60))
    there = [
        bool(rows_answered(world, "user_summary", BUSY, DAY, DAY + age)) for age in range(1, 6)
    ]
    assert there == [False, False, False, True, True]


@each_dataset
def test_revised_figures_settle(dataset: Dataset) -> None:
    """Under revision figures are untrue until the catalogue calls them settled, then never."""
    world, _ = late_world(Revised())
    whole = expected_rows(dataset.name, BUSY, DAY)
    for age in range(1, 34):
        told = rows_answered(world, dataset.name, BUSY, DAY, last_day(dataset) + age)
        assert (told == whole) is (age > dataset.settle)


def test_revisions_may_last() -> None:
    """How long figures change may be said, whatever the catalogue says."""
    world, _ = late_world(Revised(days=5, datasets=("interface_summary_hour",)))
    whole = expected_rows("interface_summary_hour", BUSY, DAY)
    told = [
        rows_answered(world, "interface_summary_hour", BUSY, DAY, DAY + age) for age in range(1, 8)
    ]
    assert [rows == whole for rows in told] == [False] * 5 + [True] * 2
    assert {len(rows) for rows in told} == {23, 24}


async def test_an_outage_answers_empty() -> None:
    """During an outage its days have no rows, of the datasets it is of; healed they have all."""
    world, _ = late_world()
    before = (await ask(world, "interface_summary", DAY, DAY + 2)).json["list"]
    outage = Outage(begin=DAY + 1, end=DAY + 1, datasets=("interface_summary",))
    world.add_data_fault(outage)
    during = (await ask(world, "interface_summary", DAY, DAY + 2)).json["list"]
    other = (await ask(world, "user_cumulate", DAY + 1)).json["list"]
    world.remove_data_fault(outage)
    after = (await ask(world, "interface_summary", DAY, DAY + 2)).json["list"]
    assert [len(before), len(during), len(other), len(after)] == [3, 2, 1, 3]
    assert during == [before[0], before[2]]
    with pytest.raises(ValueError, match="not in list"):
        world.remove_data_fault(outage)


async def test_a_fault_may_add_rows_of_other_years() -> None:
    """Rows of one and two years before follow the day's rows, or replace them."""
    own = expected_rows("interface_summary", BUSY, DAY)
    wechat, _ = late_world()
    wechat.fail(BUSY, Fault(alter=with_other_years(2)), times=1)
    wechat.fail(BUSY, Fault(alter=with_other_years(1, alone=True)), times=1)
    with_own = (await ask(wechat, "interface_summary", DAY)).json["list"]
    alone = (await ask(wechat, "interface_summary", DAY)).json["list"]
    assert with_own[:1] == own
    assert [row["ref_date"] for row in with_own] == ["2026-06-01", "2025-05-26", "2024-05-20"]
    assert alone == [{**own[0], "ref_date": "2025-05-26"}]


@pytest.mark.parametrize("api", [retired.api for retired in RETIRED])
async def test_retired_endpoints_are_offline(api: str) -> None:
    """A retired endpoint answers 47009 in WeChat's words, and counts as any other call."""
    world, _ = late_world()
    path, day = f"/datacube/{api}", day_text(DAY)
    async with client_for(world) as client:
        got = await client.ask(world.token_of(BUSY), day, day, path=path)
        assert (got.status, got.errcode) == (200, 47009)
        assert got.json["errmsg"].startswith("this api is offline, please use the new api rid: ")
        assert (await client.ask("wrong", day, day, path=path)).errcode == 40001
        assert (await client.send("GET", path)).errcode == 43002
    assert world.counters.calls[BUSY] == 1
    assert world.counters.paths == {path: 3}
    assert world.counters.errcodes[47009] == 1


async def test_permissions_are_given_by_family() -> None:
    """An account may use the families it was permitted, and answers 48001 for the others."""
    world, _ = late_world()
    world.permit(BUSY, ["user", "article"])
    for name, dataset in CATALOGUE.items():
        permitted = dataset.family in {"user", "article"}
        assert (await ask(world, name, DAY)).errcode == (0 if permitted else 48001)
        assert (await ask(world, name, DAY, who=QUIET)).errcode == 0
    world.permit(BUSY, ["interface"])
    assert (await ask(world, "interface_summary", DAY)).errcode == 0


async def test_spans_may_shrink() -> None:
    """A dataset may answer shorter windows only than the catalogue says."""
    world, _ = late_world(spans={"user_summary": 3})
    assert (await ask(world, "user_summary", DAY, DAY + 3)).errcode == 61501
    assert (await ask(world, "user_summary", DAY, DAY + 2)).errcode == 0
    assert (await ask(world, "user_cumulate", DAY, DAY + 6)).errcode == 0


def test_troubles_hit_whom_they_are_meant_for() -> None:
    """A trouble hits its account, datasets and days, both ends included, and nothing else."""
    world, _ = late_world(Outage(appid=BUSY, datasets=("user_cumulate",), begin=DAY, end=DAY + 1))

    def empty(name: str, who: str) -> list[int]:
        some = range(DAY - 2, DAY + 4)
        return [day - DAY for day in some if not rows_answered(world, name, who, day, LONG_AFTER)]

    assert empty("user_cumulate", BUSY) == [0, 1]
    assert empty("user_cumulate", QUIET) == []
    assert empty("user_summary", BUSY) == []


def test_a_share_of_the_days_is_hit() -> None:
    """So many days are hit, always the same for a seed, and for a smaller share some of them."""

    def hit(share: float, seed: int = 0) -> set[Day]:
        world, _ = late_world(Outage(share=share), seed=seed)
        some = range(DAY - 400, DAY)
        return {
            day for day in some if not rows_answered(world, "user_cumulate", BUSY, day, LONG_AFTER)
        }

    assert 60 < len(hit(0.25)) < 140
    assert hit(0.25) == hit(0.25)
    assert hit(0.25) != hit(0.25, seed=1)
    assert hit(0.05) < hit(0.25)


def test_everything_at_once_ends_in_the_truth() -> None:
    """A source that is late, revising and delayed tells the truth in the end, of all datasets."""
    world, _ = late_world(
        Late(share=0.3, days=2), Revised(), Delayed(days=2), Late(share=0.2, minutes=900)
    )
    for name, dataset in CATALOGUE.items():
        for who in (BUSY, QUIET):
            told = rows_answered(world, name, who, DAY, last_day(dataset) + 31)
            assert told == expected_rows(name, who, DAY)


async def test_faults_and_troubles_go_together() -> None:
    """A fault gets the rows as they are at the moment, to rewrite them."""
    seen: list[list[Row]] = []

    def look(rows: list[Row]) -> list[Row]:
        seen.append(rows)
        return rows

    world, _ = late_world(Outage(begin=DAY, end=DAY))
    world.fail(ANYONE, Fault(alter=look))
    await ask(world, "user_cumulate", DAY, DAY + 1)
    assert seen == [expected_rows("user_cumulate", BUSY, DAY + 1)]
