"""The quota: how many calls of a Beijing day a run may spend, and when to ask WeChat.

WeChat counts calls per account, dataset and Beijing day. When it is asked, it reports the limit and
the remaining calls. A run may spend the smaller of the two, minus three numbers: the reserve for
the account's other users, the calls made since the answer, and the calls for days that get ready
later today. It asks before it makes many calls, and again after a quarter of the remaining calls.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from harvester.core import calendar
from harvester.core.config.settings import ASSUMED_QUOTA, Limits, Pace
from harvester.core.model import ReportedQuota
from harvester.planning.ledger import Ledger

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


class Block(NamedTuple):
    """Calls entered into a ledger. ``limit`` is the reason if they are the last, else empty."""

    calls: int
    limit: str = ""


class DailyQuota:
    """The quota of one dataset of one account on the day of the ledger.

    It has the numbers of the ledger at the time when it is made. ``kept`` is the number of calls
    left for days that get ready later today. ``quota`` is the limit of a day, and ``origin`` says
    where it comes from: ``"read"`` from WeChat, ``"set"`` or ``"assumed"``.
    """

    def __init__(
        self, limits: Limits, ledger: Ledger, dataset: str, appid: str, *, kept: int = 0
    ) -> None:
        self._limits = limits
        self._ledger = ledger
        self._pair = dataset, appid
        self._kept = kept
        self._known = known = ledger.quota(dataset, appid)
        self._spent = ledger.spent(dataset, appid)
        told = known.reported if known.reported and known.reported.daily_limit else None
        if limits.daily_quota is not None:
            self.quota, self.origin = limits.daily_quota, "set"
        elif told is not None:
            self.quota, self.origin = told.daily_limit, "read"
        else:
            self.quota, self.origin = ASSUMED_QUOTA, "assumed"
        self._reserve = limits.daily_reserve.of(self.quota)
        # The most calls that the ledger may have, the reserve included.
        self._counted, self._room = 0, self.quota
        if told is not None and calendar.today(told.asked_at) == ledger.day:
            self._counted = known.counted
            self._room = min(self.quota, known.counted + told.remain)

    @property
    def is_refused(self) -> bool:
        """True if WeChat was asked for the quota and refused to report it."""
        return self._known.is_refused and self._limits.daily_quota is None

    @property
    def budget(self) -> int:
        """The number of calls that a whole day is expected to allow, without the reserve."""
        calls = max(0, self.quota - self._reserve)
        # No reserve of it, because it is what the account's other users have left.
        return min(calls, self._known.taught or calls)

    def left(self, *, reserve_too: bool = False) -> int:
        """Return how many calls may still be spent.

        ``reserve_too`` includes the reserve and the calls left for days that get ready later today.
        """
        if self._ledger.exhausted_by(*self._pair) is not None:
            return 0
        kept = 0 if reserve_too else self._reserve + self._kept
        return max(0, self._room - kept - self._spent)

    def next_block(self, calls: int, *, owed: int, unused: int) -> Block | None:
        """Enter the next calls; return None if a question to WeChat must come before them.

        ``calls`` is the size of the block, ``owed`` the minimum that the dataset needs in all, and
        ``unused`` the calls that it already has.
        """
        left, unasked = self.left(), self._unasked()
        # Not if the limit is known and nothing is left: the answer would not raise it.
        if calls > unasked and (left or self.origin != "read"):
            if owed > unasked == 0 == unused:
                return None
            # What it has is used before a question. With none owed, a few are for retries.
            calls = unasked or (0 if unused else _SPARE)
        calls = min(calls, left)
        self._ledger.add(*self._pair, calls)
        return Block(calls, self.explain() if calls == left else "")

    def asking(self) -> None:
        """Count a question, before it is put."""
        questions, day = self._questions() + 1, self._ledger.day
        self._know(questions=questions, asked_on=day, ask_beyond=self._spent)

    def answered(self, told: ReportedQuota | str | None, counted: int = 0) -> None:
        """Take in an answer, which includes the first ``counted`` calls of the ledger.

        ``told`` is a text if WeChat refused to report the quota, which is asked for again on a
        later day. It is None if no answer came; the known values apply until the next question.
        """
        if told is None:
            self._know(ask_beyond=self._spent + min(_quarter(self.left()), UNASKED_CALLS // 4))
        elif isinstance(told, str):
            self._know(is_refused=True)
        else:
            self._know(reported=told, counted=counted, is_refused=False)
            self._know(ask_beyond=counted + _quarter(told.remain))
            if calendar.today(told.asked_at) > self._known.taught_on:
                self._know(taught=0)

    def teach(self, calls: int) -> None:
        """Record ``calls`` as the limit that WeChat enforced on this day."""
        self._know(taught=calls, taught_on=self._ledger.day)

    def outgrow(self) -> None:
        """Forget what an earlier day allowed if this one allowed more."""
        if 0 < self._known.taught < self._spent and self._known.taught_on < self._ledger.day:
            self._know(taught=0)

    def forget_spent(self) -> None:
        """Treat the quota as unspent, as the user says; limit and questions stay known."""
        dataset, appid = self._pair
        self._ledger.add(dataset, appid, -self._spent)
        self._ledger.today.exhausted.get(dataset, {}).pop(appid, None)
        told = self._known.reported
        if told is not None:
            told = ReportedQuota(told.daily_limit, 0, told.daily_limit, _OF_NO_DAY)
        self._know(reported=told, counted=0, ask_beyond=None, taught=0)

    def questions(self, calls: int) -> int:
        """Return how often this run asks WeChat for the quota during its next ``calls`` calls."""
        end = self._spent + min(calls, self.left())
        beyond, found = self._spent + self._unasked(), 0
        while end > beyond and self._questions() + found < MAX_QUESTIONS:
            found += 1
            beyond += _quarter(self._room - beyond)
        return found

    def explain(self) -> str:
        """Return a text with the numbers that limit the calls."""
        text = f"{self.quota:,} calls a day ({self.origin})"
        if self._room < self.quota:
            text += f", {self.quota - self._room:,} of them taken by the account's other users"
        if self._reserve:
            text += f", {self._reserve:,} of them reserved"
        if self._kept:
            text += f", {self._kept:,} kept for what gets ready later today"
        return text

    def _know(self, **changes: Any) -> None:
        self._ledger.know(*self._pair, **changes)
        self._known = self._ledger.quota(*self._pair)

    def _questions(self) -> int:
        """Return the number of questions put on this day."""
        return self._known.questions if self._known.asked_on == self._ledger.day else 0

    def _unasked(self) -> int:
        """Return how many more calls may be entered before the next question."""
        known, origin = self._known, self.origin
        of_today = known.asked_on == self._ledger.day
        asked_enough = self._questions() >= MAX_QUESTIONS
        if origin == "set" or asked_enough or (of_today and known.is_refused):
            return _NEVER
        if of_today and known.ask_beyond is not None:
            return max(0, known.ask_beyond - self._spent)
        beyond = UNASKED_CALLS
        if origin == "read":
            beyond = max(beyond, self._counted + _quarter(self._room - self._counted))
        return max(0, beyond - self._spent)


def block(pace: Pace, windows: int, made: int) -> int:
    """Return the size of the next block of calls, for windows to ask and calls ``made`` so far."""
    # One second's worth at first, then as many as were made: a run killed at once wastes few.
    rate = pace.rate.count / pace.rate.period
    calls = min(int(BLOCK_SECONDS * rate), max(int(rate), made))
    return min(max(_MIN_BLOCK, calls), windows + windows // 4 + _SPARE)


def with_retries(windows: int) -> int:
    """Return the number of calls for ``windows`` if one attempt in six fails."""
    return windows + -(-windows // 5)


def _quarter(calls: int) -> int:
    return max(1, calls // 4)
