"""Exit codes of all commands, and the outcomes that they stand for."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, StrEnum
from typing import Self


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
    ATTENTION is AGAIN of a run that also left something to a person.
    """

    _value_: int
    outcome: Outcome
    """The outcome of a run that ends with this code."""

    # The default is for type checkers, which take the look-up ``Exit(75)`` for a call of this.
    def __new__(cls, code: int, outcome: Outcome = Outcome.BUG) -> Self:
        """Make a code with its outcome."""
        made = int.__new__(cls, code)
        made._value_, made.outcome = code, outcome
        return made

    BUG = 1, Outcome.BUG
    USAGE = 2, Outcome.INVALID
    SIGINT = 130, Outcome.STOPPED
    SIGTERM = 143, Outcome.STOPPED
    SIGHUP = 129, Outcome.STOPPED
    UNAUTHORISED = 4, Outcome.UNAUTHORISED
    ATTENTION = 76, Outcome.UNFINISHED
    AGAIN = 75, Outcome.UNFINISHED
    INCOMPLETE = 3, Outcome.PARTIAL
    DONE = 0, Outcome.COMPLETE


def first_of(codes: Iterable[Exit]) -> Exit:
    """Return the exit code of a command that several codes apply to; DONE if there are none."""
    return min(codes, key=[*Exit].index, default=Exit.DONE)
