"""Expectations: which day and which accounts are judged, and what an unmet one changes."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import NO_DAYS, DaySet, date_of, day_range, instant, one_day, parse_day
from harvester.core.config.expect import CompleteBy, Expect
from harvester.core.config.parsers import quiet_days
from harvester.core.config.settings import Account, Job, Manifest, Output, Pause
from harvester.core.exit_codes import Exit
from harvester.runs.record.expectations import Expectation, added, attention_of, judge
from harvester.runs.record.record import Record
from harvester.runs.record.run_record import as_record
from harvester.storage.coverage_scan import States
from harvester.verbs import status
from harvester.verbs.gate import Gate, Required
from tests.support.faulty_wechat import Late, Outage
from tests.support.run_harness import DAILY, HOURLY, RunHarness, appid

DAY = 86_400.0
BEGIN, NEWEST = parse_day("2026-04-01"), parse_day("2026-05-19")
ALL = day_range(BEGIN, NEWEST)
DATE = date_of(NEWEST)
NOON = instant(NEWEST + 1, 12 * 60)
BY_NOON = Expect(CompleteBy(12 * 60), gate="open")
WITH_ROWS = Expect(min_share_with_rows=0.5, gate="open")
ONE, TWO = appid(1), appid(2)


def having(days: DaySet = ALL, rows: DaySet | None = None) -> States:
    """Return an account that has these days, with rows unless others are named."""
    return States(no_ask_today=days, answered=days, with_rows=days if rows is None else rows)


def judged(
    states: dict[str, States],
    expect: Expect = BY_NOON,
    *lost: tuple[str, str, str],
    now: float = NOON,
    want: DaySet = ALL,
    dataset: str = DAILY,
    begin: str = "",
) -> tuple[Expectation, ...]:
    """Return the judgement of one dataset of these accounts, which all want the same days."""
    job = Job("job-1", (dataset,), tuple(states), BEGIN, None, (begin, "yesterday"))
    accounts = tuple(map(Account, states))
    place = Path("jobs.yaml"), accounts, (job,), Output(), dict(CATALOGUE)
    manifest = Manifest(*place, expect={dataset: expect})
    wanted = {dataset: dict.fromkeys(states, want)}
    return judge(manifest, wanted, {dataset: states}, {*lost}, now)


def test_the_newest_day_is_judged_once_its_time_has_come() -> None:
    """At noon of the day after; until then it is the day before."""
    states = {ONE: having(), TWO: having(ALL & ~one_day(NEWEST))}
    [found] = judged(states, now=NOON - 1)
    assert (found.day, found.accounts, found.there, found.is_met) == (
        date_of(NEWEST - 1),
        2,
        2,
        True,
    )
    [found] = judged(states)
    assert found == Expectation(
        DAILY, "complete_by", DATE, 0.95, accounts=2, there=1, gate="open", lacking=(TWO,)
    )
    assert (found.share, found.is_met, found.key) == (
        0.5,
        False,
        f"expectation/{DAILY}/complete_by",
    )


def test_no_day_is_judged_before_it_is_ready() -> None:
    """The ready hour counts if it is later than the time that is expected."""
    states = {ONE: having()}
    [found] = judged(states, Expect(CompleteBy(9 * 60)), now=NOON - 2 * 3600 - 1)
    assert found.day == date_of(NEWEST - 1)
    [found] = judged(states, Expect(CompleteBy(9 * 60)), now=NOON - 2 * 3600)
    assert found.day == DATE


def test_rows_alone_are_judged_at_noon() -> None:
    """An expectation without a time has that one."""
    states = {ONE: having(rows=ALL & ~one_day(NEWEST))}
    [before], [found] = judged(states, WITH_ROWS, now=NOON - 1), judged(states, WITH_ROWS)
    assert (before.day, before.is_met) == (date_of(NEWEST - 1), True)
    assert (found.day, found.accounts, found.there) == (DATE, 1, 0)
    assert (found.kind, found.is_met, found.lacking) == ("min_share_with_rows", False, ())


def test_nothing_is_expected_of_a_quiet_day() -> None:
    """No older day stands in for it."""
    quiet = (quiet_days("2026-05-18..2026-05-19"),)
    states = {ONE: having(NO_DAYS), TWO: having(rows=NO_DAYS)}
    assert judged(states, replace(BY_NOON, min_share_with_rows=1.0, quiet=quiet)) == ()
    later = NOON + DAY
    assert judged(states, replace(BY_NOON, quiet=quiet), now=later, want=ALL | ALL << 1)


def test_a_period_is_quiet_if_all_of_its_days_are() -> None:
    """A week is due on the day after its Sunday."""
    week, monday = "upstream_msg_week", parse_day("2026-05-11")
    mondays = sum(one_day(monday - 7 * back) for back in range(6))
    states = {ONE: having(mondays)}
    due = instant(monday + 7, 12 * 60)
    [before] = judged(states, now=due - 1, want=mondays, dataset=week)
    [found] = judged(states, now=due, want=mondays, dataset=week)
    assert (before.day, found.day) == (date_of(monday - 7), date_of(monday))
    for last, is_quiet in (("2026-05-16", False), ("2026-05-17", True)):
        expect = replace(BY_NOON, quiet=(quiet_days(f"2026-05-11..{last}"),))
        assert (judged(states, expect, now=due, want=mondays, dataset=week) == ()) is is_quiet


@pytest.mark.parametrize(
    "fresh",
    [
        having(NO_DAYS),
        having(day_range(NEWEST - 20, NEWEST - 1)),
        having(ALL & ~one_day(BEGIN) & ~one_day(NEWEST)),
    ],
    ids=["nothing yet", "years to go", "one day to go"],
)
def test_an_account_in_its_first_backfill_alarms_nobody(fresh: States) -> None:
    """Older days are missing than the oldest that is there; new days come first."""
    [found] = judged({ONE: having(), TWO: fresh})
    assert (found.accounts, found.there) == (1, 1)
    assert judged({TWO: fresh}) == ()


def test_an_account_has_two_weeks_to_begin() -> None:
    """Nothing is expected of its first fourteen days."""
    for age, is_judged in ((13, False), (14, True)):
        want = day_range(NEWEST - age, NEWEST)
        found = judged({ONE: having(want & ~one_day(NEWEST))}, want=want)
        assert bool(found) is is_judged


def test_days_that_never_come_do_not_hold_up_an_account() -> None:
    """The oldest days failed for good, so the backfill is over."""
    states = {ONE: having(ALL & ~day_range(BEGIN, BEGIN + 3))}
    assert judged(states) == ()
    [found] = judged(states, BY_NOON, (DAILY, ONE, "failed"))
    assert (found.accounts, found.there) == (1, 1)


def test_a_job_of_a_few_days_is_judged_all_the_same() -> None:
    """With `begin_date: -7d` no account ever has two weeks."""
    want = day_range(NEWEST - 6, NEWEST)
    states = {ONE: having(want & ~one_day(NEWEST)), TWO: having(day_range(NEWEST - 3, NEWEST))}
    [found] = judged(states, want=want, begin="-7d")
    assert (found.accounts, found.there) == (1, 0)
    assert judged(states, want=want, begin="2026-05-13") == ()


def test_a_refused_account_is_judged_by_nobody() -> None:
    """It has an item of its own; a day that failed does not take its account out."""
    states = {ONE: having(), TWO: having(ALL & ~one_day(NEWEST))}
    [found] = judged(states, BY_NOON, (DAILY, TWO, "refused"))
    assert (found.accounts, found.is_met) == (1, True)
    [found] = judged(states, BY_NOON, (DAILY, TWO, "failed"))
    assert (found.accounts, found.is_met) == (2, False)
    [found] = judged(states, BY_NOON, (HOURLY, TWO, "refused"))
    assert (found.accounts, found.is_met) == (2, False)


def test_a_day_in_quarantine_is_not_there() -> None:
    """No usable answer is no answer."""
    bad = replace(having(ALL & ~one_day(NEWEST)), no_ask_today=ALL, quarantined=one_day(NEWEST))
    [found] = judged({ONE: bad})
    assert (found.accounts, found.there) == (1, 0)


@pytest.mark.parametrize(("answered", "is_judged"), [(4, False), (5, True), (10, True)])
def test_rows_are_judged_once_half_of_the_accounts_are_answered(
    answered: int,
    *,
    is_judged: bool,
) -> None:
    """The first answers need not be like the rest."""
    silent, rest = having(rows=ALL & ~one_day(NEWEST)), having(ALL & ~one_day(NEWEST))
    states = {appid(number): silent if number < answered else rest for number in range(10)}
    found = judged(states, WITH_ROWS)
    assert [(each.accounts, each.there) for each in found] == [(answered, 0)] * is_judged


@given(st.integers(1, 20_000), st.integers(1, 100_000), st.data())
def test_a_share_is_met_exactly(accounts: int, thousandths: int, data: st.DataObject) -> None:
    """95 of 100 are 95%, and 999 of 1000 are 99.9%: no float decides."""
    least = -(-accounts * thousandths // 100_000)
    there = data.draw(st.sampled_from([least, max(0, least - 1)]) | st.integers(0, accounts))
    expected = float(Fraction(thousandths, 100_000))
    found = Expectation(DAILY, "complete_by", DATE, expected, accounts, there, "open")
    assert found.is_met == (there * 100_000 >= thousandths * accounts)


@pytest.mark.parametrize(("expected", "accounts", "there"), [(0.55, 100, 55), (0.81, 300, 243)])
def test_shares_that_floats_get_wrong(expected: float, accounts: int, there: int) -> None:
    """The product of two floats is a little more than the number of accounts."""
    assert there < expected * accounts
    found = Expectation(DAILY, "complete_by", DATE, expected, accounts, there, "open")
    assert found.is_met


_KINDS = st.sampled_from(
    [
        having(),
        having(ALL & ~one_day(NEWEST)),
        having(rows=ALL & ~one_day(NEWEST)),
        having(NO_DAYS),
        having(day_range(NEWEST - 5, NEWEST)),
    ]
)


@given(st.lists(st.tuples(_KINDS, st.integers(0, 2)), min_size=1, max_size=12))
def test_shards_add_up_to_the_whole(accounts: list[tuple[States, int]]) -> None:
    """Whatever the cut, the counts and the accounts without the day are those of one process."""
    states = {appid(number): state for number, (state, _) in enumerate(accounts)}
    shards: list[dict[str, States]] = [{}, {}, {}]
    for name, (_, shard) in zip(states, accounts, strict=True):
        shards[shard][name] = states[name]
    parts = [Record(expectations=judged(own)) for own in shards if own]
    assert Record.merge(parts).expectations == judged(states)


def test_a_shard_whose_accounts_ended_is_not_added() -> None:
    """Its newest wanted day is an older one, and the whole run is judged by a newer."""
    old = Expectation(DAILY, "complete_by", date_of(NEWEST - 30), 0.95, 9, 0, "open", (ONE,))
    new = Expectation(DAILY, "complete_by", DATE, 0.95, 2, 2, "open")
    assert added(old, new) == added(new, old) == new


def shard_of(*found: Expectation, number: int = 1, code: Exit = Exit.AGAIN) -> Record:
    """Return the record of a shard that is unfinished, as it would have ended by itself."""
    items = tuple(attention_of(found))
    return Record(
        run_id=f"run-{number}",
        finished=True,
        out_of_time=code is Exit.AGAIN,
        expectations=found,
        attention=items,
    )


def test_the_merged_record_needs_a_person_only_if_all_shards_together_do() -> None:
    """A shard may lack a share that the whole run has."""
    few = Expectation(DAILY, "complete_by", DATE, 0.95, 10, 9, "open", (ONE,))
    most = few._replace(accounts=90, there=90, lacking=())
    assert shard_of(few).exit_code is Exit.ATTENTION
    whole = Record.merge([shard_of(few), shard_of(most, number=2)])
    assert (whole.attention, whole.exit_code) == ((), Exit.AGAIN)
    assert [(each.accounts, each.there) for each in whole.expectations] == [(100, 99)]


def test_the_item_of_a_merged_record_has_the_sum() -> None:
    """One item with the accounts of all shards, also of one that was content with itself."""
    few = Expectation(DAILY, "complete_by", DATE, 0.95, 100, 50, "open", (ONE,))
    most = few._replace(there=96, lacking=(TWO,))
    whole = Record.merge([shard_of(most), shard_of(few, number=2)])
    [item] = whole.attention
    assert [label.appid for label in item.accounts] == [ONE, TWO]
    assert item.advice.startswith(
        "2026-05-19: 146 of 200 accounts (73%) have the day, expected 95%"
    )
    assert whole.exit_code is Exit.ATTENTION
    assert Record.merge([whole]).attention == whole.attention


def test_a_dataset_that_most_accounts_lack_names_none() -> None:
    """Two hundred names may help; ten thousand in each record of a bad day do not."""
    names = tuple(map(appid, range(201)))
    found = Expectation(DAILY, "complete_by", DATE, 0.95, 300, 100, "open", names[:200])
    [item] = attention_of([found])
    assert [label.appid for label in item.accounts] == [*names[:200]]
    [item] = attention_of([found._replace(there=99, lacking=names)])
    assert item.accounts == ()


def test_a_share_that_is_too_small_is_not_rounded_up() -> None:
    """The text never shows an unmet share as large as the expected one."""
    found = Expectation(DAILY, "min_share_with_rows", DATE, 0.95, 10_000, 9_499, "open")
    text = "2026-05-19: 9,499 of 10,000 accounts (94.9%) with an answer have rows, expected 95%"
    assert found.text == text


@pytest.fixture
def lab(tmp_path: Path) -> RunHarness:
    """Prepare twenty accounts and six weeks up to yesterday, at one o'clock."""
    lab = RunHarness(tmp_path, begin="2026-04-06", end=None, datasets=(DAILY, HOURLY), accounts=20)
    lab.advance(3600)
    lab.run()
    lab.advance(DAY)
    return lab


def gate(lab: RunHarness, day: str | None = None) -> Gate:
    """Return the answer of the gate at this moment."""
    required = Required(None if day is None else parse_day(day))
    found = status.survey(lab.manifest(), lab.tree, lab.now(), required).gate
    assert found is not None
    return found


def test_a_late_dataset_turns_75_into_76(lab: RunHarness) -> None:
    """In the run, the gate and the status; and no longer once the days are there."""
    lab.expect = {HOURLY: BY_NOON}
    begin = parse_day("2026-05-20")
    for number in range(1, 4):
        lab.sandbox.add_data_fault(
            Late(
                appid=appid(number),
                datasets=(HOURLY,),
                begin=begin,
                end=begin,
                days=2,
                unready=True,
            )
        )
    done = lab.run()
    [item] = done.attention
    assert (done.exit_code, list(done.reasons())) == (Exit.ATTENTION, ["not_ready"])
    assert (item.key, item.datasets) == (f"expectation/{HOURLY}/complete_by", (HOURLY,))
    assert [label.appid for label in item.accounts] == [appid(1), appid(2), appid(3)]
    assert "17 of 20 accounts (85%) have the day, expected 95%" in item.advice
    seen = status.survey(lab.manifest(), lab.tree, lab.now())
    assert seen.attention == done.attention
    assert seen.expectations == done.expectations
    assert gate(lab).exit_code is Exit.ATTENTION
    assert gate(lab, "2026-05-19").attention == ()
    lab.advance(2 * DAY)
    assert lab.run().attention == ()
    assert status.survey(lab.manifest(), lab.tree, lab.now()).attention == ()


def silence(lab: RunHarness) -> None:
    """Take the rows of a day from all accounts, in both datasets, as on a holiday."""
    begin = parse_day("2026-05-20")
    lab.sandbox.add_data_fault(Outage(begin=begin, end=begin))


def test_a_run_without_rows_is_seen_although_it_succeeds(lab: RunHarness) -> None:
    """An unmet expectation leaves 0 at 0; an open gate lets it pass and shows it."""
    lab.expect = {HOURLY: WITH_ROWS}
    silence(lab)
    lab.run()
    lab.advance(DAY)
    lab.end = "2026-05-20"
    done = lab.run()
    [item] = done.attention
    assert (done.exit_code, item.accounts) == (Exit.DONE, ())
    assert item.advice.startswith("2026-05-20: 0 of 20 accounts (0%) with an answer have rows")
    found = gate(lab)
    assert (found.exit_code, found.expectations) == (Exit.DONE, ())
    assert found.attention == done.attention


def test_a_day_that_is_called_quiet_is_in_no_item_any_more(lab: RunHarness) -> None:
    """The last run left an item; a status judges by the manifest of today."""
    lab.expect = {HOURLY: WITH_ROWS}
    silence(lab)
    lab.run()
    lab.advance(DAY)
    lab.end = "2026-05-20"
    assert lab.run().attention
    lab.expect = {HOURLY: replace(WITH_ROWS, quiet=(quiet_days("2026-05-20"),))}
    seen = status.survey(lab.manifest(), lab.tree, lab.now())
    assert (seen.attention, seen.expectations) == ((), ())


def test_a_closed_gate_says_3_in_the_place_of_0(lab: RunHarness) -> None:
    """For a day that is required, and never in the place of 75."""
    lab.expect = {HOURLY: replace(WITH_ROWS, gate="closed")}
    silence(lab)
    lab.run()
    lab.advance(DAY)
    lab.end = "2026-05-20"
    lab.run()
    found = gate(lab)
    assert (found.exit_code, found.lost, found.obtainable) == (Exit.INCOMPLETE, (), ())
    assert [each.key for each in found.expectations] == [
        f"expectation/{HOURLY}/min_share_with_rows"
    ]
    assert gate(lab, "2026-05-20").exit_code is Exit.INCOMPLETE
    assert gate(lab, "2026-05-19").exit_code is Exit.DONE
    seen = status.survey(lab.manifest(), lab.tree, lab.now(), Required(parse_day("2026-05-20")))
    [row] = seen.to_dict()["gate"]["expectations"]
    assert (row["day"], row["share"], row["met"], row["gate"]) == ("2026-05-20", 0, False, "closed")


def test_the_record_has_what_was_judged(lab: RunHarness) -> None:
    """Met ones too, without the appids, which are in `attention`."""
    lab.expect = {DAILY: replace(BY_NOON, min_share_with_rows=0.25)}
    counts = {"accounts": 20, "there": 20, "share": 1.0, "met": True, "gate": "open"}
    day = {"dataset": DAILY, "day": "2026-05-20"}
    assert as_record(lab.run())["expectations"] == [
        {**day, "kind": "complete_by", "expected": 0.95, **counts},
        {**day, "kind": "min_share_with_rows", "expected": 0.25, **counts},
    ]


def test_a_paused_account_is_not_judged(lab: RunHarness) -> None:
    """The others are, and they are complete."""
    lab.expect = {DAILY: BY_NOON}
    [whole] = lab.run().expectations
    assert whole.accounts == 20
    manifest = lab.manifest()
    accounts = (replace(manifest.accounts[0], paused=Pause("asked")), *manifest.accounts[1:])
    [found] = status.survey(replace(manifest, accounts=accounts), lab.tree, lab.now()).expectations
    assert found.accounts == 19
