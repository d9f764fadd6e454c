"""Credentials and the platform: from what is written to what the line works with."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from harvester.core.config import (
    Account,
    CommandCredential,
    CommandSink,
    Credential,
    FileSink,
    Handed,
    Platform,
    RefreshCredential,
    SecretCredential,
    Sink,
    TokenCredential,
    UrlCredential,
)
from harvester.manifest import ways
from harvester.manifest.mistakes import Mistakes, Where


class Terms(NamedTuple):
    """What the rest of a manifest means for its accounts' credentials.

    ``needed`` says that every account must have one, ``platform`` that there is a platform, and
    ``from_platform`` that it adds accounts, which bring their refresh tokens along.
    """

    needed: bool
    platform: bool = False
    from_platform: bool = False


class Claims(NamedTuple):
    """What an account says of the use of its tokens, ``None`` where it says nothing."""

    legacy: bool | None
    owns: bool | None

    def over(self, other: Claims) -> Claims:
        """These, and the other's where these say nothing."""
        legacy = other.legacy if self.legacy is None else self.legacy
        return Claims(legacy, other.owns if self.owns is None else self.owns)


def credential(written: ways.Credential | None) -> Credential | None:
    """The credential that is written."""
    if written is None:
        return None
    if written.secret is not None:
        return SecretCredential(written.secret)
    if written.refresh_token is not None:
        return RefreshCredential(written.refresh_token)
    if written.token_command is not None:
        return CommandCredential(tuple(map(str, written.token_command)), written.timeout)
    if written.token_url is not None:
        return UrlCredential(str(written.token_url), _headers(written.headers))
    return TokenCredential(str(written.token), written.expires_at or "")


def settled(
    own: Credential | None, default: Credential | None, claims: Claims, terms: Terms
) -> Credential | None:
    """An account's credential: its own with what the default adds, the default, or the list's."""
    if own is None:
        own = default or (RefreshCredential() if terms.from_platform else None)
    elif isinstance(own, UrlCredential) and isinstance(default, UrlCredential):
        own = dataclasses.replace(own, headers=own.headers or default.headers)
    elif isinstance(own, CommandCredential) and isinstance(default, CommandCredential):
        own = dataclasses.replace(own, timeout=own.timeout or default.timeout)
    if isinstance(own, SecretCredential) and claims.legacy:
        return dataclasses.replace(own, legacy=True)
    return own


def check(account: Account, claims: Claims, terms: Terms, where: Where, mistakes: Mistakes) -> None:
    """Put on the list what keeps an account's credential from being used."""
    if not terms.needed:
        return
    found = account.credential
    if found is None:
        hint = 'write credential: {secret: "${NAME}"}, here or under defaults'
        mistakes.at(where(), "the account has no credential", hint)
        return
    if any("{name}" in text for text in _texts(found)) and not account.name:
        mistakes.at(where(), "the account has no name, which its credential needs", "name it")
    if not isinstance(found, RefreshCredential):
        return
    if not terms.platform:
        what = "a refresh_token needs `platform`, which can use it"
        mistakes.at(where(("credential",)), what, "say which platform it belongs to")
    if not claims.owns:
        mistakes.at(where(("credential",)), *NOT_OWNED)


NOT_OWNED = (
    "a refresh through the platform needs `owns_tokens: true`",
    "if another service holds the same authorisation, use its token_url",
)
"""The mistake of whoever wants to refresh what others may use, and what to do."""


def platform(written: ways.Platform | None) -> Platform | None:
    """The platform that is written."""
    if written is None:
        return None
    return Platform(
        str(written.appid),
        written.secret,
        _handed(written.verify_ticket),
        _handed(written.component_token),
        _sink(written.sink),
    )


def _handed(written: str | ways.Handed | None) -> Handed | None:
    if written is None:
        return None
    if isinstance(written, str):
        return TokenCredential(written)
    if written.command is not None:
        return CommandCredential(tuple(map(str, written.command)), written.timeout)
    return UrlCredential(str(written.url), _headers(written.headers))


def _sink(written: ways.Sink | None) -> Sink | None:
    if written is None:
        return None
    if written.file is not None:
        return FileSink(str(written.file))
    return CommandSink(tuple(map(str, written.command or ())), written.timeout)


def _headers(written: dict[str, str] | None) -> tuple[tuple[str, str], ...]:
    return tuple((str(name), str(value)) for name, value in (written or {}).items())


def _texts(found: Credential) -> tuple[str, ...]:
    """Everything in a credential that is filled in."""
    if isinstance(found, SecretCredential):
        return (found.secret,)
    if isinstance(found, RefreshCredential):
        return (found.refresh_token,)
    if isinstance(found, CommandCredential):
        return found.command
    if isinstance(found, UrlCredential):
        return (found.url, *(value for _, value in found.headers))
    return (found.token, found.expires_at)
