"""Quota state of one dataset of one account: the calls that are allocated to it."""

from __future__ import annotations

from dataclasses import dataclass

_UNLIMITED = 1 << 62


@dataclass(slots=True)
class AllocatedCalls:
    """Calls that may be spent without another entry in the ledger. Only its methods change it.

    At ``low_watermark`` the allocation ``needs_refill``; without any call left the dataset is
    ``blocked_on_quota``. ``exhausted_reason`` says why no more can be had today, once that is so.
    ``refusals`` counts the calls of the day that were refused because the quota is spent. Before
    the first day starts, ``allocated`` has no limit.
    """

    allocated: int = _UNLIMITED
    low_watermark: int = -1
    exhausted_reason: str = ""
    needs_refill: bool = False
    blocked_on_quota: bool = False
    refusals: int = 0

    @property
    def unused(self) -> int:
        """The calls that are in the ledger and were not spent."""
        # Without a ledger, as before the first day, there is nothing to give back.
        return self.allocated if self.allocated < _UNLIMITED // 2 else 0

    def spend(self) -> bool:
        """Spend a call. Returns whether the low watermark is reached."""
        self.allocated -= 1
        return self.allocated <= self.low_watermark

    def give_back(self) -> None:
        """Take back a call that was not made."""
        self.allocated += 1

    def reset(self) -> None:
        """Start a day without any call."""
        self.allocated = 0
        self.exhausted_reason = ""
        self.refusals = 0

    def count_refusal(self) -> None:
        """Count a call that was refused because the quota is spent."""
        self.refusals += 1

    def request_refill(self) -> bool:
        """Ask for more calls. Returns False if that was done already."""
        was_requested, self.needs_refill = self.needs_refill, True
        return not was_requested

    def block_if_empty(self) -> bool:
        """Block the dataset if no call is left. Returns whether that is news."""
        if self.allocated > 0 or self.blocked_on_quota:
            return False
        self.blocked_on_quota = True
        return True

    def allocate(self, calls: int, reason: str) -> None:
        """Add calls; ``reason``, if any, says why they are the last of the day."""
        self.allocated += calls
        self.exhausted_reason = reason
        # The last calls are used up, because asking for more is in vain, as it was without any.
        self.low_watermark = self.allocated // 2 if calls and not reason else 0

    def refilled(self) -> bool:
        """Take the request for more calls as settled. Returns whether the dataset was blocked."""
        was_blocked = self.blocked_on_quota
        self.needs_refill = self.blocked_on_quota = False
        return was_blocked
