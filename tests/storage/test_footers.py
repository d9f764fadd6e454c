"""Footers are read from the ends of their files alone, on a disk and in an object store."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast

import pytest

from harvester.core.calendar import month_of
from harvester.core.errors import OtherVersion, StoreError
from harvester.storage import layout, partition_reader, partition_writer
from harvester.storage.backends.base import Store
from harvester.storage.footer import Footer
from harvester.storage.layout import Partition, Tree
from harvester.storage.partition_reader import footers
from harvester.storage.partition_writer import NewFile
from harvester.tables import coverage
from harvester.tables.coverage import AccountDays
from tests.support.answers import DAILY, MARCH, appid
from tests.support.output_helpers import footer_of

MONTH = month_of(MARCH)
HERE = Partition(DAILY.name, MONTH, 0)


def footer(accounts: int) -> Footer:
    """Return the footer of so many accounts, each of them asked for other days."""
    known = {appid(number): AccountDays(final=number) for number in range(1, accounts + 1)}
    return Footer(coverage.empty(MONTH).updated(known), {})


def write(tree: Tree, accounts: int) -> None:
    """Write the month, without rows."""
    with partition_reader.opened(tree.store, tree.name(HERE), tree.temp(0, "old")) as old:
        over = old.version if old else None
    draft = NewFile(tree.store, tree.temp(0, "new"), tree.name(HERE), DAILY, over)
    partition_writer.write(draft, (), lambda: footer(accounts))


@pytest.mark.parametrize("guess", [1, 8, 100, 256 << 10])
def test_a_footer_of_any_length(tree: Tree, monkeypatch: pytest.MonkeyPatch, guess: int) -> None:
    """It is read whole, however little of the file's end was asked for first."""
    monkeypatch.setattr(partition_reader, "_TAIL_BYTES", guess)
    write(tree, 300)
    assert footer_of(tree, HERE) == footer(300)


@dataclass
class Restless:
    """A store in which a file is replaced after each time its end was read, some times."""

    store: Store
    tree: Tree
    sizes: list[int]

    def __getattr__(self, name: str) -> Any:
        """The calls that reach the store."""
        return getattr(self.store, name)

    def tails(self, *args: Any) -> Any:
        """The ends, and then other files."""
        ends = list(self.store.tails(*args))
        if self.sizes:
            write(self.tree, self.sizes.pop())
        return iter(ends)


@pytest.mark.parametrize("sizes", [[2000], [1], [1, 2000], [3000, 1, 2000]])
def test_a_footer_that_changes_while_it_is_read(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, sizes: list[int]
) -> None:
    """The result is the footer of one of the files, never of two."""
    monkeypatch.setattr(partition_reader, "_TAIL_BYTES", 100)
    write(tree, 300)
    found = layout.partitions(tree, DAILY.name).values()
    restless = cast("Store", Restless(tree.store, tree, sizes))
    (read,) = footers(restless, found)
    assert read in [footer(count) for count in (300, 1, 2000, 3000)]


def test_a_file_that_is_gone(tree: Tree) -> None:
    """It is passed over, as one that was never there."""
    write(tree, 3)
    found = layout.partitions(tree, DAILY.name).values()
    tree.store.delete(tree.name(HERE))
    assert list(footers(tree.store, found)) == [None]


def test_a_footer_of_a_newer_version(tree: Tree) -> None:
    """It is refused with its name, both when one file is read and when all footers are read."""
    with pytest.MonkeyPatch.context() as newer:
        newer.setattr("harvester.storage.footer.SCHEMA_VERSION", 2)
        write(tree, 3)
    where = re.escape(tree.store.display_path(tree.name(HERE)))
    with pytest.raises(OtherVersion, match=f"^{where}: schema version 2, .* version 1$"):
        footer_of(tree, HERE)
    with pytest.raises(OtherVersion, match=f"^{where}: schema version 2, .* version 1$"):
        partition_reader.refuse_newer(tree.store, layout.partitions(tree, DAILY.name).values())


@pytest.mark.parametrize("keep", [0, 1, 4, 7, 8, 300, -9, -5, -1])
def test_a_cut_file_is_refused(tree: Tree, keep: int) -> None:
    """A file that lost its end is named and refused, never taken for an unknown month."""
    write(tree, 300)
    raw = tree.store.read(tree.name(HERE)) or b""
    tree.store.write(tree.name(HERE), raw[:keep], tree.temp(0, "x"))
    with pytest.raises(StoreError, match="damaged") as caught:
        footer_of(tree, HERE)
    assert tree.store.display_path(tree.name(HERE)) in caught.value.problem
    assert caught.value.advice


@pytest.mark.parametrize("place", [HERE._replace(month=MONTH + 1), HERE._replace(dataset="other")])
def test_a_file_copied_to_another_partition_is_refused(tree: Tree, place: Partition) -> None:
    """Its coverage belongs to its own month and dataset, so the error names both places."""
    write(tree, 3)
    name = tree.name(place)
    tree.store.write(name, tree.store.read(tree.name(HERE)) or b"", tree.temp(0, "x"))
    home = "belongs to interface_summary/ref_month=2024-03"
    with pytest.raises(StoreError, match=home) as caught:
        footer_of(tree, place)
    assert caught.value.problem.startswith(tree.store.display_path(name))
    assert caught.value.advice
    with (
        pytest.raises(StoreError, match=home),
        partition_reader.opened(tree.store, name, tree.temp(0, "old")),
    ):
        pass
