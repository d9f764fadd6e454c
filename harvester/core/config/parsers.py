"""Parsers of the values in the configuration: days, durations, rates, addresses, paths.

Each function takes text and returns a value, or raises `InvalidValue` with what is wrong and how to
write it. The error never repeats the text.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import re
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from harvester.core.calendar import FIRST_DAY, Day, DaySet, day_range, day_text, parse_day
from harvester.core.config.references import quote_safe
from harvester.core.errors import InvalidValue, UsageError
from harvester.core.model import Rate, Reserve, is_appid

T = TypeVar("T")

MIN_MEMORY = 192 << 20
"""Minimum bytes of memory that a process of a run may be limited to; a small run has 120 MiB."""

DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
AGO = r"-[1-9][0-9]{0,4}d"
DURATION = r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h)"
LEASE = rf"0|{DURATION}"
RATE = r"([1-9][0-9]{0,5})/(s|min)"
SIZE = r"([1-9][0-9]{0,6})(MiB|GiB)"
CLOCK = r"([01][0-9]|2[0-3]):([0-5][0-9])"
DAYS = r"([0-9]{1,4})d"
AGE = r"([1-9][0-9]{0,4})d"
RESERVE = r"([0-9]{1,9})|([0-9]{1,2})%"
QUIET_DAYS = rf"{DAY}(\.\.{DAY})?"
PERCENTAGE = r"([0-9]{1,3}(?:\.[0-9]{1,3})?)%"
GATE = "open|closed"

_SECONDS_SINCE = r"[1-9][0-9]{8,10}(?:\.[0-9]{1,6})?"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _matched(pattern: str, text: str, what: str, hint: str) -> re.Match[str]:
    """Return the match of the whole text. Raises InvalidValue with ``what`` and ``hint``."""
    if match := re.fullmatch(pattern, text):
        return match
    raise InvalidValue(what, hint)


def ages(found: tuple[int, ...]) -> tuple[int, ...]:
    """Check ages in days, which must rise."""
    if [*found] != sorted(set(found)):
        raise InvalidValue("must rise from age to age", "write [1, 2, 3, 7]")
    return found


def appid(text: str) -> str:
    """Check an appid: ``wx`` and 16 hex digits in small letters."""
    if is_appid(text):
        return text
    visible = "".join(letter for letter in text if letter.isprintable() and not letter.isspace())
    if is_appid(visible):
        raise InvalidValue("has a blank or an invisible character in it", "write it without")
    hint = "wx and 16 of 0-9 a-f, as the account's console shows it"
    raise InvalidValue("is not an appid", hint)


def day(text: str, hint: str = "write 2024-01-31") -> Day:
    """Parse a calendar day, ``2024-01-31``."""
    _matched(DAY, text, "is not a day", hint)
    try:
        return parse_day(text)
    except ValueError:
        raise InvalidValue("is a day that no calendar has", hint) from None


def quiet_days(text: str) -> DaySet:
    """Parse a day, or days such as ``2026-02-15..2026-02-23``, both included."""
    first, dots, last = text.partition("..")
    hint = "write 2026-02-15 or 2026-02-15..2026-02-23"
    begin = day(first, hint)
    end = day(last, hint) if dots else begin
    if end < begin:
        raise InvalidValue("ends before it begins", "swap the days")
    return day_range(begin, end)


def begin_day(text: str, today: Day) -> Day:
    """Parse a job's first day: a day, ``-30d`` counted from ``today``, or ``earliest``."""
    hint = "write 2024-01-31, -30d or earliest"
    return FIRST_DAY if text == "earliest" else _job_day(text, today, hint)


def end_day(text: str, today: Day) -> Day | None:
    """Parse a job's last day: a day, ``-30d``, or ``yesterday``.

    ``yesterday`` is None, because its meaning differs by dataset.
    """
    hint = "write 2024-01-31, -30d or yesterday"
    return None if text == "yesterday" else _job_day(text, today, hint)


def required_day(text: str, today: Day) -> Day | None:
    """Parse the day that a gate waits for: a day, ``-30d``, ``yesterday`` or ``ready``.

    ``ready`` is None: the newest day that is ready.
    """
    if text in {"yesterday", "ready"}:
        return today - 1 if text == "yesterday" else None
    return _job_day(text, today, "write 2024-01-31, -30d, yesterday or ready")


def _job_day(text: str, today: Day, hint: str) -> Day:
    if re.fullmatch(AGO, text):
        # Relative days are cut at the first day, because -9999d is a way to write "all".
        return max(FIRST_DAY, today - int(text[1:-1]))
    explicit = day(text, hint)
    if explicit < FIRST_DAY:
        what = f"is before {day_text(FIRST_DAY)}, when WeChat's statistics begin"
        raise InvalidValue(what, hint)
    if explicit >= today:
        what = f"is after yesterday, which is {day_text(today - 1)} in Beijing"
        raise InvalidValue(what, hint)
    return explicit


def duration(text: str, *, longest: float = 86_400.0) -> float:
    """Parse ``30s``, ``500ms``, ``5m`` or ``1h`` as seconds: more than 0, at most ``longest``."""
    match = _matched(DURATION, text, "is not a duration", "write 30s, 500ms, 5m or 1h")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds <= 0:
        raise InvalidValue("must be longer than nothing", "write 30s, 500ms, 5m or 1h")
    if seconds > longest:
        most = f"{longest / _SECONDS['h']:g}h"
        raise InvalidValue(f"must be at most {most}", f"write {most} or less")
    return seconds


def lease(text: str) -> float:
    """Parse ``30s`` as seconds: from one second to an hour, or 0."""
    if text in {"0", "0s"}:
        return 0.0
    seconds = duration(text, longest=3600.0)
    if seconds < 1:
        raise InvalidValue("must be 1s or longer, or 0")
    return seconds


def rate(text: str) -> Rate:
    """Parse ``10/s`` or ``600/min``."""
    match = _matched(RATE, text, "is not a rate", "write 10/s or 600/min")
    return Rate(int(match[1]), 1.0 if match[2] == "s" else 60.0)


def memory(text: str) -> int:
    """Parse ``512MiB`` or ``2GiB`` as bytes, `MIN_MEMORY` or more."""
    match = _matched(SIZE, text, "is not a size", "write 512MiB or 2GiB")
    size = int(match[1]) << (20 if match[2] == "MiB" else 30)
    if size < MIN_MEMORY:
        least = f"{MIN_MEMORY >> 20}MiB"
        raise InvalidValue(f"must be at least {least}", f"write {least} or more")
    return size


def clock(text: str) -> int:
    """Parse ``11:00`` as minutes after midnight."""
    match = _matched(CLOCK, text, "is not a time of day", "write 11:00")
    return int(match[1]) * 60 + int(match[2])


def days(text: str) -> int:
    """Parse ``5d`` as a number of days."""
    return int(_matched(DAYS, text, "is not a number of days", "write 5d")[1])


def age(text: str) -> int:
    """Parse ``400d`` as a number of days, at least one."""
    return int(_matched(AGE, text, "is not a number of days", "write 400d")[1])


def percentage(text: str) -> float:
    """Parse ``95%`` as 0.95: more than nothing, at most 100%."""
    match = _matched(PERCENTAGE, text, "is not a share", "write 95%")
    # Not divided by 100, so that the number is the nearest to what is written.
    share = float(f"{match[1]}e-2")
    if not 0 < share <= 1:
        raise InvalidValue("must be more than 0% and at most 100%", "write 95%")
    return share


def share_or_none(text: str) -> float:
    """Parse a share as `percentage` does; ``0%`` is one, too."""
    return 0.0 if re.fullmatch(r"0{1,3}(\.0{1,3})?%", text) else percentage(text)


def gate(text: str) -> str:
    """Check ``open`` or ``closed``."""
    return _matched(GATE, text, "is neither open nor closed", "write open or closed")[0]


def reserve(text: str) -> Reserve:
    """Parse ``200`` calls, or ``20%`` of the quota."""
    what = "is neither a number of calls nor a share"
    match = _matched(RESERVE, text, what, "write 200 or 20%")
    return Reserve(calls=int(match[1])) if match[1] else Reserve(share=int(match[2]) / 100)


_URL = r"https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~\-/%]*)?"
_PROXY = r"https?://(?:[^\s/@]*@)?[A-Za-z0-9.\-\[\]:]+/?"
_TOKEN_URL = r"https?://[A-Za-z0-9.\-\[\]:]+(/[^\s?#@\\]*)?(\?[^\s#]*)?"


def base_url(text: str) -> str:
    """Check WeChat's address and drop a final slash.

    It is ``sandbox`` or https, and http for this machine only.
    """
    hint = "write sandbox or https://host, without user, query or fragment"
    return text if text == "sandbox" else _https(_URL, text, hint).rstrip("/")


def endpoint(text: str) -> str:
    """Check the address of an object store: https, and http for this machine only."""
    return _https(_URL, text, "write https://host, without user, query or fragment").rstrip("/")


def proxy(text: str) -> str:
    """Check the address of an HTTP proxy."""
    _matched(_PROXY, text, "is not a proxy's address", "write http://host:port")
    _host(text)
    return text


def token_url(text: str) -> str:
    """Check the address of a token server: https, and http for this machine only."""
    hint = "write https://host/path, without user or fragment"
    if not text.isascii():
        raise InvalidValue("is not an address", hint)
    return _https(_TOKEN_URL, text, hint)


def moment(text: str) -> float:
    """Parse ``2026-06-15T12:00:00Z``, or seconds since the Unix epoch, as the latter."""
    if re.fullmatch(_SECONDS_SINCE, text):
        return float(text)
    with contextlib.suppress(ValueError):
        at = dt.datetime.fromisoformat(text)
        # Without a zone it would be this machine's time, which differs between machines.
        if at.tzinfo is not None:
            return at.timestamp()
    raise InvalidValue("is not a moment", "write 2026-06-15T12:00:00Z or seconds since 1970")


def _https(pattern: str, text: str, hint: str) -> str:
    """Check an address: https, and http for this machine only, because requests carry secrets."""
    _matched(pattern, text, "is not an address", hint)
    host = _host(text)
    if text.startswith("http:") and not _is_loopback(host):
        raise InvalidValue("must be https", "http is for localhost only")
    return text


def _host(url: str) -> str:
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        # The port is read for its check: urlsplit takes any text for one until then.
        if parts.hostname and parts.port != 0:
            return parts.hostname
    raise InvalidValue("is not an address", "the host or port is wrong")


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


STORES = ("s3://", "gs://", "az://")
"""Schemes of object stores."""

_PLACE = r"[a-z0-9]+://[a-z0-9][a-z0-9._-]{1,62}(/[A-Za-z0-9._=+,-]+)*/?"


def place(text: str) -> str:
    """Check a path on this machine, or the URI of a bucket and folders in an object store."""
    if not text.startswith(STORES):
        return path(text)
    what = "is not a place in an object store"
    hint = "write s3://bucket/folder, without user or query"
    _matched(_PLACE, text, what, hint)
    if {".", ".."} & set(text.split("/")):
        raise InvalidValue(what, hint)
    return text.rstrip("/")


def path(text: str) -> str:
    """Check a path on this machine."""
    if not text.strip() or "\0" in text:
        raise InvalidValue("is not a path", "write one such as output/wechat")
    if re.match(r"[A-Za-z][A-Za-z0-9+.\-]*://", text):
        raise InvalidValue("is not a path", "write it without a scheme")
    if text.startswith("~"):
        raise InvalidValue("begins with `~`, which is not filled in", "write ${HOME}/…")
    return text


def parsed(subject: str, text: str, parse: Callable[[str], T], advice: str = "") -> T:
    """Return a text as a parser reads it. Raises UsageError, which begins with a ``subject``.

    ``advice`` follows the hint of the parser.
    """
    try:
        return parse(text)
    except InvalidValue as flaw:
        problem, hints = f"{subject} {flaw.what}".strip(), (flaw.hint, advice)
    # Raised outside of the handler, so that the InvalidValue is not attached to it.
    raise UsageError(problem, "; ".join(filter(None, hints)))


def option_value(option: str, text: str, parse: Callable[[str], T]) -> T:
    """Return the text of an option or argument as `parsed` does; the error quotes it if it may."""
    return parsed(f"{option}{quote_safe(text)}", text, parse)
