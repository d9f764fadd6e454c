"""Links, pipes, sockets and devices planted in an output: refused by name, and nothing is followed.

Each plant stands in a copy of a tree that a killed run left, with unpublished answers, changes in
no segment and temporary files, so every command has something to write or to delete at that place.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterable
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

from harvester.core.exit_codes import Exit
from harvester.storage import locks
from tests.support.claims import claim
from tests.support.interrupted_output import ACCOUNTS, InterruptedOutput, clean_run
from tests.support.output_helpers import tree_at
from tests.support.run_harness import published_rows

META = "_harvester"
LOCK = f"{META}/locks/0000-of-0002.lock"
MONTH = "interface_summary/ref_month=2026-04"
PART = f"{MONTH}/part-0000-of-0002.parquet"
RECORD = f"{META}/runs/20260510T*.json"
ROUND = f"{META}/changes/0000-of-0002/rounds/*.log.zst"
LEDGER = f"{META}/quota/0000-of-0002.json"
GROUP = f"{META}/raw/*/0000-*.group"
TEMP = f"{META}/tmp/*quota*.tmp"
ANSWER = f"{META}/quarantine/user_summary/wx0000000000000003/2026-04-29.json"

WRITING = {
    "run": ("run", "jobs.yaml", "--progress", "none"),
    "forget": ("forget", "stays.yaml", "--accounts", ACCOUNTS[0]),
    "rewrite": ("rewrite", "jobs.yaml", "--to", "other"),
    "repair": ("verify", "jobs.yaml", "--repair"),
    "check": ("check", "jobs.yaml"),
}
READING = {
    "status": ("status", "jobs.yaml"),
    "plan": ("plan", "jobs.yaml"),
    "verify": ("verify", "jobs.yaml"),
    "dry forget": ("forget", "stays.yaml", "--accounts", ACCOUNTS[0], "--dry-run"),
}


class Plant(NamedTuple):
    """Something that does not belong at the last place of the pattern ``place``.

    ``names`` is what the message must hold.
    """

    place: str
    make: Callable[[Path, Path], None]
    names: str

    def put(self, output: Path, outside: Path) -> str:
        """Put it into an output, and return its place."""
        *_, place = sorted(output.glob(self.place))
        self.make(place, outside)
        return place.relative_to(output).as_posix()


def link(place: Path, outside: Path) -> None:
    """Move what is there outside of the output, and leave a link to it."""
    there = outside / place.name
    if place.exists():
        shutil.move(place, there)
    else:
        there.mkdir()
    place.symlink_to(there)


def lose(place: Path, outside: Path) -> None:
    """Leave a link to nothing outside of the output."""
    link(place, outside)
    shutil.move(outside / place.name, outside / "elsewhere")


def loops(place: Path, outside: Path) -> None:
    """Make two links that lead back to their own folder."""
    del outside
    (place / "a").symlink_to(".")
    (place / "b").symlink_to(".")


def pipe(place: Path, outside: Path) -> None:
    """Put a pipe in the place of a file: reading it waits for a writer."""
    del outside
    place.unlink()
    os.mkfifo(place)


def listen(place: Path, outside: Path) -> None:
    """Put a socket in the place of a file."""
    del outside
    place.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(place))


LINKED = (
    *(LOCK, PART, RECORD, ROUND, LEDGER, GROUP, TEMP, ANSWER),
    *(META, *(f"{META}/{name}" for name in ("tmp", "runs", "raw", "locks", "quota", "quarantine"))),
    f"{META}/changes",
    *(MONTH, "interface_summary"),
)
SPECIAL = (LOCK, PART, RECORD, ROUND, LEDGER, GROUP, TEMP, ANSWER)
PLANTS = {
    **{f"link {place}": Plant(place, link, "a symbolic link") for place in LINKED},
    **{f"lost {place}": Plant(place, lose, "a symbolic link") for place in (LOCK, PART, MONTH)},
    "loops": Plant(f"{META}/raw", loops, "a symbolic link"),
    **{f"pipe {place}": Plant(place, pipe, "a pipe") for place in SPECIAL},
    "socket": Plant(RECORD, listen, "a socket"),
    "socket part": Plant(PART, listen, "a socket"),
}


def state(folder: Path) -> dict[str, tuple[int, int, bytes | str]]:
    """Return everything below a folder: mode, time of change, and contents."""
    found: dict[str, tuple[int, int, bytes | str]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        what: bytes | str = ""
        if path.is_symlink():
            what = str(path.readlink())
        elif path.is_file():
            what = path.read_bytes()
        # The time of a folder changes when a file is put into it.
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, what)
    return found


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder outside of the output, that no command may touch."""
    folder = tmp_path / "outside"
    folder.mkdir()
    return folder


@pytest.fixture
def target(interrupted: InterruptedOutput) -> InterruptedOutput:
    """The tree, and a manifest that does not want one of its accounts any more."""
    text = (interrupted.folder / "jobs.yaml").read_text()
    text = text.replace("interface_summary, user_summary]", "interface_summary]")
    head, jobs = text.split("jobs:\n")
    jobs = jobs.replace("{datasets", f"{{accounts: {{except: [{ACCOUNTS[0]}]}}, datasets")
    (interrupted.folder / "stays.yaml").write_text(f"{head}jobs:\n{jobs}")
    return interrupted


def cases(verbs: Iterable[str], always: str) -> list[Any]:
    """Each verb with each plant; by day the ``always`` verb has a third, and each other one two."""
    few = [f"link {LOCK}", f"link {MONTH}", f"pipe {RECORD}", "loops"]
    third = {*[*PLANTS][::3], *few, "socket", f"lost {PART}", f"link {META}"}
    return [
        pytest.param(
            name,
            verb,
            id=f"{name}, {verb}",
            marks=[] if name in (third if verb == always else turns) else pytest.mark.slow,
        )
        for verb, turns in zip(verbs, cycle([few[:2], few[2:]]), strict=False)
        for name in PLANTS
    ]


@pytest.mark.parametrize(("name", "verb"), cases(WRITING, "run"))
def test_a_plant_is_refused_before_the_first_write(
    target: InterruptedOutput, outside: Path, name: str, verb: str
) -> None:
    """The message names it, no request is made, and nothing in or outside of the output changes."""
    plant = PLANTS[name]
    place = plant.put(target.output, outside)
    before = state(outside), state(target.output)
    found = target(*WRITING[verb])
    assert (state(outside), state(target.output)) == before
    assert "Traceback" not in found.err
    assert found.code == Exit.USAGE
    assert place in found.err
    assert plant.names in found.err
    assert target.world.counters.requests == 0


@pytest.mark.parametrize(("name", "verb"), cases(READING, "status"))
def test_a_command_that_reads_ends_and_writes_nothing(
    target: InterruptedOutput, outside: Path, name: str, verb: str
) -> None:
    """A plant where it reads is refused by name, and elsewhere it changes nothing."""
    plant = PLANTS[name]
    place = plant.put(target.output, outside)
    before = state(outside), state(target.output)
    found = target(*READING[verb])
    assert (state(outside), state(target.output)) == before
    assert "Traceback" not in found.err
    if place.startswith(("interface_summary", f"{META}/runs")) and verb == "status":
        assert (found.code, place in found.err) == (Exit.USAGE, True)
    assert found.code != Exit.BUG


@pytest.mark.parametrize("verb", ["run", "check"])
def test_the_list_of_a_platform_is_not_asked_for_before_the_check(
    target: InterruptedOutput, outside: Path, verb: str
) -> None:
    """It is asked for before the run takes a lock, and is then written to the output."""
    link(target.output / META / "tmp", outside)
    before = state(outside)
    found = target(verb, "platform.yaml")
    assert (found.code, f"{META}/tmp" in found.err) == (Exit.USAGE, True)
    assert state(outside) == before
    assert target.world.counters.requests == 0


def test_commands_that_read_need_no_lock_and_create_nothing(interrupted: InterruptedOutput) -> None:
    """They work while a run holds every bucket, leave the tree as it is, and begin no new one."""
    tree = tree_at(interrupted.output, 2)
    with locks.hold(tree, range(2), claim("run")):
        before = state(interrupted.folder)
        for words in (READING["status"], READING["plan"], READING["verify"]):
            assert interrupted(*words).code in {Exit.DONE, Exit.INCOMPLETE}, words
        for verb in ("status", "plan"):
            assert interrupted(verb, "jobs.yaml", "--output", "new").code == Exit.DONE
        assert state(interrupted.folder) == before


@pytest.mark.long
@pytest.mark.parametrize("place", ["interface_summary", MONTH])
def test_a_linked_folder_of_data_needs_the_manifests_word(
    target: InterruptedOutput, outside: Path, duck: duckdb.DuckDBPyConnection, place: str
) -> None:
    """With `output.follow_links` the run reads and publishes behind the link, row for row."""
    link(target.output / place, outside)
    refused = target(*WRITING["run"])
    assert "output.follow_links: true" in refused.err
    target.edit("buckets: 2}", "buckets: 2, follow_links: true}")
    assert target(*WRITING["run"]).code in {Exit.DONE, Exit.INCOMPLETE}
    assert (target.output / place).is_symlink()
    assert target("verify", "jobs.yaml").code == Exit.DONE
    assert target("rewrite", "jobs.yaml", "--to", "other").code == Exit.DONE
    clean = published_rows(duck, clean_run(target), "interface_summary")
    assert published_rows(duck, target.folder / "other", "interface_summary") == clean
    # DuckDB follows no link to a folder.
    (target.output / place).unlink()
    shutil.move(outside / Path(place).name, target.output / place)
    assert published_rows(duck, target.output, "interface_summary") == clean


def test_follow_links_allows_no_link_elsewhere(target: InterruptedOutput, outside: Path) -> None:
    """Neither below `_harvester`, nor in the place of a data file, nor to a missing folder."""
    target.edit("buckets: 2}", "buckets: 2, follow_links: true}")
    for name in (f"link {META}/raw", f"link {META}", f"link {PART}", f"lost {MONTH}"):
        plant = PLANTS[name]
        there = outside / name.replace("/", "-")
        there.mkdir()
        saved = there / "saved"
        shutil.copytree(target.output, saved, symlinks=True)
        place = plant.put(target.output, there)
        found = target(*WRITING["run"])
        assert (found.code, place in found.err) == (Exit.USAGE, True)
        shutil.rmtree(target.output)
        saved.rename(target.output)
