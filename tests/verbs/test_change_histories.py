"""The change feed against random histories: what a follower rebuilt equals the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvester.storage.backends import atomic_files
from tests.support.feed_histories import History, content

EVERY_PUSH = 8
NIGHTLY = 1_000


def play(root: Path, seed: int) -> History:
    """Play a history to its end, and compare the followers with the files."""
    history = History(root, seed, racy=seed % 2 == 1)
    history.play(60)
    history.end()
    files = content(history.tree)
    for follower in history.followers:
        assert follower.content() == files, f"seed {seed}: {history.log}"
    return history


@pytest.fixture(autouse=True)
def _no_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed processes lose nothing of what was written, so flushing would only take time."""
    monkeypatch.setattr(atomic_files, "sync", lambda _: None)


@pytest.mark.parametrize("seed", range(EVERY_PUSH))
def test_a_follower_ends_with_exactly_the_files(tmp_path: Path, seed: int) -> None:
    """Whatever ran, overlapped, died, was repaired, forgotten or rewritten in between."""
    play(tmp_path, seed)


@pytest.mark.slow
def test_a_thousand_histories(tmp_path: Path) -> None:
    """The same, and the cursors stay valid in most of them."""
    resets = 0
    for seed in range(EVERY_PUSH, EVERY_PUSH + NIGHTLY):
        history = play(tmp_path / str(seed), seed)
        resets += sum(follower.resets > 0 for follower in history.followers)
    assert resets < NIGHTLY
