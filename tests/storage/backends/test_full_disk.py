"""A disk that is full, at any moment: a sentence and exit 1, and the next run ends exact."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import duckdb
import pytest

from harvester.core.errors import StoreError
from harvester.core.exit_codes import Exit
from harvester.storage.backends import atomic_files
from tests.support.nights import by_night
from tests.support.run_harness import (
    BOTH,
    RunHarness,
    days_between,
    expected,
    files_of,
    published_rows,
)


def fill_up(patch: pytest.MonkeyPatch, after: int) -> None:
    """Let every flush but the first few find the disk full."""
    left = after
    sync = atomic_files.sync

    def full(path: Path) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(path)

    patch.setattr(atomic_files, "sync", full)


def lab_of(root: Path) -> RunHarness:
    """A few files over two months."""
    return RunHarness(root, accounts=2, begin="2026-03-30", end="2026-04-02")


def failure_of(lab: RunHarness) -> StoreError | None:
    """The error that a run ends with, if any."""
    try:
        lab.run()
    except StoreError as error:
        return error
    return None


@pytest.mark.parametrize("step", [4, *by_night([1])])
def test_a_disk_that_is_full_at_any_flush_ends_the_run_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, duck: duckdb.DuckDBPyConnection, step: int
) -> None:
    """Path, free bytes and advice, never a group of exceptions; the next run mends it all."""
    count = 0
    while True:
        lab = lab_of(tmp_path / str(count))
        with monkeypatch.context() as patch:
            fill_up(patch, count)
            error = failure_of(lab)
        if error is None:
            break
        assert str(lab.root) in error.problem
        assert "No space left" in error.problem
        assert "bytes free: make room" in error.advice
        for path in files_of(lab.root):
            assert duck.sql(f"select count(*) from '{path}'").fetchall()
        assert lab.run().exit_code is Exit.DONE
        for dataset in BOTH:
            truth = expected(dataset, lab.appids, days_between(lab.begin, "2026-04-02"))
            assert published_rows(duck, lab.root, dataset) == truth
        count += step
    assert count > 5
