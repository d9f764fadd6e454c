"""Expectations of the manifest, and how far the files met them on the newest judged day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction
from typing import Any

from harvester.core.plain import plain
from harvester.core.text.wording import Message, said, sentences
from harvester.runs.record.attention import AccountLabel, Attention, in_order, labelled, since_when

CAUSE = "expectation"
"""The cause of the items of attention."""

COMPLETE_BY = "complete_by"
WITH_ROWS = "min_share_with_rows"

MAX_NAMED = 200
"""Accounts that an item names. Of more it names none: the dataset is the matter, and not they."""

_TEXT = {
    COMPLETE_BY: "{day}: {n:,} of {of:,} accounts ({share}) have the day, expected {min}",
    WITH_ROWS: "{day}: {n:,} of {of:,} accounts ({share}) with an answer have rows, expected {min}",
}
_ADVICE = {
    COMPLETE_BY: "`harvester status` says why the others do not; a run asks for what may come.",
    WITH_ROWS: "See WeChat's console. Name days like a holiday as `quiet` in the manifest.",
}


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation of a dataset, judged for the day or period that begins on ``day``.

    ``kind`` is ``"complete_by"`` or ``"min_share_with_rows"``. ``accounts`` counts the judged
    accounts, and ``there`` those that have the day, or rows of it. ``expected`` is the least share
    (0 to 1). ``gate`` is ``"closed"`` if an unmet expectation closes it, otherwise ``"open"``.
    ``lacking`` are the appids of the accounts without the day.
    """

    dataset: str
    kind: str
    day: date
    expected: float
    accounts: int
    there: int
    gate: str
    lacking: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The key of the item of attention."""
        return f"{CAUSE}/{self.dataset}/{self.kind}"

    @property
    def share(self) -> float:
        """Share of the accounts that have the day, or rows of it; 0 to 1."""
        return self.there / self.accounts

    @property
    def is_met(self) -> bool:
        """True if the share is as large as expected."""
        # By decimals: 95 of 100 are 95%, whatever floats make of it.
        return self.there >= Fraction(str(self.expected)) * self.accounts

    @property
    def text(self) -> Message:
        """The day, how many accounts have it or rows of it, and the expected share."""
        # Rounded down, because a share that is too small must not look as large as expected.
        share, least = 1000 * self.there // self.accounts / 10, 100 * self.expected
        numbers = {"n": self.there, "of": self.accounts, "share": f"{share:g}%"}
        return said(_TEXT[self.kind], day=self.day, **numbers, min=f"{least:g}%")

    def to_dict(self) -> dict[str, Any]:
        """Return the expectation as values for JSON, without the appids."""
        members = plain(self)
        del members["lacking"]
        return {**members, "share": round(self.share, 6), "met": self.is_met}


def added(one: Expectation, other: Expectation) -> Expectation:
    """Return an expectation that two shards of a run have judged: counts of one day are added.

    Of two days the newer counts, because no account of the other shard wants it.
    """
    if one.day != other.day:
        return one if one.day > other.day else other
    return replace(
        one,
        accounts=one.accounts + other.accounts,
        there=one.there + other.there,
        lacking=tuple(sorted(one.lacking + other.lacking)),
    )


def attention_of(found: Iterable[Expectation]) -> Iterator[Attention]:
    """Yield the items of unmet expectations, without the labels of the accounts."""
    for each in found:
        if not each.is_met:
            names = each.lacking if len(each.lacking) <= MAX_NAMED else ()
            advice = sentences(each.text, said(_ADVICE[each.kind]))
            accounts = tuple(map(AccountLabel, names))
            yield Attention(each.key, CAUSE, advice, accounts, (each.dataset,))


def by_the_sum(items: Sequence[Attention], found: Iterable[Expectation]) -> tuple[Attention, ...]:
    """Return the items of several shards, those of expectations by the counts of all shards."""
    known = {item.key: item for item in items}
    labels = {label.appid: label for item in items for label in item.accounts}
    unmet = (item for item in labelled(attention_of(found), labels) if item.key in known)
    others = (item for item in items if item.cause != CAUSE)
    return in_order([*others, *since_when(unmet, known)])
