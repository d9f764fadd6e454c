"""What of a manifest depends on more than one key: files, datasets, and whose tokens may be had."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

from harvester.catalogue import CATALOGUE, retirement
from harvester.core import parsers
from harvester.core.config import Account, Api, texts_of
from harvester.core.dataset import Dataset
from harvester.core.errors import InvalidValue, UsageError
from harvester.core.references import shown
from harvester.manifest.diagnostics import Diagnostics, LoadContext, Where, nearest
from harvester.manifest.models import Override, Root
from harvester.manifest.validation import fields_of


class CredentialRules(NamedTuple):
    """What the rest of a manifest means for its accounts' credentials.

    ``needed`` says that every account must have one, ``platform`` that there is a platform, and
    ``from_platform`` that it adds accounts, which bring their refresh tokens along.
    """

    needed: bool
    platform: bool = False
    from_platform: bool = False


NOT_OWNED = (
    "a refresh through the platform needs `owns_tokens: true`",
    "if another service holds the same authorisation, use its token_url",
)
"""What is wrong with a refresh of what others may use, and what to do."""


def terms_of(root: Root, bad: set[str], *, torn: bool) -> CredentialRules:
    """Return what the manifest means for its accounts' credentials.

    They are not needed as long as what says so could not be read: ``bad`` keys, or a file that is
    ``torn``.
    """
    beside = fields_of(Root).keys() - {"api", "defaults", "accounts_from"}
    return CredentialRules(
        needed=not (torn or bad - beside or root.api.is_sandbox),
        platform=root.platform is not None or "platform" in bad,
        from_platform=root.accounts_from is not None,
    )


def check_platform(root: Root, bad: set[str], where: Where, reading: LoadContext) -> None:
    """Put on the list what keeps the accounts of the platform, or their tokens, from being had."""
    place = where(("accounts_from",))
    if root.accounts_from is None or bad & {"platform", "defaults", "api"}:
        return
    if root.platform is None:
        what, hint = "`accounts_from` needs `platform`", "say which platform it is"
        reading.mistakes.add(place, what, hint)
    if root.api.is_sandbox:
        what = "`accounts_from` needs WeChat: the built-in emulator has no platform"
        reading.mistakes.add(place, what, "list the accounts")
    elif root.defaults.credential is None and not root.defaults.owns_tokens:
        what, hint = NOT_OWNED
        reading.mistakes.add(place, f"{what} under `defaults`", hint)


def check_credential(
    account: Account, terms: CredentialRules, where: Where, mistakes: Diagnostics
) -> None:
    """Put on the list what keeps an account's credential from being used."""
    if not terms.needed:
        return
    credential = account.credential
    if credential is None and not terms.from_platform:
        hint = 'write credential: {secret: "${NAME}"}, here or under defaults'
        mistakes.add(where(), "the account has no credential", hint)
        return
    if not account.name and any("{name}" in text for text in texts_of(credential)):
        mistakes.add(where(), "the account has no name, which its credential needs", "name it")
    if not account.uses_platform:
        return
    if not terms.platform:
        what = "a refresh_token needs `platform`, which can use it"
        mistakes.add(where(("credential",)), what, "say which platform it belongs to")
    if not account.owns_tokens:
        mistakes.add(where(("credential",)), *NOT_OWNED)


def check_files(api: Api, where: Where, mistakes: Diagnostics) -> None:
    """Put on the list that the file of certificates is not there."""
    if api.ca_file is not None and (flaw := _flaw_of(api.ca_file)):
        mistakes.add(where(("api", "ca_file")), f"`ca_file` {flaw}", "a PEM file of certificates")


def _flaw_of(file: Path) -> str:
    """Return why a path is that of no file, as far as one may look; nothing if it is."""
    try:
        return "" if file.is_file() else "names no file"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def place_named(text: str) -> Path | str:
    """Return the place of an output that the command line names. Raises UsageError."""
    if "://" not in text:
        return Path(text)
    try:
        return parsers.place(text)
    except InvalidValue as error:
        raise UsageError(f"the output named on the command line {error.what}", error.hint) from None


def datasets(
    written: dict[str, Override], where: Where, reading: LoadContext
) -> dict[str, Dataset]:
    """Return the catalogue with what the manifest knows better."""
    known = dict(CATALOGUE)
    for name, override in written.items():
        if name not in known:
            hint = nearest(name, known) or "`harvester datasets` lists them"
            unknown = f"unknown dataset{shown(name)}", hint
            place = where(("datasets", name), key=True)
            reading.mistakes.add(place, *(retirement(name) or unknown))
            continue
        given = dataclasses.asdict(override).items()
        changed = {key: value for key, value in given if value is not None}
        known[name] = dataclasses.replace(known[name], **changed)
    return known
