"""Tables of Iceberg, as pyiceberg and Polars read them."""

from __future__ import annotations

import gc
import shutil
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg import exceptions
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.update.snapshot import _OverwriteFiles

from harvester.catalogue import field_ids
from harvester.core.config.settings import Output
from harvester.core.errors import LostRace, StoreAway, StoreError, UsageError
from harvester.core.exit_codes import Exit
from harvester.storage.backends.local import LocalStore
from harvester.verbs.lakehouse import export as exporting
from harvester.verbs.lakehouse import iceberg
from harvester.verbs.lakehouse.export import ExportedTable
from harvester.verbs.lakehouse.formats import Lake
from harvester.verbs.lakehouse.tables import LakeTable, Swap, TableState, lake_tables
from tests.lakehouse.exports import DAILY, Lakeside, in_order
from tests.support.doc_pages import ROOT, blocks
from tests.support.rest_catalog import TOKEN, rest_catalog

HOURLY = "interface_summary_hour"
ALL_TABLES = {DAILY, HOURLY, "accounts", "coverage", "codes", "runs"}
APRIL = "2026-04-01"


class Shore:
    """An output with Iceberg tables beside it, and their catalog."""

    def __init__(self, side: Lakeside, catalog: SqlCatalog) -> None:
        self.side, self.catalog = side, catalog

    def export(self, **options: Any) -> ExportedTable:
        """Export the daily table alone, once."""
        daily = {DAILY: lake_tables()[DAILY]}
        with patch.object(exporting, "lake_tables", lambda: daily):
            (done,) = self.side.export("iceberg", **options).tables
        return done

    def table(self, name: str = DAILY) -> Table:
        """Return a table as its library reads it."""
        return self.catalog.load_table(f"wechat.{name}")

    def rows(self, name: str = DAILY, snapshot: int | None = None) -> list[dict[str, Any]]:
        """Return the rows of a snapshot, the newest one without another."""
        return in_order(self.table(name).scan(snapshot_id=snapshot).to_arrow())

    def bounds(self, name: str) -> set[bytes]:
        """Return the bounds of columns in the manifests of a table, whose bytes are compressed."""
        table, found = self.table(name), set[bytes]()
        for snapshot in table.metadata.snapshots:
            for manifest in snapshot.manifests(table.io):
                for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False):
                    file = entry.data_file
                    found.update((file.lower_bounds or {}).values())
                    found.update((file.upper_bounds or {}).values())
        return found

    def manifests(self) -> list[ManifestFile]:
        """Return the manifests of the newest snapshot."""
        found = self.table().current_snapshot()
        assert found is not None
        return found.manifests(self.table().io)

    def snapshots(self) -> list[int]:
        """Return the numbers of the snapshots, oldest first."""
        return [each.snapshot_id for each in self.table().metadata.snapshots]

    def state(self) -> TableState:
        """Return what harvester reads of the daily table."""
        found = self.tables().state(lake_tables()[DAILY])
        assert found is not None
        return found

    def tables(self) -> iceberg.Tables:
        """Return a writer of the tables."""
        place = self.side.place
        return iceberg.Tables(
            Lake(LocalStore(place), place, [], None, None, "wechat", self.side.harness.now)
        )

    def change(self) -> None:
        """Let WeChat count otherwise for the first account, on a day in April."""
        accounts, self.side.harness.accounts = self.side.harness.accounts, 1
        self.side.replace_rows(APRIL)
        self.side.harness.accounts = accounts

    def compact(self) -> None:
        """Write April into one file, as another program does."""
        table, april = self.table(), "ref_date >= '2026-04-01'"
        path = self.side.place / DAILY / "data" / "compacted.parquet"
        path.parent.mkdir()
        pq.write_table(table.scan(april).to_arrow(), path)
        with table.transaction() as change:
            change.delete(april)
            change.add_files([str(path)])


@pytest.fixture(scope="module")
def harvested(tmp_path_factory: pytest.TempPathFactory) -> Lakeside:
    """An output that is copied, because to harvest takes longer."""
    made = Lakeside(tmp_path_factory.mktemp("harvested"))
    made.harness.run()
    return made


@pytest.fixture
def side(harvested: Lakeside, tmp_path: Path) -> Lakeside:
    """An output, and the place beside it."""
    made = Lakeside(tmp_path)
    shutil.copytree(harvested.output, made.output)
    return made


@pytest.fixture
def shore(side: Lakeside) -> Iterator[Shore]:
    """An output that was not yet exported."""
    side.place.mkdir()
    catalog = SqlCatalog("harvester", uri=f"sqlite:///{side.place}/catalog.db")
    yield Shore(side, catalog)
    catalog.close()


def files_of(folder: Path) -> list[Path]:
    """Return all files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def before_commit(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Let something happen between the next commit's own files and the catalog."""
    commit = SqlCatalog.commit_table

    def late(catalog: SqlCatalog, *change: Any) -> Any:
        monkeypatch.setattr(SqlCatalog, "commit_table", commit)
        act()
        return commit(catalog, *change)

    monkeypatch.setattr(SqlCatalog, "commit_table", late)


def test_each_table_has_the_rows_of_its_files(
    shore: Shore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of both datasets, and of the tables beside them, for both readers; a second one is idle."""
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    done = shore.side.export("iceberg")
    assert {each.name for each in done.tables} == ALL_TABLES
    for name in ALL_TABLES:
        assert shore.rows(name) == shore.side.rows(name)
        frame = pl.scan_iceberg(shore.table(name)).collect()
        assert in_order(frame.to_arrow().cast(shore.table(name).schema().as_arrow())) == shore.rows(
            name
        )
    assert shore.table("codes").spec().is_unpartitioned()
    again = shore.side.export("iceberg")
    assert [each.version for each in again.tables] == [each.version for each in done.tables]
    assert not any(each.added or each.removed for each in again.tables)


def test_columns_are_described_and_readers_skip(shore: Shore) -> None:
    """With types, comments and nullability of the catalogue, by month, account and day."""
    shore.export()
    table = shore.table()
    fields = {field.name: field for field in table.schema().fields}
    assert [field.field_id for field in fields.values()] == [*range(1, len(fields) + 1)]
    assert (fields["appid"].required, fields["callback_count"].required) == (True, False)
    assert all(field.doc for field in fields.values())
    assert table.properties["comment"] == lake_tables()[DAILY].comment
    assert [str(field) for field in table.spec().fields] == ["1000: ref_date_month: month(2)"]
    appid = shore.side.harness.appids[0]
    for condition, files in (("ref_date >= '2026-04-01'", 2), (f"appid < '{appid}'", 0)):
        assert len(list(table.scan(condition).plan_files())) == files
    assert {*shore.state().files.values()} == {"2026-03", "2026-04"}


def test_one_changed_file_is_swapped_and_older_snapshots_stay(shore: Shore) -> None:
    """In one snapshot; the files of the other month and of the other bucket stay as they are."""
    shore.export()
    before, files = shore.rows(), shore.side.copies()
    shore.change()
    done = shore.export()
    assert (done.added, done.removed) == (1, 1)
    assert shore.rows() == shore.side.rows() != before
    first, second = shore.snapshots()
    assert shore.rows(snapshot=first) == before
    assert str(second) == done.version
    summary = shore.table().snapshot_by_id(second)
    assert summary is not None
    assert summary.summary is not None
    assert summary.summary["added-data-files"] == summary.summary["deleted-data-files"] == "1"
    assert len(shore.side.copies() - files) == 1


@pytest.mark.parametrize("is_made", [False, True])
def test_of_two_exporters_one_wins(
    shore: Shore, monkeypatch: pytest.MonkeyPatch, *, is_made: bool
) -> None:
    """Both have read the same table, or none; the other adds nothing, and does not try again."""
    if is_made:
        shore.export()
        shore.change()
    commit = iceberg.Tables.commit
    won = list[str]()

    def late(self: iceberg.Tables, table: LakeTable, base: Any, swap: Swap) -> str:
        before_commit(monkeypatch, lambda: won.append(commit(self, table, base, swap)))
        return commit(self, table, base, swap)

    monkeypatch.setattr(iceberg.Tables, "commit", late)
    with pytest.raises(LostRace, match=f"{DAILY}: another writer was faster"):
        shore.export()
    monkeypatch.setattr(iceberg.Tables, "commit", commit)
    assert won == [str(shore.snapshots()[-1])]
    assert shore.rows() == shore.side.rows()
    assert shore.export().version == won[0]


def test_a_snapshot_that_was_not_read_is_kept(shore: Shore) -> None:
    """A commit on top of another snapshot than the one that was read adds nothing."""
    shore.export()
    base = shore.state()
    shore.compact()
    with pytest.raises(LostRace):
        shore.tables().commit(lake_tables()[DAILY], base, Swap([], [], "later", "", erases=False))


@pytest.mark.parametrize("is_made", [False, True])
def test_a_killed_commit_is_repeated(
    shore: Shore, monkeypatch: pytest.MonkeyPatch, *, is_made: bool
) -> None:
    """Its files are there, and no table has them."""
    if is_made:
        shore.export()
        shore.change()
    before = shore.snapshots() if is_made else []

    def die() -> None:
        raise KeyboardInterrupt

    before_commit(monkeypatch, die)
    with pytest.raises(KeyboardInterrupt):
        shore.export()
    assert (shore.snapshots() if shore.catalog.table_exists(f"wechat.{DAILY}") else []) == before
    shore.export()
    assert shore.rows() == shore.side.rows()
    assert len(shore.snapshots()) == len(before) + 1


def test_a_commit_whose_answer_was_lost_is_not_repeated(
    shore: Shore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursor is in it."""
    commit = SqlCatalog.commit_table

    def lost(catalog: SqlCatalog, *change: Any) -> Any:
        commit(catalog, *change)
        raise OSError("no answer\nof the catalog")

    monkeypatch.setattr(SqlCatalog, "commit_table", lost)
    with pytest.raises(StoreError, match=rf"{DAILY}: no answer\n"):
        shore.export()
    monkeypatch.undo()
    done = shore.export()
    assert (done.added, shore.snapshots()) == (0, [int(done.version)])
    assert shore.rows() == shore.side.rows()


def test_a_month_that_was_compacted_is_replaced_as_a_whole(shore: Shore) -> None:
    """Compaction keeps the cursor, which expiry carries on; the other month stays as it is."""
    shore.export()
    shore.compact()
    state = shore.state()
    assert sorted(state.files.values()) == ["2026-03", "2026-03", "2026-04"]
    assert shore.export().version == state.version
    done = shore.export(expire=True)
    assert (shore.snapshots(), shore.state().cursor) == ([int(done.version)], state.cursor)
    assert shore.rows() == shore.side.rows()
    shore.change()
    done = shore.export()
    assert (done.added, done.removed) == (2, 1)
    assert shore.rows() == shore.side.rows()


def test_a_cursor_is_committed_without_files(shore: Shore) -> None:
    """And is that of the snapshot to which the table was rolled back."""
    shore.export()
    shore.change()
    shore.export()
    base, newest = shore.state(), shore.snapshots()[-1]
    shore.tables().commit(lake_tables()[DAILY], base, Swap([], [], "later", "", erases=False))
    assert (shore.state().cursor, shore.state().files) == ("later", base.files)
    # What the snapshot before has removed is carried on no longer.
    assert all(each.has_added_files() or each.has_existing_files() for each in shore.manifests())
    shore.table().manage_snapshots().rollback_to_snapshot(newest).commit()
    assert shore.state().cursor == base.cursor


def test_a_new_column_is_added(shore: Shore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of before have null there; the column has a number, a comment and a name in files."""
    shore.export()
    known = iceberg.Tables.commit

    def more(self: iceberg.Tables, table: LakeTable, base: Any, swap: Swap) -> str:
        extra = pa.field("tomorrow", pa.int64(), metadata={"comment": "new"})
        return known(self, table._replace(schema=table.schema.append(extra)), base, swap)

    monkeypatch.setattr(iceberg.Tables, "commit", more)
    given = {**field_ids.field_ids(DAILY), "tomorrow": 10}
    monkeypatch.setitem(field_ids._all(), DAILY, given)
    shore.change()
    shore.export()
    assert shore.rows() == [row | {"tomorrow": None} for row in shore.side.rows()]
    field = shore.table().schema().find_field("tomorrow")
    assert (field.field_id, field.doc) == (10, "new")
    assert '"tomorrow"' in shore.table().properties["schema.name-mapping.default"]


@pytest.mark.long
def test_rows_that_were_deleted_for_good_are_named_until_they_are_gone(
    shore: Shore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In files, in the bounds of manifests, and after an expiry that was killed."""
    shore.side.export("iceberg")
    (first,) = shore.snapshots()
    gone = shore.side.forget_last()
    with monkeypatch.context() as mixing:
        mixing.setattr(iceberg._FileSwap, "_manifests", in_one_manifest)
        done = shore.side.export("iceberg")
    assert {each.name for each in done.holding} == {DAILY, HOURLY, "accounts", "coverage"}
    assert gone.encode() in shore.bounds(DAILY)
    assert shore.export().holding[0].startswith(f"snapshot {first} of 20")
    shore.table().manage_snapshots().create_tag(first, "audit").commit()
    assert shore.export(expire=True).holding
    assert shore.rows(snapshot=first) != shore.rows()
    shore.table().manage_snapshots().remove_tag("audit").commit()
    with monkeypatch.context() as dying:
        dying.setattr(LocalStore, "delete", die_of_interrupt)
        with pytest.raises(KeyboardInterrupt):
            shore.export(expire=True)
    assert shore.export().holding == ["snapshots that were removed without their files"]
    assert not shore.side.export("iceberg", expire=True).holding
    assert not shore.side.export("iceberg").holding
    for name in ALL_TABLES:
        assert shore.rows(name) == shore.side.rows(name)
    assert not [path for path in files_of(shore.side.place) if gone.encode() in path.read_bytes()]
    assert gone.encode() not in {bound for name in ALL_TABLES for bound in shore.bounds(name)}
    needed = {task.file.file_path for task in shore.table().scan().plan_files()}
    assert {str(shore.side.place / DAILY / name) for name in shore.side.copies()} == needed


@pytest.mark.long
def test_an_expiry_keeps_what_is_committed_meanwhile(
    shore: Shore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files below the place are listed before the table is read."""
    shore.export()
    shore.change()
    listed = LocalStore.list

    def late(store: LocalStore, folder: str) -> Any:
        if folder == DAILY:
            monkeypatch.setattr(LocalStore, "list", listed)
            shore.compact()
        return listed(store, folder)

    shore.export()
    monkeypatch.setattr(LocalStore, "list", late)
    shore.tables().expire(lake_tables()[DAILY])
    assert shore.rows() == shore.side.rows()


def test_an_expiry_keeps_what_another_writer_is_about_to_commit(shore: Shore) -> None:
    """Files that only old snapshots need, and those that a killed export left, are removed.

    Once rows were deleted for good, no file without a snapshot stays.
    """
    shore.export()
    shore.compact()
    shore.change()
    shore.export()
    folder = shore.side.place / DAILY
    new = folder / "data" / "new.parquet"
    copy = next(folder.rglob("part-*.parquet"))
    ours = copy.with_name("part-0000-of-0002-0123456789ab.parquet")
    for path in (new, ours):
        path.write_bytes(b"x")
    shore.export(expire=True)
    assert (new.exists(), ours.exists()) == (True, False)
    assert shore.rows() == shore.side.rows()
    shore.side.forget_last()
    shore.export(expire=True)
    assert not new.exists()


def in_one_manifest(swap: Any) -> list[ManifestFile]:
    """Write entries for files that stay and that were removed into one manifest, as Java does."""
    found = _OverwriteFiles._manifests(swap)
    with swap.new_manifest_writer(swap.spec(0)) as writer:
        for manifest in found:
            for entry in swap.fetch_manifest_entry(manifest, discard_deleted=False):
                writer.add_entry(entry)
    return [writer.to_manifest_file()]


def die_of_interrupt(_: LocalStore, name: str) -> None:
    """End where a data file is removed."""
    if name.endswith(".parquet"):
        raise KeyboardInterrupt


def test_a_table_of_somebody_else_is_left_alone(
    shore: Shore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also one of another version, and one at another place."""
    shore.catalog.create_namespace("other")
    shore.catalog.create_table(f"other.{DAILY}", pa.schema([("a", pa.int64())]), str(tmp_path))
    with pytest.raises(UsageError, match="not made by harvester"):
        shore.export(schema="other")
    shore.export()
    catalog = f"sqlite:///{shore.side.place}/catalog.db"
    with pytest.raises(UsageError, match=f"is at {shore.side.place}.* by the catalog"):
        exporting.export(
            tmp_path / "elsewhere", to="iceberg", output=shore.side.output, catalog=catalog
        )
    monkeypatch.setattr(iceberg, "_FORMAT", 3)
    with pytest.raises(UsageError, match="another version"):
        shore.export()


@pytest.mark.parametrize(
    ("catalog", "problem"),
    [
        ("catalog.db", "catalog: no catalog of Iceberg"),
        ("mysql://host/lake", "catalog: no catalog of Iceberg"),
        ("postgresql://harvester:never-shown@host/lake", "catalog: has a password"),
        ("postgresql://host/lake?password=never-shown", "catalog: has a password"),
    ],
)
def test_a_catalog_without_a_password(tmp_path: Path, catalog: str, problem: str) -> None:
    """Of a kind that there is; the message does not repeat it."""
    with pytest.raises(UsageError, match=problem) as failed:
        opened(tmp_path, catalog)
    assert "never-shown" not in str(failed.value)


def test_an_object_store_needs_a_catalog() -> None:
    """A file in it would not be one for two writers."""
    with pytest.raises(UsageError, match="an object store need a catalog"):
        opened("s3://bucket/lake", None)
    with pytest.raises(UsageError, match="pyiceberg knows no az://"):
        opened("az://container/lake", "sqlite:///catalog.db")


@pytest.mark.long
def test_a_catalog_that_cannot_be_read_is_an_error_with_its_place(tmp_path: Path) -> None:
    """A file that is no database, and a server that is not there."""
    (tmp_path / "catalog.db").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match=f"{tmp_path}: .*not a database"):
        opened(tmp_path, None)
    with pytest.raises(StoreAway, match=f"{tmp_path}: catalog or store is away: .*refused"):
        opened(tmp_path, "http://127.0.0.1:1")
    with warnings.catch_warnings():
        # pyiceberg leaves the connection of a catalog that it could not read to the collector.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.ServiceUnavailableError("RestError: Service Unavailable"), StoreAway),
        (exceptions.ServerError("RESTError 502: no JSON"), StoreAway),
        (exceptions.CommitStateUnknownException("gateway"), StoreAway),
        (OSError("AWS Error NETWORK_CONNECTION during HeadObject"), StoreAway),
        (ValueError("psycopg2: the database system is starting up"), StoreAway),
        (ValueError("psycopg2: timeout expired"), StoreAway),
        (ValueError("psycopg2: server closed the connection unexpectedly"), StoreAway),
        (OSError("Generic S3 error: error sending request"), StoreAway),
        (OSError("IO Error: Could not connect to server error for HTTP HEAD"), StoreAway),
        (OSError("HTTP GET error reading a file (HTTP 503 Slow Down)"), StoreAway),
        (OSError("HTTP GET error reading a file (HTTP 403 Forbidden)"), StoreError),
        (ConnectionError("Failed to resolve 'host': Name or service not known"), StoreError),
        (exceptions.UnauthorizedError("RestError: Unauthorized"), StoreError),
        (ValueError("password authentication failed for user"), StoreError),
        (sqlite3.OperationalError("database is locked"), LostRace),
    ],
)
def test_a_catalog_that_cannot_answer_now_is_told_from_one_that_refuses(
    tmp_path: Path, error: Exception, kind: type[StoreError]
) -> None:
    """The next export may have an answer of the first, so that its code is 75."""
    tables = opened(tmp_path, None)
    with pytest.raises(StoreError) as failed, tables._errors(DAILY):
        raise error
    assert type(failed.value) is kind
    assert (failed.value.exit_code == Exit.AGAIN) == (kind is not StoreError)
    assert str(error) in failed.value.problem


def opened(place: Path | str, catalog: str | None) -> iceberg.Tables:
    """Return the tables of a place in a catalog."""
    files = LocalStore(Path("/")) if isinstance(place, str) else LocalStore(place)
    return iceberg.Tables(Lake(files, place, [], catalog, None, "wechat", lambda: 0.0))


@pytest.mark.long
def test_a_rest_catalog(shore: Shore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its token comes from the environment of pyiceberg."""
    monkeypatch.setattr(
        "pyiceberg.catalog._ENV_CONFIG.config", {"catalog": {"harvester": {"token": TOKEN}}}
    )
    with rest_catalog(shore.catalog) as address:
        shore.export(catalog=address, warehouse="lake")
        shore.change()
        done = shore.export(catalog=address, warehouse="lake")
        assert (done.added, done.removed) == (1, 1)
        assert shore.rows() == shore.side.rows()
        shore.export(catalog=address, warehouse="lake", expire=True)
        monkeypatch.undo()
        with pytest.raises(StoreError) as failed:
            shore.export(catalog=address)
        assert TOKEN not in str(failed.value)
    assert shore.rows() == shore.side.rows()


def test_the_lines_of_the_page_read_a_table(shore: Shore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the newest snapshot, and of the first one."""
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    shore.export()
    before = shore.rows()
    shore.change()
    shore.export()
    monkeypatch.chdir(shore.side.place.parent)
    names: dict[str, Any] = {}
    for block in blocks(ROOT / "docs/iceberg.md", "python"):
        exec(block.text, names)
    assert names["frame"].collect().height == len(before)
    in_april = [row for row in before if str(row["ref_date"]) >= "2026-04-01"]
    assert names["con"].sql("select count(*) from rows").fetchall() == [(len(in_april),)]
    assert in_order(names["as_of"]) == before
    names["con"].close()
    names["catalog"].close()


def test_tables_in_an_object_store(
    side: Lakeside, s3_output: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the variables that the store has; the catalog is a file here."""
    endpoint = str(s3_output.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    uri = f"sqlite:///{tmp_path}/catalog.db"
    daily = {DAILY: lake_tables()[DAILY]}
    monkeypatch.setattr(exporting, "lake_tables", lambda: daily)
    monkeypatch.setattr(side, "place", f"{s3_output.path}/lake")
    side.export("iceberg", catalog=uri)
    side.forget_last()
    assert side.export("iceberg", catalog=uri).holding
    assert not side.export("iceberg", catalog=uri, expire=True).holding
    given = {"s3.endpoint": endpoint, "s3.region": "us-east-1"}
    with closing(SqlCatalog("harvester", uri=uri, **given)) as catalog:
        found = catalog.load_table(f"wechat.{DAILY}").scan().to_arrow()
    assert in_order(found) == side.rows()
