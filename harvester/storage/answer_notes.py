"""Notes on the answers of a partition: what they had that the catalogue does not say."""

from __future__ import annotations

from dataclasses import dataclass, field

from harvester.core import calendar
from harvester.core.calendar import Day, Month
from harvester.core.model import MAX_ODDITIES, OddityKind, Window
from harvester.storage.publication import RowlessElement, SeenOddity
from harvester.tables.decode_batch import BatchResult


@dataclass(slots=True)
class AnswerNotes:
    """Notes on the answers that counted for a partition of ``month``, oldest answer first.

    The members are as in `Published`.
    """

    month: Month
    dropped: int = 0
    unknown: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    delayed: set[Window] = field(default_factory=set)
    oddities: dict[tuple[OddityKind, str], SeenOddity] = field(default_factory=dict)
    rowless: dict[Window, tuple[tuple[Day, str], ...]] = field(default_factory=dict)

    def add(self, window: Window, decoded: BatchResult) -> None:
        """Note an answer's dropped rows, schema drift, oddities and delay."""
        # A window over two months is decoded twice: its dropped rows count in the first one.
        if decoded.dropped and calendar.month_of(window.begin) == self.month:
            self.dropped += decoded.dropped
        if decoded.unknown or decoded.missing:
            self.unknown |= decoded.unknown
            self.missing |= decoded.missing
        for kind, name, value in decoded.oddities:
            if len(self.oddities) < MAX_ODDITIES:
                self.oddities.setdefault((kind, name), SeenOddity(kind, name, value, window))
        # The last answer to a window tells which of its elements have no row.
        if decoded.without_rows or self.rowless:
            self.rowless[window] = decoded.without_rows
        # A mark that is not known does not say that WeChat is still computing.
        unknown = OddityKind.UNKNOWN_MARK
        if decoded.delayed and not any(odd.kind is unknown for odd in decoded.oddities):
            self.delayed.add(window)
        elif self.delayed:
            self.delayed.discard(window)

    def without_rows(self) -> tuple[RowlessElement, ...]:
        """Return the elements without rows of the partition's month."""
        return tuple(
            RowlessElement(window.appid, window.dataset, day, key)
            for window, elements in sorted(self.rowless.items())
            for day, key in elements
            if calendar.month_of(day) == self.month
        )
