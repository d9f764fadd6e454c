"""What happened on the sandbox's accounts: a pure function of (appid, day, hour).

The figures have the shape of real ones. Accounts differ in size by five orders of magnitude, each
has its working week or its busy weekends, sleeps at night, grows over the years, fails now and then
and breaks down for an hour. A quiet account has hours, and the quietest have days, in which nothing
happened: WeChat has no row for those.

Only integers and SHAKE-128 are used, neither ``hash`` nor ``random`` nor floats, so that every
process, machine and version of Python sees the same past.
"""

from __future__ import annotations

import functools
import hashlib
import struct
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from harvester.days import FIRST_DAY, Day, day_text

Row: TypeAlias = dict[str, Any]
"""One row as WeChat sends it, before it becomes JSON."""

DAY_SHARES = (
    *(16, 9, 6, 4, 4, 6, 15, 32, 49, 58, 61, 60),
    *(64, 54, 50, 50, 51, 51, 53, 62, 73, 76, 60, 36),
)
"""How a day's callbacks spread over its 24 hours, in thousandths: most come after supper."""

OFFICE_WEEK = (1160, 1180, 1170, 1160, 1120, 640, 570)
LEISURE_WEEK = (880, 870, 880, 900, 1010, 1240, 1220)
"""How much of a mean day the days from Monday to Sunday bring, in thousandths."""

PUSH_TIMEOUT = 5000
"""Milliseconds after which WeChat gives up on an account's server; it measures a little more."""

_HOURS = struct.Struct("<24Q")
_PROFILE = struct.Struct("<6H")


class Profile(NamedTuple):
    """What kind of account it is.

    ``daily`` is how many callbacks a mean day of December 2014 brought, in 1024ths. ``growth`` is
    in thousandths of that a year, ``week`` in thousandths of a mean day from Monday on, ``reply``
    the milliseconds of a typical reply, ``flaw`` how many of 65536 callbacks fail.
    """

    daily: int
    growth: int
    week: tuple[int, ...]
    reply: int
    flaw: int


class Hour(NamedTuple):
    """One hour of an account in which something happened; times in milliseconds."""

    hour: int
    callbacks: int
    failures: int
    total: int
    longest: int


@functools.lru_cache(maxsize=16_384)
def profile_of(appid: str) -> Profile:
    """The kind of account an appid is, the same for ever.

    Sizes are spread evenly over 18 octaves, from one callback in two days to 130,000 a day.
    """
    octave, fraction, growth, week, reply, flaw = _PROFILE.unpack(_digest(f"account {appid}", 12))
    return Profile(
        daily=(512 + fraction % 512) << octave % 18,
        growth=growth % 200,
        week=OFFICE_WEEK if week % 3 else LEISURE_WEEK,
        reply=80 + reply % 520,
        flaw=flaw % 1300,
    )


def hours_of(appid: str, day: Day) -> list[Hour]:
    """The hours of an account's day in which at least one callback came, in order."""
    profile = profile_of(appid)
    level = _level(profile, day)
    words = _HOURS.unpack(_digest(f"day {day} {appid}", _HOURS.size))
    hours = (_hour(profile, hour, level, word) for hour, word in enumerate(words))
    return [hour for hour in hours if hour is not None]


def hourly_rows(appid: str, day: Day) -> list[Row]:
    """A row for each hour with traffic; ``ref_hour`` is the hour × 100, as WeChat writes it."""
    date = day_text(day)
    return [
        {
            "ref_date": date,
            "ref_hour": hour * 100,
            "callback_count": callbacks,
            "fail_count": failures,
            "total_time_cost": total,
            "max_time_cost": longest,
        }
        for hour, callbacks, failures, total, longest in hours_of(appid, day)
    ]


def daily_rows(appid: str, day: Day) -> list[Row]:
    """The sum of the day's hours in one row, or no row if there was no traffic."""
    hours = hours_of(appid, day)
    if not hours:
        return []
    _, callbacks, failures, totals, longest = zip(*hours, strict=True)
    return [
        {
            "ref_date": day_text(day),
            "callback_count": sum(callbacks),
            "fail_count": sum(failures),
            "total_time_cost": sum(totals),
            "max_time_cost": max(longest),
        }
    ]


_ROWS: dict[str, Callable[[str, Day], list[Row]]] = {
    "interface_summary": daily_rows,
    "interface_summary_hour": hourly_rows,
}


def truth(dataset: str, appid: str, day: Day) -> list[Row]:
    """Every row WeChat has of one account's day, as it sends them and in its order.

    ``dataset`` is a name of the catalogue. Raises KeyError for one the sandbox has no data for.
    """
    return _ROWS[dataset](appid, day)


def _digest(text: str, size: int) -> bytes:
    return hashlib.shake_128(text.encode()).digest(size)


def _level(profile: Profile, day: Day) -> int:
    """How many callbacks this day brings on average, in 1024ths."""
    grown = profile.daily * (1000 + profile.growth * (day - FIRST_DAY) // 365) // 1000
    weekday = (day + 3) % 7  # 1970-01-01 was a Thursday
    return grown * profile.week[weekday] // 1000


def _hour(profile: Profile, hour: int, level: int, word: int) -> Hour | None:
    """One hour out of 64 random bits, each group of bits used once."""
    noise, rounding = word & 1023, word >> 10 & 1023
    expected = level * DAY_SHARES[hour] * (512 + noise) // 1_024_000
    # Rounding up by chance keeps the mean of an account that sees a callback every other day.
    callbacks = (expected + rounding) >> 10
    if not callbacks:
        return None
    breakdown = not word >> 20 & 1023
    flaw = 32_768 + 31 * noise if breakdown else profile.flaw
    failures = (callbacks * flaw + (word >> 30 & 0xFFFF)) >> 16
    reply = profile.reply * (768 + (word >> 46 & 511)) >> 10
    if failures:
        longest = PUSH_TIMEOUT + (word >> 55) % 45
    else:
        longest = _longest(reply, callbacks, word >> 55)
    total = (callbacks - failures) * reply + failures * longest
    return Hour(hour, callbacks, failures, total, longest)


def _longest(reply: int, callbacks: int, chance: int) -> int:
    """The longest of so many replies that took ``reply`` ms on average; ``chance`` is in 512ths."""
    slower = reply * chance * min(callbacks - 1, 6) >> 9
    return min(reply + slower, PUSH_TIMEOUT - 1)
