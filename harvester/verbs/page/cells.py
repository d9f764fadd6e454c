"""Days as cells of the page's map: four bits a day, a row of bytes an account.

The even day of two is in the low half of a byte. `page.js` has the same numbers.
"""

from __future__ import annotations

import functools
import zlib
from base64 import b64encode
from collections.abc import Iterable

from harvester.core import calendar
from harvester.core.calendar import DaySet
from harvester.core.dataset import Grain
from harvester.core.day_states import REASONS, DaysInState

_FINAL, _PROVISIONAL, _MISSING, _QUARANTINED, _PAUSED = 1, 3, 5, 11, 12
"""Numbers of the states. One more stands for no rows, and for the next reason of missing days."""


def row(found: Iterable[DaysInState], grain: Grain, columns: range) -> bytes:
    """Return the cells of an account; ``columns`` are the days of the map.

    A period of a week or a month is one on each of its days.
    """
    # No day is in two states, so that nothing is carried.
    cells = sum(_number(item) * _spread(whole_periods(item.days, grain), columns) for item in found)
    return cells.to_bytes((len(columns) + 1) // 2, "little")


def _number(item: DaysInState) -> int:
    if item.state == "quarantined":
        return _QUARANTINED
    if item.reason:
        return _PAUSED if item.reason == "paused" else _MISSING + REASONS.index(item.reason)
    return (_PROVISIONAL if item.state == "provisional" else _FINAL) + (not item.has_rows)


@functools.lru_cache(maxsize=4_096)
def whole_periods(days: DaySet, grain: Grain) -> DaySet:
    """Return all days of the weeks or months that begin on these days."""
    if grain is Grain.WEEK:
        return functools.reduce(int.__or__, (days << later for later in range(7)))
    if grain is Grain.MONTH:
        return sum(map(calendar.month_days, calendar.each_month(days)))
    return days


@functools.lru_cache(maxsize=4_096)
def _spread(days: DaySet, columns: range) -> int:
    """Return a number with a bit in the lowest of four for each day of the map."""
    inside = days >> (columns.start - calendar.FIRST_DAY) & ((1 << len(columns)) - 1)
    # The digits of base 2, read as those of base 16: this takes time in proportion to the days.
    return int(f"{inside:b}", 16)


def compressed(rows: Iterable[bytes]) -> str:
    """Return rows as a text: deflated, in base 64."""
    # Days repeat or are at random. Runs alone are found in a tenth of the time, and are smaller.
    packer = zlib.compressobj(strategy=zlib.Z_RLE)
    packed = b"".join(map(packer.compress, rows))
    return b64encode(packed + packer.flush()).decode()
