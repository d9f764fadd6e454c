"""The catalogue of WeChat's datasets and error codes, with the pages that document them."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection

from harvester.catalogue import article, interface, message, user
from harvester.core.config.nearest import nearest
from harvester.core.config.references import quote_safe
from harvester.core.dataset import Dataset, api_of

_FAMILIES = (user, article, message, interface)

CATALOGUE: dict[str, Dataset] = {
    each.name: each for family in _FAMILIES for each in family.DATASETS
}
"""Every dataset by its name, family by family."""

RETIRED = {
    "article_summary": ("article_read", "article_share"),
    "article_total": ("article_total_detail",),
    "user_read": ("biz_summary",),
    "user_read_hour": ("article_read", "biz_summary"),
    "user_share": ("article_share", "biz_summary"),
    "user_share_hour": ("article_share", "biz_summary"),
}
"""Datasets that WeChat took offline in 2026, with their successors, which all count by day.

Their APIs answer errcode 47009. No pattern matches them; they are known for error messages.
"""


def matching(pattern: str) -> tuple[Dataset, ...]:
    """Return the datasets that a pattern in a manifest or an option matches.

    ``pattern`` is a name, WeChat's own name (``getinterfacesummary``), a glob or ``all``. The
    result is empty if nothing matches: the caller knows where the pattern stands and reports it.
    """
    glob = "*" if pattern == "all" else pattern
    return tuple(
        dataset
        for dataset in CATALOGUE.values()
        if fnmatch.fnmatchcase(dataset.name, glob) or dataset.api == pattern
    )


_NAMES = (*CATALOGUE, *(dataset.api for dataset in CATALOGUE.values()))


def unknown_dataset(name: str, known: Collection[str] = _NAMES) -> tuple[str, str]:
    """Return the problem and the remedy of a name that no dataset has, or a retired one.

    The remedy is the most similar one of the ``known`` names.
    """
    for retired, successors in RETIRED.items():
        if name in (retired, api_of(retired)):
            instead = " and ".join(f"`{successor}`" for successor in successors)
            return f"WeChat has retired `{name}`: it answers errcode 47009", f"use {instead}"
    hint = nearest(name, known) or "`harvester datasets` lists them"
    return f"unknown dataset{quote_safe(name)}", hint


__all__ = [
    "CATALOGUE",
    "RETIRED",
    "descriptions",
    "error_codes",
    "field_ids",
    "languages",
    "matching",
    "unknown_dataset",
]
