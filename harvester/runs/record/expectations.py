"""Expectations of the manifest, and how far the files met them on the newest judged day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from harvester.core.calendar import Day
from harvester.core.plain import plain

COMPLETE_BY = "complete_by"
WITH_ROWS = "min_share_with_rows"


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation of a dataset, judged for the day or period that begins on ``day``.

    ``kind`` is ``"complete_by"`` or ``"min_share_with_rows"``. Of ``accounts`` that count, so many
    as ``there`` have the day, or rows of it; ``expected`` is the least share (0 to 1). ``gate`` is
    ``"closed"`` if an unmet one closes it, and else ``"open"``. ``lacking`` are the appids of the
    accounts without the day.
    """

    dataset: str
    kind: str
    day: Day
    expected: float
    accounts: int
    there: int
    gate: str
    lacking: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Share of the accounts that have the day, or rows of it; 0 to 1."""
        return self.there / self.accounts

    @property
    def is_met(self) -> bool:
        """True if the share is as large as expected."""
        # By decimals: 95 of 100 are 95%, whatever floats make of it.
        return self.there >= Fraction(str(self.expected)) * self.accounts

    def to_dict(self) -> dict[str, Any]:
        """Return the expectation as values for JSON, without the appids."""
        members = plain(self)
        del members["lacking"]
        return {**members, "share": round(self.share, 6), "met": self.is_met}


def added(one: Iterable[Expectation], other: Iterable[Expectation]) -> tuple[Expectation, ...]:
    """Return the expectations of two shards of a run: counts of one day are added.

    Of two days the newer counts, because no account of the other shard wants it.
    """
    found: dict[tuple[str, str], Expectation] = {}
    for each in (*one, *other):
        known = found.setdefault((each.dataset, each.kind), each)
        if known is not each and known.day == each.day:
            found[each.dataset, each.kind] = replace(
                known,
                accounts=known.accounts + each.accounts,
                there=known.there + each.there,
                lacking=known.lacking + each.lacking,
            )
        elif known.day < each.day:
            found[each.dataset, each.kind] = each
    return tuple(found.values())
