"""The small languages of the configuration: days, durations, rates, addresses, paths.

Each function takes text and returns a value, or raises `InvalidValue` with what is wrong and what
would have been right. None of them repeats the text.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from urllib.parse import urlsplit

from harvester.core.calendar import FIRST_DAY, Day, day_text, parse_day
from harvester.core.errors import InvalidValue
from harvester.core.model import Rate, Reserve, is_appid

DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
AGO = r"-[1-9][0-9]{0,4}d"
DURATION = r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h)"
RATE = r"([1-9][0-9]{0,5})/(s|min)"
CLOCK = r"([01][0-9]|2[0-3]):([0-5][0-9])"
SETTLE = r"([0-9]{1,4})d"
RESERVE = r"([0-9]{1,9})|([0-9]{1,2})%"

_DAY = re.compile(DAY)
_AGO = re.compile(AGO)
_DURATION = re.compile(DURATION)
_RATE = re.compile(RATE)
_CLOCK = re.compile(CLOCK)
_SETTLE = re.compile(SETTLE)
_SECONDS_SINCE = re.compile(r"[1-9][0-9]{8,10}(?:\.[0-9]{1,6})?")
_RESERVE = re.compile(RESERVE)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def appid(text: str) -> str:
    """``wx`` and 16 hex digits in small letters."""
    if not is_appid(text):
        raise InvalidValue(
            "is not an appid", "wx and 16 of 0-9 a-f, as the account's console shows it"
        )
    return text


def day(text: str) -> Day:
    """A day of the calendar, ``2024-01-31``."""
    if not _DAY.fullmatch(text):
        raise InvalidValue("is not a day", "write 2024-01-31")
    try:
        return parse_day(text)
    except ValueError:
        raise InvalidValue("is a day that no calendar has") from None


def begin_day(text: str, today: Day) -> Day:
    """A job's first day: a day, ``-30d`` counted from today, or ``earliest``."""
    if text == "earliest":
        return FIRST_DAY
    return _job_day(text, today, "write 2024-01-31, -30d or earliest")


def end_day(text: str, today: Day) -> Day | None:
    """A job's last day: a day or ``-30d``; None for ``yesterday``, which each dataset decides."""
    if text == "yesterday":
        return None
    return _job_day(text, today, "write 2024-01-31, -30d or yesterday")


def _job_day(text: str, today: Day, like: str) -> Day:
    if _AGO.fullmatch(text):
        return max(FIRST_DAY, today - int(text[1:-1]))
    if not _DAY.fullmatch(text):
        raise InvalidValue("is not a day", like)
    explicit = day(text)
    if explicit < FIRST_DAY:
        first = day_text(FIRST_DAY)
        raise InvalidValue(f"is before {first}, when WeChat's statistics begin", "write earliest")
    if explicit >= today:
        raise InvalidValue(f"is after yesterday, which is {day_text(today - 1)} in Beijing")
    return explicit


def duration(text: str, *, longest: float = 86_400.0) -> float:
    """Read ``30s``, ``500ms``, ``5m`` or ``1h`` as seconds: more than 0, at most ``longest``."""
    if not (match := _DURATION.fullmatch(text)):
        raise InvalidValue("is not a duration", "write 30s, 500ms, 5m or 1h")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds <= 0:
        raise InvalidValue("must be longer than nothing")
    if seconds > longest:
        raise InvalidValue(f"must be at most {longest / _SECONDS['h']:g}h")
    return seconds


def rate(text: str) -> Rate:
    """Read ``10/s`` or ``600/min``."""
    if not (match := _RATE.fullmatch(text)):
        raise InvalidValue("is not a rate", "write 10/s or 600/min")
    return Rate(int(match[1]), 1.0 if match[2] == "s" else 60.0)


def clock(text: str) -> int:
    """Minutes after midnight of ``11:00``."""
    if not (match := _CLOCK.fullmatch(text)):
        raise InvalidValue("is not a time of day", "write 11:00")
    return int(match[1]) * 60 + int(match[2])


def settle(text: str) -> int:
    """Days of ``5d``."""
    if not (match := _SETTLE.fullmatch(text)):
        raise InvalidValue("is not a number of days", "write 5d")
    return int(match[1])


def reserve(text: str) -> Reserve:
    """``200`` calls, or ``20%`` of the quota."""
    if not (match := _RESERVE.fullmatch(text)):
        raise InvalidValue("is neither a number of calls nor a share", "write 200 or 20%")
    return Reserve(calls=int(match[1])) if match[1] else Reserve(share=int(match[2]) / 100)


_URL = re.compile(r"(https?)://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~\-/%]*)?")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")


def base_url(text: str) -> str:
    """``sandbox``, or WeChat's address: https, http only to this machine; no slash at the end."""
    if text == "sandbox":
        return text
    if not _URL.fullmatch(text):
        raise InvalidValue(
            "is not an address", "write sandbox or https://host, without user, query or fragment"
        )
    host = _host(text)
    if text.startswith("http:") and not _is_loopback(host):
        raise InvalidValue("must be https", "http is for localhost only")
    return text.rstrip("/")


_PROXY = re.compile(r"https?://(?:[^\s/@]*@)?[A-Za-z0-9.\-\[\]:]+/?")


def proxy(text: str) -> str:
    """An HTTP proxy's address. A password in it has to come from a ``${…}``."""
    if not _PROXY.fullmatch(text):
        raise InvalidValue("is not a proxy's address", "write http://host:port")
    _host(text)
    return text


_TOKEN_URL = re.compile(r"(https?)://[A-Za-z0-9.\-\[\]:]+(/[^\s?#@\\]*)?(\?[^\s#]*)?")


def token_url(text: str) -> str:
    """The address of a token server: https, http only to this machine; it may have a query."""
    if not _TOKEN_URL.fullmatch(text) or not text.isascii():
        raise InvalidValue("is not an address", "write https://host/path, without user or fragment")
    if text.startswith("http:") and not _is_loopback(_host(text)):
        raise InvalidValue("must be https", "http is for localhost only")
    _host(text)
    return text


def moment(text: str) -> float:
    """Seconds since the Unix epoch of ``2026-06-15T12:00:00Z``, or written as such already."""
    if _SECONDS_SINCE.fullmatch(text):
        return float(text)
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InvalidValue("is not a moment", "write 2026-06-15T12:00:00Z or seconds since 1970")
    return at.timestamp()


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.hostname and parts.port != 0:
            return parts.hostname
    except ValueError:
        pass
    raise InvalidValue("is not an address", "the host or port is wrong") from None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


STORES = ("s3://", "gs://", "az://")
"""How the URIs of object stores begin."""

_PLACE = re.compile(r"[a-z0-9]+://[a-z0-9][a-z0-9._-]{1,62}(/[A-Za-z0-9._=+,-]+)*/?")


def place(text: str) -> str:
    """A path on this machine, or a place in an object store: a bucket, and folders in it."""
    if not text.startswith(STORES):
        return path(text)
    if not _PLACE.fullmatch(text) or {".", ".."} & set(text.split("/")):
        raise InvalidValue(
            "is not a place in an object store", "write s3://bucket/folder, without user or query"
        )
    return text.rstrip("/")


def endpoint(text: str) -> str:
    """The address of an object store: https, http only to this machine."""
    if text == "sandbox":
        raise InvalidValue("is not an address", "write https://host")
    return base_url(text)


def path(text: str) -> str:
    """A path on this machine."""
    if not text.strip() or "\0" in text:
        raise InvalidValue("is not a path")
    if _SCHEME.match(text):
        raise InvalidValue("is not a path", "write it without a scheme")
    if text.startswith("~"):
        raise InvalidValue("begins with `~`, which is not filled in", "write ${HOME}/…")
    return text
