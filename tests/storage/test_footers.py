"""Footers are read from the ends of their files alone, on a disk and in an object store."""

from __future__ import annotations

import base64
import os
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import month_of
from harvester.core.errors import OtherVersion, StoreError
from harvester.core.model import Partition
from harvester.storage import layout, partition_reader, partition_writer
from harvester.storage.backends.base import Store, read_bytes
from harvester.storage.footer import (
    BUCKET,
    COVERAGE,
    DATASET,
    GROUPS,
    Footer,
    decode_footer,
    home_of,
)
from harvester.storage.layout import Tree
from harvester.storage.partition_reader import footers, rows_and_footers
from harvester.storage.partition_writer import NewFile
from harvester.tables import coverage
from harvester.tables.coverage import VERSION, AccountDays
from tests.support.answers import DAILY, MARCH, appid
from tests.support.output_helpers import footer_of, path_of, tree_at

MONTH = month_of(MARCH)
HERE = Partition(DAILY.name, MONTH, 0)


def footer(accounts: int) -> Footer:
    """Return the footer of so many accounts, each of them asked for other days."""
    known = {appid(number): AccountDays(final=number) for number in range(1, accounts + 1)}
    return Footer(coverage.empty(MONTH).updated(known), {})


def write(tree: Tree, accounts: int) -> None:
    """Write the month, without rows."""
    with partition_reader.opened(tree.store, tree.name(HERE)) as old:
        over = old.version if old else None
    draft = NewFile(tree.store, tree.name(HERE), DAILY, over)
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

    def get_many(self, *args: Any) -> Any:
        """The ends, and then other files."""
        ends = list(self.store.get_many(*args))
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
    assert list(footers(tree.store, found)) == []
    assert list(rows_and_footers(tree.store, found)) == [None]


def test_a_footer_of_a_newer_version(tree: Tree) -> None:
    """It is refused with its name, both when one file is read and when all footers are read."""
    with pytest.MonkeyPatch.context() as newer:
        newer.setattr("harvester.storage.footer.SCHEMA_VERSION", 2)
        write(tree, 3)
    where = re.escape(tree.store.display_path(tree.name(HERE)))
    with pytest.raises(OtherVersion, match=f"^{where}: schema version 2, .* version 1\n"):
        footer_of(tree, HERE)
    with pytest.raises(OtherVersion, match=f"^{where}: schema version 2, .* version 1\n"):
        partition_reader.refuse_newer(tree, [DAILY.name], [0])


@pytest.mark.parametrize("keep", [0, 1, 4, 7, 8, 300, -9, -5, -1])
def test_a_cut_file_is_refused(tree: Tree, keep: int) -> None:
    """A file that lost its end is named and refused, never taken for an unknown month."""
    write(tree, 300)
    raw = read_bytes(tree.store, tree.name(HERE)) or b""
    tree.store.put(tree.name(HERE), raw[:keep])
    with pytest.raises(StoreError, match="damaged") as caught:
        footer_of(tree, HERE)
    assert tree.store.display_path(tree.name(HERE)) in caught.value.problem
    assert caught.value.advice


def test_a_planted_key_of_megabytes_makes_no_long_message() -> None:
    """Messages show the name that a file has by its keys, and no dataset has so long a name."""
    planted = dict.fromkeys((BUCKET, DATASET), b"x" * 1_000_000)
    assert len(home_of(planted, MONTH)) < 300
    assert max(map(len, CATALOGUE)) < 100


@pytest.mark.parametrize("place", [HERE._replace(month=MONTH + 1), HERE._replace(dataset="other")])
def test_a_file_copied_to_another_partition_is_refused(tree: Tree, place: Partition) -> None:
    """Its coverage belongs to its own month and dataset, so the error names both places."""
    write(tree, 3)
    name = tree.name(place)
    tree.store.put(name, read_bytes(tree.store, tree.name(HERE)) or b"")
    home = "belongs to interface_summary/ref_month=2024-03"
    with pytest.raises(StoreError, match=home) as caught:
        footer_of(tree, place)
    assert caught.value.problem.startswith(tree.store.display_path(name))
    assert caught.value.advice
    with (
        pytest.raises(StoreError, match=home),
        partition_reader.opened(tree.store, name),
    ):
        pass


def with_end(tree: Tree, end: bytes) -> None:
    """Write a file with this end, in a tebibyte that takes no space."""
    path = path_of(tree, HERE)
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(1 << 40)
        file.seek(-len(end), os.SEEK_END)
        file.write(end)


@pytest.mark.parametrize("length", [(1 << 24) + 1, (1 << 31) - 1, (1 << 32) - 1])
def test_a_footer_of_gigabytes_is_refused_unread(tmp_path: Path, length: int) -> None:
    """Its stated length alone is damage."""
    tree = tree_at(tmp_path)
    with_end(tree, length.to_bytes(4, "little") + b"PAR1")
    with pytest.raises(StoreError, match="damaged"):
        footer_of(tree, HERE)
    name = tree.name(HERE)
    with (
        pytest.raises(StoreError, match="damaged"),
        partition_reader.opened(tree.store, name),
    ):
        pass


def keys_of(tree: Tree) -> dict[bytes, bytes]:
    """Return the keys of the month's file."""
    found: dict[bytes, bytes] = pq.read_metadata(path_of(tree, HERE)).metadata
    return found


@pytest.mark.parametrize(
    "groups",
    [b"[" * 100_000, b"[]", b"{", b'{"a": 1}', b'{"a": []}', b"\xff", b"NaN", b"{}," * 2_000_000],
)
def test_groups_that_make_no_sense_are_damage(tmp_path: Path, groups: bytes) -> None:
    """They are refused with advice, whatever their depth and number."""
    tree = tree_at(tmp_path)
    write(tree, 1)
    with pytest.raises(StoreError, match="damaged"):
        decode_footer("x", {**keys_of(tree), GROUPS: groups})


def coverage_text(payload: bytes, length: int) -> bytes:
    """Return a text form whose checksum is right."""
    squeezed = pa.Codec("zstd").compress(payload, asbytes=True)
    crc = struct.pack("<I", zlib.crc32(payload))
    return base64.b64encode(struct.pack("<BI", VERSION, length) + squeezed + crc)


@pytest.mark.parametrize("stated", [200 << 20, 1 << 20, 5])
def test_a_coverage_that_decompresses_to_much_is_damage(tmp_path: Path, stated: int) -> None:
    """Neither the stated length nor the true one may be more than a month of a million accounts."""
    tree = tree_at(tmp_path)
    write(tree, 1)
    bomb = coverage_text(bytes(200 << 20), stated)
    assert len(bomb) < 1 << 16
    with pytest.raises(StoreError, match="damaged coverage"):
        decode_footer("x", {**keys_of(tree), COVERAGE: bomb})


def test_a_provisional_day_of_no_account_is_damage(tmp_path: Path) -> None:
    """Otherwise a plan would look for an account that is not there."""
    tree = tree_at(tmp_path)
    write(tree, 1)
    payload = struct.pack("<IIII", MONTH, 0, 1, 0) + struct.pack("<QII", 7 << 40, 0, 0)
    with pytest.raises(StoreError, match="damaged coverage"):
        decode_footer("x", {**keys_of(tree), COVERAGE: coverage_text(payload, len(payload))})
