"""The dbt project of examples/dbt, over an output that a run wrote."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import pytest

from harvester.core import calendar
from tests.support.doc_pages import ROOT
from tests.support.example_tools import python_with

PROJECT = ROOT / "examples/dbt"

# A second definition of a view wins over the first.
TWICE = "create table twice as from wechat.{0}; create or replace view wechat.{0} as from twice"
WRONG = {
    "unique_together": f"{TWICE} union all from twice".format("followers_daily"),
    "accepted_values": f"{TWICE.removesuffix('from twice')} select * replace ('odd' as state)"
    " from twice".format("coverage"),
    "relationships": f"{TWICE} limit 0".format("runs"),
}


class Project:
    """A copy of the project, its database, and an output whose views may be changed."""

    def __init__(self, folder: Path, output: Path) -> None:
        self.folder = folder
        self.output = folder / "output"
        script = self.output / "_harvester/sql/duckdb.sql"
        script.parent.mkdir(parents=True)
        # Its paths are absolute.
        shutil.copy(output / "_harvester/sql/duckdb.sql", script)
        self._script = script

    def add(self, statement: str) -> None:
        """Add a statement to the views."""
        with self._script.open("a") as file:
            file.write(f"\n{statement};\n")

    def dbt(self, *command: str) -> tuple[int, list[dict[str, Any]]]:
        """Run dbt, and return its exit code and the results of its tests and models."""
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "WECHAT_OUTPUT": str(self.output),
            "WECHAT_DATABASE": str(self.folder / "statistics.duckdb"),
        }
        options = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
        options += ["--target-path", str(self.folder), "--log-path", str(self.folder)]
        program = str(Path(python_with("dbt")).with_name("dbt"))
        done = subprocess.run(
            [program, *command, *options],
            env=environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        name = "sources.json" if "freshness" in command else "run_results.json"
        found = self.folder / name
        assert found.exists(), done.stdout
        results: list[dict[str, Any]] = json.loads(found.read_bytes())["results"]
        return done.returncode, results

    def newest(self, day: int) -> None:
        """Set the newest complete day of one dataset; another one is of weeks, and older."""
        self.add(
            "create or replace view wechat.newest_complete_day as select * from (values"
            f" ('user_summary', date '{calendar.day_text(day)}'),"
            " ('upstream_msg_week', date '2020-01-06')) as newest(dataset, newest_complete_day)"
        )


@pytest.fixture
def project(tmp_path: Path, harvested: Path) -> Project:
    """The project over the output of the warehouses."""
    python_with("dbt")
    return Project(tmp_path, harvested)


def test_the_project_builds(project: Project, harvested: Path) -> None:
    """Every test of the sources passes, and the model has what the files have."""
    code, results = project.dbt("build")
    assert code == 0
    assert {each["status"] for each in results} == {"pass", "success"}
    with duckdb.connect(str(project.folder / "statistics.duckdb"), read_only=True) as con:
        found = con.sql(
            "select followers, new_user from marts.followers_by_client"
            " where account_client = 'Acme' and ref_date = date '2026-05-12'"
        ).fetchall()
        accounts = "appid in ('wx0000000000000001', 'wx0000000000000003')"
        [followers, won] = [
            con.execute(
                f"select sum({column}) from read_parquet(?) where ref_date = ? and {accounts}",
                [f"{harvested}/{dataset}/*/*.parquet", dt.date(2026, 5, 12)],
            ).fetchall()[0][0]
            for dataset, column in (
                ("user_cumulate", "cumulate_user"),
                ("user_summary", "new_user"),
            )
        ]
    assert found == [(followers, won)]


@pytest.mark.parametrize("kind", WRONG)
def test_a_fault_of_a_source_is_found(project: Project, kind: str) -> None:
    """A key with two rows, an unknown state, and a row without its run."""
    project.add(WRONG[kind])
    code, results = project.dbt("test")
    failed = [each["unique_id"] for each in results if each["status"] == "fail"]
    assert code == 1
    assert failed
    assert all(f"source_{kind}" in name for name in failed)


def test_an_old_source_is_found(project: Project) -> None:
    """The end of the newest complete day counts, in Beijing; datasets of weeks may be older."""
    today = calendar.today(dt.datetime.now(dt.UTC).timestamp())
    for day, status in ((today - 1, "pass"), (today - 4, "error")):
        project.newest(day)
        code, results = project.dbt("source", "freshness")
        assert [each["status"] for each in results] == [status]
        assert (code == 0) == (status == "pass")
