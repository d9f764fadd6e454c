"""A store that fails at any call: the run ends with a sentence, and the next one is exact."""

from __future__ import annotations

from contextlib import suppress
from itertools import product
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


@pytest.mark.parametrize(
    ("forever", "late", "first", "step"),
    [
        # Together they fail at every fifteenth call, and by night each of them at every call.
        pytest.param(False, False, 1, 60, id="once, before"),
        pytest.param(False, True, 16, 60, marks=pytest.mark.long, id="once, after"),
        pytest.param(True, False, 31, 60, marks=pytest.mark.long, id="for ever, before"),
        pytest.param(True, True, 46, 60, marks=pytest.mark.long, id="for ever, after"),
        *(
            pytest.param(*kind, 1, 1, marks=pytest.mark.slow, id=f"{kind} at every call")
            for kind in product((False, True), repeat=2)
        ),
    ],
)
def test_a_store_that_fails_at_any_call(
    tmp_path: Path,
    outputs: Outputs,
    duck: duckdb.DuckDBPyConnection,
    *,
    forever: bool,
    late: bool,
    first: int,
    step: int,
) -> None:
    """Once or from then on, before its work was done or after: no row is lost or doubled."""
    at, failed = first, True
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
    assert at > 40
