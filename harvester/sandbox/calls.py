"""One call over the wire: what arrives, what is sent back, and how the bytes of both are made out.

Reading raises `Refused` with the errcode WeChat has for the mistake.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from harvester.core.calendar import Day, parse_day
from harvester.sandbox.call_faults import MESSAGES, Fault, Refused, Wire
from harvester.sandbox.data import Row

JSON = "application/json; encoding=utf-8"
"""What WeChat calls its JSON; no standard knows the parameter."""


class Request(NamedTuple):
    """One HTTP request. ``unsized`` says that it came chunked, without a Content-Length."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    unsized: bool = False


class Reply(NamedTuple):
    """What is sent back, after ``delay`` seconds, and how much of it arrives."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    delay: float = 0.0
    wire: Wire = Wire.WHOLE


def with_fault(reply: Reply, fault: Fault) -> Reply:
    """The reply with everything a fault does to it but replace its body."""
    return Reply(reply.body, fault.status, fault.content_type, fault.delay, fault.wire)


def json_of(value: object) -> bytes:
    """A value as the bytes of its JSON."""
    return orjson.dumps(value)


def list_of(rows: list[Row], *, is_delay: bool | str | None = None) -> bytes:
    """Rows as WeChat answers them, with ``is_delay`` beside them if it is given."""
    return json_of({"list": rows} if is_delay is None else {"list": rows, "is_delay": is_delay})


def error_of(errcode: int, rid: str, errmsg: str = "") -> bytes:
    """An error as WeChat words it: errcode, and errmsg with the request's id behind it."""
    words = errmsg or MESSAGES.get(errcode, "system error")
    return json_of({"errcode": errcode, "errmsg": f"{words} rid: {rid}"})


def require(request: Request, method: str) -> None:
    """Raise Refused 43001 or 43002 for another method than GET or POST."""
    if request.method != method:
        raise Refused(43002 if method == "POST" else 43001)


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a request. Raises Refused 44002 or 47001."""
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
    """The appid and the secret of a token call. Raises Refused 40002, 41002 or 41004."""
    if asked.get("grant_type") != "client_credential":
        raise Refused(40002)
    return text_of(asked, "appid", 41002), text_of(asked, "secret", 41004)


def read_window(body: bytes) -> tuple[Day, Day]:
    """The days a data call asks for, in any order. Raises Refused 44002, 47001 or 61500."""
    asked = read_object(body)
    try:
        return parse_day(asked["begin_date"]), parse_day(asked["end_date"])
    except (KeyError, TypeError, ValueError):
        raise Refused(61500) from None


def text_of(asked: Mapping[str, Any], member: str, errcode: int) -> str:
    """A member that is a text. Raises Refused with the code of its absence."""
    value = asked.get(member)
    if not isinstance(value, str) or not value:
        raise Refused(errcode)
    return value
