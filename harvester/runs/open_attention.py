"""Trouble that is left to a person: what earlier runs recorded and the files still show."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeAlias

from harvester.core.config.settings import Manifest
from harvester.runs.record import attention
from harvester.runs.record.attention import Attention, FormerRun
from harvester.runs.record.expectations import CAUSE
from harvester.storage.layout import Tree
from harvester.storage.state import run_records

_FEW = 5
"""Records that are read of an output without missing days: trouble of the runs themselves."""

_FROM_FILES = {"quarantined", "empty_everywhere", CAUSE}
"""Causes that the files show, whatever the records tell."""


Pairs: TypeAlias = Collection[tuple[str, str]]
"""Datasets with their appids."""


def former_runs(tree: Tree, most: int = attention.MAX_FORMER) -> Iterator[FormerRun]:
    """Yield the finished runs among the newest records, newest first. Raises StoreError."""
    newest = islice(run_records.newest(tree, FormerRun), most)
    # Another verb, such as `forget`, asks for no day and meets no trouble.
    return (each for each in newest if (each.verb, each.state) == ("run", "finished"))


def open_attention(
    manifest: Manifest,
    tree: Tree,
    lacking: Pairs,
    shown: Sequence[Attention],
) -> tuple[Attention, ...]:
    """Return what needs a person, with the time since when it does. Raises StoreError.

    The files show pairs that are ``lacking`` days, and what `attention_of_run.of_files` makes of
    them is ``shown``.
    """
    length = attention.MAX_FORMER if shown or lacking else _FEW
    told = _told(former_runs(tree, length), manifest.file.name)
    lasting = (item for item in told.values() if item.cause not in _FROM_FILES)
    still = [each for item in lasting for each in _still(item, lacking)]
    return attention.in_order([*still, *attention.since_when(shown, told)])


def concerns(item: Attention, pairs: Pairs) -> bool:
    """Return whether an item is about one of the pairs, or about all accounts."""
    return not item.accounts or any(True for _ in _pairs(item, pairs))


def _told(former: Iterable[FormerRun], manifest: str) -> Mapping[str, Attention]:
    """Return the items of the last runs of each scope by key; ``former`` are newest first.

    None is read from before the last runs of all shards of the whole manifest of this name.
    """
    found: dict[str, Attention] = {}
    known, shards = set[object](), set[str | None]()
    for run in former:
        # One of the whole manifest has asked for all that one of a selection asks for.
        if known & {run.scope, attention.scope_of(run.manifest, run.shard, {})}:
            continue
        for item in run.attention:
            found.setdefault(item.key, item)
        # What this run did not meet is gone.
        if run.is_whole:
            known.add(run.scope)
            if run.scope == attention.scope_of(manifest, run.shard, {}):
                shards.add(run.shard)
        if run.shard in shards and len(shards) >= _shard_count(run.shard):
            break
    return found


def _shard_count(shard: str | None) -> int:
    """Return the number of shards of a run that had one like ``2/8``."""
    total = (shard or "1/1").partition("/")[2]
    return int(total) if total.isdecimal() else 1


def _still(item: Attention, lacking: Pairs) -> Iterator[Attention]:
    """Yield an item with the accounts and datasets of which days are missing still."""
    if not item.accounts:
        yield item
        return
    pairs = list(_pairs(item, lacking))
    if pairs:
        datasets, appids = ({*each} for each in zip(*pairs, strict=True))
        accounts = tuple(each for each in item.accounts if each.appid in appids)
        yield replace(item, accounts=accounts, datasets=tuple(sorted(datasets)))


def _pairs(item: Attention, lacking: Pairs) -> Iterator[tuple[str, str]]:
    for dataset in item.datasets:
        for account in item.accounts:
            if (dataset, account.appid) in lacking:
                yield dataset, account.appid
