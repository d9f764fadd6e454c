"""``harvester export``: what it prints, how it ends, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from harvester.cli import invoke
from harvester.core.exit_codes import Exit
from harvester.storage import locks
from tests.lakehouse.exports import DAILY, Lakeside
from tests.support.claims import claim
from tests.support.output_helpers import tree_at

DELTA = ("export", "lake", "--to", "delta", "--output", "output")


@pytest.fixture
def lakeside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lakeside:
    """A harvested output in the current folder."""
    monkeypatch.chdir(tmp_path)
    made = Lakeside(tmp_path)
    made.harness.run()
    return made


def test_tables_are_told_with_what_changed(
    lakeside: Lakeside, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line for each table, the same in JSON."""
    assert invoke(DELTA) == Exit.DONE
    first = capsys.readouterr().out.splitlines()
    assert first[0] == f"{DAILY:<28}version 1: 4 files added, 0 removed"
    assert f"{'runs':<28}version 1: 1 file added, 0 removed" in first
    assert invoke([*DELTA, "--format", "json"]) == Exit.DONE
    again = json.loads(capsys.readouterr().out)
    assert again["format"] == "delta"
    assert {table["version"] for table in again["tables"]} == {"1"}
    assert not any(table["added"] or table["holding"] for table in again["tables"])


def test_an_export_ends_with_3_while_older_versions_hold_deleted_rows(
    lakeside: Lakeside, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each time, until they are expired."""
    invoke(DELTA)
    lakeside.forget_last()
    assert invoke(DELTA) == Exit.INCOMPLETE
    capsys.readouterr()
    assert invoke(DELTA) == Exit.INCOMPLETE
    told = capsys.readouterr().out
    assert f"{DAILY}: rows deleted for good in 2 older snapshots: version 0, version 1" in told
    assert "remove them with --expire" in told
    assert invoke([*DELTA, "--expire"]) == Exit.DONE
    assert invoke(DELTA) == Exit.DONE


def test_a_choice_of_accounts_and_days_is_a_table_of_its_own(
    lakeside: Lakeside, capsys: pytest.CaptureFixture[str]
) -> None:
    """No other row is copied, and another choice is refused."""
    one = lakeside.harness.appids[0]
    part = ("--accounts", one, "--begin-date", "2026-04-01", "--datasets", DAILY)
    assert invoke([*DELTA, *part]) == Exit.DONE
    wanted = [
        row
        for row in lakeside.rows()
        if row["appid"] == one and row["ref_date"].isoformat() >= "2026-04-01"
    ]
    assert lakeside.rows_of_copies() == wanted
    assert one == lakeside.rows_of_copies("accounts")[0]["appid"]
    assert len(lakeside.rows_of_copies("accounts")) == 1
    others = lakeside.harness.appids[1:]
    copies = [path.read_bytes() for path in lakeside.place.rglob("*.parquet")]
    assert not any(other.encode() in data for other in others for data in copies)
    capsys.readouterr()
    assert invoke(DELTA) == Exit.USAGE
    assert "made of other accounts or days" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["export", "lake", "--to", "delta", "--output", "nothing"], "nothing was harvested here"),
        (["export", "output/lake", "--to", "delta", "--output", "output"], "inside of the output"),
        (["export", "output", "--to", "delta", "--output", "output"], "inside of the output"),
        (["export", "lake", "--to", "hudi", "--output", "output"], "hudi"),
        (["export", "lake", "--to", "delta"], "--output"),
        ([*DELTA, "--catalog", "x"], "--catalog: Delta tables have none"),
        ([*DELTA, "--datasets", "no_such"], "no_such"),
        ([*DELTA, "--accounts", "no_such"], "no_such"),
        (["export", "link/lake", "--to", "delta", "--output", "output"], "inside of the output"),
        (["export", "a?b", "--to", "iceberg", "--output", "output"], "has a `%` or a `?`"),
        (["export", "a%20b", "--to", "delta", "--output", "output"], "has a `%` or a `?`"),
        (["export", " ", "--to", "delta", "--output", "output"], "URI is empty"),
        (
            [*DELTA, "--begin-date", "2026-04-02", "--end-date", "2026-04-01"],
            "--begin-date is after --end-date",
        ),
    ],
)
def test_a_mistake_is_named_and_nothing_is_written(
    lakeside: Lakeside, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    """Neither beside the output nor in it."""
    Path("link").symlink_to("output")
    assert invoke(options) == Exit.USAGE
    assert words in capsys.readouterr().err
    assert not list(lakeside.place.rglob("*.parquet"))
    assert not (lakeside.output / "lake").exists()


def test_one_export_at_a_time_works_in_a_place(
    lakeside: Lakeside, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other ends with 75 and names the holder."""
    lakeside.place.mkdir()
    with locks.hold(tree_at(lakeside.place), [0], claim("other")):
        assert invoke(DELTA) == Exit.AGAIN
    assert "other" in capsys.readouterr().err


def test_a_missing_library_is_named(
    lakeside: Lakeside, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to type."""
    monkeypatch.delitem(sys.modules, "harvester.verbs.lakehouse.delta", raising=False)
    monkeypatch.setitem(sys.modules, "deltalake", None)
    assert invoke(DELTA) == Exit.BUG
    assert "deltalake is not installed" in capsys.readouterr().err
