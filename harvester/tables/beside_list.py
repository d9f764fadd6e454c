"""Members of an answer beside its ``list``: that there is more, how many rows there are, others.

WeChat documents ``is_delay`` alone. Its APIs that answer in pages use the other names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from operator import itemgetter
from typing import Any

from harvester.core.model import OddityKind
from harvester.core.text.safe_text import safe_text
from harvester.tables.day_rows import Oddity

_MORE, _NEXT = "has_more", "next_"
_DECLARED = {"list", "is_delay", "errcode", "errmsg"}
_NOTHING_MORE: tuple[Any, ...] = (None, False, 0, "", "0", "false", [])
_TOTALS = {"total", "total_count", "total_num"}
_MAX_LENGTH = 100


def rest_of(answer: dict[str, Any]) -> str:
    """Return the member that announces rows beyond the list, empty if none does."""
    names = (name for name in answer if name == _MORE or name.startswith(_NEXT))
    return next((_shown(name) for name in names if answer[name] not in _NOTHING_MORE), "")


def has_two_lists(body: bytes) -> bool:
    """Return whether a JSON object has ``list`` twice, of which a parser keeps one.

    True as well if it is nested too deeply to tell.
    """
    if body.count(b'"list"') < 2:
        return False
    text = body.decode("utf-8-sig", "replace")
    try:
        # The outermost object is the last one that the hook gets.
        names = json.loads(
            text, strict=False, object_pairs_hook=lambda pairs: [name for name, _ in pairs]
        )
    except RecursionError:
        return True
    return bool(names.count("list") > 1)


def oddities(answer: dict[str, Any]) -> Iterator[Oddity]:
    """Yield the undeclared members, and the totals that are not the number of rows."""
    count = len(answer["list"])
    for name, value in sorted(answer.items(), key=itemgetter(0)):
        if name in _DECLARED or name == _MORE or name.startswith(_NEXT):
            continue
        if name not in _TOTALS or type(value) is not int:
            yield Oddity(OddityKind.BESIDE_LIST, _shown(name))
        elif value != count:
            yield Oddity(OddityKind.OTHER_TOTAL, name, f"{value:,} for {count:,} rows")


def _shown(name: str) -> str:
    return safe_text(name, _MAX_LENGTH)
