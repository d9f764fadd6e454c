"""Cached list of the accounts that authorised the platform, for commands that make no calls."""

from __future__ import annotations

from collections.abc import Sequence

from harvester.core.model import is_appid
from harvester.storage.layout import ACCOUNT_CACHE, Tree
from harvester.storage.state.json_file import SideFile

_MEMBER = "authorised"


def write(tree: Tree, appids: Sequence[str]) -> None:
    """Replace the list; no token is kept. Raises as `read`."""
    _document(tree).update(lambda _: {_MEMBER: [*appids]})


def read(tree: Tree) -> tuple[str, ...]:
    """Return the appids; none if WeChat was not asked yet, or the file is damaged.

    Raises StoreError, and UsageError for a newer version.
    """
    return tuple(filter(is_appid, (_document(tree).read() or {}).get(_MEMBER, ())))


def _document(tree: Tree) -> SideFile[dict[str, list[str]]]:
    return SideFile(tree.store, ACCOUNT_CACHE, dict[str, list[str]])
