"""External inputs of a run: the variables, files, programs and hosts that it would use.

They are found from the references alone: nothing is read, so nothing has to exist yet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar
from urllib.parse import urlsplit

from harvester.core.config.references import Reference, filled, references_in, texts_of
from harvester.core.config.settings import Account, Manifest, Platform

_Item = TypeVar("_Item")
_Secret: TypeAlias = tuple[str, Mapping[str, str]]
"""A text of a credential, and the values of its fields."""


class Touched(NamedTuple):
    """External inputs, each once, in the order of the manifest. Files are full paths.

    ``required`` are the variables without a default.
    """

    variables: tuple[str, ...]
    files: tuple[Path, ...]
    programs: tuple[str, ...]
    hosts: tuple[str, ...]
    required: tuple[str, ...]


def touched(manifest: Manifest) -> Touched:
    """Return the inputs that were read to load the manifest, and those that a run would use.

    The credentials are those of the accounts that a run asks. With the sandbox none are included,
    because it accepts any secret.
    """
    accounts, platform = _used(manifest)
    secrets = [*_secrets(accounts, platform)]
    references = [*manifest.references, *_references(secrets)]
    variables = [each for each in references if not each.is_file]
    files = [manifest.file, *_files(references, manifest)]
    if manifest.api.ca_file is not None:
        files.append(manifest.api.ca_file)
    own = (manifest.api.base_url, manifest.api.proxy, manifest.output.endpoint)
    urls = [*filter(None, own), *(filled(*secret) for secret in secrets)]
    return Touched(
        variables=_each_once(each.name for each in variables),
        files=_each_once(files),
        programs=_each_once(_programs(accounts, platform)),
        hosts=_each_once(host for url in urls if "://" in url and (host := urlsplit(url).hostname)),
        required=_each_once(each.name for each in variables if each.default is None),
    )


def secret_files(manifest: Manifest) -> tuple[Path, ...]:
    """Return the files that the used credentials and the platform refer to."""
    return _each_once(_files(_references(_secrets(*_used(manifest))), manifest))


def secret_variables(accounts: Collection[Account], platform: Platform | None) -> frozenset[str]:
    """Return the variables of all credentials; none if no credential has a command."""
    # Without a command there is no process that would inherit them.
    if not any(_programs(accounts, platform)):
        return frozenset()
    references = _references(_secrets(accounts, platform))
    return frozenset(each.name for each in references if not each.is_file)


def _used(manifest: Manifest) -> tuple[list[Account], Platform | None]:
    """Return the accounts whose credentials a run would use, and the platform.

    The platform is None if a run would not use it.
    """
    if manifest.api.is_sandbox:
        return [], None
    accounts = manifest.asked_accounts
    through = manifest.from_platform or any(account.uses_platform for account in accounts)
    return accounts, manifest.platform if through else None


def _secrets(accounts: Iterable[Account], platform: Platform | None) -> Iterator[_Secret]:
    """Yield every text of the credentials and the platform, and what stands for its fields."""
    for account in accounts:
        fills = {"appid": account.appid, "name": account.name}
        yield from ((text, fills) for text in texts_of(account.credential))
    if platform is not None:
        own = (platform.secret, platform.verify_ticket, platform.component_token)
        yield from ((text, {"appid": platform.appid}) for text in texts_of(own))


def _references(secrets: Iterable[_Secret]) -> Iterator[Reference]:
    for text, fills in secrets:
        for reference in references_in(text):
            yield reference._replace(name=filled(reference.name, fills))


def _files(references: Iterable[Reference], manifest: Manifest) -> Iterator[Path]:
    return (manifest.file.parent / each.name for each in references if each.is_file)


def _programs(accounts: Iterable[Account], platform: Platform | None) -> Iterator[str]:
    """Yield the programs that print a secret or receive one."""
    commands = [account.credential and account.credential.token_command for account in accounts]
    if platform is not None:
        own = (platform.verify_ticket, platform.component_token, platform.sink)
        commands += [part.command for part in own if not isinstance(part, str | None)]
    return (command[0] for command in commands if command)


def _each_once(items: Iterable[_Item]) -> tuple[_Item, ...]:
    return tuple(dict.fromkeys(items))
