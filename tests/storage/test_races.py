"""Two runs that publish into the same file of an object store, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import month_of, one_day
from harvester.core.config.settings import Output
from harvester.core.errors import LostRace
from harvester.core.model import Partition, Window
from harvester.storage import layout, raw_log
from harvester.storage.backends.base import MAX_RACES, Source, Store, Version
from harvester.storage.layout import Tree, open_tree
from harvester.storage.publication import Published
from harvester.storage.publish import publish, recover
from harvester.storage.raw_log import Group, write_group
from tests.support.answers import DAILY, LONG_AFTER, MARCH, answer, appid, row
from tests.support.output_helpers import ANY_TIME, footer_of, rows_of
from tests.support.store_backends import all_names

HERE = Partition(DAILY.name, month_of(MARCH), 0)


@dataclass
class Meanwhile:
    """A store before whose next call of one kind something else happens."""

    store: Store
    call: str
    happens: Callable[[], object]

    def __getattr__(self, name: str) -> Any:
        """Do the call on the store, after the race."""
        does = getattr(self.store, name)
        if name != self.call:
            return does

        def call(*args: Any, **options: Any) -> Any:
            self.call = ""
            self.happens()
            return does(*args, **options)

        return call


def meanwhile(tree: Tree, call: str, happens: Callable[[], object]) -> Tree:
    """The tree, with something that happens once before a call."""
    return Tree(cast("Store", Meanwhile(tree.store, call, happens)), tree.buckets)


@pytest.fixture
def ours(s3_output: Output) -> Tree:
    """The output as one run has it open."""
    return open_tree(s3_output)


@pytest.fixture
def theirs(s3_output: Output) -> Tree:
    """The same output, opened by another run."""
    return open_tree(s3_output)


def group(tree: Tree, account: int, number: int = 1, *, refetch: int = 0) -> Group:
    """A group with the first day of an account."""
    window = Window(appid(account), DAILY.name, MARCH, MARCH)
    rows = [row(MARCH, number=number)]
    return write_group(tree, 0, "run", [answer(window, rows, LONG_AFTER + number, refetch=refetch)])


def put(tree: Tree, *groups: Group) -> Published:
    """Publish the month."""
    return publish(tree, DAILY, HERE, groups, ANY_TIME)


def counts(tree: Tree) -> list[tuple[str, int]]:
    """Return the content of the file."""
    table = rows_of(tree, HERE)
    columns = (table[name].to_pylist() for name in ("appid", "callback_count"))
    return list(zip(*columns, strict=True))


@pytest.mark.parametrize("call", ["list", "put"])
@pytest.mark.parametrize("old", [False, True], ids=["new file", "old file"])
def test_both_sides_of_a_race_are_in_the_file(
    ours: Tree, theirs: Tree, call: str, *, old: bool
) -> None:
    """The loser reads and merges again, and reports the file that it merged into."""
    before = 0
    if old:
        put(ours, group(ours, 9))
        before = 1
    race = meanwhile(ours, call, lambda: put(theirs, group(theirs, 2)))
    done = put(race, group(ours, 1))
    assert [name for name, _ in counts(ours)] == [appid(n) for n in (1, 2, *[9] * before)]
    assert (done.rows_before, done.rows_after) == (before + 1, before + 2)
    assert done.appids == {appid(1)}


def test_a_put_whose_answer_was_lost(ours: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks like a lost race; reading again finds our own group in the file."""
    commit = ours.store.put

    def forgotten(name: str, source: Source, over: Version | None) -> None:
        commit(name, source, over)
        raise LostRace("it was us", "")

    mine = group(ours, 1)
    monkeypatch.setattr(ours.store, "put", forgotten)
    done = put(ours, mine)
    assert counts(ours) == [(appid(1), 1)]
    assert (done.days, done.appids) == (one_day(MARCH), {appid(1)})


def test_a_group_that_another_run_recovered(ours: Tree, theirs: Tree) -> None:
    """Another run published it and removed it: there is nothing left to do, and no row twice."""
    mine = group(ours, 1)
    found: list[Published] = []
    recover(theirs, CATALOGUE, [0], found.append, now=lambda: math.inf)
    assert len(found) == 1
    assert all_names(ours, layout.RAW) == []
    done = put(ours, mine)
    assert counts(ours) == [(appid(1), 1)]
    assert done.damaged == []


@pytest.mark.parametrize("call", ["local_copy", "list", "put"])
def test_an_old_refetch_that_comes_late(ours: Tree, theirs: Tree, call: str) -> None:
    """A group that was published, removed and forgotten by others cannot undo what came after it.

    It is still in our hands while others publish it, remove it, and then publish a newer answer
    into a file that need not remember it any more.
    """
    old = group(ours, 1, 1, refetch=-1)

    def others() -> None:
        recover(theirs, CATALOGUE, [0], print, now=lambda: math.inf)
        put(theirs, group(theirs, 1, 2, refetch=-1))

    put(meanwhile(ours, call, others), old)
    assert counts(ours) == [(appid(1), 2)]
    footer = footer_of(ours, HERE)
    assert footer is not None
    assert old.id not in footer.groups


def test_unpublished_groups_that_another_run_removes(ours: Tree, theirs: Tree) -> None:
    """Two runs recover the same groups at once: both come through, and every row is there once."""
    for account in range(1, 6):
        group(ours, account)
    race = meanwhile(
        ours, "copies", lambda: recover(theirs, CATALOGUE, [0], print, now=lambda: math.inf)
    )
    assert recover(race, CATALOGUE, [0], print, now=lambda: math.inf) == []
    for account in range(1, 6):
        group(ours, account)
    race = meanwhile(
        ours, "put", lambda: recover(theirs, CATALOGUE, [0], print, now=lambda: math.inf)
    )
    recover(race, CATALOGUE, [0], print, now=lambda: math.inf)
    assert counts(ours) == [(appid(n), 1) for n in range(1, 6)]
    assert all_names(ours, layout.RAW) == []


def test_lost_races_are_limited(ours: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store in which every race is lost ends the publish with an error, and the raw log stays."""

    def always(name: str, _source: Source, _over: Version | None) -> None:
        raise LostRace(name, "run again")

    mine = group(ours, 1)
    monkeypatch.setattr(ours.store, "put", always)
    with pytest.raises(LostRace):
        put(ours, mine)
    assert raw_log.existing(ours, [mine]) == [mine]
    assert MAX_RACES < 100
