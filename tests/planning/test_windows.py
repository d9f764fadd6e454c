"""Missing days become the fewest windows, newest first."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import DaySet, day_range, parse_day
from harvester.core.config.settings import Account, Job, Pace
from harvester.core.model import Rate
from harvester.planning import windows
from tests.support.run_harness import RunHarness, appid

DAILY = CATALOGUE["interface_summary"]
HOURLY = CATALOGUE["interface_summary_hour"]
NOON = calendar.instant(parse_day("2026-05-20"), minutes=12 * 60)

day_sets = st.sets(st.integers(0, 70), max_size=40).map(
    lambda offsets: sum(1 << offset for offset in offsets)
)


def fewest(missing: DaySet, span: int) -> int:
    """The fewest windows, by trying every length for the first of them."""
    best = {0: 0}

    def solve(rest: DaySet) -> int:
        if rest not in best:
            newest = calendar.newest(rest)
            best[rest] = 1 + min(
                solve(rest & ~day_range(newest - length + 1, newest))
                for length in range(1, span + 1)
            )
        return best[rest]

    return solve(missing)


@given(day_sets, st.integers(1, 12))
def test_no_cover_has_fewer_windows(missing: DaySet, span: int) -> None:
    """As many windows as a search over all covers finds, and not one more."""
    assert len(list(windows.windows(missing, span))) == fewest(missing, span)


@given(day_sets, st.integers(1, 40))
def test_windows_cover_and_keep_to_the_span(missing: DaySet, span: int) -> None:
    """Each window fits the span, begins and ends on a missing day, and together they leave none."""
    covered = calendar.NO_DAYS
    for begin, end in windows.windows(missing, span):
        assert 1 <= end - begin + 1 <= span
        assert calendar.has_day(missing, begin)
        assert calendar.has_day(missing, end)
        covered |= day_range(begin, end)
    assert missing & ~covered == calendar.NO_DAYS


@given(day_sets, st.integers(1, 40))
def test_windows_come_newest_first_and_never_overlap(missing: DaySet, span: int) -> None:
    """A window ends before the one handed out earlier begins."""
    found = list(windows.windows(missing, span))
    assert all(later_begin > end for (later_begin, _), (_, end) in pairwise(found))


@given(day_sets, st.integers(1, 40))
def test_counting_equals_listing(missing: DaySet, span: int) -> None:
    """The count that prices a plan is the number of windows that a run asks."""
    assert windows.count_windows(missing, span) == len(list(windows.windows(missing, span)))


def test_ten_years_of_a_span_of_thirty_need_146_windows() -> None:
    """The arithmetic of a full backfill, 2014-12-01 to 2026-11-23, as WeChat's limits have it."""
    everything = day_range(calendar.FIRST_DAY, parse_day("2026-11-23"))
    assert calendar.count_days(everything) == 4376
    assert windows.count_windows(everything, 30) == 146


@given(day_sets, st.integers(1, 12), st.integers(-5, 75))
def test_no_window_holds_both_sides_of_a_boundary(missing: DaySet, span: int, offset: int) -> None:
    """Cut at the boundary, each side still has the fewest windows."""
    boundary = max(calendar.FIRST_DAY, calendar.FIRST_DAY + offset)
    older = missing & day_range(calendar.FIRST_DAY, boundary - 1)
    found = list(windows.windows(missing, span, boundary))
    assert all(begin >= boundary or end < boundary for begin, end in found)
    assert len(found) == fewest(older, span) + fewest(missing & ~older, span)


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
    found = windows.wanted_days(account, _job("2026-05-01"), DAILY, NOON)
    assert found == day_range(parse_day("2026-05-03"), parse_day("2026-05-05"))


def test_yesterday_means_the_newest_ready_day() -> None:
    """A job without an end goes up to it, and an end beyond it is cut there."""
    account = Account("wx0000000000000001")
    open_ended = windows.wanted_days(account, _job("2026-05-18"), DAILY, NOON)
    assert open_ended == day_range(parse_day("2026-05-18"), parse_day("2026-05-19"))
    assert windows.wanted_days(
        account, _job("2026-05-18", "2026-05-19"), DAILY, NOON - 3 * 3600
    ) == (calendar.one_day(parse_day("2026-05-18")))


def test_the_bound_is_the_slowest_account_or_the_processor() -> None:
    """The bound of a run is its slowest account's rate, or a core's time for all requests."""
    pace = Pace(Rate(10, 1.0), burst=1)
    assert windows.bound_seconds([101, 5], pace) == (10.0, "rate")
    seconds, binds = windows.bound_seconds([2] * 1_000_000, pace)
    assert binds == "cpu"
    assert seconds > 100
    assert windows.bound_seconds([], pace) == (0.0, "nothing")


def test_a_job_that_begins_before_its_dataset_is_told_so(tmp_path: Path) -> None:
    """Days on which there was no such dataset are clipped, and not silently."""
    lab = RunHarness(tmp_path, accounts=1, begin="2025-01-01", datasets=("biz_summary",))
    manifest = lab.manifest()
    want = windows.wanted(manifest, lab.now())
    plan = windows.summarise(manifest, want, want, parse_day(lab.today))
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
    before = windows.wanted(manifest, now)
    more = [at for at in moments if at > now and windows.wanted(manifest, at) != before]
    assert windows.next_ready_at(manifest, now) == (min(more) if more else None)
