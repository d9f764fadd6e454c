"""Reading without a manifest: what a run keeps of its own in the output, and who reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.catalogue import CATALOGUE
from harvester.cli import invoke
from harvester.core.calendar import day_text, today
from harvester.core.config.settings import Output
from harvester.core.errors import UsageError
from harvester.core.exit_codes import Exit
from harvester.manifest.loader import read
from harvester.storage.layout import MANIFESTS, Tree
from harvester.storage.state import manifests
from harvester.verbs.forget import forget
from harvester.verbs.project import union
from harvester.verbs.rewrite import rewrite
from tests.support.output_helpers import tree_at
from tests.support.run_harness import appid

NOW = 1_780_000_000.0
DAY = 86_400.0


def manifest(*numbers: int, **more: Any) -> dict[str, Any]:
    """A manifest of the emulator with these accounts."""
    accounts = [{"appid": appid(number), "name": f"Account {number}"} for number in numbers]
    jobs = [{"datasets": "user_*", "begin_date": "-3d"}]
    return {"api": {"base_url": "sandbox"}, "accounts": accounts, "jobs": jobs, **more}


def keep(tree: Tree, written: dict[str, Any], now: float = NOW, file: str = "jobs.yaml") -> None:
    """Keep a manifest as a run does."""
    text = json.dumps(written)
    manifests.keep(tree, read(Path(file), environ={}, now=now, text=text).manifest(), now)


def kept(tree: Tree) -> dict[str, Any]:
    """The contents of the only file, and its version on the disk."""
    (file,) = tree.store.list(MANIFESTS)
    found = tree.store.get(file.name)
    assert found is not None
    value: dict[str, Any] = json.loads(found.data)
    return value


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An output on a disk."""
    return tree_at(tmp_path / "out")


@pytest.fixture
def harvested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An output that a run has written, seen from a folder without a manifest."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    place = str(tmp_path / "out")
    written = manifest(1, 2, output=place)
    written["accounts"][1]["paused"] = "new secret asked for"
    assert harvester.run(written, accounts=appid(1)).exit_code == Exit.DONE
    return place


def test_a_run_keeps_the_whole_manifest_and_no_credential(tree: Tree) -> None:
    """It reads back as the manifest itself, on a later day as well."""
    written = manifest(1, 2, 3, datasets={"user_summary": {"span": 3, "ready_at": "11:30"}})
    written["accounts"][0] |= {"tags": ["b", "a"], "attributes": {"client": "Acme"}}
    part = {"reason": "not verified", "datasets": ["user_*"], "until": "2027-01-01"}
    written["accounts"][2] |= {"paused": part, "end_date": "2026-05-01"}
    written["accounts"][1] |= {"begin_date": "2026-01-01", "credential": {"secret": "${KEY}"}}
    written["jobs"] += [{"datasets": "article_*", "accounts": [appid(3)], "end_date": "-1d"}]
    written["expect"] = {
        "all": {"complete_by": "13:05", "quiet": ["2026-02-15..2026-02-23", "2030-01-01"]},
        "user_summary": {"complete_by": {"time": "12:00", "share": "99.9%"}, "gate": "closed"},
        "article_read": {"min_share_with_rows": "12.5%"},
    }
    keep(tree, written)
    later = NOW + 5 * DAY
    expected = read(Path("x"), environ={"KEY": "k"}, now=later, text=json.dumps(written)).manifest()
    found = union(tree, Output(), later)
    assert found.jobs == expected.jobs
    assert found.datasets == expected.datasets
    assert {
        name: vars(each) | {"quiet": each.quiet_days} for name, each in found.expect.items()
    } == {name: vars(each) | {"quiet": each.quiet_days} for name, each in expected.expect.items()}
    assert [each.name for each in found.accounts] == ["Account 1", "Account 2", "Account 3"]
    assert [each.tags for each in found.accounts] == [each.tags for each in expected.accounts]
    assert found.accounts[::2] == expected.accounts[::2]
    assert found.accounts[1].begin_date == expected.accounts[1].begin_date
    assert "KEY" not in json.dumps(kept(tree))
    assert found.accounts[1].credential is None


def test_it_is_written_only_when_it_changes(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with nothing new to keep writes nothing, and reads the first bytes."""
    keep(tree, manifest(1, 2))
    with monkeypatch.context() as patch:
        patch.setattr(type(tree.store), "put", None)
        keep(tree, manifest(1, 2), NOW + 9 * DAY, file="/builds/42/checkout/jobs.yaml")
    keep(tree, manifest(1, 2, 3))
    assert len(kept(tree)["accounts"]) == 3


def test_a_checkout_elsewhere_keeps_one_file_and_another_manifest_has_its_own(tree: Tree) -> None:
    """Two manifests of one name are told apart by their accounts."""
    keep(tree, manifest(1, 2), file="/a/jobs.yaml")
    keep(tree, manifest(2, 3), file="/b/jobs.yaml")
    keep(tree, manifest(7), file="/c/jobs.yaml")
    keep(tree, manifest(8), file="/c/other jobs.yaml")
    names = [file.name.removeprefix(f"{MANIFESTS}/") for file in tree.store.list(MANIFESTS)]
    assert names == ["jobs.yaml.1.json", "jobs.yaml.2.json", "other-jobs.yaml.1.json"]
    found = union(tree, Output(), NOW)
    assert {each.appid for each in found.accounts} == {appid(n) for n in (2, 3, 7, 8)}
    assert [job.appids for job in found.jobs] == [(appid(2), appid(3)), (appid(7),), (appid(8),)]


def test_a_pause_keeps_the_day_on_which_a_run_first_found_it(tree: Tree) -> None:
    """Another reason is the same pause; once it has ended the day goes."""
    written = manifest(1, 2)
    written["accounts"][0]["paused"] = "new secret asked for"
    keep(tree, written)
    written["accounts"][0]["paused"] = "still waiting for the secret"
    keep(tree, written, NOW + 40 * DAY)
    assert kept(tree)["paused_since"] == {appid(1): day_text(today(NOW))}
    del written["accounts"][0]["paused"]
    keep(tree, written, NOW + 41 * DAY)
    assert kept(tree)["paused_since"] == {}


@pytest.mark.parametrize(
    "planted",
    [
        {},
        {"accounts": 5},
        {"datasets": {"user_summary": {"span": 0}}},
        {"jobs": [{"datasets": "no_such_dataset"}]},
    ],
)
def test_a_file_that_is_none_is_named(tree: Tree, planted: dict[str, Any]) -> None:
    """A gate must not open because of it, and the next run writes it again."""
    whole = {"digest": "", "datasets": {}, **manifest(1), **planted} if planted else {}
    tree.store.put(f"{MANIFESTS}/jobs.yaml.1.json", json.dumps(whole).encode())
    with pytest.raises(UsageError, match=r"jobs.yaml.1.json: not a manifest"):
        union(tree, Output(), NOW)


def test_a_planted_file_has_nothing_read(tree: Tree, tmp_path: Path) -> None:
    """Neither a variable nor a file of the machine that reads it."""
    (tmp_path / "key").write_text("a secret")
    written = {"digest": "", "datasets": {}, **manifest(1)}
    written["accounts"][0]["name"] = f"${{file:{tmp_path}/key}} ${{HOME}}"
    tree.store.put(f"{MANIFESTS}/jobs.yaml.1.json", json.dumps(written).encode())
    (account,) = union(tree, Output(), NOW).accounts
    assert account.name == f"{{file:{tmp_path}/key}} {{HOME}}"


def test_status_reads_an_output_alone(harvested: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same days as with the manifest, names and pauses included, and no command to run."""
    assert invoke(["status", "--output", harvested, "--require", "ready"]) == Exit.DONE
    shown = capsys.readouterr().out
    assert f"{appid(2)} Account 2: new secret asked for" in shown
    assert "all of them are there" in shown
    found = harvester.status(output=harvested)
    # Two of three days in the hours before yesterday is ready.
    assert {row.dataset for row in found.datasets} == {"user_summary", "user_cumulate"}
    assert {row.days.wanted for row in found.datasets} in ({2}, {3})
    assert harvester.status(None, output=harvested, owners=True).owners == ()


def test_a_gate_without_a_manifest_misses_what_no_run_fetched(
    harvested: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole manifest was kept, although the run was about one account."""
    (file,) = Path(harvested, MANIFESTS).iterdir()
    text = file.read_text("utf-8").replace(',"paused":{"reason":"new secret asked for"}', "")
    file.write_text(text, "utf-8")
    assert invoke(["status", "--output", harvested, "--require", "ready"]) == Exit.AGAIN
    assert "harvester run" not in capsys.readouterr().out


def test_an_output_in_which_nothing_was_kept_is_no_complete_one(
    harvested: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The wanted days are not known, so no gate may open; the files can be verified."""
    for file in Path(harvested, MANIFESTS).iterdir():
        file.unlink()
    assert invoke(["status", "--output", harvested, "--require", "ready"]) == Exit.USAGE
    assert "name the manifest" in capsys.readouterr().err
    assert invoke(["verify", "--output", harvested]) == Exit.DONE


def feed(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    """The lines of `changes` without the cursor."""
    assert invoke(["changes", *words]) == Exit.DONE
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()][:-1]


@pytest.mark.parametrize("word", ["Account 1", "tag:retail", "client=Acme", appid(1)])
def test_changes_of_an_output_alone_know_the_accounts_of_the_last_runs(
    harvested: str, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    """By each word that the other readers of an output take, and its jobs."""
    (file,) = Path(harvested, MANIFESTS).iterdir()
    whole = json.loads(file.read_text("utf-8"))
    whole["accounts"][0] |= {"tags": ["retail"], "attributes": {"client": "Acme"}}
    file.write_text(json.dumps(whole), "utf-8")
    everything = feed(capsys, "--output", harvested)
    assert {change["dataset"] for change in everything} == {"user_summary", "user_cumulate"}
    assert feed(capsys, "--output", harvested, "--accounts", word) == everything
    assert feed(capsys, "--output", harvested, "--accounts", "Account 2") == []
    assert feed(capsys, "--output", harvested, "--jobs", "job-1") == everything
    assert invoke(["changes", "--output", harvested, "--accounts", "Nobody"]) == Exit.USAGE
    assert "unknown account `Nobody`" in capsys.readouterr().err


def test_changes_of_an_output_in_which_nothing_was_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No account and no job is known there, and the whole feed is empty."""
    monkeypatch.chdir(tmp_path)
    assert feed(capsys, "--output", "none") == []
    assert invoke(["changes", "--output", "none", "--jobs", "job-1"]) == Exit.USAGE
    assert "no job is known" in capsys.readouterr().err
    assert not Path("none").exists()


def test_the_changes_of_an_output_alone_follow_links(
    harvested: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a manifest has to allow that a dataset is on another disk."""
    everything = feed(capsys, "--output", harvested)
    moved = tmp_path / "another disk"
    Path(harvested, "user_summary").rename(moved)
    Path(harvested, "user_summary").symlink_to(moved)
    assert feed(capsys, "--output", harvested) == everything
    Path("jobs.yaml").write_text(json.dumps(manifest(1, 2)))
    assert invoke(["changes", "--output", harvested]) == Exit.USAGE
    assert "follow_links" in capsys.readouterr().err


def test_verify_repairs_an_output_alone(harvested: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The lost days are named, although the file does not say which it had."""
    data = next(Path(harvested, "user_summary").rglob("*.parquet"))
    data.write_bytes(b"PAR1 no more")
    assert invoke(["verify", "--output", harvested, "--repair"]) == Exit.INCOMPLETE
    shown = capsys.readouterr().out
    assert appid(1) in shown
    assert "harvester run" not in shown


def test_an_account_that_is_not_selected_is_in_the_manifest_all_the_same(harvested: str) -> None:
    """Also before a run has kept that manifest."""
    for file in Path(harvested, MANIFESTS).iterdir():
        file.unlink()
    both, alone = manifest(1, 2, output=harvested), manifest(2, output=harvested)
    found = harvester.status(both, accounts=appid(2), unlisted=True)
    assert found.unlisted == ()
    found = harvester.status(alone, unlisted=True)
    assert found.unlisted is not None
    files = [
        file for name in CATALOGUE for file in Path(harvested).glob(f"{name}/ref_month=*/*.parquet")
    ]
    assert [(each.appid, each.files) for each in found.unlisted] == [(appid(1), len(files))]


def test_a_manifest_in_the_folder_is_used(
    harvested: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It counts as it is now, and the kept one does not."""
    Path("jobs.yaml").write_text(json.dumps(manifest(5)))
    assert invoke(["status", "--output", harvested, "--require", "ready"]) == Exit.AGAIN
    assert appid(5) in capsys.readouterr().out


def test_without_any_output_python_says_so() -> None:
    """Neither of the two is named."""
    with pytest.raises(UsageError, match="neither a manifest nor an output"):
        harvester.status()


def test_forget_takes_an_account_out_and_rewrite_takes_the_file_along(
    harvested: str, tmp_path: Path
) -> None:
    """No name of a forgotten account stays in the output, or in a copy of it."""
    left = manifest(2, output=harvested)
    receipt = forget(left, accounts=appid(1))
    assert f"{MANIFESTS}/mapping.1.json" in receipt.records
    copy = str(tmp_path / "copy")
    rewrite(left, to=copy, buckets=2)
    for place in (harvested, copy):
        (file,) = Path(place, MANIFESTS).iterdir()
        assert appid(1) not in file.read_text("utf-8")
        assert [each.appid for each in harvester.status(output=place).accounts] == [appid(2)]


def test_a_kept_manifest_of_a_newer_version_stays_as_it_is(harvested: str) -> None:
    """A run fetches and ends as usual; a reader without a manifest refuses the file."""
    [path] = Path(harvested, MANIFESTS).iterdir()
    newer = json.dumps({**json.loads(path.read_bytes()), "version": 2, "digest": "of another"})
    path.write_text(newer)
    assert harvester.run(manifest(1, 2, output=harvested)).exit_code == Exit.DONE
    assert path.read_text() == newer
    with pytest.raises(UsageError, match="version 2"):
        harvester.status(output=harvested)
