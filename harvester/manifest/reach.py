"""What a run would reach for outside of its output: variables, files and hosts, by name.

Found from the references alone: nothing is read, so nothing has to be there yet.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from harvester.model import Account, Manifest, RefreshCredential

_Item = TypeVar("_Item")

_REFERENCE = re.compile(r"\$\{(file:)?((?:[^{}]|\{[^{}]*\})*)\}")


class Touched(NamedTuple):
    """Each name once, in the order of the manifest. Files are whole paths."""

    variables: tuple[str, ...]
    files: tuple[Path, ...]
    hosts: tuple[str, ...]


def touched(manifest: Manifest) -> Touched:
    """What the credentials of the accounts that have a job refer to, and where calls go.

    The sandbox takes any secret, so there it is nothing.
    """
    if manifest.api.is_sandbox:
        return Touched((), (), ())
    wanted = {appid for job in manifest.jobs for appid in job.appids}
    accounts = [account for account in manifest.accounts if account.appid in wanted]
    texts = _each(
        text
        for texts in (*map(_texts, accounts), _platform_texts(manifest, accounts))
        for text in texts
    )
    found = [match for text in texts for match in _REFERENCE.finditer(text)]
    folder = manifest.file.parent
    return Touched(
        variables=_each(name[2].partition(":-")[0] for name in found if not name[1]),
        files=_each(folder / name[2] for name in found if name[1]),
        hosts=_each(_hosts(manifest, texts)),
    )


def _texts(account: Account) -> Iterator[str]:
    """Every text of an account's credential, its own names filled in."""
    for text in _strings(account.credential):
        yield text.replace("{appid}", account.appid).replace("{name}", account.name)


def _platform_texts(manifest: Manifest, accounts: list[Account]) -> Iterator[str]:
    """Every text of the platform, if an account is opened through it."""
    through = any(isinstance(account.credential, RefreshCredential) for account in accounts)
    if manifest.platform is not None and (through or manifest.from_platform):
        for text in _strings(dataclasses.replace(manifest.platform, sink=None)):
            yield text.replace("{appid}", manifest.platform.appid)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from _strings(inner)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _strings(getattr(value, field.name))


def _hosts(manifest: Manifest, texts: tuple[str, ...]) -> Iterator[str]:
    urls = (manifest.api.base_url, manifest.api.proxy or "", *texts)
    for url in urls:
        if "://" in url and (host := urlsplit(url).hostname):
            yield host


def _each(items: Iterator[_Item]) -> tuple[_Item, ...]:
    return tuple(dict.fromkeys(items))
