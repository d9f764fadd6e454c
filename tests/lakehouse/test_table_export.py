"""Exports beside runs, compaction and deletion: what a table may hold, and what is told of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.errors import (
    DamagedOutput,
    HarvesterError,
    LeaseLost,
    LostRace,
    UsageError,
)
from harvester.core.hold import Hold
from harvester.runs.record.record import Record
from harvester.runs.run_log import RunLog, locked
from harvester.runs.stream import Stream
from harvester.storage.backends.local import LocalStore
from harvester.storage.layout import CHANGES, Tree
from harvester.verbs.changes import ALL_CHANGES
from harvester.verbs.lakehouse import delta, formats
from harvester.verbs.lakehouse import export as exporting
from harvester.verbs.lakehouse.copies import Copies
from harvester.verbs.lakehouse.tables import LakeTable
from harvester.verbs.rewrite import rewrite_tree
from tests.lakehouse.exports import DAILY, Lakeside
from tests.support.lake_kills import Killed
from tests.support.lake_readers import DeltaReader, rows_of_output
from tests.support.run_harness import HOURLY

Does = Callable[[str], object]


def after_copies(monkeypatch: pytest.MonkeyPatch, do: Does) -> None:
    """Call a function after each copy, with the name of its source below the output."""
    real = Copies.copy

    def copy(copies: Copies, source: str) -> Any:
        made = real(copies, source)
        do(f"{copies.folder}/{source}")
        return made

    monkeypatch.setattr(Copies, "copy", copy)


def newest(lakeside: Lakeside, name: str) -> list[str]:
    """Return the rows of the newest version."""
    reader = DeltaReader(lakeside.place)
    return reader.rows(name, reader.versions(name)[-1])


def holding(lakeside: Lakeside) -> set[str]:
    """Export; return the tables of which older versions hold what was deleted for good."""
    return {table.name for table in lakeside.export().holding}


def test_no_table_mixes_what_was_published_at_two_times(
    lakeside: Lakeside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run beside the copies of the second table replaces a file that was copied already."""
    once = ["2026-03-30"]

    def publish(source: str) -> None:
        if source.startswith(f"{HOURLY}/") and once:
            lakeside.replace_rows(once.pop())

    after_copies(monkeypatch, publish)
    lakeside.export()
    assert newest(lakeside, HOURLY) == rows_of_output(lakeside.output, HOURLY)


@pytest.mark.long
def test_a_deletion_beside_an_export_is_told(
    lakeside: Lakeside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second table is copied after it, and its older version holds the rows."""
    lakeside.export()
    for day in ("2026-03-30", "2026-04-01"):
        lakeside.replace_rows(day)
    once, real = [lakeside.forget_last], Copies.copy

    def copy(copies: Copies, source: str) -> Any:
        if copies.folder == HOURLY and once:
            once.pop()()
        return real(copies, source)

    monkeypatch.setattr(Copies, "copy", copy)
    told = holding(lakeside)
    monkeypatch.undo()
    assert HOURLY in told
    assert {DAILY, HOURLY} <= holding(lakeside)


@pytest.mark.long
def test_runs_without_end_lose_no_row(lakeside: Lakeside, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table stays as it is, and the next export has everything."""
    lakeside.export()
    monkeypatch.setattr(exporting, "_MAX_ROUNDS", 2)
    lakeside.harness.accounts = 1
    lakeside.replace_rows("2026-04-01")
    lakeside.harness.accounts = 6

    def publish(source: str) -> None:
        if source.startswith(f"{DAILY}/"):
            lakeside.replace_rows("2026-03-30")

    after_copies(monkeypatch, publish)
    before = newest(lakeside, DAILY)
    with pytest.raises(LostRace, match="faster than they are copied"):
        lakeside.export()
    assert newest(lakeside, DAILY) == before
    monkeypatch.undo()
    lakeside.export()
    assert newest(lakeside, DAILY) == rows_of_output(lakeside.output, DAILY)


def test_a_month_that_is_gone_leaves_a_compacted_table(lakeside: Lakeside) -> None:
    """No source of it is known any more: neither in the output nor by a name in the table."""
    lakeside.export()
    deltalake.DeltaTable(lakeside.place / DAILY).optimize.compact()
    shutil.rmtree(lakeside.output / DAILY / "ref_month=2026-03")
    lakeside.harness.begin = "2026-04-01"
    lakeside.repair()
    lakeside.export()
    assert newest(lakeside, DAILY) == rows_of_output(lakeside.output, DAILY)


def test_a_deletion_is_told_after_a_rewrite_too(lakeside: Lakeside, tmp_path: Path) -> None:
    """A file that went with its last account is of another number of buckets then."""
    lakeside.harness.root, lakeside.harness.accounts = tmp_path / "small", 1
    lakeside.harness.run()
    lakeside.export()
    lakeside.forget_last()
    old, new = lakeside.harness.tree, Tree(LocalStore(tmp_path / "new"), 3)
    logs = [RunLog(Stream(Record.begun(Path("jobs.yaml"), 1.8e9), lambda: 1.8e9)) for _ in "12"]
    rewrite_tree(old, new, CATALOGUE, old=logs[0], new=logs[1])
    lakeside.harness.root, lakeside.harness.buckets = tmp_path / "new", 3
    assert {DAILY, HOURLY, "accounts", "coverage"} <= holding(lakeside)


def test_a_repair_deletes_nothing_for_good(lakeside: Lakeside) -> None:
    """The days are open, and fetched again."""
    lakeside.export()
    next((lakeside.output / DAILY).rglob("*.parquet")).unlink()
    lakeside.repair()
    assert lakeside.table().removed == 1
    assert holding(lakeside) == set()


@pytest.mark.long
@pytest.mark.parametrize("is_exported", [True, False])
def test_a_deletion_is_told_where_a_repair_came_before_it(
    lakeside: Lakeside, *, is_exported: bool
) -> None:
    """The newest version has no file of the dataset then, and older ones have the account."""
    lakeside.harness.accounts = 1
    lakeside.harness.root = lakeside.harness.root.with_name("small")
    lakeside.harness.run()
    lakeside.export()
    shutil.rmtree(lakeside.output / DAILY)
    lakeside.repair()
    assert lakeside.table().removed
    lakeside.harness.run()
    if is_exported:
        assert lakeside.table().added
    lakeside.forget_last()
    assert {DAILY, HOURLY} <= holding(lakeside)
    assert not lakeside.export(expire=True).holding
    assert holding(lakeside) == set()


def test_where_the_history_has_a_gap_a_deletion_may_be_in_it(lakeside: Lakeside) -> None:
    """So the older versions are named."""
    lakeside.export()
    lakeside.forget_last()
    shutil.rmtree(lakeside.output / CHANGES)
    assert {DAILY, HOURLY, "accounts", "coverage"} <= holding(lakeside)


def test_an_account_without_a_row_is_deleted_for_good(lakeside: Lakeside) -> None:
    """No data file and so no entry of the feed knows it, but two tables do."""
    lakeside.harness.accounts = 7
    lakeside.harness.sandbox.fail(lakeside.harness.appids[-1], 48001)
    lakeside.harness.run()
    lakeside.export()
    gone = lakeside.forget_last()
    assert {"accounts", "coverage"} <= holding(lakeside)
    assert not any(gone in row for row in newest(lakeside, "accounts"))


def test_an_account_in_the_label_of_a_run_is_deleted_for_good(lakeside: Lakeside) -> None:
    """Forgetting removes the label from the output, and older versions of `runs` hold it."""
    gone = lakeside.harness.appids[-1]
    (path,) = (lakeside.output / "runs").rglob("*.parquet")
    found = pq.ParquetFile(path).read()
    named = [{**row, "labels": [("team", "growth"), ("for", gone)]} for row in found.to_pylist()]
    pq.write_table(pa.Table.from_pylist(named, schema=found.schema), path)
    lakeside.export()
    assert any(gone in row for row in newest(lakeside, "runs"))
    lakeside.harness.run()
    assert "runs" not in holding(lakeside)
    assert lakeside.forget_last() == gone
    assert "runs" in holding(lakeside)
    assert not any(gone in row for row in newest(lakeside, "runs"))
    assert not lakeside.export(expire=True).holding


def test_a_missing_library_is_named_with_the_extra_that_brings_it(
    lakeside: Lakeside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package alone may not be enough: a SQL catalog of Iceberg needs more."""

    def missing(_: str) -> Any:
        raise ModuleNotFoundError(name="sqlalchemy")

    monkeypatch.setattr(formats, "import_module", missing)
    with pytest.raises(HarvesterError, match="sqlalchemy is not installed") as caught:
        lakeside.export("iceberg")
    assert "'.[iceberg]'" in caught.value.advice


@pytest.mark.parametrize("other", [("delta", "wechat"), ("iceberg", "other")])
def test_a_place_has_the_tables_of_one_format_and_schema(
    lakeside: Lakeside, other: tuple[str, str]
) -> None:
    """Else the expiry of one table would remove files of the other, in the same folder."""
    lakeside.export("iceberg")
    before = sorted(lakeside.place.rglob("*"))
    to, schema = other
    with pytest.raises(UsageError, match="has tables of iceberg in the schema wechat"):
        lakeside.export(to, schema=schema)
    assert {*before} == {path for path in lakeside.place.rglob("*") if path.name[0] != "."}
    assert not any(table.added for table in lakeside.export("iceberg").tables)


def test_days_of_all_datasets_are_in_one_table(lakeside: Lakeside) -> None:
    """Whichever were exported first: the output does not change before the next export."""
    lakeside.export(datasets=DAILY)
    lakeside.export()
    assert newest(lakeside, "coverage") == rows_of_output(lakeside.output, "coverage")
    lakeside.export(datasets=HOURLY)
    assert newest(lakeside, "coverage") == rows_of_output(lakeside.output, "coverage")


def test_a_race_is_lost_where_columns_are_added_too(
    lakeside: Lakeside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the rows that the other writer has merged would be there twice."""
    lakeside.export()
    lakeside.replace_rows("2026-04-01")
    columns = delta.Tables._prepared

    def late(self: delta.Tables, table: LakeTable, base: Any, swap: Any) -> int:
        deltalake.DeltaTable(lakeside.place / table.name).optimize.z_order(["appid"])
        return int(columns(self, table, base._replace(columns=base.columns[:-1]), swap))

    monkeypatch.setattr(delta.Tables, "_prepared", late)
    monkeypatch.setattr(
        deltalake.table.TableAlterer,
        "add_columns",
        lambda self, _: self.table.alter.set_table_description("x"),
    )
    with pytest.raises(LostRace, match="faster"):
        lakeside.export()


def test_nothing_is_committed_once_the_lease_has_ended(
    lakeside: Lakeside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another export may work there, and commits are not all conditional."""
    lakeside.export()
    before = newest(lakeside, DAILY)
    lakeside.replace_rows("2026-04-01")

    @contextmanager
    def lost(*given: Any) -> Iterator[Tree]:
        with locked(*given) as held:
            yield replace(held, hold=Hold(lambda: False))

    monkeypatch.setattr("harvester.verbs.lakehouse.export.locked", lost)
    for expire in (False, True):
        with pytest.raises(LeaseLost):
            lakeside.export(expire=expire)
    assert newest(lakeside, DAILY) == before


@pytest.mark.parametrize("chosen", [{}, {"begin_date": "2026-04-01"}])
@pytest.mark.parametrize("name", [DAILY, "coverage"])
def test_a_file_of_a_newer_version_is_not_copied(
    lakeside: Lakeside, name: str, chosen: dict[str, Any]
) -> None:
    """Its columns may mean something else, so nothing of its table is committed."""
    *_, path = sorted((lakeside.output / name).rglob("*.parquet"))
    keys = pq.read_metadata(path).metadata
    newer = {key: b"3" if key.endswith(b"_version") else keys[key] for key in keys}
    pq.write_table(pq.ParquetFile(path).read().replace_schema_metadata(newer), path)
    with pytest.raises(UsageError, match=f"{name}/.* version 3, and this harvester reads"):
        lakeside.export(**chosen)
    assert not (lakeside.place / name / "_delta_log").exists()


@pytest.mark.parametrize("name", ["accounts", "codes"])
def test_a_damaged_table_is_made_again_by_a_run(lakeside: Lakeside, name: str) -> None:
    """The message says so: it has no days that could be asked again."""
    path, *_ = (lakeside.output / name).rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DamagedOutput, match="not a file of this table") as raised:
        lakeside.export()
    assert raised.value.advice == "the next run makes it again"


@pytest.mark.parametrize("feature", ["DeletionVectors", "ColumnMapping"])
def test_a_table_of_a_newer_protocol_is_left_alone(lakeside: Lakeside, feature: str) -> None:
    """A writer that does not know the feature would show deleted rows again."""
    lakeside.export()
    table = deltalake.DeltaTable(lakeside.place / DAILY)
    table.alter.add_feature(
        getattr(deltalake.TableFeatures, feature), allow_protocol_versions_increase=True
    )
    with pytest.raises(UsageError, match="needs a newer writer"):
        lakeside.export()


# The journal of copies.

OLD, NEW = "codes-000000000000.parquet", "codes-111111111111.parquet"


def journal(root: Path) -> Copies:
    """Return the journal of a folder with a copy of before."""
    store = LocalStore(root)
    store.put(f"codes/{OLD}", b"old")
    return Copies(store, store, "codes", ALL_CHANGES)


def files(root: Path) -> set[str]:
    """Return the copies that are there."""
    return {path.name for path in (root / "codes").iterdir()}


def test_the_copies_of_a_killed_export_are_removed(tmp_path: Path) -> None:
    """Those of before and of older versions stay."""
    one = journal(tmp_path)
    one.begin([], "3")
    one.target.put(f"codes/{NEW}", b"new")
    one.end([], "3")
    assert files(tmp_path) == {OLD}
    assert not (tmp_path / "_harvester/export-codes.json").exists()


def test_a_killed_export_begins_again(tmp_path: Path) -> None:
    """A copy that the second one does not use goes too."""
    one = journal(tmp_path)
    one.begin([], "3")
    one.target.put(f"codes/{NEW}", b"new")
    one.begin([], "3")
    one.end([OLD], "3")
    assert files(tmp_path) == {OLD}


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize(("version", "left"), [("3", {OLD}), ("5", {OLD, NEW})])
def test_what_a_version_since_then_may_need_stays(
    tmp_path: Path, version: str, left: set[str], *, again: bool
) -> None:
    """Killed beside its commit: where there is another version, it may have been committed."""
    one = journal(tmp_path)
    one.begin([], "3")
    one.target.put(f"codes/{NEW}", b"new")
    one.commit([NEW], "3")
    if again:
        one.begin(["merged.parquet"], version)
    one.end(["merged.parquet"], version)
    assert files(tmp_path) == left


def test_what_was_not_about_to_be_committed_goes_whatever_others_do(tmp_path: Path) -> None:
    """Another writer has made a version since the export was killed."""
    one = journal(tmp_path)
    one.begin([], "3")
    one.target.put(f"codes/{NEW}", b"new")
    one.end([OLD], "4")
    assert files(tmp_path) == {OLD}


@pytest.mark.parametrize("text", ["", "{", "3", '"x"', "{}", '["3"]', '[["3"], 1, 2]'])
def test_a_damaged_journal_removes_nothing(tmp_path: Path, text: str) -> None:
    """It is no list of what may stay."""
    one = journal(tmp_path)
    one.target.put("_harvester/export-codes.json", text.encode())
    one.end([], "3")
    one.begin([], "3")
    one.end([], "3")
    assert files(tmp_path) == {OLD}
    assert not (tmp_path / "_harvester/export-codes.json").exists()


def test_an_export_that_was_killed_after_its_commit_keeps_every_version(
    lakeside: Lakeside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the copies were merged before the next export."""
    reader = DeltaReader(lakeside.place)

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Copies, "end", die)
        with pytest.raises(Killed):
            lakeside.export()
    # The first table that is exported.
    name = DAILY
    version = reader.versions(name)[-1]
    rows = reader.rows(name, version)
    reader.compact(name)
    lakeside.export()
    assert reader.rows(name, version) == rows


def test_what_a_killed_export_was_writing_is_removed(lakeside: Lakeside) -> None:
    """It may have rows that were deleted for good since."""
    lakeside.export()
    half = lakeside.place / "_harvester" / "tmp" / "accounts.part-0000-of-0002.parquet.1.tmp"
    half.write_bytes(b"half")
    lakeside.export()
    assert not half.exists()
