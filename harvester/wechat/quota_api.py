"""Reads how many calls of an API WeChat allows an account per Beijing day.

WeChat's pages do not publish these quotas, so each account is asked for its own. Source:
/doc/service/api/apimanage/openapi/api_openapi_getapiquota.html.
"""

from __future__ import annotations

import json

from harvester.catalogue.error_codes import rule_for
from harvester.core.dataset import Dataset
from harvester.core.errors import BadAnswer
from harvester.core.model import Refusal, ReportedQuota
from harvester.core.rule import Action
from harvester.core.text.lenient_json import is_document
from harvester.wechat.protocol import members_of

_MAX_CALLS = 10**9
"""Maximum of a quota. A longer number may be part of a secret."""

QUOTA_PATH = "/cgi-bin/openapi/quota/get"


def quota_body(dataset: Dataset) -> bytes:
    """Return the body that asks for the quota of a dataset."""
    return json.dumps({"cgi_path": dataset.path}).encode()


def quota_or_reason(status: int, body: bytes, asked_at: float) -> ReportedQuota | str | None:
    """Read an answer: the quota, or in words why WeChat does not tell it.

    Returns None for trouble that passes, after which the question may be put again. ``asked_at`` is
    in seconds since the Unix epoch.
    """
    # An empty body or a page is what stands between this machine and WeChat on a bad day.
    if status >= 500 or (status == 200 and not is_document(body)):
        return None
    try:
        answer = members_of(status, body)
    except BadAnswer as error:
        return str(error)
    if isinstance(answer, Refusal):
        rule = rule_for(answer.errcode)
        # A rejected token says nothing about the question either.
        return None if rule.is_passing or rule.action is Action.REFRESH_TOKEN else str(answer)
    match answer.get("quota"):
        # A limit of 0 is no answer: an account that may call at all has one.
        case {"daily_limit": limit, "used": used, "remain": remain} if limit and all(
            type(number) is int and 0 <= number <= _MAX_CALLS for number in (limit, used, remain)
        ):
            return ReportedQuota(limit, used, remain, asked_at)
    return "the answer has no such numbers"
