"""Verification while a run publishes: files and groups that come and go are no damage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harvester.core.calendar import month_of
from harvester.core.model import Partition
from harvester.storage import layout, raw_log
from harvester.storage.layout import Tree
from harvester.storage.publish import publish
from harvester.storage.raw_log import write_group
from harvester.storage.state import change_reader
from harvester.verbs import verify
from tests.support.answers import HOURLY, MARCH, of_day
from tests.support.output_helpers import ANY_TIME, path_of, tree_at

MONTH = month_of(MARCH)
HERE = Partition(HOURLY.name, MONTH, 0)
DATASETS = {HOURLY.name: HOURLY}


@pytest.fixture
def published(tmp_path: Path) -> Tree:
    """A tree with one file."""
    tree = tree_at(tmp_path)
    group = write_group(tree, 0, "run", [of_day(MARCH)])
    publish(tree, HOURLY, HERE, [group], ANY_TIME)
    return tree


def listed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the records of runs name these files as published."""
    monkeypatch.setattr(change_reader, "not_removed", lambda _: set(names))


def test_a_file_that_was_listed_too_early_is_not_missing(
    published: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for once more; one that is really gone is damage."""
    listed(monkeypatch, published.name(HERE))
    monkeypatch.setattr(layout, "partitions", lambda *_: {})
    found = verify.check_tree(published, DATASETS, {}, {})
    assert (found.files, found.damaged) == (0, ())
    path_of(published, HERE).unlink()
    [damage] = verify.check_tree(published, DATASETS, {}, {}).damaged
    assert (damage.path, damage.missing) == (published.name(HERE), True)


def test_names_of_other_trees_are_not_missing(
    published: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records may name another number of buckets, a dataset left out, or no file of harvester's."""
    other = Tree(published.store, 8).name(HERE)
    unknown = published.name(Partition("interface_summary", MONTH, 0))
    gone = published.name(Partition(HOURLY.name, MONTH + 1, 0))
    listed(monkeypatch, other, unknown, gone, "notes.txt")
    damaged = verify.check_tree(published, DATASETS, {}, {}).damaged
    assert [damage.path for damage in damaged] == [gone]


def test_a_file_that_goes_while_it_is_checked_has_no_rows(
    published: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run may remove it after it was listed."""
    assert verify.check_tree(published, DATASETS, {}, {}).rows == 24
    seen = layout.partitions(published, HOURLY.name)
    path_of(published, HERE).unlink()
    monkeypatch.setattr(layout, "partitions", lambda *_: seen)
    found = verify.check_tree(published, DATASETS, {}, {})
    assert (found.rows, found.damaged) == (0, ())


@pytest.mark.parametrize("kind", ["gone", "unreadable"])
def test_a_group_that_was_published_meanwhile_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A group that cannot be read is damage only as long as it is there."""
    tree = tree_at(tmp_path)
    group = write_group(tree, 0, "run", [of_day(MARCH)])
    group.path.write_bytes(b"no group")
    [damage] = verify.check_tree(tree, {}, {}, {}).damaged
    assert (damage.path, damage.flaws) == (group.name, ("answers that cannot be read",))
    if kind == "gone":
        group.path.unlink()
    names: Iterator[list[str]] = iter([[group.name], []])
    monkeypatch.setattr(raw_log, "group_names", lambda _: next(names))
    assert verify.check_tree(tree, {}, {}, {}).damaged == ()
