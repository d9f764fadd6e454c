"""Tables of Delta Lake, as their own library and Polars read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import deltalake
import polars as pl
import pyarrow as pa
import pytest

from harvester.core.config.settings import Output
from harvester.core.errors import LostRace, UsageError
from harvester.storage.backends import atomic_files
from harvester.verbs.lakehouse import delta
from harvester.verbs.lakehouse import export as lake_export
from harvester.verbs.lakehouse.export import export
from harvester.verbs.lakehouse.formats import Lake
from harvester.verbs.lakehouse.tables import LakeTable, Swap
from tests.lakehouse.exports import DAILY, Lakeside, in_order
from tests.support.doc_pages import ROOT, blocks
from tests.support.store_backends import conditions_sent


def opened(lakeside: Lakeside, name: str = DAILY, version: int | None = None) -> Any:
    """Return a table as the library reads it."""
    return deltalake.DeltaTable(lakeside.place / name, version=version)


def rows(lakeside: Lakeside, name: str = DAILY, version: int | None = None) -> list[dict[str, Any]]:
    """Return the rows of a table without the month."""
    frame = pl.read_delta(str(lakeside.place / name), version=version)
    return in_order(frame.drop("ref_month", strict=False).to_arrow())


def test_each_table_has_the_rows_of_its_files(lakeside: Lakeside) -> None:
    """Of both datasets, and of the tables beside them."""
    done = lakeside.export()
    assert {each.name for each in done.tables} == {
        *("interface_summary", "interface_summary_hour", "accounts", "coverage", "codes", "runs")
    }
    for each in done.tables:
        assert rows(lakeside, each.name) == lakeside.rows(each.name)
    months = opened(lakeside).partitions()
    assert sorted(each["ref_month"] for each in months) == ["2026-03", "2026-04"]


def test_columns_are_described(lakeside: Lakeside) -> None:
    """With types, comments and nullability of the catalogue."""
    lakeside.export()
    table = opened(lakeside)
    fields = {field["name"]: field for field in json.loads(table.schema().to_json())["fields"]}
    assert [fields["appid"]["nullable"], fields["callback_count"]["nullable"]] == [False, True]
    assert fields["callback_count"]["type"] == "long"
    assert all(field["metadata"]["comment"] for field in fields.values())
    assert table.metadata().description


def test_readers_skip_by_account_and_day(lakeside: Lakeside) -> None:
    """The bounds of both are in the log."""
    lakeside.export()
    actions = pa.table(opened(lakeside).get_add_actions(flatten=True)).to_pylist()
    for action in actions:
        assert action["min.appid"] < action["max.appid"]
        assert str(action["min.ref_date"]).startswith(action["partition.ref_month"])
    assert sum(action["num_records"] for action in actions) == len(lakeside.rows())


def test_nothing_new_makes_no_version(lakeside: Lakeside) -> None:
    """However often it is repeated."""
    first = lakeside.export()
    again = lakeside.export()
    assert [each.version for each in again.tables] == [each.version for each in first.tables]
    assert not any(each.added or each.removed for each in again.tables)


def test_one_changed_file_is_swapped_and_older_versions_stay(lakeside: Lakeside) -> None:
    """The files of the other month and of the other bucket stay as they are."""
    version = int(lakeside.table().version)
    before, files = rows(lakeside), lakeside.copies()
    lakeside.harness.accounts = 1
    lakeside.replace_rows("2026-04-01")
    done = lakeside.table()
    assert (done.added, done.removed) == (1, 1)
    assert rows(lakeside) == lakeside.rows() != before
    assert rows(lakeside, version=version) == before
    assert len(lakeside.copies() - files) == 1


def test_another_writer_that_is_faster_wins(
    lakeside: Lakeside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is overwritten, and the next export has the change."""
    lakeside.export()
    lakeside.replace_rows("2026-04-01")
    commit = delta.Tables.commit

    def late(self: delta.Tables, table: LakeTable, base: Any, swap: Swap) -> str:
        opened(lakeside).optimize.z_order(["appid"])
        return commit(self, table, base, swap)

    monkeypatch.setattr(delta.Tables, "commit", late)
    with pytest.raises(LostRace, match="faster"):
        lakeside.export()
    monkeypatch.undo()
    assert rows(lakeside) != lakeside.rows()
    lakeside.export()
    assert rows(lakeside) == lakeside.rows()


def test_a_month_that_was_compacted_is_replaced_as_a_whole(lakeside: Lakeside) -> None:
    """Compaction keeps the cursor, and the other month stays compacted."""
    lakeside.export()
    opened(lakeside).optimize.compact()
    assert lakeside.table().version == str(opened(lakeside).version())
    lakeside.harness.accounts = 1
    lakeside.replace_rows("2026-04-01")
    done = lakeside.table()
    assert (done.added, done.removed) == (2, 1)
    assert rows(lakeside) == lakeside.rows()


def test_rows_that_were_deleted_for_good_are_named_until_they_are_gone(lakeside: Lakeside) -> None:
    """Older versions hold them, in files and in the bounds of the log."""
    lakeside.export()
    gone = lakeside.forget_last()
    done = lakeside.export()
    assert {each.name for each in done.holding} == {
        DAILY,
        "interface_summary_hour",
        "accounts",
        "coverage",
    }
    assert rows(lakeside) == lakeside.rows()
    assert [each.name for each in lakeside.export().holding] == [each.name for each in done.holding]
    assert not lakeside.export(expire=True).holding
    assert not lakeside.export().holding
    assert rows(lakeside) == lakeside.rows()
    holding = [path for path in files_of(lakeside.place) if gone.encode() in path.read_bytes()]
    assert not holding


def test_each_version_with_rows_that_were_deleted_for_good_is_named(lakeside: Lakeside) -> None:
    """From the first one to the one before the deletion was exported."""
    lakeside.export()
    gone = lakeside.forget_last()
    done = lakeside.table()
    assert done.holding == [f"version {number}" for number in range(int(done.version))]
    for version, holds in ((int(done.version) - 1, True), (int(done.version), False)):
        assert any(row["appid"] == gone for row in rows(lakeside, version=version)) is holds


def test_a_version_of_the_log_is_flushed_and_then_its_name(
    lakeside: Lakeside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut behind the commit loses neither."""
    flushed, sync = list[int](), atomic_files.sync

    def noted(path: Path) -> None:
        sync(path)
        flushed.append(path.stat().st_ino)

    monkeypatch.setattr(atomic_files, "sync", noted)
    version = int(lakeside.table().version)
    log = lakeside.place / DAILY / "_delta_log"
    file, folder = (log / f"{version:020d}.json").stat().st_ino, log.stat().st_ino
    # The last of each: a number of a file that is gone may be that of a later one.
    assert flushed[::-1].index(folder) < flushed[::-1].index(file)


def test_an_expiry_tells_the_version_that_remains(lakeside: Lakeside) -> None:
    """The table's own vacuum makes newer ones than the export did, and that one is gone."""
    lakeside.export()
    lakeside.replace_rows("2026-04-01")
    version = int(lakeside.table(expire=True).version)
    assert version == opened(lakeside).version()
    assert rows(lakeside, version=version) == lakeside.rows()


def test_an_expiry_removes_what_a_clock_that_was_ahead_removed(
    lakeside: Lakeside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table's own vacuum keeps files whose removal is in its future."""
    lakeside.export()
    gone = lakeside.forget_last()

    def lake_of_tomorrow(*of: Any) -> Lake:
        lake = Lake(*of)
        return lake._replace(now=lambda: lake.now() + 86_400)

    with monkeypatch.context() as ahead:
        ahead.setattr(lake_export, "Lake", lake_of_tomorrow)
        lakeside.export()
    assert not lakeside.export(expire=True).holding
    assert rows(lakeside) == lakeside.rows()
    assert not [path for path in files_of(lakeside.place) if gone.encode() in path.read_bytes()]


def files_of(folder: Path) -> list[Path]:
    """Return all files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_table_of_somebody_else_is_left_alone(lakeside: Lakeside) -> None:
    """Also one that a newer protocol has changed."""
    own = lakeside.place / DAILY
    deltalake.write_deltalake(own, pa.table({"a": [1]}))
    with pytest.raises(UsageError, match="not made by harvester"):
        lakeside.export()


def test_a_new_column_is_added(lakeside: Lakeside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of before have null there."""
    lakeside.export()
    known = delta.Tables.commit

    def more(self: delta.Tables, table: LakeTable, base: Any, swap: Swap) -> str:
        extra = pa.field("tomorrow", pa.int64(), metadata={"comment": "new"})
        return known(self, table._replace(schema=table.schema.append(extra)), base, swap)

    monkeypatch.setattr(delta.Tables, "commit", more)
    lakeside.replace_rows("2026-04-01")
    lakeside.export()
    assert {row["tomorrow"] for row in rows(lakeside)} == {None}
    assert [row | {"tomorrow": None} for row in lakeside.rows()] == rows(lakeside)


def test_the_lines_of_the_page_read_a_table(
    lakeside: Lakeside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the newest version, and of an older one."""
    lakeside.export()
    for day in ("2026-04-01", "2026-04-02"):
        lakeside.replace_rows(day)
        lakeside.export()
    monkeypatch.chdir(lakeside.place.parent)
    names: dict[str, Any] = {}
    for block in blocks(ROOT / "docs/delta.md", "python"):
        exec(block.text, names)
    assert names["as_of"].version() == 3
    assert not names["rows"].is_empty()


@pytest.mark.long
def test_tables_in_an_object_store(
    s3_output: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made, swapped and expired as on a disk; the log is put under its condition."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", str(s3_output.endpoint))
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    lakeside = Lakeside(tmp_path)
    lakeside.harness.run()
    place = f"{s3_output.path}/lake"
    export(place, to="delta", output=lakeside.output)
    lakeside.replace_rows("2026-04-01")
    lakeside.forget_last()
    done = export(place, to="delta", output=lakeside.output)
    assert done.holding
    assert not export(place, to="delta", output=lakeside.output, expire=True).holding
    found = pl.read_delta(f"{place}/{DAILY}").drop("ref_month")
    assert in_order(found.to_arrow()) == lakeside.rows()
    first = {
        name: conditions
        for name, [conditions, *_] in conditions_sent(s3_output).items()
        if name.endswith(".json") and "_delta_log/" in name
    }
    assert first
    assert all(conditions == {"HTTP_IF_NONE_MATCH": "*"} for conditions in first.values())
