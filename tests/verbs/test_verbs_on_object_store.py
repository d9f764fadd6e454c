"""`verify`, `rewrite` and `forget` of an output in an object store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import duckdb
import pytest

import harvester
from harvester.cli import invoke
from harvester.core.calendar import parse_month
from harvester.core.config.settings import Output
from harvester.core.errors import UsageError
from harvester.core.exit_codes import Exit
from harvester.core.model import Partition
from harvester.storage import locks
from harvester.storage.backends.base import read_bytes
from harvester.storage.layout import open_tree
from tests.support.claims import claim
from tests.support.run_harness import BOTH, HOURLY, appid, days_between, expected, published_rows
from tests.support.store_backends import CREDENTIALS, conditions_sent, download, s3_process

DAYS = ("2026-03-30", "2026-04-02")
ACCOUNTS = [appid(number) for number in range(1, 5)]
GONE, *REST = ACCOUNTS
MANIFEST = """
version: 1
api: {{base_url: sandbox}}
accounts: [{accounts}]
jobs:
  - datasets: [interface_summary, interface_summary_hour]
    begin_date: 2026-03-30
    end_date: 2026-04-02
limits: {{per_token: {{rate: 1000/s, burst: 100, concurrency: 8}}}}
output: {{path: "{path}", endpoint: "{endpoint}", buckets: {buckets}}}
"""


def write_manifest(place: Output, appids: list[str], buckets: int = 1) -> None:
    """The manifest of the current folder."""
    accounts = ", ".join(f"{{appid: {name}}}" for name in appids)
    text = MANIFEST.format(
        accounts=accounts, path=place.path, endpoint=place.endpoint, buckets=buckets
    )
    Path("jobs.yaml").write_text(text)


@pytest.fixture
def place(s3_output: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Output:
    """A harvested output: four accounts, two datasets, two months."""
    monkeypatch.chdir(tmp_path)
    write_manifest(s3_output, ACCOUNTS)
    assert invoke(["run", "--progress", "none"]) == Exit.DONE
    return s3_output


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The last answer in JSON."""
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def check(duck: duckdb.DuckDBPyConnection, place: Output, folder: Path, names: list[str]) -> None:
    """The files hold these accounts' rows, once each."""
    download(open_tree(place).store, folder)
    for dataset in BOTH:
        assert published_rows(duck, folder, dataset) == expected(
            dataset, names, days_between(*DAYS)
        )


def test_one_window_is_asked_and_compared(
    place: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    """The published rows come from the store, and its files stay as they are."""
    store = open_tree(place).store
    before = {file.name: file.version for file in store.list(HOURLY)}
    words = [GONE, HOURLY, DAYS[0], "jobs.yaml", "--format", "json"]
    capsys.readouterr()
    assert invoke(["fetch", *words]) == Exit.DONE
    found = told(capsys)
    assert found["published"] == found["rows"] > 0
    assert {file.name: file.version for file in store.list(HOURLY)} == before


def test_damage_is_reported_repaired_and_asked_again(
    place: Output,
    tmp_path: Path,
    duck: duckdb.DuckDBPyConnection,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As on a disk: exit 3, the object is moved, the next run asks for its days alone."""
    assert invoke(["verify"]) == Exit.DONE
    tree = open_tree(place)
    name = tree.name(Partition(HOURLY, parse_month("2026-03"), 0))
    raw = bytearray(read_bytes(tree.store, name) or b"")
    raw[len(raw) // 3] ^= 1
    tree.store.put(name, bytes(raw))
    capsys.readouterr()
    assert invoke(["verify", "--repair", "--format", "json"]) == Exit.INCOMPLETE
    [damage] = told(capsys)["damaged"]
    assert damage["path"] == name
    assert read_bytes(tree.store, damage["moved_to"]) == bytes(raw)
    assert read_bytes(tree.store, name) is None
    assert invoke(["run", "--progress", "none"]) == Exit.DONE
    check(duck, place, tmp_path / "copy", ACCOUNTS)


def test_an_account_is_forgotten(
    place: Output, tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """No object names it any more, and all others keep what they have."""
    write_manifest(place, REST)
    assert invoke(["forget", "--accounts", GONE]) == Exit.DONE
    check(duck, place, tmp_path / "copy", REST)
    tree = open_tree(place)
    for found in tree.store.list(""):
        assert GONE.encode() not in (read_bytes(tree.store, found.name) or b""), found.name
    assert invoke(["verify"]) == Exit.DONE


def test_versions_of_a_bucket_are_named_as_not_reached(
    place: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bucket that keeps versions keeps the forgotten rows, and the receipt says so."""
    with urlopen(versioning_request(place), timeout=5) as answer:
        assert answer.status == 200
    assert invoke(["run", "--progress", "none", "--refetch", "all"]) == Exit.DONE
    write_manifest(place, REST)
    capsys.readouterr()
    assert invoke(["forget", "--accounts", GONE]) == Exit.DONE
    shown = capsys.readouterr().out
    assert "\nnot reached:\n" in shown
    assert f"  older versions of objects below {place.path}, if the bucket keeps versions" in shown
    bucket = str(place.path).removeprefix("s3://").partition("/")[0]
    with urlopen(f"{place.endpoint}/{bucket}?versions", timeout=5) as answer:
        kept = answer.read().decode()
    assert kept.count("<IsLatest>false</IsLatest>") > 0


def versioning_request(place: Output) -> Request:
    """Return the request that makes the bucket of an output keep versions."""
    bucket = str(place.path).removeprefix("s3://").partition("/")[0]
    body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    # Without a type the emulator takes the body for a form, and answers 404.
    kind = {"Content-Type": "application/xml"}
    address = f"{place.endpoint}/{bucket}?versioning"
    return Request(address, data=body, headers=kind, method="PUT")


def data_puts(place: Output) -> dict[str, list[dict[str, str]]]:
    """Return the condition of each put of a data file, by name."""
    sent = conditions_sent(place).items()
    found = {name: conditions for name, conditions in sent if name.endswith(".parquet")}
    return {name: found[name] for name in found if name.split("/")[0] in BOTH}


def test_a_killed_rewrite_begins_anew(
    place: Output, tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """Its files are removed, and each one is put only where there is none."""
    new = Output(f"{place.path}-2", 2, endpoint=place.endpoint)
    command = ["rewrite", "--to", str(new.path), "--buckets", "2"]
    assert invoke(command) == Exit.DONE
    tree = open_tree(new)
    journal = json.loads(read_bytes(tree.store, "_harvester/rewrite.json") or b"")
    unfinished = json.dumps({**journal, "finished": False}).encode()
    tree.store.put("_harvester/rewrite.json", unfinished)
    assert invoke(command) == Exit.DONE
    for sent in data_puts(new).values():
        assert sent == [{"HTTP_IF_NONE_MATCH": "*"}] * 2
    check(duck, new, tmp_path / "copy", ACCOUNTS)


def test_a_rewrite_into_more_buckets(
    place: Output,
    tmp_path: Path,
    duck: duckdb.DuckDBPyConnection,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Into another place of the store; it is not made again; a run has nothing to ask."""
    new = Output(f"{place.path}-3", 3, endpoint=place.endpoint)
    command = ["rewrite", "--to", str(new.path), "--buckets", "3"]
    assert invoke(command) == Exit.DONE
    assert invoke(command) == Exit.USAGE
    assert invoke(["rewrite", "--to", f"{place.path}/inside"]) == Exit.USAGE
    check(duck, new, tmp_path / "copy", ACCOUNTS)
    write_manifest(new, ACCOUNTS, 3)
    capsys.readouterr()
    assert invoke(["verify"]) == Exit.DONE
    capsys.readouterr()
    assert invoke(["plan", "--format", "json"]) == Exit.DONE
    assert told(capsys)["requests"] == 0


REFUSED_MANIFEST = """
version: 1
api: {base_url: sandbox}
accounts: [{appid: wx0000000000000001}]
jobs: [{datasets: [interface_summary], begin_date: -3d}]
"""


@pytest.mark.usefixtures("s3_keys")
def test_an_output_that_refuses_the_first_read_is_a_mistake_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 with the place, the cause and the variables, whatever the verb."""
    monkeypatch.chdir(tmp_path)
    Path("jobs.yaml").write_text(REFUSED_MANIFEST)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    with s3_process("--refusing") as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        for verb in ("plan", "run", "check", "status", "verify", "changes"):
            assert invoke([verb, "jobs.yaml", "--output", "s3://nobucket/x"]) == Exit.USAGE, verb
            told = capsys.readouterr().err
            assert "s3://nobucket/x/_harvester/rewrite.json: refused (403 Signature" in told
            assert "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION" in told
            assert "AKIDEXAMPLE" not in told
        Path("jobs.yaml").unlink()
        assert invoke(["status", "--output", "s3://nobucket/x"]) == Exit.USAGE
        with pytest.raises(UsageError, match="refused"):
            harvester.open("s3://nobucket/x", endpoint=address)


def test_a_machine_without_credentials_for_the_output_is_told_their_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the environment nor the machine has any, which is a mistake of the user."""
    monkeypatch.chdir(tmp_path)
    Path("jobs.yaml").write_text(REFUSED_MANIFEST)
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    assert invoke(["plan", "jobs.yaml", "--output", "s3://nobucket/x"]) == Exit.USAGE
    told = capsys.readouterr().err
    assert "error: s3://nobucket/x: no credentials were found" in told
    assert "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION" in told


def test_a_run_waits_for_another_no_longer_than_it_may_take(place: Output) -> None:
    """A lease may last for an hour, and `max_duration` bounds the whole run."""
    held = replace(place, lease=3600.0)
    manifest = f"{Path('jobs.yaml').read_text().strip()[:-1]}, lease: 1h}}"
    Path("jobs.yaml").write_text(manifest)
    with (
        locks.hold(open_tree(held), [0], claim("other")),
        pytest.raises(harvester.Busy, match="run other"),
    ):
        harvester.run("jobs.yaml", max_duration="1s")
