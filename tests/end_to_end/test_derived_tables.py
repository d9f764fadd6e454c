"""Tables beside the datasets: exact after any runs, written where something changed, never late."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.core.exit_codes import Exit
from harvester.storage.backends import atomic_files
from harvester.verbs.forget import forget
from harvester.verbs.rewrite import rewrite
from tests.support.derived_tables import (
    rows_of_table,
    that_have,
    versions,
)
from tests.support.run_harness import RunHarness, appid

DAILY, WEEKLY, LATE = "interface_summary", "upstream_msg_week", "biz_summary"


def lab_of(root: Path, **members: Any) -> RunHarness:
    """Two buckets, three accounts, seven weeks of three datasets."""
    usual = {"begin": "2026-04-01", "end": "2026-05-18", "buckets": 2}
    return RunHarness(root, **{"datasets": (DAILY, WEEKLY, LATE), **usual, **members})


def test_a_run_without_news_writes_its_own_row_alone(tmp_path: Path) -> None:
    """All other files stay as they are."""
    lab = lab_of(tmp_path)
    lab.run()
    before = versions(tmp_path)
    lab.run()
    after = versions(tmp_path)
    assert [name for name in after if before.get(name) != after[name]] == ["runs/2026-05.parquet"]


class Killed(BaseException):
    """The death of a process."""


def test_a_run_may_be_killed_between_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each change of a file of theirs: the next run leaves what an undisturbed one does."""
    for number in count(1):
        place = tmp_path / str(number)
        again = lab_of(place, accounts=2, datasets=(DAILY,))
        with monkeypatch.context() as patch:
            died = _die_at(patch, number)(again)
        again.run()
        assert len(rows_of_table(place, "accounts")) == 2
        assert len(rows_of_table(place, "runs")) == 2
        if not died:
            break
    assert number > 3


def _die_at(patch: pytest.MonkeyPatch, number: int) -> Callable[[RunHarness], bool]:
    """Return a run that dies before that change of a table; it tells whether it died."""
    puts = count(1)
    settle = atomic_files.replace_durably

    def settled(temp: Path, final: Path) -> None:
        is_table = final.suffix == ".parquet" and not {DAILY}.intersection(final.parts)
        if (is_table or "tables" in final.parts) and next(puts) == number:
            raise Killed
        settle(temp, final)

    def run(lab: RunHarness) -> bool:
        patch.setattr(atomic_files, "replace_durably", settled)
        try:
            lab.run()
        except Killed:
            return True
        return False

    return run


def test_lost_tables_are_made_again(tmp_path: Path) -> None:
    """Each of them, the marks, or all: the next run has nothing to ask and restores the rows."""
    lab = lab_of(tmp_path)
    lab.sandbox.fail(appid(2), 48001, dataset=DAILY)
    lab.run()
    lab.run()
    names = ("accounts", "codes")
    known = {name: rows_of_table(tmp_path, name) for name in (*names, "runs")}
    for lost in (*names, "runs"):
        shutil.rmtree(tmp_path / lost)
        lab.run()
        for name in names:
            kept = [{**row, "updated_at": None} for row in rows_of_table(tmp_path, name)]
            assert kept == [{**row, "updated_at": None} for row in known[name]], (lost, name)
    assert known["runs"] == rows_of_table(tmp_path, "runs")[:2]


def manifest(name: str, folder: Path, text: str, numbers: range, **output: Any) -> Path:
    """Write a manifest of some accounts, each with a name, a tag and an attribute."""
    accounts = "".join(
        f"  - {{appid: {appid(n)}, name: Acme {n}, tags: [retail{n}], {ATTRIBUTES}}}\n"
        for n in numbers
    )
    options = ", ".join(f"{key}: {value}" for key, value in output.items())
    path = folder / name
    path.write_text(
        f"version: 1\napi: {{base_url: sandbox}}\naccounts:\n{accounts}jobs:\n{text}"
        f"output: {{path: {folder}/out, {options}}}\n"
    )
    return path


CITY = "Gotham"
ATTRIBUTES = f"attributes: {{city: {CITY}}}"
JOB = "  - {datasets: [user_summary, upstream_msg_week], begin_date: -40d}\n"


def test_two_manifests_and_four_shards_share_the_tables(tmp_path: Path) -> None:
    """In any order; each keeps the rows of the other, and a shard writes its own buckets."""
    one = manifest("one.yaml", tmp_path, JOB, range(1, 6), buckets=4)
    two = manifest(
        "two.yaml",
        tmp_path,
        "  - {datasets: [user_cumulate], begin_date: -9d}\n",
        range(5, 9),
        buckets=4,
    )
    root = tmp_path / "out"
    for number in range(1, 5):
        assert harvester.run(one, shard=(number, 4)).exit_code == Exit.DONE
    assert harvester.run(two, processes=2).exit_code == Exit.DONE
    before = versions(root)
    assert harvester.run(one).exit_code == Exit.DONE
    assert harvester.run(two, accounts=appid(8)).exit_code == Exit.DONE
    assert {name for name, at in versions(root).items() if before.get(name) != at} == {
        next(name for name in before if name.startswith("runs/"))
    }
    accounts = harvester.open(root).accounts().to_pylist()
    assert [(row["appid"], row["manifest"]) for row in accounts] == [
        *((appid(n), "one.yaml") for n in range(1, 6)),
        *((appid(n), "two.yaml") for n in range(6, 9)),
    ]
    assert accounts[0]["name"] == "Acme 1"
    assert accounts[0]["tags"] == ["retail1"]
    assert dict(accounts[0]["attributes"]) == {"city": CITY}
    runs = rows_of_table(root, "runs")
    assert [run["shard"] for run in runs][:5] == ["1/4", "2/4", "3/4", "4/4", None]
    assert {run["verb"] for run in runs} == {"run"}
    assert all(run["host"] and run["manifest_digest"] for run in runs)


def test_an_account_that_leaves_its_manifest_stays_and_is_not_wanted(tmp_path: Path) -> None:
    """Its row is kept, and says so."""
    path = manifest("jobs.yaml", tmp_path, JOB, range(1, 4), buckets=2)
    harvester.run(path)
    manifest("jobs.yaml", tmp_path, JOB, range(1, 3), buckets=2)
    harvester.run(path)
    rows = harvester.open(tmp_path / "out").accounts().to_pylist()
    assert [row["wanted"] for row in rows] == [True, True, False]


def test_no_file_names_an_account_if_it_is_not_to(tmp_path: Path) -> None:
    """No name, tag or attribute: tables, records, attention and kept manifests."""
    path = manifest("jobs.yaml", tmp_path, JOB, range(1, 4), buckets=2, account_names="false")
    harvester.run(path, accounts=["tag:retail1", "city=Gotham"])
    harvester.run(path)
    root = tmp_path / "out"
    assert not that_have(root, "Acme", "retail", CITY, "city")
    assert len(rows_of_table(root, "accounts")) == 3
    manifest("jobs.yaml", tmp_path, JOB, range(1, 4), buckets=2)
    harvester.run(path)
    assert that_have(root, "Acme")


def test_nothing_is_left_of_a_forgotten_account(tmp_path: Path) -> None:
    """In none of the tables."""
    path = manifest("jobs.yaml", tmp_path, JOB, range(1, 4), buckets=2)
    root = tmp_path / "out"
    harvester.run(path, labels={"for": f"account {appid(2)}"})
    manifest("jobs.yaml", tmp_path, JOB, range(1, 2), buckets=2)
    path.write_text(path.read_text().replace("jobs:", f"  - appid: {appid(3)}\njobs:"))
    receipt = forget(path, accounts=appid(2), dry_run=True)
    assert receipt.records == forget(path, accounts=appid(2)).records
    assert {"accounts", "runs"} <= {name.split("/")[0] for name in receipt.records}
    assert not that_have(root, appid(2))


def test_a_rewrite_takes_the_tables_along(tmp_path: Path) -> None:
    """In the files of other buckets."""
    path = manifest("jobs.yaml", tmp_path, JOB, range(1, 4), buckets=2)
    harvester.run(path)
    rewrite(path, to=tmp_path / "new", buckets=3)
    for name in ("accounts", "codes"):
        assert rows_of_table(tmp_path / "new", name) == rows_of_table(tmp_path / "out", name)
    assert {run["verb"] for run in rows_of_table(tmp_path / "new", "runs")} == {"run", "rewrite"}
