"""Quota ledgers: each is put over the version that was read or written last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import GenericError

from harvester.core.calendar import parse_day
from harvester.core.config.settings import Output, Pace
from harvester.core.errors import LostRace
from harvester.planning.ledger import Ledger, Moment
from harvester.storage.layout import QUOTA, Tree, open_tree
from harvester.storage.state.json_file import SideFile
from harvester.storage.state.quota_ledger import ledger_file, read
from tests.support.output_helpers import tree_at
from tests.support.store_backends import conditions_sent

DAY = parse_day("2026-05-20")
DATASET = "interface_summary"
ONE, TWO = "wx0000000000000001", "wx0000000000000002"


@pytest.fixture
def tree(s3_output: Output) -> Tree:
    """An output in an object store."""
    return open_tree(s3_output)


def opened(tree: Tree, run: str) -> tuple[Ledger, SideFile[Ledger]]:
    """Return the ledger of the day as a run begins to use it."""
    file = ledger_file(tree, 0)
    ledger = file.read() or Ledger()
    ledger.open(run, DAY, Moment(100.0, run, 1.0), Pace().rate)
    return ledger, file


def calls_of(tree: Tree) -> dict[str, int]:
    """Return the stored calls by account."""
    ledger = read(tree, DAY, 0)
    assert ledger is not None
    return ledger.today.calls[DATASET]


def test_a_ledger_is_put_under_its_version(tree: Tree, s3_output: Output) -> None:
    """Only where there is none, and then over the very version that was put before."""
    ledger, file = opened(tree, "ours")
    for _ in range(3):
        ledger.add(DATASET, ONE, 10)
        file.write(ledger)
    assert calls_of(tree) == {ONE: 30}
    [sent] = [each for name, each in conditions_sent(s3_output).items() if name.startswith(QUOTA)]
    assert [[*each] for each in sent] == [
        ["HTTP_IF_NONE_MATCH"],
        ["HTTP_IF_MATCH"],
        ["HTTP_IF_MATCH"],
    ]


@pytest.mark.parametrize("is_local", [False, True])
def test_a_ledger_of_another_run_is_not_replaced(
    tree: Tree, tmp_path: Path, *, is_local: bool
) -> None:
    """A run that has lost its lease unnoticed ends, and the run that took over goes on."""
    tree = tree_at(tmp_path) if is_local else tree
    ours, our_file = opened(tree, "ours")
    our_file.write(ours)
    theirs, their_file = opened(tree, "theirs")
    theirs.add(DATASET, ONE, 10)
    their_file.write(theirs)
    ours.add(DATASET, ONE, 100)
    with pytest.raises(LostRace, match="quota/"):
        our_file.write(ours)
    assert calls_of(tree) == {ONE: 10}
    theirs.add(DATASET, TWO, 1)
    their_file.write(theirs)
    assert calls_of(tree) == {ONE: 10, TWO: 1}


def test_a_put_whose_answer_was_lost_counts_once(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked again it looks like a lost race, and what is there is this very ledger."""
    put = obstore.put

    def forgotten(*args: Any, **options: Any) -> None:
        monkeypatch.undo()
        put(*args, **options)
        raise GenericError("the connection was reset")

    ledger, file = opened(tree, "ours")
    ledger.add(DATASET, ONE, 10)
    monkeypatch.setattr(obstore, "put", forgotten)
    file.write(ledger)
    assert calls_of(tree) == {ONE: 10}
    ledger.add(DATASET, ONE, 10)
    file.write(ledger)
    assert calls_of(tree) == {ONE: 20}
