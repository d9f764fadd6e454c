"""Foreign texts made safe for a terminal, a log or a table."""

from __future__ import annotations

import string

from harvester.core.text.inert_text import inert, inert_line
from harvester.core.text.redaction import redacted
from harvester.core.text.secret_words import mask_words

_MAX_MESSAGE = 300
_MAX_SCANNED = 4096
_TOKEN_CHARACTERS = string.ascii_letters + string.digits + "_-+/=%.~&"


def safe_text(text: str, longest: int = _MAX_MESSAGE) -> str:
    """Return a foreign text that is safe to print.

    Secrets and words that look like secrets become ``***``, what would act is escaped as in
    `inert`, and at most ``longest`` characters are left.
    """
    if len(text) > _MAX_SCANNED:
        # A secret that is cut is not recognised, so its first part is dropped.
        text = text[:_MAX_SCANNED].rstrip(_TOKEN_CHARACTERS)
    return _fit(inert(mask_words(redacted(text))), longest)


def own_text(text: str, longest: int) -> str:
    """Return harvester's own line masked and inert, with long words: they may be paths."""
    return _fit(inert_line(redacted(text)), longest)


def _fit(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
