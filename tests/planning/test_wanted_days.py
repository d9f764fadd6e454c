"""The days that a job wants, and the plan of their requests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import day_range, parse_day
from harvester.core.config.settings import Account, Job, Pace
from harvester.core.model import Rate
from harvester.planning import wanted_days
from tests.support.run_harness import RunHarness, appid

DAILY = CATALOGUE["interface_summary"]
NOON = calendar.instant(parse_day("2026-05-20"), minutes=12 * 60)


def _job(begin: str, end: str | None = None) -> Job:
    newest = None if end is None else parse_day(end)
    return Job("job-1", ("interface_summary",), (), parse_day(begin), newest)


def test_an_account_is_never_asked_outside_its_own_days() -> None:
    """Its begin and end clip the job's range, both included."""
    account = Account(
        "wx0000000000000001",
        begin_date=parse_day("2026-05-03"),
        end_date=parse_day("2026-05-05"),
    )
    found = wanted_days.wanted_days(account, _job("2026-05-01"), DAILY, NOON)
    assert found == day_range(parse_day("2026-05-03"), parse_day("2026-05-05"))


def test_yesterday_means_the_newest_ready_day() -> None:
    """A job without an end goes up to it, and an end beyond it is cut there."""
    account = Account("wx0000000000000001")
    open_ended = wanted_days.wanted_days(account, _job("2026-05-18"), DAILY, NOON)
    assert open_ended == day_range(parse_day("2026-05-18"), parse_day("2026-05-19"))
    assert wanted_days.wanted_days(
        account, _job("2026-05-18", "2026-05-19"), DAILY, NOON - 3 * 3600
    ) == (calendar.one_day(parse_day("2026-05-18")))


def test_the_bound_is_the_slowest_account_or_the_processor() -> None:
    """The bound of a run is its slowest account's rate, or a core's time for all requests."""
    pace = Pace(Rate(10, 1.0), burst=1)
    assert wanted_days.bound_seconds([101, 5], pace) == (10.0, "rate")
    seconds, binds = wanted_days.bound_seconds([2] * 1_000_000, pace)
    assert binds == "cpu"
    assert seconds > 100
    assert wanted_days.bound_seconds([], pace) == (0.0, "nothing")


def test_a_job_that_begins_before_its_dataset_is_told_so(tmp_path: Path) -> None:
    """Days on which there was no such dataset are clipped, and not silently."""
    lab = RunHarness(tmp_path, accounts=1, begin="2025-01-01", datasets=("biz_summary",))
    manifest = lab.manifest()
    want = wanted_days.wanted(manifest, lab.now())
    plan = wanted_days.summarise(manifest, want, wanted_days.Missing(want, {}))
    first = calendar.day_text(CATALOGUE["biz_summary"].first_day)
    assert plan.warnings[0] == f"job-1: biz_summary begins on {first}"
    assert calendar.day_text(calendar.oldest(want["biz_summary"][appid(1)])) == first


@settings(max_examples=40)
@given(
    names=st.lists(st.sampled_from([*CATALOGUE]), min_size=1, max_size=4, unique=True),
    begin=st.integers(1, 60),
    end=st.none() | st.integers(0, 60),
    account_end=st.none() | st.integers(-3, 3),
    minutes=st.integers(0, 40 * 1440),
)
@example(names=["upstream_msg_month"], begin=3, end=None, account_end=None, minutes=0)
def test_the_next_day_gets_ready_at_the_first_moment_at_which_more_is_wanted(
    names: list[str], begin: int, end: int | None, account_end: int | None, minutes: int
) -> None:
    """A search through the next ten weeks, minute by minute where a dataset has its ready hour."""
    now = calendar.instant(parse_day("2026-05-20"), minutes)
    today = calendar.today(now)
    job = Job("job", tuple(names), (appid(1),), today - begin, None if end is None else today - end)
    last = None if account_end is None else today + account_end
    account = Account(appid(1), end_date=last)
    manifest = replace(
        RunHarness(Path()).manifest(), accounts=(account,), jobs=(job,), datasets=dict(CATALOGUE)
    )
    hours = {dataset.ready_minutes for dataset in CATALOGUE.values()}
    moments = [calendar.instant(today + day, hour) for day in range(70) for hour in sorted(hours)]
    before = wanted_days.wanted(manifest, now)
    more = [at for at in moments if at > now and wanted_days.wanted(manifest, at) != before]
    assert wanted_days.next_ready_at(manifest, now) == (min(more) if more else None)
