"""The daily quota: how many calls of a Beijing day a run may spend, and when to ask WeChat.

WeChat counts calls per account, dataset and Beijing day, and tells both the limit and what remains
of it if it is asked. A run may spend the smaller of the two less a reserve for the account's other
users, less the calls made since the answer, and less the calls for days that get ready later today.
It asks before it makes many calls, and again when it is about to spend a quarter of what remained.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from harvester.core import calendar
from harvester.core.calendar import Day
from harvester.core.config.settings import ASSUMED_QUOTA, Limits, Pace
from harvester.core.model import ReportedQuota
from harvester.planning.quota import Calls, DayLedger, are_counts

UNASKED_CALLS = 200
"""Calls of one dataset of one account and day that are made without a question."""

MAX_QUESTIONS = 4
"""Maximum questions for one dataset of one account and day."""

BLOCK_SECONDS = 10.0
"""Duration of a block at the full rate."""

_MIN_BLOCK = 20
_SPARE = 3
_NEVER = 1 << 62
_OF_NO_DAY = 0.0

Pair: TypeAlias = tuple[str, str]
"""An appid and a dataset."""


class QuotaLimit(NamedTuple):
    """The size of a quota, and its origin: ``"read"`` from WeChat, ``"set"`` or ``"assumed"``."""

    quota: int
    origin: str


class Need(NamedTuple):
    """Calls that a dataset of an account needs: ``owed`` ones at least, ``unused`` it has already.

    ``wanted`` is the size of its next block.
    """

    wanted: int
    owed: int
    unused: int


class Block(NamedTuple):
    """Calls that were entered into a ledger; ``limit`` says why they are the last, if they are."""

    calls: int
    limit: str = ""


@dataclass(slots=True)
class KnownQuota:
    """The knowledge of the quota of one dataset of one account.

    ``reported`` is the last answer of WeChat. It includes the first ``counted`` calls of the ledger
    of its day; None if their number is unknown. ``questions`` were put on the day ``asked_on``; the
    next one is due before more than ``ask_beyond`` calls of its ledger, None without any that day.
    ``is_refused`` is True if WeChat refused the last question. ``taught`` calls were allowed on the
    day ``taught_on``, when WeChat last said that the quota is spent; 0 if it never did.
    """

    reported: ReportedQuota | None = None
    counted: int | None = None
    asked_on: Day = 0
    questions: int = 0
    ask_beyond: int | None = None
    is_refused: bool = False
    taught: int = 0
    taught_on: Day = 0

    def __post_init__(self) -> None:
        """Raise ValueError for numbers that no run enters."""
        days = (self.asked_on, self.taught_on)
        counts = (self.counted or 0, self.questions, self.ask_beyond or 0, self.taught)
        if not are_counts((*days, *counts, *(self.reported or ()))):
            raise ValueError("numbers that no quota has")

    def questions_on(self, day: Day) -> int:
        """Return the number of questions put on a day."""
        return self.questions if self.asked_on == day else 0

    def remained_on(self, ledger: DayLedger, spent: int) -> int | None:
        """Return for how many calls of a ledger there is room; None if nothing was told that day.

        ``spent`` are the calls in it.
        """
        told = self.reported
        if told is None or not told.daily_limit or calendar.today(told.asked_at) != ledger.day:
            return None
        # Before the first run after a check nothing else can be known.
        counted = min(told.used, spent) if self.counted is None else self.counted
        return counted + told.remain

    def forget_spent(self) -> None:
        """Treat the quota as unspent; the limit and the number of questions stay known."""
        if self.reported is not None:
            limit = self.reported.daily_limit
            self.reported = ReportedQuota(limit, 0, limit, _OF_NO_DAY)
        self.counted = self.ask_beyond = None
        self.taught = 0


class Quota:
    """The calls that may be spent, by the manifest's limits and by what is known of the quotas.

    ``known`` is by appid and dataset, and grows as WeChat answers.
    """

    def __init__(self, limits: Limits, known: dict[Pair, KnownQuota] | None = None) -> None:
        self._limits = limits
        self._known = {} if known is None else known
        self._reserved: Calls = {}

    def reserve(self, calls: Calls) -> None:
        """Leave these calls for the days that get ready later today, in place of earlier ones."""
        self._reserved = calls

    def known(self, pairs: Iterable[Pair]) -> dict[Pair, KnownQuota]:
        """Return what is known of the quotas of some pairs."""
        return {pair: self._known[pair] for pair in pairs if pair in self._known}

    def limit(self, dataset: str, appid: str) -> QuotaLimit:
        """Return the quota of a dataset of an account."""
        if self._limits.daily_quota is not None:
            return QuotaLimit(self._limits.daily_quota, "set")
        told = self._read(dataset, appid).reported
        if told is None or not told.daily_limit:
            return QuotaLimit(ASSUMED_QUOTA, "assumed")
        return QuotaLimit(told.daily_limit, "read")

    def is_refused(self, dataset: str, appid: str) -> bool:
        """Return whether WeChat was asked for the quota and did not tell it."""
        return self._read(dataset, appid).is_refused and self._limits.daily_quota is None

    def budget(self, dataset: str, appid: str) -> int:
        """Return the calls that can be expected of a whole day, the reserve left out."""
        quota = self.limit(dataset, appid).quota
        calls = max(0, quota - self._limits.daily_reserve.of(quota))
        # No reserve of it, because it is what the account's other users have left.
        return min(calls, self._read(dataset, appid).taught or calls)

    def left(
        self, ledger: DayLedger, dataset: str, appid: str, *, reserve_too: bool = False
    ) -> int:
        """Return how many calls may still be spent on the day of a ledger.

        ``reserve_too`` counts those that a run leaves to others and to later days.
        """
        if ledger.exhausted_by(dataset, appid) is not None:
            return 0
        quota, spent = self.limit(dataset, appid).quota, ledger.spent(dataset, appid)
        room = self._room(ledger, dataset, appid)
        kept = self._limits.daily_reserve.of(quota) + self._kept(dataset, appid)
        kept = 0 if reserve_too else kept
        return max(0, room - kept - spent)

    def next_block(self, ledger: DayLedger, dataset: str, appid: str, need: Need) -> Block | None:
        """Enter the next calls; return None if a question to WeChat must come before them."""
        calls, left = need.wanted, self.left(ledger, dataset, appid)
        unasked = self._unasked(ledger, dataset, appid)
        # Not asked for nothing: the answer would not make a limit that is known any greater.
        if calls > unasked and (left or self.limit(dataset, appid).origin != "read"):
            if need.owed - need.unused > unasked == 0 == need.unused:
                return None
            # All that it has is used first. Without any need, calls in flight may still fail.
            calls = unasked or (0 if need.unused else _SPARE)
        calls = min(calls, left)
        ledger.add(dataset, appid, calls)
        return Block(calls, self.explain(ledger, dataset, appid) if calls == left else "")

    def settle(self, ledger: DayLedger, dataset: str, appid: str) -> bool:
        """Fix how many calls of a ledger an answer to a check includes. Returns whether it was not.

        To be called before calls of the ledger are entered.
        """
        known = self._read(dataset, appid)
        if known.counted is not None or known.remained_on(ledger, 0) is None:
            return False
        told = known.reported
        known.counted = min(told.used if told else 0, ledger.spent(dataset, appid))
        return True

    def asking(self, ledger: DayLedger, dataset: str, appid: str) -> None:
        """Count a question, before it is put."""
        known = self._known.setdefault((appid, dataset), KnownQuota())
        known.questions = known.questions_on(ledger.day) + 1
        known.asked_on, known.ask_beyond = ledger.day, ledger.spent(dataset, appid)

    def answered(self, pair: Pair, told: ReportedQuota, counted: int) -> None:
        """Take in an answer, which includes the first ``counted`` calls of the ledger."""
        known = self._known[pair]
        known.reported, known.counted, known.is_refused = told, counted, False
        known.ask_beyond = counted + _quarter(told.remain)
        if calendar.today(told.asked_at) > known.taught_on:
            known.taught = 0

    def refused(self, pair: Pair) -> None:
        """Take in that WeChat does not tell a quota. It is asked again on a later day."""
        self._known[pair].is_refused = True

    def unanswered(self, ledger: DayLedger, dataset: str, appid: str) -> None:
        """Take in that a question got no answer: what is known decides until the next one."""
        left = self.left(ledger, dataset, appid)
        spent = ledger.spent(dataset, appid)
        self._known[appid, dataset].ask_beyond = spent + min(_quarter(left), UNASKED_CALLS // 4)

    def teach(self, ledger: DayLedger, dataset: str, appid: str, calls: int) -> None:
        """Take in that WeChat allowed so many calls on a day, and not one more."""
        known = self._known.setdefault((appid, dataset), KnownQuota())
        known.taught, known.taught_on = calls, ledger.day

    def outgrow(self, ledger: DayLedger, dataset: str, appid: str) -> bool:
        """Forget what a day allowed if a later one allowed more. Returns whether it did."""
        known = self._read(dataset, appid)
        if not 0 < known.taught < ledger.spent(dataset, appid) or known.taught_on >= ledger.day:
            return False
        known.taught = 0
        return True

    def forget_spent(self, dataset: str, appid: str) -> bool:
        """Treat a quota as unspent, as the user says. Returns whether anything was known of it."""
        known = self._known.get((appid, dataset))
        if known is not None:
            known.forget_spent()
        return known is not None

    def questions(self, ledger: DayLedger, dataset: str, appid: str, calls: int) -> int:
        """Count the questions before so many calls, if no other user spends any meanwhile."""
        spent = ledger.spent(dataset, appid)
        end = spent + min(calls, self.left(ledger, dataset, appid))
        room = self._room(ledger, dataset, appid)
        asked = self._read(dataset, appid).questions_on(ledger.day)
        beyond, found = spent + self._unasked(ledger, dataset, appid), 0
        while end > beyond and asked + found < MAX_QUESTIONS:
            found += 1
            beyond += _quarter(room - beyond)
        return found

    def explain(self, ledger: DayLedger, dataset: str, appid: str) -> str:
        """Return the numbers that decide how many calls there are, as words."""
        numbers = self.limit(dataset, appid)
        reserve = self._limits.daily_reserve.of(numbers.quota)
        text = f"{numbers.quota:,} calls a day ({numbers.origin})"
        if (room := self._room(ledger, dataset, appid)) < numbers.quota:
            text += f", {numbers.quota - room:,} of them taken by the account's other users"
        if reserve:
            text += f", {reserve:,} of them reserved"
        if kept := self._kept(dataset, appid):
            text += f", {kept:,} kept for what gets ready later today"
        return text

    def _read(self, dataset: str, appid: str) -> KnownQuota:
        return self._known.get((appid, dataset), _NOTHING_KNOWN)

    def _room(self, ledger: DayLedger, dataset: str, appid: str) -> int:
        """Return the most calls that a ledger may have, the reserve included."""
        quota = self.limit(dataset, appid).quota
        spent = ledger.spent(dataset, appid)
        remained = self._read(dataset, appid).remained_on(ledger, spent)
        return quota if remained is None else min(quota, remained)

    def _unasked(self, ledger: DayLedger, dataset: str, appid: str) -> int:
        """Return how many more calls may be entered into a ledger before the next question."""
        known, numbers = self._read(dataset, appid), self.limit(dataset, appid)
        of_today = known.asked_on == ledger.day
        asked_enough = known.questions_on(ledger.day) >= MAX_QUESTIONS
        if numbers.origin == "set" or asked_enough or (of_today and known.is_refused):
            return _NEVER
        spent = ledger.spent(dataset, appid)
        if of_today and known.ask_beyond is not None:
            return max(0, known.ask_beyond - spent)
        beyond = UNASKED_CALLS
        if numbers.origin == "read":
            room = self._room(ledger, dataset, appid)
            counted = known.counted or 0 if known.remained_on(ledger, spent) is not None else 0
            beyond = max(beyond, counted + _quarter(room - counted))
        return max(0, beyond - spent)

    def _kept(self, dataset: str, appid: str) -> int:
        return self._reserved.get(dataset, {}).get(appid, 0)


_NOTHING_KNOWN = KnownQuota()


def _quarter(calls: int) -> int:
    return max(1, calls // 4)


def block(pace: Pace, windows: int, made: int) -> int:
    """Return the size of the next block of calls, for windows to ask and calls ``made`` so far."""
    # One second's worth at first, then as many as were made: a run killed at once wastes few.
    rate = pace.rate.count / pace.rate.period
    calls = min(int(BLOCK_SECONDS * rate), max(int(rate), made))
    return min(max(_MIN_BLOCK, calls), windows + windows // 4 + _SPARE)


def with_retries(windows: int) -> int:
    """Return the calls that so many windows need if one attempt in six fails."""
    return windows + -(-windows // 5)
