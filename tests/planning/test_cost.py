"""The cost of a backfill: calls, days of quota, and cheaper ways."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from harvester.catalogue import CATALOGUE
from harvester.cli import invoke
from harvester.core import calendar
from harvester.core.calendar import day_of, day_range, instant, parse_day
from harvester.core.config.settings import Account, Job, Limits, Manifest, Output
from harvester.core.model import Refusal, Reserve
from harvester.planning import cost, wanted_days
from harvester.planning.ledger import Ledger
from harvester.planning.quota import DailyQuota
from harvester.planning.wanted_days import Missing
from tests.support import ledgers
from tests.support.output_helpers import tree_at
from tests.support.run_harness import DAILY, HOURLY, appid

TODAY = parse_day("2026-05-20")
NOON = instant(TODAY, 12 * 60)


def manifest_of(begin: str, limits: Limits, datasets: tuple[str, ...] = (HOURLY,)) -> Manifest:
    """Two accounts from a day on."""
    appids = (appid(1), appid(2))
    return Manifest(
        Path("jobs.yaml"),
        tuple(Account(name) for name in appids),
        (Job("job-1", datasets, appids, parse_day(begin), None),),
        Output(Path("output")),
        CATALOGUE,
        limits=limits,
    )


def priced(manifest: Manifest, note: Ledger | None = None, now: float = NOON) -> cost.Price:
    """The price of everything a manifest wants, after what a note says was spent."""
    want = wanted_days.wanted(manifest, now)
    found = wanted_days.summarise(manifest, want, Missing(want, {}))
    return cost.price(
        manifest, Missing(want, {}), found, quotas(manifest, note or Ledger(TODAY)), now
    )


def quotas(manifest: Manifest, ledger: Ledger) -> cost.Quotas:
    """Return the quotas of all accounts by one ledger."""
    return lambda dataset, name: DailyQuota(manifest.limits, ledger, dataset, name)


@pytest.mark.parametrize(
    ("windows", "spent", "took", "later"),
    [
        *[(80, 0, 1, 0), (81, 0, 2, 1), (160, 0, 2, 1), (161, 0, 3, 2), (80, 1, 2, 1)],
        *[(1, 80, 1, 1), (80, 80, 1, 1), (81, 80, 2, 2)],
    ],
)
def test_the_days_under_a_quota_count_today(
    windows: int, spent: int, took: int, later: int
) -> None:
    """A hundred calls a day, a fifth of them reserved; today counts if some of it is left."""
    limits = Limits(daily_quota=100, daily_reserve=Reserve(share=0.2))
    note = Ledger(TODAY)
    for name in (appid(1), appid(2)):
        note.add(HOURLY, name, spent)
    found = priced(manifest_of(calendar.day_text(TODAY - windows), limits), note)
    assert found.calendar_days == took
    assert found.requests_today == 2 * min(windows, 80 - spent)
    assert day_of(found.complete_on) == TODAY + later
    assert (found.bound_by == "quota") == (later > 0)


def test_a_plan_that_needs_days_is_bound_by_the_last_midnight_before_its_end() -> None:
    """Until then nothing can help."""
    found = priced(
        manifest_of(
            calendar.day_text(TODAY - 250), Limits(daily_quota=100, daily_reserve=Reserve())
        )
    )
    assert found.calendar_days == 3
    assert found.bound_seconds == instant(TODAY + 2) - NOON


def test_datasets_do_not_share_a_quota() -> None:
    """The dearest of them decides."""
    found = priced(
        manifest_of("2026-01-01", Limits(daily_quota=100, daily_reserve=Reserve()), (DAILY, HOURLY))
    )
    assert found.calendar_days == 2
    assert [each.requests for each in found.accounts] == [139 + 5] * 2


def test_a_parked_dataset_has_nothing_left_today() -> None:
    """WeChat's word counts for more than our count."""
    note = Ledger(TODAY)
    note.exhaust(HOURLY, appid(1), Refusal(45009, "reach max api daily quota limit", ""))
    found = priced(manifest_of(calendar.day_text(TODAY - 10), Limits()), note)
    assert (found.requests_today, found.calendar_days) == (10, 1)
    assert day_of(found.complete_on) == TODAY + 1


def test_an_account_that_lacks_nothing_costs_nothing() -> None:
    """Only what is missing is priced."""
    manifest = manifest_of(calendar.day_text(TODAY - 10), Limits())
    want = wanted_days.wanted(manifest, NOON)
    missing = {HOURLY: {**want[HOURLY], appid(2): calendar.NO_DAYS}}
    plan = wanted_days.summarise(manifest, want, Missing(missing, {}))
    found = cost.price(manifest, Missing(missing, {}), plan, quotas(manifest, Ledger(TODAY)), NOON)
    assert [(each.appid, each.requests) for each in found.accounts] == [(appid(1), 10)]


def test_a_narrower_range_is_priced() -> None:
    """Thirty days instead of a hundred, and nothing that would cost the same."""
    found = priced(
        manifest_of(calendar.day_text(TODAY - 100), Limits(daily_quota=50, daily_reserve=Reserve()))
    )
    assert [
        (day_of(each.begin), each.requests, each.calendar_days) for each in found.shorter_ranges
    ] == [
        (TODAY - 30, 60, 1),
        (TODAY - 90, 180, 2),
    ]


def test_an_account_that_pays_for_years_before_its_first_row_is_named() -> None:
    """A hundred empty days in a row before the first row: what is older will be empty too."""
    manifest = manifest_of("2020-01-01", Limits())
    rows = day_range(TODAY - 50, TODAY - 1)
    empty = day_range(TODAY - 150, TODAY - 51)
    older = day_range(parse_day("2020-01-01"), TODAY - 151)
    missing = {HOURLY: dict.fromkeys(manifest.jobs[0].appids, older)}
    known = {HOURLY: {appid(1): (rows, empty), appid(2): (rows, empty >> 20 & empty)}}
    found = cost.empty_prefixes(
        manifest, Missing(missing, {}), lambda name, who: known[name][who], TODAY
    )
    assert [
        (each.appid, each.first_row and day_of(each.first_row), each.empty) for each in found
    ] == [(appid(1), TODAY - 50, 100)]
    assert found[0].requests == calendar.count_days(older)


def test_plan_shows_what_binds_and_what_is_spent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The quota's numbers are said to be the manifest's, and today's notes count."""
    path = tmp_path / "jobs.yaml"
    path.write_text(
        "api: {base_url: sandbox}\naccounts: [{appid: wx0000000000000001}]\n"
        "jobs: [{datasets: interface_summary_hour, begin_date: -400d}]\n"
        "limits: {daily_quota: 100}\noutput: output\n"
    )
    assert invoke(["plan", str(path), "--format", "json"]) == 0
    before = json.loads(capsys.readouterr().out)
    assert before["bound_by"] == "quota"
    assert before["calendar_days"] in (4, 5)
    assert (before["price"]["read"], before["price"]["assumed"]) == (0, 0)
    assert (before["quota_questions"], before["assumed"]) == (0, [])
    today = calendar.today(time.time())
    note = Ledger(today)
    note.add(HOURLY, appid(1), 60)
    ledgers.put(tree_at(tmp_path / "output"), note)
    assert invoke(["plan", str(path), "--format", "json"]) == 0
    after = json.loads(capsys.readouterr().out)
    assert before["price"]["requests_today"] - after["price"]["requests_today"] == 60
    assert invoke(["plan", str(path)]) == 0
    assert "days under the daily quota (set in the manifest)" in capsys.readouterr().out


def test_a_plan_after_a_spent_quota_counts_with_what_it_taught() -> None:
    """Five calls a day and 55 missing windows: eleven days, and today is none of them."""
    manifest = manifest_of(calendar.day_text(TODAY - 55), Limits())
    note = Ledger(TODAY)
    for name in (appid(1), appid(2)):
        note.add(HOURLY, name, 9)
        note.exhaust(HOURLY, name, Refusal(45009, "reach max api daily quota limit", ""))
        DailyQuota(manifest.limits, note, HOURLY, name).teach(5)
    want = wanted_days.wanted(manifest, NOON)
    found = wanted_days.summarise(manifest, want, Missing(want, {}))
    price = cost.price(manifest, Missing(want, {}), found, quotas(manifest, note), NOON)
    assert (price.calendar_days, day_of(price.complete_on)) == (11, TODAY + 11)
    assert (price.requests_today, price.quota_questions) == (0, 0)


def test_a_plan_tells_what_it_assumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing was asked yet, and 400 calls of an account need questions first."""
    path = tmp_path / "jobs.yaml"
    path.write_text(
        "api: {base_url: sandbox}\naccounts: [{appid: wx0000000000000001}]\n"
        "jobs: [{datasets: interface_summary_hour, begin_date: -400d}]\noutput: output\n"
    )
    assert invoke(["plan", str(path), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["requests"] in (399, 400)
    assert (found["quota_questions"], found["assumed"]) == (1, ["daily_quota"])
    assert found["calendar_days"] == 1
    assert found["complete_on"] == calendar.day_text(calendar.today(time.time()))
