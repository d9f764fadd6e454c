"""`harvester.open`: places, options, names and days that are wrong."""

from __future__ import annotations

import datetime as dt
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.core.config.settings import Output
from harvester.storage.state import rewrite_journal
from tests.support.harvested_output import Lab, harvest, opened
from tests.support.run_harness import DAILY, HOURLY, RunHarness, appid
from tests.support.store_backends import CREDENTIALS, Outputs, output_in


def refused(call: Any, *arguments: Any, **options: Any) -> harvester.UsageError:
    """Return the error of a call that must be refused."""
    with pytest.raises(harvester.UsageError) as caught:
        call(*arguments, **options)
    return caught.value


def test_a_place_without_an_output_is_refused(outputs: Outputs) -> None:
    """A mistyped path is no empty output. Nothing is created there."""
    place = outputs.output
    found = refused(opened, place)
    assert found.problem == f"{place.path}: nothing was harvested here"
    assert not isinstance(place.path, Path) or not place.path.exists()


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    """Other people's folders, files and texts are no output."""
    (tmp_path / "sales").mkdir()
    assert "nothing was harvested here" in refused(harvester.open, tmp_path).problem
    (tmp_path / "file").write_text("")
    assert "a file, not a folder" in refused(harvester.open, tmp_path / "file").problem
    for text in ("", "ftp://host/folder", "s3://", "s3://user@bucket"):
        assert refused(harvester.open, text).problem.startswith("output ")


def test_a_path_may_be_relative_and_the_directory_change(
    on_disk: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place is fixed when an output is opened."""
    monkeypatch.chdir(on_disk.folder.parent)
    out = harvester.open(on_disk.folder.name)
    con = out.duckdb()
    monkeypatch.chdir("/")
    assert out.arrow(DAILY).count_rows() > 0
    assert con.sql(f"select count(*) > 0 from {DAILY}").fetchall() == [(True,)]
    assert out.polars(DAILY).collect().height > 0


def test_any_path_that_a_folder_can_have(tmp_path: Path) -> None:
    """No character of a path stands for others."""
    folder = tmp_path / "we'ird [a-z]*?{b} 新"
    RunHarness(folder, end="2026-03-05").run()
    (tmp_path / "we'ird xx{b} 新").mkdir()
    out = harvester.open(folder)
    count = out.arrow(DAILY).count_rows()
    assert count > 0
    assert out.polars(DAILY).collect().height == count
    assert out.duckdb().sql(f"select count(*) from {DAILY}").fetchall() == [(count,)]


def test_folders_that_are_links_are_read(tmp_path: Path) -> None:
    """Reading does not need the manifest that allows them; a link in a file's place is refused."""
    harvest(tmp_path / "output")
    (tmp_path / "output" / DAILY).rename(tmp_path / "elsewhere")
    (tmp_path / "output" / DAILY).symlink_to(tmp_path / "elsewhere")
    out = harvester.open(tmp_path / "output")
    assert out.arrow(DAILY).count_rows() > 0
    [first, *_] = sorted((tmp_path / "elsewhere").rglob("*.parquet"))
    first.rename(tmp_path / "file")
    first.symlink_to(tmp_path / "file")
    assert "symbolic link" in refused(out.arrow, DAILY).problem
    first.unlink()
    os.mkfifo(first)
    assert "a pipe" in refused(out.arrow, DAILY).problem


@pytest.mark.parametrize(
    ("name", "problem", "advice"),
    [
        ("user_sumary", "unknown dataset `user_sumary`", "did you mean `user_summary`?"),
        ("nonsense", "unknown dataset `nonsense`", "`harvester datasets` lists them"),
        ("user_read", "WeChat has retired `user_read`", "use `biz_summary`"),
        ("user_summary", "`user_summary` was not harvested here", "it has biz_summary, "),
    ],
)
@pytest.mark.parametrize("method", ["arrow", "polars", "coverage"])
def test_a_wrong_dataset_is_refused_with_the_nearest(
    on_disk: Lab, method: str, name: str, problem: str, advice: str
) -> None:
    """Unknown, retired and absent datasets each have their own remedy."""
    found = refused(getattr(on_disk.output, method), name)
    assert problem in found.problem
    assert advice in found.advice


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"begin_date": "2026-5-1"}, "begin_date `2026-5-1` is not a day"),
        ({"end_date": "2026-02-30"}, "end_date `2026-02-30` is a day that no calendar has"),
        ({"end_date": "tomorrow"}, "end_date `tomorrow` is not a day"),
        ({"begin_date": dt.datetime(2026, 5, 1, tzinfo=dt.UTC)}, "begin_date does not fit"),
        ({"begin_date": "2026-05-02", "end_date": "2026-05-01"}, "begin_date is after end_date"),
        ({"accounts": "wx1"}, "accounts `wx1` is not an appid"),
        ({"accounts": [appid(1), "Acme Service"]}, "accounts `Acme Service` is not an appid"),
    ],
)
def test_wrong_days_and_accounts_are_refused(
    on_disk: Lab, asked: dict[str, Any], problem: str
) -> None:
    """Each error names the argument."""
    assert refused(on_disk.output.arrow, HOURLY, **asked).problem.startswith(problem)


def test_files_of_two_numbers_of_buckets_are_refused(tmp_path: Path) -> None:
    """An account would have rows in two files."""
    lab = RunHarness(tmp_path, end="2026-03-05", datasets=(DAILY, HOURLY))
    lab.run()
    out = harvester.open(tmp_path)
    [part] = (tmp_path / HOURLY).rglob("*.parquet")
    part.rename(part.with_name("part-0000-of-0003.parquet"))
    assert "files of 1 and of 3 buckets" in (refused(out.verify).problem)
    part.with_name("part-0000-of-0002.parquet").write_bytes(b"")
    assert "files of 2 and of 3 buckets" in refused(out.arrow, HOURLY).problem


def test_an_unfinished_rewrite_is_refused(tmp_path: Path) -> None:
    """It has a part of the rows only."""
    lab = RunHarness(tmp_path, end="2026-03-05")
    lab.run()
    rewrite_journal.write(lab.tree, {"from": "elsewhere", "buckets": 1, "finished": False})
    assert "not finished" in refused(harvester.open, tmp_path).problem


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """The newest file tells the columns, and the table the coverage."""
    RunHarness(tmp_path, end="2026-03-05").run()
    [part] = (tmp_path / DAILY).rglob("*.parquet")
    [table] = (tmp_path / "coverage").rglob("*.parquet")
    for path in (part, table):
        path.write_bytes(b"PAR1 nothing PAR1")
    out = harvester.open(tmp_path)
    for call in (out.arrow, out.coverage):
        with pytest.raises(harvester.DamagedOutput, match=part.name):
            call(DAILY)


# Object stores.


def options_of(output: Output) -> dict[str, Any]:
    """Return the credentials as options, in the spellings of obstore."""
    return {
        "aws_access_key_id": CREDENTIALS["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        "region": "us-east-1",
        "aws_endpoint": output.endpoint,
        "allow_http": True,
    }


def test_storage_options_are_enough(
    on_objects: Lab, s3_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a variable in the environment, and without an endpoint of its own."""
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    place = on_objects.harness.place
    assert isinstance(place.path, str)
    out = harvester.open(place.path, storage_options=options_of(place))
    count = on_objects.output.datasets, out.arrow(DAILY).count_rows()
    assert count == (out.datasets, out.polars(DAILY).collect().height)
    assert len(out.coverage(DAILY)) > 0
    shown = f"{out!r}{out}{out.arrow(DAILY).filesystem!r}"
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in shown


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"aws_secret": "never-shown"}, "storage_options: s3:// has no option `aws_secret`"),
        ({"region": "never-shown", "aws_region": "x"}, "s3://bucket/x: unusable storage_options"),
        ({"allow_http": "never-shown"}, "s3://bucket/x: unusable storage_options"),
    ],
)
def test_wrong_options_are_refused_without_their_values(
    s3_keys: None, options: dict[str, str], problem: str
) -> None:
    """A value may be a secret, so only the key is named."""
    found = refused(harvester.open, "s3://bucket/x", storage_options=options)
    assert found.problem == problem
    assert "never-shown" not in repr(found) + found.advice
    assert found.__cause__ is None


def test_options_of_a_store_are_not_for_a_folder(on_disk: Lab) -> None:
    """As `endpoint` in a manifest."""
    for options in ({"endpoint": "https://host"}, {"storage_options": {"aws_region": "x"}}):
        assert "is a folder" in refused(harvester.open, on_disk.folder, **options).problem
    found = refused(harvester.open, "s3://bucket/x", endpoint="http://example.com")
    assert "must be https" in found.problem


def test_a_missing_bucket_is_said(s3_keys: None, s3_address: str) -> None:
    """A bucket of another name is no empty output."""
    place = replace(output_in(s3_address), path="s3://no-such-bucket/x")
    with pytest.raises(harvester.HarvesterError, match="there is no such bucket"):
        opened(place)


def test_an_object_is_read_as_it_was_opened(s3_output: Output, tmp_path: Path) -> None:
    """A reader of an object that is replaced meanwhile gets an error, and never a mixture."""
    lab = RunHarness(tmp_path, output=s3_output, end="2026-03-05", datasets=(DAILY,))
    lab.run()
    dataset = opened(s3_output).arrow(DAILY)
    [name] = dataset.files
    with dataset.filesystem.open_input_file(name) as file:
        assert file.read(4) == b"PAR1"
        lab.end = "2026-03-09"
        lab.run()
        with pytest.raises(harvester.HarvesterError, match="replaced or removed it"):
            file.read()


def test_a_dataset_never_mixes_two_versions_of_a_file(outputs: Outputs, tmp_path: Path) -> None:
    """Arrow keeps footers: with an old footer the rows of a new file would be wrong ones."""
    lab = RunHarness(tmp_path, output=outputs.output, end="2026-03-20", datasets=(DAILY,))
    lab.run()
    out = opened(outputs.output)
    dataset = out.arrow(DAILY)
    before = dataset.to_table()
    lab.end = "2026-03-31"
    lab.run()
    with pytest.raises(harvester.HarvesterError, match="replaced or removed it") as caught:
        dataset.to_table()
    assert caught.value.advice == "open the dataset again: a new one has the new rows"
    assert out.arrow(DAILY).to_table().num_rows > len(before)


def test_a_file_that_is_gone_is_no_fault_of_the_disk_or_the_bucket(
    outputs: Outputs, tmp_path: Path
) -> None:
    """`forget` removes files. The message says to open the dataset again."""
    lab = RunHarness(tmp_path, output=outputs.output, end="2026-03-20", datasets=(DAILY,))
    lab.run()
    dataset = opened(outputs.output).arrow(DAILY)
    [file] = outputs().store.list(DAILY)
    outputs().store.delete(file.name)
    with pytest.raises(harvester.HarvesterError, match="removed") as caught:
        dataset.to_table()
    assert "open the dataset again" in caught.value.advice


def test_nothing_is_written_through_a_dataset(lab: Lab) -> None:
    """The file system that a dataset gives away is for reading alone."""
    dataset = lab.output.arrow(DAILY)
    system = dataset.filesystem
    assert dataset.files[0].startswith(f"{lab.output.place}/{DAILY}/ref_month=2026-03/part-")
    [info] = system.get_file_info(dataset.files[:1])
    assert info.size > 0
    with pytest.raises(harvester.HarvesterError):
        system.get_file_info([f"{lab.output.place}/nothing"])
    for act in (system.delete_file, system.open_output_stream, system.delete_dir):
        with pytest.raises(harvester.HarvesterError, match="for reading alone"):
            act(info.path)
    assert pickle.loads(pickle.dumps(dataset)).to_table() == dataset.to_table()
