"""Attributes of accounts as names that select them: ``client=Acme``."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeAlias

from harvester.core.config.references import quote_safe
from harvester.core.config.settings import Account
from harvester.core.errors import InvalidValue
from harvester.manifest.diagnostics import nearest

MAX_KNOWN = 8
"""Known names or values that a mistake lists."""

Attributed: TypeAlias = dict[str, dict[str, list[str]]]
"""Appids by attribute and value."""


def attributed(accounts: Iterable[Account]) -> Attributed:
    """Return the appids of each value of each attribute, in the order of the accounts."""
    found: Attributed = {}
    for account in accounts:
        for name, value in account.attributes.items():
            found.setdefault(name, {}).setdefault(value, []).append(account.appid)
    return found


def is_attribute(word: str) -> bool:
    """Return whether a word selects by attribute; neither an appid nor a tag does so."""
    return "=" in word


def with_attribute(word: str, known: Attributed) -> list[str]:
    """Return the appids that ``NAME=VALUE`` selects.

    Raises InvalidValue for an unknown attribute or value, with the known ones as its hint.
    """
    name, _, value = (part.strip() for part in word.partition("="))
    if name not in known:
        hint = _listed(name, known, "known are ") or "no account has attributes"
        raise InvalidValue(f"unknown attribute{quote_safe(name)}", hint)
    values = known[name]
    if value not in values:
        hint = _listed(value, values, f"values of{quote_safe(name)} are ")
        raise InvalidValue(f"no account has{quote_safe(f'{name}={value}')}", hint)
    return values[value]


def _listed(word: str, known: Collection[str], begin: str) -> str:
    """Return the nearest of the known words, and the first of them."""
    if not known:
        return ""
    first = sorted(known)[:MAX_KNOWN]
    more = f" and {len(known) - MAX_KNOWN:,} more" if len(known) > MAX_KNOWN else ""
    listed = f"{begin}{', '.join(quote_safe(each).strip() for each in first)}{more}"
    return f"{nearest(word, known)} {listed}".strip()
