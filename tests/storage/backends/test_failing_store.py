"""A store that fails at any call: the run ends with a sentence, and the next one is exact."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import duckdb
import pytest

from harvester.core.errors import StoreError
from harvester.core.exit_codes import Exit
from harvester.storage import layout
from harvester.storage.layout import Tree
from tests.support import kill_at
from tests.support.failing_store import FailingStore, failing_store
from tests.support.run_harness import BOTH, days_between, expected, published_rows
from tests.support.store_backends import Outputs, all_names, download


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("forever", [False, True], ids=["once", "for ever"])
def test_a_store_that_fails_at_any_call(
    tmp_path: Path,
    outputs: Outputs,
    duck: duckdb.DuckDBPyConnection,
    *,
    forever: bool,
    late: bool,
    step: int,
) -> None:
    """Once or from then on, before its work was done or after: no row is lost or doubled."""
    at, failed = 1, True
    while failed:
        output = outputs.beside(str(at))
        lab = kill_at.harness_for(tmp_path / str(at), output)
        store = failing_store(lab.tree.store, at, forever=forever, late=late)
        with suppress(StoreError):
            lab.run(Tree(store))
        assert isinstance(store, FailingStore)
        failed = store.calls >= at
        assert lab.run().exit_code is Exit.DONE
        folder = download(lab.tree.store, tmp_path / f"copy-{at}")
        for dataset in BOTH:
            truth = expected(dataset, lab.appids, days_between(lab.begin, "2026-04-02"))
            assert published_rows(duck, folder, dataset) == truth, f"failed at call {at}"
        assert all_names(lab.tree, layout.RAW) == []
        at += step
    assert at > 20
