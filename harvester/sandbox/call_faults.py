"""What may go wrong: WeChat's error answers, answers that are none, and who is to get which.

The errors are worded as answers seen in the wild, with the ``rid`` that WeChat appends to each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from harvester.sandbox.data import Row

TOKEN = "token"
"""Stands for all token endpoints, those of platforms too, where a dataset's name could stand."""

QUOTA = "quota"
"""Stands for the endpoint that tells of quotas where a dataset's name could stand."""

ANYONE = "*"
"""Stands for every account where an appid could stand."""

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
    """What the connection carries."""

    WHOLE = "the whole answer"
    CLOSE = "nothing; it is closed"
    RESET = "nothing; it is reset"
    CUT = "the head and half of the body, then it is closed"
    GARBAGE = "bytes that are no HTTP, then it is closed"


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of one call.

    ``errcode`` or ``body`` replace the answer, ``alter`` rewrites its rows, and without any of them
    the true answer is sent, though late (``delay`` seconds) or in pieces (``wire``). ``errmsg``
    replaces WeChat's usual words. ``content_type`` is sent as it stands.
    """

    errcode: int | None = None
    errmsg: str = ""
    status: int = 200
    body: bytes | None = None
    content_type: str = "application/json; encoding=utf-8"
    alter: Callable[[list[Row]], list[Row]] | None = None
    delay: float = 0.0
    wire: Wire = Wire.WHOLE

    @property
    def replaces(self) -> bool:
        """Whether the true answer is not even looked up, and the call spends none of its limits."""
        return self.errcode is not None or self.body is not None


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
    """The sandbox answers with an errcode."""

    def __init__(self, errcode: int) -> None:
        super().__init__(MESSAGES.get(errcode, ""))
        self.errcode = errcode


class CallFaults:
    """Which calls of whom are to go wrong, and how often still."""

    def __init__(self) -> None:
        self._faults: dict[tuple[str, str | None], deque[tuple[Fault, int | None]]] = {}

    def add(self, appid: str, dataset: str | None, fault: Fault, times: int | None) -> None:
        """Let it happen so many times, or for ever, after what was added for these calls before."""
        self._faults.setdefault((appid, dataset), deque()).append((fault, times))

    def remove(self, appid: str, dataset: str | None) -> None:
        """Forget what was added for these calls."""
        self._faults.pop((appid, dataset), None)

    def take(self, appid: str, dataset: str) -> Fault | None:
        """The fault of this call, which is then used up once. The narrower entry comes first."""
        if not self._faults:
            return None
        for whom in (appid, ANYONE):
            for what in (dataset,) if dataset in (TOKEN, QUOTA) else (dataset, None):
                if (whom, what) in self._faults:
                    return self._use((whom, what))
        return None

    def _use(self, key: tuple[str, str | None]) -> Fault:
        faults = self._faults[key]
        fault, times = faults.popleft()
        if times is None:
            faults.appendleft((fault, None))
        elif times > 1:
            faults.appendleft((fault, times - 1))
        elif not faults:
            del self._faults[key]
        return fault
