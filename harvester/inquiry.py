"""What `harvester check` asks: the cheapest call of each family, and what each API allows a day.

WeChat's quotas are per account, API and Beijing day, and its pages do not tell them: an account has
to be asked for its own. Source: /doc/service/api/apimanage/openapi/api_openapi_getapiquota.html.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from harvester import clock
from harvester.catalogue import Dataset, Grain
from harvester.core.config import Manifest
from harvester.core.model import Window
from harvester.errors import BadAnswer
from harvester.wire import parse

QUOTA_PATH = "/cgi-bin/openapi/quota/get"


class Allowance(NamedTuple):
    """What WeChat said that an account may ask of one dataset in a day.

    ``used`` and ``remain`` are of the Beijing day of ``asked_at``, which is in seconds since the
    Unix epoch; calls of other services of the account count as well.
    """

    daily_limit: int
    used: int
    remain: int
    asked_at: float


class Probe(NamedTuple):
    """The call that shows whether an account may use a family, and the datasets it stands for."""

    window: Window
    dataset: Dataset
    stands_for: tuple[Dataset, ...]


def probes(manifest: Manifest, now: float) -> dict[str, list[Probe]]:
    """For each account that has a job, a call for each family of datasets it is wanted of."""
    wanted: dict[str, dict[str, None]] = {}
    for job in manifest.jobs:
        for appid in job.appids:
            wanted.setdefault(appid, {}).update(dict.fromkeys(job.datasets))
    return {
        appid: _of_account(appid, [manifest.datasets[name] for name in names], now)
        for appid, names in wanted.items()
    }


def quota_body(dataset: Dataset) -> bytes:
    """The body that asks for the allowance of a dataset."""
    return json.dumps({"cgi_path": dataset.path}).encode()


def allowance_of(status: int, body: bytes, asked_at: float) -> Allowance | None:
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
    return Allowance(limit, used, remain, asked_at)


def _of_account(appid: str, datasets: Iterable[Dataset], now: float) -> list[Probe]:
    families: dict[str, list[Dataset]] = {}
    for dataset in datasets:
        families.setdefault(dataset.family, []).append(dataset)
    return [_probe(appid, of_family, now) for of_family in families.values()]


def _probe(appid: str, datasets: list[Dataset], now: float) -> Probe:
    """The newest period that is final, whatever its answer, of the dataset with the least rows."""
    dataset = min(datasets, key=_cost)
    final = clock.settled_before(dataset, now, empty=True) - 1
    day = max(clock.period_begin(dataset.grain, final), dataset.first_day)
    return Probe(Window(appid, dataset.name, day, day), dataset, tuple(datasets))


def _cost(dataset: Dataset) -> tuple[bool, bool, int]:
    return dataset.retired, dataset.grain is Grain.HOUR, len(dataset.key)
