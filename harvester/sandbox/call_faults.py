"""Faults of calls: WeChat's error answers.

They are worded as answers seen in the wild, without the ``rid`` that WeChat appends to each.
"""

from __future__ import annotations

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
