"""The command line: streams, formats, options and exit codes."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harvester import __version__
from harvester.cli import app, invoke
from harvester.core.calendar import Day, parse_day, utc_text
from harvester.core.errors import UsageError
from harvester.core.exit_codes import Exit
from harvester.core.model import Window
from harvester.sandbox.data import Row, expected_rows
from harvester.storage import locks, quarantine
from harvester.verbs import arguments
from harvester.verbs.arguments import shard_of
from harvester.verbs.status import survey
from tests.support.answers import answer
from tests.support.claims import claim
from tests.support.output_helpers import tree_at
from tests.support.run_harness import DAILY, RunHarness

MANIFEST = """
version: 1
api: {base_url: sandbox}
accounts: [{appid: wx0000000000000001, tags: [a]}, {appid: wx0000000000000002}]
jobs:
  - {name: daily, datasets: [interface_summary], begin_date: 2026-03-01, end_date: 2026-03-31}
  - {name: hourly, datasets: [interface_summary_hour], begin_date: 2026-03-01, end_date: 2026-03-02}
limits: {per_token: {rate: 1000/s, burst: 100, concurrency: 8}}
output: out
"""

Command = Callable[..., int]


def live_manifest(secret: str) -> str:
    """Return the same manifest for a server, with a credential for every account."""
    live = MANIFEST.replace("api: {base_url: sandbox}", 'api: {base_url: "http://127.0.0.1:9"}')
    return live.replace("jobs:", f'defaults: {{credential: {{secret: "{secret}"}}}}\njobs:')


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A small manifest on the sandbox."""
    path = tmp_path / "jobs.yaml"
    path.write_text(MANIFEST)
    return path


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Restore logging, which a run sets up for its whole process."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    yield
    root.handlers[:] = handlers


@pytest.fixture
def run(manifest: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs a verb on the manifest; `capsys` has its output."""

    def command(verb: str, *options: str) -> int:
        capsys.readouterr()
        return invoke([verb, str(manifest), *options])

    return command


def test_a_run_ends_with_a_summary_on_stderr_and_nothing_on_stdout(
    run: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run writes nothing to stdout, which is for answers."""
    assert run("run") == Exit.DONE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "everything wanted is covered" in printed.err
    assert "for 8 windows" in printed.err


def test_plan_prints_what_a_run_would_ask_and_writes_nothing(
    run: Command, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The JSON has the documented members, before and after the run."""
    assert run("plan", "--format", "json") == Exit.DONE
    found = json.loads(capsys.readouterr().out)
    assert list(found) == [
        "requests",
        "account_days",
        "bound_seconds",
        "bound_by",
        "quota_questions",
        "calendar_days",
        "complete_on",
        "assumed",
        "datasets",
        "warnings",
        "paused",
        "price",
    ]
    assert (found["requests"], found["account_days"]) == (2 * (2 + 2), 2 * (31 + 2))
    assert [row["account_days"] for row in found["datasets"]] == [2 * 31, 2 * 2]
    assert not (manifest.parent / "out").exists()
    run("run")
    run("plan", "--format", "json")
    found = json.loads(capsys.readouterr().out)
    assert (found["requests"], found["account_days"], found["bound_by"]) == (0, 0, "nothing")
    assert (found["calendar_days"], found["quota_questions"], found["assumed"]) == (0, 0, [])


@pytest.mark.parametrize(
    ("options", "requests"),
    [
        (("--accounts", "wx0000000000000001"), 4),
        (("--accounts", "tag:a"), 4),
        (("--datasets", "interface_summary"), 4),
        (("--datasets", "*_hour"), 4),
        (("--jobs", "hourly"), 4),
        (("--begin-date", "2026-03-31"), 2),
        (("--end-date", "2026-03-01"), 4),
        (("--accounts", "wx0000000000000001,wx0000000000000002"), 8),
    ],
)
def test_a_selection_narrows_the_manifest(
    run: Command, options: tuple[str, ...], requests: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options narrow accounts, datasets, jobs and days."""
    assert run("plan", "--format", "json", *options) == Exit.DONE
    assert json.loads(capsys.readouterr().out)["requests"] == requests


def test_every_option_has_an_environment_variable(
    run: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Environment variables set the options of a plan."""
    monkeypatch.setenv("HARVESTER_ACCOUNTS", "wx0000000000000001")
    monkeypatch.setenv("HARVESTER_FORMAT", "json")
    run("plan")
    assert json.loads(capsys.readouterr().out)["requests"] == 4


def test_a_name_with_a_blank_can_stand_in_a_variable(
    run: Command,
    manifest: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Names in a variable are separated by commas alone."""
    manifest.write_text(MANIFEST.replace("tags: [a]", "name: Acme Shoes"))
    monkeypatch.setenv("HARVESTER_ACCOUNTS", "Acme Shoes")
    run("plan", "--format", "json")
    assert json.loads(capsys.readouterr().out)["requests"] == 4
    monkeypatch.setenv("HARVESTER_ACCOUNTS", "Acme Shoes, wx0000000000000002")
    run("plan", "--format", "json")
    assert json.loads(capsys.readouterr().out)["requests"] == 8


def test_status_is_a_gate_for_what_comes_after(
    run: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 75 until every wanted day is covered, then 0; `--ok-exit` makes it 0."""
    assert run("status", "--require", "ready") == Exit.AGAIN
    assert run("status", "--require", "ready", "--ok-exit", "75") == Exit.DONE
    assert run("status") == Exit.DONE
    run("run")
    assert run("status", "--require", "ready", "--format", "json") == Exit.DONE
    found = json.loads(capsys.readouterr().out)
    assert found["complete"] is True
    assert found["gaps"] == []
    assert found["runs"][0]["exit_code"] == 0
    assert found["gate"]["obtainable"] == found["gate"]["lost"] == []


def test_a_plan_of_a_shard_speaks_of_its_own_accounts(
    run: Command, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shard's plan has the warnings of its own accounts; all shards together have all of them."""
    dated = MANIFEST.replace("tags: [a]", "begin_date: 2026-03-30")
    manifest.write_text(dated.replace("output: out", "output: {path: out, buckets: 2}"))
    notes = []
    for shard in ("1/2", "2/2"):
        assert run("plan", "--shard", shard, "--format", "json") == Exit.DONE
        notes += json.loads(capsys.readouterr().out)["warnings"]
    assert sorted(notes) == [
        "daily: 1 account is limited by account dates",
        "hourly: 1 account is limited by account dates",
        "hourly: 1 account is without days of interface_summary_hour in this range",
    ]


def test_a_plan_without_a_wanted_day_says_so(
    run: Command, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The text distinguishes a plan without wanted days from one whose days are covered."""
    manifest.write_text(MANIFEST.replace("tags: [a]", "begin_date: 2026-03-30"))
    run("plan", "--accounts", "wx0000000000000001", "--jobs", "hourly")
    said = capsys.readouterr().out
    assert "no day is wanted" in said
    assert "covered" not in said


def test_the_gate_stays_open_over_midnight(tmp_path: Path) -> None:
    """A provisional answer of yesterday counts until a newer day is ready and missing."""
    lab = RunHarness(tmp_path, accounts=1, begin="2026-05-10", end=None, datasets=(DAILY,))
    lab.run()
    evening = lab.now()
    assert survey(lab.manifest(), lab.tree, evening).complete
    past_midnight = evening + 13 * 3600
    found = survey(lab.manifest(), lab.tree, past_midnight)
    assert (found.complete, found.gaps, found.datasets[0].days.missing) == (True, (), 0)
    assert found.datasets[0].days.provisional > 0
    ready_again = evening + 24 * 3600
    found = survey(lab.manifest(), lab.tree, ready_again)
    assert [gap.ranges for gap in found.gaps] == [((date(2026, 5, 20), date(2026, 5, 20)),)]
    assert [gap.reason for gap in found.gaps] == ["not_asked"]
    assert not found.complete


def test_a_day_without_a_usable_answer_closes_the_gate(tmp_path: Path) -> None:
    """A quarantined day leaves the status incomplete, unless an older answer was usable."""
    broken = True

    def source(dataset: str, appid: str, day: Day) -> list[Row]:
        rows = expected_rows(dataset, appid, day)
        if broken and day == parse_day("2026-03-02"):
            return [{**row, "callback_count": "many"} for row in rows]
        return rows

    lab = RunHarness(tmp_path, accounts=1, end="2026-03-03", datasets=(DAILY,), source=source)
    lab.run()
    found = survey(lab.manifest(), lab.tree, lab.now())
    assert (found.complete, found.gaps, found.unusable) == (False, (), 1)
    broken = False
    lab.run(refetch="quarantined")
    assert survey(lab.manifest(), lab.tree, lab.now()).complete
    broken = True
    lab.run(refetch="all")
    found = survey(lab.manifest(), lab.tree, lab.now())
    assert (found.complete, len(found.quarantined)) == (True, 1)


def test_kept_evidence_does_not_quarantine_a_final_day(tmp_path: Path) -> None:
    """Kept evidence of a day that is final is named neither by status nor by a run."""
    lab = RunHarness(tmp_path, accounts=1, datasets=(DAILY,))
    lab.run()
    day = parse_day("2026-03-02")
    window = Window(lab.appids[0], DAILY, day, day)
    quarantine.keep(lab.tree, day, "why", answer(window, []), "of-old")
    assert survey(lab.manifest(), lab.tree, lab.now()).quarantined == ()
    assert lab.run().quarantined == ()


def test_next_steps_name_the_output_that_was_given(
    run: Command, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The printed commands quote the output that was given."""
    elsewhere = manifest.parent / "else where"
    run("run", "--output", str(elsewhere))
    said = capsys.readouterr().err
    assert f"harvester status {manifest} --output '{elsewhere}'" in said
    run("status", "--output", str(elsewhere), "--begin-date", "2026-03-01")
    assert "\ncomplete\n" in capsys.readouterr().out


def test_the_run_record_stands_in_the_tree_and_where_the_user_wants_it(
    run: Command, manifest: Path
) -> None:
    """Both records are equal, and `published` names files that exist."""
    wanted = manifest.parent / "reports/summary.json"
    run("run", "--summary", str(wanted))
    [kept] = (manifest.parent / "out/_harvester/runs").glob("*.json")
    record = json.loads(wanted.read_bytes())
    assert json.loads(kept.read_bytes()) == record
    assert (record["exit_code"], record["reasons"], record["requests"]) == (0, [], 8)
    assert record["state"] == "finished"
    assert {item["dataset"] for item in record["published"]} == {
        "interface_summary",
        "interface_summary_hour",
    }
    for item in record["published"]:
        assert set(item) == {
            "op",
            "dataset",
            "ref_month",
            "path",
            "rows_before",
            "rows_after",
        }
        assert (manifest.parent / "out" / item["path"]).is_file()


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        (("--accounts", "wx0000000000000009"), ""),
        (("--shard", "1/2"), ""),
        ((), "max_requests: 1, "),
    ],
)
def test_an_old_summary_file_never_misleads(
    run: Command, manifest: Path, options: tuple[str, ...], limits: str
) -> None:
    """A run that ends before its first request replaces the summary file as well."""
    wanted = manifest.parent / "summary.json"
    wanted.write_text('{"exit_code": 0}')
    manifest.write_text(MANIFEST.replace("limits: {", f"limits: {{{limits}"))
    assert run("run", "--summary", str(wanted), *options) == Exit.USAGE
    record = json.loads(wanted.read_bytes())
    assert (record["state"], record["exit_code"], record["reasons"]) == ("finished", 2, ["usage"])
    assert record["requests"] == 0


def test_a_record_has_the_labels_of_its_run(
    run: Command, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the option or its variable, and those of the engine, which the former replace."""
    wanted = manifest.parent / "summary.json"
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "harvest")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    given = ("--label", "team=growth", "--label", "why=a, b", "--label", "SLURM_JOB_ID=x")
    assert run("run", "--summary", str(wanted), *given) == Exit.DONE
    record = json.loads(wanted.read_bytes())
    assert record["labels"] == {
        "AIRFLOW_CTX_DAG_ID": "harvest",
        "SLURM_JOB_ID": "x",
        "team": "growth",
        "why": "a, b",
    }
    assert record["shard"] is None
    assert (record["record_version"], record["schema_version"]) == (2, 1)
    assert record["harvester_version"] == __version__
    monkeypatch.setenv("HARVESTER_LABEL", "team=growth, cause=backfill")
    manifest.write_text(MANIFEST.replace("output: out", "output: {path: two, buckets: 2}"))
    assert run("run", "--summary", str(wanted), "--shard", "2/2") == Exit.DONE
    record = json.loads(wanted.read_bytes())
    assert record["labels"].items() >= {"team": "growth", "cause": "backfill"}.items()
    assert record["shard"] == "2/2"


def test_a_label_that_is_none_is_refused_before_the_first_request(
    run: Command, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written, and the summary file says so."""
    wanted = manifest.parent / "summary.json"
    assert run("run", "--summary", str(wanted), "--label", "growth") == Exit.USAGE
    assert "--label team=growth" in capsys.readouterr().err
    assert json.loads(wanted.read_bytes())["outcome"] == "invalid"
    assert not (manifest.parent / "out").exists()


def test_ok_exit_hides_no_outcome(
    run: Command, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record, the last runs and the printed line keep the true one."""
    wanted = manifest.parent / "summary.json"
    manifest.write_text(MANIFEST.replace("1000/s, burst: 100", "1/s, burst: 1"))
    options = ("--max-duration", "1s", "--ok-exit", "75", "--summary", str(wanted))
    assert run("run", *options) == Exit.DONE
    assert "unfinished: run again now" in capsys.readouterr().err
    record = json.loads(wanted.read_bytes())
    assert (record["outcome"], record["exit_code"]) == ("unfinished", 75)
    assert record["retry_at"] == record["ended_at"]
    run("status")
    assert "  unfinished, exit 75 (time_budget)  " in capsys.readouterr().out
    run("status", "--format", "json")
    [shown] = json.loads(capsys.readouterr().out)["runs"]
    assert (shown["outcome"], shown["retry_at"]) == ("unfinished", record["retry_at"])


def test_ok_exit_turns_every_code_into_0(
    run: Command, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--ok-exit` also covers codes of errors, and the error is still printed."""
    tree = tree_at(manifest.parent / "out")
    with locks.hold(tree, [0], claim("other", utc_text(time.time()))):
        assert run("run", "--ok-exit", "3,75") == Exit.DONE
    assert "another run works" in capsys.readouterr().err
    assert run("run", "--shard", "1/2", "--ok-exit", "75") == Exit.USAGE
    assert "2 shards need" in capsys.readouterr().err
    assert run("status", "--ok-exit", "7") == Exit.USAGE


@pytest.mark.parametrize("codes", ["1", "2", "75,2", "76", "3,76"])
def test_ok_exit_hides_no_mistake_and_nothing_that_needs_a_person(
    run: Command, capsys: pytest.CaptureFixture[str], codes: str
) -> None:
    """76 becomes 0 only together with 75: it is 75 and more."""
    assert run("status", "--ok-exit", codes) == Exit.USAGE
    assert "76 only together with 75" in capsys.readouterr().err
    assert run("status", "--ok-exit", "75,76,3") == Exit.DONE


@pytest.mark.parametrize("name", ["long" * 75, "closed/summary.json"])
def test_a_summary_that_cannot_be_written_is_a_usage_error(
    run: Command, manifest: Path, closed: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """It is found before the first request, and no output is made."""
    assert run("run", "--summary", str(manifest.parent / name)) == Exit.USAGE
    assert "error: --summary " in capsys.readouterr().err
    assert not (manifest.parent / "out").exists()


@pytest.mark.parametrize("name", ["long" * 75, "closed/out"])
def test_an_impossible_output_is_a_usage_error(
    run: Command, manifest: Path, closed: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """The error names the path, given by option or manifest, and is no bug report."""
    place = str(manifest.parent / name)
    assert run("run") == Exit.DONE
    capsys.readouterr()
    for options in (("run", "--output", place), ("rewrite", "--to", place), ("run",)):
        if options == ("run",):
            manifest.write_text(MANIFEST.replace("output: out", f"output: {name}"))
        assert run(*options) == Exit.USAGE
        assert capsys.readouterr().err.startswith(f"error: {place}: ")


@pytest.mark.parametrize(
    "verb",
    [("verify",), ("rewrite", "--to", "new"), ("forget", "--accounts", "wx00000000000000ff")],
)
def test_verbs_of_upkeep_refuse_a_path_without_an_output(
    run: Command, manifest: Path, capsys: pytest.CaptureFixture[str], verb: tuple[str, ...]
) -> None:
    """A mistyped path is a usage error of each verb, and nothing is created there."""
    assert run(*verb, "--output", str(manifest.parent / "outptu")) == Exit.USAGE
    assert "outptu: nothing was harvested here" in capsys.readouterr().err
    assert {path.name for path in manifest.parent.iterdir()} == {"jobs.yaml"}


def test_a_locked_output_is_told_in_the_summary_file(run: Command, manifest: Path) -> None:
    """The summary has exit code 75 and the reason ``locked``; the output gets no record."""
    wanted = manifest.parent / "summary.json"
    tree = tree_at(manifest.parent / "out")
    with locks.hold(tree, [0], claim("other", utc_text(time.time()))):
        assert run("run", "--summary", str(wanted)) == Exit.AGAIN
    record = json.loads(wanted.read_bytes())
    assert (record["exit_code"], record["reasons"]) == (75, ["locked"])
    assert tree.store.list("_harvester/runs") == []


def test_a_run_that_was_killed_is_told_from_one_that_ended(
    run: Command, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status shows a run without an exit code as under way or killed."""
    run("run")
    [path] = (manifest.parent / "out/_harvester/runs").glob("*.json")
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps(record | {"state": "running", "exit_code": None}))
    run("status")
    assert "under way, or killed" in capsys.readouterr().out


def test_a_time_budget_ends_a_run_with_75_and_the_next_goes_on(
    run: Command, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Answers within the budget are published and not asked for again."""
    manifest.write_text(MANIFEST.replace("1000/s, burst: 100", "1/s, burst: 1"))
    assert run("run", "--max-duration", "1s") == Exit.AGAIN
    assert "unfinished: run again now" in capsys.readouterr().err
    manifest.write_text(MANIFEST)
    assert run("run") == Exit.DONE
    records = sorted((manifest.parent / "out/_harvester/runs").glob("*.json"))
    first, second = (json.loads(path.read_bytes()) for path in records)
    assert first["reasons"] == ["time_budget"]
    assert first["answered"] + second["requests"] == 8


def test_a_mistake_in_the_manifest_is_exit_2_with_its_place(
    run: Command, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error has file, line and column, and nothing was requested."""
    manifest.write_text(MANIFEST.replace("datasets: [interface_summary]", "datasets: [interface]"))
    assert run("run") == Exit.USAGE
    error = capsys.readouterr().err
    assert f"{manifest}:6:30: " in error
    assert "interface" in error
    assert "nothing was requested" in error
    assert not (manifest.parent / "out").exists()


def test_a_missing_variable_is_named_before_the_first_request(
    run: Command, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The secrets of all accounts are resolved before the first request."""
    manifest.write_text(live_manifest("${NO_SUCH_{appid}}"))
    assert run("run") == Exit.USAGE
    error = capsys.readouterr().err
    assert "NO_SUCH_wx0000000000000001" in error
    assert "NO_SUCH_wx0000000000000002" in error
    assert "nothing was requested" in error
    assert run("plan") == Exit.DONE


def test_a_variable_that_all_accounts_lack_is_named_once(
    run: Command, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A variable that several accounts share gives one line with the number of the others."""
    manifest.write_text(live_manifest("${NO_SUCH}"))
    assert run("run") == Exit.USAGE
    error = capsys.readouterr().err
    assert error.count("`NO_SUCH`") == 1
    assert "the credential of wx0000000000000001 refers to" in error
    assert "not set, and so for 1 more (set it" in error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--shard", "3/2"), "is not a shard"),
        (("--shard", "1/2"), "2 shards need at least 2 buckets"),
        (("--max-duration", "soon"), "is not a duration"),
        (("--ok-exit", "7"), "is no exit code"),
        (("--accounts", "wx0000000000000009"), "wx0000000000000009"),
        (("--datasets", "interface_sumary"), "interface_summary"),
        (("--begin-date", "yesteryear"), "--begin-date `yesteryear` is not a day"),
    ],
)
def test_a_mistake_on_the_command_line_is_exit_2(
    run: Command, options: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the option and the mistake."""
    assert run("run", *options) == Exit.USAGE
    assert words in capsys.readouterr().err


def test_a_missing_manifest_gives_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the file, without a traceback."""
    assert invoke(["run", "no-such.yaml"]) == Exit.USAGE
    error = capsys.readouterr().err
    assert "no-such.yaml" in error
    assert "Traceback" not in error


def test_another_number_of_buckets_is_refused(
    run: Command, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The number of buckets is fixed when the output is made."""
    run("run")
    manifest.write_text(MANIFEST.replace("output: out", "output: {path: out, buckets: 4}"))
    assert run("run") == Exit.USAGE
    said = capsys.readouterr().err
    assert "or rewrite: harvester rewrite --buckets 4" in said


def test_datasets_and_schema_print_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Both verbs print JSON for programs."""
    assert invoke(["datasets", "getinterfacesummary", "--format", "json"]) == Exit.DONE
    [dataset] = json.loads(capsys.readouterr().out)
    assert dataset["span_days"] == 30
    assert invoke(["schema"]) == Exit.DONE
    assert json.loads(capsys.readouterr().out)["type"] == "object"
    assert invoke(["datasets"]) == Exit.DONE
    assert "interface_summary_hour" in capsys.readouterr().out


def test_every_verb_has_help_and_stands_in_the_manual() -> None:
    """Each verb has a help text and a section in docs/cli.md."""
    manual = Path("docs/cli.md").read_text()
    verbs = [name for name in app if not name.startswith("-")]
    assert verbs
    for verb in verbs:
        assert app[verb].help
        assert f"harvester {verb}" in manual


@pytest.mark.parametrize("verb", [name for name in app if not name.startswith("-")])
def test_help_describes_exit_codes_and_every_option(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The help of a verb is its docstring, and none of its options lacks a description."""
    assert invoke([verb, "--help"]) == Exit.DONE
    printed = capsys.readouterr().out
    assert "Exit codes:" in printed
    assert "Params:" not in printed
    for argument in app[verb].assemble_argument_collection(parse_docstring=True):
        assert argument.names[0] == "*" or argument.parameter.help, argument.names


def test_verify_reads_the_data_unless_it_is_left_out(
    run: Command, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A changed byte in a page is found, but not by ``--footers-only``."""
    run("run")
    [path] = (manifest.parent / "out/interface_summary_hour").glob("*/*.parquet")
    assert run("verify") == Exit.DONE
    assert "no damage found" in capsys.readouterr().out
    column = pq.read_metadata(path).row_group(0).column(4)
    raw = bytearray(path.read_bytes())
    raw[column.data_page_offset + column.total_compressed_size - 5] ^= 4
    path.write_bytes(raw)
    assert run("verify", "--footers-only") == Exit.DONE
    assert run("verify", "--format", "json") == Exit.INCOMPLETE
    assert json.loads(capsys.readouterr().out)["undamaged"] is False


def test_a_closed_pipe_prints_no_error(manifest: Path) -> None:
    """A closed pipe on stdout is no error."""
    shell = f"{sys.executable} -m harvester schema | head -1"
    ended = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", shell], check=False, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_installed_command_works() -> None:
    """The installed script `harvester` starts the command."""
    command = shutil.which("harvester", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("harvester is not installed in this environment")
    printed = subprocess.run([command, "--help"], check=True, capture_output=True, text=True)
    assert "plan" in printed.stdout


def test_durations_and_shards() -> None:
    """Durations and shards are parsed, and impossible ones refused."""
    read = partial(arguments.seconds, name="--max-duration")
    assert [read(text) for text in ("90s", "1.5h", "30h", None)] == [90, 5400, 108_000, None]
    for text in ("1d", "0s", "9" * 400 + "h", "50 m"):
        with pytest.raises(UsageError, match="--max-duration "):
            read(text)
    assert (shard_of("2/8"), shard_of(None)) == ((2, 8), (1, 1))
    with pytest.raises(UsageError):
        shard_of("9" * 5000 + "/" + "9" * 5000)


def test_a_shard_of_an_engine(
    run: Command, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--shard auto` takes the index of the engine, and the record has the shard."""
    manifest.write_text(MANIFEST.replace("output: out", "output: {path: out, buckets: 2}"))
    monkeypatch.setenv("CLOUD_RUN_TASK_INDEX", "1")
    monkeypatch.setenv("CLOUD_RUN_TASK_COUNT", "2")
    wanted = tmp_path / "summary.json"
    assert run("run", "--summary", str(wanted), "--shard", "auto") == Exit.DONE
    assert json.loads(wanted.read_bytes())["shard"] == "2/2"
    monkeypatch.delenv("CLOUD_RUN_TASK_INDEX")
    monkeypatch.setenv("HARVESTER_SHARD", "auto")
    assert run("plan") == Exit.USAGE


def test_an_empty_variable_counts_as_not_set(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty variables, as a CI system sets them, count as not set."""
    for name in (
        "MAX_DURATION",
        "SHARD",
        "IGNORE_SPENT_QUOTA",
        "REFETCH",
        "ACCOUNTS",
        "OUTPUT",
        "SUMMARY",
    ):
        monkeypatch.setenv(f"HARVESTER_{name}", "")
    assert run("run") == Exit.DONE


def test_a_shard_needs_the_secrets_of_its_own_accounts_alone(
    run: Command,
    manifest: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A shard resolves the secrets of its own accounts, because its runner may have no others."""
    live = live_manifest("${NO_SUCH_{appid}}")
    # One in each bucket.
    live = live.replace("wx0000000000000002", "wx0000000000000005")
    manifest.write_text(live.replace("output: out", "output: {path: out, buckets: 2}"))
    named = []
    for shard in ("1/2", "2/2"):
        assert run("run", "--shard", shard) == Exit.USAGE
        named.append(re.findall(r"`NO_SUCH_(\w+)`", capsys.readouterr().err))
    assert named == [["wx0000000000000001"], ["wx0000000000000005"]]


def test_a_shard_needs_the_platforms_secret_for_its_own_accounts_alone(
    run: Command,
    manifest: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A shard without accounts of the platform does not resolve the platform's secret."""
    manifest.write_text("""
api: {base_url: "http://127.0.0.1:9"}
platform: {appid: wx00000000000000ff, secret: "${NO_SUCH_PLATFORM}", verify_ticket: "${TICKET}"}
defaults: {owns_tokens: true}
accounts:
  - {appid: wx0000000000000001, credential: {secret: "${SECRET}"}}
  - {appid: wx0000000000000005, credential: {refresh_token: "${TICKET}"}}
jobs: [{datasets: [interface_summary_hour], begin_date: -5d}]
limits: {max_requests: 1}
output: {path: out, buckets: 2}
""")
    for name in ("SECRET", "TICKET"):
        monkeypatch.setenv(name, "of-no-use")
    told = []
    for shard in ("1/2", "2/2"):
        assert run("run", "--shard", shard) == Exit.USAGE
        told.append("NO_SUCH_PLATFORM" in capsys.readouterr().err)
    assert sorted(told) == [False, True]


def test_log_lines_are_objects_without_secrets(
    run: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--log-format json` prints one object a line, redacted by the handler's formatter."""
    run("run", "--log-format", "json", "--log-level", "debug")
    capsys.readouterr()
    logging.getLogger("harvester.test").warning("access_token=%s", "a" * 70)
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["message"]) == ("warning", "access_token=***")
