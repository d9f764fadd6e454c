"""Faults of calls: WeChat's error answers.

They are worded as answers seen in the wild, without the ``rid`` that WeChat appends to each.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, product, repeat
from typing import Generic, TypeVar

T = TypeVar("T")

TOKEN = "token"
"""In the place of a dataset's name: all token endpoints."""

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
    61500: "date format error",
    61501: "date range error",
    61503: "data not ready, please try later",
    76021: "cgi_path not found, please check",
    76022: "could not use this cgi_path, no permission",
}


class Refused(Exception):
    """A call that is answered with an errcode."""

    def __init__(self, errcode: int) -> None:
        super().__init__(MESSAGES.get(errcode, ""))
        self.errcode = errcode


class CallFaults(Generic[T]):
    """The faults of calls to come, by account and by dataset, TOKEN, QUOTA or None for all data."""

    def __init__(self) -> None:
        self._faults: dict[tuple[str, str | None], Iterator[T]] = {}

    def add(self, appid: str, dataset: str | None, fault: T, times: int | None) -> None:
        """Add a fault of the next ``times`` calls, None for all, after the faults added before."""
        added = repeat(fault) if times is None else repeat(fault, times)
        self._faults[appid, dataset] = chain(self._faults.get((appid, dataset), ()), added)

    def remove(self, appid: str, dataset: str | None) -> None:
        """Remove the faults added with the same appid and dataset."""
        self._faults.pop((appid, dataset), None)

    def take(self, appid: str, dataset: str) -> T | None:
        """Return the fault of this call and use it up once; the most specific fault comes first."""
        targets = (dataset,) if dataset in {TOKEN, QUOTA} else (dataset, None)
        for key in product((appid, ANYONE), targets):
            for fault in self._faults.get(key, ()):
                return fault
        return None
