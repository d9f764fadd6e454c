"""Profiles of accounts, and the pseudo-random numbers from which their data is made.

Only integers and SHAKE-128 are used, neither ``hash`` nor ``random``, so that the data is the same
in every process, on every machine and under every version of Python.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, TypeAlias

from harvester.core.calendar import FIRST_DAY, Day

Row: TypeAlias = dict[str, Any]
"""One element of the answer's list as WeChat sends it, before it becomes JSON."""

OFFICE_WEEK = (1160, 1180, 1170, 1160, 1120, 640, 570)
LEISURE_WEEK = (880, 870, 880, 900, 1010, 1240, 1220)
"""Traffic of the days from Monday to Sunday, in thousandths of a mean day."""

DAY_SHARES = (
    *(16, 9, 6, 4, 4, 6, 15, 32, 49, 58, 61, 60),
    *(64, 54, 50, 50, 51, 51, 53, 62, 73, 76, 60, 36),
)
"""Traffic of the 24 hours, in thousandths of a day: most of it in the evening."""


class Profile(NamedTuple):
    """The traffic of an account.

    Attributes:
        daily: Callbacks of a mean day of December 2014, in 1024ths.
        growth: Growth per year, in thousandths of ``daily``.
        week: The days from Monday on, in thousandths of a mean day.
        reply: Milliseconds of a typical reply.
        flaw: Failing callbacks of 65536.
    """

    daily: int
    growth: int
    week: tuple[int, ...]
    reply: int
    flaw: int


def profile_of(appid: str) -> Profile:
    """Return the profile of an account.

    Sizes are spread evenly over 18 octaves, from one callback in two days to 130,000 a day.
    """
    octave, fraction, growth, week, reply, flaw = words(f"account {appid}", 6)
    return Profile(
        daily=(512 + fraction % 512) << octave % 18,
        growth=growth % 200,
        week=OFFICE_WEEK if week % 3 else LEISURE_WEEK,
        reply=80 + reply % 520,
        flaw=flaw % 1300,
    )


def audience_of(appid: str) -> tuple[int, int, int]:
    """Return an account's audience: from a dozen to five million followers, by its traffic.

    These are the followers in December 2014, their growth per year in 1024ths, and how many of
    2**20 leave on a mean day.
    """
    many, growth, churn = words(f"audience {appid}", 3)
    base = 10 + (profile_of(appid).daily * (8 + many % 32) >> 10)
    return base, 20 + growth % 380, 150 + churn % 700


def followers(appid: str, day: Day) -> int:
    """Return the number of followers at the end of a day, without going through the days before."""
    base, growth, _ = audience_of(appid)
    trend = base * growth * (day - FIRST_DAY) // (365 << 10)
    wobble = 2 * base * growth // (365 << 10)
    return base + trend + words(f"followers {day} {appid}", 1)[0] * wobble // 65_536


def digest(text: str, size: int) -> bytes:
    """Return ``size`` pseudo-random bytes, always the same for a text."""
    return hashlib.shake_128(text.encode()).digest(size)


def fraction(text: str) -> float:
    """Return a pseudo-random number from 0 to below 1, always the same for a text."""
    return int.from_bytes(digest(text, 6), "big") / (1 << 48)


def words(text: str, count: int) -> tuple[int, ...]:
    """Return ``count`` pseudo-random numbers of 16 bits, always the same for a text."""
    return struct.unpack(f"<{count}H", digest(text, 2 * count))


def split(total: int, weights: Sequence[int], chance: int) -> list[int]:
    """Split a total into parts by weight; ``chance`` of 65536 decides where remainders go."""
    whole = sum(weights)
    lot = chance * whole >> 16
    # Edges are rounded and not parts, so that the parts add up to the total.
    edges = [(total * edge + lot) // whole for edge in accumulate(weights, initial=0)]
    return [end - begin for begin, end in pairwise(edges)]


def share_of(total: int, share: int, chance: int) -> int:
    """Return ``share`` 65536ths of a total, rounded by ``chance`` of 65536."""
    return total * share + chance >> 16


def overlap(parts: Sequence[int], apart: int) -> int:
    """Return the number of distinct people in parts that share some people.

    It is the largest part and ``apart`` 1024ths of the people in the other parts.
    """
    most = max(parts, default=0)
    return most + ((sum(parts) - most) * apart >> 10)
