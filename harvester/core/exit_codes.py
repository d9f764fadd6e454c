"""Exit codes of all commands."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of all commands, the most severe first."""

    BUG = 1
    USAGE = 2
    SIGINT = 130
    SIGTERM = 143
    SIGHUP = 129
    UNAUTHORISED = 4
    INCOMPLETE = 3
    AGAIN = 75
    DONE = 0


def most_severe(codes: Iterable[Exit]) -> Exit:
    """Return the exit code of a command that several reasons apply to; DONE if there are none."""
    return min(codes, key=[*Exit].index, default=Exit.DONE)
