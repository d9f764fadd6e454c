"""Faults of calls: WeChat's error answers, malformed answers, broken connections.

The errors are worded as answers seen in the wild, without the ``rid`` that WeChat appends to each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import chain, product, repeat

from harvester.sandbox.data import Row

TOKEN = "token"
"""In the place of a dataset's name: all token endpoints, including those of platforms."""

QUOTA = "quota"
"""In the place of a dataset's name: the endpoint that reports quotas."""

ANYONE = "*"
"""In the place of an appid: every account."""

MESSAGES = {
    -1: "system error",
    40001: "invalid credential, access_token is invalid or not latest, could get access_token by "
    "getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r",
    40002: "invalid grant_type",
    40013: "invalid appid",
    40014: "invalid access_token",
    40125: "invalid appsecret",
    40164: "invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist",
    40243: "AppSecret has been frozen",
    41001: "access_token missing",
    41002: "appid missing",
    41004: "appsecret missing",
    42001: "access_token expired",
    42007: "access_token and refresh_token exception",
    43001: "require GET method",
    43002: "require POST method",
    44002: "empty post data",
    45009: "reach max api daily quota limit",
    45011: "api minute-quota reach limit, must slower, retry next minute",
    45035: "clientip not in ip-white-list",
    47001: "data format error",
    47009: "this api is offline, please use the new api",
    48001: "api unauthorized",
    48004: "api forbidden for irregularities",
    48006: "forbid to clear quota because of reaching the limit",
    50002: "user limited",
    61003: "component is not authorized by this account",
    61004: "access clientip is not registered",
    61005: "component ticket is expired",
    61006: "component ticket is invalid",
    61007: "api is unauthorized to component",
    61011: "invalid component",
    61014: "must use component token for component api",
    61023: "refresh_token is invalid",
    61500: "date format error",
    61501: "date range error",
    61503: "data not ready, please try later",
    76021: "cgi_path not found, please check",
    76022: "could not use this cgi_path, no permission",
}

_BAD_GATEWAY = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
)


class Wire(Enum):
    """Part of an answer that the connection carries."""

    WHOLE = "the whole answer"
    CHUNKS = "the whole answer, in chunks without a length"
    UNTIL_CLOSED = "the whole answer without a length, then it is closed"
    COMPRESSED = "the whole answer, compressed although the request does not allow it"
    CLOSE = "nothing; it is closed"
    RESET = "nothing; it is reset"
    CUT = "the head and half of the body, then it is closed"
    GARBAGE = "bytes that are not HTTP, then it is closed"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one call.

    ``errcode`` or ``body`` replaces the answer; the call is not checked then and spends no limit.
    ``alter`` rewrites the rows of the answer. All other fields change how the answer is sent.

    Attributes:
        errcode: Answers this error.
        errmsg: Replaces WeChat's usual message for the errcode.
        status: HTTP status.
        body: Answers these bytes.
        content_type: Sent unchanged.
        alter: Gets the rows, and returns the rows to send.
        delay: Seconds before the answer, in addition to the latency.
        wire: Part of the answer that is sent.
    """

    errcode: int | None = None
    errmsg: str = ""
    status: int = 200
    body: bytes | None = None
    content_type: str = "application/json; encoding=utf-8"
    alter: Callable[[list[Row]], list[Row]] | None = None
    delay: float = 0.0
    wire: Wire = Wire.WHOLE


BAD_GATEWAY = Fault(status=502, body=_BAD_GATEWAY, content_type="text/html")
HTML_PAGE = Fault(body=_BAD_GATEWAY, content_type="text/html; charset=gbk")
EMPTY_BODY = Fault(body=b"", content_type="text/html; charset=gbk")
EMPTY_OBJECT = Fault(body=b"{}")
NULL_LIST = Fault(body=b'{"list":null}')
CLOSED = Fault(wire=Wire.CLOSE)
RESET = Fault(wire=Wire.RESET)
CUT = Fault(wire=Wire.CUT)
GARBAGE = Fault(wire=Wire.GARBAGE)


class Refused(Exception):
    """A call that is answered with an errcode."""

    def __init__(self, errcode: int) -> None:
        super().__init__(MESSAGES.get(errcode, ""))
        self.errcode = errcode


class CallFaults:
    """The faults of calls to come, by account and by dataset, TOKEN, QUOTA or None for all data."""

    def __init__(self) -> None:
        self._faults: dict[tuple[str, str | None], Iterator[Fault]] = {}

    def add(self, appid: str, dataset: str | None, fault: Fault, times: int | None) -> None:
        """Add a fault of the next ``times`` calls, None for all, after the faults added before."""
        added = repeat(fault) if times is None else repeat(fault, times)
        self._faults[appid, dataset] = chain(self._faults.get((appid, dataset), ()), added)

    def remove(self, appid: str, dataset: str | None) -> None:
        """Remove the faults added with the same appid and dataset."""
        self._faults.pop((appid, dataset), None)

    def take(self, appid: str, dataset: str) -> Fault | None:
        """Return the fault of this call and use it up once; the most specific fault comes first."""
        if not self._faults:  # every call of a fake without faults comes here
            return None
        targets = (dataset,) if dataset in {TOKEN, QUOTA} else (dataset, None)
        for key in product((appid, ANYONE), targets):
            for fault in self._faults.get(key, ()):
                return fault
        return None
