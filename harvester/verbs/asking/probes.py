"""Probes: the cheapest call that shows whether an account may use a family of datasets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from harvester.core import readiness
from harvester.core.config.settings import Manifest
from harvester.core.dataset import Dataset, Grain
from harvester.core.model import Window


class Probe(NamedTuple):
    """A call that shows whether an account may use a family, and the account's datasets of it."""

    window: Window
    dataset: Dataset
    stands_for: tuple[Dataset, ...]


def probes(manifest: Manifest, now: float) -> dict[str, list[Probe]]:
    """Choose a call for each family of each account that has a job, by appid.

    ``now`` is in seconds since the Unix epoch.
    """
    wanted: dict[str, dict[str, None]] = {}
    for job in manifest.jobs:
        for appid in job.appids:
            wanted.setdefault(appid, {}).update(dict.fromkeys(job.datasets))
    return {
        appid: _of_account(appid, [manifest.datasets[name] for name in names], now)
        for appid, names in wanted.items()
    }


def _of_account(appid: str, datasets: Iterable[Dataset], now: float) -> list[Probe]:
    families: dict[str, list[Dataset]] = {}
    for dataset in datasets:
        families.setdefault(dataset.family, []).append(dataset)
    return [_probe(appid, of_family, now) for of_family in families.values()]


def _probe(appid: str, datasets: list[Dataset], now: float) -> Probe:
    """Choose the newest period that is final even if empty, of the dataset with the fewest rows."""
    dataset = min(datasets, key=lambda each: (each.grain is Grain.HOUR, len(each.key)))
    final = readiness.settled_before(dataset, now, empty=True) - 1
    day = max(readiness.period_begin(dataset.grain, final), dataset.first_day)
    return Probe(Window(appid, dataset.name, day, day), dataset, tuple(datasets))
