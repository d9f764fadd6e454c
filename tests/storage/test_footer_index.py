"""The index of footers is a cache: it saves reads, and never changes what is read."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pyarrow as pa
import pytest

from harvester.core.calendar import month_of
from harvester.core.hold import Hold
from harvester.core.model import Partition
from harvester.storage import footer_index, layout, partition_reader, partition_writer
from harvester.storage.backends.base import FileInfo, Store, read_bytes
from harvester.storage.footer import SCHEMA_VERSION, Footer
from harvester.storage.footer_index import VERSION, coverages, digest, digests, name_of, renew
from harvester.storage.layout import INDEX, Tree
from harvester.storage.partition_writer import NewFile
from harvester.tables import coverage
from harvester.tables.coverage import AccountDays, Coverage
from tests.support.answers import DAILY, MARCH, appid
from tests.support.output_helpers import tree_at

FIRST = month_of(MARCH)
MONTHS = (FIRST, FIRST + 1, FIRST + 2)
INDEX_NAME = f"{INDEX}/{DAILY.name}.0000-of-0001"


@dataclass
class Counting:
    """A store that counts the data files of which it gave the end."""

    store: Store
    ends: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        """The calls that reach the store."""
        return getattr(self.store, name)

    def get_many(self, found: Any, tail: int = 0) -> Iterator[bytes | None]:
        """The files, counted."""
        found = [*found]
        self.ends += [file.name for file in found]
        return self.store.get_many(found, tail)


def write(tree: Tree, month: int, final: int, accounts: int = 3) -> None:
    """Write a month in which the accounts have these final days, without rows."""
    name = tree.name(Partition(DAILY.name, month, 0))
    with partition_reader.opened(tree.store, name) as old:
        over = old.version if old else None
    known = {appid(number): AccountDays(final=final) for number in range(1, accounts + 1)}
    footer = Footer(coverage.empty(month).updated(known), {})
    partition_writer.write(NewFile(tree.store, name, DAILY, over), (), lambda: footer)


def held(tree: Tree) -> tuple[Tree, Counting]:
    """Return the tree as a run holds it, which lists it once, and the count of what it reads."""
    counting = Counting(tree.store)
    mine = replace(tree, store=cast("Store", counting), held=frozenset({0}))
    return mine.listed_once(), counting


def read(tree: Tree) -> list[tuple[Partition, Coverage]]:
    """Return the coverage of all files, newest month first."""
    found = coverages(tree, layout.partitions(tree, DAILY.name).items())
    return sorted(found, key=lambda item: -item[0].month)


def as_the_footers_say(tree: Tree) -> list[tuple[Partition, Coverage]]:
    """Return the coverage of all files as their footers have it."""
    found = layout.partitions(tree, DAILY.name)
    each = partition_reader.footers(tree.store, found.values())
    return [(place, footer.coverage) for place, footer in zip(found, each, strict=True)]


@pytest.fixture
def filled(tree: Tree) -> Tree:
    """A tree with three months and their index."""
    for month in MONTHS:
        write(tree, month, 0b111 << month % 8)
    read(held(tree)[0])
    return tree


def test_the_next_run_reads_the_index_alone(filled: Tree) -> None:
    """It reads no footer, and finds what the footers say."""
    mine, counting = held(filled)
    assert read(mine) == as_the_footers_say(filled)
    assert not counting.ends


def test_a_file_that_was_replaced_is_read_itself(filled: Tree) -> None:
    """The others still come from the index, and the next run reads none of them."""
    write(filled, MONTHS[1], 0b1)
    for ends in (1, 0):
        mine, counting = held(filled)
        assert read(mine) == as_the_footers_say(filled)
        assert len(counting.ends) == ends


def test_files_that_came_and_went(filled: Tree) -> None:
    """A new month is read and a deleted one is not found, although the index has it."""
    write(filled, MONTHS[2] + 1, 0b11)
    filled.store.delete(filled.name(Partition(DAILY.name, MONTHS[0], 0)))
    assert read(held(filled)[0]) == as_the_footers_say(filled)
    listed = {file.name for file in layout.partitions(filled, DAILY.name).values()}
    assert {name for name, _ in digests(filled, DAILY.name)} == listed


def test_a_reader_writes_no_index(tree: Tree) -> None:
    """Only the holder of the bucket does."""
    write(tree, FIRST, 0b1)
    assert read(tree.listed_once()) == as_the_footers_say(tree)
    assert tree.store.list(INDEX) == []


def test_a_reader_may_use_it(filled: Tree) -> None:
    """It reads no footer either."""
    counting = Counting(filled.store)
    reader = replace(filled, store=cast("Store", counting)).listed_once()
    assert read(reader) == as_the_footers_say(filled)
    assert not counting.ends


def test_a_run_that_wants_some_months_keeps_the_others(filled: Tree) -> None:
    """An index that is behind in one month is made anew with all that it knew."""
    write(filled, MONTHS[1], 0b1)
    mine, _ = held(filled)
    some = {x: file for x, file in layout.partitions(mine, DAILY.name).items() if x.month > FIRST}
    assert [place for place, _ in coverages(mine, some.items())] != []
    mine, counting = held(filled)
    assert read(mine) == as_the_footers_say(filled)
    assert not counting.ends


@pytest.mark.parametrize("cut", [0, 1, 30, 60, -1])
def test_an_index_that_was_cut_off(filled: Tree, cut: int) -> None:
    """It counts as none, and is made anew."""
    data = read_bytes(filled.store, INDEX_NAME) or b""
    filled.store.put(INDEX_NAME, data[:cut])
    assert read(held(filled)[0]) == as_the_footers_say(filled)
    assert read_bytes(filled.store, INDEX_NAME) == data


def test_any_flipped_bit_of_an_index(tmp_path: Any) -> None:
    """Two hundred bits anywhere: what is read stays the same."""
    tree = tree_at(tmp_path)
    for month in MONTHS:
        write(tree, month, month)
    read(held(tree)[0])
    before, data = as_the_footers_say(tree), read_bytes(tree.store, INDEX_NAME) or b""
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    for _ in range(200):
        bit = dice.randrange(8 * len(data))
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        tree.store.put(INDEX_NAME, bytes(flipped))
        assert read(tree.listed_once()) == before, f"seed {seed}, bit {bit}"


def planted(tree: Tree, files: list[tuple[FileInfo, bytes]]) -> None:
    """Put an index with a right seal that has these payloads."""
    draft = footer_index._Draft()
    for file, payload in files:
        draft.add(file, payload)
    tree.store.put(INDEX_NAME, draft.made())


@pytest.mark.parametrize("payload", [b"", b"no coverage", b"\0" * 100])
def test_a_planted_payload_that_is_no_coverage(filled: Tree, payload: bytes) -> None:
    """The footers are read, and the index is made anew."""
    planted(filled, [(x, payload) for x in layout.partitions(filled, DAILY.name).values()])
    assert read(held(filled)[0]) == as_the_footers_say(filled)
    mine, counting = held(filled)
    assert read(mine) == as_the_footers_say(filled)
    assert not counting.ends


def test_a_planted_payload_of_another_month(filled: Tree) -> None:
    """It is not taken for the coverage of this one."""
    other = coverage.payload(coverage.empty(FIRST + 9))
    planted(filled, [(x, other) for x in layout.partitions(filled, DAILY.name).values()])
    assert read(held(filled)[0]) == as_the_footers_say(filled)


@pytest.mark.parametrize("length", [coverage.MAX_PAYLOAD_BYTES + 1, -1])
def test_a_planted_length(filled: Tree, length: int) -> None:
    """A payload longer than that of any month is not read into memory."""
    draft = footer_index._Draft()
    (file, *_) = layout.partitions(filled, DAILY.name).values()
    draft.add(file, b"x")
    draft._contents[file.name] = file.version, length
    filled.store.put(INDEX_NAME, draft.made())
    assert read(held(filled)[0]) == as_the_footers_say(filled)


def test_an_index_of_another_build(filled: Tree) -> None:
    """Another version of the index, of its coverage or of the data files counts as none."""
    data = read_bytes(filled.store, INDEX_NAME) or b""
    for place, version in ((0, VERSION + 1), (1, coverage.VERSION - 1), (2, SCHEMA_VERSION + 1)):
        changed = bytearray(data)
        changed[place] = version
        filled.store.put(INDEX_NAME, bytes(changed))
        assert read(held(filled)[0]) == as_the_footers_say(filled)
        assert read_bytes(filled.store, INDEX_NAME) == data


def test_another_run_that_puts_an_index_meanwhile(filled: Tree) -> None:
    """Its index stays: each is right, because it names the versions of the files."""
    write(filled, MONTHS[0], 0b1)
    mine, _ = held(filled)
    found = coverages(mine, layout.partitions(mine, DAILY.name).items())
    first = next(found)
    filled.store.put(INDEX_NAME, b"another one")
    assert sorted([first, *found], key=lambda x: -x[0].month) == as_the_footers_say(filled)
    assert read_bytes(filled.store, INDEX_NAME) == b"another one"


def test_a_run_that_lost_its_lease_writes_no_index(filled: Tree) -> None:
    """Its put could bring back what another run has erased."""
    data = read_bytes(filled.store, INDEX_NAME)
    write(filled, MONTHS[0], 0b1)
    mine = replace(held(filled)[0], hold=Hold(lambda: False))
    assert read(mine) == as_the_footers_say(filled)
    assert read_bytes(filled.store, INDEX_NAME) == data


def test_what_a_run_wrote_is_not_read_again(filled: Tree) -> None:
    """Its own files are remembered by version, as long as no other run replaces them."""
    mine, counting = held(filled)
    read(mine)
    place = Partition(DAILY.name, MONTHS[2], 0)
    known = coverage.empty(MONTHS[2]).updated({appid(1): AccountDays(final=0b1)})
    over = layout.partitions(filled, DAILY.name)[place]
    draft = NewFile(filled.store, over.name, DAILY)
    with partition_reader.opened(filled.store, over.name) as old:
        assert old is not None
        draft = replace(draft, replaces=old.version)
    written = partition_writer.write(draft, (), lambda: Footer(known, {}))
    mine.remember(over.name, written.version, coverage.payload(known))
    mine.list_again()
    assert read(mine) == as_the_footers_say(filled)
    assert not counting.ends
    write(filled, MONTHS[2], 0b101)
    mine.list_again()
    assert read(mine) == as_the_footers_say(filled)
    assert counting.ends == [over.name]


def test_what_is_remembered_is_bounded(filled: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond that it is read again."""
    monkeypatch.setattr(layout, "MAX_KEPT_BYTES", 10)
    mine, _ = held(filled)
    read(mine)
    assert mine.listing is not None
    assert mine.listing.kept == {}


def test_an_index_made_anew_forgets_what_the_files_forgot(filled: Tree) -> None:
    """Also that of a bucket that has no file any more."""
    mine, _ = held(filled)
    for month in MONTHS[1:]:
        filled.store.delete(filled.name(Partition(DAILY.name, month, 0)))
    write(filled, MONTHS[0], 0b1, accounts=1)
    renew(mine, [DAILY.name], [0])
    [(_, known)] = as_the_footers_say(filled)
    assert [*digests(filled, DAILY.name).values()] == [digest(known)]
    filled.store.delete(filled.name(Partition(DAILY.name, MONTHS[0], 0)))
    renew(mine, [DAILY.name], [0])
    assert filled.store.list(INDEX) == []


def test_months_of_the_same_accounts_add_little(tree: Tree) -> None:
    """Twelve months of 200 accounts take less than three times the bytes of two."""
    sizes = []
    for month in range(FIRST, FIRST + 12):
        write(tree, month, 0b1111111, accounts=200)
        read(held(tree)[0])
        sizes.append(len(read_bytes(tree.store, INDEX_NAME) or b""))
    assert sizes[-1] < 3 * sizes[1]


def test_the_format_of_the_file() -> None:
    """Three versions, the seal, and the length of the table of contents."""
    draft = footer_index._Draft()
    draft.add(FileInfo("a/b", 1, "tag"), b"payload")
    made = draft.made()
    contents = b'{"a/b": ["tag", 7]}'
    length = len(contents).to_bytes(4, "little")
    packed = made[40 + len(contents) :]
    assert made[:4] == bytes([VERSION, coverage.VERSION, SCHEMA_VERSION, 0])
    assert made[4:36] == hashlib.sha256(length + contents + packed).digest()
    assert made[36:40] == length
    with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
        assert stream.read() == b"payload"


def test_the_name_has_dataset_and_bucket(tree: Tree) -> None:
    """Each bucket has its own, so that shards never write the same file."""
    assert name_of(tree, DAILY.name, 0) == INDEX_NAME
