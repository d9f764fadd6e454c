"""What a manifest says: accounts, credentials, the platform, jobs, limits and the output."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from harvester.core.calendar import Day
from harvester.core.dataset import Dataset
from harvester.core.model import Reserve


@dataclass(frozen=True, slots=True)
class SecretCredential:
    """An AppSecret, for tokens of ``/cgi-bin/stable_token``; of ``/cgi-bin/token`` if legacy.

    ``secret`` is the reference as the manifest has it, such as ``${ACME_SECRET}``, never the value.
    That goes for all credentials: what they hold may be shown.
    """

    secret: str
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class TokenCredential:
    """A text somebody else keeps fresh: an account's token, a platform's ticket.

    ``expires_at`` says when it ends, as written; empty if nobody said.
    """

    token: str
    expires_at: str = ""


@dataclass(frozen=True, slots=True)
class CommandCredential:
    """A command that prints it. ``timeout`` is in seconds."""

    command: tuple[str, ...]
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class UrlCredential:
    """A token server that answers with it. A header's value may hold references."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RefreshCredential:
    """A refresh token of the third-party platform; empty for the one in the platform's own list."""

    refresh_token: str = ""


Handed: TypeAlias = TokenCredential | CommandCredential | UrlCredential
"""What somebody else hands over: by reference, command or address."""

Credential: TypeAlias = SecretCredential | Handed | RefreshCredential


@dataclass(frozen=True, slots=True)
class FileSink:
    """Where rotated refresh tokens are kept: a file for each account, ``{appid}`` in its path."""

    path: str


@dataclass(frozen=True, slots=True)
class CommandSink:
    """A command that is given a rotated refresh token on its standard input."""

    command: tuple[str, ...]
    timeout: float | None = None


Sink: TypeAlias = FileSink | CommandSink


@dataclass(frozen=True, slots=True)
class Platform:
    """A third-party platform. It has either a ticket, with its secret, or a component token."""

    appid: str
    secret: str | None = None
    verify_ticket: Handed | None = None
    component_token: Handed | None = None
    sink: Sink | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """One Official Account. ``begin`` and ``end`` bound its own days, both included."""

    appid: str
    credential: Credential | None
    name: str = ""
    tags: frozenset[str] = frozenset()
    begin: Day | None = None
    end: Day | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """Which datasets of which accounts for which days.

    ``end`` is None for ``yesterday``: the newest day that is ready, which each dataset decides.
    """

    name: str
    datasets: tuple[str, ...]
    appids: tuple[str, ...]
    begin: Day
    end: Day | None


@dataclass(frozen=True, slots=True)
class Api:
    """Where WeChat is. ``timeout`` is the total seconds a request may take.

    ``proxy`` may hold a password, so its value is in no repr.
    """

    base_url: str = "https://api.weixin.qq.com"
    timeout: float = 30.0
    proxy: str | None = field(default=None, repr=False)
    ca_file: Path | None = None

    @property
    def is_sandbox(self) -> bool:
        """Whether the built-in emulator stands in for WeChat."""
        return self.base_url == "sandbox"


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one token may be used: ``count`` requests in any ``period`` seconds.

    ``burst`` requests may start at once, ``concurrency`` may be in flight.
    """

    count: int = 10
    period: float = 1.0
    burst: int = 1
    concurrency: int = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may ask. ``connections`` counts requests in flight over all accounts.

    ``daily_quota`` calls a Beijing day of each dataset of each account are taken to be allowed as
    long as WeChat has not said how many are.
    """

    per_token: Pace = Pace()
    connections: int = 100
    daily_quota: int = 5000
    daily_reserve: Reserve = field(default_factory=Reserve)
    max_requests: int | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """How often one window is tried, and between which delays in seconds."""

    max_attempts: int = 6
    initial_delay: float = 0.5
    max_delay: float = 30.0


@dataclass(frozen=True, slots=True)
class Output:
    """Where the files go, and into how many files a month is split.

    ``path`` is a folder, or as text the URI of a place in an object store. That is reached at
    ``endpoint``, and written to by a ``single_writer`` if somebody promised so.
    """

    path: Path | str
    buckets: int = 1
    must_exist: bool = False
    endpoint: str | None = None
    single_writer: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole, valid manifest. ``datasets`` is the catalogue with the manifest's overrides.

    ``from_platform`` says that whoever authorised the platform is an account too. ``references``
    are texts that named variables and files which were read to load it. ``all_jobs`` are the jobs
    as they were written, where options have narrowed ``jobs``.
    """

    file: Path
    accounts: tuple[Account, ...]
    jobs: tuple[Job, ...]
    output: Output
    datasets: dict[str, Dataset]
    api: Api = field(default_factory=Api)
    platform: Platform | None = None
    from_platform: bool = False
    limits: Limits = field(default_factory=Limits)
    retry: Retry = field(default_factory=Retry)
    references: tuple[str, ...] = ()
    all_jobs: tuple[Job, ...] = field(default=(), compare=False)
