"""The summary at the end: what the files say, who needs attention and why, in few lines."""

from __future__ import annotations

import io
import re
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from harvester.catalogue.error_codes import rule_for
from harvester.cli.output import run_summary
from harvester.cli.output.terminal import Terminal
from harvester.core import calendar
from harvester.core.calendar import Day, parse_day
from harvester.core.exit_codes import Exit
from harvester.core.model import Refusal, RowlessElement, Window
from harvester.core.rule import Action
from harvester.manifest.resolve_credentials import CredentialReader
from harvester.planning import wanted_days
from harvester.runs import facts
from harvester.runs.clock import CheckedClock
from harvester.runs.platform_accounts import PlatformAtHand
from harvester.runs.record import run_record as recording
from harvester.runs.record.account_report import AccountSummary, DayCounts
from harvester.runs.record.notes import notes_of
from harvester.runs.record.record import Record, new_run_id
from harvester.runs.record.run_record import as_record
from harvester.runs.runtime import Project
from harvester.sandbox import Rules
from harvester.sandbox.data import Row, expected_rows
from harvester.scheduling.listener import AbandonedDays
from harvester.storage import coverage_scan, publish, raw_log
from harvester.storage.publication import QuarantinedDay
from tests.support.run_harness import BOTH, DAILY, HOURLY, RunHarness, appid

BROKEN = parse_day("2026-03-02")


def source(dataset: str, account: str, day: Day) -> list[Row]:
    """The truth, but for a value of account 2 that is no number."""
    rows = expected_rows(dataset, account, day)
    if account == appid(2) and dataset == HOURLY and day == BROKEN:
        return [{**row, "callback_count": "many"} for row in rows]
    return rows


def troubled_lab(root: Path) -> RunHarness:
    """Account 2 with a broken day, 3 refused as a whole, 4 out of quota, 5 busy for a window."""
    lab = RunHarness(root, accounts=5, end="2026-03-05", source=source)
    lab.limits = lab.one_of_each_at_a_time()
    lab.sandbox.fail(appid(3), 50002)
    lab.sandbox.fail(appid(4), 45009, dataset=HOURLY)
    lab.sandbox.fail(appid(5), 61500, dataset=DAILY)
    return lab


def test_run_ids_sort_by_time() -> None:
    """Those of two runs within a second as well: followers of the records go by them."""
    begun = 1_779_200_000.0
    moments = [begun + step / 2000 for step in range(4000)]
    names = [new_run_id(moment) for moment in moments]
    assert names == sorted(names)
    assert re.fullmatch(r"20260519T141320Z-[0-9a-f]{6}", names[0])
    assert len({new_run_id(begun) for _ in range(50)}) > 40


def rows_of(record: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """The accounts of a record by appid and dataset."""
    return {(row["appid"], row["dataset"]): row for row in record["accounts"]}


def test_the_record_tells_of_each_account_that_needs_attention(tmp_path: Path) -> None:
    """Days by state, what it cost, why, and until when; whole ones are not listed."""
    lab = troubled_lab(tmp_path)
    done = lab.run()
    rows = rows_of(as_record(done))
    assert not [key for key in rows if key[0] == appid(1) and not rows[key]["suspicious"]]
    broken = rows[appid(2), HOURLY]
    assert (broken["done"], broken["quarantined"], broken["missing"]) == (5, 1, 0)
    assert broken["reasons"] == ["quarantined"]
    assert broken["requests"] == 5
    for dataset in BOTH:
        refused = rows[appid(3), dataset]
        assert (refused["missing"], refused["reasons"]) == (5, ["refused"])
        assert refused["errcodes"] == [50002]
    waiting = rows[appid(4), HOURLY]
    assert (waiting["missing"], waiting["reasons"]) == (5, ["quota"])
    assert waiting["quota_resets_at"] == "2026-05-20T16:00:00Z"
    failed = rows[appid(5), DAILY]
    assert (failed["missing"], failed["reasons"], failed["failed"]) == (5, ["failed"], 1)
    assert failed["quota_resets_at"] is None
    assert set(done.reasons()) == {"refused", "quota", "failed", "quarantined"}
    assert done.exit_code is Exit.ATTENTION


def test_the_actions_of_a_record_are_the_documented_ones() -> None:
    """The table of exceptions names every action that a record may contain."""
    page = Path(__file__).parents[2].joinpath("docs", "run-record.md").read_text("utf-8")
    [row] = [line for line in page.splitlines() if line.startswith("| `action` |")]
    assert re.findall(r"`(\w+)`", row)[1:] == [action.value for action in Action]


def recomputed(lab: RunHarness) -> dict[tuple[str, str], tuple[int, ...]]:
    """Per account and dataset: wanted, done, empty, suspicious, provisional and quarantined."""
    want = wanted_days.wanted(lab.manifest(), lab.now())
    states = coverage_scan.read(lab.tree, want, lab.now(), lab.manifest().datasets).states
    found = {}
    for dataset, of_dataset in want.items():
        for account, wanted in of_dataset.items():
            state = states[dataset][account]
            sets = (
                wanted,
                wanted & state.covered,
                state.empty,
                state.suspicious,
                state.provisional,
                state.quarantined,
            )
            found[account, dataset] = tuple(map(calendar.count_days, sets))
    return found


def test_the_record_counts_the_days_as_the_files_have_them(tmp_path: Path) -> None:
    """Totals and accounts, counted once more from the footers."""
    lab = troubled_lab(tmp_path)
    record = as_record(lab.run())
    members = ("wanted", "done", "empty", "suspicious", "provisional", "quarantined")
    truly = recomputed(lab)
    for key, row in rows_of(record).items():
        assert tuple(row[name] for name in members) == truly[key]
    for total in record["datasets"]:
        mine = [counts for (_, name), counts in truly.items() if name == total["dataset"]]
        assert tuple(total[name] for name in members) == tuple(map(sum, zip(*mine, strict=True)))
    troubled = {
        key
        for key, (wanted, done, _, _, _, quarantined) in truly.items()
        if quarantined or wanted > done
    }
    assert rows_of(record).keys() == troubled


def test_waits_are_recorded_by_action(tmp_path: Path) -> None:
    """Seconds that refused requests waited until they were made again; retries by account."""
    lab = RunHarness(tmp_path, accounts=2, end="2026-03-03", rules=Rules(fault_rate=0.3))
    done = lab.run()
    assert set(done.waits) == {"retry"}
    assert done.waits["retry"] > 0
    assert done.retries > 0
    assert as_record(done)["waits"] == {"retry": round(done.waits["retry"], 3)}


def refused(number: int, code: int = 48001, dataset: str = DAILY) -> AbandonedDays:
    """The windows that a run gave up for one account."""
    why = Refusal(code, "api unauthorized", f"rid-{number}")
    return AbandonedDays(appid(number), dataset, 1, 30, count=30, rule=rule_for(code), why=why)


def summary_of(gone: list[AbandonedDays]) -> Record:
    """The summary of a run that gave this up."""
    accounts = tuple(
        AccountSummary(item.appid, item.dataset, DayCounts(30, 0, 30), 1, 0) for item in gone
    )
    begun = Record.begun(Path("jobs.yaml"), 1_779_200_000.0)
    return replace(begun, abandoned=gone, accounts=accounts, finished=True)


def printed(done: Record, root: Path) -> str:
    """Return the text that is printed without a terminal."""
    lab, sink = RunHarness(root), io.StringIO()
    clock = CheckedClock()
    manifest = lab.manifest()
    project = Project(
        manifest,
        manifest,
        lab.tree,
        clock,
        PlatformAtHand(clock, CredentialReader().platform),
        lambda _: (manifest, manifest),
        CredentialReader(),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "140")
        run_summary.print_summary(Terminal(file=sink), done, project)
    return sink.getvalue()


def test_ten_thousand_refused_accounts_are_few_lines(tmp_path: Path) -> None:
    """Grouped by cause, the largest first, each with its advice; the record has every one."""
    gone = [refused(number, dataset=name) for number in range(10_000) for name in BOTH]
    gone += [refused(number, 45009) for number in range(7)]
    done = summary_of(gone)
    said = printed(done, tmp_path)
    assert len(said.splitlines()) < 40
    named = f"10,000 accounts ({appid(0)}, {appid(1)}, {appid(2)} and 9,997 more)"
    assert f"{named}, 2 datasets: 600,000 days" in said
    assert "48001" in said
    assert said.index("48001") < said.index("45009")
    record = as_record(done)
    assert len(record["accounts"]) == len(record["exceptions"]) == 20_000
    assert record["left_out"] == 14


def test_more_causes_than_fit_are_counted(tmp_path: Path) -> None:
    """No screen is flooded, whatever happened."""
    done = summary_of([refused(number, 90_000 + number) for number in range(40)])
    quarantined = tuple(
        QuarantinedDay(appid(1), DAILY, date(2026, 5, 1), f"reason {n}") for n in range(5)
    )
    done = replace(done, quarantined=quarantined)
    said = printed(done, tmp_path)
    assert "and 33 more kinds in the run record" in said


def test_the_lists_of_a_record_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says how much it left out; the totals count everything."""
    monkeypatch.setattr(recording, "MAX_LISTED", 5)
    record = as_record(summary_of([refused(number) for number in range(8)]))
    assert (len(record["accounts"]), len(record["exceptions"]), record["left_out"]) == (5, 5, 6)


def test_a_time_budget_starts_nothing_new_and_the_next_run_goes_on(tmp_path: Path) -> None:
    """75 with the reason; what came is published."""
    rules = Rules(latency=0.02)
    lab = RunHarness(tmp_path, accounts=2, datasets=(HOURLY,), rules=rules)
    lab.limits = lab.one_of_each_at_a_time()
    done = lab.run(max_duration=0.3)
    assert (done.exit_code, list(done.reasons())) == (Exit.AGAIN, ["time_budget"])
    assert 0 < done.answered < 62
    assert sum(row.days.done for row in done.datasets) == done.answered
    again = lab.run()
    assert (again.exit_code, again.answered) == (Exit.DONE, 62 - done.answered)


def test_days_that_were_lost_on_the_way_are_unfinished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """75 although no request failed: the disk spoilt the answers before they were published."""
    lab = RunHarness(tmp_path, accounts=1, end="2026-03-05", datasets=(HOURLY,))
    write_group = raw_log.write_group

    def spoilt(*args: Any) -> Any:
        group = write_group(*args)
        group.path.write_bytes(group.path.read_bytes()[:100])
        return group

    with monkeypatch.context() as patch:
        patch.setattr(raw_log, "write_group", spoilt)
        done = lab.run()
    assert (done.exit_code, done.reasons()) == (Exit.AGAIN, {"incomplete": Exit.AGAIN})
    assert (done.answered, done.missing, len(done.damaged)) == (5, 5, 1)
    assert lab.run().exit_code is Exit.DONE


def test_a_budget_counts_from_the_beginning_and_publishing_may_outlast_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If everything was answered in time there is nothing to come again for."""
    lab = RunHarness(tmp_path, accounts=1, datasets=(DAILY,))
    published = publish.publish

    def late(*args: Any, **options: Any) -> Any:
        lab.advance(1000.0)
        return published(*args, **options)

    monkeypatch.setattr(publish, "publish", late)
    done = lab.run(max_duration=3600.0)
    assert (done.exit_code, done.out_of_time) == (Exit.DONE, False)
    lab = RunHarness(tmp_path / "late", accounts=1, datasets=(DAILY,))
    surveyed = coverage_scan.to_ask

    def slow(*args: Any) -> Any:
        lab.advance(3600.0)
        return surveyed(*args)

    monkeypatch.setattr(coverage_scan, "to_ask", slow)
    assert list(lab.run(max_duration=1800.0).reasons()) == ["time_budget"]


@pytest.mark.parametrize(
    ("zone", "reasons", "line"),
    [
        (
            "Europe/Berlin",
            (Action.WAIT_FOR_QUOTA,),
            "unfinished: run again from 2026-05-19 18:05 on (2026-05-20 00:05 in Beijing)",
        ),
        (
            "Asia/Shanghai",
            (Action.WAIT_FOR_QUOTA,),
            "unfinished: run again from 2026-05-20 00:05 in Beijing on",
        ),
        # Twenty seconds past 14:13 in UTC, and to the next full minute.
        (
            "UTC",
            (Action.WAIT_FOR_QUOTA, Action.DEFER),
            "unfinished: run again from 2026-05-19 14:24 on (2026-05-19 22:24 in Beijing)",
        ),
        ("UTC", (Action.STOP,), "partial: finished, but some wanted days could not be obtained"),
        ("UTC", (), "complete: everything wanted is covered"),
    ],
)
def test_the_outcome_is_one_line_with_the_time_to_run_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    zone: str,
    reasons: tuple[Action, ...],
    line: str,
) -> None:
    """In the time of the machine and in Beijing's, and never earlier than the moment."""
    gone = [
        replace(refused(number), rule=rule_for(48001)._replace(action=action))
        for number, action in enumerate(reasons)
    ]
    done = summary_of(gone)
    done.accounts = tuple(replace(row, reasons=("known",)) for row in done.accounts)
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert line in printed(done, tmp_path).splitlines()
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_stopped_run_says_to_run_again_now(tmp_path: Path) -> None:
    """The answers that came are safe."""
    done = summary_of([])
    done.take(facts.Ended(done.ended_at, stopped_by=Exit.SIGINT))
    said = printed(done, tmp_path).splitlines()
    assert "stopped: what was harvested is safe; run again now" in said


def test_oddities_name_the_account_beside_its_appid() -> None:
    """The first window that WeChat still computes, and the first element without a row."""
    done = Record.begun(Path("jobs.yaml"), 0.0)
    done.delayed = {Window(appid(1), DAILY, BROKEN, BROKEN + 1), Window(appid(2), DAILY, BROKEN, 9)}
    done.without_rows = {RowlessElement(appid(2), "article_total_detail", BROKEN, "msgid 1_2")}
    computing, rowless = notes_of(done, {appid(1): "Acme", appid(2): "城市生活"})
    assert f"still computing 2026-03-02..2026-03-03 of {appid(1)} Acme and 1 more" in computing
    assert f"msgid 1_2 of {appid(2)} 城市生活 on 2026-03-02 came" in rowless
    assert f"of {appid(1)} and" in next(notes_of(done, {}))
