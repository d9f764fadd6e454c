"""``harvester changes``: what a follower of the files is told, and when it must start again."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.cli import invoke
from harvester.core.calendar import day_text
from harvester.core.errors import HistoryLost
from harvester.core.exit_codes import Exit
from harvester.sandbox.data import Row, expected_rows
from harvester.storage.layout import Tree
from harvester.storage.state.packed_lines import unpack
from harvester.verbs.changes import ChosenChanges, changes_of
from tests.support.output_helpers import tree_at
from tests.support.run_harness import DAILY, HOURLY, RunHarness, appid, files_of

MANIFEST = """
version: 1
api: {base_url: sandbox}
accounts: [{appid: %s, name: One}, {appid: %s}]
output: {path: out, must_exist: true}
jobs: [{datasets: [interface_summary], begin_date: 2026-03-30, end_date: 2026-04-02}]
"""


def lab_of(root: Path, **fields: Any) -> RunHarness:
    """Two accounts, two months of one dataset."""
    given: dict[str, Any] = {"accounts": 2, "begin": "2026-03-30", "end": "2026-04-02"}
    return RunHarness(root, datasets=(DAILY,), **(given | fields))


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the lines of stdout."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without anything in it."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def test_an_output_that_does_not_exist_has_no_changes(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0 and a cursor, which is good for all that comes; nothing is made."""
    assert invoke(["changes", "--output", "out"]) == Exit.DONE
    [line] = told(capsys)
    assert list(elsewhere.iterdir()) == []
    lab_of(elsewhere / "out").run()
    assert invoke(["changes", "--output", "out", "--since", line["cursor"]]) == Exit.DONE
    *found, last = told(capsys)
    assert {each["ref_month"] for each in found} == {"2026-03", "2026-04"}
    assert list(last) == ["cursor"]


def test_a_manifest_needs_no_secret_and_may_demand_that_the_output_exists(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``must_exist`` is for runs: following an output starts none."""
    text = MANIFEST.replace("api: {base_url: sandbox}\n", "") % (appid(1), appid(2))
    secret = 'defaults: {credential: {secret: "${file:no/such/file}"}}'
    Path("jobs.yaml").write_text(f"{text}{secret}\n")
    assert invoke(["changes"]) == Exit.DONE
    assert told(capsys) == [{"cursor": "v1"}]


def test_each_file_is_listed_once_from_the_beginning(tmp_path: Path) -> None:
    """With what is in it, however often it was replaced."""
    lab = lab_of(tmp_path)
    lab.run()
    lab.run(refetch="all")
    found, cursor = changes_of(lab.tree, "begin")
    assert [each.path for each in found] == sorted(
        str(path.relative_to(tmp_path)) for path in files_of(tmp_path)
    )
    assert (found, cursor) == changes_of(lab.tree)
    for each in found:
        assert (each.op, each.rows_before, each.run_id) == ("replaced", 0, None)
        assert (each.rows_after, each.appids) == (4, (appid(1), appid(2)))
        assert len(each.days) == 2
    assert changes_of(lab.tree, cursor) == ([], cursor)


def test_days_and_accounts_are_those_whose_rows_differ(tmp_path: Path) -> None:
    """An answer that says what is known is a replacement in which nothing differs."""

    def corrected(dataset: str, name: str, day: int) -> list[Row]:
        rows = expected_rows(dataset, name, day)
        is_other = name == appid(2) and day_text(day) in {"2026-03-31", "2026-04-02"}
        return [{**each, "callback_count": 7} for each in rows] if is_other else rows

    lab = lab_of(tmp_path)
    lab.run()
    _, cursor = changes_of(lab.tree)
    lab.run(refetch="all")
    same, cursor = changes_of(lab.tree, cursor)
    assert [(each.days, each.appids) for each in same] == [((), ())] * 2
    later = lab_of(tmp_path, source=corrected)
    later.advance(60.0)
    later.run(refetch="all")
    found, _ = changes_of(lab.tree, cursor)
    assert sorted((each.days, each.appids) for each in found) == [
        (("2026-03-31",), (appid(2),)),
        (("2026-04-02",), (appid(2),)),
    ]
    assert [each.seq for each in found] == [each.seq + 2 for each in same]


def test_ends_count_and_not_beginnings(tmp_path: Path) -> None:
    """A run that began first and ends last is told to those who looked in between."""
    lab = lab_of(tmp_path, buckets=2, accounts=8)
    _, cursor = changes_of(lab.tree)
    lab.advance(60.0)
    lab.run(shard=(2, 2))
    early, cursor = changes_of(lab.tree, cursor)
    # The other one has the older id, as if it had begun before.
    lab.advance(-60.0)
    lab.run(shard=(1, 2))
    late, _ = changes_of(lab.tree, cursor)
    assert max(str(each.run_id) for each in late) < min(str(each.run_id) for each in early)
    assert {each.path for each in (*early, *late)} == {
        str(path.relative_to(tmp_path)) for path in files_of(tmp_path)
    }


def reset_of(tree: Tree, cursor: str) -> str:
    """Return the cursor with which to go on after a reset, which must be due."""
    with pytest.raises(HistoryLost) as lost:
        changes_of(tree, cursor)
    assert changes_of(tree, lost.value.cursor)[0] == []
    return lost.value.cursor


def test_a_cursor_of_another_tree(tmp_path: Path) -> None:
    """Its numbers may fit, but not its marks; a torn or made-up one is none at all."""
    one, other = lab_of(tmp_path / "one"), lab_of(tmp_path / "other")
    one.run()
    other.run()
    _, cursor = changes_of(one.tree)
    for strange in (cursor, cursor[:-3], "v9", "", "x" * 9_000):
        reset_of(other.tree, strange)
    assert changes_of(one.tree, cursor)[0] == []


def test_a_copy_goes_on_alone(tmp_path: Path) -> None:
    """A cursor is good for a copy, until both have gone on."""
    lab = lab_of(tmp_path / "one")
    lab.run()
    _, before = changes_of(lab.tree)
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    copy = lab_of(tmp_path / "copy")
    assert changes_of(copy.tree, before) == ([], before)
    lab.run(refetch="all")
    copy.run(refetch="all")
    _, after = changes_of(lab.tree, before)
    assert len(changes_of(copy.tree, before)[0]) == 2
    reset_of(copy.tree, after)


def test_a_lost_history_is_never_silent(tmp_path: Path) -> None:
    """All of it, or a part: a reader that had seen less of it starts again."""
    lab = lab_of(tmp_path)
    _, nothing = changes_of(lab.tree)
    lab.run()
    _, first = changes_of(lab.tree)
    lab.run(refetch="all")
    _, second = changes_of(lab.tree)
    [*old, _] = sorted((tmp_path / "_harvester/changes/0000-of-0001/rounds").iterdir())
    for path in old:
        path.unlink()
    reset_of(lab.tree, nothing)
    assert len(changes_of(lab.tree, first)[0]) == 2
    shutil.rmtree(tmp_path / "_harvester/changes")
    for cursor in (first, second):
        reset_of(lab.tree, cursor)
    lab.run(refetch="all")
    for cursor in (nothing, first, second):
        reset_of(lab.tree, cursor)


def test_the_history_of_an_earlier_harvester_is_none_and_a_cursor_holds(tmp_path: Path) -> None:
    """Without logs a cursor knows the files; it is good if nothing was replaced before the log."""
    lab = lab_of(tmp_path)
    lab.run()
    shutil.rmtree(tmp_path / "_harvester/changes")
    found, cursor = changes_of(lab.tree)
    assert len(found) == 2
    assert changes_of(lab.tree, cursor) == ([], cursor)
    lab.run(refetch="all")
    found, after = changes_of(lab.tree, cursor)
    assert (len(found), after != cursor) == (2, True)


def test_history_is_dropped_by_a_run_of_its_bucket(tmp_path: Path) -> None:
    """Older than keep_history; the newest entries stay, so what is up to date stays valid."""
    lab = lab_of(tmp_path)
    _, nothing = changes_of(lab.tree)
    lab.run()
    _, seen = changes_of(lab.tree)
    lab.advance(401 * 86_400)
    lab.run(refetch="all")
    lab.advance(86_400)
    lab.run(refetch="all")
    reset_of(lab.tree, nothing)
    assert len(changes_of(lab.tree, seen)[0]) == 4
    assert len(list((tmp_path / "_harvester/runs").glob("*.json"))) == 2


def test_options_narrow_the_feed(tmp_path: Path) -> None:
    """By dataset, account and day; an erased file concerns all accounts of its bucket."""
    lab = RunHarness(tmp_path, accounts=2, begin="2026-03-30", end="2026-04-02")
    empty = changes_of(lab.tree)[1]
    lab.run()

    def told_of(**chosen: Any) -> list[tuple[str, str, int, int]]:
        found, _ = changes_of(lab.tree, empty, ChosenChanges(**chosen))
        return sorted(
            (each.dataset, each.ref_month, len(each.days), len(each.appids)) for each in found
        )

    assert len(told_of()) == 4
    assert {each[0] for each in told_of(datasets=frozenset({HOURLY}))} == {HOURLY}
    assert told_of(appids=frozenset({appid(9)})) == []
    assert {each[2:] for each in told_of(appids=frozenset({appid(1)}))} == {(2, 1)}
    assert told_of(begin_date="2026-04-02", datasets=frozenset({DAILY})) == [
        (DAILY, "2026-04", 1, 2)
    ]
    assert {each[1] for each in told_of(end_date="2026-03-31")} == {"2026-03"}


@pytest.mark.parametrize("label", ["", "x-of-y", "1-of-0", "0000-of-"])
def test_a_planted_name_without_a_bucket_is_of_no_account(label: str) -> None:
    """It is passed over by a selection of accounts, and ends no command."""
    name = f"{DAILY}/ref_month=2026-03/part-{label}.parquet"
    assert not ChosenChanges(frozenset({appid(1)})).has_file(name)
    assert ChosenChanges().has_file(name)


def test_days_in_the_wrong_order_are_a_mistake(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are not a feed without changes."""
    lab_of(elsewhere / "out").run()
    days = ["--begin-date", "2026-04-02", "--end-date", "2026-04-01"]
    assert invoke(["changes", "--output", "out", *days]) == Exit.USAGE
    assert "--begin-date is after --end-date" in capsys.readouterr().err


def test_names_need_a_manifest(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An appid is known without one, and a name is not."""
    lab_of(elsewhere / "out").run()
    assert invoke(["changes", "--output", "out", "--accounts", appid(1)]) == Exit.DONE
    assert [each["appids"] for each in told(capsys)[:-1]] == [[appid(1)]] * 2
    assert invoke(["changes", "--output", "out", "--accounts", "One"]) == Exit.USAGE
    Path("jobs.yaml").write_text(MANIFEST % (appid(1), appid(2)))
    capsys.readouterr()
    assert invoke(["changes", "--accounts", "One", "--datasets", "interface*"]) == Exit.DONE
    assert [each["appids"] for each in told(capsys)[:-1]] == [[appid(1)]] * 2


def test_the_feed_needs_no_kept_manifest(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only names of accounts and jobs do, so a damaged one stops no other follower."""
    lab_of(elsewhere / "out").run()
    kept = elsewhere / "out/_harvester/manifests/jobs.yaml.1.json"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("{")
    feed = ["changes", "--output", "out", "--datasets", DAILY]
    assert invoke(feed) == Exit.DONE
    assert {each["dataset"] for each in told(capsys)[:-1]} == {DAILY}
    assert invoke([*feed, "--accounts", appid(1)]) == Exit.USAGE
    assert "not a manifest as a run keeps it" in capsys.readouterr().err


def test_a_reset_is_printed_with_its_cursor(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, the last line of stdout says so, and stderr says why."""
    lab_of(elsewhere / "out").run()
    assert invoke(["changes", "--output", "out", "--since", "v1,0-1-9-0123456789"]) == Exit.USAGE
    said = capsys.readouterr()
    line = json.loads(said.out)
    assert (list(line), line["reset"]) == (["reset", "cursor"], True)
    assert "read everything once" in said.err
    assert invoke(["changes", "--output", "out", "--since", line["cursor"]]) == Exit.DONE


def test_what_forget_repair_and_rewrite_do_is_told(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``erased`` names no account, ``deleted`` is a file that is gone, and cursors go along."""
    lab_of(elsewhere / "out", buckets=1).run()
    first, cursor = changes_of(tree_at(elsewhere / "out"))
    text = MANIFEST % (appid(1), appid(3))
    Path("jobs.yaml").write_text(text)
    assert invoke(["forget", "--accounts", appid(2)]) == Exit.DONE
    found, cursor = changes_of(tree_at(elsewhere / "out"), cursor)
    assert [(each.op, each.days, each.appids) for each in found] == [("erased", (), ())] * 2
    assert {(each.rows_before, each.rows_after) for each in found} == {(4, 2)}
    files = Path("out/_harvester/changes").rglob("*.log.zst")
    log = [line for path in files for line in unpack(path.read_bytes())]
    assert log
    assert appid(2).encode() not in b"".join(log)
    (elsewhere / "out" / first[0].path).write_bytes(b"PAR1")
    assert invoke(["verify", "--repair"]) == Exit.INCOMPLETE
    found, cursor = changes_of(tree_at(elsewhere / "out"), cursor)
    assert [(each.op, each.path) for each in found] == [("deleted", first[0].path)]
    assert invoke(["rewrite", "--to", "new", "--buckets", "2"]) == Exit.DONE
    found, cursor = changes_of(tree_at(elsewhere / "new", 2), cursor)
    assert [(each.op, each.path) for each in found if each.op == "deleted"] == [
        ("deleted", first[1].path)
    ]
    [made] = [each for each in found if each.op == "replaced"]
    assert (made.path[-15:], made.appids, made.rows_before) == ("of-0002.parquet", (appid(1),), 0)
    assert changes_of(tree_at(elsewhere / "new", 2), cursor) == ([], cursor)


def test_programs_read_the_same_feed(tmp_path: Path) -> None:
    """`Output.changes` answers as the command does, and all of it can be pickled."""
    lab_of(tmp_path).run()
    out = harvester.open(tmp_path)
    found, cursor = out.changes()
    assert (found, cursor) == changes_of(tree_at(tmp_path))
    assert out.changes(cursor) == ([], cursor)
    with pytest.raises(harvester.HistoryLost) as lost:
        out.changes("v1,0-1-1-0123456789")
    again = pickle.loads(pickle.dumps((found, lost.value)))
    assert (again[0], again[1].cursor) == (found, cursor)
