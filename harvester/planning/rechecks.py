"""Rechecks: final days that are asked again by lot, to measure what final days rest on.

Of each dataset an account is asked for a window of the year before once in 500 mornings. Who is
asked, when and for which days follows from names and the Beijing day, so nothing is remembered.
"""

from __future__ import annotations

from zlib import crc32

from harvester.core import calendar
from harvester.core.calendar import NO_DAYS, Day, DaySet
from harvester.core.dataset import Dataset

ONE_IN = 500
"""Mornings of which an account has rechecks of a dataset on one."""

MORNINGS = 25
"""Mornings of which a dataset has its rechecks on one: of the same days for all accounts, because
a file is written for them."""


def recheck_days(dataset: Dataset, appid: str, today: Day) -> DaySet:
    """Return the days that an account is asked again on a Beijing day, as far as they are final."""
    morning = f"{dataset.name} {today}"
    when = crc32(morning.encode())
    if when % MORNINGS or crc32(f"{morning} {appid}".encode()) % (ONE_IN // MORNINGS):
        return NO_DAYS
    end = today - 1 - dataset.span - when // MORNINGS % 365
    return calendar.day_range(end - dataset.span + 1, end)
