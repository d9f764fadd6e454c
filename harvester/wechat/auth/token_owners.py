"""Owners of tokens: a token serves one account, and one that two accounts have stops both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from harvester.core.config.credentials import Access, AppSecret
from harvester.core.rule import Action, Rule, Scope
from harvester.core.secret import Secret
from harvester.core.text.inert_text import named
from harvester.core.text.safe_text import safe_text
from harvester.wechat.auth.provider import TokenDenied

SHARED_TOKEN = "shared_token"
"""The cause of a problem with such accounts."""

SAME_TOKEN = "have the same token"
"""The end of what is said of two accounts with one token."""

_WHY = "a token serves one account"
_ADVICE = (
    "Name {appid} in the credential, or give each account its own; what serves the token may ignore"
    " the name. `harvester verify` names accounts whose published rows are equal."
)


class SharedToken(NamedTuple):
    """Accounts that are stopped because they have one token, and the text that says so."""

    appids: tuple[str, ...]
    text: str


class TokenOwners:
    """The accounts of a run by their tokens, of which it keeps digests, in memory alone.

    ``names`` are those of the accounts. ``shared`` has the reason of each stopped account, by
    appid. ``ask_again`` returns how to ask again for what some accounts were answered so far.
    """

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self._names = names or {}
        self._accounts: dict[bytes, tuple[str, ...]] = {}
        self._rules: dict[str, Rule] = {}
        self.shared: dict[str, str] = {}
        self.ask_again: Callable[[list[str]], str] = lambda _: ""

    async def claim(self, appid: str, token: Secret) -> None:
        """Enter a token of an account before it is used."""
        self.enter(appid, digest_of(token))

    async def wait_for_all(self) -> None:
        """Wait until the other processes of the run have entered their first tokens."""

    def enter(self, appid: str, digest: bytes) -> SharedToken | None:
        """Enter the digest of a token. If another account has it, stop both and return that."""
        accounts = self._accounts.setdefault(digest, (appid,))
        if accounts == (appid,):
            return None
        # However many have it, two of them are named, so that it is one cause.
        accounts = self._accounts[digest] = accounts if accounts[1:] else (*accounts, appid)
        both = (named(each, self._names.get(each, "")) for each in sorted(accounts))
        # Two long names would cost the end of the text, which tells the cause.
        first, second = (safe_text(each, 100) for each in both)
        found = SharedToken((*accounts, appid), f"{first} and {second} {SAME_TOKEN}")
        self.stop(found)
        return found

    def stop(self, found: SharedToken) -> None:
        """Stop accounts that have one token."""
        for appid in found.appids:
            self.shared.setdefault(appid, found.text)

    def denial(self, appid: str) -> TokenDenied | None:
        """Return why a stopped account gets no token, None for other accounts."""
        text = self.shared.get(appid)
        if text is None:
            return None
        if text not in self._rules:
            alike = [each for each, reason in self.shared.items() if reason == text]
            advice = f"{_ADVICE} {self.ask_again(alike)}".rstrip()
            rule = Rule(Action.STOP, Scope.ACCOUNT, text, advice, cause=SHARED_TOKEN)
            self._rules[text] = rule
        return TokenDenied(self._rules[text], _WHY)


def digest_of(token: Secret) -> bytes:
    """Return the digest by which tokens are compared."""
    return hashlib.sha256(token.reveal().encode()).digest()


def may_be_shared(access: Access) -> bool:
    """Return whether a mistake in a credential can give two accounts one token."""
    return not isinstance(access, AppSecret)
