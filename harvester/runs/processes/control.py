"""Numbers over the control socket of a forkserver: of processes, and of how they ended."""

from __future__ import annotations

NUMBER_BYTES = 8
"""Bytes of each message."""

UNKNOWN_END = 256
"""End of a process of which nothing is known: all codes are lower."""


def bytes_of(number: int) -> bytes:
    """Return a number as it is sent."""
    return number.to_bytes(NUMBER_BYTES, "big", signed=True)


def number_of(data: bytes) -> int:
    """Return the number that was sent. Raises EOFError if it is not whole."""
    if len(data) < NUMBER_BYTES:
        raise EOFError
    return int.from_bytes(data, "big", signed=True)
