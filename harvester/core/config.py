"""The configuration: accounts, credentials, the platform, limits and the output.

The models are what is written and what is used: a manifest is validated into them, and they arrive
unchanged where they are needed. A key is declared here alone, with its type, its default, and below
it the sentence that editors show.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, Tag, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from harvester.core import field_types as types
from harvester.core.calendar import Day
from harvester.core.dataset import Dataset
from harvester.core.errors import InvalidValue
from harvester.core.field_types import CLOSED, one_of, union_by_kind, whole, written

KINDS = ("secret", "token", "token_command", "token_url", "refresh_token")
"""The ways to a token. Each of the other keys of a credential goes with one of them."""


def _check_way(model: object, ways: tuple[str, ...], options: Mapping[str, str], hint: str) -> None:
    """Raise InvalidValue unless one of several keys is given, and only options that go with it."""
    given = [way for way in ways if getattr(model, way) is not None]
    if not given:
        raise InvalidValue(f"needs one of {', '.join(ways)}", hint)
    if len(given) > 1:
        raise InvalidValue(f"has both {given[0]} and {given[1]}", "leave one out")
    for option, way in options.items():
        if getattr(model, option) is not None and way != given[0]:
            raise InvalidValue(f"has {option}, which goes with {way}", "leave it out")


@dataclass(frozen=True, config=one_of(*([kind] for kind in KINDS)))
class Credential:
    """One way to an account's token, and what goes with it."""

    secret: types.Reference | None = None
    """Reference to the AppSecret, never the AppSecret itself: "${NAME}" reads the environment,
    "${file:path}" a file; {appid} and {name} are filled in."""
    token: types.Reference | None = None
    """Reference to an access token that is kept fresh elsewhere, in the forms of secret."""
    expires_at: types.Expiry | None = None
    """End of the token: 2026-06-15T12:00:00Z, seconds since 1970, or a ${…} with one of them."""
    token_command: types.Argv | None = None
    """A command that prints the token, or JSON with access_token and expires_in: a list of the
    program and its arguments. No shell; {appid} and {name} are filled in."""
    timeout: types.Duration | None = None
    """The longest a token_command may take; 10s if left out."""
    token_url: types.TokenUrl | None = None
    """A token server that answers with the token or such JSON. https only, http for localhost;
    {appid}, {name} and ${…} are filled in."""
    headers: types.Headers | None = None
    """Headers for the token server, keys from a ${…}: Authorization: "Bearer ${KEY}"."""
    refresh_token: types.Reference | None = None
    """Reference to the account's refresh token of the platform, in the forms of secret."""

    def __post_init__(self) -> None:
        options = {"expires_at": "token", "timeout": "token_command", "headers": "token_url"}
        _check_way(self, KINDS, options, 'as in {secret: "${NAME}"}')


@dataclass(frozen=True, config=one_of(["command"], ["url"]))
class External:
    """A secret that is kept fresh elsewhere, got by command or address."""

    command: types.Argv | None = None
    """A command that prints it, as token_command."""
    timeout: types.Duration | None = None
    """The longest the command may take; 10s if left out."""
    url: types.TokenUrl | None = None
    """An address that answers with it, as token_url."""
    headers: types.Headers | None = None
    """Headers for that address."""

    def __post_init__(self) -> None:
        hint = 'or write "${NAME}" or "${file:path}"'
        _check_way(self, ("command", "url"), {"timeout": "command", "headers": "url"}, hint)


_Handed = Annotated[
    Annotated[types.Reference, Tag("[text]")] | Annotated[External, Tag("[mapping]")],
    union_by_kind('must be "${NAME}", "${file:path}" or a mapping of command or url'),
]


@dataclass(frozen=True, config=one_of(["file"], ["command"]))
class Sink:
    """A place for rotated refresh tokens."""

    file: types.SinkPath | None = None
    """A file for each account, {appid} in its path. It is written with mode 0600, and what it
    holds wins over the manifest's refresh_token."""
    command: types.Argv | None = None
    """A command that is given the token on its standard input; {appid} is filled in."""
    timeout: types.Duration | None = None
    """The longest the command may take; 10s if left out."""

    def __post_init__(self) -> None:
        hint = "as in {file: refresh/{appid}}"
        _check_way(self, ("file", "command"), {"timeout": "command"}, hint)


@dataclass(frozen=True, config=one_of(["secret", "verify_ticket"], ["component_token"]))
class Platform:
    """A third-party platform that accounts have authorised."""

    appid: types.Appid
    """The platform's own appid (component_appid)."""
    secret: types.Reference | None = None
    """Reference to the platform's secret; needed with verify_ticket."""
    verify_ticket: _Handed | None = None
    """The component_verify_ticket that WeChat pushes: a reference, or {command: […]} or
    {url: …}. It is looked up again when WeChat says that it expired."""
    component_token: _Handed | None = None
    """A component access token that the live platform keeps fresh, in the forms of
    verify_ticket."""
    sink: Sink | None = None
    """The place that a rotated refresh token goes to before its access token is used."""

    def __post_init__(self) -> None:
        if (self.verify_ticket is None) == (self.component_token is None):
            raise InvalidValue("needs either verify_ticket or component_token")
        if self.verify_ticket is not None and self.secret is None:
            raise InvalidValue("needs its secret with a verify_ticket", 'write secret: "${NAME}"')
        if self.component_token is not None and self.secret is not None:
            what = "has a secret, which a component_token does without"
            raise InvalidValue(what, "leave it out")


@dataclass(frozen=True, config=CLOSED)
class Defaults:
    """Settings of every account that does not say otherwise."""

    tags: types.Tags = frozenset()
    """Labels to select accounts by."""
    credential: Credential | None = None
    """The way to tokens, for an account or for all. Optional under base_url: sandbox."""
    begin_date: types.AccountDay | None = None
    """Never ask for days of an account before this one."""
    end_date: types.AccountDay | None = None
    """Never ask for days of an account after this one."""
    legacy_token: types.Truth = False
    """Get tokens from /cgi-bin/token, which ends the token of every other service."""
    owns_tokens: types.Truth = False
    """No other service holds an account's authorisation: it may be refreshed through the
    platform."""


@dataclass(frozen=True, config=CLOSED)
class _Identity:
    appid: types.Appid
    """The account's appid: wx and 16 hex digits."""
    name: types.Text = ""
    """A label for people, in any script."""


# The keys of the last base come first, in the schema and in hints.
@dataclass(frozen=True, config=CLOSED)
class Account(Defaults, _Identity):
    """One Official Account."""

    @property
    def uses_platform(self) -> bool:
        """True if its refresh token is given, or the one that the platform lists is meant."""
        return self.credential is None or self.credential.refresh_token is not None


@dataclass(frozen=True, config=CLOSED)
class Api:
    """WeChat's address, and the time to wait for it."""

    base_url: types.BaseUrl = "https://api.weixin.qq.com"
    """WeChat's address, or sandbox for the built-in emulator. https only, http for localhost."""
    timeout: types.Duration = written("30s")
    """The longest a request may take in all."""
    proxy: types.Proxy | None = Field(default=None, repr=False)
    """An HTTP proxy, http://host:port; a password in it needs a ${…}."""
    ca_file: types.FilePath | None = None
    """Certificates to trust instead of the system's: a PEM file."""

    @property
    def is_sandbox(self) -> bool:
        """True if the built-in emulator stands in for WeChat."""
        return self.base_url == "sandbox"


@dataclass(frozen=True, config=CLOSED)
class Pace:
    """Limits of one account's token."""

    rate: types.RequestRate = written("10/s")
    """Requests in any second or minute: 10/s or 600/min."""
    burst: Annotated[int, *whole(1, 1_000_000)] = 1
    """Requests that may start at once, at most the rate's number."""
    concurrency: Annotated[int, *whole(1, 1_000)] = 4
    """Requests that may be in flight."""

    def __post_init__(self) -> None:
        if self.burst > self.count:
            raise InvalidValue(f"is more than the {self.count:,} of the rate", keys=("burst",))

    @property
    def count(self) -> int:
        """The requests in any `period`."""
        return self.rate.count

    @property
    def period(self) -> float:
        """The seconds in which `count` requests may be made."""
        return self.rate.period


@dataclass(frozen=True, config=CLOSED)
class Limits:
    """Limits of a run."""

    per_token: Pace = Field(default_factory=Pace)
    """Limits of one account's token."""
    connections: Annotated[int, *whole(1, 10_000)] = 100
    """Requests in flight over all accounts."""
    daily_quota: Annotated[int, *whole(1, 10**9)] = 5000
    """Calls a Beijing day of each dataset of each account, assumed until WeChat says how many."""
    daily_reserve: types.Share = written("0")
    """Of these, calls left to the account's other users: a number, or a share such as 20%."""
    max_requests: Annotated[int, *whole(1, 10**12)] | None = None
    """A run that would ask more is refused before its first request. No bound if left out."""

    def __post_init__(self) -> None:
        if self.daily_reserve.of(self.daily_quota) >= self.daily_quota:
            what = f"leaves nothing of the {self.daily_quota:,} calls of `daily_quota`"
            raise InvalidValue(what, keys=("daily_reserve", "daily_quota"))


@dataclass(frozen=True, config=CLOSED)
class Retry:
    """Attempts at one window, and the waits in between."""

    max_attempts: Annotated[int, *whole(1, 100)] = 6
    """Attempts at one window, the first included."""
    initial_delay: types.Duration = written("500ms")
    """The longest wait before the second attempt; it doubles from there."""
    max_delay: types.Duration = written("30s")
    """The longest wait before any attempt."""

    def __post_init__(self) -> None:
        if self.initial_delay > self.max_delay:
            raise InvalidValue("is longer than `max_delay`", keys=("initial_delay", "max_delay"))


@dataclass(frozen=True, config=CLOSED)
class Output:
    """Place and kind_of of the output."""

    path: types.Place = written("output")
    """A directory, or s3://…, gs://…, az://…."""
    buckets: Annotated[int, *whole(1, 9_999)] = 1
    """Files per month; fixed when a dataset's first file is written."""
    must_exist: types.Truth = False
    """Refuse to start a new tree, in case of a mistyped path."""
    endpoint: types.Endpoint | None = None
    """The object store's address, if it is not the usual one."""
    single_writer: types.Truth = False
    """A promise that only one run at a time writes to an object store that cannot tell."""

    @field_validator("endpoint", "single_writer")
    @classmethod
    def _is_of_a_store(cls, value: object, info: ValidationInfo) -> object:
        # The command line may name a directory in the place of the manifest's object store.
        if value and info.context and isinstance(info.data.get("path"), Path):
            what = "speaks of an object store, and `path` is a directory"
            raise InvalidValue(what, "leave it out")
        return value


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """Which datasets of which accounts for which days, all of them by name.

    ``end`` is None for ``yesterday``: the newest day that is ready, which each dataset decides.
    """

    name: str
    datasets: tuple[str, ...]
    appids: tuple[str, ...]
    begin: Day
    end: Day | None


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """A whole, valid manifest. ``datasets`` is the catalogue with the manifest's overrides.

    ``from_platform`` says that accounts which authorised the platform are among the accounts.
    ``references`` are texts that named variables and files which were read to load it.
    ``all_jobs`` are the jobs as they were written, where options have narrowed ``jobs``.
    """

    file: Path
    accounts: tuple[Account, ...]
    jobs: tuple[Job, ...]
    output: Output
    datasets: dict[str, Dataset]
    api: Api = dataclasses.field(default_factory=Api)
    platform: Platform | None = None
    from_platform: bool = False
    limits: Limits = dataclasses.field(default_factory=Limits)
    retry: Retry = dataclasses.field(default_factory=Retry)
    references: tuple[str, ...] = ()
    all_jobs: tuple[Job, ...] = dataclasses.field(default=(), compare=False)


def texts_of(value: Any) -> Iterator[str]:
    """Yield every text in a value of the configuration."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | tuple | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts_of(inner)
    elif value is not None and dataclasses.is_dataclass(value):
        yield from texts_of(vars(value))
