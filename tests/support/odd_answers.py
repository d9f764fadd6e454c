"""Answers in the odd but legal forms that WeChat, and servers between, are known to send.

Each form leaves the rows as they are. One form of the body and one of its way are taken at a time,
so that any number of consecutive answers has nearly all pairs of them.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import TypeAlias

from harvester.sandbox.calls import Reply, Request, date_text, json_of
from tests.support.faulty_wechat import FaultyWeChat, head_of

Body: TypeAlias = Callable[[bytes], bytes]

_LIST = b'{"list":'


def _with_errcode(body: bytes) -> bytes:
    """Put errcode 0 beside the list."""
    return b'{"errcode":0,"errmsg":"ok",' + body[1:]


def _with_errcode_text(body: bytes) -> bytes:
    return b'{"errcode":"0","errmsg":"ok",' + body[1:]


def _with_plain_hours(body: bytes) -> bytes:
    """Send hours from 0 to 23 instead of hundreds, where one beyond midnight proves it."""
    answer = json.loads(body)
    for row in answer["list"]:
        if "ref_hour" in row:
            row["ref_hour"] //= 100
    return json_of(answer)


def _with_delay_text(body: bytes) -> bytes:
    """Send ``is_delay`` as a text."""
    rows, member, value = body.rpartition(b'"is_delay":')
    return rows + member + b'"' + value[:-1].strip(b'"') + b'"}' if member else body


def _in_ascii(body: bytes) -> bytes:
    """Write all other characters as escapes."""
    return json.dumps(json.loads(body)).encode()


def _indented(body: bytes) -> bytes:
    return json.dumps(json.loads(body), ensure_ascii=False, indent=2).encode() + b"\n"


BODIES: tuple[Body, ...] = (
    _with_errcode,
    _with_plain_hours,
    _in_ascii,
    _with_errcode_text,
    _with_delay_text,
    _indented,
    bytes,
)
"""Forms of a body with a list; the last one leaves it as it is."""

_MARK = b"\xef\xbb\xbf"


def _until_closed(reply: Reply, date: str) -> Reply:
    """Send the body without a length: it ends with the connection."""
    return _raw(reply, date, reply.body)


def _chunked(reply: Reply, date: str) -> Reply:
    size, body = f"{len(reply.body):x}", reply.body
    chunks = size.encode() + b"\r\n" + body + b"\r\n0\r\n\r\n"
    return _raw(reply, date, chunks, "Transfer-Encoding: chunked")


def _compressed(reply: Reply, date: str) -> Reply:
    data = gzip.compress(reply.body)
    return _raw(reply, date, data, "Content-Encoding: gzip", f"Content-Length: {len(data)}")


def _raw(reply: Reply, date: str, body: bytes, *fields: str) -> Reply:
    data = head_of(reply, date, "Connection: close", *fields) + body
    return reply._replace(raw=lambda transport: transport.write(data))


WAYS: tuple[Callable[[Reply, str], Reply], ...] = (
    lambda reply, _: reply._replace(body=_MARK + reply.body),
    lambda reply, _: reply._replace(content_type="text/plain"),
    _chunked,
    _until_closed,
    _compressed,
    lambda reply, _: reply._replace(content_type="text/html; charset=gbk"),
)
"""Ways to send an answer. There are not as many as forms of a body, so that all pairs come."""


def odd(reply: Reply, number: int, date: str) -> Reply:
    """Return an answer in another form; a broken one, and an error page, stay as they are.

    ``date`` is the answer's, as in its head.
    """
    if reply.raw is not None or reply.status != 200:
        return reply
    if reply.body.startswith(_LIST):
        reply = reply._replace(body=BODIES[number % len(BODIES)](reply.body))
    return WAYS[number % len(WAYS)](reply, date)


class OddWeChat(FaultyWeChat):
    """An emulator whose answers vary in these forms."""

    def answer(self, request: Request) -> Reply:
        """Answer a request in the next form."""
        return odd(super().answer(request), self.requests, date_text(int(self.now())))
