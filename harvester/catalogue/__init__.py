"""The catalogue: every dataset harvester knows, as data with its source."""

from __future__ import annotations

import fnmatch

from harvester.catalogue import interface
from harvester.catalogue.dataset import Column, Dataset, Grain, Kind

CATALOGUE: dict[str, Dataset] = {dataset.name: dataset for dataset in interface.DATASETS}
"""Every dataset by its name, in the order people read them."""


def matching(pattern: str) -> tuple[Dataset, ...]:
    """The datasets a manifest or an option means.

    ``pattern`` is a name, WeChat's own name (``getinterfacesummary``), a glob or ``all``. Empty if
    nothing matches: the caller knows where the pattern stood and says so.
    """
    glob = "*" if pattern == "all" else pattern
    return tuple(
        dataset
        for dataset in CATALOGUE.values()
        if fnmatch.fnmatchcase(dataset.name, glob) or dataset.api == pattern
    )


__all__ = ["CATALOGUE", "Column", "Dataset", "Grain", "Kind", "matching"]
