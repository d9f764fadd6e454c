"""Tables beside the datasets: exact after any runs, written where something changed, never late."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.core.calendar import parse_day
from harvester.core.config.settings import Output
from harvester.core.exit_codes import Exit
from harvester.runs.record.notes import notes_of
from harvester.sandbox.data import Row, expected_rows
from harvester.storage.backends import atomic_files
from harvester.storage.backends.base import FileInfo
from harvester.storage.backends.local import LocalStore
from harvester.storage.layout import TABLES, open_tree
from harvester.testing import sandbox
from harvester.verbs.forget import forget
from harvester.verbs.rewrite import rewrite
from harvester.verbs.verify import verify
from tests.support.derived_tables import (
    days_expected,
    days_of_table,
    rows_of_table,
    that_have,
    versions,
)
from tests.support.run_harness import RunHarness, appid
from tests.support.store_backends import download

DAILY, WEEKLY, LATE = "interface_summary", "upstream_msg_week", "biz_summary"


def lab_of(root: Path, **members: Any) -> RunHarness:
    """Two buckets, three accounts, seven weeks of three datasets."""
    usual = {"begin": "2026-04-01", "end": "2026-05-18", "buckets": 2}
    return RunHarness(root, **{"datasets": (DAILY, WEEKLY, LATE), **usual, **members})


def test_the_coverage_is_what_files_and_manifest_say(tmp_path: Path) -> None:
    """Of every day that is known or wanted, once; why days are missing stands there too."""
    lab = lab_of(tmp_path)
    lab.sandbox.fail(appid(2), 48001)
    lab.run()
    assert days_of_table(tmp_path) == days_expected(tmp_path, lab.now(), lab.manifest())
    rows = rows_of_table(tmp_path, "coverage")
    why = {(row["appid"], row["state"], row["reason"], row["errcode"]) for row in rows}
    assert (appid(2), "missing", "refused", 48001) in why
    assert {each[1:] for each in why if each[0] != appid(2)} <= {
        (state, None, None) for state in ("final", "provisional")
    }
    # Of another range the rows before it stay, and are not wanted any more.
    later = replace_begin(lab, "2026-05-01")
    later.run()
    assert days_of_table(tmp_path) == days_expected(tmp_path, later.now(), later.manifest())
    assert {row["wanted"] for row in rows_of_table(tmp_path, "coverage")} == {True, False}


def replace_begin(lab: RunHarness, begin: str) -> RunHarness:
    """Return the harness with another first day, and the same emulator."""
    lab.begin = begin
    return lab


def test_a_run_without_news_writes_its_own_row_alone(tmp_path: Path) -> None:
    """Also if days were asked again: their rows rest on the answer that they rested on."""
    lab = lab_of(tmp_path)
    lab.run()
    before, asked = versions(tmp_path), times(tmp_path)
    lab.run()
    after = versions(tmp_path)
    assert [name for name in after if before.get(name) != after[name]] == ["runs/2026-05.parquet"]
    lab.advance(86_400)
    calls = lab.calls()
    lab.run()
    assert lab.calls() > calls
    # The emulator's numbers of the other dataset change while they are young.
    left = {key: at for key, at in times(tmp_path).items() if key in asked and key[0] == DAILY}
    assert left
    assert left == {key: asked[key] for key in left}
    assert len(rows_of_table(tmp_path, "runs")) == 3


def times(root: Path) -> dict[tuple[Any, ...], Any]:
    """Return the times of the answers of provisional days."""
    found = {}
    for row in rows_of_table(root, "coverage"):
        if row["asked_at"] is not None:
            for number in range((row["end_date"] - row["begin_date"]).days + 1):
                day = row["begin_date"] + dt.timedelta(number)
                found[row["dataset"], row["appid"], day] = row["asked_at"]
    return found


def test_another_number_moves_the_time_of_its_answer(tmp_path: Path) -> None:
    """The rows of one day differ, so its answer is another one; all other times stay."""
    more = dict[int, int]()

    def source(dataset: str, account: str, day: int) -> list[Row]:
        rows = (dict(row) for row in expected_rows(dataset, account, day))
        return [{**row, "fail_count": more[day]} if day in more else row for row in rows]

    of_one = {"accounts": 1, "buckets": 1, "datasets": (DAILY,), "end": "2026-05-19"}
    lab = lab_of(tmp_path, source=source, **of_one)
    lab.run()
    asked = times(tmp_path)
    assert len(asked) == 3
    more[parse_day("2026-05-19")] = 7
    lab.advance(86_400)
    lab.run()
    moved = {key[-1] for key, at in times(tmp_path).items() if at != asked.get(key, at)}
    assert moved == {dt.date(2026, 5, 19)}


def test_accounts_say_since_when_they_have_rows(tmp_path: Path) -> None:
    """Of what any run has read: a later begin changes nothing, older rows do."""
    begins = {appid(1): parse_day("2026-05-03")}

    def source(dataset: str, account: str, day: int) -> list[Row]:
        has_rows = day >= begins.get(account, day + 1)
        return expected_rows(dataset, account, day) if has_rows else []

    def first_rows() -> list[str | None]:
        found = (row["first_row_on"] for row in rows_of_table(tmp_path, "accounts"))
        return [None if day is None else day.isoformat() for day in found]

    lab = lab_of(tmp_path, accounts=2, buckets=1, datasets=(DAILY, WEEKLY), source=source)
    told = "history begins on 2026-05-03 (wx0000000000000001); proved from tomorrow on"
    assert told in notes_of(lab.run(), lab.manifest().names)
    assert first_rows() == ["2026-05-03", None]
    before = versions(tmp_path)
    replace_begin(lab, "2026-05-10").run()
    after = versions(tmp_path)
    assert {before[name] == after[name] for name in after if name.startswith("accounts/")} == {True}
    begins[appid(1)] = parse_day("2026-03-18")
    replace_begin(lab, "2026-03-01").run()
    assert first_rows() == ["2026-03-18", None]


class Killed(BaseException):
    """The death of a process."""


def test_a_run_may_be_killed_between_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each change of a file of theirs: the next run leaves what an undisturbed one does."""
    lab = lab_of(tmp_path / "whole", accounts=2, datasets=(DAILY,))
    lab.run()
    whole = days_of_table(lab.root)
    for number in count(1):
        place = tmp_path / str(number)
        again = lab_of(place, accounts=2, datasets=(DAILY,))
        with monkeypatch.context() as patch:
            died = _die_at(patch, number)(again)
        again.run()
        assert days_of_table(place) == whole
        assert len(rows_of_table(place, "accounts")) == 2
        assert len(rows_of_table(place, "runs")) == 2
        if not died:
            break
    assert number > 6


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
    names = ("accounts", "coverage", "codes")
    known = {name: rows_of_table(tmp_path, name) for name in (*names, "runs")}
    for lost in (*names, "runs", "_harvester/tables"):
        shutil.rmtree(tmp_path / lost)
        lab.run()
        for name in names:
            kept = [{**row, "updated_at": None} for row in rows_of_table(tmp_path, name)]
            assert kept == [{**row, "updated_at": None} for row in known[name]], (lost, name)
    assert known["runs"] == rows_of_table(tmp_path, "runs")[:2]
    for path in tmp_path.glob("coverage/*/*.parquet"):
        path.write_bytes(b"PAR1 no more")
    lab.run()
    assert rows_of_table(tmp_path, "coverage") == known["coverage"]


def manifest(name: str, folder: Path, text: str, numbers: range, **output: Any) -> Path:
    """Write a manifest of some accounts, each with a name, a tag and an attribute."""
    accounts = "".join(
        f"  - {{appid: {appid(n)}, name: Acme {n}, tags: [retail{n}], {ATTRIBUTES}}}\n"
        for n in numbers
    )
    output.setdefault("path", f"{folder}/out")
    options = ", ".join(f"{key}: {value}" for key, value in output.items())
    path = folder / name
    path.write_text(
        f"version: 1\napi: {{base_url: sandbox}}\naccounts:\n{accounts}jobs:\n{text}"
        f"output: {{{options}}}\n"
    )
    return path


CITY = "Gotham"
ATTRIBUTES = f"attributes: {{city: {CITY}}}"
JOB = "  - {datasets: [user_summary, upstream_msg_week], begin_date: -40d}\n"


@pytest.mark.long
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
    read = [harvester.read_manifest(path) for path in (one, two)]
    assert days_of_table(root) == days_expected(root, time.time(), *read)
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


def test_the_tables_list_a_dataset_once_for_all_buckets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object store lists a thousand files in a request."""
    listed = Counter[str]()
    real = LocalStore.list

    def counted(store: LocalStore, folder: str) -> list[FileInfo]:
        listed[folder] += 1
        return real(store, folder)

    monkeypatch.setattr(LocalStore, "list", counted)
    times = []
    for buckets in (1, 8):
        lab = lab_of(tmp_path / str(buckets), buckets=buckets)
        lab.run()
        listed.clear()
        lab.run()
        times.append(listed[DAILY])
    assert times[0] == times[1]


def test_an_account_that_leaves_its_manifest_stays_and_is_not_wanted(tmp_path: Path) -> None:
    """Its rows too, as the files have them; what is missing of it is not told any more."""
    path = manifest("jobs.yaml", tmp_path, JOB, range(1, 4), buckets=2)
    harvester.run(path)
    manifest("jobs.yaml", tmp_path, JOB, range(1, 3), buckets=2)
    harvester.run(path)
    rows = harvester.open(tmp_path / "out").accounts().to_pylist()
    assert [row["wanted"] for row in rows] == [True, True, False]
    assert days_of_table(tmp_path / "out") == days_expected(
        tmp_path / "out", time.time(), harvester.read_manifest(path)
    )


def test_a_selection_narrows_no_table(tmp_path: Path) -> None:
    """A first run of one account: the others are in the tables, and missing."""
    path = manifest("jobs.yaml", tmp_path, JOB, range(1, 4), buckets=2)
    harvester.run(path, accounts=appid(1), datasets="user_summary", begin_date="-5d")
    root, read = tmp_path / "out", harvester.read_manifest(path)
    assert len(rows_of_table(root, "accounts")) == 3
    assert days_of_table(root) == days_expected(root, time.time(), read)
    harvester.run(path, accounts=appid(2))
    assert days_of_table(root) == days_expected(root, time.time(), read)


def test_a_refusal_stays_the_cause_while_other_runs_ask_for_something_else(tmp_path: Path) -> None:
    """The tables search as many records as status and gate."""
    with sandbox(accounts=2, faults={appid(2): 48001}) as wechat:
        read = wechat.manifest([DAILY, LATE], begin_date="-3d", output=str(tmp_path))
        harvester.run(read)
        [first] = (tmp_path / "_harvester/runs").glob("*.json")
        later = json.dumps({**json.loads(first.read_bytes()), "exceptions": []})
        for second in range(30):
            first.with_name(f"29990101T0000{second:02}Z-000000.json").write_text(later)
        harvester.run(read, accounts=appid(1), refetch="all")
    rows = rows_of_table(tmp_path, "coverage")
    missing = {(row["appid"], row["reason"]) for row in rows if row["state"] == "missing"}
    assert missing == {(appid(2), "refused")}


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
    """In none of the tables, and all rows of the others stay."""
    path = manifest("jobs.yaml", tmp_path, JOB, range(1, 4), buckets=2)
    root = tmp_path / "out"
    harvester.run(path, labels={"for": f"account {appid(2)}"})
    others = [row for row in rows_of_table(root, "coverage") if row["appid"] != appid(2)]
    manifest("jobs.yaml", tmp_path, JOB, range(1, 2), buckets=2)
    path.write_text(path.read_text().replace("jobs:", f"  - appid: {appid(3)}\njobs:"))
    receipt = forget(path, accounts=appid(2), dry_run=True)
    assert receipt.records == forget(path, accounts=appid(2)).records
    assert {"accounts", "coverage", "runs"} <= {name.split("/")[0] for name in receipt.records}
    assert not that_have(root, appid(2))
    assert rows_of_table(root, "coverage") == others


def test_days_before_a_day_are_forgotten(tmp_path: Path) -> None:
    """A range that lies across it is cut, and the account stays."""
    path = manifest("jobs.yaml", tmp_path, JOB, range(1, 4), buckets=2)
    harvester.run(path)
    path.write_text(path.read_text().replace("-40d", "-20d"))
    root = tmp_path / "out"
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 8 * 3600 - 25 * 86_400))
    forget(path, accounts="all", before=day)
    rows = rows_of_table(root, "coverage")
    assert min(row["begin_date"] for row in rows).isoformat() >= day
    assert days_of_table(root).keys() == days_expected(root, time.time()).keys()
    harvester.run(path)
    assert days_of_table(root) == days_expected(root, time.time(), harvester.read_manifest(path))


def test_a_repair_says_which_days_are_lost(tmp_path: Path) -> None:
    """At once, of all manifests; and a rewrite takes the tables along, in other buckets."""
    path = manifest("jobs.yaml", tmp_path, JOB, range(1, 4), buckets=2)
    harvester.run(path)
    root, read = tmp_path / "out", harvester.read_manifest(path)
    damaged = min((root / "user_summary").rglob("*.parquet"))
    damaged.write_bytes(b"PAR1 no more")
    assert not verify(path, repair=True).undamaged
    assert days_of_table(root) == days_expected(root, time.time(), read)
    assert "missing" in {state for state, *_ in days_of_table(root).values()}
    harvester.run(path)
    rewrite(path, to=tmp_path / "new", buckets=3)
    assert days_of_table(tmp_path / "new") == days_of_table(root)
    assert rows_of_table(tmp_path / "new", "accounts") == rows_of_table(root, "accounts")
    before = versions(tmp_path / "new", ("accounts", "coverage"))
    assert versions(tmp_path / "new", ("accounts", "coverage")) == before


def test_an_object_store_has_the_tables_too(s3_output: Output, tmp_path: Path) -> None:
    """A run without news puts its row of `runs` alone, and a forgotten account is in no object."""
    root, store = tmp_path / "copy", open_tree(s3_output).store
    members = {"path": s3_output.path, "endpoint": s3_output.endpoint, "buckets": 2}
    path = manifest("jobs.yaml", tmp_path, JOB, range(1, 4), **members)
    assert harvester.run(path).exit_code == Exit.DONE
    download(store, root)
    assert days_of_table(root) == days_expected(root, time.time(), harvester.read_manifest(path))
    before = {file.name: file.version for name in TABLES for file in store.list(name)}
    assert harvester.run(path).exit_code == Exit.DONE
    after = {file.name: file.version for name in TABLES for file in store.list(name)}
    changed = [name for name in after if after[name] != before.get(name)]
    assert [name.split("/")[0] for name in changed] == ["runs"]
    manifest("jobs.yaml", tmp_path, JOB, range(1, 3), **members)
    path.write_text(path.read_text().replace("jobs:", f"  - appid: {appid(3)}\njobs:", 1))
    path.write_text(path.read_text().replace("begin_date", f"accounts: [{appid(1)}], begin_date"))
    forget(path, accounts=[appid(2), appid(3)])
    shutil.rmtree(root)
    download(store, root)
    assert not that_have(root, appid(2), appid(3))
