"""Quota ledgers that two runs write: no call that was entered is lost or counted twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvester.core.calendar import parse_day
from harvester.core.config.settings import Output
from harvester.core.errors import LostRace
from harvester.core.model import Refusal
from harvester.planning.quota import DayLedger, Moment
from harvester.storage.backends.base import Version
from harvester.storage.layout import QUOTA, Tree, open_tree
from harvester.storage.state import quota_ledger
from harvester.storage.state.quota_ledger import StoredLedger, read, read_stored, write_over
from tests.support.store_backends import conditions_sent

DAY = parse_day("2026-05-20")
DATASET = "interface_summary"
ONE, TWO = "wx0000000000000001", "wx0000000000000002"


@pytest.fixture
def tree(s3_output: Output) -> Tree:
    """An output in an object store."""
    return open_tree(s3_output)


def opened(tree: Tree, run: str) -> tuple[DayLedger, StoredLedger]:
    """Return the ledger of the day as a run begins to use it."""
    ledger, base = read_stored(tree, DAY, 0)
    ledger.reopen(run, Moment(100.0, run, 1.0), 1.0)
    return ledger, base


def calls_of(tree: Tree) -> dict[str, int]:
    """Return the stored calls by account."""
    ledger = read(tree, DAY, 0)
    assert ledger is not None
    return ledger.calls[DATASET]


def test_a_ledger_is_put_under_its_version(tree: Tree, s3_output: Output) -> None:
    """Only where there is none, and then over the very version that was put before."""
    ledger, base = opened(tree, "ours")
    for _ in range(3):
        ledger.add(DATASET, ONE, 10)
        base = write_over(tree, ledger, 0, base)
    assert calls_of(tree) == {ONE: 30}
    [sent] = [each for name, each in conditions_sent(s3_output).items() if name.startswith(QUOTA)]
    assert [[*each] for each in sent] == [
        ["HTTP_IF_NONE_MATCH"],
        ["HTTP_IF_MATCH"],
        ["HTTP_IF_MATCH"],
    ]


def test_calls_of_two_runs_are_added(tree: Tree) -> None:
    """The run that loses the race reads the ledger of the other one, and adds its own calls."""
    ours, our_base = opened(tree, "ours")
    ours.add(DATASET, ONE, 5)
    our_base = write_over(tree, ours, 0, our_base)
    theirs, their_base = opened(tree, "theirs")
    theirs.add(DATASET, ONE, 10)
    theirs.add(DATASET, TWO, 1)
    theirs.exhaust(DATASET, TWO, Refusal(45009, "spent", ""))
    their_base = write_over(tree, theirs, 0, their_base)
    ours.add(DATASET, ONE, 100)
    ours.in_use = False
    our_base = write_over(tree, ours, 0, our_base)
    assert calls_of(tree) == {ONE: 115, TWO: 1}
    stored = read(tree, DAY, 0)
    assert stored is not None
    assert stored.in_use, "the other run is at work"
    assert stored.exhausted_by(DATASET, TWO) is not None
    theirs.add(DATASET, ONE, -3)
    write_over(tree, theirs, 0, their_base)
    ours.add(DATASET, ONE, 1)
    write_over(tree, ours, 0, our_base)
    assert calls_of(tree) == {ONE: 113, TWO: 1}


def test_a_put_whose_answer_was_lost_counts_once(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks like a lost race, and the ledger that is read again is this very one."""
    put = tree.store.write_over

    def forgotten(name: str, data: bytes, temp: Path, over: Version | None) -> Version:
        monkeypatch.undo()
        put(name, data, temp, over)
        raise LostRace("it was us", "")

    ledger, base = opened(tree, "ours")
    ledger.add(DATASET, ONE, 10)
    monkeypatch.setattr(tree.store, "write_over", forgotten)
    base = write_over(tree, ledger, 0, base)
    assert calls_of(tree) == {ONE: 10}
    ledger.add(DATASET, ONE, 10)
    write_over(tree, ledger, 0, base)
    assert calls_of(tree) == {ONE: 20}


def test_lost_races_are_limited(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store in which every race is lost is an error, and no endless loop."""

    def always(name: str, *_: object) -> Version:
        raise LostRace(name, "run again")

    ledger, base = opened(tree, "ours")
    monkeypatch.setattr(tree.store, "write_over", always)
    with pytest.raises(LostRace, match="again and again"):
        write_over(tree, ledger, 0, base)
    assert quota_ledger.MAX_RACES < 100


def test_calls_of_a_check_count_once(tree: Tree) -> None:
    """A check that ran meanwhile is in both ledgers, and in their sum once."""
    ours, our_base = opened(tree, "ours")
    our_base = write_over(tree, ours, 0, our_base)
    check = DayLedger(DAY, run="check")
    check.add(DATASET, TWO, 4)
    quota_ledger.leave(tree, {0: check})
    theirs, their_base = opened(tree, "theirs")
    assert theirs.spent(DATASET, TWO) == 4
    write_over(tree, theirs, 0, their_base)
    ours.add(DATASET, ONE, 2)
    write_over(tree, ours, 0, our_base)
    assert calls_of(tree) == {ONE: 2, TWO: 4}
