"""Requests and replies, and the JSON in their bodies.

Reading raises `Refused` with WeChat's errcode for the mistake.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any, NamedTuple

import orjson

from harvester.core.calendar import Day, parse_day
from harvester.sandbox.call_faults import Refused
from harvester.sandbox.data import Row

JSON = "application/json; encoding=utf-8"
"""The content type of WeChat's JSON; the parameter is in no standard."""


class Request(NamedTuple):
    """One HTTP request. ``unsized`` is true for a chunked body without Content-Length."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    unsized: bool = False


class Reply(NamedTuple):
    """One HTTP response, sent after ``delay`` seconds.

    ``raw`` writes to the connection in its place, and then the connection is closed.
    """

    body: bytes
    status: int = 200
    content_type: str = JSON
    delay: float = 0.0
    raw: Callable[[asyncio.Transport], object] | None = None


def date_text(second: float) -> str:
    """Return a second since the Unix epoch as in the header ``Date``."""
    return formatdate(second, usegmt=True)


def json_of(value: object) -> bytes:
    """Encode a value as JSON."""
    return orjson.dumps(value)


def list_of(rows: list[Row], *, is_delay: bool | str | None = None) -> bytes:
    """Encode rows as WeChat answers them; ``is_delay`` is left out if it is None."""
    return json_of({"list": rows} if is_delay is None else {"list": rows, "is_delay": is_delay})


def read_object(body: bytes) -> dict[str, Any]:
    """Decode the JSON object of a request. Raises Refused 44002 or 47001."""
    if not body:
        raise Refused(44002)
    try:
        value = orjson.loads(body)
    except ValueError:
        raise Refused(47001) from None
    if not isinstance(value, dict):
        raise Refused(47001)
    return value


def read_credential(asked: Mapping[str, Any]) -> tuple[str, str]:
    """Return the appid and the secret of a token call. Raises Refused 40002, 41002 or 41004."""
    if asked.get("grant_type") != "client_credential":
        raise Refused(40002)
    return text_of(asked, "appid", 41002), text_of(asked, "secret", 41004)


def read_window(body: bytes) -> tuple[Day, Day]:
    """Return the first and last day of a data call. Raises Refused 44002, 47001 or 61500."""
    asked = read_object(body)
    try:
        return parse_day(asked["begin_date"]), parse_day(asked["end_date"])
    except (KeyError, TypeError, ValueError):
        raise Refused(61500) from None


def text_of(asked: Mapping[str, Any], member: str, errcode: int) -> str:
    """Return a text member. Raises Refused with ``errcode`` if it is missing or not a text."""
    value = asked.get(member)
    if not isinstance(value, str) or not value:
        raise Refused(errcode)
    return value
