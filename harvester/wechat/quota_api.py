"""What an API of WeChat allows an account a day.

WeChat's quotas are per account, API and Beijing day, and its pages do not tell them: an account has
to be asked for its own. Source: /doc/service/api/apimanage/openapi/api_openapi_getapiquota.html.
"""

from __future__ import annotations

import json
from typing import Any

from harvester.core.dataset import Dataset
from harvester.core.errors import BadAnswer
from harvester.core.lenient_json import parse
from harvester.core.model import ReportedQuota

QUOTA_PATH = "/cgi-bin/openapi/quota/get"


def quota_body(dataset: Dataset) -> bytes:
    """The body that asks for the allowance of a dataset."""
    return json.dumps({"cgi_path": dataset.path}).encode()


def allowance_of(status: int, body: bytes, asked_at: float) -> ReportedQuota | None:
    """What was told; None for a refusal or anything else, since it is only good to know."""
    try:
        told: Any = parse(body).value if status == 200 else None
        quota = told["quota"]
        numbers = [quota[name] for name in ("daily_limit", "used", "remain")]
    except (BadAnswer, KeyError, TypeError):
        return None
    if not all(type(number) is int and number >= 0 for number in numbers):
        return None
    limit, used, remain = numbers
    return ReportedQuota(limit, used, remain, asked_at)
