"""Narrowing a manifest from the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from harvester.core import calendar
from harvester.core.config.settings import Manifest
from harvester.core.errors import UsageError
from harvester.manifest import loader
from harvester.manifest.narrowing import Selection, narrow
from harvester.planning.wanted_days import calls_kept

NOW = calendar.instant(calendar.parse_day("2026-06-15"), 12 * 60)
A, B, C = (f"wx000000000000000{digit}" for digit in "abc")
HOUR, DAY = "interface_summary_hour", "interface_summary"
HOURS = f"hours has {HOUR} of {A}, {B}, {C}, 2024-01-01 to 2024-12-31"
DAYS = f"days has {DAY} of {A}, {C}, 2025-01-01 to 2026-06-14"

TEXT = f"""
api: {{base_url: sandbox}}
accounts:
  - {{appid: {A}, name: Acme, tags: [retail]}}
  - {{appid: {B}, name: Acme, tags: [retail, food]}}
  - {{appid: {C}, name: Best}}
jobs:
  - {{name: hours, datasets: [{HOUR}], begin_date: 2024-01-01, end_date: 2024-12-31}}
  - {{name: days, datasets: [{DAY}], accounts: [{A}, {C}], begin_date: 2025-01-01}}
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Two jobs over three accounts."""
    file: Path = tmp_path_factory.mktemp("manifest") / "jobs.yaml"
    file.write_text(TEXT)
    return loader.read(file, environ={}, now=NOW).manifest()


def day(text: str) -> int:
    """Return a day's number."""
    return calendar.parse_day(text)


def test_an_empty_selection_changes_nothing(whole: Manifest) -> None:
    """Without options the manifest stays unchanged."""
    assert narrow(whole, Selection(), NOW) == whole


@pytest.mark.parametrize(
    ("words", "appids"),
    [
        ((A,), [A]),
        (("Best",), [C]),
        (("Acme",), [A, B]),
        (("tag:food",), [B]),
        (("tag:retail", C), [A, B, C]),
    ],
)
def test_accounts(whole: Manifest, words: tuple[str, ...], appids: list[str]) -> None:
    """Accounts are chosen by appid, by name (all that have it) or by tag."""
    narrowed = narrow(whole, Selection(accounts=words), NOW)
    assert [account.appid for account in narrowed.accounts] == appids
    for job in narrowed.jobs:
        assert job.appids
        assert set(job.appids) <= set(appids)


def test_a_job_without_accounts_is_dropped(whole: Manifest) -> None:
    """A job of which the selection leaves nothing is dropped, the others stay."""
    assert [job.name for job in narrow(whole, Selection(accounts=(B,)), NOW).jobs] == ["hours"]
    assert [job.name for job in narrow(whole, Selection(datasets=(DAY,)), NOW).jobs] == ["days"]
    late = Selection(begin_date="2025-06-01")
    assert [job.name for job in narrow(whole, late, NOW).jobs] == ["days"]


@pytest.mark.parametrize("pattern", ["getinterfacesummary", "interface_summary", "*summary"])
def test_datasets(whole: Manifest, pattern: str) -> None:
    """Datasets are chosen by name, by WeChat's name or by glob."""
    assert [job.datasets for job in narrow(whole, Selection(datasets=(pattern,)), NOW).jobs] == [
        (DAY,)
    ]


def test_jobs(whole: Manifest) -> None:
    """Jobs are chosen by name; the manifest's order stays."""
    narrowed = narrow(whole, Selection(jobs=("days", "hours")), NOW)
    assert [job.name for job in narrowed.jobs] == ["hours", "days"]
    assert [job.name for job in narrow(whole, Selection(jobs=("days",)), NOW).jobs] == ["days"]


def test_days(whole: Manifest) -> None:
    """Days are cut on both sides and never added; yesterday and earliest cut nothing."""
    cut = narrow(whole, Selection(begin_date="2024-06-01", end_date="2025-06-30"), NOW)
    assert [(job.begin, job.end) for job in cut.jobs] == [
        (day("2024-06-01"), day("2024-12-31")),
        (day("2025-01-01"), day("2025-06-30")),
    ]
    assert narrow(whole, Selection(begin_date="earliest", end_date="yesterday"), NOW) == whole
    week = narrow(whole, Selection(begin_date="-7d"), NOW)
    assert [(job.name, job.begin, job.end) for job in week.jobs] == [
        ("days", day("2026-06-08"), None)
    ]


@pytest.mark.parametrize(
    ("selection", "appids"),
    [
        (Selection(end_date="2025-06-30"), [A, C]),
        (Selection(jobs=("hours",)), [A, C]),
        (Selection(accounts=(A, B), end_date="2025-06-30"), [A]),
    ],
)
def test_calls_kept_for_the_day_ignore_the_selection_of_jobs(
    whole: Manifest, selection: Selection, appids: list[str]
) -> None:
    """Before yesterday is ready calls are kept for it, even if the selection leaves out its jobs.

    They are kept for the selected accounts only.
    """
    early = NOW - 3 * 3600
    narrowed = narrow(narrow(whole, selection, early), Selection(datasets=("all",)), early)
    assert calls_kept(narrowed, early)[DAY] == dict.fromkeys(appids, 2)


@pytest.mark.parametrize(
    ("selection", "problem", "advice"),
    [
        (
            Selection(accounts=("wx000000000000000d",)),
            "accounts: unknown account `wx000000000000000d`",
            f"did you mean `{C}`?",
        ),
        (
            Selection(accounts=("tag:retial",)),
            "accounts: unknown tag `retial`",
            "did you mean `retail`?",
        ),
        (
            Selection(accounts=("5ec2e7c0ffee5ec2e7c0ffee5ec2e7c0",)),
            "accounts: unknown account",
            f"known are tag:retail, tag:food, {A}, Acme, {B}, {C}, Best",
        ),
        (
            Selection(datasets=("interface_sumary",)),
            "datasets: unknown dataset `interface_sumary`",
            "did you mean `interface_summary`?",
        ),
        (
            Selection(datasets=("interface_*", "user_read")),
            "datasets: WeChat has retired `user_read`: it answers errcode 47009",
            "use `biz_summary`",
        ),
        (Selection(jobs=("day",)), "jobs: unknown job `day`", "did you mean `days`?"),
        (
            Selection(begin_date="2014-11-30"),
            "begin_date `2014-11-30` is before 2014-12-01, when WeChat's statistics begin",
            "write 2024-01-31, -30d or earliest",
        ),
        (
            Selection(end_date="2026-06-15"),
            "end_date `2026-06-15` is after yesterday, which is 2026-06-14 in Beijing",
            "write 2024-01-31, -30d or yesterday",
        ),
        (
            Selection(end_date="today"),
            "end_date `today` is not a day",
            "write 2024-01-31, -30d or yesterday",
        ),
        (
            Selection(begin_date="2024-02-01", end_date="2024-01-01"),
            "begin_date is after end_date",
            "swap them",
        ),
        (
            Selection(end_date="2023-12-31"),
            "no job is left by end_date `2023-12-31`",
            f"{HOURS}; {DAYS}",
        ),
        (
            Selection(accounts=(B,), jobs=("days",)),
            f"no job is left by accounts `{B}`, jobs `days`",
            DAYS,
        ),
        (
            Selection(accounts=(B,), datasets=(DAY,)),
            f"no job is left by accounts `{B}`, datasets `{DAY}`",
            f"{HOURS}; {DAYS}",
        ),
        (
            Selection(datasets=(DAY, "user_summary")),
            "datasets: no job has `user_summary`",
            f"the jobs have {DAY}, {HOUR}",
        ),
        (
            Selection(datasets=(HOUR,), jobs=("days",)),
            f"no job is left by datasets `{HOUR}`, jobs `days`",
            DAYS,
        ),
        (
            Selection(begin_date="2025-01-01", jobs=("hours",)),
            "no job is left by begin_date `2025-01-01`, jobs `hours`",
            HOURS,
        ),
        (
            Selection(accounts=("tag:retail",), datasets=(HOUR,), end_date="-3000d"),
            f"no job is left by end_date `-3000d`, accounts `tag:retail`, datasets `{HOUR}`",
            f"{HOURS}; {DAYS}",
        ),
    ],
)
def test_unknown_names_are_refused_with_a_hint(
    whole: Manifest, selection: Selection, problem: str, advice: str
) -> None:
    """A name that the manifest does not have is refused, with the most similar name."""
    with pytest.raises(UsageError) as caught:
        narrow(whole, selection, NOW)
    assert (caught.value.problem, caught.value.advice) == (problem, advice)


def test_a_clock_before_all_statistics_is_named(whole: Manifest) -> None:
    """A machine that begins in 1970 leaves nothing, and no option is the cause."""
    days = replace(whole, jobs=whole.jobs[1:])
    with pytest.raises(UsageError, match="by this machine's clock, which says 1970-01-01"):
        narrow(days, Selection(), 0.0)


def wanted(some: Manifest) -> set[tuple[str, str, int]]:
    """Return every (account, dataset, day) of a manifest's jobs."""
    yesterday = calendar.today(NOW) - 1
    return {
        (appid, dataset, number)
        for job in some.jobs
        for appid in job.appids
        for dataset in job.datasets
        for number in range(job.begin, (yesterday if job.end is None else job.end) + 1)
    }


ago = st.one_of(st.none(), st.integers(1, 900))
choices = st.fixed_dictionaries(
    {
        "begin": ago,
        "end": ago,
        "accounts": st.sets(st.sampled_from([A, B, C])),
        "datasets": st.sets(st.sampled_from([HOUR, DAY])),
        "jobs": st.sets(st.sampled_from(["hours", "days"])),
    }
)


@hypothesis.given(choices)
def test_a_selection_is_an_intersection(whole: Manifest, chosen: dict[str, Any]) -> None:
    """The rest is exactly what the manifest wants and every option allows."""
    today = calendar.today(NOW)
    begin, end = (chosen[name] and f"-{chosen[name]}d" for name in ("begin", "end"))
    names = (tuple(chosen[name]) for name in ("accounts", "datasets", "jobs"))
    selection = Selection(begin, end, *names)
    expected = {
        (appid, dataset, number)
        for appid, dataset, number in wanted(whole)
        if appid in (chosen["accounts"] or {appid})
        and dataset in (chosen["datasets"] or {dataset})
        and {HOUR: "hours", DAY: "days"}[dataset] in (chosen["jobs"] or {"hours", "days"})
        and number >= today - (chosen["begin"] or 9999)
        and number <= today - (chosen["end"] or 1)
    }
    if not expected:
        with pytest.raises(UsageError):
            narrow(whole, selection, NOW)
        return
    narrowed = narrow(whole, selection, NOW)
    assert wanted(narrowed) == expected
    known = {account.appid for account in narrowed.accounts}
    assert all(set(job.appids) <= known for job in narrowed.jobs)
