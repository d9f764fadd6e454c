"""The status of accounts: the worst first, with the cause of what is missing, in bounded JSON."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from harvester.catalogue import CATALOGUE
from harvester.cli.output.answers import json_text
from harvester.core import calendar
from harvester.core.calendar import DaySet, parse_day
from harvester.core.config.settings import Manifest, Pause
from harvester.planning.wanted_days import Wanted
from harvester.sandbox import TOKEN, Rules
from harvester.storage import coverage_scan
from harvester.storage.account_scan import Scan, States
from harvester.tables.evidence import Evidence
from harvester.verbs.status import Status, survey
from tests.support.run_harness import BOTH, RunHarness, appid

NAMES = ("Acme", "北京悦读", "=cmd|' /C calc'!A0", "Café")


def named(manifest: Manifest) -> Manifest:
    """Return a manifest whose accounts have names and tags."""
    accounts = [
        replace(account, name=name, tags=frozenset({"retail", f"t{at}"}))
        for at, (account, name) in enumerate(zip(manifest.accounts, NAMES, strict=True))
    ]
    return replace(manifest, accounts=tuple(accounts))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> RunHarness:
    """Four accounts: one without a token, one whose hourly quota is spent after two days."""
    root = tmp_path_factory.mktemp("accounts")
    lab = RunHarness(root, accounts=4, end="2026-03-07", rules=Rules())
    lab.limits = lab.one_of_each_at_a_time()
    lab.sandbox.fail(appid(3), 40125, dataset=TOKEN)
    lab.sandbox.fail(appid(2), 45009, dataset=BOTH[1])
    lab.run()
    return lab


@pytest.fixture
def found(lab: RunHarness) -> Status:
    """The status after the run."""
    return survey(named(lab.manifest()), lab.tree, lab.now())


def test_the_worst_accounts_come_first(found: Status) -> None:
    """A refusal needs a person, a spent quota only time, and the others nothing."""
    rows = [(each.appid, each.state, each.reason, each.errcode) for each in found.accounts]
    assert rows[0] == (appid(3), "refused", "refused", 40125)
    assert rows[1] == (appid(2), "pending", "quota", 45009)
    assert {row[1:] for row in rows[2:]} == {("complete", "", None)}


def test_percent_counts_the_days_of_all_datasets_and_is_100_only_if_all_are_there(
    found: Status,
) -> None:
    """Seven of fourteen account-days are half of them."""
    percents = {each.appid: each.percent for each in found.accounts}
    assert percents == {appid(1): 100.0, appid(2): 50.0, appid(3): 0.0, appid(4): 100.0}
    newest = {each.appid: each.newest_day for each in found.accounts}
    assert newest[appid(3)] is None
    assert newest[appid(1)] == newest[appid(2)] == date(2026, 3, 7)


def test_an_account_waits_only_for_what_time_brings(found: Status) -> None:
    """A spent quota comes back after midnight in Beijing, a wrong secret never."""
    waits = {each.appid: each.waiting_until for each in found.accounts}
    assert waits[appid(2)] == "2026-05-20T16:05:00Z"
    assert [until for until in waits.values() if until] == [waits[appid(2)]]


def test_gaps_of_equal_days_are_one_with_the_reason_of_the_last_run(found: Status) -> None:
    """One entry for both datasets of the refused account."""
    days = ((date(2026, 3, 1), date(2026, 3, 7)),)
    gaps = {gap.appid: gap for gap in found.gaps}
    refused, waiting = gaps[appid(3)], gaps[appid(2)]
    assert (refused.datasets, refused.days, refused.ranges) == (BOTH, 14, days)
    assert (refused.reason, refused.errcode, refused.retry_at) == ("refused", 40125, None)
    assert (waiting.datasets, waiting.days, waiting.ranges) == (BOTH[1:], 7, days)
    assert (waiting.reason, waiting.retry_at) == ("quota", "2026-05-20T16:05:00Z")
    assert len(found.gaps) == 2


def test_days_that_no_run_asked_for_say_so(lab: RunHarness) -> None:
    """Without a record the next run asks for them at once."""
    lab.end = "2026-03-09"
    try:
        found = survey(named(lab.manifest()), lab.tree, lab.now())
    finally:
        lab.end = "2026-03-07"
    account = next(each for each in found.accounts if each.appid == appid(1))
    assert (account.state, account.reason, account.waiting_until) == ("pending", "not_asked", None)
    assert account.percent == 77.7


def test_paused_accounts_come_last_and_are_not_incomplete(lab: RunHarness) -> None:
    """Their reason is the manifest's, and they count for nothing else."""
    lab.accounts = 5
    manifest = lab.manifest()
    lab.accounts = 4
    accounts = (
        *named(lab.manifest()).accounts,
        replace(manifest.accounts[-1], paused=Pause("new secret")),
    )
    found = survey(replace(manifest, accounts=accounts), lab.tree, lab.now())
    last = found.accounts[-1]
    assert (last.appid, last.reason, last.paused) == (appid(5), "paused", "new secret")
    assert last.state == "paused"
    assert appid(5) not in {gap.appid for gap in found.gaps}
    assert {row.accounts for row in found.datasets} == {4}
    worst = [each.appid for each in found.accounts if each.state not in ("complete", "paused")]
    assert worst == [appid(3), appid(2)]


# The size of JSON


def test_the_json_of_300_accounts_and_two_years_is_at_most_two_megabytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accounts with quiet days, which differ by dataset family, and gaps of many ranges."""
    lab = RunHarness(
        tmp_path, accounts=300, begin="2024-05-20", end=None, datasets=tuple(CATALOGUE)
    )
    want = _states_of(lab, monkeypatch)
    found = survey(lab.manifest(), lab.tree, lab.now())
    assert sum(row.days.wanted for row in found.datasets) > 1_800_000
    assert sum(row.days.suspicious for row in found.datasets) > 50_000
    assert sum(row.days.missing for row in found.datasets) > 10_000
    assert len(want) == 15
    text = json_text(found.to_dict())
    assert len(text.encode()) <= 2_000_000


def _states_of(lab: RunHarness, monkeypatch: pytest.MonkeyPatch) -> Wanted:
    """Give the status a coverage like that of the emulator's accounts; return what is wanted."""
    rng = random.Random(17)
    seen: Wanted = {}

    def days(share: float) -> DaySet:
        first, last = parse_day("2024-05-20"), parse_day("2026-05-19")
        chosen = rng.sample(range(first, last + 1), int(share * (last - first)))
        return sum(map(calendar.one_day, chosen))

    families = {known.family for known in CATALOGUE.values()}
    quiet = {
        (appid(number), family): days(0.13) if number % 3 == 0 else calendar.NO_DAYS
        for number in range(1, 301)
        for family in families
    }
    gone = {appid(number): days(0.1) for number in range(7, 301, 10)}

    def read(_: object, want: Wanted, now: float, __: object) -> Scan:
        seen.update(want)
        found: dict[str, dict[str, States]] = {}
        for dataset, of_dataset in want.items():
            known = CATALOGUE[dataset]
            states = found[dataset] = {}
            for name, wanted in of_dataset.items():
                covered = wanted & ~gone.get(name, calendar.NO_DAYS)
                rows = covered & ~quiet[name, known.family]
                quiet_days, sparse = covered & ~rows, known.sparse
                states[name] = States(
                    covered, covered, rows, contradicted=quiet_days, sparse=sparse
                )
        evidence = {dataset: Evidence(CATALOGUE[dataset], now, {}, {}) for dataset in want}
        return Scan(found, evidence)

    monkeypatch.setattr(coverage_scan, "read", read)
    return seen
