"""The findings of `verify`, their names, and the work that `--repair` leaves for the next run."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harvester.catalogue import CATALOGUE
from harvester.cli import invoke
from harvester.core.calendar import instant, month_of, parse_day
from harvester.core.errors import OtherVersion, StoreError
from harvester.core.exit_codes import Exit
from harvester.core.model import Partition, Window
from harvester.storage import (
    integrity_check,
    layout,
    locks,
    partition_reader,
    partition_writer,
)
from harvester.storage.backends.base import FileInfo
from harvester.storage.footer import COVERAGE, Footer, decode_footer
from harvester.storage.integrity_check import FileCheck
from harvester.storage.layout import Tree
from harvester.storage.partition_writer import NewFile
from harvester.storage.publish import publish
from harvester.storage.raw_log import write_group
from harvester.tables import coverage, integrity
from harvester.tables.columns import arrow_schema
from harvester.tables.coverage import AccountDays, AskTimes, Coverage
from harvester.tables.integrity import FileIdentity, RowCheck
from tests.storage.test_newer_formats import rewritten
from tests.storage.test_readers import answers as told_by_the_sandbox
from tests.support.answers import DAILY, HOURLY, MARCH, answer, appid, of_day, row
from tests.support.claims import claim
from tests.support.group_files import reindexed
from tests.support.output_helpers import ANY_TIME, path_of, tree_at
from tests.support.run_harness import BOTH, days_between, expected, files_of, published_rows
from tests.support.sandboxes import BUSY

MONTH = month_of(MARCH)
PLACE = FileIdentity(HOURLY, MONTH, 0, 1)
HERE = Partition(HOURLY.name, MONTH, 0)
SCHEMA = arrow_schema(HOURLY)


def table(*keys: tuple[int, int, int], schema: pa.Schema = SCHEMA) -> pa.Table:
    """Rows by account, day of the month from 0, and hour, in this order."""
    values: dict[str, Any] = {
        field.name: pa.array([None] * len(keys), field.type) for field in schema
    }
    values["appid"] = [appid(account) for account, _, _ in keys]
    values["ref_date"] = pa.array([MARCH + day for _, day, _ in keys], pa.int32()).cast(pa.date32())
    values["ref_hour"] = pa.array([hour for _, _, hour in keys], pa.int32())
    return pa.table(values, schema=schema)


def known(**days: int) -> Coverage:
    """Return the coverage of accounts 1, 2, … by name ``a1``, as masks of final days with rows."""
    accounts = {appid(int(name[1:])): AccountDays(mask, 0, 0, mask) for name, mask in days.items()}
    return coverage.of_accounts(MONTH, accounts)


def written(
    tree: Tree, rows: list[pa.Table], coverage: Coverage, place: FileIdentity = PLACE
) -> FileCheck:
    """Look at a file with these row groups and this coverage."""
    partition = Partition(place.dataset.name, place.month, place.bucket)
    draft = NewFile(tree.store, tree.name(partition), HOURLY)
    partition_writer.write(draft, rows, lambda: Footer(coverage, {}))
    return checked(tree, partition, place)


def checked(
    tree: Tree, partition: Partition = HERE, place: FileIdentity = PLACE, *, read_data: bool = True
) -> FileCheck:
    """Look at a file."""
    path = path_of(tree, partition)
    return integrity_check.check_file(path, tree.name(partition), place, read_data=read_data)


ROWS = [table((1, 0, 0), (1, 0, 1), (1, 1, 0)), table((1, 1, 5), (2, 0, 0))]


def test_an_account_twice_in_a_coverage_is_a_defect() -> None:
    """Its second entry would never be looked at."""
    twice = known(a1=0b1)
    masks = {name: 2 * of_accounts for name, of_accounts in twice.masks.items()}
    twice = twice._replace(packed=2 * twice.packed, masks=masks)
    [found] = integrity.coverage_defects(twice, PLACE)
    assert found == "its coverage names accounts twice or out of order"


def test_a_row_group_without_rows_is_no_defect() -> None:
    """It adds nothing to what was seen, also between two others."""
    rows = RowCheck(PLACE, known(a1=0b1, a2=0b1))
    for part in (table((1, 0, 0)), table(), table((2, 0, 0))):
        rows.add_rows(part.select(["appid", *HOURLY.key]))
    assert rows.defects() == []
    assert rows.count == 2


def test_an_intact_file(tmp_path: Path) -> None:
    """Rows, row groups and coverage that agree are believed; so is a month without rows."""
    tree = tree_at(tmp_path)
    assert written(tree, ROWS, known(a1=0b11, a2=0b1)).defects == []
    empty = coverage.of_accounts(MONTH, {appid(1): AccountDays(final=0b111)})
    assert written(tree, [], empty).defects == []


APRIL = f"{HOURLY.name}/ref_month=2024-04/part-0000-of-0001.parquet"
FLAWED: dict[str, tuple[list[pa.Table], Coverage]] = {
    "rows twice or out of order": (
        [table((1, 0, 0), (1, 0, 0)), table((2, 0, 0))],
        known(a1=1, a2=1),
    ),
    "rows of another month": ([table((1, 0, 0), (1, 40, 0))], known(a1=1)),
    "rows of days of which its coverage knows none": ([table((1, 0, 0))], known(a2=0)),
    "no rows of days of which its coverage knows some": (
        [table((1, 0, 0))],
        known(a1=1, a2=0b100),
    ),
    "its coverage contradicts itself": (
        [table((1, 0, 0))],
        coverage.of_accounts(MONTH, {appid(1): AccountDays(1, 1, 0, 1, asked={0: AskTimes(5, 5)})}),
    ),
    f"its footer says that it belongs to {APRIL}": (
        [table((1, 0, 0))],
        coverage.of_accounts(MONTH + 1, {appid(1): AccountDays(1, 0, 0, 1)}),
    ),
}


@pytest.mark.parametrize("what", FLAWED)
def test_contradictions_of_rows_and_coverage_are_found(tmp_path: Path, what: str) -> None:
    """Each contradiction is found and named."""
    rows, knowledge = FLAWED[what]
    assert what in written(tree_at(tmp_path), rows, knowledge).defects


def test_order_is_kept_from_one_row_group_to_the_next(tmp_path: Path) -> None:
    """The last row of a group and the first of the next must not be the same."""
    found = written(tree_at(tmp_path), [table((1, 0, 0)), table((1, 0, 0))], known(a1=1))
    assert found.defects == ["rows twice or out of order"]


def test_accounts_of_another_bucket(tmp_path: Path) -> None:
    """A file copied under another bucket's name is not believed."""
    place = PLACE._replace(buckets=8, bucket=5)
    found = written(tree_at(tmp_path, 8), [table((1, 0, 0))], known(a1=1), place)
    assert found.defects == [
        "it knows of accounts of another bucket",
        "rows of accounts of another bucket",
    ]


def test_a_file_of_another_dataset(tmp_path: Path) -> None:
    """A file copied into the folder of another dataset is not believed."""
    tree = tree_at(tmp_path)
    written(tree, ROWS, known(a1=0b11, a2=1))
    name = f"{DAILY.name}/ref_month=2024-03/part-0000-of-0001.parquet"
    place = PLACE._replace(dataset=DAILY)
    found = integrity_check.check_file(path_of(tree, HERE), name, place, read_data=False)
    assert found.defects == [
        f"its footer says that it belongs to {tree.name(HERE)}",
        "its columns are not the dataset's",
    ]


@pytest.mark.parametrize("length", [0, 3, 4, 200, -9, -1])
def test_a_truncated_file(tmp_path: Path, length: int) -> None:
    """A file that lost its end has no coverage, and is never taken for an empty month."""
    tree = tree_at(tmp_path)
    written(tree, ROWS, known(a1=0b11, a2=1))
    path = path_of(tree, HERE)
    path.write_bytes(path.read_bytes()[:length])
    found = checked(tree, read_data=False)
    assert found.defects == ["no whole Parquet file"]
    assert found.coverage is None


# Whole outputs.


NESTED = CATALOGUE["article_total_detail"]
NESTED_MONTH = month_of(parse_day("2026-03-01"))
FLIPS = 300
STATES = ((HOURLY, MONTH), (DAILY, MONTH), (NESTED, NESTED_MONTH))

MANIFEST = """
version: 1
api: {base_url: sandbox}
accounts: [{appid: wx0000000000000001}, {appid: wx0000000000000002}]
jobs:
  - datasets: [interface_summary, interface_summary_hour]
    begin_date: 2026-03-30
    end_date: 2026-04-02
limits: {per_token: {rate: 1000/s, burst: 100, concurrency: 8}}
output: output
"""


@pytest.fixture
def published(tmp_path: Path) -> Tree:
    """Three files: hours of two accounts, days in all states, and nested columns."""
    tree = tree_at(tmp_path / "published")
    hours = [of_day(MARCH + day, day + 1, account) for account in (1, 2) for day in range(31)]
    asked = int(instant(MARCH + 9))
    odd = [row(MARCH), row(MARCH + 1, number=-1), row(MARCH + 8, extra="x")]
    days = answer(Window(appid(1), DAILY.name, MARCH, MARCH + 9), odd, asked)
    nested = told_by_the_sandbox(NESTED, BUSY)
    group = write_group(tree, 0, "run", [*hours, days, *nested])
    for dataset, month in STATES:
        publish(
            tree,
            dataset,
            Partition(dataset.name, month, 0),
            [group],
            ANY_TIME,
        )
    return tree


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a manifest and a harvested output: four files, 2 accounts, 4 days."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs.yaml").write_text(MANIFEST)
    assert invoke(["run", "--progress", "none"]) == Exit.DONE
    return tmp_path


def what_it_says(path: Path) -> tuple[Any, ...] | None:
    """Everything that can be read from a file: rows, metadata, statistics; None if unreadable."""
    try:
        file = pq.ParquetFile(path)
        groups = file.metadata.to_dict()["row_groups"]
        footer = decode_footer("", file.metadata.metadata)
        return file.read().to_pylist(), footer, groups
    except (OSError, pa.ArrowException, ValueError, StoreError):
        return None


@pytest.mark.long
def test_every_flipped_bit_that_changes_anything_is_reported(published: Tree) -> None:
    """Rows, coverage, merged groups, statistics, indexes: 300 bits anywhere in three files."""
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    places = [FileIdentity(dataset, month, 0, 1) for dataset, month in STATES]
    files = {place: Partition(place.dataset.name, place.month, 0) for place in places}
    paths = {place: path_of(published, partition) for place, partition in files.items()}
    before = {place: what_it_says(path) for place, path in paths.items()}
    unseen = 0
    for _ in range(FLIPS):
        place = dice.choice(places)
        raw = paths[place].read_bytes()
        bit = dice.randrange(8 * len(raw))
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        paths[place].write_bytes(flipped)
        if not checked(published, files[place], place).defects:
            assert what_it_says(paths[place]) == before[place], f"seed {seed}, bit {bit} of {place}"
            unseen += 1
        paths[place].write_bytes(raw)
    # All there is to miss is the name of the seal's own key.
    assert unseen < FLIPS / 50


def footer_or_refusal(tree: Tree, found: FileInfo) -> Footer | None:
    """Return the footer of a file; None if it is refused, which comes with advice."""
    try:
        [footer] = partition_reader.footers(tree.store, [found])
    except (StoreError, OtherVersion) as error:
        if not error.advice:
            raise
        return None
    assert footer is not None
    return footer


@pytest.mark.long
def test_a_flipped_footer_is_never_read_as_an_empty_file(published: Tree) -> None:
    """A plan from a damaged file is refused, or reads exactly what was written."""
    [found] = layout.partitions(published, DAILY.name).values()
    before = footer_or_refusal(published, found)
    assert before is not None
    path = path_of(published, found.name)
    raw = path.read_bytes()
    text = pq.read_metadata(path).metadata[COVERAGE]
    first = raw.index(text) - 40
    for place in range(first, len(raw)):
        flipped = bytearray(raw)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        [listed] = layout.partitions(published, DAILY.name).values()
        after = footer_or_refusal(published, listed)
        assert after is None or after.coverage == before.coverage


def test_a_page_that_changed_is_found_where_data_is_read(published: Tree) -> None:
    """By the checksum of the page, and by the digest of all of them."""
    path = path_of(published, HERE)
    rows = partitions_rows(path, 12 * 24)
    knowledge = decode_footer("", pq.read_metadata(path).metadata).coverage
    written(published, rows, knowledge)
    column = pq.read_metadata(path).row_group(0).column(4)
    raw = bytearray(path.read_bytes())
    raw[column.data_page_offset + column.total_compressed_size - 5] ^= 4
    path.write_bytes(raw)
    assert checked(published, read_data=False).defects == []
    found = checked(published)
    assert found.defects == [
        "pages that cannot be read",
        "its pages are not as they were written",
    ]


@pytest.mark.parametrize("digest", [b"odd", b"sha256:0:-1", b"sha256:0:" + b"9" * 5_000])
def test_a_digest_of_an_impossible_length_is_damage(published: Tree, digest: bytes) -> None:
    """Whatever number of digits it has."""
    rewritten(path_of(published, HERE), rows_digest=digest)
    flaws = {"its end is not as it was written", "its pages are not as they were written"}
    assert flaws <= {*checked(published).defects}


def partitions_rows(path: Path, length: int) -> list[pa.Table]:
    """The rows of a file, cut into row groups."""
    whole = pq.read_table(path, partitioning=None)
    return [whole.slice(start, length) for start in range(0, len(whole), length)]


def damage_one(here: Path) -> Path:
    """Damage the hours of March."""
    path = here / "output/interface_summary_hour/ref_month=2026-03/part-0000-of-0001.parquet"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 3] ^= 1
    path.write_bytes(raw)
    return path


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The last answer in JSON."""
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_an_intact_output(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0, and nothing on disk is touched."""
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    assert invoke(["verify"]) == Exit.DONE
    assert "4 files, " in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before


@pytest.mark.parametrize("option", [[], ["--repair"]])
def test_a_missing_output_is_a_usage_error(
    here: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    """A typo in a path is usage, and nothing is made there; without our own folder data is data."""
    assert invoke(["verify", "--output", "outptu", *option]) == Exit.USAGE
    assert "error: outptu: nothing was harvested here" in capsys.readouterr().err
    assert not (here / "outptu").exists()
    shutil.rmtree(here / "output/_harvester")
    assert invoke(["verify", *option]) == Exit.DONE


def test_damage_is_reported_repaired_and_asked_again(
    here: Path, capsys: pytest.CaptureFixture[str], duck: duckdb.DuckDBPyConnection
) -> None:
    """File, accounts and days; --repair moves the file; the next run asks for its days alone."""
    path = damage_one(here)
    assert invoke(["verify", "--format", "json"]) == Exit.INCOMPLETE
    [damage] = told(capsys)["damaged"]
    assert damage["path"] == path.relative_to(here / "output").as_posix()
    assert {(each["appid"], each["begin_date"], each["end_date"]) for each in damage["lost"]} == {
        (appid(number), "2026-03-30", "2026-03-31") for number in (1, 2)
    }
    assert path.exists()
    assert invoke(["verify", "--repair"]) == Exit.INCOMPLETE
    assert "moved to _harvester/quarantine/files/" in capsys.readouterr().out
    assert not path.exists()
    assert not list(here.glob("output/_harvester/**/*.parquet"))
    assert invoke(["verify"]) == Exit.DONE
    capsys.readouterr()
    assert invoke(["plan", "--format", "json"]) == Exit.DONE
    assert told(capsys)["requests"] == 4
    assert invoke(["run", "--progress", "none"]) == Exit.DONE
    for dataset in BOTH:
        expected_rows = expected(
            dataset, [appid(1), appid(2)], days_between("2026-03-30", "2026-04-02")
        )
        assert published_rows(duck, here / "output", dataset) == expected_rows
    assert invoke(["verify"]) == Exit.DONE


@pytest.mark.parametrize(
    ("chosen", "files"),
    [
        (["--datasets", "interface_summary"], 2),
        (["--begin-date", "2026-04-01"], 2),
        (["--end-date", "2026-03-31", "--datasets", "interface_summary"], 1),
        (["--accounts", appid(2)], 4),
    ],
)
def test_only_what_is_selected_is_checked(
    here: Path, capsys: pytest.CaptureFixture[str], chosen: list[str], files: int
) -> None:
    """Other files are neither read nor looked for nor repaired."""
    assert invoke(["verify", "--format", "json", *chosen]) == Exit.DONE
    assert told(capsys)["files"] == files


def test_damage_outside_of_a_selection_is_left_alone(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is missing as one that is damaged."""
    path = damage_one(here)
    dataset, month = path.parts[-3], path.parts[-2].removeprefix("ref_month=")
    [other] = {*BOTH} - {dataset}
    (missing,) = (here / "output" / dataset).glob("ref_month=2026-04/*.parquet")
    missing.unlink()
    assert invoke(["verify", "--repair", "--datasets", other]) == Exit.DONE
    assert path.exists()
    capsys.readouterr()
    assert invoke(["verify", "--format", "json", "--end-date", f"{month}-31"]) == Exit.INCOMPLETE
    [damage] = told(capsys)["damaged"]
    assert damage["path"] == path.relative_to(here / "output").as_posix()


def test_a_truncated_file_costs_the_days_that_the_manifest_wants_of_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The manifest tells what the file cannot tell any more."""
    path = damage_one(here)
    path.write_bytes(path.read_bytes()[:-20])
    assert invoke(["verify", "--format", "json"]) == Exit.INCOMPLETE
    [damage] = told(capsys)["damaged"]
    assert len(damage["lost"]) == 2
    assert damage["flaws"] == ["no whole Parquet file"]


def test_a_file_of_a_newer_version_is_reported_and_never_moved(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither --repair nor a run touches it, and a run is refused before it asks anything."""
    monkeypatch.setattr("harvester.storage.footer.SCHEMA_VERSION", 0)
    before = {path: path.read_bytes() for path in files_of(here / "output")}
    assert invoke(["verify", "--repair", "--format", "json"]) == Exit.USAGE
    found = told(capsys)["damaged"]
    assert len(found) == 4
    assert all(each["remedy"] and each["moved_to"] is None for each in found)
    assert invoke(["run", "--progress", "none"]) == Exit.USAGE
    assert "schema version" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in files_of(here / "output")} == before


def test_a_defect_that_all_files_have_is_not_repaired(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would move the whole output to the quarantine, and no file is to blame."""
    files = sorted(here.glob("output/*/ref_month=*/*.parquet"))
    data = [path for path in files if path.parts[-3] in BOTH]
    assert len(data) >= 3
    for path in data:
        path.write_bytes(b"")
    assert invoke(["verify", "--repair"]) == Exit.USAGE
    assert f"all {len(data)} data files have the same defect" in capsys.readouterr().err
    assert all(path.exists() for path in data)


def test_a_repair_exits_with_75_while_a_run_is_at_work(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While a run holds a bucket, --repair ends with 75; to look is always allowed."""
    path = damage_one(here)
    with locks.hold(tree_at(here / "output"), [0], claim("run")):
        assert invoke(["verify", "--repair"]) == Exit.AGAIN
        assert invoke(["verify"]) == Exit.INCOMPLETE
    assert path.exists()
    assert "another run works on this bucket" in capsys.readouterr().err


def test_foreign_files_are_listed_and_left(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever lies in a dataset's folder and is no file of ours is named, and stays."""
    strangers = [
        here / "output/interface_summary/notes.txt",
        here / "output/interface_summary/ref_month=2026-03/copy of part-0000-of-0001.parquet",
        here / "output/interface_summary/ref_month=2026-03/part-00000-of-0001.parquet",
    ]
    for path in strangers:
        path.write_bytes(b"x")
    assert invoke(["verify", "--repair", "--format", "json"]) == Exit.DONE
    assert told(capsys)["foreign"] == sorted(
        path.relative_to(here / "output").as_posix() for path in strangers
    )
    assert all(path.read_bytes() == b"x" for path in strangers)


def test_unpublished_answers_are_checked_too(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged raw group is named; --repair moves it to where a run would have."""
    tree = tree_at(here / "output")
    good, bad = (write_group(tree, 0, "dead", [of_day(MARCH + n)]) for n in (0, 1))
    raw = bytearray(bad.path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    bad.path.write_bytes(raw)
    assert invoke(["verify", "--repair", "--format", "json"]) == Exit.INCOMPLETE
    found = told(capsys)
    assert [each["path"] for each in found["damaged"]] == [bad.name]
    assert found["groups"] == 2
    assert good.path.exists()
    assert not bad.path.exists()
    assert (here / "output" / found["damaged"][0]["moved_to"]).exists()


def test_answers_of_a_newer_version_stay(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are told of as such, and --repair leaves them to who wrote them."""
    group = write_group(tree_at(here / "output"), 0, "dead", [of_day(MARCH)])
    reindexed(group.path, version=2)
    assert invoke(["verify", "--repair", "--format", "json"]) == Exit.USAGE
    [damage] = told(capsys)["damaged"]
    assert (damage["path"], bool(damage["remedy"])) == (group.name, True)
    assert group.path.exists()


def test_answers_that_the_disk_does_not_return_are_a_store_error(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An I/O error is reported as such, as for data files, because they may be intact."""
    write_group(tree_at(here / "output"), 0, "dead", [of_day(MARCH)])
    really = os.open

    def sick(path: Any, *args: Any, **options: Any) -> int:
        if str(path).endswith(".group"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return really(path, *args, **options)

    monkeypatch.setattr(os, "open", sick)
    assert invoke(["verify"]) == Exit.BUG
    ended = capsys.readouterr()
    assert "Input/output error" in ended.err
    assert "another version" not in ended.out


MARCH_FILE = "interface_summary/ref_month=2026-03/part-0000-of-0001.parquet"


def test_a_deleted_month_is_missing_until_it_is_there_again(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that a record names and none has removed is named, with the days it costs."""
    (here / "output" / MARCH_FILE).unlink()
    assert invoke(["verify", "--footers-only", "--format", "json"]) == Exit.INCOMPLETE
    [damage] = told(capsys)["damaged"]
    assert (damage["path"], damage["missing"], damage["ref_month"]) == (MARCH_FILE, True, "2026-03")
    assert [each["appid"] for each in damage["lost"]] == [appid(1), appid(2)]
    assert {(each["begin_date"], each["end_date"]) for each in damage["lost"]} == {
        ("2026-03-30", "2026-03-31")
    }
    assert invoke(["verify"]) == Exit.INCOMPLETE
    assert f"missing: {MARCH_FILE}" in capsys.readouterr().out
    assert invoke(["run", "--progress", "none"]) == Exit.DONE
    assert invoke(["verify"]) == Exit.DONE


def test_a_deleted_dataset_that_is_not_wanted_is_recorded_as_gone(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A repair records the removal, so readers of the feed hear of it and verify is content."""
    shutil.rmtree(here / "output/interface_summary")
    assert invoke(["verify", "--repair"]) == Exit.INCOMPLETE
    assert "harvester run" in capsys.readouterr().out
    records = [json.loads(path.read_bytes()) for path in here.glob("output/_harvester/runs/*.json")]
    gone = [
        (entry["path"], entry["rows_after"])
        for record in records
        for entry in record["published"]
        if entry["op"] == "deleted"
    ]
    assert sorted(gone) == [(MARCH_FILE, 0), (MARCH_FILE.replace("03", "04"), 0)]
    assert invoke(["verify"]) == Exit.DONE


def test_what_forget_removes_is_not_missing(here: Path) -> None:
    """Its record says that the files went."""
    other = MANIFEST.replace("]\njobs", ", {appid: wx0000000000000003}]\njobs")
    other = other.replace("  - datasets", f"  - accounts: [{appid(3)}]\n    datasets")
    (here / "jobs.yaml").write_text(other)
    assert invoke(["forget", "--accounts", f"{appid(1)},{appid(2)}"]) == Exit.DONE
    assert not list(files_of(here / "output"))
    assert invoke(["verify"]) == Exit.DONE
