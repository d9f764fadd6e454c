"""Commands that change an output leave no index of footers that says something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.core.exit_codes import Exit
from harvester.storage import footer_index
from harvester.storage.layout import INDEX, Tree
from harvester.tables import coverage
from harvester.verbs.forget import forget
from harvester.verbs.rewrite import rewrite
from harvester.verbs.verify import verify
from tests.support.output_helpers import tree_at
from tests.support.run_harness import DAILY, HOURLY, appid

GONE, STAYS, OTHER = appid(1), appid(2), appid(3)


def manifest(*appids: str) -> dict[str, Any]:
    """Return a manifest of these accounts."""
    return {
        "version": 1,
        "api": {"base_url": "sandbox"},
        "accounts": [{"appid": each} for each in (GONE, STAYS, OTHER)],
        "jobs": [
            {
                "datasets": [DAILY, HOURLY],
                "accounts": [*appids],
                "begin_date": "2026-03-30",
                "end_date": "2026-04-02",
            }
        ],
        "limits": {"per_token": {"rate": "1000/s", "burst": 100, "concurrency": 8}},
        "output": {"path": "output"},
    }


@pytest.fixture
def harvested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """The output of two accounts and two datasets over two months."""
    monkeypatch.chdir(tmp_path)
    assert harvester.run(manifest(GONE, STAYS)).exit_code == Exit.DONE
    return tree_at(tmp_path / "output")


def named_in_indexes(tree: Tree) -> set[str]:
    """Return the accounts that the indexes name."""
    found = set[str]()
    there = {file.name: file for file in tree.store.list(INDEX)}
    for name in there:
        for _, payload in footer_index._read(tree, there, name).payloads():
            found.update(coverage.parse_payload(payload).appids)
    return found


def test_forget_erases_the_account(harvested: Tree) -> None:
    """The index has the other one."""
    assert named_in_indexes(harvested) == {GONE, STAYS}
    forget(manifest(STAYS), accounts=[GONE])
    assert named_in_indexes(harvested) == {STAYS}


def test_forget_of_the_last_account(harvested: Tree) -> None:
    """With the last data file goes the index."""
    forget(manifest(OTHER), accounts=[GONE, STAYS])
    assert harvested.store.list(INDEX) == []


def test_forget_that_was_killed(harvested: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before it came to the index, a repeated command erases what is left there."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(footer_index, "renew", killed)
        with pytest.raises(KeyboardInterrupt):
            forget(manifest(STAYS), accounts=[GONE])
    assert named_in_indexes(harvested) == {GONE, STAYS}
    forget(manifest(STAYS), accounts=[GONE])
    assert named_in_indexes(harvested) == {STAYS}


def lie(tree: Tree) -> str:
    """Put an index that says that a file has no days; return its name."""
    name = f"{INDEX}/{DAILY}.0000-of-0001"
    there = {file.name: file for file in tree.store.list(INDEX)}
    index = footer_index._read(tree, there, name)
    draft = footer_index._Draft()
    files = {file.name: file for file in tree.store.list(DAILY)}
    for file, payload in index.payloads():
        month = coverage.parse_payload(payload).month
        draft.add(files[file], coverage.payload(coverage.empty(month)))
    tree.store.put(name, draft.made())
    return name


def test_verify_compares_the_index_with_the_footers(harvested: Tree) -> None:
    """It names the index, and a repair makes that anew: nothing is asked again."""
    name = lie(harvested)
    found = verify(manifest(GONE, STAYS))
    assert {each.path for each in found.damaged} == {name}
    assert "another coverage" in found.damaged[0].flaws[0]
    repaired = verify(manifest(GONE, STAYS), repair=True)
    assert all(each.repaired for each in repaired.damaged)
    assert verify(manifest(GONE, STAYS)).undamaged
    assert harvester.run(manifest(GONE, STAYS)).requests == 0


def test_a_rewrite_makes_the_index_of_the_new_output(harvested: Tree, tmp_path: Path) -> None:
    """It has all files there, and none of the old output's."""
    rewrite(manifest(GONE, STAYS), to="new", buckets=2)
    new = Tree(tree_at(tmp_path / "new").store, 2)
    files = {file.name for name in (DAILY, HOURLY) for file in new.store.list(name)}
    indexed = {file for name in (DAILY, HOURLY) for file, _ in footer_index.digests(new, name)}
    assert indexed == files
