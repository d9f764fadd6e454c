"""Credentials ready for use: their references are resolved.

`harvester.manifest` makes these values before a verb calls WeChat; the token providers of
`harvester.wechat.auth` use them. ``read`` functions read the variable or file again on each call,
because its content may have been replaced. They raise UsageError with the name of the variable or
file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

from harvester.core.secret import Secret

COMMAND_SECONDS = 10.0
"""Time limit of a command for which the manifest sets no ``timeout``."""


@dataclass(frozen=True, slots=True)
class AppSecret:
    """An AppSecret.

    ``legacy`` selects ``/cgi-bin/token``, which invalidates the previous token.
    """

    secret: Secret
    legacy: bool = False


class SecretReader(NamedTuple):
    """A secret that another service renews. ``expires_at`` is in seconds since the Unix epoch."""

    read: Callable[[], Secret]
    expires_at: float | None = None


class Command(NamedTuple):
    """A command to run in ``folder``, without a shell, for at most ``timeout`` seconds.

    ``hidden`` are the variables that it does not inherit: those of other credentials.
    """

    argv: tuple[str, ...]
    folder: Path
    timeout: float = COMMAND_SECONDS
    hidden: frozenset[str] = frozenset()


class HttpSource(NamedTuple):
    """An address that answers a GET with a secret. The address and the headers may hold keys."""

    url: Secret
    headers: Mapping[str, Secret] = {}


class RefreshToken(NamedTuple):
    """A refresh token of the platform. Without ``source``: the token in the platform's list."""

    source: SecretReader | None = None


ExternalSource: TypeAlias = SecretReader | Command | HttpSource
Access: TypeAlias = AppSecret | ExternalSource | RefreshToken


Sink: TypeAlias = Callable[[str], Path | Command]
"""A function that returns where an account's refresh token goes: a file, or a command's input."""


@dataclass(slots=True)
class PlatformCache:
    """Shared state of the token clients of one verb for a platform.

    Times are in elapsed seconds of the machine, because the clock of a run may be corrected.

    ``listed`` has the newest refresh tokens by appid.
    """

    token: Secret | None = None
    renew_at: float = -math.inf
    listed: dict[str, Secret] = field(default_factory=dict)
    listed_at: float = -math.inf


@dataclass(frozen=True, slots=True)
class PlatformAccess:
    """A third-party platform, with its secret and ticket or with a component token."""

    appid: str
    secret: Secret | None
    ticket: ExternalSource | None
    token: ExternalSource | None
    sink: Sink | None = None
    known: PlatformCache = field(default_factory=PlatformCache)
