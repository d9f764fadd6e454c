"""Foreign words made fit for a terminal, a log or a table."""

from __future__ import annotations

import string

from harvester.core.redaction import redacted
from harvester.core.secret_words import mask_words

_LONGEST_MESSAGE = 300
_LONGEST_LOOKED_AT = 4096
_TOKEN_CHARACTERS = string.ascii_letters + string.digits + "_-+/=%.~&"


def safe_text(text: str, longest: int = _LONGEST_MESSAGE) -> str:
    """A foreign text fit for a terminal, a log or a table.

    Whatever is a secret or looks like one becomes ``***``, control and direction characters are
    escaped, and at most ``longest`` characters are left.
    """
    if len(text) > _LONGEST_LOOKED_AT:
        # A value that is cut in two is not recognised any more: drop the piece of it.
        text = text[:_LONGEST_LOOKED_AT].rstrip(_TOKEN_CHARACTERS)
    return _fit(mask_words(redacted(text)), longest)


def own_text(text: str, longest: int) -> str:
    """As `safe_text` for words of our own, in which a long path is no token."""
    return _fit(redacted(text), longest)


def _fit(text: str, longest: int) -> str:
    if not text.isprintable():
        text = "".join(c if c.isprintable() else _escaped(c) for c in text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
