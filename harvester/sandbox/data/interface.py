"""Rows of the two interface datasets: WeChat's callbacks to the account's server.

The figures have the shape of real ones. Accounts differ in size by five orders of magnitude. Each
has busy workdays or busy weekends, little traffic at night, growth over the years, a few failures,
and now and then an hour of many. Hours and days without traffic have no row.
"""

from __future__ import annotations

import struct

from harvester.core.calendar import FIRST_DAY, Day, date_of
from harvester.sandbox.data.account import DAY_SHARES, Profile, Row, digest, profile_of

PUSH_TIMEOUT = 5000
"""Milliseconds after which WeChat gives up on a callback; it measures slightly more."""

_HOURS = struct.Struct("<24Q")


def hourly_rows(appid: str, day: Day) -> list[Row]:
    """Return a row for each hour with traffic; ``ref_hour`` is the hour × 100, as in WeChat."""
    profile = profile_of(appid)
    grown = profile.daily * (1000 + profile.growth * (day - FIRST_DAY) // 365) // 1000
    level = grown * profile.week[date_of(day).weekday()] // 1000
    words = _HOURS.unpack(digest(f"day {day} {appid}", _HOURS.size))
    rows = (_hour(profile, hour, level, word) for hour, word in enumerate(words))
    return [row for row in rows if row]


def daily_rows(appid: str, day: Day) -> list[Row]:
    """Return the sum of the day's hours in one row, or no row without traffic."""
    hours = hourly_rows(appid, day)
    if not hours:
        return []
    summed = ("callback_count", "fail_count", "total_time_cost")
    sums = {name: sum(hour[name] for hour in hours) for name in summed}
    return [{**sums, "max_time_cost": max(hour["max_time_cost"] for hour in hours)}]


def _hour(profile: Profile, hour: int, level: int, word: int) -> Row | None:
    """Make one hour from 64 random bits, each group of bits used once; None without traffic.

    ``level`` is the mean number of callbacks of the day, in 1024ths.
    """
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
        slower = reply * (word >> 55) * min(callbacks - 1, 6) >> 9
        longest = min(reply + slower, PUSH_TIMEOUT - 1)
    return {
        "ref_hour": hour * 100,
        "callback_count": callbacks,
        "fail_count": failures,
        "total_time_cost": (callbacks - failures) * reply + failures * longest,
        "max_time_cost": longest,
    }
