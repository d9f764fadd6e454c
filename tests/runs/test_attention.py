"""Attention: what needs a person, from which run on, and until it is gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest

from harvester.core import errors
from harvester.core.calendar import instant, parse_day, utc_text
from harvester.core.exit_codes import Exit
from harvester.core.model import bucket_of
from harvester.core.rule import Action, Rule, Scope
from harvester.runs.attention_finder import attention_of
from harvester.runs.record.attention import Attention, FormerRun, in_order
from harvester.runs.record.record import Record
from harvester.runs.record.run_record import as_record, key_figures
from harvester.runs.run_log import locked_and_recorded, new_run_log
from harvester.scheduling.listener import AbandonedDays
from harvester.storage.empty_everywhere import EmptyEverywhere
from harvester.verbs import status
from harvester.verbs.erasure import ErasureRequest, erase_from_json
from harvester.verbs.gate import Required
from tests.runs.test_summary import troubled_lab
from tests.support.run_harness import DAILY, HOURLY, RunHarness, appid

SICK, WELL = appid(1), appid(2)
DAY = 86_400.0
NOW = instant(parse_day("2026-05-20"), 12 * 60)
REVOKED = f"refused/{SICK}/48001"
_WAIT = Rule(Action.DEFER, Scope.WINDOW, "a failure", "wait")


@pytest.fixture
def lab(tmp_path: Path) -> RunHarness:
    """Prepare three accounts and two weeks up to yesterday, at noon."""
    return RunHarness(tmp_path, begin="2026-05-06", end=None, datasets=(DAILY, HOURLY))


def keys(done: Record) -> dict[str, bool]:
    """Return the keys of the items, and whether each is new."""
    return {item.key: item.new for item in done.attention}


def test_a_refused_account_is_new_once_and_dated_until_it_is_mended(lab: RunHarness) -> None:
    """A trouble that comes back later is new again."""
    lab.sandbox.fail(SICK, 48001)
    first = lab.run()
    assert keys(first) == {REVOKED: True}
    [item] = first.attention
    assert item.accounts[0].appid == SICK
    assert (item.datasets, item.errcode) == ((DAILY, HOURLY), 48001)
    assert item.since == utc_text(first.started_at)
    assert "Verify the account" in item.advice
    lab.advance(DAY)
    second = lab.run()
    assert keys(second) == {REVOKED: False}
    assert second.attention[0].since == item.since
    lab.sandbox.heal(SICK)
    lab.advance(DAY)
    assert keys(lab.run()) == {}
    lab.sandbox.fail(SICK, 48001)
    lab.advance(DAY)
    again = lab.run()
    assert keys(again) == {REVOKED: True}
    assert again.attention[0].since == utc_text(again.started_at)


def test_the_record_names_the_account_as_the_manifest_labels_it(lab: RunHarness) -> None:
    """All items in the record, the counts beside the outcome, and JSON in the output of a step."""
    lab.sandbox.fail(SICK, 48001)
    done = lab.run()
    record = as_record(done)
    assert (record["attention_new"], record["attention_total"]) == (1, 1)
    [account] = record["attention"][0]["accounts"]
    assert set(account) == {"appid", "name", "tags", "attributes"}
    figures = key_figures(done)
    assert orjson.loads(str(figures["attention"])) == record["attention"]
    assert (figures["attention_new"], figures["attention_total"]) == (1, 1)


def test_each_kind_of_lost_days_has_its_item(tmp_path: Path) -> None:
    """A quarantined day, an account refused as a whole, a window that fails; not a spent quota."""
    done = troubled_lab(tmp_path).run()
    assert keys(done) == {
        f"failed/{appid(5)}/61500": True,
        f"quarantined/{appid(2)}/{HOURLY}": True,
        f"refused/{appid(3)}/50002": True,
    }


def test_a_busy_wechat_that_used_all_attempts_has_a_true_advice(lab: RunHarness) -> None:
    """It needs a person, who is not told that there is nothing to do."""
    lab.sandbox.fail(SICK, -1)
    [item] = lab.run().attention
    assert item.key == f"failed/{SICK}/-1"
    assert "This run or a later one asks again" in item.advice
    assert "Nothing to do" not in item.advice


def test_an_unfinished_run_that_lost_something_ends_with_76(lab: RunHarness) -> None:
    """With 75 if nothing but the quota is the matter."""
    lab.sandbox.fail(WELL, 45009)
    assert lab.run().exit_code is Exit.AGAIN
    lab.sandbox.fail(SICK, 48001)
    lab.advance(DAY)
    assert lab.run().exit_code is Exit.ATTENTION


def record_at(now: float = NOW, **members: Any) -> Record:
    """Return the record of a finished run of `jobs.yaml`."""
    times = {"started_at": now, "ended_at": now + 60, "asked_at": now + 30}
    return Record(run_id="run", manifest="/a/jobs.yaml", finished=True, **{**times, **members})


def deferred(dataset: str = DAILY) -> list[AbandonedDays]:
    """Return days that are left to a later run."""
    day = parse_day("2026-05-19")
    return [AbandonedDays(SICK, dataset, day, day, 1, _WAIT, "no answer")]


def former(before: float, *reasons: str, **members: Any) -> FormerRun:
    """Return the record of a run so many seconds before."""
    when = utc_text(NOW - before)
    given = {"manifest": "/b/jobs.yaml", "outcome": "unfinished", **members}
    return FormerRun(when, "finished", reasons=reasons, **given)


def found(lab: RunHarness, record: Record, *old: FormerRun) -> list[str]:
    """Return the keys of what a run leaves to a person, after runs of before, newest first."""
    return [item.key for item in attention_of(record, lab.manifest(), old)]


def test_a_cause_that_stands_for_a_day_needs_a_person(lab: RunHarness) -> None:
    """If each run of the same scope met it; what they did not meet was not there."""
    record = record_at(abandoned=deferred())
    hours = [former(3600.0 * each, "deferred") for each in range(1, 24)]
    assert found(lab, record, *hours) == []
    assert found(lab, record, *hours, former(DAY, "deferred")) == ["deferred"]
    assert found(lab, record, *hours, former(DAY - 60), former(DAY, "deferred")) == []
    other = former(DAY - 60, shard="2/2")
    assert found(lab, record, *hours, other, former(DAY, "deferred")) == ["deferred"]


@pytest.mark.parametrize("reason", ["quota", "time_budget"])
def test_waiting_needs_nobody(lab: RunHarness, reason: str) -> None:
    """A backfill under a quota, or in pieces of an hour, takes its days."""
    quota = _WAIT._replace(action=Action.WAIT_FOR_QUOTA)
    lost = [replace(item, rule=quota) for item in deferred()]
    record = record_at(out_of_time=reason == "time_budget", abandoned=lost)
    old = [former(DAY * each, reason) for each in range(1, 9)]
    assert found(lab, record, *old) == []


def test_an_error_that_ends_three_runs_in_a_row_needs_a_person(lab: RunHarness) -> None:
    """As a process that gets too little memory each time; twice may be chance."""
    record = record_at(failed=errors.ProcessDied("a process died", "set --processes"))
    once = former(600, "died")
    assert found(lab, record, once) == []
    assert found(lab, record, once, former(1200), once) == []
    assert found(lab, record, once, former(1200, "died")) == ["died"]
    [item] = attention_of(record, lab.manifest(), [once, former(1200, "died")])
    assert (item.advice, item.since) == ("set --processes", utc_text(NOW - 1200))


def test_a_day_that_is_late_for_more_than_a_day_needs_a_person(lab: RunHarness) -> None:
    """The newest day may be late. The one before was to be ready a day ago, and was asked then."""
    before = former(DAY, "not_ready")
    late = _WAIT._replace(action=Action.NOT_READY)
    for day, expected in ("2026-05-19", []), ("2026-05-18", [f"not_ready/{SICK}/{DAILY}"]):
        begin = parse_day(day)
        lost = [AbandonedDays(SICK, DAILY, begin, begin, 1, late, "61503")]
        assert found(lab, record_at(abandoned=lost), before) == expected
        assert found(lab, record_at(abandoned=lost), former(3600), before) == []


def late_of(lab: RunHarness, accounts: int, asked: int) -> None:
    """Let so many of the accounts be late by a day, in two runs."""
    lab.accounts, lab.datasets = asked, (DAILY, HOURLY)
    lab.run()
    lab.advance(DAY)
    for name in lab.appids[:accounts]:
        lab.sandbox.fail(name, 61503, dataset=DAILY)
    lab.run()
    lab.advance(DAY)


@pytest.mark.parametrize(("late", "asked"), [(9, 9), (5, 9)])
def test_a_dataset_that_is_late_for_most_accounts_is_one_item(
    lab: RunHarness, late: int, asked: int
) -> None:
    """It names all of them, and stays one while they recover, so that no alert comes anew."""
    late_of(lab, late, asked)
    done = lab.run()
    assert keys(done) == {f"not_ready/{DAILY}": True}
    [item] = done.attention
    assert {each.appid for each in item.accounts} == {*lab.appids[:late]}
    assert judged(lab).attention == done.attention
    for name in lab.appids[2:late]:
        lab.sandbox.heal(name, dataset=DAILY)
    lab.advance(DAY)
    done = lab.run()
    assert keys(done) == {f"not_ready/{DAILY}": False}
    assert {each.appid for each in done.attention[0].accounts} == {*lab.appids[:2]}


@pytest.mark.parametrize(("late", "asked"), [(4, 4), (5, 10)])
def test_the_trouble_of_few_accounts_is_an_item_of_each(
    lab: RunHarness, late: int, asked: int
) -> None:
    """Fewer than five, or not more than half of those that are asked."""
    late_of(lab, late, asked)
    assert keys(lab.run()) == {f"not_ready/{name}/{DAILY}": True for name in lab.appids[:late]}


def test_windows_of_most_accounts_that_fail_alike_are_one_item(lab: RunHarness) -> None:
    """By WeChat's code. What an account may not do is its own, and mended one by one."""
    lab.accounts = 6
    for name in lab.appids:
        lab.sandbox.fail(name, 61500, dataset=DAILY)
        lab.sandbox.fail(name, 48001, dataset=HOURLY)
    refused = {f"refused/{name}/48001": True for name in lab.appids}
    assert keys(lab.run()) == {f"failed/{DAILY}/61500": True, **refused}


def test_the_shards_of_a_late_dataset_are_joined_in_a_status(lab: RunHarness) -> None:
    """Each has its accounts in an item of the same key."""
    lab.buckets, lab.datasets, lab.accounts = 2, (HOURLY,), 16
    for name in lab.appids:
        lab.sandbox.fail(name, 61503)
    for _ in range(2):
        lab.advance(DAY)
        for number in 1, 2:
            lab.run(shard=(number, 2))
    [item] = judged(lab).attention
    assert item.key == f"refused/{HOURLY}/61503"
    assert {each.appid for each in item.accounts} == {*lab.appids}


def test_by_a_wrong_clock_no_window_needs_a_person(lab: RunHarness) -> None:
    """It asks for days that are not over, which WeChat refuses; a refused account stays one."""
    day = parse_day("2026-05-25")
    lost = [
        AbandonedDays(SICK, DAILY, day, day, 1, Rule(Action.STOP, scope, "refused", "see"), "no")
        for scope in (Scope.WINDOW, Scope.ACCOUNT)
    ]
    failed, refused = f"failed/{SICK}", f"refused/{SICK}"
    assert found(lab, record_at(abandoned=lost)) == [failed, refused]
    assert found(lab, record_at(abandoned=lost, clock_apart=True)) == ["clock", refused]


@pytest.mark.parametrize(("meaning", "count"), [("again", 0), ("note", 0), ("person", 1)])
def test_days_empty_everywhere_need_a_person_from_the_third_day_on(
    lab: RunHarness, meaning: Any, count: int
) -> None:
    """Until then WeChat may fill them."""
    begin = date(2026, 5, 17)
    days = EmptyEverywhere(DAILY, begin, begin, 3, int(NOW - 3 * DAY), meaning, None)
    record = record_at(empty_everywhere=(days,))
    assert found(lab, record) == [f"empty_everywhere/{DAILY}"] * count


def test_runs_that_were_cut_short_do_not_end_a_trouble(lab: RunHarness) -> None:
    """Nor does one of other accounts, of another shard or of another manifest."""
    day = parse_day("2026-05-18")
    rule = Rule(Action.STOP, Scope.ACCOUNT, "revoked", "renew")
    record = record_at(abandoned=[AbandonedDays(SICK, DAILY, day, day, 1, rule, "no")])
    known = former(DAY, attention=(Attention(f"refused/{SICK}", "refused", "", since="then"),))
    told_nothing = (
        former(600, "time_budget"),
        former(600, outcome="stopped"),
        former(600, shard="1/2"),
        former(600, selection={"accounts": [WELL]}),
        former(600, manifest="/b/others.yaml"),
    )
    [item] = attention_of(record, lab.manifest(), [*told_nothing, known])
    assert (item.since, item.new) == ("then", False)
    [item] = attention_of(record, lab.manifest(), [former(600), known])
    assert item.new


def test_planted_records_tell_nothing(lab: RunHarness) -> None:
    """A record is data: what does not fit in it is passed over, and no time in it is trusted."""
    lab.sandbox.fail(SICK, 48001)
    lab.run()
    [path] = (lab.root / "_harvester/runs").glob("*.json")
    for item in ("x", {"key": REVOKED}, {"key": REVOKED, "cause": 1, "advice": [], "since": {}}):
        planted = {**orjson.loads(path.read_bytes()), "attention": [item], "started_at": "soon"}
        path.with_name("20991231T000000Z-000000.json").write_bytes(orjson.dumps(planted))
        lab.advance(60)
        assert keys(lab.run()) == {REVOKED: False}


def test_a_planted_number_of_shards_ends_no_status(lab: RunHarness) -> None:
    """Python parses no number of more than 4,300 digits."""
    lab.sandbox.fail(SICK, 48001)
    lab.run()
    [path] = (lab.root / "_harvester/runs").glob("*.json")
    planted = {**orjson.loads(path.read_bytes()), "shard": f"1/{'9' * 5_000}"}
    path.with_name("20991231T000000Z-000000.json").write_bytes(orjson.dumps(planted))
    assert [item.key for item in judged(lab).attention] == [REVOKED]


@pytest.mark.parametrize("since", ["", "soon", "0000-00-00T00:00:00Z", "9" * 40])
def test_a_planted_note_of_another_run_tells_nothing(lab: RunHarness, since: str) -> None:
    """A lock's note may hold any text; the run is Busy, and nothing more."""
    record = record_at(failed=errors.Busy("locked", owner="x", since=since))
    assert found(lab, record) == []


def test_items_with_one_key_have_the_advice_of_the_first() -> None:
    """A refusal says what to do; a day that it left in quarantine adds its dataset."""
    first = Attention("shared_token/wx", "shared_token", "two credentials", datasets=("b",))
    other = replace(first, advice="look into quarantine", datasets=("a",))
    assert in_order([first, other]) == (replace(first, datasets=("a", "b")),)


def test_shards_have_one_item_for_each_key() -> None:
    """It is as old as the older one, and new only if it is new in both."""
    one = Attention("clock", "clock", "set it", since="2026-05-01T00:00:00Z", new=False)
    other = replace(one, since="2026-05-02T00:00:00Z", new=True)
    assert in_order([other, one]) == (one,)


def judged(lab: RunHarness, day: str | None = None) -> status.Status:
    """Return the status at this moment, with a gate."""
    required = Required(None if day is None else parse_day(day))
    return status.survey(lab.manifest(), lab.tree, lab.now(), required)


def test_a_status_and_its_gate_have_what_runs_left_and_the_files_still_lack(
    lab: RunHarness,
) -> None:
    """Dated as in the records; nothing of it is left once the days are there."""
    lab.sandbox.fail(SICK, 48001)
    first = lab.run()
    seen = judged(lab)
    assert seen.attention == first.attention
    assert seen.gate is not None
    assert seen.gate.attention == first.attention
    assert seen.gate.exit_code is Exit.INCOMPLETE
    assert seen.to_dict()["attention_new"] == 1
    lab.sandbox.heal(SICK)
    lab.run()
    assert judged(lab).attention == ()


def test_the_last_run_of_one_shard_does_not_hide_what_the_others_left(lab: RunHarness) -> None:
    """A status reads back to the last run of each shard."""
    lab.buckets = 2
    own = bucket_of(SICK, lab.buckets)
    lab.sandbox.fail(SICK, 48001)
    first = lab.run(shard=(own + 1, 2))
    assert keys(first) == {REVOKED: True}
    assert keys(lab.run(shard=(2 - own, 2))) == {}
    assert judged(lab).attention == first.attention


def test_a_run_of_the_whole_manifest_ends_what_one_of_a_selection_met(lab: RunHarness) -> None:
    """Also in a status without a manifest, which knows no name of one."""
    lab.run()
    [path] = (lab.root / "_harvester/runs").glob("*.json")
    item = {"key": "clock", "cause": "clock", "advice": "set it"}
    members = {"selection": {"accounts": [SICK]}, "attention": [item]}
    record = orjson.dumps({**orjson.loads(path.read_bytes()), **members})
    path.with_name("20260519T000000Z-0.json").write_bytes(record)
    alone = replace(lab.manifest(), file=Path("kept-manifests"))
    assert status.survey(alone, lab.tree, lab.now()).attention == ()
    path.with_name("20260521T000000Z-0.json").write_bytes(record)
    assert [each.key for each in status.survey(alone, lab.tree, lab.now()).attention] == ["clock"]


@pytest.mark.parametrize("verb", ["forget", "rewrite", "verify --repair"])
def test_what_asks_for_no_day_ends_no_trouble(lab: RunHarness, verb: str) -> None:
    """Its record is one of the same manifest, and names no trouble because it met none."""
    lab.sandbox.fail(SICK, 48001)
    first = lab.run()
    lab.advance(DAY)
    log = new_run_log(lab.manifest().file, lab.clock(), verb=verb)
    with locked_and_recorded(log, lab.tree, [0], None):
        pass
    assert judged(lab).attention == first.attention
    assert keys(lab.run()) == {REVOKED: False}


def test_many_runs_of_another_manifest_hide_no_trouble(lab: RunHarness) -> None:
    """A status has the account as refused throughout, and the next run dates it as before."""
    lab.sandbox.fail(SICK, 48001)
    first = lab.run()
    [path] = (lab.root / "_harvester/runs").glob("*.json")
    members = {"manifest": "/b/others.yaml", "attention": [], "exceptions": []}
    other = orjson.dumps({**orjson.loads(path.read_bytes()), **members})
    for number in range(64):
        path.with_name(f"20260521T0000{number:02}Z-0.json").write_bytes(other)
    seen = judged(lab)
    assert seen.attention == first.attention
    assert {gap.reason for gap in seen.gaps} == {"refused"}
    lab.advance(DAY)
    assert keys(lab.run()) == {REVOKED: False}


def test_a_status_pauses_no_more_than_was_refused(lab: RunHarness) -> None:
    """The datasets that are refused, or the account if it is all that is asked of it."""
    lab.sandbox.fail(SICK, 48001, dataset=HOURLY)
    lab.sandbox.fail(WELL, 48001)
    lab.run()
    _, part, _, whole = judged(lab).pause_lines
    assert f'"datasets": ["{HOURLY}"]' in part
    assert "datasets" not in whole


def test_a_pause_for_want_of_a_token_does_not_speak_of_an_answer(lab: RunHarness) -> None:
    """As after a command of a credential that failed: WeChat was not asked."""
    lab.sandbox.fail(SICK, 48001)
    lab.run()
    [path] = (lab.root / "_harvester/runs").glob("*.json")
    record = orjson.loads(path.read_bytes())
    record["exceptions"] = [{**each, "errcode": None} for each in record["exceptions"]]
    path.write_bytes(orjson.dumps(record))
    _, line = judged(lab).pause_lines
    assert "refused on 2026-05-20: no token to use" in line


def test_a_gate_is_not_kept_by_trouble_of_other_days(lab: RunHarness) -> None:
    """Days up to the 10th are there, and what is lost is younger."""
    lab.run()
    lab.advance(DAY)
    lab.sandbox.fail(SICK, 48001)
    lab.run()
    seen = judged(lab, "2026-05-10").gate
    assert seen is not None
    assert (seen.exit_code, seen.attention) == (Exit.DONE, ())


def test_a_forgotten_account_is_in_no_item(lab: RunHarness) -> None:
    """Neither by its appid, nor by the labels of the manifest."""
    lab.sandbox.fail(SICK, 48001)
    everything = ErasureRequest(frozenset({SICK}), frozenset(lab.datasets), everything=True)
    left = erase_from_json(as_record(lab.run()), everything)
    assert SICK not in orjson.dumps(left).decode()
    assert left["attention"][0]["accounts"] == []
