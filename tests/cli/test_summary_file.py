"""The files that options name are checked before the first request, and cost no other file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harvester.core.exit_codes import Exit
from tests.support.cli import CommandLine

OPTIONS = ["--summary", "--summary-markdown"]


def make_places(folder: Path) -> None:
    """Make links, folders and second names beside the manifest, and an output to be."""
    (folder / "out/deep").mkdir(parents=True)
    (folder / "other/_harvester/runs").mkdir(parents=True)
    (folder / "folder").mkdir()
    (folder / "victim").write_text("kept")
    (folder / "link").symlink_to("victim")
    (folder / "dangling").symlink_to("nothing")
    (folder / "loop").symlink_to("loop")
    (folder / "to-manifest").symlink_to("jobs.yaml")
    os.link(folder / "jobs.yaml", folder / "second-name")
    (folder / "way").symlink_to("out")
    (folder / "dir").symlink_to(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


REFUSED = {
    "jobs.yaml": "the run reads this file",
    "dir/jobs.yaml": "the run reads this file",
    "second-name": "the run reads this file",
    "to-manifest": "a link",
    "secret": "the run reads this file",
    "link": "a link",
    "dangling": "a link",
    "loop": "a link",
    "folder": "a folder or a device",
    "out/summary.json": "inside of the output",
    "out/deep/new/summary.json": "inside of the output",
    "way/summary.json": "inside of the output",
    "out": "a folder or a device",
    "other/summary.json": "inside of an output",
    "other/_harvester/runs/x.json": "inside of an output",
    "victim/summary.json": "victim is a file, not a folder",
    "long" * 75: "File name too long",
    "/proc/summary.json": "No such file or directory",
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("option", OPTIONS)
def test_a_file_that_no_run_may_replace_is_refused(
    here: CommandLine, name: str, option: str
) -> None:
    """The exit code is 2, nothing is asked, and every file is as it was."""
    folder = here.manifest.parent
    make_places(folder)
    before = contents(folder)
    ended = here("run", option, name)
    assert (ended.code, here.world.counters.requests) == (Exit.USAGE, 0)
    said = " ".join(ended.err.split())
    assert f"{option} {name}: {REFUSED[name]}" in said or f": {REFUSED[name]}" in said
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["jobs.yaml", "second-name", "link", "other/summary.json"])
@pytest.mark.parametrize("option", OPTIONS)
def test_a_broken_manifest_changes_nothing_of_that(
    here: CommandLine, name: str, option: str
) -> None:
    """A run that cannot read its manifest still knows which files it must not replace."""
    folder = here.manifest.parent
    make_places(folder)
    here.manifest.write_text("version: 1\nnonsense: 2\n")
    before = contents(folder)
    assert here("run", option, name).code == Exit.USAGE
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["victim", "dir/victim", "new", "./new"])
def test_a_file_for_two_options_is_refused(here: CommandLine, name: str) -> None:
    """The one would replace what the other wrote."""
    make_places(here.manifest.parent)
    first = "new" if "new" in name else "victim"
    ended = here("run", "--summary", first, "--summary-markdown", name)
    assert (ended.code, here.world.counters.requests) == (Exit.USAGE, 0)
    assert f"--summary-markdown {Path(name)}: another option names this file" in ended.err
    assert here("run", "--summary", os.devnull, "--summary-markdown", os.devnull).code == Exit.DONE


def test_a_manifest_that_is_missing_is_not_made(here: CommandLine) -> None:
    """A record in its place would be taken for a manifest."""
    here.manifest.unlink()
    assert here("run", "--summary", "jobs.yaml").code == Exit.USAGE
    assert not here.manifest.exists()


def test_the_summary_of_a_broken_manifest_is_written(here: CommandLine) -> None:
    """An old summary is replaced, because it would pass for the result."""
    here.manifest.write_text("version: 1\nnonsense: 2\n")
    place = here.manifest.parent / "summary.json"
    place.write_text('{"exit_code": 0}')
    assert here("run", "--summary", "summary.json").code == Exit.USAGE
    assert json.loads(place.read_bytes())["exit_code"] == 2


def test_a_planted_temporary_link_is_not_followed(here: CommandLine) -> None:
    """The copy is written beside the file, under a name that may be a link."""
    folder = here.manifest.parent
    (folder / "victim").write_text("kept")
    (folder / ".summary.json.tmp").symlink_to("victim")
    assert here("run", "--summary", "summary.json").code == Exit.DONE
    assert (folder / "victim").read_text() == "kept"
    assert json.loads((folder / "summary.json").read_bytes())["exit_code"] == 0


def test_a_pipe_that_no_process_reads_holds_nothing_up(here: CommandLine) -> None:
    """The run ends as without it, and says that the copy is missing."""
    os.mkfifo("pipe")
    ended = here("run", "--summary", "pipe")
    assert ended.code == Exit.DONE
    assert "the file of --summary is not written" in ended.err


def test_a_pipe_that_is_read_gets_the_record(here: CommandLine) -> None:
    """Process substitution of a shell is such a pipe, behind a link."""
    reading, writing = os.pipe()
    try:
        assert here("run", "--summary", f"/dev/fd/{writing}").code == Exit.DONE
        record = json.loads(os.read(reading, 1 << 20))
    finally:
        os.close(reading)
        os.close(writing)
    assert record["state"] == "finished"


def test_a_refused_file_does_not_keep_another_from_its_end(here: CommandLine) -> None:
    """The first one gets the error, and the refused one stays as it is."""
    make_places(here.manifest.parent)
    ended = here("run", "--summary", "summary.json", "--summary-markdown", "secret")
    assert ended.code == Exit.USAGE
    record = json.loads((here.manifest.parent / "summary.json").read_bytes())
    assert (record["state"], record["exit_code"]) == ("finished", 2)
    assert (here.manifest.parent / "secret").read_text() == "s"
