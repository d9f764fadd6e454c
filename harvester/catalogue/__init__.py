"""The catalogue: every dataset harvester knows, as data with its source."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

from harvester.catalogue import article, article_retired, interface, message, user
from harvester.catalogue.dataset import Column, Dataset, Grain, Kind, Nesting

_FAMILIES = (user, article, message, interface, article_retired)

CATALOGUE: dict[str, Dataset] = {
    dataset.name: dataset for family in _FAMILIES for dataset in family.DATASETS
}
"""Every dataset by its name, in the order people read them: live ones, then retired ones."""


def matching(pattern: str, *, include_retired: bool = False) -> tuple[Dataset, ...]:
    """The datasets a manifest or an option means.

    ``pattern`` is a name, WeChat's own name (``getinterfacesummary``), a glob or ``all``. Retired
    datasets are meant only with ``include_retired``, even by their own name. Empty if nothing
    matches: the caller knows where the pattern stood and says so.
    """
    glob = "*" if pattern == "all" else pattern
    return tuple(
        dataset
        for dataset in CATALOGUE.values()
        if (fnmatch.fnmatchcase(dataset.name, glob) or dataset.api == pattern)
        and (include_retired or not dataset.retired)
    )


def successors(retired: Iterable[Dataset]) -> tuple[str, ...]:
    """The names of the live datasets that took the place of retired ones, each once."""
    return tuple(dict.fromkeys(name for dataset in retired for name in dataset.successors))


__all__ = ["CATALOGUE", "Column", "Dataset", "Grain", "Kind", "Nesting", "matching", "successors"]
