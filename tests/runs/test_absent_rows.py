"""Accounts that fall silent, and an output without a row: both are judged by the files."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from harvester.core.calendar import day_text, parse_day
from harvester.core.exit_codes import Exit
from harvester.runs.record.absent_rows import AbsentRows
from harvester.runs.record.record import Record
from harvester.verbs import status
from tests.support.faulty_wechat import Outage
from tests.support.run_harness import RunHarness, appid

FOLLOWERS = "user_cumulate"
SILENT = parse_day("2026-05-18")
"""The first day without a row."""


@pytest.fixture
def lab(tmp_path: Path) -> RunHarness:
    """Prepare four accounts with a month of followers."""
    return RunHarness(tmp_path, accounts=4, begin="2026-04-20", end=None, datasets=(FOLLOWERS,))


def run_on(lab: RunHarness, day: int) -> Record:
    """Execute a run at noon of a Beijing day."""
    lab.today = day_text(day)
    return lab.run()


def silence(lab: RunHarness, *numbers: int) -> None:
    """Let accounts have no followers from a day on."""
    for number in numbers:
        lab.sandbox.add_data_fault(Outage(appid=appid(number), begin=SILENT))


def keys(lab: RunHarness) -> list[str]:
    """Return the keys of what needs a person by the files."""
    found = status.survey(lab.manifest(), lab.tree, lab.now()).attention
    return [item.key for item in found]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((1,), [f"account_silent/{appid(1)}"]),
        ((1, 2), [f"account_silent/{appid(number)}" for number in (1, 2)]),
        ((1, 2, 3), [f"account_silent/{FOLLOWERS}"]),
    ],
)
def test_followers_that_end_need_a_person_on_the_third_day(
    lab: RunHarness, numbers: tuple[int, ...], expected: list[str]
) -> None:
    """An account has a row for each day: one item for each, or one if most accounts are silent."""
    silence(lab, *numbers)
    for age in range(1, 5):
        done = run_on(lab, SILENT + age)
        names = {each.appid for item in done.attention for each in item.accounts}
        told = expected if age >= 3 else []
        assert [item.key for item in done.attention] == keys(lab) == told
        assert all(item.new is (age == 3) for item in done.attention)
        # What is missing was answered: only a person can say what it means.
        assert done.exit_code is Exit.DONE
        assert names == ({*map(appid, numbers)} if told else set())


def test_a_row_ends_the_silence(lab: RunHarness) -> None:
    """As soon as a newer day has one."""
    silence(lab, 1)
    for age in range(1, 4):
        run_on(lab, SILENT + age)
    assert keys(lab)
    lab.sandbox.remove_data_fault(Outage(appid=appid(1), begin=SILENT))
    assert run_on(lab, SILENT + 4).attention == ()
    assert keys(lab) == []


def test_an_account_that_never_had_followers_is_not_silent(lab: RunHarness) -> None:
    """Nor is one whose range has ended: it is asked no more."""
    lab.sandbox.add_data_fault(Outage(appid=appid(1)))
    silence(lab, 2)
    assert run_on(lab, SILENT + 2).attention == ()
    lab.end = day_text(SILENT + 2)
    done = run_on(lab, SILENT + 3)
    assert [item.key for item in done.attention] == [f"account_silent/{appid(2)}"]
    assert run_on(lab, SILENT + 7).attention == ()


def test_a_dataset_that_is_empty_everywhere_is_told_once(lab: RunHarness) -> None:
    """Of five accounts and more: the days say more than the accounts."""
    lab.accounts = 6
    silence(lab, *range(1, 7))
    for age in range(1, 4):
        run_on(lab, SILENT + age)
    assert keys(lab) == [f"empty_everywhere/{FOLLOWERS}"]


def test_a_guide_that_counts_what_its_table_lacks_needs_a_person(tmp_path: Path) -> None:
    """Of two answers, once for all days of an account, until the table has them."""
    hours = "interface_summary_hour"
    lab = RunHarness(
        tmp_path, accounts=2, begin="2026-04-20", end=None, datasets=("interface_summary", hours)
    )
    run_on(lab, SILENT)
    lacks = Outage(appid=appid(1), datasets=(hours,), begin=SILENT)
    lab.sandbox.add_data_fault(lacks)
    assert run_on(lab, SILENT + 1).attention == ()
    done = run_on(lab, SILENT + 2)
    assert [item.key for item in done.attention] == [f"contradicted/{appid(1)}/{hours}"]
    assert done.exit_code is Exit.DONE
    done = run_on(lab, SILENT + 3)
    assert [(item.new, len(item.accounts)) for item in done.attention] == [(False, 1)]
    assert keys(lab) == [f"contradicted/{appid(1)}/{hours}"]
    lab.sandbox.remove_data_fault(lacks)
    run_on(lab, SILENT + 8)
    assert keys(lab) == []


def test_a_hint_needs_no_person(tmp_path: Path) -> None:
    """WeChat does not say what its count of readers counts."""
    tables = ("biz_summary", "article_read")
    lab = RunHarness(tmp_path, accounts=1, begin="2026-05-01", end=None, datasets=tables)
    lab.sandbox.add_data_fault(Outage(datasets=("article_read",), begin=SILENT))
    for age in range(4):
        assert run_on(lab, SILENT + age).attention == ()


def test_shards_are_judged_by_their_sum() -> None:
    """One row in any of them is a row of the output; most accounts are most of all."""
    parts = [
        AbsentRows(since=300.0),
        AbsentRows(has_rows=True, followed=3, silent=("a",), denied=(("hours", "a"),)),
        AbsentRows(since=200.0, followed=1, silent=("b",), denied=(("hours", "b"),)),
        AbsentRows(),
    ]
    for first, *others in permutations(parts):
        whole = first
        for other in others:
            whole = whole.joined(other)
        assert not whole.is_rowless
        assert (whole.since, whole.followed, {*whole.silent}) == (200.0, 4, {"a", "b"})
        assert {*whole.denied} == {("hours", "a"), ("hours", "b")}
    assert parts[0].joined(parts[3]).is_rowless
    assert not parts[3].is_rowless


@pytest.mark.parametrize(("first", "second"), [(True, True), (False, True), (False, False)])
def test_processes_of_a_run_are_one_output(*, first: bool, second: bool) -> None:
    """A shard says nothing of the whole, and the merged record does."""
    shards = [
        Record(shard=f"{number}/2", absent=AbsentRows(has_rows=rows, since=1.0))
        for number, rows in ((1, first), (2, second))
    ]
    assert not any(each.is_rowless for each in shards)
    assert Record.of_shards(shards, Record()).is_rowless is not (first or second)
    selected = Record(selection={"accounts": [appid(1)]}, absent=AbsentRows(since=1.0))
    assert not selected.is_rowless
