"""What opens an account, ready for use: a credential whose references were followed.

The manifest makes these when a verb is about to talk to WeChat; the sources of
`harvester.wechat.auth.token_cache` use them. ``read`` functions look again each time: what a file
holds may have been replaced since. They raise UsageError, which names the variable or file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from harvester.core.secret import Secret

COMMAND_SECONDS = 10.0
"""How long a command may take if the manifest does not say."""


@dataclass(frozen=True, slots=True)
class AppSecret:
    """An AppSecret. A legacy one is traded at ``/cgi-bin/token``, which ends the token before."""

    secret: Secret
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class SecretReader:
    """A text that somebody else keeps fresh. ``expires_at`` is in seconds since the Unix epoch."""

    read: Callable[[], Secret]
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """A command to run in ``folder``, without a shell, for at most ``timeout`` seconds."""

    argv: tuple[str, ...]
    folder: Path
    timeout: float = COMMAND_SECONDS


@dataclass(frozen=True, slots=True)
class HttpSource:
    """An address to ask. It and the headers may hold keys."""

    url: Secret
    headers: Mapping[str, Secret] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token of the platform; without ``read``, the one in the platform's own list."""

    read: Callable[[], Secret] | None = None


ExternalSource: TypeAlias = SecretReader | Command | HttpSource
Access: TypeAlias = AppSecret | ExternalSource | RefreshToken


@dataclass(frozen=True, slots=True)
class FileSink:
    """A file for each account: ``path`` gives it by appid."""

    path: Callable[[str], Path]


@dataclass(frozen=True, slots=True)
class CommandSink:
    """A command for each account, given a refresh token on its standard input."""

    command: Callable[[str], Command]


@dataclass(slots=True)
class PlatformCache:
    """What was learnt of a platform: a verb may ask it in two goes. Moments are the clock's.

    ``listed`` has the newest refresh tokens by appid, ``replaced_at`` those replaced by ourselves,
    ``strangers`` what the list names besides accounts.
    """

    token: Secret | None = None
    renew_at: float = -math.inf
    listed: dict[str, Secret] = field(default_factory=dict)
    listed_at: float = -math.inf
    replaced_at: dict[str, float] = field(default_factory=dict)
    non_account_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Platform:
    """A third-party platform, with its secret and ticket or with a component token."""

    appid: str
    secret: Secret | None
    ticket: ExternalSource | None
    token: ExternalSource | None
    sink: FileSink | CommandSink | None = None
    known: PlatformCache = field(default_factory=PlatformCache)
