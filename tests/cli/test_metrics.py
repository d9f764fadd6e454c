"""Metrics of runs and statuses: what is in them, when they are written, and where they are not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harvester.cli.commands.run import StoppableRun, _metrics_file
from harvester.cli.output.metrics import HELP, of_run
from harvester.core import calendar
from harvester.core.config.settings import Output
from harvester.core.exit_codes import Exit, Outcome
from harvester.runs.clock import CheckedClock
from harvester.runs.record.record import Record
from harvester.runs.run_log import new_run_log
from harvester.runs.user_files import UserFile
from harvester.storage import locks
from harvester.storage.layout import open_tree
from harvester.testing import sandbox
from harvester.verbs.run import RunArguments
from tests.cli.test_summary_file import REFUSED, contents, make_places
from tests.support.claims import claim
from tests.support.cli import CommandLine
from tests.support.doc_pages import ROOT
from tests.support.run_harness import DAILY, appid

LABELS = {"dataset", "state", "outcome", "cause"}
REQUIRED = os.environ.get("HARVESTER_REQUIRE_PROMTOOL", "") not in {"", "0"}
PROMTOOL = shutil.which("promtool") or ""
needs_promtool = pytest.mark.skipif(not PROMTOOL and not REQUIRED, reason="promtool is not there")


def series(path: Path | str) -> dict[str, float]:
    """Return the series of a file, without the part of their names that all have."""
    found = {}
    for family in text_string_to_metric_families(Path(path).read_text("utf-8")):
        assert family.type == "gauge"
        for sample in family.samples:
            assert {*sample.labels} <= LABELS
            labels = ",".join(sample.labels.values())
            found[f"{sample.name.removeprefix('harvester_')} {labels}".strip()] = sample.value
    return found


def test_a_run_writes_what_it_found(here: CommandLine) -> None:
    """Coverage from the files, and its own figures."""
    begun = time.time()
    assert here("run", "--metrics", "m.prom").code == Exit.DONE
    found, record = series("m.prom"), here.record()
    assert found[f"coverage {DAILY},wanted"] == found[f"coverage {DAILY},done"] == 4
    assert found[f"coverage {DAILY},missing"] == found[f"backfill {DAILY}"] == 0
    newest = calendar.instant(calendar.parse_day("2026-03-02"))
    assert found[f"newest_complete_day_timestamp_seconds {DAILY}"] == newest
    assert found["last_run_timestamp_seconds"] == pytest.approx(begun, abs=60)
    for name in ("requests", "retries", "rows", "exit_code"):
        assert found[f"last_run_{name}"] == record[name]
    assert {name: found[f"last_run_outcome {name}"] for name in Outcome} == {
        name: float(name == "complete") for name in Outcome
    }
    assert "last_run_retry_timestamp_seconds" not in found
    assert found[f"quota_spent_accounts {DAILY}"] == 0
    assert 0 < found[f"quota_left_calls {DAILY}"] < 10_000


def test_every_cause_has_a_series(here: CommandLine) -> None:
    """Otherwise an alert would end because a series is gone, and never begin."""
    here.world.permit(appid(2), [])
    assert here("run", "--metrics", "m.prom").code == Exit.INCOMPLETE
    found = series("m.prom")
    assert (found["attention refused"], found["attention_new"]) == (1, 1)
    for cause in ("failed", "quarantined", "shared_token", "clock", "expectation"):
        assert found[f"attention {cause}"] == 0
    # The refused account holds up neither the newest complete day nor the run after.
    assert f"newest_complete_day_timestamp_seconds {DAILY}" in found
    here("run", "--metrics", "m.prom")
    assert (series("m.prom")["attention refused"], series("m.prom")["attention_new"]) == (1, 0)


def test_the_status_of_an_output_alone_has_the_metrics_too(here: CommandLine) -> None:
    """So has one with a manifest: states of accounts, and the last finished run."""
    here("run", "--metrics", "m.prom")
    here("status", "--metrics", "s.prom")
    assert here("status", "--output", "out", "--metrics", "o.prom").code == Exit.DONE
    of_run, of_status = series("m.prom"), series("s.prom")
    assert series("o.prom") == of_status
    states = {"complete": 2, "pending": 0, "backfilling": 0, "refused": 0, "paused": 0}
    assert {state: of_status[f"accounts {state}"] for state in states} == states
    for name in of_run.keys() - {"last_run_retries", "last_run_duration_seconds"}:
        assert of_status[name] == of_run[name], name


def test_the_last_finished_run_stays_behind_those_that_are_under_way(here: CommandLine) -> None:
    """Those that run now, or were killed, end no run."""
    here("run")
    [first] = Path("out/_harvester/runs").glob("*.json")
    record = json.loads(first.read_bytes())
    for number in range(6):
        running = {**record, "state": "running", "outcome": None, "exit_code": None}
        name = f"20400101T00000{number}Z-{'b' * 6}"
        first.with_name(f"{name}.json").write_text(json.dumps({**running, "run_id": name}))
    here("status", "--metrics", "s.prom")
    assert series("s.prom")["last_run_requests"] == record["requests"]


@pytest.mark.parametrize(
    ("codes", "worst"),
    [((0, 0, 0), 0), ((75, 0, 0), 75), ((0, 0, 3), 3), ((0, 1, 75), 1), ((3, 76, 75), 76)],
)
def test_the_worst_shard_of_a_tick_counts(
    here: CommandLine, codes: tuple[int, ...], worst: int
) -> None:
    """Other figures are from the shard that ended last. Other numbers of shards are over."""
    here("run")
    [only] = Path("out/_harvester/runs").glob("*.json")
    record = json.loads(only.read_bytes())

    def leave(name: str, **members: object) -> None:
        only.with_name(f"{name}.json").write_text(json.dumps({**record, **members, "run_id": name}))

    leave(f"20390101T000000Z-{'a' * 6}", shard="1/2", exit_code=1, outcome="bug")
    for number, code in enumerate(codes, start=1):
        end = {"exit_code": code, "outcome": str(Exit(code).outcome), "requests": number}
        moment = f"2040-01-02T00:00:0{9 - number}Z"
        shard = f"{number}/{len(codes)}"
        leave(f"20400101T00000{number}Z-{'b' * 6}", shard=shard, ended_at=moment, **end)
    here("status", "--metrics", "s.prom")
    found = series("s.prom")
    assert (found["last_run_exit_code"], found["last_run_requests"]) == (worst, 1)
    assert found[f"last_run_outcome {Exit(worst).outcome}"] == 1


@pytest.mark.parametrize("member", ["started_at", "ended_at", "retry_at"])
def test_a_record_with_a_text_that_is_no_time_is_passed_over(
    here: CommandLine, member: str
) -> None:
    """It is damaged, or was planted."""
    here("run")
    [good] = Path("out/_harvester/runs").glob("*.json")
    record = {**json.loads(good.read_bytes()), member: "soon", "requests": 77}
    good.with_name(f"20400101T000000Z-{'a' * 6}.json").write_text(json.dumps(record))
    assert here("status", "--metrics", "s.prom").code == Exit.DONE
    assert 0 < series("s.prom")["last_run_requests"] < 77


def test_the_metrics_of_the_run_before_stay_until_the_end(tmp_path: Path) -> None:
    """Half of a run would look like a loss, and a killed one must not look like a finished one."""
    file = tmp_path / "m.prom"
    file.write_text("old")
    metrics = UserFile("--metrics", file, lambda done, _: b"new" if done.finished else None)
    metrics.begin(Record(), {})
    assert (file.read_text(), [*tmp_path.iterdir()]) == ("old", [file])
    metrics.write(Record(finished=True), {})
    assert (file.read_text(), [*tmp_path.iterdir()]) == ("new", [file])


def test_a_run_writes_nothing_before_its_end(tmp_path: Path) -> None:
    """Whatever is asked for, and whenever."""
    execution = StoppableRun(RunArguments(manifest=tmp_path / "jobs.yaml"))
    file = _metrics_file(tmp_path / "m.prom", lambda: execution)
    assert file.text(execution.record, {}) is None


def test_a_run_that_a_signal_is_about_to_kill_writes_them(tmp_path: Path) -> None:
    """As it does its record."""
    path = tmp_path / "m.prom"
    file = UserFile("--metrics", path, lambda done, members: of_run(done, members, ()))
    log = new_run_log(tmp_path / "jobs.yaml", CheckedClock(), [file])
    log.final_write(1.0)
    found = series(file.path)
    assert found["last_run_outcome stopped"] == 1
    assert found["last_run_exit_code"] == Exit.SIGTERM


def test_a_fault_of_the_metrics_does_not_cost_the_record(
    here: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a bug, which ends the command; the record of the run is written all the same."""

    def fail(*_: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr("harvester.cli.output.metrics.of_run", fail)
    with suppress(ZeroDivisionError):
        here("run", "--metrics", "m.prom")
    [record] = [
        json.loads(each.read_bytes()) for each in Path("out/_harvester/runs").glob("*.json")
    ]
    assert (record["state"], record["rows"] > 0) == ("finished", True)


def test_a_run_that_is_refused_writes_its_outcome(here: CommandLine) -> None:
    """It has read no file, so that it has no series of a dataset."""
    here("run", "--metrics", "m.prom")
    here.manifest.write_text("version: 1\nnonsense: 2\n")
    assert here("run", "--metrics", "m.prom").code == Exit.USAGE
    found = series("m.prom")
    assert found["last_run_outcome invalid"] == 1
    assert not [name for name in found if DAILY in name]


def test_a_run_that_has_read_no_file_ends_no_alert(here: CommandLine) -> None:
    """One that is refused or finds the buckets held tells nothing of trouble that stands."""
    here.world.permit(appid(2), [])
    assert here("run", "--metrics", "m.prom").code == Exit.INCOMPLETE
    assert series("m.prom")["attention refused"] == 1
    with locks.hold(open_tree(Output(here.output)), [0], claim("other")):
        assert here("run", "--metrics", "m.prom").code == Exit.ATTENTION
    # A bucket that is held for months is a trouble of its own.
    busy = series("m.prom")
    assert (busy.pop("attention locked"), busy.pop("attention_new")) == (1, 1)
    here.manifest.write_text("version: 1\nnonsense: 2\n")
    assert here("run", "--metrics", "m.prom").code == Exit.USAGE
    for found in (busy, series("m.prom")):
        assert not [name for name in found if name.startswith(("attention", "accounts"))]


def test_a_run_that_has_nothing_to_ask_ends_the_alerts(here: CommandLine) -> None:
    """With all accounts paused nothing needs a person."""
    here.world.permit(appid(2), [])
    assert here("run", "--metrics", "m.prom").code == Exit.INCOMPLETE
    text = here.manifest.read_text()
    here.manifest.write_text(re.sub(r"(appid: \w+)", r"\1, paused: gone", text))
    assert here("run", "--metrics", "m.prom").code == Exit.DONE
    found = series("m.prom")
    assert (found["attention refused"], found["accounts paused"]) == (0, 2)


def test_everyone_may_read_the_file(here: CommandLine) -> None:
    """node_exporter is another user, whatever the umask of the harvest."""
    before = os.umask(0o077)
    try:
        assert here("run", "--metrics", "m.prom", "--summary", "s.json").code == Exit.DONE
        assert here("status", "--metrics", "s.prom").code == Exit.DONE
    finally:
        os.umask(before)
    modes = [Path(name).stat().st_mode & 0o777 for name in ("m.prom", "s.prom", "s.json")]
    assert modes == [0o644, 0o644, 0o600]


@pytest.mark.parametrize("verb", ["run", "status"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_must_stay_is_refused(here: CommandLine, name: str, verb: str) -> None:
    """The exit code is 2, nothing is asked, and every file is as it was."""
    folder = here.manifest.parent
    make_places(folder)
    (folder / "out/_harvester").mkdir()
    before = contents(folder)
    ended = here(verb, "--metrics", name)
    assert (ended.code, here.world.counters.requests) == (Exit.USAGE, 0)
    assert "error: --metrics " in ended.err
    assert contents(folder) == before


def test_a_folder_without_permission_is_refused_before_the_first_request(
    here: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after an hour of harvesting."""
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    Path("m.prom").write_text("old")
    assert here("run", "--metrics", "m.prom").code == Exit.USAGE
    assert (here.world.counters.requests, Path("m.prom").read_text()) == (0, "old")


def test_the_file_of_several_processes_is_about_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The children write none."""
    monkeypatch.chdir(tmp_path)
    Path("jobs.yaml").write_text(
        "version: 1\napi: {base_url: sandbox}\n"
        f"accounts: [{', '.join(f'{{appid: {appid(n)}}}' for n in range(1, 7))}]\n"
        f"jobs: [{{datasets: [{DAILY}], begin_date: 2026-05-01, end_date: 2026-05-03}}]\n"
        "output: {path: out, buckets: 4}\n"
    )
    command = [sys.executable, "-m", "harvester", "run", "--processes", "2", "--metrics", "m.prom"]
    done = subprocess.run(
        command, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )
    found = series("m.prom")
    assert done.returncode == found["last_run_exit_code"]
    assert found[f"coverage {DAILY},wanted"] == 18
    assert f"newest_complete_day_timestamp_seconds {DAILY}" in found
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jobs.yaml", "m.prom", "out"]


def test_only_the_option_loads_the_package(tmp_path: Path) -> None:
    """A plain run and every help do without."""
    with sandbox() as wechat:
        (tmp_path / "jobs.yaml").write_text(json.dumps(wechat.manifest([DAILY])))
        code = (
            "import sys\nfrom harvester.cli import invoke\n"
            "for words in (['--help'], ['run', '--help'], ['run'], ['status']):\n"
            "    invoke(words)\nassert 'prometheus_client' not in sys.modules\n"
            "invoke(['status', '--metrics', 'm.prom'])\nassert 'prometheus_client' in sys.modules\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.prom").exists()


def test_the_page_lists_every_metric() -> None:
    """With its labels, as far as the names of a test have them."""
    page = (ROOT / "docs/metrics.md").read_text("utf-8")
    listed = re.findall(r"^\| `harvester_(\w+)` \| (.*?) \|", page, re.MULTILINE)
    assert {name for name, _ in listed} == {*HELP}
    assert {*re.findall(r"`(\w+)`", " ".join(labels for _, labels in listed))} <= LABELS


@needs_promtool
def test_promtool_finds_nothing_to_say(here: CommandLine) -> None:
    """Names, units, helps and types are as Prometheus wants them."""
    here("run", "--metrics", "m.prom")
    here("status", "--metrics", "s.prom")
    for name in ("m.prom", "s.prom"):
        done = subprocess.run(
            [PROMTOOL, "check", "metrics"],
            input=Path(name).read_bytes(),
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, b"")
