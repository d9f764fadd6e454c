"""Memory that is refused at any call: a code and a word, and the next run is exact."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from harvester.cli import invoke
from harvester.core.exit_codes import Exit
from tests.end_to_end.test_kills import sandbox_process
from tests.support.nights import by_night
from tests.support.refused_memory import Refusal
from tests.support.run_harness import appid, days_between, expected, published_rows

DATASETS = ("interface_summary", "interface_summary_hour", "user_cumulate", "article_total_detail")
BEGIN, END = "2026-03-30", "2026-04-02"
MANIFEST = """
api: {{base_url: "{address}"}}
defaults: {{credential: {{secret: "${{SECRET}}"}}}}
accounts: [{{appid: {one}}}, {{appid: {two}}}]
jobs:
  - {{datasets: [{datasets}], begin_date: {begin}, end_date: {end}}}
limits: {{per_token: {{rate: 1000/s, burst: 100}}}}
output: {{path: output}}
"""

SCENES = {
    "run": ("run jobs.yaml --progress none",),
    "next": ("run jobs.yaml --refetch all --progress none",),
    "look": (
        "plan jobs.yaml",
        "status jobs.yaml",
        "report jobs.yaml --html page.html",
        "export lake --to delta --output output",
        "verify jobs.yaml",
        "changes jobs.yaml",
        "rewrite jobs.yaml --to other --buckets 2",
    ),
}
"""Commands in which memory is refused; all but the first over an output that a run has left."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a sandbox."""
    with sandbox_process() as found:
        yield found


@pytest.fixture(scope="module")
def harvested(address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a manifest and the output of a run."""
    folder = tmp_path_factory.mktemp("harvested")
    text = MANIFEST.format(
        address=address,
        one=appid(1),
        two=appid(2),
        datasets=", ".join(DATASETS),
        begin=BEGIN,
        end=END,
    )
    (folder / "jobs.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SECRET", "s")
        assert invoke(SCENES["run"][0].split()) == Exit.DONE
    return folder


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a scene finds it: with the output of a run, but for the first scene."""
    monkeypatch.setenv("SECRET", "s")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(request.getfixturevalue("harvested"), tmp_path, dirs_exist_ok=True)
    return tmp_path


def begin(scene: str, folder: Path, harvested: Path) -> None:
    """Make the folder as the scene finds it."""
    for each in folder.iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    shutil.copytree(harvested, folder, dirs_exist_ok=True)
    if scene == "run":
        shutil.rmtree(folder / "output")


def play(scene: str, refusal: Refusal) -> list[int]:
    """Run the commands of a scene, in which memory is refused; gives their exit codes."""
    with refusal.planted():
        return [invoke(command.split()) for command in SCENES[scene]]


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("count", [4, *by_night([10_000])])
@pytest.mark.timeout(3600)
def test_memory_refused_at_any_call_costs_nothing(
    *,
    scene: str,
    count: int,
    folder: Path,
    harvested: Path,
    duck: duckdb.DuckDBPyConnection,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The code is 75, or 0 where a slower way was left; the next run has each row once."""
    begin(scene, folder, harvested)
    whole = Refusal()
    assert set(play(scene, whole)) == {Exit.DONE}
    lines, dice = sorted(whole.executed), random.Random(47)
    for line in dice.sample(lines, min(count, len(lines))):
        refusal = Refusal(line, dice.choice([1, dice.randint(1, whole.executed[line])]))
        where = f"{line[0]}:{line[1]}, execution {refusal.number}"
        begin(scene, folder, harvested)
        capfd.readouterr()
        codes = play(scene, refusal)
        told = "".join(capfd.readouterr())
        assert {*codes} <= {Exit.DONE, Exit.AGAIN}, f"{where}: {codes} {told}"
        assert "Traceback" not in told, f"{where}: {told}"
        assert codes.count(Exit.AGAIN) == told.count("refused memory"), f"{where}: {told}"
        assert invoke(["run", "jobs.yaml", "--progress", "none"]) == Exit.DONE, where
        for dataset in DATASETS:
            rows = expected(dataset, [appid(1), appid(2)], days_between(BEGIN, END))
            assert published_rows(duck, folder / "output", dataset) == rows, where
        assert invoke(["verify", "jobs.yaml"]) == Exit.DONE, where
        assert not [*unfinished(folder / "output")], where


def unfinished(output: Path) -> Iterator[Path]:
    """Yield the files that no run may leave: temporary ones, and answers not published."""
    for name in ("tmp", "raw"):
        yield from filter(Path.is_file, (output / "_harvester" / name).rglob("*"))
