"""What WeChat told about itself: each account's allowances, under ``_harvester/quota``.

`read` is for whoever plans or limits calls::

    for (appid, dataset), allowance in learned.read(tree).items(): ...

A ``daily_limit`` holds until WeChat changes it; ``used`` and ``remain`` are of one moment, see
`Allowance`. One file a Beijing day, which takes over what the days before it knew. Losing them
costs nothing: a file that is damaged or of another version is passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import orjson

from harvester import days
from harvester.errors import StoreError
from harvester.inquiry import Allowance
from harvester.store.layout import QUOTA, Tree

VERSION = 1
"""Of the form of a file."""

Allowances: TypeAlias = dict[tuple[str, str], Allowance]
"""What is known, by appid and dataset."""

_NAME = re.compile(rf"{QUOTA}/learned-\d{{4}}-\d\d-\d\d\.json")


def read(tree: Tree) -> Allowances:
    """The newest that is known of each account and dataset; nothing if nothing is."""
    found: Allowances = {}
    for name in _names(tree):
        for key, allowance in _read(tree, name).items():
            if key not in found or allowance.asked_at > found[key].asked_at:
                found[key] = allowance
    return found


def write(tree: Tree, told: Mapping[tuple[str, str], Allowance], now: float) -> None:
    """Add what was told to what is known. ``now`` decides the day. Raises StoreError."""
    known, older = {**read(tree), **told}, _names(tree)
    name = f"{QUOTA}/learned-{days.day_text(days.today(now))}.json"
    # Two checks may end at the same moment; whose file is left does not matter.
    temp = tree.store.scratch / f"learned-{os.getpid()}.tmp"
    tree.store.write(name, orjson.dumps(_plain(known)), temp)
    for old in older:
        if old != name:
            tree.store.delete(old)


def _names(tree: Tree) -> list[str]:
    try:
        return [file.name for file in tree.store.list(QUOTA) if _NAME.fullmatch(file.name)]
    except StoreError:
        return []


def _plain(known: Allowances) -> dict[str, Any]:
    accounts: dict[str, dict[str, list[float]]] = {}
    for (appid, dataset), allowance in sorted(known.items()):
        accounts.setdefault(appid, {})[dataset] = list(allowance)
    return {"version": VERSION, "accounts": accounts}


def _read(tree: Tree, name: str) -> Allowances:
    try:
        plain = orjson.loads(tree.store.read(name) or b"")
        if plain["version"] != VERSION:
            return {}
        return {
            (appid, dataset): Allowance(int(limit), int(used), int(remain), float(asked_at))
            for appid, of_account in plain["accounts"].items()
            for dataset, (limit, used, remain, asked_at) in of_account.items()
        }
    except (StoreError, ValueError, KeyError, TypeError, AttributeError):
        return {}
