"""Answers in WeChat's form, for tests of decoding and publishing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import Day, day_text, instant, parse_day
from harvester.core.dataset import Dataset, Grain
from harvester.core.model import RawAnswer, Window
from harvester.core.readiness import period_begin
from harvester.tables.coverage import AskTimes
from harvester.tables.day_rows import DayRows, Decoded
from harvester.tables.decode import decoder

DAILY = CATALOGUE["interface_summary"]
HOURLY = CATALOGUE["interface_summary_hour"]

MARCH = parse_day("2024-03-01")
LONG_AFTER = int(instant(MARCH + 400))
"""A moment, in seconds since the Unix epoch, at which every day of that month is settled."""


def decode(dataset: Dataset, window: Window, body: bytes) -> Decoded:
    """Decode a single answer."""
    return decoder(dataset)(window, body)


def period_end(grain: Grain, day: Day) -> Day:
    """Return the last day of the period that a day lies in."""
    longest = {Grain.WEEK: 7, Grain.MONTH: 31}.get(grain, 1)
    begin = period_begin(grain, day)
    return period_begin(grain, begin + longest) - 1


def times(at: int) -> AskTimes:
    """Return the times of a day that was asked once."""
    return AskTimes(at, at, at)


def appid(number: int) -> str:
    """Return the appid of a made-up account."""
    return f"wx{number:016x}"


def row(day: Day, hour: int | None = None, number: int = 1, **more: Any) -> dict[str, Any]:
    """Return a row, of an hour if it is given, whose metrics depend on ``number``."""
    key: dict[str, Any] = {"ref_date": day_text(day)}
    if hour is not None:
        key["ref_hour"] = hour * 100
    metrics = {
        "callback_count": number,
        "fail_count": number % 7,
        "total_time_cost": number * 400,
        "max_time_cost": 5000,
    }
    return {**key, **metrics, **more}


def body(rows: Iterable[dict[str, Any]]) -> bytes:
    """Return the body of an answer."""
    return json.dumps({"list": list(rows)}, separators=(",", ":")).encode()


def answer(
    window: Window, rows: Iterable[dict[str, Any]], at: int = LONG_AFTER, *, refetch: int = 0
) -> RawAnswer:
    """Return the answer to a window that was asked for at Unix time ``at``.

    ``refetch`` is the mask of its days to be replaced in any case; -1 has them all.
    """
    all_of_it = (1 << (window.end - window.begin + 1)) - 1
    return RawAnswer(window, at, refetch & all_of_it, body(rows))


def as_tuples(rows: DayRows) -> list[tuple[Any, ...]]:
    """Return the rows of a day: the columns without ``ref_date``, then extra."""
    cut = slice(rows.start, rows.stop)
    return list(zip(*(values[cut] for values in (*rows.columns, rows.extra)), strict=True))


def of_day(day: Day, number: int = 1, account: int = 1) -> RawAnswer:
    """Return an account's settled answer with all hours of a day."""
    window = Window(appid(account), HOURLY.name, day, day)
    return answer(window, [row(day, hour, number) for hour in range(24)])
