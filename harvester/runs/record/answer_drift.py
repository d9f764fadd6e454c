"""Differences between a dataset's answers and its catalogue entry, as a run reports them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from harvester.core.text.safe_text import safe_text
from harvester.storage.answer_notes import SeenOddity
from harvester.storage.publication import Published
from harvester.tables.oddities import MAX_ODDITIES, OddityKind

_DECIDED_BY = "`harvester datasets article_total_detail` has the query that decides"

_ODD = {
    OddityKind.UNKNOWN_MARK: (
        "is_delay was {name}, neither true nor false, first of {window}; such rows are published, "
        "and their days stay provisional"
    ),
    OddityKind.FALLING_TOTAL: (
        "{name} fell {value}, first of {window}; a total cannot, so the rows may count single "
        f"days: {_DECIDED_BY}"
    ),
    OddityKind.ABOVE_MAXIMUM: (
        "{name} was {value}, first of {window}, though WeChat documents a share from 0 to 1"
    ),
}


@dataclass(slots=True)
class AnswerDrift:
    """Differences of one dataset, collected from `Published`.

    ``oddities`` has the first one of each kind and name, and at most MAX_ODDITIES.
    """

    dataset: str
    dropped: int = 0
    unknown_members: set[str] = field(default_factory=set)
    missing_members: set[str] = field(default_factory=set)
    oddities: dict[tuple[OddityKind, str], SeenOddity] = field(default_factory=dict)

    def add(self, item: Published) -> list[str]:
        """Take in the result of publishing a file; return a line for each oddity that is new."""
        self.dropped += item.dropped
        self.unknown_members |= item.unknown
        self.missing_members |= item.missing
        news = [
            seen
            for seen in item.oddities
            if seen.key not in self.oddities and len(self.oddities) < MAX_ODDITIES
        ]
        self.oddities |= {seen.key: seen for seen in news}
        return list(map(self._odd, news))

    def merge(self, other: AnswerDrift) -> None:
        """Take in what another process has collected of the same dataset."""
        self.dropped += other.dropped
        self.unknown_members |= other.unknown_members
        self.missing_members |= other.missing_members
        both = {**other.oddities, **self.oddities}
        self.oddities = dict(islice(both.items(), MAX_ODDITIES))

    def notes(self) -> Iterator[str]:
        """Yield a line for each kind of difference."""
        if self.dropped:
            yield f"{self.dataset}: {self.dropped:,} rows outside the window were dropped"
        if self.unknown_members:
            names = ", ".join(map(safe_text, sorted(self.unknown_members)))
            yield f"{self.dataset}: undeclared members went to _extra: {names}"
        if self.missing_members:
            names = ", ".join(sorted(self.missing_members))
            yield f"{self.dataset}: members without a value: {names}"
        yield from map(self._odd, self.oddities.values())

    def _odd(self, seen: SeenOddity) -> str:
        kind, name, value, window = seen
        return f"{self.dataset}: {_ODD[kind].format(name=name, value=value, window=window)}"
