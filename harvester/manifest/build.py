"""Checks of a manifest that involve more than one key: files, datasets, credentials."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from harvester.catalogue import CATALOGUE
from harvester.core.config.settings import Account, Api, texts_of
from harvester.core.dataset import Dataset
from harvester.manifest.account_selection import unknown_dataset
from harvester.manifest.diagnostics import Diagnostics, Where
from harvester.manifest.models import Override, Root
from harvester.manifest.validation import fields_of


class CredentialRules(NamedTuple):
    """Rules that the rest of a manifest sets for its accounts' credentials.

    ``required``: every account must have a credential. ``platform``: there is a platform.
    ``from_platform``: the platform adds accounts, with their refresh tokens.
    """

    required: bool
    platform: bool = False
    from_platform: bool = False


NOT_OWNED = (
    "a refresh through the platform needs `owns_tokens: true`",
    "if another service holds the same authorisation, use its token_url",
)
"""Mistake and advice for a refresh token that another service may use."""


def credential_rules(root: Root, bad: set[str], *, partial: bool) -> CredentialRules:
    """Return the rules for the accounts' credentials.

    Credentials are not required if a key that decides about them is among the ``bad`` keys, or if
    the file could only be read in part (``partial``).
    """
    unrelated = fields_of(Root).keys() - {"api", "defaults", "accounts_from"}
    return CredentialRules(
        required=not (partial or bad - unrelated or root.api.is_sandbox),
        platform=root.platform is not None or "platform" in bad,
        from_platform=root.accounts_from is not None,
    )


def check_platform(root: Root, bad: set[str], where: Where, mistakes: Diagnostics) -> None:
    """Report what prevents `accounts_from` from adding accounts or getting their tokens."""
    if root.accounts_from is None or bad & {"platform", "defaults", "api"}:
        return
    place = where(("accounts_from",))
    if root.platform is None:
        mistakes.add(place, "`accounts_from` needs `platform`", "say which platform it is")
    if root.api.is_sandbox:
        what = "`accounts_from` needs WeChat: the built-in emulator has no platform"
        mistakes.add(place, what, "list the accounts")
    elif root.defaults.credential is None and not root.defaults.owns_tokens:
        what, hint = NOT_OWNED
        mistakes.add(place, f"{what} under `defaults`", hint)


def check_credential(
    account: Account, rules: CredentialRules, where: Where, mistakes: Diagnostics
) -> None:
    """Report what prevents the use of an account's credential."""
    if not rules.required:
        return
    credential = account.credential
    if credential is None and not rules.from_platform:
        hint = 'write credential: {secret: "${NAME}"}, here or under defaults'
        mistakes.add(where(), "the account has no credential", hint)
        return
    if not account.name and any("{name}" in text for text in texts_of(credential)):
        mistakes.add(where(), "the account has no name, which its credential needs", "name it")
    command = credential.token_command if credential else None
    if account.name.startswith("-") and any(word.startswith("{name}") for word in command or ()):
        what = "`name` begins with `-`, so its token_command would take it for an option"
        mistakes.add(where(("name",)), what, "write text before {name} in the command")
    if account.uses_platform and not rules.platform:
        what = "a refresh_token needs `platform`, which can use it"
        mistakes.add(where(("credential",)), what, "say which platform it belongs to")
    if account.uses_platform and not account.owns_tokens:
        mistakes.add(where(("credential",)), *NOT_OWNED)


def check_files(api: Api, where: Where, mistakes: Diagnostics) -> None:
    """Report a missing or unreadable file of certificates."""
    if api.ca_file is None:
        return
    try:
        flaw = "" if api.ca_file.is_file() else "names no file"
    except OSError as error:
        flaw = f"cannot be read: {error.strerror}"
    if flaw:
        mistakes.add(where(("api", "ca_file")), f"`ca_file` {flaw}", "a PEM file of certificates")


def datasets(
    overrides: dict[str, Override], where: Where, mistakes: Diagnostics
) -> dict[str, Dataset]:
    """Return the catalogue with the manifest's overrides."""
    known = dict(CATALOGUE)
    for name, override in overrides.items():
        if name not in known:
            flaw = unknown_dataset(name, known)
            mistakes.add(where(("datasets", name), key=True), flaw.what, flaw.hint)
            continue
        given = dataclasses.asdict(override).items()
        changed = {key: value for key, value in given if value is not None}
        known[name] = dataclasses.replace(known[name], **changed)
    return known
