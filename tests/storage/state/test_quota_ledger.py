"""Quota ledgers that two runs write: no call that was entered is lost or counted twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import GenericError

from harvester.core.calendar import parse_day
from harvester.core.config.settings import Output, Pace
from harvester.core.errors import LostRace
from harvester.core.model import LearntRefusal, Refusal, ReportedQuota
from harvester.planning.ledger import Ledger, Moment
from harvester.storage.backends.base import MAX_RACES, Version
from harvester.storage.layout import QUOTA, Tree, open_tree
from harvester.storage.state import quota_ledger
from harvester.storage.state.quota_ledger import LedgerFile, read
from tests.support.output_helpers import tree_at
from tests.support.store_backends import conditions_sent

DAY = parse_day("2026-05-20")
DATASET = "interface_summary"
ONE, TWO = "wx0000000000000001", "wx0000000000000002"


@pytest.fixture
def tree(s3_output: Output) -> Tree:
    """An output in an object store."""
    return open_tree(s3_output)


def opened(tree: Tree, run: str) -> tuple[Ledger, LedgerFile]:
    """Return the ledger of the day as a run begins to use it."""
    file = LedgerFile(tree, 0)
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
def test_calls_of_two_runs_are_added(tree: Tree, tmp_path: Path, *, is_local: bool) -> None:
    """The run that loses the race reads the ledger of the other one, and adds its own calls."""
    tree = tree_at(tmp_path) if is_local else tree
    ours, our_file = opened(tree, "ours")
    ours.add(DATASET, ONE, 5)
    our_file.write(ours)
    theirs, their_file = opened(tree, "theirs")
    theirs.add(DATASET, ONE, 10)
    theirs.add(DATASET, TWO, 1)
    their_file.write(theirs)
    ours.add(DATASET, ONE, 100)
    our_file.write(ours)
    assert calls_of(tree) == {ONE: 115, TWO: 1}
    theirs.add(DATASET, ONE, -3)
    their_file.write(theirs)
    ours.add(DATASET, ONE, 1)
    our_file.write(ours)
    assert calls_of(tree) == {ONE: 113, TWO: 1}


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


def test_lost_races_are_limited(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store in which every race is lost is an error, and no endless loop."""

    def always(name: str, *_: object) -> Version:
        raise LostRace(name, "run again")

    ledger, file = opened(tree, "ours")
    monkeypatch.setattr(tree.store, "put", always)
    with pytest.raises(LostRace, match="quota/"):
        file.write(ledger)
    assert MAX_RACES < 100


@pytest.mark.parametrize("is_local", [False, True])
def test_a_check_beside_a_run_counts_once(tree: Tree, tmp_path: Path, *, is_local: bool) -> None:
    """The run at work takes over the calls, and leaves what was told to the next one."""
    tree = tree_at(tmp_path) if is_local else tree
    ours, file = opened(tree, "ours")
    file.write(ours)
    check = Ledger(DAY, written=Moment(101.0, "ours", 2.0), beside=2, idle_from=102.0)
    check.add(DATASET, TWO, 4)
    check.checked = {DATASET: {TWO: ReportedQuota(9, 5, 4, 101.0)}}
    quota_ledger.enter_check(tree, check, 0)
    for _ in range(2):
        ours.add(DATASET, ONE, 1)
        file.write(ours)
    assert calls_of(tree) == {ONE: 2, TWO: 4}
    ours.close(Moment(101.5, "ours", 2.5))
    file.write(ours)
    left = LedgerFile(tree, 0).read()
    assert left is not None
    assert (left.in_use, left.beside, left.idle_from) == (False, 2, 102.0)
    assert left.known == {}
    assert left.open("next", DAY, Moment(101.5, "ours", 2.5), Pace().rate) == (0.5, 2)
    assert left.quota(DATASET, TWO).reported == ReportedQuota(9, 5, 4, 101.0)


@pytest.mark.parametrize("is_local", [False, True])
def test_a_check_beside_a_run_brings_nothing_back(
    tree: Tree, tmp_path: Path, *, is_local: bool
) -> None:
    """The refusals and limits that the run has forgotten stay so: a check leaves them alone."""
    tree = tree_at(tmp_path) if is_local else tree
    refusal = Refusal(48001, "no permission", "")
    before, file = opened(tree, "before")
    before.learn(DATASET, ONE, LearntRefusal(refusal, DAY, DAY))
    before.exhaust(DATASET, ONE, Refusal(45009, "spent", ""))
    before.know(DATASET, ONE, taught=7)
    file.write(before)
    ours, file = opened(tree, "ours")
    check = Ledger(DAY)
    check.add(DATASET, ONE, 1)
    quota_ledger.enter_check(tree, check, 0)
    ours.learn(DATASET, ONE, None)
    ours.today.exhausted.clear()
    ours.know(DATASET, ONE, taught=0)
    ours.close(Moment(101.0, "ours", 2.0))
    file.write(ours)
    stored = read(tree, DAY, 0)
    assert stored is not None
    assert (stored.deferred[DATASET], stored.today.exhausted) == ({}, {})
    assert (stored.quota(DATASET, ONE).taught, stored.in_use) == (0, False)
    assert calls_of(tree) == {ONE: 1}


def test_checks_at_once_on_a_disk_lose_no_call(tmp_path: Path) -> None:
    """Each reads, adds and writes under the version it has read, in threads as in processes."""
    tree = tree_at(tmp_path)
    check = Ledger(DAY)
    check.add(DATASET, ONE, 1)
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(quota_ledger.enter_check, tree, check, 0) for _ in range(40)]:
            done.result()
    assert calls_of(tree) == {ONE: 40}
