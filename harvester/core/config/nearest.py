"""Hints with the known word that is most similar to a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from harvester.core.config.references import quote_safe

_MAX_COMPARED = 200
_MAX_WORD = 60


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint with the known word that is most similar, or an empty text without any."""
    pool = list(known)
    if len(word) > _MAX_WORD:
        return ""
    if len(pool) > _MAX_COMPARED:
        # Similarity is slow, so of many words only those with the same beginning or end count.
        half = max(len(word) // 2, 1)
        head, tail = word[:half], word[-half:]
        pool = [one for one in pool if one.startswith(head) or one.endswith(tail)][:_MAX_COMPARED]
    close = difflib.get_close_matches(word, pool, n=1)
    return f"did you mean{quote_safe(close[0])}?" if close else ""
