from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harvester.catalogue.field_ids import field_ids
from harvester.core.calendar import month_of
from harvester.core.errors import OtherVersion, StoreError
from harvester.core.model import Partition
from harvester.storage import layout, partition_reader, partition_writer
from harvester.storage.backends import atomic_files
from harvester.storage.footer import COVERAGE, DATASET, DIGEST, GROUPS, SCHEMA_KEY, SEAL, Footer
from harvester.storage.layout import Tree
from harvester.storage.partition_writer import NewFile
from harvester.tables import coverage
from harvester.tables.columns import arrow_schema
from harvester.tables.coverage import AccountDays
from tests.support.answers import DAILY, MARCH, appid
from tests.support.field_ids import ids_in, write_no_ids
from tests.support.output_helpers import coverage_of, footer_of, path_of, rows_of, tree_at

SCHEMA = arrow_schema(DAILY)
MONTH = month_of(MARCH)
HERE = Partition(DAILY.name, MONTH, 0)


def table(first: int, rows: int, run: str = "run") -> pa.Table:
    """A row for each of so many accounts, counted from ``first``."""
    return pa.table(
        {
            "appid": [appid(n) for n in range(first, first + rows)],
            "ref_date": pa.array([MARCH] * rows, pa.date32()),
            **{name: range(rows) for name in ("callback_count", "fail_count", "total_time_cost")},
            "max_time_cost": [None if n % 3 else 2**63 - 1 - n for n in range(rows)],
            "_fetched_at": pa.array([1_700_000_000_123_456] * rows, pa.timestamp("us", "UTC")),
            "_run_id": [run] * rows,
            "_extra": pa.array([None] * rows, pa.string()),
        },
        schema=SCHEMA,
    )


def footer(*accounts: int) -> Footer:
    """Return the footer after these accounts were asked."""
    known = {appid(n): AccountDays(final=1, with_rows=1) for n in accounts}
    return Footer(coverage.empty(MONTH).updated(known), {"0123": "_harvester/raw/run/x.group"})


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty output."""
    return tree_at(tmp_path)


@pytest.fixture
def draft(tree: Tree) -> NewFile:
    """The store that the tests write to."""
    return NewFile(tree.store, tree.name(HERE), DAILY)


@pytest.fixture
def final(tree: Tree, draft: NewFile) -> Path:
    """The rows that they write."""
    return path_of(tree, draft.name)


def write(draft: NewFile, *tables: pa.Table, known: Footer | None = None) -> int:
    """Write these row groups."""
    return partition_writer.write(draft, tables, lambda: known or footer(1, 2)).rows


def test_what_is_written_is_read(tree: Tree, draft: NewFile) -> None:
    """Rows, row groups, coverage and merged groups come back as they were written."""
    assert write(draft, table(0, 100), table(100, 50)) == 150
    with partition_reader.opened(tree.store, draft.name) as stored:
        assert stored is not None
        assert (stored.rows, stored.footer) == (150, footer(1, 2))
        assert [len(batch) for batch in stored.batches(SCHEMA)] == [100, 50]
        assert pa.Table.from_batches(stored.batches(SCHEMA)) == pa.concat_tables(
            [table(0, 100), table(100, 50)]
        )
    assert coverage_of(tree, HERE) == footer(1, 2).coverage
    assert list(draft.temp.parent.iterdir()) == []


def test_no_file_is_no_coverage(tree: Tree) -> None:
    """Of a month without a file nothing is known."""
    assert footer_of(tree, HERE) is None


def test_encodings_statistics_and_keys_of_the_file(final: Path, draft: NewFile) -> None:
    """zstd, statistics, page index, order and keys are there, and coverage is stored once."""
    write(draft, table(0, 1000))
    metadata = pq.read_metadata(final)
    columns = [metadata.row_group(0).column(i) for i in range(metadata.num_columns)]
    assert {column.compression for column in columns} == {"ZSTD"}
    assert all(column.has_offset_index and column.has_column_index for column in columns)
    assert columns[0].statistics.max == appid(999)
    assert [each.column_index for each in metadata.row_group(0).sorting_columns] == [0, 1]
    assert metadata.metadata[DATASET] == b"interface_summary"
    assert metadata.metadata[SCHEMA_KEY] == b"1"
    text = coverage.encode(footer(1, 2).coverage).encode()
    assert final.read_bytes().count(text) == 1


def test_each_column_of_wechat_says_what_it_counts(final: Path, draft: NewFile) -> None:
    """The meaning and the unit are metadata of the Arrow fields, and change no schema."""
    write(draft, table(0, 10))
    schema = pq.read_schema(final)
    assert schema == arrow_schema(draft.dataset)
    for column in draft.dataset.columns:
        about = {b"comment": column.meaning.encode(), b"unit": column.unit.encode()}
        assert about.items() <= schema.field(column.name).metadata.items()


def test_each_column_has_its_field_id(
    final: Path, draft: NewFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the footer alone: data pages, coverage and digest are as without any."""
    write(draft, table(0, 1000))
    assert ids_in(pq.read_schema(final)) == field_ids(DAILY.name)
    found, keys = final.read_bytes(), pq.read_metadata(final).metadata
    final.unlink()
    write_no_ids(monkeypatch)
    write(draft, table(0, 1000))
    assert not any(ids_in(pq.read_schema(final)).values())
    length = int(keys[DIGEST].rpartition(b":")[2])
    assert final.read_bytes()[:length] == found[:length]
    others = {name: keys[name] for name in keys.keys() - {SEAL, b"ARROW:schema"}}
    assert others.items() <= pq.read_metadata(final).metadata.items()


def test_the_digest_covers_every_data_page(final: Path, draft: NewFile) -> None:
    """The digest can be checked with any sha256 tool, and ends behind the last data page."""
    write(draft, table(0, 5000))
    metadata = pq.read_metadata(final)
    kind, digest, length = metadata.metadata[DIGEST].decode().split(":")
    raw = final.read_bytes()
    assert (kind, hashlib.sha256(raw[: int(length)]).hexdigest()) == ("sha256", digest)
    last = metadata.row_group(0).column(metadata.num_columns - 1)
    start = min(filter(None, (last.dictionary_page_offset, last.data_page_offset)))
    assert start + last.total_compressed_size == int(length)


def test_the_engines_read_it(final: Path, draft: NewFile, duck: duckdb.DuckDBPyConnection) -> None:
    """DuckDB and Polars read every value and type, nulls and the largest integers included."""
    write(draft, table(0, 1000))
    want = table(0, 1000).to_pylist()
    query = f"select * exclude (ref_month) from read_parquet('{final}') order by appid"
    assert duck.sql(query).to_arrow_table().cast(SCHEMA).to_pylist() == want
    frame = pl.read_parquet(final, hive_partitioning=False)
    assert frame.to_arrow().cast(SCHEMA).to_pylist() == want
    assert frame.schema["ref_date"] == pl.Date
    assert frame.schema["_fetched_at"] == pl.Datetime("us", "UTC")


def test_a_month_without_rows(
    final: Path, tree: Tree, draft: NewFile, duck: duckdb.DuckDBPyConnection
) -> None:
    """A month in which no account had a row is a file too, readable beside others."""
    assert write(draft) == 0
    assert coverage_of(tree, HERE) == footer(1, 2).coverage
    write(replace(draft, name=draft.name.replace("03/", "04/")), table(0, 3))
    pattern = final.parent.parent / "*" / "*.parquet"
    assert duck.sql(f"select count(*) from '{pattern}'").fetchall() == [(3,)]
    assert len(pl.read_parquet(pattern)) == 3


def test_a_failed_write_changes_nothing(final: Path, draft: NewFile) -> None:
    """After rows that end in an error, the old file stands and no half of a file has any name."""
    write(draft, table(0, 5))
    before = final.read_bytes()

    def failing() -> Iterator[pa.Table]:
        yield table(0, 100)
        raise StoreError("a disk that went away")

    with pytest.raises(StoreError, match="went away"):
        partition_writer.write(draft, failing(), lambda: footer(1))
    assert final.read_bytes() == before
    assert list(draft.temp.parent.iterdir()) == []
    assert list(final.parent.iterdir()) == [final]


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_failing_flush(
    tree: Tree, draft: NewFile, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """Whichever flush the disk refuses, the file is the old or the new one, whole."""
    write(draft, table(0, 5))
    calls = []

    def sync(path: Path) -> None:
        calls.append(path)
        if len(calls) == fails_at:
            raise OSError(5, "no")

    monkeypatch.setattr(atomic_files, "sync", sync)
    try:
        write(draft, table(0, 6))
    except StoreError:
        assert fails_at < 3
    assert len(rows_of(tree, HERE)) == (5 if fails_at == 1 else 6)


def test_what_reads_back_differently_is_refused(
    final: Path, draft: NewFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is not what was to be written never gets its name."""
    with pytest.raises(StoreError, match="read back"):
        write(draft, table(100, 5), table(0, 5))
    other = coverage.encode(footer(9).coverage)
    monkeypatch.setattr(coverage, "encode", lambda _: other)
    with pytest.raises(StoreError, match="read back"):
        write(draft, table(0, 5))
    assert not final.exists()


def test_null_in_a_key_is_refused(final: Path, draft: NewFile) -> None:
    """A row without an appid cannot get into a file."""
    broken = table(0, 2).set_column(0, SCHEMA.field(0), pa.array([None, appid(1)], pa.string()))
    with pytest.raises(pa.ArrowInvalid, match="null"):
        write(draft, broken)
    assert not final.exists()


@pytest.mark.parametrize("place", [0, 1, 10, 300, -9, -5, -1])
def test_a_cut_file_is_refused(final: Path, tree: Tree, draft: NewFile, place: int) -> None:
    """A file that lost its end is named and refused, never taken for an unknown month."""
    write(draft, table(0, 500))
    final.write_bytes(final.read_bytes()[:place])
    with pytest.raises(StoreError) as caught:
        coverage_of(tree, HERE)
    assert str(final) in str(caught.value)
    assert caught.value.advice


def test_damaged_coverage_is_refused(final: Path, tree: Tree, draft: NewFile) -> None:
    """Damage in the coverage alone names the file too."""
    write(draft, table(0, 5))
    text = coverage.encode(footer(1, 2).coverage).encode()
    raw = final.read_bytes()
    final.write_bytes(raw.replace(text, text[:50] + b"AAAA" + text[54:]))
    with pytest.raises(StoreError, match="damaged coverage") as caught:
        coverage_of(tree, HERE)
    assert str(final) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({COVERAGE: None}, "not written by harvester"),
        ({SCHEMA_KEY: b"2"}, "schema version 2"),
        ({SCHEMA_KEY: b"x"}, "not written by harvester"),
        ({GROUPS: b"{"}, "damaged"),
    ],
)
def test_foreign_and_newer_files(
    final: Path, tree: Tree, draft: NewFile, change: dict[bytes, bytes | None], words: str
) -> None:
    """A file of another maker or from the future is refused with advice."""
    write(draft, table(0, 5))
    keys = {**pq.read_metadata(final).metadata, **change}
    with pq.ParquetWriter(final, SCHEMA) as writer:
        writer.add_key_value_metadata(
            {name: keys[name] for name in keys if keys[name] and name != b"ARROW:schema"}
        )
    with pytest.raises((StoreError, OtherVersion), match=words) as caught:
        coverage_of(tree, HERE)
    assert caught.value.advice


def test_other_columns_are_refused(tree: Tree, draft: NewFile) -> None:
    """A file with other columns is not merged into."""
    write(draft, table(0, 5))
    with partition_reader.opened(tree.store, draft.name) as stored:
        assert stored is not None
        with pytest.raises(StoreError, match="columns"):
            list(stored.batches(SCHEMA.append(pa.field("new", pa.int64()))))


def test_a_data_file_is_marked_while_it_is_written(tree: Tree, draft: NewFile) -> None:
    """A cleanup by another run in that moment does not remove its temporary file."""
    swept: list[int] = []

    def known() -> Footer:
        swept.append(layout.clean_temp(tree))
        return footer(1, 2)

    partition_writer.write(draft, [table(0, 5)], known)
    assert swept == [0]
    assert rows_of(tree, HERE).num_rows == 5


def test_a_link_in_the_place_of_the_temporary_file(
    tmp_path: Path, final: Path, draft: NewFile
) -> None:
    """It is taken away: Arrow would write through it."""
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    draft.temp.parent.mkdir(parents=True, exist_ok=True)
    draft.temp.symlink_to(target)
    write(draft, table(0, 5))
    assert final.is_file()
    assert not final.is_symlink()
    assert target.read_bytes() == b"precious"


def test_a_full_disk(final: Path, draft: NewFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up while rows are written ends in an error that names the path."""
    full = pa.OSFile("/dev/full", "wb")
    monkeypatch.setattr(pa, "OSFile", lambda *_: full)
    with pytest.raises(StoreError, match="No space left") as caught:
        write(draft, table(0, 5))
    assert "bytes free" in caught.value.advice
    assert not final.exists()


LIMITED = """
import resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from harvester.core.errors import StoreError
from harvester.storage.backends.local import LocalStore
from tests.storage.test_partitions import DAILY, NewFile, table, write
draft = NewFile(LocalStore(Path.cwd()), "x.parquet", DAILY)
try:
    write(draft, *(table(n * 1000, 1000) for n in range(20)))
except StoreError as error:
    print(error, "|", error.advice)
"""


@pytest.mark.parametrize("limit", [4, 40_000])
def test_a_file_size_limit(tmp_path: Path, limit: int) -> None:
    """A limit hit anywhere in the file is told in one sentence, and nothing is left behind."""
    # Under the limit coverage could not write what it measured, and would say so.
    kept = {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE_")}
    environment = {**kept, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-W", "error", "-c", LIMITED, str(limit)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "File too large" in done.stdout
    assert "ulimit" in done.stdout
    assert done.stderr == ""
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != limit
