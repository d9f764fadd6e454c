"""Windows of a day set: the fewest that cover it, one by one, newest first.

A call pays for its whole span, so a window reaches back over the span and takes along what is known
already.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from harvester.core.calendar import FIRST_DAY, NO_DAYS, Day, DaySet, count_days


def windows(missing: DaySet, span: int, along: DaySet = NO_DAYS) -> Iterator[tuple[Day, Day]]:
    """Yield the fewest windows of at most ``span`` days that cover a day set, newest first.

    A window ends on a missing day, and begins on the oldest day within its span that is missing or
    in ``along``. Days in between may be known already, because calls are scarce and rows are not.
    """
    # Greedy from the newest day is optimal: its window can reach back no further than the span.
    while missing:
        begin, end = newest_window(missing, span, along)
        yield begin, end
        missing &= (1 << (begin - FIRST_DAY)) - 1


def newest_window(missing: DaySet, span: int, along: DaySet = NO_DAYS) -> tuple[Day, Day]:
    """Return the first of `windows` for a day set that is not empty."""
    end = missing.bit_length()
    if span == 1:
        return FIRST_DAY + end - 1, FIRST_DAY + end - 1
    floor = max(0, end - span)
    inside = missing >> floor | along >> floor
    begin = floor + (inside & -inside).bit_length()
    return FIRST_DAY + begin - 1, FIRST_DAY + end - 1


@functools.lru_cache(maxsize=4_096)
def count_windows(missing: DaySet, span: int) -> int:
    """Count the windows that `windows` yields. Cached: accounts often lack the same days."""
    # The days taken along make no window more.
    if span == 1:
        return count_days(missing)
    return sum(1 for _ in windows(missing, span))
