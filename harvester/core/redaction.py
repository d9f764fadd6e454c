"""Masking of secrets in texts.

Every text that is printed, logged or recorded passes this module. Registered secrets are found in
each form in which a URL, JSON, HTML or Python writes them; unregistered secrets are found by the
name before them, as in ``access_token=…``.
"""

from __future__ import annotations

import html
import json
import re
from urllib.parse import quote, quote_plus

from harvester.core.secret_words import MASK, mask_named

SHORTEST = 8
"""Minimum length of a masked value. Shorter values would mask ordinary words."""

_PERCENT = re.compile(r"%[0-9A-F]{2}")

# All forms of the registered values by first characters and length, longest first. By length too,
# because all refresh tokens begin alike. Values are never removed, because a replaced token stays
# secret; a run registers some ten thousand at most.
_KNOWN: dict[str, dict[int, set[str]]] = {}


def conceal(value: str) -> None:
    """Register a secret: `masked` and `redacted` replace it from now on."""
    for form in _forms(value):
        head, length = form[:SHORTEST], len(form)
        known = _KNOWN.get(head, {})
        if length not in known:
            known = _KNOWN[head] = dict(sorted({**known, length: set()}.items(), reverse=True))
        known[length].add(form)


def masked(text: str) -> str:
    """Return the text with ``***`` for every registered secret, for harvester's own messages.

    Overlapping values are masked together, so that no part of the second is left. Truncate a text
    only afterwards, because part of a secret is not recognised.
    """
    parts: list[str] = []
    done = 0
    last = len(text) - SHORTEST
    for start in [at for at in range(last + 1) if text[at : at + SHORTEST] in _KNOWN]:
        for length, forms in _KNOWN[text[start : start + SHORTEST]].items():
            if text[start : start + length] in forms:
                if start >= done:
                    parts += (text[done:start], MASK)
                done = max(done, start + length)
                break
    return "".join(parts) + text[done:]


def redacted(text: str) -> str:
    """Mask as `masked` does, and values named token, secret or ticket, for foreign texts."""
    return mask_named(masked(text))


def redacted_bytes(data: bytes) -> bytes:
    """Mask an answer as `redacted` does and leave all other bytes unchanged."""
    return redacted(data.decode(errors="surrogateescape")).encode(errors="surrogateescape")


def _forms(value: str) -> set[str]:
    if len(value) < SHORTEST:
        return set()
    quoted = {quote(value, safe="", errors="replace"), quote(value, errors="replace")}
    quoted |= {quote_plus(value, errors="replace")}
    lower = {_PERCENT.sub(lambda match: match[0].lower(), text) for text in quoted}
    return {
        value,
        repr(value)[1:-1],
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        html.escape(value),
        *quoted,
        *lower,
    }
