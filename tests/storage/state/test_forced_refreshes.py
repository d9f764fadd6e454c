"""Forced token refreshes, counted over all runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvester.core.calendar import instant, parse_day
from harvester.storage.backends.local import LocalStore
from harvester.storage.layout import FORCED_REFRESHES, Tree
from harvester.storage.state import forced_refreshes
from tests.support.run_harness import appid

NOON = instant(parse_day("2026-05-20"), 12 * 60)
MIDNIGHT = instant(parse_day("2026-05-21"), 0)
ONE, TWO = appid(1), appid(2)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A new output."""
    return Tree(LocalStore(tmp_path), 4)


def test_twenty_a_day(tree: Tree) -> None:
    """The twenty-first waits for midnight in Beijing, also if other runs spent the others."""
    for count in range(20):
        assert forced_refreshes.spend(tree, ONE, NOON + 31 * count)
    assert not forced_refreshes.spend(tree, ONE, MIDNIGHT - 1)
    assert forced_refreshes.spend(tree, TWO, MIDNIGHT - 1)
    assert forced_refreshes.spend(tree, ONE, MIDNIGHT)


def test_thirty_seconds_apart(tree: Tree) -> None:
    """Also over midnight."""
    assert forced_refreshes.spend(tree, ONE, MIDNIGHT - 10)
    assert not forced_refreshes.spend(tree, ONE, MIDNIGHT + 19.9)
    assert forced_refreshes.spend(tree, ONE, MIDNIGHT + 20)


def test_a_last_refresh_in_the_future_delays_the_next_one(tree: Tree) -> None:
    """A note from the future says wait: the other machine's clock may be the right one."""
    assert forced_refreshes.spend(tree, ONE, MIDNIGHT)
    assert not forced_refreshes.spend(tree, ONE, NOON)


@pytest.mark.parametrize("text", ["", "{}", "[]", "{", '{"day": 1, "count": "x", "last": 0}'])
def test_a_note_that_cannot_be_read_counts_as_spent(tree: Tree, text: str) -> None:
    """Until the next day."""
    tree.store.put(f"{FORCED_REFRESHES}/{ONE}.json", text.encode())
    assert not forced_refreshes.spend(tree, ONE, NOON)


def test_a_spoilt_note_is_left_alone(tree: Tree) -> None:
    """It stays until it is removed; then the count starts again."""
    assert forced_refreshes.spend(tree, ONE, NOON)
    tree.store.delete(f"{FORCED_REFRESHES}/{ONE}.json")
    assert forced_refreshes.spend(tree, ONE, NOON)
