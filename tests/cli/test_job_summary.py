"""The summary of a run on a job's page, in a file and in a pod, and its annotations."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harvester.catalogue.error_codes import DATA_RULES
from harvester.cli import invoke
from harvester.cli.commands.run import StoppableRun
from harvester.cli.output.attention_lines import annotations_of_run
from harvester.cli.output.markdown_summary import MAX_BYTES, MAX_NAMED, run_text
from harvester.cli.output.termination_message import MAX_BYTES as MAX_MESSAGE
from harvester.cli.output.workflow_commands import MAX_ANNOTATIONS, annotation_commands
from harvester.core.calendar import parse_day, utc_text
from harvester.core.errors import HarvesterError, ProcessDied, StoreError
from harvester.core.exit_codes import Exit
from harvester.runs.record.account_report import AccountSummary, DayCounts
from harvester.runs.record.attention import AccountLabel, Attention
from harvester.runs.record.members import ShardOutcome
from harvester.runs.record.record import Record
from harvester.scheduling.listener import AbandonedDays
from harvester.storage import locks
from harvester.testing import Sandbox, sandbox
from harvester.verbs.run import RunArguments
from tests.cli.test_workflow_commands import commands_in
from tests.support.claims import claim
from tests.support.hostile_texts import HOSTILE
from tests.support.markdown_pages import texts_shown
from tests.support.output_helpers import tree_at
from tests.support.run_harness import newest_days

DATASETS = ["interface_summary", "user_summary"]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a step's summary on a GitHub runner; an earlier command has written to it."""
    file = tmp_path / "page.md"
    file.write_text("before\n\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    return file


class Stage:
    """Commands on a small manifest, against the emulator."""

    def __init__(self, folder: Path, wechat: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        self.wechat, self.file, self._capsys = wechat, folder / "jobs.yaml", capsys
        self.manifest: dict[str, Any] = wechat.manifest(
            DATASETS, output=str(folder / "output"), **newest_days(5)
        )

    def __call__(self, *options: str) -> int:
        """Run, and keep what was printed."""
        self.file.write_text(json.dumps(self.manifest))
        self._capsys.readouterr()
        code = invoke(["run", str(self.file), *options])
        self.printed = self._capsys.readouterr().err
        return code


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    """Four accounts of which nothing was harvested yet."""
    with sandbox(accounts=4) as wechat:
        yield Stage(tmp_path, wechat, capsys)


def cells(markdown: str) -> list[list[str]]:
    """Return the rows of all tables, as they are read on the page."""
    rows: list[list[str]] = []
    for line in markdown.splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            texts = (line[2:-2]).split(" | ")
            rows.append(["".join(texts_shown(f"x{text}"))[1:] for text in texts])
    return rows


def test_a_run_leaves_a_summary_on_the_page(run: Stage, page: Path) -> None:
    """Outcome, coverage, who needs what, and when to run again; earlier text stays."""
    refused = run.wechat.accounts[0]
    run.manifest["accounts"][0]["name"] = "[Acme](http://x.test) | @user <b>"
    run.wechat.fail(refused, 48001)
    run.wechat.fail(run.wechat.accounts[1], 45009)
    assert run() == Exit.ATTENTION
    text = page.read_text("utf-8")
    assert text.startswith("before\n\n")
    assert "\n## harvester run: unfinished (76): a later run can obtain more\n" in text
    assert "Reasons: quota, refused." in text
    assert re.search(r"from 20\S+ 16:05 UTC \(20\S+ 00:05 in Beijing\) on", text)
    assert "### Needs a person: 1, 1 new\n" in text
    texts_shown(text)
    table = {row[0]: row[1:] for row in cells(text)}
    assert table["interface_summary"][:4] == ["20", "10", "10", table["interface_summary"][3]]
    who, datasets, days, what = table["new"][1:]
    assert table["new"][0] == "refused (48001)"
    assert who == f"{refused} " + r"[Acme\x5d(http://x.test) | @user \x3cb>"
    assert (datasets, days) == ("interface_summary, user_summary", "10")
    assert "Verify the account" in what


def test_the_same_text_goes_to_a_file(run: Stage, page: Path) -> None:
    """As elsewhere, where no runner shows a page; it replaces an earlier one."""
    file = page.with_name("summary.md")
    file.write_text("of an earlier run")
    assert run("--summary-markdown", str(file)) == Exit.DONE
    text = file.read_text("utf-8")
    assert text.startswith("## harvester run: complete (0): everything wanted is covered\n")
    assert text in page.read_text("utf-8")


def test_a_step_that_runs_again_has_a_summary_of_each_run(run: Stage, page: Path) -> None:
    """In their order, whatever else the step has written meanwhile."""
    run("--accounts", run.wechat.accounts[0])
    with page.open("a") as file:
        file.write("between\n")
    run.wechat.fail(run.wechat.accounts[0], 48001, dataset="user_summary")
    run("--accounts", run.wechat.accounts[0], "--refetch", "all")
    first, _, second = page.read_text().partition("between\n")
    assert first.startswith("before\n\n## harvester run: complete (0)")
    assert second.startswith("## harvester run: partial (3)")


@pytest.mark.long
def test_several_processes_leave_one_summary(run: Stage, page: Path) -> None:
    """The head writes it, of all shards."""
    run.manifest["output"] = {"path": run.manifest["output"], "buckets": 2}
    assert run("--processes", "2") == Exit.DONE
    text = page.read_text("utf-8")
    assert text.count("harvester run:") == 1
    assert cells(text)[1][1:3] == ["20", "20"]
    # The hour in which a day gets ready may come in between.
    assert cells(text)[1][5] in {run.manifest["jobs"][0]["end_date"], newest_days(1)["end_date"]}


def test_a_mistake_is_on_the_page(run: Stage, page: Path) -> None:
    """Nothing was requested, and the reader of the page sees why."""
    run.manifest["account"] = "<script>|evil"
    assert run() == Exit.USAGE
    text = page.read_text("utf-8")
    assert "run: invalid (2): a mistake in the manifest or the options" in text
    assert "unknown key" in "".join(texts_shown(text))


def test_a_busy_output_is_on_the_page(run: Stage, page: Path) -> None:
    """It says who holds it, and from when on another run makes sense."""
    assert run() == Exit.DONE
    with locks.hold(tree_at(page.parent / "output"), [0], claim("other", utc_text(time.time()))):
        assert run() == Exit.AGAIN
    text = page.read_text("utf-8")
    assert "run: unfinished (75): a later run can obtain more" in text
    assert "Reasons: locked." in text
    assert "Run again from " in text
    assert "another run" in "".join(texts_shown(text))
    assert [line.split()[0] for line in commands_in(run.printed)] == ["::warning"]


def test_a_run_that_is_killed_by_a_signal_leaves_a_summary(run: Stage, page: Path) -> None:
    """It is the last thing that it does."""
    StoppableRun(RunArguments(manifest=run.file)).final_write()
    assert "run: stopped (143): what was harvested is safe" in page.read_text("utf-8")


def test_a_page_that_cannot_be_written_is_a_warning(
    run: Stage, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends as it would without a runner."""
    for place in (page.parent, page.parent / "none/page.md"):
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place))
        assert run() == Exit.DONE
        assert "the step has no summary: GITHUB_STEP_SUMMARY: " in run.printed


def test_without_a_runner_nothing_is_written(
    run: Stage, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the variables hold."""
    monkeypatch.delenv("GITHUB_ACTIONS")
    assert run() == Exit.DONE
    assert page.read_text() == "before\n\n"


# A pod


@pytest.fixture
def message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the termination message of a container."""
    file = tmp_path / "termination-log"
    file.touch()
    monkeypatch.setenv("TERMINATION_LOG_PATH", str(file))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    return file


def test_a_container_leaves_the_first_lines(run: Stage, message: Path) -> None:
    """Outcome, reasons, when to run again, and what needs a person."""
    run.wechat.fail(run.wechat.accounts[0], 48001)
    run.wechat.fail(run.wechat.accounts[1], 45009)
    run()
    text = message.read_text("utf-8")
    for words in ("unfinished (76)", "Reasons: quota, refused", "16:05 UTC", "refused (48001)"):
        assert words in text


def test_elsewhere_no_message_is_left(
    run: Stage, message: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither outside of Kubernetes nor where the file is not there."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    run()
    assert message.read_text() == ""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    message.unlink()
    assert run() == Exit.DONE
    assert not message.exists()


# Sizes


def label(number: int, name: str = "") -> AccountLabel:
    """Return an account by its number."""
    return AccountLabel(f"wx{number:016x}", name)


def item(cause: str, *accounts: AccountLabel, **members: Any) -> Attention:
    """Return an item of attention for some accounts."""
    key = f"{cause}/{'/'.join(each.appid for each in accounts)}/{members.get('errcode')}"
    return Attention(key, cause, "Do something.", accounts, ("interface_summary",), **members)


def row(number: int, missing: int) -> AccountSummary:
    """Return the days that an account lacks."""
    days = DayCounts(wanted=missing, missing=missing)
    return AccountSummary(label(number).appid, "interface_summary", days, 0, 0)


def record(*attention: Attention, **members: Any) -> Record:
    """Return the record of a run that has ended."""
    return Record(run_id="r", finished=True, attention=attention, **members)


def test_the_worst_accounts_are_named_and_the_others_counted() -> None:
    """Those with the most days of a cause, new ones first."""
    old = [item("refused", label(number), errcode=48001, new=False) for number in range(100)]
    new = [item("failed", label(number)) for number in range(100, 110)]
    rows = tuple(row(number, missing=1 + number) for number in range(110))
    done = record(*new, *old, accounts=rows)
    first, second = cells(run_text(done).decode())[1:]
    assert first[:2] == ["new", "failed"]
    named = [re.findall(r"wx[0-9a-f]{16}", line[2]) for line in (first, second)]
    assert len(named[0]) == 10
    assert named[1] == [label(number).appid for number in range(99, 59, -1)]
    assert second[2].endswith("60 more accounts")
    assert second[4] == f"{sum(range(1, 101)):,}"


def test_a_summary_has_a_greatest_size() -> None:
    """Thousands of broken accounts with long names, and causes that all differ."""
    everything = [
        item("refused", label(number, HOSTILE[number % len(HOSTILE)] * 40), errcode=number)
        for number in range(10_000)
    ]
    done = record(*everything, accounts=tuple(row(number, 5) for number in range(0, 10_000, 100)))
    text = run_text(done)
    assert len(text) <= MAX_BYTES
    assert len(cells(text.decode())) == 1 + MAX_NAMED
    assert f"and {10_000 - MAX_NAMED:,} more causes in the run record" in text.decode()
    wide = replace(done.attention[0], accounts=tuple(label(n, "|" * 5_000) for n in range(10_000)))
    advice = [replace(wide, advice="|" * 900 + str(n), key=str(n)) for n in range(60)]
    text = run_text(record(*advice))
    assert MAX_BYTES - 50_000 < len(text) <= MAX_BYTES
    texts_shown(text.decode())


def test_a_message_of_a_pod_is_cut_at_a_line(
    message: Path, run: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no character is broken."""
    for account in run.manifest["accounts"]:
        account["name"] = f"公众号{'测试' * 500}"
        run.wechat.fail(account["appid"], 48001)
    monkeypatch.setattr("harvester.cli.output.termination_message.MAX_BYTES", 500)
    run()
    assert 100 < len(message.read_bytes()) <= 500
    assert message.read_text("utf-8").endswith("|\n")
    assert MAX_MESSAGE == 4_096


def test_errors_are_told_with_what_to_do() -> None:
    """The one that ended the run, or those that ended shards of it."""
    away = StoreError("s3://<b>: the store is away", "wait, or look at *it*")
    for done in (record(failed=away), record(shards=[shard_of(away)])):
        text = run_text(done).decode()
        assert "Reasons: store" in text
        shown = "".join(texts_shown(text))
        assert r"s3://\x3cb>: the store is away" in shown
        assert r"wait, or look at \x2ait\x2a" in shown


def test_a_summary_under_way_says_so() -> None:
    """An earlier text would pass for the result of a run that is killed."""
    text = run_text(replace(record(), finished=False)).decode()
    assert text.startswith("## harvester run: under way\n")
    assert "Run again" not in text


# Annotations


def test_a_green_morning_has_no_annotation(run: Stage, page: Path) -> None:
    """A spent quota passes by itself, and so does a day that is not ready."""
    assert run() == Exit.DONE
    assert commands_in(run.printed) == []
    run.wechat.fail(run.wechat.accounts[1], 45009)
    assert run("--refetch", "all") in {Exit.AGAIN, Exit.DONE}
    run.wechat.fail(run.wechat.accounts[2], 61503)
    run("--refetch", "all")
    assert commands_in(run.printed) == []
    assert "unfinished" in page.read_text() or "complete" in page.read_text()


def test_what_needs_a_person_is_an_error(run: Stage, page: Path) -> None:
    """One for each cause, with its accounts and days; none in lines of JSON."""
    for account in run.wechat.accounts[:2]:
        run.wechat.fail(account, 48001)
    run.wechat.fail(run.wechat.accounts[2], 40013)
    run()
    found = commands_in(run.printed)
    assert len(found) == 2
    assert all(line.startswith("::error title=harvester::new: refused (4") for line in found)
    [line] = [line for line in found if "(48001)" in line]
    first, second, *_ = run.wechat.accounts
    assert f"2 accounts ({first}, {second}), 2 datasets: 20 account-days missing: the" in line
    run("--log-format", "json")
    assert commands_in(run.printed) == []


def test_at_most_ten_of_a_level_are_shown(run: Stage, page: Path) -> None:
    """GitHub shows no more of a step; the summary counts all."""
    many = record(*(item("refused", label(number), errcode=number) for number in range(30)))
    many.out_of_lease = True
    levels = Counter(line.split()[0] for line in annotation_commands(annotations_of_run(many)))
    assert levels == {"::error": MAX_ANNOTATIONS, "::warning": 1}


def abandoned(code: int) -> AbandonedDays:
    """Return a day that was given up for an errcode."""
    day = parse_day("2026-05-01")
    rule = DATA_RULES[code]
    return AbandonedDays(label(0).appid, "interface_summary", day, day, count=1, rule=rule, why="")


def shard_of(error: HarvesterError) -> ShardOutcome:
    """Return a shard that an error ended early."""
    return ShardOutcome("1/2", Exit.AGAIN, ("died",), 0, 0, error=error)


@pytest.mark.parametrize(
    ("members", "levels"),
    [
        pytest.param({"shards": [shard_of(ProcessDied("killed"))]}, ["warning"], id="a process"),
        pytest.param({"out_of_lease": True}, ["warning"], id="a lease"),
        pytest.param({"out_of_time": True}, [], id="a time budget"),
        pytest.param({"abandoned": [abandoned(45009)]}, [], id="a quota"),
        pytest.param({"abandoned": [abandoned(61503)]}, [], id="a day to come"),
        pytest.param({"failed": StoreError("away")}, [], id="told by the command itself"),
        pytest.param(
            {"out_of_lease": True, "attention": (Attention("lease", "lease", "Look."),)},
            ["error"],
            id="one that stands for long",
        ),
    ],
)
def test_what_passes_by_itself_is_a_warning_if_it_ended_the_run(
    members: dict[str, Any], levels: list[str]
) -> None:
    """A daily run of a backfill meets the others each morning."""
    done = replace(record(), **members)
    assert [level for level, _ in annotations_of_run(done)] == levels
