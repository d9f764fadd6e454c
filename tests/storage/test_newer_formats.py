"""Files of a newer version than is read: exit code 2, both versions named, nothing touched."""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harvester.sandbox import Rules
from harvester.storage.raw_log import write_group
from harvester.tables.coverage import VERSION
from tests.support.answers import appid, of_day
from tests.support.cli import CommandLine, JobScope, command_line
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.group_files import group_bytes
from tests.support.nights import by_night
from tests.support.output_helpers import tree_at
from tests.support.run_harness import DAILY, HOURLY

REMEDY = "upgrade harvester: a newer one has written to this output"
DATA_FILE = f"{DAILY}/ref_month=2026-03/part-0000-of-0001.parquet"
GONE = appid(2)
"""An account that was harvested and is not wanted any more: it may be forgotten."""

DATA_VERBS = (
    ("run",),
    ("plan",),
    ("status",),
    ("status", "--require", "yesterday"),
    ("verify", "--footers-only"),
    ("verify", "--repair"),
    ("rewrite", "--to", "new", "--buckets", "2"),
    ("forget", "--accounts", GONE),
    ("forget", "--accounts", GONE, "--dry-run"),
)
GROUP_VERBS = tuple(verb for verb in DATA_VERBS if verb[0] not in ("plan", "status"))


def rewritten(path: Path, **changes: bytes | None) -> None:
    """Replace keys in the footer of a data file, or leave them out."""
    table = pq.read_table(path)
    keys = pq.read_metadata(path).metadata
    keys |= {f"harvester.{name}".encode(): value for name, value in changes.items()}
    kept = {name: value for name, value in keys.items() if value and name != b"ARROW:schema"}
    pq.write_table(table.replace_schema_metadata(kept), path)


def newer_schema(path: Path) -> None:
    """Make a file of tomorrow's columns, of whose other keys nothing is known."""
    rewritten(path, schema_version=b"2", coverage=None, groups=None, rows_digest=None, seal=None)


def coverage_of_version(path: Path, version: int) -> None:
    """Make a file whose coverage is of another version."""
    raw = base64.b64decode(pq.read_metadata(path).metadata[b"harvester.coverage"])
    rewritten(path, coverage=base64.b64encode(bytes([version]) + raw[1:]))


def newer_coverage(path: Path) -> None:
    """Make a file whose coverage is of a newer version."""
    coverage_of_version(path, VERSION + 1)


def newer_group(path: Path) -> None:
    """Make a raw group of a newer version, of whose index nothing else is known."""
    path.write_bytes(group_bytes({"version": 2}, []))


MAKE_NEWER = {"schema": newer_schema, "coverage": newer_coverage}
READ = {"schema": 1, "coverage": VERSION}
"""The newest version that is read."""


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[CommandLine]:
    """A whole output of two datasets, one of whose accounts is not wanted any more."""
    monkeypatch.setenv("COMMANDS_SECRET", "s")
    monkeypatch.chdir(tmp_path)
    wanted = JobScope((DAILY, HOURLY), "2026-03-30", "2026-04-02")
    with command_line(tmp_path, wanted, FaultyWeChat(Rules(), time.time), capsys) as command:
        assert command("run").code == 0
        text = command.manifest.read_text()
        job = f"  - accounts: {{except: [{GONE}]}}\n    datasets:"
        command.manifest.write_text(text.replace("  - datasets:", job))
        yield command


@pytest.fixture
def group(here: CommandLine) -> Path:
    """A raw group that a killed run has left."""
    return write_group(tree_at(here.output), 0, "killed", [of_day(20_000)]).path


def contents(root: Path) -> dict[Path, bytes]:
    """Read every file of an output but locks and run records."""
    return {
        path: path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.parent.name not in ("locks", "runs")
    }


def refused(here: CommandLine, words: tuple[str, ...], *said: str, remedy: str = REMEDY) -> None:
    """Run a verb, and see that it is refused with these words, and that nothing was changed."""
    before, calls = contents(here.output), here.calls()
    told = here(*words)
    assert told.code == 2
    text = told.out + told.err
    assert [words for words in (*said, remedy) if words not in " ".join(text.split())] == []
    assert "Traceback" not in text
    assert contents(here.output) == before
    assert contents(here.manifest.parent / "new") == {}
    assert here.calls() == calls


@pytest.mark.parametrize("words", DATA_VERBS, ids=" ".join)
@pytest.mark.parametrize("what", ["coverage", *by_night(["schema"])])
def test_a_newer_data_file(here: CommandLine, words: tuple[str, ...], what: str) -> None:
    """Each verb that reads it names the file, its version and the newest one that is read."""
    MAKE_NEWER[what](here.output / DATA_FILE)
    newest = READ[what]
    version = f"{what} version {newest + 1}, and this harvester reads up to version {newest}"
    refused(here, words, DATA_FILE, version)


@pytest.mark.parametrize("words", [DATA_VERBS[0], DATA_VERBS[5]], ids=" ".join)
def test_a_data_file_of_an_earlier_build(here: CommandLine, words: tuple[str, ...]) -> None:
    """It is not called damaged, and stays where it is."""
    coverage_of_version(here.output / DATA_FILE, 1)
    said = "coverage version 1, written by a build from before 0.1.0"
    refused(here, words, DATA_FILE, said, remedy="harvest into a new output")


@pytest.mark.parametrize("words", GROUP_VERBS, ids=" ".join)
def test_a_newer_raw_group(here: CommandLine, group: Path, words: tuple[str, ...]) -> None:
    """The same for answers that wait to be published."""
    newer_group(group)
    version = "raw group: version 2, and this harvester reads up to version 1"
    refused(here, words, group.relative_to(here.output).as_posix(), version)


@pytest.mark.parametrize("what", ["schema", *by_night(["coverage"])])
@pytest.mark.parametrize("words", [DATA_VERBS[0], DATA_VERBS[6], DATA_VERBS[7]], ids=" ".join)
def test_a_newer_data_file_beside_answers_that_wait(
    here: CommandLine, group: Path, words: tuple[str, ...], what: str
) -> None:
    """They are not published either: a killed run is recovered as a whole or not at all."""
    MAKE_NEWER[what](here.output / DATA_FILE)
    refused(here, words, DATA_FILE)
    assert group.exists()


def test_a_newer_raw_group_beside_a_damaged_one(here: CommandLine, group: Path) -> None:
    """Not even that one is moved."""
    other = write_group(tree_at(here.output), 0, "aborted", [of_day(20_001)]).path
    other.write_bytes(other.read_bytes()[:-9])
    newer_group(group)
    refused(here, ("run",))


def test_a_newer_file_beside_damage(here: CommandLine) -> None:
    """A repair moves what is damaged and leaves what is newer; both are told."""
    damaged = here.output / DATA_FILE.replace("03", "04")
    damaged.write_bytes(damaged.read_bytes()[:-9])
    newer_schema(here.output / DATA_FILE)
    said = here("verify", "--repair", "--format", "json")
    assert said.code == 2
    moved, newer = said.json["damaged"]
    assert (newer["path"], newer["remedy"], newer["moved_to"]) == (DATA_FILE, REMEDY, None)
    assert moved["remedy"] == ""
    assert (here.output / moved["moved_to"]).exists()
    assert not damaged.exists()


def test_the_total_of_verify_calls_no_file_of_another_version_damaged(here: CommandLine) -> None:
    """Its last line counts the two kinds apart."""
    damaged = here.output / DATA_FILE.replace("03", "04")
    damaged.write_bytes(damaged.read_bytes()[:-9])
    newer_schema(here.output / DATA_FILE)
    total = here("verify").out.partition("rows: ")[2].splitlines()[0]
    assert sorted(total.split(", ")) == ["1 damaged", "1 of another version"]


def test_a_half_made_output_of_a_newer_harvester(here: CommandLine) -> None:
    """A compaction that a newer one began is not finished by an older one."""
    assert here("rewrite", "--to", "new", "--buckets", "2").code == 0
    new = here.manifest.parent / "new"
    journal = new / "_harvester" / "rewrite.json"
    journal.write_text(json.dumps({**json.loads(journal.read_text()), "finished": False}))
    newer_schema(min(new.glob(f"{DAILY}/*/*.parquet")))
    before = contents(new)
    told = here("rewrite", "--to", "new", "--buckets", "2")
    assert (told.code, contents(new)) == (2, before)
    assert "schema version 2" in told.err


def test_after_the_upgrade_all_goes_on(here: CommandLine) -> None:
    """A refused run leaves a record and nothing to clean up."""
    path = here.output / DATA_FILE
    kept = path.with_name("kept")
    shutil.copy(path, kept)
    newer_schema(path)
    refused(here, ("run",))
    record = here.record()
    assert (record["state"], record["exit_code"], record["reasons"]) == ("finished", 2, ["usage"])
    kept.rename(path)
    calls = here.calls()
    assert here("run").code == 0
    assert here.calls() == calls


@pytest.mark.parametrize("version", [b"", b"0", b"-1", b"x", b"1.5", b"9" * 5000])
def test_a_version_that_makes_no_sense_is_damage(here: CommandLine, version: bytes) -> None:
    """No version was ever written so; it is told as damage, with exit code 1 or 3."""
    rewritten(here.output / DATA_FILE, schema_version=version)
    assert here("plan").code == 1
    assert here("verify").code == 3


def test_a_newer_run_record_is_read(here: CommandLine) -> None:
    """Its number only ever says that members were added."""
    (path,) = (here.output / "_harvester" / "runs").glob("*.json")
    record: dict[str, Any] = {**json.loads(path.read_text()), "record_version": 3, "new": [1]}
    path.write_text(json.dumps(record))
    (run,) = here("status", "--format", "json").json["runs"]
    assert run["run_id"] == record["run_id"]
    assert here("run").code == 0
    assert json.loads(path.read_text()) == record
