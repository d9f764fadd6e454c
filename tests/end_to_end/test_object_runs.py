"""Whole runs whose output is in an object store."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from harvester.cli import invoke
from harvester.core.config.settings import Output
from harvester.core.exit_codes import Exit
from harvester.storage import layout
from harvester.storage.layout import open_tree
from tests.end_to_end.test_kills import (
    ENVIRONMENT,
    PYTHON,
    ends_within,
    lives,
    sandbox_process,
    start,
)
from tests.support import kill_at
from tests.support.nights import by_night
from tests.support.run_harness import (
    BOTH,
    DAILY,
    RunHarness,
    appid,
    days_between,
    expected,
    published_rows,
)
from tests.support.store_backends import CREDENTIALS, all_names, conditions_sent, download

MANIFEST = """
version: 1
api: {{base_url: "{address}"}}
defaults: {{credential: {{secret: "${{SECRET}}"}}}}
accounts: [{accounts}]
jobs:
  - datasets: [interface_summary, interface_summary_hour]
    begin_date: 2026-02-01
    end_date: 2026-04-01
limits: {{per_token: {{rate: {rate}/s, burst: 5, concurrency: 4}}}}
output: {{path: "{path}", endpoint: "{endpoint}", lease: 2s, buckets: {buckets}}}
"""


def write_manifest(
    folder: Path, output: Output, address: str, accounts: int, *, rate: int = 100, buckets: int = 1
) -> Path:
    """Sixty days of two datasets, into an object store."""
    path = folder / "jobs.yaml"
    path.write_text(
        MANIFEST.format(
            address=address,
            accounts=", ".join(f"{{appid: {appid(number)}}}" for number in range(1, accounts + 1)),
            path=output.path,
            endpoint=output.endpoint,
            rate=rate,
            buckets=buckets,
        )
    )
    return path


def assert_exact(
    duck: duckdb.DuckDBPyConnection, output: Output, folder: Path, accounts: int, hint: str = ""
) -> None:
    """The files hold every row once, and nothing waits to be published."""
    tree = open_tree(output)
    appids = [appid(number) for number in range(1, accounts + 1)]
    download(tree.store, folder)
    for dataset in BOTH:
        truth = expected(dataset, appids, days_between("2026-02-01", "2026-04-01"))
        assert published_rows(duck, folder, dataset) == truth, hint
    assert all_names(tree, layout.RAW) == []


def test_a_run_into_an_object_store(
    tmp_path: Path,
    s3_output: Output,
    duck: duckdb.DuckDBPyConnection,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Every row once; a second run asks nothing; the reading verbs know it; no key is shown."""
    monkeypatch.setenv("SECRET", "run-test")
    monkeypatch.chdir(tmp_path)
    with sandbox_process() as address:
        manifest = str(write_manifest(tmp_path, s3_output, address, 3))
        for name in ("first", "second"):
            options = ["--summary", f"{name}.json", "--log-level", "debug"]
            assert invoke(["run", manifest, *options]) == Exit.DONE
    assert_exact(duck, s3_output, tmp_path / "copy", 3)
    first, second = (json.loads(Path(f"{n}.json").read_bytes()) for n in ("first", "second"))
    assert first["requests"] > 0
    assert (second["requests"], second["published"]) == (0, [])
    assert invoke(["plan", manifest, "--format", "json"]) == Exit.DONE
    assert invoke(["status", manifest, "--require", "2026-04-01"]) in {Exit.DONE, Exit.USAGE}
    shown = "".join(capfd.readouterr())
    assert f"{s3_output.path}/interface_summary/ref_month=*" in shown
    for secret in (CREDENTIALS["AWS_SECRET_ACCESS_KEY"], CREDENTIALS["AWS_ACCESS_KEY_ID"]):
        assert secret not in shown
        assert secret.encode() not in (tmp_path / "first.json").read_bytes()


def test_puts_are_conditional(tmp_path: Path, s3_output: Output) -> None:
    """A data file to the very version it was merged from; a run's record, which is its own, not.

    An answer that got lost, or an empty condition, must neither end a run nor let a race pass.
    """
    lab = RunHarness(tmp_path, s3_output, accounts=1, datasets=(DAILY,), end="2026-03-10")
    lab.run()
    [name] = all_names(lab.tree, DAILY)
    with lab.tree.store.local_copy(name) as copy:
        assert copy is not None
        merged_from = copy.version.strip()
    lab.end = "2026-03-20"
    run_id = lab.run().run_id
    sent = conditions_sent(s3_output)
    assert sent[name] == [{"HTTP_IF_NONE_MATCH": "*"}, {"HTTP_IF_MATCH": merged_from}]
    assert sent[f"{layout.RUNS}/{run_id}.json"] == [{}, {}]


def test_the_output_on_the_command_line(
    tmp_path: Path, s3_output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--output` may name an object store, whose address is then in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_output.endpoint or "")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    Path("jobs.yaml").write_text(
        "api: {base_url: sandbox}\naccounts: [{appid: wx0000000000000001}]\n"
        "jobs: [{datasets: interface_summary, begin_date: -3d}]\n"
    )
    assert invoke(["run", "--output", str(s3_output.path)]) == Exit.DONE
    assert any(name.startswith(f"{DAILY}/") for name in all_names(open_tree(s3_output), ""))
    assert not Path("output").exists()
    assert invoke(["run", "--output", "s3://key:secret@bucket"]) == Exit.USAGE
    assert invoke(["run", "--output", "ftp://bucket"]) == Exit.USAGE


@pytest.mark.parametrize("times", [1, *by_night([50])])
def test_two_runs_at_once_both_finish(
    tmp_path: Path,
    s3_output: Output,
    duck: duckdb.DuckDBPyConnection,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
) -> None:
    """One waits for the lease of the other one, and finds everything covered."""
    for name, value in {**CREDENTIALS, "TMPDIR": str(tmp_path)}.items():
        monkeypatch.setitem(ENVIRONMENT, name, value)
    with sandbox_process() as address:
        for number in range(times):
            output = replace(s3_output, path=f"{s3_output.path}/{number}")
            manifest = write_manifest(tmp_path, output, address, 3)
            runs = [start(manifest) for _ in range(2)]
            assert [run.wait() for run in runs] == [Exit.DONE, Exit.DONE]
            assert_exact(duck, output, tmp_path / str(number), 3)


@pytest.mark.slow
@pytest.mark.parametrize(("times", "processes"), [(2, 1), (40, 1), (20, 2)])
def test_kills_in_a_row_then_one_run_is_exact(
    tmp_path: Path,
    s3_output: Output,
    duck: duckdb.DuckDBPyConnection,
    monkeypatch: pytest.MonkeyPatch,
    *,
    times: int,
    processes: int,
) -> None:
    """`kill -9` at random moments, also while the next run recovers: nothing lost or doubled."""
    for name, value in {**CREDENTIALS, "TMPDIR": str(tmp_path)}.items():
        monkeypatch.setitem(ENVIRONMENT, name, value)
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    with sandbox_process("--latency", "0.01") as address:
        manifest = write_manifest(tmp_path, s3_output, address, 6, rate=20, buckets=processes)
        for _ in range(times):
            run = start(manifest, processes)
            # The run before was killed as well, and its lease lasts for two more seconds.
            ends_within(run, dice.uniform(1.0, 4.5))
            run.send_signal(signal.SIGKILL)
            run.wait()
            # A run that was killed at once leaves no output.
            if all_names(open_tree(s3_output), ""):
                assert verify(manifest) == Exit.DONE, f"seed {seed}"
        assert start(manifest, processes).wait() == Exit.DONE
    assert not list(tmp_path.glob("harvester-*")), "answers were left on this machine"
    assert_exact(duck, s3_output, tmp_path / "copy", 6, f"seed {seed}")


def verify(manifest: Path) -> int:
    """Check every file of the output, data included; returns the exit code."""
    command = [*PYTHON, "harvester", "verify", str(manifest)]
    return subprocess.run(command, check=False, capture_output=True, env=ENVIRONMENT).returncode


@pytest.mark.long
@pytest.mark.parametrize("step", [40, *by_night([1])])
def test_a_run_that_dies_at_any_change_of_the_store_is_mended_by_the_next(
    tmp_path: Path, s3_output: Output, duck: duckdb.DuckDBPyConnection, step: int
) -> None:
    """A life dies before its Nth put, copy or removal; the next one while it recovers."""
    count, died = 2, True
    told = {**CREDENTIALS, "S3_ADDRESS": s3_output.endpoint or "", "TMPDIR": str(tmp_path)}
    with lives(**told) as die:
        while died:
            output = replace(s3_output, path=f"{s3_output.path}/{count}")
            died = die(str(output.path), count)
            die(str(output.path), 4 + count % 4)
            lab = kill_at.harness_for(tmp_path / str(count), output)
            assert lab.run().exit_code is Exit.DONE
            folder = download(lab.tree.store, tmp_path / f"copy-{count}")
            for dataset in BOTH:
                truth = expected(dataset, lab.appids, days_between(lab.begin, "2026-04-02"))
                assert published_rows(duck, folder, dataset) == truth
            assert all_names(lab.tree, layout.RAW) == []
            count += step
    assert count > 40


def test_a_command_that_reads_leaves_no_copy_behind(tmp_path: Path, s3_output: Output) -> None:
    """Its downloads are gone at its end, with the folder that they were in."""
    lab = RunHarness(tmp_path, output=s3_output, accounts=1, datasets=(DAILY,))
    assert lab.run().exit_code is Exit.DONE
    manifest = write_manifest(tmp_path, s3_output, "sandbox", 1)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = subprocess.run(
        [*PYTHON, "harvester", "verify", str(manifest)],
        env={**ENVIRONMENT, **os.environ, "TMPDIR": str(temporary)},
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert list(temporary.iterdir()) == []
