"""The folders of an output on a disk: real ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harvester.core.config import Output
from harvester.core.errors import StoreError, UsageError
from harvester.storage import layout, unmanaged_files
from harvester.storage.backends.local import LocalStore
from harvester.storage.layout import open_tree
from tests.support.output_helpers import tree_at
from tests.support.run_harness import DAILY

META = "_harvester"
DEEP = 300
"""Folders one inside the other."""


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
        assert unmanaged_files.files(tree, [DAILY]) == [
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
