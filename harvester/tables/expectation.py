"""Expectation: whether rows were to be expected where an answer had none.

An account that has rows on both sides of a window of several days, or around a single day, hardly
had none in between. Such an answer is asked for once more: see
`harvester.scheduling.second_questions`.
"""

from __future__ import annotations

from harvester.core import calendar
from harvester.core.calendar import FIRST_DAY
from harvester.core.dataset import Dataset
from harvester.core.model import Window
from harvester.tables.evidence import History

_NEWER = 7
"""Days after a single day that say what is usual, as far as they were answered."""

_AROUND = 14
"""Days around a single day that say so, together with those before it."""

_USUAL = 13
"""So many of them have rows where rows are to be expected."""


def expects_rows(dataset: Dataset, window: Window, history: History) -> bool:
    """Return whether an answer without rows contradicts the other days of its account."""
    begin, end = window.begin - FIRST_DAY, window.end - FIRST_DAY + 1
    rows = history.with_rows
    if dataset.gapless:
        return bool(rows & ((1 << end) - 1))
    if dataset.span > 1:
        # A row inside is one that this answer lacks.
        from_begin = rows >> begin
        inside = from_begin & ((1 << end - begin) - 1)
        return bool(inside or (from_begin and rows & ((1 << begin) - 1)))
    week = (1 << _NEWER) - 1
    older = _AROUND - calendar.count_days(history.answered >> end & week)
    before = rows >> max(0, begin - older) & ((1 << min(begin, older)) - 1)
    after = rows >> end & week
    return calendar.count_days(before) + calendar.count_days(after) >= _USUAL
