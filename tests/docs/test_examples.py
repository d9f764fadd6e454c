"""The examples: their manifest, their queries and the picture."""

from __future__ import annotations

import ast
import datetime as dt
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harvester.catalogue import CATALOGUE
from harvester.catalogue.descriptions import members
from harvester.core import calendar
from harvester.manifest import loader
from harvester.tables.columns import arrow_schema

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT = EXAMPLES / "followers_and_readers.py"
NOW = calendar.instant(calendar.parse_day("2026-06-15"), 12 * 60)

MONDAY = dt.date(2026, 5, 4)


def constant(name: str) -> Any:
    """Read a constant of the script without importing it, because it needs matplotlib."""
    for node in ast.parse(SCRIPT.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise LookupError(name)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Sixteen days of one account, from a Sunday on: two whole weeks and a day at either end."""
    scenes = [("全部", 21), ("朋友圈", 14), ("搜一搜", 7)]
    source = [{"user_count": count, "scene_desc": scene} for scene, count in scenes]
    rows: dict[str, list[dict[str, Any]]] = {"user_summary": [], "biz_summary": []}
    for number in range(-1, 15):
        row = {"appid": "wx0000000000000001", "ref_date": MONDAY + dt.timedelta(number)}
        rows["biz_summary"].append({**row, "read_user": 21, "read_user_source": source})
        for channel in (0, 30):
            counts = {"user_source": channel, "new_user": 5, "cancel_user": 2}
            rows["user_summary"].append({**row, **counts})
    for name, found in rows.items():
        file = tmp_path / name / "ref_month=2026-05" / "part-0000-of-0001.parquet"
        file.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(found, schema=arrow_schema(CATALOGUE[name])), file)
    return tmp_path


def test_the_queries_answer_by_mean_day_of_whole_weeks(
    output: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """The queries add channels, average days, and omit incomplete weeks and the sum of scenes."""
    weeks = [MONDAY, MONDAY + dt.timedelta(7)]
    glob = f"{output}/{{}}/ref_month=*/*.parquet"
    found = duck.execute(constant("FOLLOWERS"), [glob.format("user_summary")]).fetchall()
    assert found == [("wx0000000000000001", week, 10, 4) for week in weeks]
    found = duck.execute(constant("READERS"), [glob.format("biz_summary")]).fetchall()
    assert found == [
        ("wx0000000000000001", scene, week, count)
        for scene, count in (("搜一搜", 7), ("朋友圈", 14))
        for week in weeks
    ]


def test_the_scenes_are_those_of_the_catalogue() -> None:
    """The labels of the picture are those of the catalogue, without 全部."""
    labels = dict(members(CATALOGUE["biz_summary"].columns))["read_user_source[].scene_desc"].labels
    drawn = {scene: label for scene, (label, _) in constant("SCENES").items()}
    assert drawn == {scene: label for scene, label in labels.items() if scene != "全部"}


def test_the_manifest_fetches_what_is_drawn() -> None:
    """The first command of the page fetches what the second one reads, without a credential."""
    made = loader.read(EXAMPLES / "jobs.yaml", environ={}, now=NOW).manifest()
    assert made.api.is_sandbox
    assert {name for job in made.jobs for name in job.datasets} == {"user_summary", "biz_summary"}
    named = re.findall(r"examples/[\w/.]+", (EXAMPLES / "README.md").read_text("utf-8"))
    assert {"examples/jobs.yaml", "examples/requirements.txt", f"examples/{SCRIPT.name}"} <= {
        *named
    }
    assert "examples/output" in named
    assert made.output.path == EXAMPLES / "output"


def test_a_picture_is_drawn(output: Path) -> None:
    """The script writes a PNG where matplotlib is installed."""
    pytest.importorskip("matplotlib", reason="examples/requirements.txt is not installed")
    picture = output / "picture.png"
    subprocess.run([sys.executable, str(SCRIPT), str(output), str(picture)], check=True)
    assert picture.read_bytes().startswith(b"\x89PNG")
