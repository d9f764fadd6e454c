"""Exit codes of all commands."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


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


def first_of(codes: Iterable[Exit]) -> Exit:
    """Return the exit code of a command that several codes apply to; DONE if there are none."""
    return min(codes, key=[*Exit].index, default=Exit.DONE)
