"""Cached list of the accounts that authorised the platform, for commands that make no calls."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from harvester.core.model import is_appid
from harvester.storage.layout import ACCOUNT_CACHE, Tree
from harvester.storage.state import json_file

_MEMBER = "authorised"


def write(tree: Tree, appids: Sequence[str]) -> None:
    """Replace the list; no token is kept. Raises StoreError."""
    # By chance, because the writer holds no bucket's lock.
    temp = tree.store.scratch / f"platform.{secrets.token_hex(8)}.json.tmp"
    json_file.write(tree.store, ACCOUNT_CACHE, {_MEMBER: appids}, temp)


def read(tree: Tree) -> tuple[str, ...]:
    """Return the appids; none if WeChat was not asked yet, or the file is damaged.

    Raises StoreError, and UsageError for a newer version.
    """
    found = json_file.read(tree.store, ACCOUNT_CACHE, dict[str, list[str]]) or {}
    return tuple(filter(is_appid, found.get(_MEMBER, ())))
