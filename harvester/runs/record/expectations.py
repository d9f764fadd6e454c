"""Expectations of the manifest, and how far the files met them on the newest judged day.

They are judged by the files alone, and nothing is kept from one judgement to the next: the coverage
shows which accounts are new. See docs/decisions/0053-expectations.md.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from fractions import Fraction
from functools import reduce
from typing import Any, NamedTuple

from harvester.core import calendar, readiness
from harvester.core.calendar import FIRST_DAY, NO_DAYS, Day, DaySet
from harvester.core.config.expect import USUAL_TIME, Expect
from harvester.core.config.parsers import begin_day
from harvester.core.config.settings import Manifest
from harvester.core.dataset import Dataset
from harvester.core.plain import plain
from harvester.core.text.wording import Message, said, sentences
from harvester.planning.wanted_days import Wanted
from harvester.runs.record.attention import AccountLabel, Attention, in_order, labelled, since_when
from harvester.storage.coverage_scan import States

CAUSE = "expectation"
"""The cause of the items of attention."""

COMPLETE_BY = "complete_by"
WITH_ROWS = "min_share_with_rows"

FIRST_DAYS = 14
"""Days after the oldest covered one on which nothing is expected of an account."""

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


class Expectation(NamedTuple):
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


def judge(
    manifest: Manifest,
    want: Wanted,
    states: Mapping[str, Mapping[str, States]],
    lost: Container[tuple[str, str, str]],
    now: float,
) -> tuple[Expectation, ...]:
    """Return the expectations that can be judged at ``now``, in seconds since the Unix epoch.

    ``want`` has the wanted days of the accounts that are not paused, and ``states`` are theirs.
    ``lost`` has datasets and appids of which days do not come by themselves, with the reason.
    """
    found: list[Expectation] = []
    for name, expect in manifest.expect.items():
        of_dataset = want.get(name, {})
        day = _judged_day(manifest.datasets[name], expect, of_dataset.values(), now)
        if day is None:
            continue
        begin = _begin_of_known(manifest, name, day, now)
        judged = {
            appid: states[name][appid]
            for appid, wanted in of_dataset.items()
            if calendar.has_day(wanted, day)
            and (name, appid, "refused") not in lost
            and _is_known(
                wanted, states[name][appid], begin, has_lost=(name, appid, "failed") in lost
            )
        }
        found += _judged(name, expect, day, judged)
    return tuple(found)


def _judged_day(
    dataset: Dataset, expect: Expect, wanted: Iterable[DaySet], now: float
) -> Day | None:
    """Return the newest wanted day or period that is due, None if it is quiet or there is none."""
    time = USUAL_TIME if expect.complete_by is None else expect.complete_by.time
    due = replace(dataset, ready_minutes=max(time, dataset.ready_minutes))
    # Nearly all accounts want the same days.
    every = reduce(int.__or__, {*wanted}, NO_DAYS)
    every &= calendar.day_range(FIRST_DAY, readiness.newest_ready(due, now))
    if not every:
        return None
    day = calendar.newest(every)
    period = calendar.day_range(day, readiness.period_end(dataset.grain, day))
    return day if period & ~expect.quiet_days else None


def _begin_of_known(manifest: Manifest, name: str, day: Day, now: float) -> Day:
    """Return the newest day that may be the oldest covered one of an account that is judged."""
    texts = (job.written[0] for job in manifest.jobs if name in job.datasets)
    today = calendar.today(now)
    begins = (begin_day(text, today) if text.startswith("-") else FIRST_DAY for text in texts)
    # A job with a begin of -7d never wants a day that is older, so that its whole range is enough.
    wanted = readiness.periods(manifest.datasets[name].grain, min(begins, default=FIRST_DAY), day)
    return max(day - FIRST_DAYS, calendar.oldest(wanted) if wanted else FIRST_DAY)


def _is_known(wanted: DaySet, state: States, begin: Day, *, has_lost: bool) -> bool:
    """Return whether an account is beyond its first backfill and its first days."""
    if not state.covered:
        return False
    oldest = calendar.oldest(state.covered)
    # If days failed for good, those may be the ones that are missing before.
    return oldest <= begin and (has_lost or calendar.oldest(wanted) == oldest)


def _judged(
    name: str, expect: Expect, day: Day, states: Mapping[str, States]
) -> Iterator[Expectation]:
    """Yield the expectations of a dataset for the states of the accounts that count."""
    lacking = sorted(x for x, state in states.items() if not calendar.has_day(state.answered, day))
    answered = len(states) - len(lacking)
    by, rows, gate = expect.complete_by, expect.min_share_with_rows, expect.gate or "open"
    date = calendar.date_of(day)
    if by is not None and states:
        counts = len(states), answered
        yield Expectation(name, COMPLETE_BY, date, by.share, *counts, gate, tuple(lacking))
    # While most answers are missing, those that came first need not be like the rest.
    if rows and answered and 2 * answered >= len(states):
        filled = (state.with_rows & state.answered for state in states.values())
        there = sum(calendar.has_day(days, day) for days in filled)
        yield Expectation(name, WITH_ROWS, date, rows, answered, there, gate)


def added(one: Expectation, other: Expectation) -> Expectation:
    """Return an expectation that two shards of a run have judged: counts of one day are added.

    Of two days the newer counts, because no account of the other shard wants it.
    """
    if one.day != other.day:
        return one if one.day > other.day else other
    return one._replace(
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


def by_the_sum(items: Iterable[Attention], found: Iterable[Expectation]) -> tuple[Attention, ...]:
    """Return the items of several shards. Counts of all shards decide about expectations."""
    items = in_order(items)
    known = {item.key: item for item in items}
    labels = {label.appid: label for item in items for label in item.accounts}
    unmet = (item for item in labelled(attention_of(found), labels) if item.key in known)
    others = (item for item in items if item.cause != CAUSE)
    return in_order([*others, *since_when(unmet, known)])
