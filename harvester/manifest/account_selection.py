"""Selection of accounts and datasets by their names, for jobs and for options."""

from __future__ import annotations

from collections.abc import Sequence

from harvester.catalogue import matching, unknown_dataset
from harvester.core.config.nearest import nearest
from harvester.core.config.references import quote_safe
from harvester.core.config.settings import Account
from harvester.core.errors import InvalidValue, UnknownName

MAX_LISTED = 10
"""Known names that a hint lists."""

TAG = "tag:"


class AccountIndex:
    """Accounts by appid, name, tag and attribute.

    The look-ups return appids in the order of the accounts. They raise InvalidValue for a name that
    no account has, with the most similar ones as its hint.
    """

    def __init__(self, accounts: Sequence[Account]) -> None:
        self.appids = [account.appid for account in accounts]
        self.named: dict[str, list[str]] = {}
        self.tags: dict[str, list[str]] = {}
        self.attributes: dict[str, dict[str, list[str]]] = {}
        for account in accounts:
            for word in dict.fromkeys((account.appid, account.name or account.appid)):
                self.named.setdefault(word, []).append(account.appid)
            for tag in account.tags:
                self.tags.setdefault(tag, []).append(account.appid)
            for name, value in account.attributes.items():
                self.attributes.setdefault(name, {}).setdefault(value, []).append(account.appid)

    def selected(self, word: str) -> list[str]:
        """Return the appids of a word: appid, name, ``tag:NAME`` or ``NAME=VALUE``."""
        # Names come first, because a name may hold `=` or begin with `tag:`.
        if word in self.named:
            return self.named[word]
        if word.startswith(TAG):
            return self.tagged(word.removeprefix(TAG))
        if "=" in word:
            return self.with_attribute(word)
        raise unknown("account", word, [*(f"{TAG}{tag}" for tag in self.tags), *self.named])

    def tagged(self, tag: str) -> list[str]:
        """Return the appids that have a tag."""
        if tag not in self.tags:
            raise unknown("tag", tag, [*self.tags])
        return self.tags[tag]

    def with_attribute(self, word: str) -> list[str]:
        """Return the appids that ``NAME=VALUE`` selects."""
        name, _, value = (part.strip() for part in word.partition("="))
        if name not in self.attributes:
            raise unknown("attribute", name, [*self.attributes])
        values = self.attributes[name]
        if value not in values:
            raise unknown("attribute", f"{name}={value}", [f"{name}={each}" for each in values])
        return values[value]


def datasets_named(pattern: str) -> list[str]:
    """Return the datasets that a name or a glob matches. Raises UnknownName without any."""
    found = [dataset.name for dataset in matching(pattern)]
    if not found:
        raise UnknownName(*unknown_dataset(pattern))
    return found


def unknown(noun: str, word: str, known: Sequence[str]) -> InvalidValue:
    """Return the error for a word that is not known. Its hint has the nearest one, or the first."""
    first = listed(known)
    hint = f"known are {first}" if first else f"no {noun} is known"
    return InvalidValue(f"unknown {noun}{quote_safe(word)}", nearest(word, known) or hint)


def listed(names: Sequence[str]) -> str:
    """Return the first names of a list, without those that could be a secret."""
    shown = [name.strip(" `") for name in map(quote_safe, names[:MAX_LISTED]) if name]
    return ", ".join(shown) + (", …" if len(names) > MAX_LISTED else "")
