"""Numbers of things as text."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Return a number of things as text: ``1 account``, ``1,200 accounts``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
