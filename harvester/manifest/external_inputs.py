"""What a run would reach for outside of its output: variables, files, programs and hosts.

Found from the references alone: nothing is read, so nothing has to be there yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

from harvester.core.config import Account, Manifest, texts_of

_Item = TypeVar("_Item")

_REFERENCE = re.compile(r"\$\{(file:)?((?:[^{}]|\{[^{}]*\})*)\}")


class Touched(NamedTuple):
    """Each name once, in the order of the manifest. Files are whole paths."""

    variables: tuple[str, ...]
    files: tuple[Path, ...]
    programs: tuple[str, ...]
    hosts: tuple[str, ...]


def touched(manifest: Manifest) -> Touched:
    """What loading the manifest has read, and what a run would read, start and call besides.

    Of credentials those of the accounts that have a job; the sandbox takes any secret and asks for
    none of them.
    """
    texts = (*manifest.references, *_secrets(manifest))
    found = [match for text in texts for match in _REFERENCE.finditer(text)]
    folder = manifest.file.parent
    files = [manifest.file, *(folder / name[2] for name in found if name[1])]
    if manifest.api.ca_file is not None:
        files.append(manifest.api.ca_file)
    return Touched(
        variables=_each(name[2].partition(":-")[0] for name in found if not name[1]),
        files=_each(files),
        programs=_each(_programs(manifest)),
        hosts=_each(_hosts(manifest, texts)),
    )


def secret_files(manifest: Manifest) -> tuple[Path, ...]:
    """The files that credentials and the platform refer to."""
    found = (match for text in _secrets(manifest) for match in _REFERENCE.finditer(text))
    return _each(manifest.file.parent / name[2] for name in found if name[1])


def _secrets(manifest: Manifest) -> tuple[str, ...]:
    """Every text of the credentials and the platform that a run would follow."""
    accounts = _wanted(manifest)
    platform = _platform_texts(manifest, accounts)
    return _each(text for texts in (*map(_texts, accounts), platform) for text in texts)


def _wanted(manifest: Manifest) -> list[Account]:
    """The accounts whose credentials a run would use."""
    if manifest.api.is_sandbox:
        return []
    wanted = {appid for job in manifest.jobs for appid in job.appids}
    return [account for account in manifest.accounts if account.appid in wanted]


def _programs(manifest: Manifest) -> Iterator[str]:
    """Yield what is started to print a token, or given one."""
    accounts, platform = _wanted(manifest), manifest.platform
    commands = [account.credential and account.credential.token_command for account in accounts]
    if platform is not None and _is_used(manifest, accounts):
        own = (platform.verify_ticket, platform.component_token, platform.sink)
        commands += [part.command for part in own if not isinstance(part, str | None)]
    for command in commands:
        if command:
            yield command[0]


def _is_used(manifest: Manifest, accounts: list[Account]) -> bool:
    """Return whether a run would open the platform."""
    through = any(account.uses_platform for account in accounts)
    return not manifest.api.is_sandbox and (through or manifest.from_platform)


def _texts(account: Account) -> Iterator[str]:
    """Yield every text of an account's credential, its own names filled in."""
    for text in texts_of(account.credential):
        yield text.replace("{appid}", account.appid).replace("{name}", account.name)


def _platform_texts(manifest: Manifest, accounts: list[Account]) -> Iterator[str]:
    """Yield every text of the platform, if an account is opened through it."""
    platform = manifest.platform
    if platform is not None and _is_used(manifest, accounts):
        own = (platform.secret, platform.verify_ticket, platform.component_token)
        for text in texts_of(own):
            yield text.replace("{appid}", platform.appid)


def _hosts(manifest: Manifest, texts: tuple[str, ...]) -> Iterator[str]:
    urls = (manifest.api.base_url, manifest.api.proxy or "", *texts)
    for url in urls:
        if "://" in url and (host := urlsplit(url).hostname):
            yield host


def _each(items: Iterable[_Item]) -> tuple[_Item, ...]:
    return tuple(dict.fromkeys(items))
