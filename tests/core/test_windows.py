"""Missing days become the fewest windows, newest first."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from harvester.core import calendar, windows
from harvester.core.calendar import DaySet, day_range, parse_day

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


@given(day_sets, st.integers(1, 40), day_sets)
@example(missing=0b1000000, span=7, along=0b1)
@example(missing=0b1000001, span=6, along=0b10)
def test_a_window_reaches_back_over_the_whole_span(
    missing: DaySet, span: int, along: DaySet
) -> None:
    """As many windows on the same last days, each from the oldest day of either set in its span."""
    plain = list(windows.windows(missing, span))
    found = list(windows.windows(missing, span, along))
    assert len(found) == len(plain)
    covered = calendar.NO_DAYS
    for begin, end in found:
        reached = (missing | along) & day_range(end - span + 1, end)
        assert begin == calendar.oldest(reached)
        assert calendar.has_day(missing, end)
        assert not covered & day_range(begin, end)
        covered |= day_range(begin, end)
    assert missing & ~covered == calendar.NO_DAYS
