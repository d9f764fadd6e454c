"""The account's server: how many of WeChat's callbacks it answered, and how fast.

The figures have the shape of real ones. Accounts differ in size by five orders of magnitude, each
has its working week or its busy weekends, sleeps at night, grows over the years, fails now and then
and breaks down for an hour. A quiet account has hours, and the quietest have days, in which nothing
happened: WeChat has no row for those.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from harvester.core.calendar import FIRST_DAY, Day, day_text
from harvester.sandbox.data.account import DAY_SHARES, Profile, Row, digest, profile_of

PUSH_TIMEOUT = 5000
"""Milliseconds after which WeChat gives up on an account's server; it measures a little more."""

_HOURS = struct.Struct("<24Q")


class Hour(NamedTuple):
    """One hour of an account in which something happened; times in milliseconds."""

    hour: int
    callbacks: int
    failures: int
    total: int
    longest: int


def hours_of(appid: str, day: Day) -> list[Hour]:
    """The hours of an account's day in which at least one callback came, in order."""
    profile = profile_of(appid)
    level = _level(profile, day)
    words = _HOURS.unpack(digest(f"day {day} {appid}", _HOURS.size))
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
