"""The accounts of a manifest: their validation, and what they take from the defaults."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from harvester.core.config.settings import KINDS, Account
from harvester.core.errors import Place
from harvester.manifest.build import CredentialRules, check_credential
from harvester.manifest.diagnostics import LoadContext, Step, Where
from harvester.manifest.validation import check

_SHARED = (("token_command", "timeout"), ("token_url", "headers"))
"""Options that an account's credential takes from a credential of the same kind in defaults."""


def place_of(credential: Any, where: Where, *loc: Step) -> Place:
    """Return the place of what a credential or a platform refers to."""
    kinds = [kind for kind in KINDS if isinstance(credential, dict) and kind in credential]
    return where((*loc, *kinds[:1]))


def validate_accounts(
    written: Iterable[tuple[Any, Where]],
    defaults: dict[str, Any],
    rules: CredentialRules,
    context: LoadContext,
) -> dict[str, Account]:
    """Return the valid accounts by appid, in order, merged with the defaults before validation.

    ``defaults`` are raw values, except for the credential, which is validated already.
    """
    accounts: dict[str, Account] = {}
    first: dict[str, Where] = {}
    mistakes = context.mistakes
    for value, where in written:
        whole = _with_defaults(value, defaults)
        account = check(Account, whole, where, context, item_of="accounts")
        if account is None:
            context.invalid_accounts.update(_raw_names(value))
            continue
        appid = account.appid
        if appid in accounts:
            hint = f"also in {first[appid](('appid',))}"
            mistakes.add(where(("appid",)), f"the account `{appid}` comes twice", hint)
            continue
        accounts[appid], first[appid] = account, where
        if value.get("credential"):
            context.credential_places[appid] = place_of(value["credential"], where, "credential")
        begin, end = account.begin_date, account.end_date
        if begin is not None and end is not None and begin > end:
            what = "the account ends before it begins"
            mistakes.add(where(("end_date",)), what, "swap the days")
        check_credential(account, rules, where, mistakes)
    return accounts


def _with_defaults(value: object, defaults: dict[str, Any]) -> object:
    if not isinstance(value, dict):
        return value
    own, default = value.get("credential"), defaults.get("credential")
    if isinstance(own, dict) and default is not None:
        shared = {
            option: getattr(default, option)
            for kind, option in _SHARED
            if kind in own and getattr(default, kind) is not None
        }
        own = {**shared, **own}
    return {**defaults, **value, **({} if own is None else {"credential": own})}


def _raw_names(value: object) -> Iterator[str]:
    """Yield the appid, the tags and the attributes of an account that is not valid."""
    given = value if isinstance(value, dict) else {}
    tags, attributes = given.get("tags"), given.get("attributes")
    for name, text in attributes.items() if isinstance(attributes, dict) else ():
        yield f"{name}={text}"
    for name in (given.get("appid"), *(tags if isinstance(tags, list) else [tags])):
        if isinstance(name, str):
            yield str(name)
