"""Forgetting accounts: no row, no coverage, no answer and no name is left."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from harvester.cli import invoke
from harvester.core.calendar import parse_day
from harvester.core.exit_codes import Exit
from harvester.core.model import Partition, ReportedQuota, Window, bucket_of
from harvester.manifest.loader import read
from harvester.storage import layout, locks, quarantine, raw_log
from harvester.storage.backends import atomic_files, flock
from harvester.storage.backends.base import move, read_bytes, temp_path
from harvester.storage.layout import Tree
from harvester.storage.raw_log import write_group
from harvester.storage.state import account_cache
from harvester.tables.coverage import AccountDays
from harvester.verbs.erasure import ErasureRequest, erase_from_json
from tests.support import ledgers
from tests.support.answers import answer, row
from tests.support.claims import claim
from tests.support.nights import by_night
from tests.support.output_helpers import coverage_of
from tests.support.run_harness import (
    BOTH,
    DAILY,
    HOURLY,
    appid,
    days_between,
    expected,
    published_rows,
)

GONE, STAYS, OTHER = (appid(number) for number in (1, 2, 3))
DAYS = ("2026-03-30", "2026-04-02")
NOW = 1_790_000_000.0
FILES = "_harvester/quarantine/files"

MANIFEST = """
version: 1
api: {{base_url: sandbox}}
accounts: [{accounts}]
jobs:
  - datasets: [interface_summary, interface_summary_hour]
    accounts: [{wanted}]
    begin_date: {begin}
    end_date: 2026-04-02
limits: {{per_token: {{rate: 1000/s, burst: 100, concurrency: 8}}}}
output: {{path: output, buckets: {buckets}}}
"""

Write = Callable[..., None]


@pytest.fixture(scope="module")
def harvested() -> dict[int, Path]:
    """The outputs that were harvested, by their number of buckets, to be copied."""
    return {}


@pytest.fixture(params=[3, *by_night([1])], ids="{} buckets".format)
def write(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    harvested: dict[int, Path],
) -> Write:
    """Write the manifest of a folder that is the current one."""
    monkeypatch.chdir(tmp_path)

    def manifest(*appids: str, begin: str = DAYS[0], known: tuple[str, ...] = ()) -> None:
        accounts = ", ".join(f"{{appid: {name}}}" for name in dict.fromkeys((*appids, *known)))
        text = MANIFEST.format(
            accounts=accounts, wanted=", ".join(appids), begin=begin, buckets=request.param
        )
        (tmp_path / "jobs.yaml").write_text(text)

    manifest(GONE, STAYS, OTHER)
    if request.param not in harvested:
        harvested[request.param] = tmp_path.with_name(f"{tmp_path.name}-harvested")
        assert invoke(["run", "--progress", "none"]) == Exit.DONE
        shutil.copytree("output", harvested[request.param])
    else:
        shutil.copytree(harvested[request.param], "output")
    manifest(STAYS, OTHER)
    return manifest


def the_tree() -> Tree:
    """The output as the manifest has it."""
    return layout.open_tree(read(Path("jobs.yaml"), environ={}, now=NOW).manifest().output)


def bucket_of_gone(tree: Tree) -> int:
    """The places of the forgotten account."""
    return next(iter(ErasureRequest(frozenset({GONE}), frozenset()).buckets(tree.buckets)))


def leave_traces(tree: Tree) -> None:
    """Answers that wait, one in quarantine, a damaged group and file, records that name it."""
    bucket = bucket_of_gone(tree)
    day = parse_day("2026-04-01")
    window = Window(GONE, DAILY, day, day)
    write_group(tree, bucket, "dead", [answer(window, [row(day)], refetch=-1)])
    bad = answer(window._replace(begin=day - 1), [row(day - 1, number=-1)])
    quarantine.keep(tree, day - 1, "a negative count", bad, "dead")
    damaged = write_group(tree, bucket, "damaged", [answer(window, [row(day)])])
    quarantine.quarantine_group(tree, damaged.name)
    partition = next(iter(layout.partitions(tree, HOURLY, [bucket])))
    copied = read_bytes(tree.store, tree.name(partition))
    assert copied is not None
    tree.store.put("x.parquet", copied)
    move(tree.store, "x.parquet", "x")
    assert quarantine.quarantine_file(tree, tree.name(partition), "run")
    move(tree.store, "x", tree.name(partition))
    record = {
        "published": [
            {"dataset": DAILY, "ref_month": "2026-03", "appids": [GONE, STAYS], "days": []}
        ],
        "exceptions": [
            {"appid": GONE, "dataset": HOURLY, "end_date": "2026-03-31", "errcode": 48001},
            {"appid": STAYS, "dataset": HOURLY, "end_date": "2026-03-31", "errcode": 48001},
        ],
        "notes": [f"{DAILY}: WeChat is still computing {GONE} {DAILY} 2026-04-01"],
    }
    tree.store.put("_harvester/runs/old.json", json.dumps(record).encode())
    quota = {GONE: {DAILY: 5}, STAYS: {DAILY: 6}}
    tree.store.put("_harvester/quota/q.json", json.dumps(quota).encode())
    tree.store.put(f"_harvester/quota/{GONE}.json", b"{}")


def traces(tree: Tree, name: str = GONE) -> list[str]:
    """Every file in which an account is still to be found, in its rows, its footer or its bytes."""
    found = [each for dataset in BOTH for each in _in_data(tree, dataset, name)]
    for file in tree.store.list("_harvester"):
        if file.name.endswith(".group"):
            [path] = tree.store.copies([file.name])
            assert path is not None
            group = raw_log.open_group(file.name, path)
            named = {
                each.window.appid
                for dataset, month in group.months
                for each in group.answers(dataset, month)
            }
            found += [file.name] if name in named else []
        elif (
            name in file.name
            or name.encode() in (read_bytes(tree.store, file.name) or b"")
            or file.name.endswith(".damaged")
        ):
            found.append(file.name)
    return found


def _in_data(tree: Tree, dataset: str, name: str) -> list[str]:
    found = []
    for partition in layout.partitions(tree, dataset):
        path = Path(tree.store.display_path(tree.name(partition)))
        rows = pq.ParquetFile(path).read().column("appid").to_pylist()
        known = coverage_of(tree, partition).appids
        if name in rows or name in known or name.encode() in path.read_bytes():
            found.append(tree.name(partition))
    return found


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The last answer in JSON."""
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_nothing_is_left_of_an_account(
    write: Write, duck: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    """No byte of any file names it, all others keep every row and day, and verify is content."""
    tree = the_tree()
    leave_traces(tree)
    assert len(traces(tree)) >= 10
    capsys.readouterr()
    assert invoke(["forget", "--accounts", GONE, "--format", "json"]) == Exit.DONE
    receipt = told(capsys)
    assert traces(tree) == []
    assert receipt["accounts"] == [GONE]
    assert len(receipt["rewritten"]) == 4
    assert sum(item["account_days"] for item in receipt["rewritten"]) == 8
    assert (receipt["answers"], receipt["quarantined"], len(receipt["damaged"])) == (1, 1, 2)
    for dataset in BOTH:
        expected_rows = expected(dataset, [STAYS, OTHER], days_between(*DAYS))
        assert published_rows(duck, Path("output"), dataset) == expected_rows
    assert invoke(["verify"]) == Exit.DONE
    assert invoke(["status", "--require", "ready"]) == Exit.DONE
    capsys.readouterr()
    assert invoke(["forget", "--accounts", GONE]) == Exit.DONE
    assert "nothing is known of them here" in capsys.readouterr().out


@pytest.mark.long
def test_files_damaged_before_a_rewrite_are_removed(write: Write) -> None:
    """A data file's name keeps the old number of buckets; a group's says none, so any may hold it.

    A data file of another bucket of its own number stays.
    """
    tree = the_tree()
    leave_traces(tree)
    other = (bucket_of(GONE, 7) + 1) % 7
    elsewhere = f"{FILES}/{DAILY}.ref_month=2026-03.part-{other:04d}-of-0007.run.damaged"
    tree.store.put(elsewhere, b"x")
    assert invoke(["rewrite", "--to", "new", "--buckets", "16"]) == Exit.DONE
    text = Path("jobs.yaml").read_text().replace("path: output", "path: new")
    Path("jobs.yaml").write_text(text.replace(f"buckets: {tree.buckets}", "buckets: 16"))
    assert len(traces(the_tree())) >= 5
    assert invoke(["forget", "--accounts", GONE]) == Exit.DONE
    assert traces(the_tree()) == [elsewhere]


def test_a_dry_run_reports_the_same_and_changes_nothing(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """The receipt is that of the real command."""
    leave_traces(the_tree())
    before = {path: path.read_bytes() for path in Path("output").rglob("*") if path.is_file()}
    capsys.readouterr()
    assert invoke(["forget", "--accounts", GONE, "--dry-run", "--format", "json"]) == Exit.DONE
    dry = told(capsys)
    assert before == {p: p.read_bytes() for p in Path("output").rglob("*") if p.is_file()}
    assert invoke(["forget", "--accounts", GONE, "--format", "json"]) == Exit.DONE
    real = told(capsys)
    assert dry.pop("dry_run") is True
    assert real.pop("dry_run") is False
    # What waited is published in between, and its record names the account no more.
    assert dry == real


def test_the_receipt_names_what_is_not_reached(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """Copies of records always, and refresh tokens where the platform has a sink."""
    capsys.readouterr()
    command = ["forget", "--accounts", GONE, "--dry-run", "--format", "json"]
    assert invoke(command) == Exit.DONE
    [copies] = told(capsys)["not_reached"]
    assert "`--summary`" in copies
    sink = "sink: {file: 'tokens/{appid}'}"
    platform = f"{{appid: wx00000000000000ff, component_token: '${{S}}', {sink}}}"
    text = Path("jobs.yaml").read_text()
    Path("jobs.yaml").write_text(f"{text}platform: {platform}\n")
    assert invoke(command) == Exit.DONE
    assert "refresh tokens that platform.sink was given: tokens/{appid}" in str(told(capsys))


def test_the_change_feed_has_replaced_files_without_the_accounts(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """Followers of the change feed see each file that lost rows."""
    capsys.readouterr()
    assert invoke(["forget", "--accounts", GONE, "--format", "json"]) == Exit.DONE
    names = {item["path"] for item in told(capsys)["rewritten"]}
    records = [json.loads(path.read_bytes()) for path in Path("output/_harvester/runs").iterdir()]
    [record] = [each for each in records if not each["requests"]]
    assert {item["path"] for item in record["published"]} == names
    assert (record["state"], record["exit_code"]) == ("finished", 0)


def test_days_that_the_manifest_still_wants_are_not_forgotten(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 with the days, and nothing is touched."""
    before = {path: path.read_bytes() for path in Path("output").rglob("*") if path.is_file()}
    assert invoke(["forget", "--accounts", f"{GONE},{STAYS}"]) == Exit.USAGE
    said = capsys.readouterr().err
    assert f"{STAYS} {DAILY} 2026-03-30..2026-04-02" in said
    assert "take the accounts off the jobs" in said
    assert before == {p: p.read_bytes() for p in Path("output").rglob("*") if p.is_file()}


def test_the_old_days_of_all_accounts(
    write: Write, duck: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --before the days from there on stay, rows and coverage alike; and names stay too."""
    write(GONE, STAYS, OTHER, begin="2026-03-31")
    command = ["forget", "--accounts", "all", "--before", "2026-03-31"]
    assert invoke([*command, "--datasets", "interface_summary_h*"]) == Exit.DONE
    names = [GONE, STAYS, OTHER]
    everything = expected(DAILY, names, days_between(*DAYS))
    assert published_rows(duck, Path("output"), DAILY) == everything
    late = expected(HOURLY, names, days_between("2026-03-31", DAYS[1]))
    assert published_rows(duck, Path("output"), HOURLY) == late
    tree = the_tree()
    for partition in layout.partitions(tree, HOURLY):
        coverage = coverage_of(tree, partition)
        if partition.month == min(each.month for each in layout.partitions(tree, HOURLY)):
            for name in coverage.appids:
                assert coverage.account(name) == AccountDays(final=1 << 30, with_rows=1 << 30)
    assert traces(tree)
    assert invoke(["verify"]) == Exit.DONE
    assert invoke(["status", "--require", "ready"]) == Exit.DONE


def test_a_quarantined_answer_that_begins_before_the_limit_goes_as_a_whole(write: Write) -> None:
    """Its body has the rows of the days before the limit too."""
    tree, day = the_tree(), parse_day("2026-04-01")
    window = Window(GONE, DAILY, day - 1, day)
    bad = answer(window, [row(day - 1), row(day, number=-1)])
    quarantine.keep(tree, day, "a negative count", bad, "dead")
    assert invoke(["forget", "--accounts", GONE, "--before", "2026-04-01"]) == Exit.DONE
    assert not quarantine.quarantined_days(tree, DAILY)


def test_a_file_without_remaining_coverage_is_removed(write: Write) -> None:
    """It would have no account and no row."""
    write(STAYS, begin="2026-04-02")
    command = ["forget", "--accounts", f"{GONE},{STAYS},{OTHER}", "--before", "2026-04-01"]
    assert invoke(command) == Exit.DONE
    assert not list(Path("output").glob("*/ref_month=2026-03"))
    assert list(Path("output").glob("*/ref_month=2026-04/*.parquet"))


class Killed(BaseException):
    """The end of a process, as far as one process can play it."""


@pytest.mark.long
@pytest.mark.parametrize("step", [11, *by_night([3])])
def test_a_killed_forget_is_completed_by_repeating_it(
    write: Write, monkeypatch: pytest.MonkeyPatch, duck: duckdb.DuckDBPyConnection, step: int
) -> None:
    """Before any flush and any removal: the second time nothing is left, and all else is there."""
    tree = the_tree()
    leave_traces(tree)
    shutil.copytree("output", "saved")
    at, died = 0, True
    while died:
        at += step
        shutil.rmtree("output")
        shutil.copytree("saved", "output")
        with monkeypatch.context() as patch:
            died = dies_at(patch, at)
        assert invoke(["forget", "--accounts", GONE]) == Exit.DONE
        assert traces(tree) == [], f"killed before change {at}"
        for dataset in BOTH:
            truth = expected(dataset, [STAYS, OTHER], days_between(*DAYS))
            assert published_rows(duck, Path("output"), dataset) == truth
    assert at > 20


def dies_at(patch: pytest.MonkeyPatch, at: int) -> bool:
    """Forget, and die before the Nth flush or removal; whether it got so far."""
    left = at

    def mortal(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                raise Killed
            return real(*args, **options)

        return wrapped

    for name in ("fsync", "unlink"):
        patch.setattr(os, name, mortal(getattr(os, name)))
    try:
        invoke(["forget", "--accounts", GONE])
    except Killed:
        return True
    return False


def half_made(patch: pytest.MonkeyPatch, work: Callable[[], object]) -> list[Path]:
    """Do it, and leave each file also as who is killed before it has its name leaves it."""
    real, made = atomic_files.replace_durably, {}

    def settle(temp: Path, final: Path) -> None:
        made[temp] = temp.read_bytes()
        real(temp, final)

    with patch.context() as context:
        context.setattr(atomic_files, "replace_durably", settle)
        work()
    for path, data in made.items():
        path.write_bytes(data)
    return [*made]


def test_temporary_files_of_killed_commands_are_removed(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In buckets of others too, and what was made without holding any: all of it names accounts."""
    tree = the_tree()
    told = {(name, DAILY): ReportedQuota(1000, 1, 999, NOW) for name in (GONE, STAYS)}
    write(GONE, STAYS, OTHER)
    left = [
        *half_made(monkeypatch, lambda: invoke(["run", "--progress", "none", "--refetch", "all"])),
        *half_made(monkeypatch, lambda: ledgers.tell(tree, told, NOW)),
        *half_made(monkeypatch, lambda: account_cache.write(tree, [GONE, STAYS])),
    ]
    left.append(temp_path(tree.store, replace(tree, buckets=7).name(Partition(DAILY, 0, 5))))
    left[-1].write_text(GONE)
    assert sum(path.exists() for path in left) > 5
    write(STAYS, OTHER)
    assert invoke(["forget", "--accounts", GONE]) == Exit.DONE
    assert traces(tree) == []
    assert list(tree.store.scratch.iterdir()) == []


def test_temporary_files_of_running_commands_are_left_alone(write: Write) -> None:
    """A file that a process is writing stays, and goes once that has ended."""
    tree = the_tree()
    note = temp_path(tree.store, "_harvester/quota/1.json")
    with flock.in_progress(note):
        note.write_text(STAYS)
        assert invoke(["forget", "--accounts", GONE]) == Exit.DONE
        assert list(tree.store.scratch.iterdir()) == [note]
    assert invoke(["forget", "--accounts", GONE]) == Exit.DONE
    assert list(tree.store.scratch.iterdir()) == []


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
@pytest.mark.parametrize("name", ["zzz.json", f"quarantine/{HOURLY}/{STAYS}/zzz.json"])
def test_side_files_of_a_newer_version_are_refused_before_the_first_change(
    write: Write, capsys: pytest.CaptureFixture[str], name: str, options: list[str]
) -> None:
    """Rows, coverage and side files stay as they are: the newer file may name accounts too."""
    tree = the_tree()
    leave_traces(tree)
    newer = json.dumps({"version": 99, "accounts": [GONE]}).encode()
    tree.store.put(f"_harvester/{name}", newer)

    def contents() -> dict[str, bytes | None]:
        names = [file.name for file in tree.store.list("")]
        return {name: read_bytes(tree.store, name) for name in names if "/locks/" not in name}

    before = contents()
    capsys.readouterr()
    assert invoke(["forget", "--accounts", GONE, *options]) == Exit.USAGE
    assert "zzz.json: version 99" in capsys.readouterr().err
    after = contents()
    assert {name: data for name, data in before.items() if after.get(name) != data} == {}
    # The refused command leaves its own record.
    assert all(name.startswith("_harvester/runs/") for name in after.keys() - before.keys())


def test_it_exits_with_75_while_a_run_holds_the_bucket(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """While a run holds the account's bucket it ends with 75, and nothing is touched."""
    tree = the_tree()
    with locks.hold(tree, [bucket_of_gone(tree)], claim("run")):
        assert invoke(["forget", "--accounts", GONE]) == Exit.AGAIN
    assert traces(tree)


def test_a_bug_is_in_the_run_record(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a run: the record is finished and has the reason."""

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("harvester.verbs.erasure.erase_names", broken)
    assert invoke(["forget", "--accounts", GONE]) == Exit.BUG
    record = json.loads(max(Path("output/_harvester/runs").glob("*.json")).read_bytes())
    assert (record["state"], record["exit_code"], record["reasons"]) == ("finished", 1, ["bug"])
    assert record["published"]


@pytest.mark.parametrize("word", ["all", "*"])
def test_all_datasets_by_any_word_are_everything(write: Write, word: str) -> None:
    """Then names are removed also from records about no particular dataset."""
    tree = the_tree()
    leave_traces(tree)
    assert invoke(["forget", "--accounts", GONE, "--datasets", word]) == Exit.DONE
    assert traces(tree) == []


@pytest.mark.parametrize("accounts", [[], ["--accounts", "unknown"]])
def test_accounts_must_be_named_and_known(
    write: Write, accounts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown or missing account is a usage error."""
    assert invoke(["forget", *accounts]) == Exit.USAGE
    assert "account" in capsys.readouterr().err


def test_labels_are_erased_whatever_their_names_mean() -> None:
    """A label `dataset` or `day` is the user's word and says nothing about the other labels."""
    labels = {"dataset": "none", "day": "2099-01-01", "whose": GONE, "of": f"{GONE}/{STAYS}"}
    record = {"labels": {**labels, GONE: "x"}}
    whole = ErasureRequest(frozenset({GONE}), frozenset({DAILY}), everything=True)
    assert erase_from_json(record, whole) == {
        "labels": {"dataset": "none", "day": "2099-01-01", "of": f"(forgotten)/{STAYS}"}
    }
    assert erase_from_json({"labels": "a text"}, whole) == {"labels": "a text"}
    part = ErasureRequest(frozenset({GONE}), frozenset({DAILY}))
    assert erase_from_json(record, part) == record


def test_names_that_only_the_accounts_have_leave_the_selections(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run was given them. A word that may mean another account or a job stays, and so labels."""
    text = Path("jobs.yaml").read_text()
    Path("other.yaml").write_text(
        text.replace(STAYS, f"{GONE}, name: both", 1).replace(STAYS, GONE)
    )
    assert invoke(["run", "other.yaml"]) == Exit.DONE
    Path("jobs.yaml").write_text(
        text.replace(f"{{appid: {STAYS}}}", f"{{appid: {STAYS}, name: both}}")
        .replace("accounts: [{", f"accounts: [{{appid: {GONE}, name: 服务}}, {{", 1)
        .replace("datasets: [", "name: 服务\n    datasets: [")
        .replace(f"accounts: [{STAYS}", f"accounts: [{GONE}, {STAYS}")
    )
    command = ["run", "--jobs", "服务", "--accounts"]
    assert invoke([*command, "服务,both", "--label", "of=服务"]) == Exit.DONE
    Path("jobs.yaml").write_text(text)
    capsys.readouterr()
    assert invoke(["forget", "--accounts", GONE, "--dry-run", "--format", "json"]) == Exit.DONE
    dry = told(capsys)["records"]
    assert invoke(["forget", "--accounts", GONE, "--format", "json"]) == Exit.DONE
    assert told(capsys)["records"] == dry
    records = [json.loads(x.read_bytes()) for x in Path("output/_harvester/runs").glob("*.json")]
    [chosen] = [each for each in records if each["selection"]]
    assert chosen["selection"] == {"accounts": ["both"], "jobs": ["服务"]}
    assert chosen["labels"] == {"of": "服务"}


def test_a_member_of_another_type_is_erased_as_any_other() -> None:
    """Another program may have written the file."""
    whole = ErasureRequest(frozenset({GONE}), frozenset({DAILY}), everything=True)
    assert erase_from_json({"appid": [GONE, STAYS]}, whole) == {"appid": [STAYS]}


def test_a_record_is_erased_by_dataset_and_day() -> None:
    """Only what is about the datasets and days goes, wherever it stands."""
    record = {
        "a": [{"appid": GONE, "dataset": DAILY, "day": "2026-03-01"}],
        "b": [{"dataset": HOURLY, "ref_month": "2026-03", "appids": [GONE, STAYS]}],
        "c": {"dataset": DAILY, "ref_month": "2026-04", "appids": [GONE]},
        "d": f"{DAILY}: {GONE} and {STAYS}",
    }
    march = ErasureRequest(frozenset({GONE}), frozenset({DAILY}), before=parse_day("2026-04-01"))
    assert erase_from_json(record, march) == {**record, "a": []}
    daily = ErasureRequest(frozenset({GONE}), frozenset({DAILY}))
    assert erase_from_json(record, daily) == {
        "a": [],
        "b": record["b"],
        "c": {"dataset": DAILY, "ref_month": "2026-04", "appids": []},
        "d": f"{DAILY}: (forgotten) and {STAYS}",
    }
