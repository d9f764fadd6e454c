"""Reads how many calls of an API WeChat allows an account per Beijing day.

WeChat's pages do not publish these quotas, so each account is asked for its own. Source:
/doc/service/api/apimanage/openapi/api_openapi_getapiquota.html.
"""

from __future__ import annotations

import json
from typing import Any

from harvester.catalogue.error_codes import Action, rule_for
from harvester.core.dataset import Dataset
from harvester.core.errors import BadAnswer
from harvester.core.model import Refusal, ReportedQuota
from harvester.core.text.lenient_json import parse
from harvester.wechat.protocol import members_of

_MAX_CALLS = 10**9
"""Maximum of a quota. A longer number may be part of a secret."""

_PASSING = (Action.RETRY, Action.RETRY_NOW, Action.SLOW_DOWN, Action.REFRESH_TOKEN)
"""Actions after refusals that say nothing about the question."""

QUOTA_PATH = "/cgi-bin/openapi/quota/get"


def quota_body(dataset: Dataset) -> bytes:
    """Return the body that asks for the quota of a dataset."""
    return json.dumps({"cgi_path": dataset.path}).encode()


def reported_quota(status: int, body: bytes, asked_at: float) -> ReportedQuota | None:
    """Read an answer; None for a refusal or anything else, because no decision needs the quota.

    ``asked_at`` is in seconds since the Unix epoch.
    """
    try:
        told: Any = parse(body).value if status == 200 else None
        quota = told["quota"]
        numbers = [quota[name] for name in ("daily_limit", "used", "remain")]
    except (BadAnswer, KeyError, TypeError):
        return None
    if not all(type(number) is int and 0 <= number <= _MAX_CALLS for number in numbers):
        return None
    limit, used, remain = numbers
    return ReportedQuota(limit, used, remain, asked_at)


def quota_or_reason(status: int, body: bytes, asked_at: float) -> ReportedQuota | str | None:
    """Read an answer: the quota, or in words why WeChat does not tell it.

    Returns None for trouble that passes, after which the question may be put again.
    """
    quota = reported_quota(status, body, asked_at)
    # A limit of 0 is no answer: an account that may call at all has one.
    if quota is not None and quota.daily_limit:
        return quota
    if status >= 500:
        return None
    try:
        answer = members_of(status, body)
    except BadAnswer as error:
        return str(error)
    if isinstance(answer, Refusal):
        return None if rule_for(answer.errcode).action in _PASSING else str(answer)
    return "the answer has no such numbers"
