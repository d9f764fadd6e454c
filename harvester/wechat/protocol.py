"""What goes over the wire: bodies out, answers in.

WeChat's answers are judged by their bytes alone. It sends JSON as ``text/plain``, errors with HTTP
200, and now and then control characters or broken UTF-8 inside a text. One whole JSON document is
the test of an answer, because an HTTP client reports a body that was cut off as a success.

Nothing here repeats what an answer said, but for the message of a refusal, made safe first.
"""

from __future__ import annotations

import re
from typing import Any

from harvester.core.calendar import day_text
from harvester.core.errors import BadAnswer, Malformed
from harvester.core.lenient_json import parse
from harvester.core.model import Refusal, Window
from harvester.core.safe_text import safe_text

PERMANENT_STATUS = frozenset({404, 412})
"""The HTTP errors that WeChat gives to a wrong path and to a body without Content-Length.

Repeating cannot help, so they are refusals like an errcode. All others are passing trouble.
"""


_REQUEST_ID = re.compile(
    r"\s*(?:rid: ?([0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{1,8})|hint: ?\[([A-Za-z0-9_.~@!-]{1,64})\])\s*$"
)


def window_body(window: Window) -> bytes:
    """The body that asks a datacube endpoint for a window."""
    return (
        f'{{"begin_date":"{day_text(window.begin)}","end_date":"{day_text(window.end)}"}}'.encode()
    )


def refusal_of(status: int, body: bytes) -> Refusal | None:
    """What WeChat refused a data call with; None if the answer is a list of rows.

    A body that looks as all good ones do is taken for one without being read: the transport has
    seen to it that it is whole, rows are read once when they are filed, and what cannot be read
    then is quarantined. Raises BadAnswer for anything that is neither, such as another HTTP
    status or HTML, and Malformed if it is JSON: ``{}``, a ``list`` that is null, or an ``errmsg``
    without ``errcode``.
    """
    if status == 200 and _looks_good(body):
        return None
    answer = members_of(status, body)
    if isinstance(answer, Refusal):
        return answer
    if isinstance(answer.get("list"), list):
        return None
    raise Malformed("the answer has neither a list nor an errcode")


def _looks_good(body: bytes) -> bool:
    if not (body.startswith(b'{"list":[') and body.endswith(b"]}")):
        return False
    # With one closing bracket in all of it nothing but the list can be a member of the answer.
    return body.find(b"]") == len(body) - 2 or (
        body.count(b'"list"') == 1 and b'"errcode"' not in body
    )


def members_of(status: int, body: bytes) -> dict[str, Any] | Refusal:
    """The members of an answer that may be a success, else the refusal. Raises BadAnswer."""
    if status in PERMANENT_STATUS:
        return Refusal(status, f"HTTP {status}", "")
    if status != 200:
        raise BadAnswer(f"HTTP {status}")
    answer = parse(body).value
    if not isinstance(answer, dict):
        raise Malformed("JSON, but no object")
    code = answer.get("errcode")
    if code is None:
        return answer
    errcode = whole_number(code)
    if errcode is None:
        raise Malformed("an errcode that is no number")
    return _refusal(errcode, answer.get("errmsg")) if errcode else answer


def _refusal(errcode: int, errmsg: object) -> Refusal:
    message = errmsg if isinstance(errmsg, str) else ""
    tail = _REQUEST_ID.search(message[-120:])
    if tail is None:
        return Refusal(errcode, safe_text(message), "")
    rid = tail[1] or tail[2]
    return Refusal(errcode, safe_text(message[: len(message) - len(tail[0])]), rid)


def whole_number(value: object) -> int | None:
    """An integer, also as a text or a float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return None
    return number if isinstance(value, str) or number == value else None
