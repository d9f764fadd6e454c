"""Rewriting a tree: every row and every day is in the new files, also after kills."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import harvester
from harvester.cli import invoke
from harvester.core.calendar import parse_day
from harvester.core.exit_codes import Exit
from harvester.core.model import Window, bucket_of
from harvester.manifest.json_schema import json_schema
from harvester.storage import layout, locks, quarantine
from harvester.storage.derived import derived_files
from harvester.storage.layout import COVERAGE, Tree
from harvester.storage.raw_log import write_group
from harvester.storage.state import forced_refreshes, rewrite_journal
from harvester.tables.coverage import AccountDays
from harvester.verbs.rewrite import MAX_BUCKETS
from tests.support.answers import LONG_AFTER, answer, row
from tests.support.claims import claim
from tests.support.nights import by_night
from tests.support.output_helpers import coverage_of, tree_at
from tests.support.run_harness import (
    BOTH,
    DAILY,
    HOURLY,
    appid,
    days_between,
    expected,
    files_of,
    published_rows,
)

ACCOUNTS = [appid(number) for number in range(1, 13)]
DAYS = ("2026-03-30", "2026-04-02")
MANIFEST = """
version: 1
api: {{base_url: sandbox}}
accounts: [{accounts}]
jobs:
  - datasets: [interface_summary, interface_summary_hour]
    begin_date: {begin}
    end_date: 2026-04-02
limits: {{per_token: {{rate: 1000/s, burst: 100, concurrency: 8}}}}
output: {{path: {path}, buckets: {buckets}}}
"""


def write_manifest(path: str, buckets: int, without: str = "", begin: str = DAYS[0]) -> None:
    """The manifest of the current folder."""
    accounts = ", ".join(f"{{appid: {name}}}" for name in ACCOUNTS if name != without)
    text = MANIFEST.format(accounts=accounts, path=path, buckets=buckets, begin=begin)
    Path("jobs.yaml").write_text(text)


@pytest.fixture(scope="module")
def harvested() -> dict[int, Path]:
    """The outputs that were harvested, by their number of buckets, to be copied."""
    return {}


@pytest.fixture
def harvest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harvested: dict[int, Path]
) -> Callable[[int], Tree]:
    """Harvest into so many buckets: twelve accounts, two datasets, two months."""
    monkeypatch.chdir(tmp_path)

    def harvest(buckets: int) -> Tree:
        write_manifest("old", buckets)
        if buckets not in harvested:
            assert invoke(["run", "--progress", "none"]) == Exit.DONE
            harvested[buckets] = tmp_path.with_name(f"{tmp_path.name}-harvested")
            shutil.copytree("old", harvested[buckets])
        else:
            shutil.copytree(harvested[buckets], "old")
        return tree_at(tmp_path / "old", buckets)

    return harvest


def known(tree: Tree) -> dict[tuple[str, int, str], AccountDays]:
    """All coverage of a tree, whatever file it is in."""
    found: dict[tuple[str, int, str], AccountDays] = {}
    for dataset in BOTH:
        for partition in layout.partitions(tree, dataset):
            coverage = coverage_of(tree, partition)
            for name in coverage.appids:
                assert bucket_of(name, tree.buckets) == partition.bucket
                assert (dataset, partition.month, name) not in found
                found[dataset, partition.month, name] = coverage.account(name)
    return found


def check(duck: duckdb.DuckDBPyConnection, old: Tree, new: Tree) -> None:
    """The new tree has what the old one has."""
    assert known(new) == known(old)
    for dataset in BOTH:
        truth = expected(dataset, ACCOUNTS, days_between(*DAYS))
        assert published_rows(duck, Path(new.store.display_path()), dataset) == truth


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The last answer in JSON."""
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.long
@pytest.mark.parametrize(
    ("old", "new"), [(1, 4), (6, 4), *by_night([(1, 1), (4, 1), (4, 6), (3, 3)])]
)
def test_from_any_number_of_buckets_to_any_other(
    harvest: Callable[[int], Tree],
    duck: duckdb.DuckDBPyConnection,
    capsys: pytest.CaptureFixture[str],
    old: int,
    new: int,
) -> None:
    """Rows and coverage move along, verify is content, and a run over it has nothing to ask."""
    source = harvest(old)
    capsys.readouterr()
    command = ["rewrite", "--to", "new", "--buckets", str(new), "--format", "json"]
    assert invoke(command) == Exit.DONE
    made = told(capsys)
    check(duck, source, tree_at(Path("new"), new))
    assert made["rows"] == sum(len(expected(name, ACCOUNTS, days_between(*DAYS))) for name in BOTH)
    write_manifest("new", new)
    assert invoke(["verify"]) == Exit.DONE
    capsys.readouterr()
    assert invoke(["plan", "--format", "json"]) == Exit.DONE
    assert told(capsys)["requests"] == 0
    assert invoke(["run", "--progress", "none", "--refetch", "all"]) == Exit.DONE


def test_the_same_buckets_give_the_same_rows_in_the_same_order(
    harvest: Callable[[int], Tree],
) -> None:
    """A rewrite changes nothing of the contents."""
    harvest(2)
    assert invoke(["rewrite", "--to", "new"]) == Exit.DONE
    files = sorted(path.relative_to("old") for path in Path("old").glob("*/*/*.parquet"))
    assert files == sorted(path.relative_to("new") for path in Path("new").glob("*/*/*.parquet"))
    for path in files:
        old, new = (pq.ParquetFile(Path(root) / path).read() for root in ("old", "new"))
        assert new.equals(old)


def test_an_account_of_no_manifest_and_no_file_stays_in_the_table_of_coverage(
    harvest: Callable[[int], Tree],
) -> None:
    """A later `forget` finds it there, and exports name the snapshots that hold it."""
    source, gone = harvest(2), "wx00000000000000ff"
    name = next(iter(derived_files.files(source, COVERAGE))).name
    rows = derived_files.read(source.store, name)
    row = rows.slice(0, 1).to_pylist()[0] | {"appid": gone}
    more = pa.Table.from_pylist([row], schema=rows.schema)
    derived_files.replace(source, name, lambda _: [pa.concat_tables([rows, more])])
    assert invoke(["rewrite", "--to", "new", "--buckets", "3"]) == Exit.DONE
    assert gone in harvester.open("new").coverage()["appid"].to_pylist()


def test_unpublished_answers_are_published_first_and_side_files_are_copied(
    harvest: Callable[[int], Tree], capsys: pytest.CaptureFixture[str]
) -> None:
    """Answers in the raw log, quarantine and run records: nothing is left behind."""
    source = harvest(1)
    day = parse_day("2026-04-01")
    late = Window(ACCOUNTS[0], DAILY, day + 9, day + 9)
    write_group(source, 0, "dead", [answer(late, [row(day + 9)])])
    bad = answer(Window(ACCOUNTS[0], HOURLY, day, day), [row(day, 1, number=-1)])
    quarantine.keep(source, day, "a negative count", bad, "dead")
    assert invoke(["rewrite", "--to", "new", "--buckets", "5"]) == Exit.DONE
    target = tree_at(Path("new"), 5)
    assert known(target) == known(source)
    account = known(target)[DAILY, 2026 * 12 + 3, ACCOUNTS[0]]
    assert account.with_rows >> 9 & 1
    assert list(quarantine.quarantined_days(target, HOURLY)) == [ACCOUNTS[0]]
    runs = {path.name for path in Path("old/_harvester/runs").iterdir()}
    assert runs <= {path.name for path in Path("new/_harvester/runs").iterdir()}
    assert not target.store.list("_harvester/raw")
    records = [json.loads(path.read_bytes()) for path in Path("new/_harvester/runs").iterdir()]
    told_of = {item["path"] for each in records for item in each["published"]}
    files = files_of(Path("new"))
    assert {path.relative_to("new").as_posix() for path in files} <= told_of


class Killed(BaseException):
    """Stands for the end of the process."""


def killed_at(patch: pytest.MonkeyPatch, at: int) -> bool:
    """Rewrite, killed before the Nth flush or rename; return whether it came so far."""
    left = at

    def mortal(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                raise Killed
            return real(*args, **options)

        return wrapped

    for name in ("fsync", "replace"):
        patch.setattr(os, name, mortal(getattr(os, name)))
    try:
        assert invoke(["rewrite", "--to", "new", "--buckets", "3"]) == Exit.DONE
    except Killed:
        return True
    return False


@pytest.mark.long
@pytest.mark.parametrize("step", [37, *by_night([5])])
def test_a_killed_rewrite_is_completed_when_it_is_repeated(
    harvest: Callable[[int], Tree],
    monkeypatch: pytest.MonkeyPatch,
    duck: duckdb.DuckDBPyConnection,
    capsys: pytest.CaptureFixture[str],
    step: int,
) -> None:
    """No command accepts an unfinished tree as an output; repeating completes it."""
    source = harvest(2)
    at, died, refused = 0, True, 0
    while died:
        at += step
        shutil.rmtree("new", ignore_errors=True)
        with monkeypatch.context() as patch:
            died = killed_at(patch, at)
        journal = Path("new/_harvester/rewrite.json")
        # It may have died of its very last flush.
        if journal.exists() and json.loads(journal.read_bytes())["finished"]:
            check(duck, source, tree_at(Path("new"), 3))
            continue
        if list(Path("new").glob("*/*/*.parquet")):
            write_manifest("new", 3)
            assert invoke(["plan"]) == Exit.USAGE
            assert "is not finished" in capsys.readouterr().err
            refused += 1
            write_manifest("old", 2)
        assert invoke(["rewrite", "--to", "new", "--buckets", "3"]) == Exit.DONE
        check(duck, source, tree_at(Path("new"), 3))
        assert not list(Path("new/_harvester/tmp").iterdir())
    assert at > 40
    assert refused > 1


def kill_before_it_is_finished(patch: pytest.MonkeyPatch, command: list[str]) -> None:
    """Rewrite up to the last step: all is made and copied, and the journal is unfinished."""
    real = rewrite_journal.write

    def write(tree: Tree, journal: dict[str, Any]) -> None:
        if journal["finished"]:
            raise Killed
        real(tree, journal)

    with patch.context() as context:
        context.setattr(rewrite_journal, "write", write)
        with pytest.raises(Killed):
            invoke(command)


@pytest.mark.long
@pytest.mark.parametrize("buckets", [16, *by_night([1, 4])])
def test_accounts_forgotten_since_a_kill_are_not_in_the_new_tree(
    harvest: Callable[[int], Tree], monkeypatch: pytest.MonkeyPatch, buckets: int
) -> None:
    """Files without remaining accounts, quarantine and side files are removed by the repetition."""
    source = harvest(1)
    others = [bucket_of(name, 16) for name in ACCOUNTS]
    gone = next(name for name in ACCOUNTS if others.count(bucket_of(name, 16)) == 1)
    day = parse_day("2026-04-01")
    bad = answer(Window(gone, HOURLY, day, day), [row(day, 1, number=-1)])
    quarantine.keep(source, day, "a negative count", bad, "dead")
    assert forced_refreshes.spend(source, gone, LONG_AFTER)
    command = ["rewrite", "--to", "new", "--buckets", str(buckets)]
    kill_before_it_is_finished(monkeypatch, command)
    write_manifest("old", 1, without=gone)
    assert invoke(["forget", "--accounts", gone]) == Exit.DONE
    assert invoke(command) == Exit.DONE
    target = tree_at(Path("new"), buckets)
    assert known(target) == known(source)
    files = [path for path in Path("new").rglob("*") if path.is_file()]
    assert not [path for path in files if gone in str(path) or gone.encode() in path.read_bytes()]
    write_manifest("new", buckets, without=gone)
    assert invoke(["verify"]) == Exit.DONE


def test_a_month_forgotten_since_a_kill_is_not_in_the_new_tree(
    harvest: Callable[[int], Tree], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files that the killed rewrite made of it are removed."""
    source = harvest(1)
    command = ["rewrite", "--to", "new", "--buckets", "4"]
    kill_before_it_is_finished(monkeypatch, command)
    write_manifest("old", 1, begin="2026-04-01")
    forget = ["forget", "--accounts", "all", "--before"]
    assert invoke([*forget, "2026-04-01"]) == Exit.DONE
    assert not list(Path("old").glob("*/ref_month=2026-03"))
    assert invoke(command) == Exit.DONE
    assert known(tree_at(Path("new"), 4)) == known(source)
    assert not list(Path("new").glob("interface*/ref_month=2026-03"))


def test_a_rewrite_is_repeated_from_any_current_folder(
    harvest: Callable[[int], Tree], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old output is identified by its absolute place."""
    source = harvest(1)
    there = Path.cwd()
    command = ["rewrite", "--to", str(there / "new"), "--buckets", "4"]
    kill_before_it_is_finished(monkeypatch, command)
    monkeypatch.chdir(there.parent)
    manifest = Path(there.name, "jobs.yaml")
    assert invoke([command[0], str(manifest), *command[1:]]) == Exit.DONE
    assert known(tree_at(there / "new", 4)) == known(source)


def test_the_unfinished_tree_of_another_project_is_refused(
    harvest: Callable[[int], Tree],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Although both outputs have the same relative path."""
    harvest(1)
    first = Path.cwd()
    command = ["rewrite", "--to", str(first / "new")]
    kill_before_it_is_finished(monkeypatch, command)
    second = first / "second"
    shutil.copytree(first / "old", second / "old")
    shutil.copy(first / "jobs.yaml", second)
    monkeypatch.chdir(second)
    capsys.readouterr()
    assert invoke(command) == Exit.USAGE
    assert f"made of {first / 'old'}" in capsys.readouterr().err


@pytest.mark.parametrize("finished", [False, True])
def test_an_unfinished_tree_with_another_number_of_buckets_is_refused(
    harvest: Callable[[int], Tree],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    finished: bool,
) -> None:
    """The message names the number, and not a change of the old output."""
    harvest(1)
    command = ["rewrite", "--to", "new", "--buckets", "4"]
    if finished:
        assert invoke(command) == Exit.DONE
    else:
        kill_before_it_is_finished(monkeypatch, command)
        write_manifest("new", 4)
        assert invoke(["plan"]) == Exit.USAGE
        assert "rewrite --to new --buckets 4" in capsys.readouterr().err
        write_manifest("old", 1)
    capsys.readouterr()
    assert invoke(["rewrite", "--to", "new", "--buckets", "2"]) == Exit.USAGE
    assert "made with --buckets 4, not 2" in capsys.readouterr().err


def test_a_finished_tree_is_not_made_again(
    harvest: Callable[[int], Tree], capsys: pytest.CaptureFixture[str]
) -> None:
    """It may have had runs since: the repeated rewrite says so, and changes nothing."""
    harvest(1)
    command = ["rewrite", "--to", "new", "--buckets", "2"]
    assert invoke(command) == Exit.DONE
    locks = Path("new/_harvester/locks")
    there = [path for path in Path("new").rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in there if not path.is_relative_to(locks)}
    capsys.readouterr()
    assert invoke(command) == Exit.USAGE
    told_of = capsys.readouterr().err
    assert "an earlier rewrite has made all of it" in told_of
    assert "switch to it if no command has changed the old output since" in told_of
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "needs --to"),
        (["--to", "old"], "inside of"),
        (["--to", "old/new"], "inside of"),
        (["--to", "."], "or around it"),
        (["--to", "there"], "there is an output already"),
        (["--to", "new", "--buckets", "0"], "from 1 to 9,999"),
        (["--to", "new", "--buckets", "10000"], "from 1 to 9,999"),
        (["--to", "${NEW}"], "a manifest would fill in"),
    ],
)
def test_the_new_tree_must_be_at_a_new_place_beside_the_old_one(
    harvest: Callable[[int], Tree],
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    words: str,
) -> None:
    """Only to a new place beside the old one."""
    harvest(1)
    Path("there/interface_summary").mkdir(parents=True)
    Path("there/interface_summary/x.parquet").touch()
    assert invoke(["rewrite", *options]) == Exit.USAGE
    assert words in capsys.readouterr().err


def advised(capsys: pytest.CaptureFixture[str]) -> str:
    """The lines that are to be written into the manifest."""
    _, lines = capsys.readouterr().out.split("to switch to it, set in `output` of ")
    return lines.split("\n", 1)[1]


@pytest.mark.parametrize(
    ("folder", "to", "path"),
    [
        (".", "new", "new"),
        (".", "./a/../new", "new"),
        ("project", "new", "../new"),
        ("project", "project/new", "new"),
        ("project", "{above}/new", "{above}/new"),
        (".", "new, #2", "new, #2"),
        (".", "2026", "2026"),
        (".", "No", "No"),
        (".", "a: b\n'c' \"d\"", r"a: b\n'c' \"d\""),
        (".", "数据 😀", "数据 😀"),
        (".", "~new", "./~new"),
    ],
)
def test_the_lines_to_switch_with_lead_to_the_new_tree(
    harvest: Callable[[int], Tree],
    capsys: pytest.CaptureFixture[str],
    folder: str,
    to: str,
    path: str,
) -> None:
    """Whatever folder the command is given in, and whatever YAML makes of the name."""
    harvest(1)
    here = Path.cwd()
    above = here.parent if folder == "." else here
    if folder != ".":
        Path(folder).mkdir()
        shutil.move("jobs.yaml", folder)
        shutil.move("old", folder)
    jobs = Path(folder, "jobs.yaml")
    capsys.readouterr()
    command = ["rewrite", str(jobs), "--to", to.replace("{above}", str(above)), "--buckets", "2"]
    assert invoke(command) == Exit.DONE
    said = advised(capsys)
    assert said == f'  path: "{path.replace("{above}", str(above))}"\n  buckets: 2\n'
    kept = [each for each in jobs.read_text().splitlines() if not each.startswith("output:")]
    jobs.write_text("\n".join([*kept, "output:", said]))
    assert invoke(["plan", str(jobs), "--format", "json"]) == Exit.DONE
    assert told(capsys)["requests"] == 0


def test_the_maximum_of_buckets_is_that_of_the_manifest() -> None:
    """More would make a tree that no manifest can name."""
    number, _ = json_schema()["$defs"]["Output"]["properties"]["buckets"]["anyOf"]
    assert number["maximum"] == MAX_BUCKETS


def test_it_exits_with_75_while_a_run_is_at_work(harvest: Callable[[int], Tree]) -> None:
    """While a run is at work in the old tree it ends with 75, and makes nothing."""
    source = harvest(2)
    with locks.hold(source, [1], claim("run")):
        assert invoke(["rewrite", "--to", "new"]) == Exit.AGAIN
    assert not Path("new").exists()
