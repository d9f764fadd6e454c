"""Exit codes of all commands, and the outcomes that they stand for."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, StrEnum


class Outcome(StrEnum):
    """Words for the end of a run, the same in records, answers, exceptions and outputs."""

    COMPLETE = "complete"
    UNFINISHED = "unfinished"
    PARTIAL = "partial"
    UNAUTHORISED = "unauthorised"
    STOPPED = "stopped"
    INVALID = "invalid"
    BUG = "bug"


class Exit(IntEnum):
    """Exit codes of all commands, in the order in which they win.

    AGAIN comes before INCOMPLETE, so that a command which is repeated while it ends with AGAIN
    stops only where no later run obtains more: docs/decisions/0027-unfinished-before-partial.md.
    """

    BUG = 1
    USAGE = 2
    SIGINT = 130
    SIGTERM = 143
    SIGHUP = 129
    UNAUTHORISED = 4
    AGAIN = 75
    INCOMPLETE = 3
    DONE = 0

    @property
    def outcome(self) -> Outcome:
        """The outcome of a run that ends with this code."""
        return _OUTCOMES[self]


_OUTCOMES = {
    Exit.BUG: Outcome.BUG,
    Exit.USAGE: Outcome.INVALID,
    Exit.SIGINT: Outcome.STOPPED,
    Exit.SIGTERM: Outcome.STOPPED,
    Exit.SIGHUP: Outcome.STOPPED,
    Exit.UNAUTHORISED: Outcome.UNAUTHORISED,
    Exit.AGAIN: Outcome.UNFINISHED,
    Exit.INCOMPLETE: Outcome.PARTIAL,
    Exit.DONE: Outcome.COMPLETE,
}


def first_of(codes: Iterable[Exit]) -> Exit:
    """Return the exit code of a command that several codes apply to; DONE if there are none."""
    return min(codes, key=[*Exit].index, default=Exit.DONE)
