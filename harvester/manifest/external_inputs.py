"""External inputs of a run: the variables, files, programs and hosts that it would use.

They are found from the references alone: nothing is read, so nothing has to exist yet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

from harvester.core.config.references import REFERENCE, texts_of
from harvester.core.config.settings import Account, Manifest, Platform

_Item = TypeVar("_Item")


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
    texts = (*manifest.references, *_secret_texts(accounts, platform))
    files = [manifest.file, *_files(texts, manifest.file.parent)]
    if manifest.api.ca_file is not None:
        files.append(manifest.api.ca_file)
    urls = (manifest.api.base_url, manifest.api.proxy or "", *texts)
    return Touched(
        variables=_each_once(_variables(texts)),
        files=_each_once(files),
        programs=_each_once(_programs(accounts, platform)),
        hosts=_each_once(host for url in urls if "://" in url and (host := urlsplit(url).hostname)),
        required=_each_once(_variables(texts, required=True)),
    )


def secret_files(manifest: Manifest) -> tuple[Path, ...]:
    """Return the files that the used credentials and the platform refer to."""
    return _each_once(_files(_secret_texts(*_used(manifest)), manifest.file.parent))


def secret_variables(accounts: Collection[Account], platform: Platform | None) -> frozenset[str]:
    """Return the variables of all credentials; none if no credential has a command."""
    # Without a command there is no process that would inherit them.
    if not any(_programs(accounts, platform)):
        return frozenset()
    return frozenset(_variables(_secret_texts(accounts, platform)))


def _used(manifest: Manifest) -> tuple[list[Account], Platform | None]:
    """Return the accounts whose credentials a run would use, and the platform.

    The platform is None if a run would not use it.
    """
    if manifest.api.is_sandbox:
        return [], None
    accounts = manifest.asked_accounts
    through = manifest.from_platform or any(account.uses_platform for account in accounts)
    return accounts, manifest.platform if through else None


def _secret_texts(accounts: Iterable[Account], platform: Platform | None) -> Iterator[str]:
    """Yield every text of the credentials and the platform, ``{appid}`` and ``{name}`` replaced."""
    for account in accounts:
        for text in texts_of(account.credential):
            yield text.replace("{appid}", account.appid).replace("{name}", account.name)
    if platform is not None:
        own = (platform.secret, platform.verify_ticket, platform.component_token)
        for text in texts_of(own):
            yield text.replace("{appid}", platform.appid)


def _bodies(texts: Iterable[str]) -> Iterator[str]:
    """Yield the text between the braces of every reference."""
    return (match[1] for text in texts for match in REFERENCE.finditer(text))


def _variables(texts: Iterable[str], *, required: bool = False) -> Iterator[str]:
    """Yield the names of referenced variables; with ``required``, of those without a default."""
    bodies = (body for body in _bodies(texts) if not body.startswith("file:"))
    return (body.partition(":-")[0] for body in bodies if not (required and ":-" in body))


def _files(texts: Iterable[str], folder: Path) -> Iterator[Path]:
    return (folder / body[5:] for body in _bodies(texts) if body.startswith("file:"))


def _programs(accounts: Iterable[Account], platform: Platform | None) -> Iterator[str]:
    """Yield the programs that print a secret or receive one."""
    commands = [account.credential and account.credential.token_command for account in accounts]
    if platform is not None:
        own = (platform.verify_ticket, platform.component_token, platform.sink)
        commands += [part.command for part in own if not isinstance(part, str | None)]
    return (command[0] for command in commands if command)


def _each_once(items: Iterable[_Item]) -> tuple[_Item, ...]:
    return tuple(dict.fromkeys(items))
