"""Who authorised the platform, as last heard: for verbs that ask nobody."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from harvester.core.model import is_appid
from harvester.store.layout import ROSTER, Tree


def keep(tree: Tree, appids: Sequence[str]) -> None:
    """Remember the appids in the place of those before; no token is kept. Raises StoreError."""
    # Written before anybody holds a lock: the name is this process's own.
    temp = tree.store.scratch / f"platform.{os.getpid()}.json.tmp"
    text = json.dumps({"authorised": list(appids)}, indent=1)
    tree.store.write(ROSTER, text.encode(), temp)


def known(tree: Tree) -> tuple[str, ...]:
    """The appids as last heard; none if nobody asked yet, or the note says nothing.

    Raises StoreError.
    """
    note = tree.store.read(ROSTER)
    try:
        appids = json.loads(note)["authorised"] if note else ()
        return tuple(appid for appid in appids if is_appid(appid))
    except (ValueError, KeyError, TypeError):
        return ()
