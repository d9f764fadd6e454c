"""`verify` names accounts whose published rows are equal, as after one token for both."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import Day
from harvester.sandbox.data import Row, expected_rows
from harvester.verbs import verify
from tests.support.run_harness import BOTH, DAILY, HOURLY, RunHarness, appid

ONE, TWO, THREE = map(appid, (1, 2, 3))


def of_the_first(dataset: str, account: str, day: Day) -> list[Row]:
    """Return the rows of the first account for the second one too."""
    return expected_rows(dataset, ONE if account == TWO else account, day)


@pytest.mark.parametrize("buckets", [1, 4])
def test_accounts_with_equal_rows_are_named(tmp_path: Path, buckets: int) -> None:
    """In files of the same bucket and of different ones; nothing is damaged."""
    lab = RunHarness(tmp_path, source=of_the_first, buckets=buckets)
    lab.run()
    found = verify.check_tree(lab.tree, CATALOGUE, {}, {})
    assert found.undamaged
    assert {(each.dataset, each.appids) for each in found.equal} == {
        (dataset, (ONE, TWO)) for dataset in BOTH
    }
    assert not verify.check_tree(lab.tree, CATALOGUE, {}, {}, footers_only=True).equal


def test_months_add_up_to_thirty_days(tmp_path: Path) -> None:
    """Two weeks are not enough, and those of two months are."""
    lab = RunHarness(tmp_path, source=of_the_first, datasets=(HOURLY,), begin="2026-03-16")
    lab.run()
    assert not verify.check_tree(lab.tree, CATALOGUE, {}, {}).equal
    lab.end = "2026-04-16"
    lab.run()
    [equal] = verify.check_tree(lab.tree, CATALOGUE, {}, {}).equal
    assert equal.days >= 30


def test_accounts_at_rest_are_not_named(tmp_path: Path) -> None:
    """Rows that are the same on all days are equal by themselves."""

    def at_rest(dataset: str, account: str, day: Day) -> list[Row]:
        [row] = expected_rows("user_cumulate", account, day)
        return [{**row, "cumulate_user": 7}]

    lab = RunHarness(tmp_path, source=at_rest, datasets=("user_cumulate",))
    lab.run()
    found = verify.check_tree(lab.tree, CATALOGUE, {}, {})
    assert found.rows == 3 * 31
    assert not found.equal


def test_one_value_makes_the_difference(tmp_path: Path) -> None:
    """A single counter of one day."""

    def nearly(dataset: str, account: str, day: Day) -> list[Row]:
        rows = expected_rows(dataset, ONE, day)
        if account == TWO and day % 31 == 3:
            return [{**row, "fail_count": row["fail_count"] + 1} for row in rows]
        return rows

    lab = RunHarness(tmp_path, source=nearly, datasets=(DAILY,))
    lab.run()
    [equal] = verify.check_tree(lab.tree, CATALOGUE, {}, {}).equal
    assert equal.appids == (ONE, THREE)
