"""Windows of a day set: the fewest that cover it, one by one, newest first."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from harvester.core.calendar import FIRST_DAY, Day, DaySet, count_days


def windows(missing: DaySet, span: int, boundary: Day = FIRST_DAY) -> Iterator[tuple[Day, Day]]:
    """Yield the fewest windows of at most ``span`` days that cover a day set, newest first.

    A window begins and ends on a missing day; days in between may be known already, because calls
    are scarce and rows are not. No window has days on both sides of ``boundary``, the first day of
    the newer side.
    """
    # Greedy from the newest day is optimal: its window can reach back no further than the span.
    while missing:
        begin, end = newest_window(missing, span, boundary)
        yield begin, end
        missing &= (1 << (begin - FIRST_DAY)) - 1


def newest_window(missing: DaySet, span: int, boundary: Day) -> tuple[Day, Day]:
    """Return the first of `windows` for a day set that is not empty."""
    end = missing.bit_length()
    if span == 1:
        return FIRST_DAY + end - 1, FIRST_DAY + end - 1
    cut = boundary - FIRST_DAY
    floor = max(0, end - span, cut if end > cut else 0)
    inside = missing >> floor
    begin = floor + (inside & -inside).bit_length()
    return FIRST_DAY + begin - 1, FIRST_DAY + end - 1


@functools.lru_cache(maxsize=4_096)
def count_windows(missing: DaySet, span: int, boundary: Day = FIRST_DAY) -> int:
    """Count the windows that `windows` yields. Cached: accounts often lack the same days."""
    if span == 1:
        return count_days(missing)
    return sum(1 for _ in windows(missing, span, boundary))
