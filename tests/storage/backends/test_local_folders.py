"""The folders of an output on a disk: real ones, and closed to other users where it matters."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from harvester.core.config.settings import Output
from harvester.core.errors import StoreError, UsageError
from harvester.core.exit_codes import Exit
from harvester.storage import layout
from harvester.storage.backends.base import PRIVATE_FOLDERS
from harvester.storage.backends.local import LocalStore
from harvester.storage.layout import open_tree
from tests.support.output_helpers import tree_at
from tests.support.run_harness import DAILY, RunHarness

META = "_harvester"
DEEP = 300
"""Folders one inside the other."""


@pytest.fixture(params=[0o022, 0o002, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """The umask of the process."""
    mask: int = request.param
    before = os.umask(mask)
    yield mask
    os.umask(before)


def mode_of(path: Path) -> int:
    """Return the permissions of a file or a folder."""
    return stat.S_IMODE(path.stat().st_mode)


def test_a_run_closes_what_has_names_and_answers_to_other_users(tmp_path: Path, umask: int) -> None:
    """Records and data are as the umask says, for those who follow the changes."""
    lab = RunHarness(tmp_path / "out", accounts=1)
    assert lab.run().exit_code is Exit.DONE
    meta = lab.root / META
    made = {*PRIVATE_FOLDERS} - {"quarantine"}
    assert {name: mode_of(meta / name) for name in made} == dict.fromkeys(made, 0o700)
    readable = [lab.root, meta, meta / "runs", lab.root / DAILY]
    assert {mode_of(path) for path in readable} == {0o777 & ~umask}
    record = next((meta / "runs").glob("*.json"))
    assert mode_of(record) == 0o666 & ~umask


@pytest.mark.parametrize("name", PRIVATE_FOLDERS)
def test_a_private_folder_is_made_closed(tmp_path: Path, name: str) -> None:
    """Also a folder that was removed while it was empty. A mode that a user sets later stays."""
    tree, folder = tree_at(tmp_path), tmp_path / META / name
    for _ in range(2):
        tree.store.put(f"{META}/{name}/y.json", b"{}")
        assert mode_of(folder) == 0o700
        tree.store.delete(f"{META}/{name}/y.json")
    tree.store.put(f"{META}/{name}/y.json", b"{}")
    folder.chmod(0o755)
    layout.check_folders(tree)
    assert mode_of(folder) == 0o755


def test_a_new_output_is_checked_and_not_made(tmp_path: Path) -> None:
    """The check makes no folder: a command that ends there leaves nothing."""
    layout.check_folders(tree_at(tmp_path / "new"))
    assert list(tmp_path.iterdir()) == []


def test_folders_inside_of_each_other_are_checked_to_the_last(tmp_path: Path) -> None:
    """However deep a link is hidden, it is found."""
    place = tmp_path / META / "raw"
    place.mkdir(parents=True)
    here = os.open(place, os.O_RDONLY)
    for _ in range(DEEP):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    layout.check_folders(tree_at(tmp_path))
    os.symlink("x", "x", dir_fd=here)
    os.close(here)
    with pytest.raises(UsageError, match="a symbolic link"):
        layout.check_folders(tree_at(tmp_path))


def test_a_link_that_is_not_ours_is_listed_and_not_followed(tmp_path: Path) -> None:
    """In a dataset's folder it is an unmanaged file; beside the datasets it is not looked at."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").touch()
    root = tmp_path / "out"
    (root / DAILY / "ref_month=2026-03").mkdir(parents=True)
    (root / "notes").symlink_to(outside)
    (root / DAILY / "backup").symlink_to(outside)
    (root / DAILY / "ref_month=2026-03" / "loop").symlink_to(".")
    for follow_links in (False, True):
        tree = open_tree(Output(root, follow_links=follow_links))
        layout.check_folders(tree)
        assert layout.unmanaged_files(tree, [DAILY]) == [
            f"{DAILY}/backup",
            f"{DAILY}/ref_month=2026-03/loop",
        ]


def test_followed_links_lead_to_no_loop(tmp_path: Path) -> None:
    """Only a dataset's folder and its months are followed, so a way back ends there."""
    (tmp_path / DAILY).mkdir()
    (tmp_path / DAILY / "ref_month=2026-03").symlink_to(".")
    store = LocalStore(tmp_path, follow_links=True)
    again = f"{DAILY}/ref_month=2026-03/ref_month=2026-03"
    assert [file.name for file in store.list(DAILY)] == [again]
    (tmp_path / DAILY / "ref_month=2026-04").symlink_to("ref_month=2026-04")
    with pytest.raises(StoreError, match="ref_month=2026-04"):
        store.list(DAILY)
