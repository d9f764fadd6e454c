"""Detection of unregistered secrets, by their form or by the name before them.

`harvester.core.text.redaction` finds registered secrets by value. This module is for texts whose
secrets are not registered: printed foreign texts, and literals in a manifest.
"""

from __future__ import annotations

import re

MASK = "***"

LENGTH = 30
"""Minimum length of a word that can be a secret.

Secrets are longer: an AppSecret has 32 hex digits, of which copying may lose one or two, a refresh
token 43 random characters, an access token 100 and more. What must stay readable is shorter: union
ids have 29 characters, openids 28, WeChat's request ids 26, run ids 23, appids 18. Longer words
that are no secrets, such as message ids, dates and file names, lack digits, letters or one of the
cases, and have no run of hex digits of this length.
"""

_WORD = re.compile(rf"[A-Za-z0-9_\-+=%~]{{{LENGTH},}}")
_HEX = re.compile(rf"[0-9A-Fa-f]{{{LENGTH},}}")
_KINDS = [re.compile(kind) for kind in ("[0-9]", "[a-z]", "[A-Z]")]

# Only token, secret and ticket, because key, sign and pass are ordinary words in sentences. Behind
# a colon and a blank a sentence may go on, with a word as in "gave no token: a command ended with
# exit code 1", two as in "read-only" and "can't", or the path of an account as in a vault.
_PROSE = r"a|[A-Za-z][a-z]{1,15}(?:[-'][a-z]{1,15})?|/?(?:[a-z]{1,15}/)*wx[0-9a-f]{16}"
_NAMED = re.compile(
    r"((?i:token|secret|ticket)[\"']?\s*[=:]\s*[\"']?)"
    rf"(?!(?<=:\s)(?:{_PROSE})[.,;:]?(?:\s|$))[^\s\"'&,;{{}}]+"
)
_NAME = "auth|token|secret|ticket|key|pass|cookie|sig"
_NAMES = re.compile(f"(?i){_NAME}")
_PARAMETER = re.compile(rf"(?i)[?&][^=&]*(?:{_NAME})[^=&]*=[^&$]")


def _is_secret(word: str) -> bool:
    """Return whether a long word is hex with letters, or mixes digits and letters of both cases."""
    is_mixed = all(kind.search(word) for kind in _KINDS)
    return is_mixed or any(not run.isdecimal() and not run.isalpha() for run in _HEX.findall(word))


def holds_secret(text: str) -> bool:
    """Return whether a word of the text looks like a secret."""
    return any(map(_is_secret, _WORD.findall(text)))


def mask_words(text: str) -> str:
    """Return the text with ``***`` for every word that looks like a secret."""
    return _WORD.sub(lambda word: MASK if _is_secret(word[0]) else word[0], text)


def mask_named(text: str) -> str:
    """Return the text with ``***`` for each value named token, secret or ticket."""
    return _NAMED.sub(rf"\1{MASK}", text)


def is_secret_name(name: str) -> bool:
    """Return whether a header of this name holds a secret."""
    return _NAMES.search(name) is not None


def has_secret_parameter(url: str) -> bool:
    """Return whether the query of a URL has a literal value for a parameter named like a secret."""
    return _PARAMETER.search(url) is not None
