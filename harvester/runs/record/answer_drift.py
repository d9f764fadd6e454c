"""Differences between a dataset's answers and its catalogue entry, as a run reports them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice

from harvester.core.model import MAX_ODDITIES, OddityKind
from harvester.core.text.safe_text import safe_text
from harvester.core.text.wording import Message, counted, entry, said
from harvester.storage.publication import SeenOddity

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
    OddityKind.OTHER_TOTAL: (
        "{name} beside the list was {value}, first of {window}; rows may be missing"
    ),
    OddityKind.LONG_EXTRA: (
        "{name} of a row would have been {value}, first of {window}; only what fits into 64 KiB "
        "is kept"
    ),
    OddityKind.BESIDE_LIST: "{name} stands beside the list, first of {window}; it is not kept",
}


@dataclass(frozen=True, slots=True)
class AnswerDrift:
    """Differences of one dataset.

    ``oddities`` has the first one of each kind and name, and at most MAX_ODDITIES.
    """

    dropped: int
    unknown_members: AbstractSet[str]
    missing_members: AbstractSet[str]
    oddities: Mapping[tuple[OddityKind, str], SeenOddity]

    def joined(self, other: AnswerDrift) -> AnswerDrift:
        """Return these differences and later ones of the same dataset."""
        others = (item for item in other.oddities.items() if item[0] not in self.oddities)
        return AnswerDrift(
            self.dropped + other.dropped,
            self.unknown_members | other.unknown_members,
            self.missing_members | other.missing_members,
            dict(islice((*self.oddities.items(), *others), MAX_ODDITIES)),
        )

    def notes(self, dataset: str) -> Iterator[str]:
        """Yield a line for each kind of difference."""
        if self.dropped:
            rows = counted(self.dropped, "row")
            yield said("{dataset}: dropped {rows} outside the window", dataset=dataset, rows=rows)
        if self.unknown_members:
            names = [*map(safe_text, sorted(self.unknown_members))]
            undeclared = "{dataset}: undeclared members went to _extra: {names}"
            yield said(undeclared, dataset=dataset, names=names)
        if self.missing_members:
            names = sorted(self.missing_members)
            yield said("{dataset}: members without a value: {names}", dataset=dataset, names=names)
        yield from map(odd_line, self.oddities.values())


def odd_line(seen: SeenOddity) -> Message:
    """Return an oddity as a line for people."""
    kind, name, value, window = seen
    text = said(_ODD[kind], name=name, value=value, window=window)
    return entry(window.dataset, text)
