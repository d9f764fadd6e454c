"""The accounts of a manifest: their validation, their credentials, and what defaults give them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from harvester.catalogue import CATALOGUE
from harvester.core.config.references import origin, texts_of
from harvester.core.config.settings import KINDS, Account, Credential, Defaults, Pause
from harvester.core.errors import Place
from harvester.manifest.account_selection import datasets_named
from harvester.manifest.diagnostics import LoadContext, Section, Steps
from harvester.manifest.jobs import looked_up
from harvester.manifest.models import Root
from harvester.manifest.validation import check, fields_of

_SHARED = (("token_command", "timeout"), ("token_url", "headers"))
"""Options that an account's credential takes from a credential of the same kind in defaults."""


_NOT_OWNED = (
    "a refresh through the platform needs `owns_tokens: true`",
    "if another service holds the same authorisation, use its token_url",
)
"""Mistake and advice for a refresh token that another service may use."""


def check_platform(root: Root, section: Section) -> None:
    """Report what prevents `accounts_from` from adding accounts or getting their tokens."""
    if root.accounts_from is None or section.context.bad & {"platform", "defaults", "api"}:
        return
    loc = ("accounts_from",)
    if root.platform is None:
        section.refuse(loc, "`accounts_from` needs `platform`", "say which platform it is")
    if root.api.is_sandbox:
        what = "`accounts_from` needs WeChat: the built-in emulator has no platform"
        section.refuse(loc, what, "list the accounts")
    elif root.defaults.credential is None and not root.defaults.owns_tokens:
        what, hint = _NOT_OWNED
        section.refuse(loc, f"{what} under `defaults`", hint)


def place_of(credential: Credential | None, section: Section, loc: Steps) -> Place:
    """Return the place of what a credential refers to."""
    kinds = [kind for kind in KINDS if getattr(credential, kind, None) is not None]
    return section.place((*loc, *kinds[:1]))


def validate_accounts(
    written: Iterable[Section], root: Root, context: LoadContext
) -> dict[str, Account]:
    """Return the valid accounts by appid, in order, merged with the defaults before validation."""
    # The sandbox takes any secret, and after other mistakes it is not known what is needed.
    unrelated = fields_of(Root).keys() - {"api", "defaults", "accounts_from"}
    needs_credentials = not (context.partial or context.bad - unrelated or root.api.is_sandbox)
    accounts: dict[str, Account] = {}
    places = context.account_places
    for section in written:
        value = section.value
        whole = replace(section, value=_with_defaults(value, root.defaults))
        account = check(Account, whole)
        if account is None:
            # A job may name it: its own mistake is reported, and not an unknown name as well.
            context.invalid_accounts.update(texts_of(whole.value))
            continue
        appid, paused = account.appid, account.paused
        if paused is not root.defaults.paused:
            account = replace(account, paused=pause_of(paused, ("paused",), section))
        if appid in accounts:
            hint = f"also in {places[appid]}"
            section.refuse(("appid",), f"the account `{appid}` comes twice", hint)
            continue
        accounts[appid], places[appid] = account, section.place(("appid",))
        if value.get("credential"):
            place = place_of(account.credential, section, ("credential",))
            context.credential_places[appid] = place
        begin, end = account.begin_date, account.end_date
        if begin is not None and end is not None and begin > end:
            section.refuse(("end_date",), "the account ends before it begins", "swap the days")
        if needs_credentials:
            _check_credential(account, root, section)
    return accounts


def pause_of(pause: Pause | None, loc: Steps, section: Section) -> Pause | None:
    """Return a pause with the full names of its datasets, None if it is over.

    ``loc`` is its path in the section; datasets that are unknown are reported.
    """
    if pause is None or (pause.until is not None and pause.until < section.context.today):
        return None
    if not pause.datasets:
        return pause
    names = looked_up(section, pause.datasets, (*loc, "datasets"), datasets_named)
    if len(names) == len(CATALOGUE):
        return Pause(pause.reason, until=pause.until)
    # None is left if all are unknown, which is a mistake.
    return replace(pause, datasets=names) if names else None


def _with_defaults(value: object, defaults: Defaults) -> object:
    if not isinstance(value, dict):
        return value
    own, default = value.get("credential"), defaults.credential
    # A credential is replaced as a whole; only options of the same way to a token are shared.
    if isinstance(own, dict) and default is not None:
        shared = {
            option: getattr(default, option)
            for kind, option in _SHARED
            if kind in own and getattr(default, kind) is not None
            # A CSV file may have named the host, and keys stay with the host that they are for.
            if kind != "token_url" or origin(str(own[kind])) == origin(str(default.token_url))
        }
        own = {**shared, **own}
    return {**vars(defaults), **value, "credential": default if own is None else own}


def _check_credential(account: Account, root: Root, section: Section) -> None:
    """Report what prevents the use of an account's credential."""
    credential = account.credential
    if credential is None and root.accounts_from is None:
        hint = 'write credential: {secret: "${NAME}"}, here or under defaults'
        section.refuse((), "the account has no credential", hint)
        return
    if not account.name and any("{name}" in text for text in texts_of(credential)):
        section.refuse((), "the account has no name, which its credential needs", "name it")
    command = credential.token_command if credential else None
    # Only at the beginning of a word: anywhere else the hyphen cannot begin an option.
    if account.name.startswith("-") and any(word.startswith("{name}") for word in command or ()):
        what = "`name` begins with `-`, so its token_command would take it for an option"
        section.refuse(("name",), what, "write text before {name} in the command")
    # A platform with a mistake counts, or each account that needs it would be a mistake too.
    if account.uses_platform and root.platform is None and "platform" not in section.context.bad:
        what = "a refresh_token needs `platform`, which can use it"
        section.refuse(("credential",), what, "say which platform it belongs to")
    if account.uses_platform and not account.owns_tokens:
        section.refuse(("credential",), *_NOT_OWNED)
    own, shared = credential, root.defaults.credential
    # The headers of the defaults were left out, because they are for another host.
    if own and own.token_url and own.headers is None and shared and shared.headers:
        what = "`token_url` is of another host than that of `defaults`, whose headers stay there"
        hint = "give the account headers of its own, under `accounts`; {} are none"
        section.refuse(("credential", "token_url"), what, hint)
