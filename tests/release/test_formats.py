"""Formats of releases: later versions read them, and a version leaves what is newer as it is."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import harvester
from harvester.core.errors import HarvesterError, UsageError
from harvester.storage.derived.derived_files import SCHEMAS
from harvester.storage.state.packed_lines import pack, unpack
from harvester.tables.derived import VERSION
from harvester.testing import sandbox
from tests.support import event_schema
from tests.support.doc_pages import ROOT
from tests.support.format_shapes import SHAPES, footer_keys, shapes_of, version_of
from tests.support.group_files import group_bytes
from tests.support.released_tree import (
    ACCOUNTS,
    FOLDER,
    leave_output,
    manifest_of,
    rows_of,
)
from tests.support.released_tree import (
    unpack as unpack_release,
)

RELEASES = sorted(file.name.removesuffix(".tar.gz") for file in FOLDER.glob("*.tar.gz"))

LATER = "2026-05-22"
"""A day on which a later version goes on where a release stopped."""

NEWER = "a newer one has written to this output"


@pytest.mark.parametrize("release", RELEASES)
def test_a_later_version_reads_and_continues_an_output(release: str, tmp_path: Path) -> None:
    """All rows, coverage, runs and changes are there; a run goes on from them, cursors included."""
    facts = unpack_release(release, tmp_path)
    output = harvester.open(tmp_path / "output")
    for name, known in facts["datasets"].items():
        table = output.arrow(name).to_table()
        assert len(table) == known["rows"]
        assert rows_of(table, known["columns"]) == known["digest"]
        assert output.coverage(name).num_rows == facts["covered"][name]
    assert sorted(output.runs()["run_id"].to_pylist()) == facts["runs"]
    assert len(output.changes()[0]) == facts["changes"]
    assert output.changes(facts["cursor"])[0] == []
    assert output.verify().damaged == ()
    with sandbox(accounts=ACCOUNTS, today=LATER) as wechat:
        manifest = manifest_of(wechat, tmp_path / "output", "2026-05-20")
        done = harvester.run(manifest)
    assert done.outcome in {harvester.Outcome.COMPLETE, harvester.Outcome.UNFINISHED}
    replaced, _ = output.changes(facts["cursor"])
    assert {change.dataset for change in replaced} >= {"interface_summary", "user_summary"}
    assert output.verify().damaged == ()
    assert not [*(tmp_path / "output/_harvester/raw/killed").glob("*.group")]


@pytest.mark.parametrize("release", RELEASES)
def test_a_later_version_reads_a_manifest(release: str, tmp_path: Path) -> None:
    """Each key of a release is still a key."""
    unpack_release(release, tmp_path)
    (tmp_path / "secret").write_text("sandbox")
    file = tmp_path / "jobs.yaml"
    manifest = json.loads(file.read_text("utf-8"))
    for account in manifest["accounts"]:
        account["credential"] = {"secret": f"${{file:{tmp_path / 'secret'}}}"}
    file.write_text(json.dumps(manifest), "utf-8")
    found = harvester.read_manifest(file)
    assert [account.name for account in found.accounts][:2] == ["Acme Service", "晨光书店"]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an output of this version."""
    folder = tmp_path_factory.mktemp("left")
    leave_output(folder)
    return folder


def test_every_file_of_an_output_states_its_version(left: Path) -> None:
    """But for locks, whose contents are shown and not read, and for SQL, which engines read."""
    found = {
        path.relative_to(left).as_posix(): version_of(path)
        for path in (left / "output").rglob("*")
        if path.is_file() and path.parent.name not in {"locks", "sql"}
    }
    folders = {name.split("/")[1] for name in found} | {
        name.split("/")[2] for name in found if "_harvester/" in name
    }
    tables = {"accounts", "codes", "coverage", "runs"}
    assert folders >= {*tables, "changes", "manifests", "quota", "raw", "tables"}
    assert [name for name, version in found.items() if not version] == []


def test_members_of_a_file_change_with_its_version(left: Path) -> None:
    """Or a file of another build would be read wrongly, or called damaged."""
    found, known = shapes_of(left), json.loads(SHAPES.read_text("utf-8"))
    assert {*found} == {*known} == {"changes", "manifests", "quota", "tables", "raw", "coverage"}
    for kind, one in found.items():
        is_same = one["members"] == known[kind]["members"]
        is_same_version = one["version"] == known[kind]["version"]
        assert is_same is is_same_version, f"{kind}: python -m tests.support.format_shapes"


TABLE_VERSIONS = {2: "46171abf62b282a5"}
"""A digest of the columns of each version of the tables beside the datasets."""


def test_columns_of_the_tables_change_with_their_version() -> None:
    """Or a file of an earlier build would be called damaged. Add a version, and keep the others."""
    text = "".join(str(schema.remove_metadata()) for schema in SCHEMAS.values())
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == TABLE_VERSIONS[VERSION]


def newer_table(path: Path) -> None:
    """Make a table of a newer version, with an unknown column."""
    table = pq.read_table(path)
    keys = {**footer_keys(path), b"harvester.table_version": b"3"}
    table = table.append_column("more", pa.array([1] * len(table)))
    pq.write_table(table.replace_schema_metadata(keys), path)


def newer_data_file(path: Path) -> None:
    """Make a data file of tomorrow."""
    keys = {**footer_keys(path), b"harvester.schema_version": b"2"}
    pq.write_table(pq.read_table(path).replace_schema_metadata(keys), path)


def newer_json(path: Path) -> None:
    """Make a side file of tomorrow."""
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "version": 2, "more": [1]}))


def newer_lines(path: Path) -> None:
    """Make entries of tomorrow."""
    lines = [{**json.loads(line), "version": 2} for line in unpack(path.read_bytes())]
    path.write_bytes(pack(json.dumps(line).encode() + b"\n" for line in lines))


def newer_group(path: Path) -> None:
    """Make a raw group of tomorrow."""
    path.write_bytes(group_bytes({"version": 2}, []))


REFUSED: dict[str, Callable[[Path], None]] = {
    "interface_summary/*/*.parquet": newer_data_file,
    "_harvester/raw/killed/*.group": newer_group,
    "_harvester/quota/*.json": newer_json,
    "_harvester/changes/*/*/*.log.zst": newer_lines,
}
LEFT_ALONE: dict[str, dict[str, Callable[[Path], None]]] = {
    "tables": dict.fromkeys(
        ("accounts/*.parquet", "codes/*.parquet", "runs/*.parquet"), newer_table
    ),
    "coverage": {"coverage/*/*.parquet": newer_table},
    "marks": {"_harvester/tables/*.json": newer_json},
    "others": dict.fromkeys(("_harvester/manifests/*.json", "_harvester/runs/*.json"), newer_json),
}


def go_on(folder: Path) -> Any:
    """Run once more on an output, up to another day."""
    with sandbox(accounts=ACCOUNTS, today=LATER) as wechat:
        return harvester.run(manifest_of(wechat, folder / "output", "2026-05-20"))


def made_newer(folder: Path, pattern: str, change: Callable[[Path], None]) -> dict[Path, bytes]:
    """Change the files of a pattern, and return their contents."""
    files = [*(folder / "output").glob(pattern)]
    assert files
    for file in files:
        change(file)
    return {file: file.read_bytes() for file in files}


@pytest.fixture
def output(left: Path, tmp_path: Path) -> Path:
    """A folder with a copy of that output."""
    shutil.copytree(left, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("pattern", REFUSED)
def test_what_a_run_needs_is_refused_by_name(output: Path, pattern: str) -> None:
    """The run ends with 2, names both versions, and changes neither this file nor another one."""
    kept = made_newer(output, pattern, REFUSED[pattern])
    data = {file: file.read_bytes() for file in (output / "output").rglob("*.parquet")}
    with pytest.raises(UsageError) as raised:
        go_on(output)
    text = str(raised.value)
    assert "version 2, and this harvester reads up to version 1" in text
    assert NEWER in text
    assert {file: file.read_bytes() for file in kept | data} == kept | data


@pytest.mark.parametrize("kind", LEFT_ALONE)
def test_what_a_run_does_not_need_stays_as_it_is(
    output: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The run publishes its rows, and writes no older form over a newer one."""
    kept: dict[Path, bytes] = {}
    for pattern, change in LEFT_ALONE[kind].items():
        kept |= made_newer(output, pattern, change)
    before = harvester.open(output / "output").arrow("interface_summary").count_rows()
    go_on(output)
    assert harvester.open(output / "output").arrow("interface_summary").count_rows() > before
    assert [file for file, data in kept.items() if file.read_bytes() != data] == []
    if kind in {"tables", "coverage"}:
        for pattern in LEFT_ALONE[kind]:
            assert f"{pattern.partition('/')[0]}/" in caplog.text
        assert NEWER in caplog.text


def test_a_newer_table_is_refused_by_readers(output: Path) -> None:
    """Its rows may mean something else."""
    made_newer(output, "accounts/*.parquet", newer_table)
    with pytest.raises(HarvesterError, match=r"accounts/.*: table version 3") as raised:
        harvester.open(output / "output").accounts()
    assert str(raised.value).startswith(str(output / "output" / "accounts"))


def test_the_events_of_a_release_only_gain(tmp_path: Path) -> None:
    """While their version is the same, no event, member or word of an earlier release goes away."""
    present = event_schema.schema()["$defs"]
    for file in FOLDER.glob("*.events.json"):
        for name, kind in json.loads(file.read_text("utf-8"))["$defs"].items():
            for member, shape in kind["properties"].items():
                now, where = present[name]["properties"][member], f"{file.name}: {name}.{member}"
                words = shape.pop("enum", [])
                assert {*words} <= {*now.pop("enum", [])}, where
                assert now == shape, where


def test_this_release_has_an_archive() -> None:
    """The version of a dated section of the change log is one that later versions are tested on."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    if f"## [{harvester.__version__}]" in text:
        assert harvester.__version__ in RELEASES
        assert (FOLDER / f"{harvester.__version__}.events.json").is_file()
