"""`harvester.open`: what each reader gives, against DuckDB's reading of the files themselves."""

from __future__ import annotations

import datetime as dt
import json
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import harvester
from harvester.catalogue import CATALOGUE
from harvester.cli import invoke
from harvester.core.calendar import date_of, month_begin
from harvester.core.config.settings import Output as Settings
from harvester.core.errors import LeaseLost
from harvester.core.exit_codes import Exit
from harvester.core.hold import Hold
from harvester.storage.derived import derived_files, derived_runs
from harvester.storage.layout import RUN_ROWS, open_tree
from harvester.storage.state import run_records
from harvester.tables import coverage
from harvester.tables.columns import arrow_schema
from tests.support.harvested_output import DATASETS, REJECTED, Lab, harvest
from tests.support.run_harness import DAILY, HOURLY, appid, files_of

each_dataset = pytest.mark.parametrize("name", DATASETS)


def rows_in_files(folder: Path, name: str, where: str = "true") -> pa.Table:
    """Return the rows of a dataset as DuckDB reads the files, sorted by key."""
    files = f"{folder}/{name}/ref_month=*/*.parquet"
    query = f"select * from read_parquet('{files}', hive_partitioning=true) where {where}"
    found = duckdb.sql(f"{query} order by all")
    assert found is not None
    return found.to_arrow_table()


def in_order(found: pa.Table) -> list[tuple[Any, ...]]:
    """Return all rows, sorted as `rows_in_files` sorts them."""
    return duckdb.from_arrow(found).order("all").fetchall()


def test_the_datasets_that_exist_are_named(lab: Lab) -> None:
    """Datasets of the catalogue without a file are not named."""
    assert set(lab.output.datasets) == set(DATASETS)
    assert list(lab.output.datasets) == [name for name in CATALOGUE if name in DATASETS]
    assert lab.output.place in repr(lab.output)


@each_dataset
def test_arrow_has_the_rows_of_the_files(lab: Lab, name: str) -> None:
    """All rows, the dataset's own columns and types, and the month from the path."""
    found = lab.output.arrow(name)
    expected = rows_in_files(lab.folder, name)
    assert found.schema == arrow_schema(CATALOGUE[name]).append(pa.field("ref_month", pa.string()))
    assert found.count_rows() == len(expected) > 0
    assert in_order(found.to_table()) == in_order(expected)
    assert not found.schema.metadata


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({"begin_date": "2026-04-15"}, "ref_date >= '2026-04-15'"),
        ({"begin_date": dt.date(2026, 4, 15), "end_date": "yesterday"}, "ref_date >= '2026-04-15'"),
        ({"end_date": "2026-05-03"}, "ref_date <= '2026-05-03'"),
        ({"begin_date": "earliest", "accounts": appid(2)}, f"appid = '{appid(2)}'"),
        (
            {"accounts": f"{appid(1)}, {appid(4)}", "end_date": dt.date(2026, 3, 9)},
            f"appid in ('{appid(1)}', '{appid(4)}') and ref_date <= '2026-03-09'",
        ),
        (
            {"begin_date": "2026-04-30", "end_date": "2026-05-01", "accounts": [appid(5)]},
            f"appid = '{appid(5)}' and ref_date in ('2026-04-30', '2026-05-01')",
        ),
        ({"accounts": [appid(9)]}, "false"),
        ({"begin_date": "2027-01-01"}, "false"),
    ],
)
def test_arrow_reads_the_days_and_accounts_that_are_asked_for(
    on_disk: Lab, asked: dict[str, Any], where: str
) -> None:
    """Both days are included; an account that was never harvested has no rows."""
    found = on_disk.output.arrow(HOURLY, **asked)
    expected = rows_in_files(on_disk.folder, HOURLY, where)
    assert in_order(found.to_table()) == in_order(expected)
    # DuckDB and Polars take such a dataset with its condition.
    late = expected.filter(pc.field("ref_hour") > 12).num_rows
    assert duckdb.execute("select count(*) from found where ref_hour > 12").fetchall() == [(late,)]
    assert pl.scan_pyarrow_dataset(found).filter(pl.col("ref_hour") > 12).collect().height == late


def test_no_account_at_all_has_no_rows(on_disk: Lab) -> None:
    """An empty list is a choice too, and not all accounts."""
    assert on_disk.output.arrow(HOURLY, accounts=[]).count_rows() == 0


def test_files_and_row_groups_of_other_rows_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other months, buckets and row groups may be damaged: none of their pages is looked at."""
    monkeypatch.setattr("harvester.tables.row_groups.ROW_GROUP_ROWS", 200)
    harvest(tmp_path)
    out = harvester.open(tmp_path)
    asked: dict[str, Any] = {"begin_date": "2026-05-01", "accounts": appid(3)}
    whole = out.arrow(HOURLY, **asked).to_table()
    spared = 0
    for path in (tmp_path / HOURLY).rglob("*.parquet"):
        file = pq.ParquetFile(path)
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        for group in groups:
            names = group.column(0).statistics
            if path.parent.name == "ref_month=2026-05" and names.min <= appid(3) <= names.max:
                spared += 1
                continue
            columns = [group.column(number) for number in range(group.num_columns)]
            with path.open("r+b") as damaged:
                begin = min(c.dictionary_page_offset or c.data_page_offset for c in columns)
                damaged.seek(begin)
                damaged.write(b"\xff" * sum(c.total_compressed_size for c in columns))
    assert spared > 1
    assert out.arrow(HOURLY, **asked).to_table() == whole
    assert len(whole)
    with pytest.raises((OSError, pa.ArrowException)):
        out.arrow(HOURLY, begin_date="2026-05-01").to_table()


@each_dataset
def test_polars_has_the_rows_of_the_files(lab: Lab, name: str) -> None:
    """A lazy frame over the same files, with the month as text."""
    frame = lab.output.polars(name)
    expected = rows_in_files(lab.folder, name)
    assert frame.collect_schema().names() == expected.schema.names
    assert in_order(frame.collect().to_arrow()) == in_order(expected)
    # A filter on the month is on the path.
    month = frame.filter(ref_month="2026-04").collect()
    assert month.height == len(rows_in_files(lab.folder, name, "ref_month = '2026-04'"))


def test_coverage_is_that_of_the_footers(lab: Lab) -> None:
    """Each day of each account has the state that its footer has, and no other day has one."""
    table = lab.output.coverage()
    assert table.schema.field("begin_date").type == pa.date32()
    found: Counter[tuple[Any, ...]] = Counter()
    for row in table.to_pylist():
        is_week = row["dataset"].endswith("_week")
        assert is_week or row["begin_date"].replace(day=1) == row["end_date"].replace(day=1)
        assert not is_week or (row["end_date"] - row["begin_date"]).days == 6
        for number in range(1 if is_week else (row["end_date"] - row["begin_date"]).days + 1):
            day = row["begin_date"] + dt.timedelta(number)
            found[row["dataset"], row["appid"], day, row["state"], row["has_rows"]] += 1
    assert found == Counter(days_of_footers(lab.folder))
    assert {state for *_, state, _ in found} == {"final", "provisional", "quarantined"}


def days_of_footers(folder: Path) -> list[tuple[Any, ...]]:
    """Return each known day with its state, a bit at a time.

    All days were asked on one Beijing day, so no empty one is final by what other files say.
    """
    found = []
    for path in files_of(folder):
        dataset = path.parts[-3]
        known = coverage.decode(pq.read_metadata(path).metadata[b"harvester.coverage"])
        for account in known.appids:
            days = known.account(account)
            for bit in range(31):
                final, provisional = days.final >> bit & 1, days.provisional >> bit & 1
                bad, rows = days.quarantined >> bit & 1, bool(days.with_rows >> bit & 1)
                if final or provisional or bad:
                    state = "quarantined" if bad else "final" if final else "provisional"
                    has_rows = rows if final or provisional else None
                    day = date_of(month_begin(known.month) + bit)
                    found.append((dataset, account, day, state, has_rows))
    return found


@each_dataset
def test_days_with_rows_are_those_of_the_rows(on_disk: Lab, name: str) -> None:
    """`has_rows` says of each day whether the files have rows of it."""
    con = duckdb.connect()
    con.register("covered", on_disk.output.coverage(name))
    con.register("rows", on_disk.output.arrow(name))
    pairs = "select distinct appid, ref_date from rows"
    each = "unnest(generate_series(begin_date, end_date, interval 1 day))::date"
    found = con.sql(f"{pairs} except select appid, {each} from covered where has_rows")
    assert found.fetchall() == []
    # A week is one row, and one day of the rows.
    days = "count(*)" if name.endswith("_week") else "sum(end_date - begin_date + 1)"
    total = f"select (select count(*) from ({pairs})), {days}"
    counted = con.sql(f"{total} from covered where has_rows")
    [(with_rows, in_ranges)] = counted.fetchall()
    assert with_rows == in_ranges > 0


def test_a_reader_starts_without_the_lock_of_the_interpreter(on_disk: Lab) -> None:
    """DuckDB asks a dataset of Arrow's for a reader in this way, and waited for ever now and then.

    ``to_reader`` of Arrow's own scans holds the lock and waits for threads that need it to open a
    file of ours.
    """
    rows = on_disk.output.arrow(DAILY)
    scan = type(rows).scanner(rows, columns=["appid"], filter=ds.field("appid") > "")
    assert not isinstance(scan, ds.Scanner)
    assert scan.to_reader().read_all().equals(scan.to_table())


def test_a_dataset_is_written_filtered_and_pickled_as_any_of_arrow(
    on_disk: Lab, tmp_path: Path
) -> None:
    """It is one of Arrow's, with another reader."""
    rows = on_disk.output.arrow(DAILY)
    ds.write_dataset(rows, tmp_path / "copy", format="parquet")
    copy = ds.dataset(tmp_path / "copy")
    assert copy.count_rows() == rows.count_rows() > 0
    few = rows.scanner(["appid"], ds.field("appid") > "", 1_000)
    ds.write_dataset(few, tmp_path / "few", format="parquet")
    assert ds.dataset(tmp_path / "few").schema.names == ["appid"]
    assert duckdb.from_arrow(few).aggregate("count(*)").fetchall() == [(rows.count_rows(),)]
    again = pickle.loads(pickle.dumps(rows))
    assert type(again) is type(rows)
    assert again.to_table().equals(rows.to_table())
    one = rows.filter(ds.field("appid") == rows.head(1).column("appid")[0])
    assert 0 < one.scanner().to_reader().read_all().num_rows < rows.count_rows()


def test_a_rejected_day_has_no_usable_answer(on_disk: Lab) -> None:
    """The coverage of one dataset alone; `has_rows` is null where nothing was answered well."""
    table = on_disk.output.coverage(DAILY)
    assert set(table.column("dataset").to_pylist()) == {DAILY}
    day = dt.date.fromisoformat(REJECTED)
    [bad] = [row for row in table.to_pylist() if row["state"] == "quarantined"]
    assert bad == {
        "dataset": DAILY,
        "appid": appid(2),
        "begin_date": day,
        "end_date": day,
        "state": "quarantined",
        "has_rows": None,
        "params": "",
        "witness": None,
        "wanted": True,
        **dict.fromkeys(("reason", "errcode", "retry_at", "asked_at")),
    }


def test_runs_are_the_records(lab: Lab) -> None:
    """A row for each record; rows of the files join to it."""
    [run] = lab.output.runs().to_pylist()
    [path] = (lab.folder / "_harvester/runs").glob("*.json")
    record = json.loads(path.read_bytes())
    assert run["run_id"] == record["run_id"] == path.stem
    assert run["started_at"] == dt.datetime.fromisoformat(record["started_at"])
    assert run["ended_at"] == dt.datetime.fromisoformat(record["ended_at"])
    same = ("outcome", "exit_code", "reasons", "shard", "requests", "retries", "rows")
    assert [run[name] for name in same] == [record[name] for name in same]
    assert run["harvester_version"] == record["harvester_version"] == harvester.__version__
    assert dict(run["labels"]) == record["labels"]
    rows = lab.output.arrow(DAILY, accounts=appid(1)).to_table()
    assert set(rows.column("_run_id").to_pylist()) == {run["run_id"]}


RECORD: dict[str, Any] = {
    "record_version": 2,
    "harvester_version": "1.0",
    "run_id": "20260510T040000Z-000001",
    "started_at": "2026-05-10T04:00:00Z",
    "ended_at": "2026-05-10T04:10:00Z",
    "state": "running",
    "exit_code": None,
    "outcome": None,
    "shard": None,
    "labels": {},
    "reasons": [],
    "requests": 5,
    "retries": 1,
    "rows": 7,
    "published": [],
}


def test_records_of_newer_versions_are_rows_too(tmp_path: Path) -> None:
    """A run that goes on has no end; members that a newer harvester adds are passed over."""
    folder = tmp_path / "_harvester/runs"
    folder.mkdir(parents=True)
    newer = RECORD | {
        "record_version": 3,
        "run_id": "20260511T040000Z-000002",
        "state": "finished",
        "exit_code": 75,
        "outcome": "unfinished",
        "reasons": ["quota"],
        "harvester_version": "9.0",
        "shard": "2/8",
        "labels": {"dag": "daily"},
        "a_new_member": {"of": "later"},
    }
    for each in (newer, RECORD):
        (folder / f"{each['run_id']}.json").write_text(json.dumps(each))
    (folder / "20260512T040000Z-000003.json").write_text("no record")
    first, second = harvester.open(tmp_path).runs().to_pylist()
    assert first["run_id"] == RECORD["run_id"]
    assert [first[name] for name in ("ended_at", "exit_code", "outcome", "shard")] == [None] * 4
    assert second["ended_at"] == dt.datetime(2026, 5, 10, 4, 10, tzinfo=dt.UTC)
    assert (second["outcome"], second["shard"]) == ("unfinished", "2/8")
    assert second["labels"] == [("dag", "daily")]
    assert second["harvester_version"] == "9.0"
    assert second["reasons"] == ["quota"]


IMPOSSIBLE: dict[str, Any] = {
    "started_at": "",
    "ended_at": "",
    "retry_at": "0001-01-01T00:00:00+23:00",
    "exit_code": 1 << 32,
    "requests": 1 << 63,
    "retries": -1,
    "rows": 1 << 63,
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_record_with_impossible_members_counts_as_missing(tmp_path: Path, name: str) -> None:
    """It ends neither a reader nor the next run, which writes the table of the runs."""
    tree = open_tree(Settings(tmp_path))
    odd = RECORD | {"run_id": f"{RECORD['run_id']}x", "state": "finished", name: IMPOSSIBLE[name]}
    run_records.write(tree, RECORD["run_id"], RECORD)
    run_records.write(tree, odd["run_id"], odd)
    derived_runs.update_runs(tree, RECORD)
    for found in (harvester.open(tmp_path).runs(), derived_files.read_all(tree, RUN_ROWS)):
        assert found.column("run_id").to_pylist() == [RECORD["run_id"]]


def test_a_run_that_went_on_gets_its_end_from_the_next_one(tmp_path: Path) -> None:
    """Its row said that it goes on, and another run writes the table after its end."""
    tree = open_tree(Settings(tmp_path))
    run_records.write(tree, RECORD["run_id"], RECORD)
    derived_runs.update_runs(tree, RECORD)
    ended = {"state": "finished", "exit_code": 0, "outcome": "complete"}
    run_records.write(tree, RECORD["run_id"], RECORD | ended)
    other = RECORD | ended | {"run_id": f"{RECORD['run_id']}x"}
    run_records.write(tree, other["run_id"], other)
    derived_runs.update_runs(tree, other)
    rows = derived_files.read_all(tree, RUN_ROWS).to_pylist()
    assert [row["outcome"] for row in rows] == ["complete", "complete"]
    assert all(row["ended_at"] for row in rows)


def test_a_run_that_lost_its_lease_writes_no_table(tmp_path: Path) -> None:
    """The run that has it now writes the same file."""
    tree = open_tree(Settings(tmp_path))
    with pytest.raises(LeaseLost):
        derived_runs.update_runs(replace(tree, hold=Hold(lambda: False)), RECORD)
    assert not len(derived_files.read_all(tree, RUN_ROWS))


def test_codes_are_those_of_the_catalogue(on_disk: Lab) -> None:
    """Every label of every column, members of lists included, in both languages."""
    codes = on_disk.output.codes()
    assert codes.schema.names == [
        *("dataset", "column_name", "code", "code_int", "label_en", "label_zh")
    ]
    rows = {(row["dataset"], row["column_name"], row["code"]): row for row in codes.to_pylist()}
    assert len(rows) == len(codes)
    labels = {column.name: column.labels for column in CATALOGUE["user_summary"].columns}
    for code, label in labels["user_source"].items():
        row = rows["user_summary", "user_source", str(code)]
        assert (row["code_int"], row["label_en"]) == (code, label)
    assert rows["user_summary", "user_source", "30"]["label_zh"] == "扫描二维码"
    assert all(row["label_zh"] for row in rows.values())
    text = rows["biz_summary", "read_user_source[].scene_desc", "全部"]
    assert text["code_int"] is None
    assert text["label_en"]


def test_a_sound_output_is_verified(lab: Lab) -> None:
    """Every file and every row is counted."""
    report = lab.output.verify()
    assert report.undamaged
    assert (report.damaged, report.foreign) == ((), ())
    assert report.files == len(list(files_of(lab.folder)))
    assert report.rows == sum(len(rows_in_files(lab.folder, name)) for name in DATASETS)


def test_damage_is_reported_as_the_command_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged, a missing and a foreign file; nothing is moved or changed."""
    lab = harvest(tmp_path / "output")
    damaged, missing, *_ = sorted((lab.root / DAILY).rglob("*.parquet"))
    data = bytearray(damaged.read_bytes())
    data[10] ^= 1
    damaged.write_bytes(data)
    missing.unlink()
    (lab.root / DAILY / "notes.txt").write_text("mine")
    out = harvester.open(lab.root)
    report = out.verify()
    assert not report.undamaged
    assert out.verify(footers_only=True).damaged != report.damaged
    first, second = report.damaged
    assert (first.path, first.ref_month) == (str(damaged.relative_to(lab.root)), "2026-03")
    assert first.lost[0].begin == dt.date(2026, 3, 1)
    assert first.lost[0].end == dt.date(2026, 3, 31)
    assert second.missing
    assert report.foreign == (f"{DAILY}/notes.txt",)
    assert pickle.loads(pickle.dumps(report)) == report
    (tmp_path / "jobs.yaml").write_text(
        f"""
version: 1
api: {{base_url: sandbox}}
accounts: [{{appid: {appid(9)}}}]
jobs: [{{datasets: [{DAILY}], begin_date: 2026-03-01}}]
output: {{path: output, buckets: 2}}
"""
    )
    assert invoke(["verify", str(tmp_path / "jobs.yaml"), "--format", "json"]) == Exit.INCOMPLETE
    assert report.to_dict() == json.loads(capsys.readouterr().out)
    assert bytes(data) == damaged.read_bytes()


def test_an_output_without_any_file_left_is_not_sound(tmp_path: Path) -> None:
    """The records say which files there were, and in how many buckets."""
    harvest(tmp_path)
    found = list(files_of(tmp_path))
    for path in found:
        path.unlink()
    out = harvester.open(tmp_path)
    assert out.datasets == ()
    # The table is as the last run left it.
    assert len(out.coverage())
    report = out.verify()
    assert {damage.path for damage in report.damaged} == {
        str(path.relative_to(tmp_path)) for path in found
    }


def test_an_open_output_sees_what_later_runs_publish(tmp_path: Path) -> None:
    """Each call looks at the files anew, and a view lists them at each query."""
    lab = harvest(tmp_path)
    out = harvester.open(tmp_path)
    con = out.duckdb()
    query = f"select count(*), max(ref_month) from {DAILY}"
    [before] = con.sql(query).fetchall()
    lab.today = "2026-06-10"
    lab.run()
    [after] = con.sql(query).fetchall()
    assert after[0] > before[0]
    assert (before[1], after[1]) == ("2026-05", "2026-06")
    assert out.arrow(DAILY).count_rows() == after[0]
    assert len(out.runs()) == 2
