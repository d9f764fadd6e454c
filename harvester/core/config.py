"""What a manifest says: accounts, credentials, the platform, limits and the output.

The models are what is written and what is used: the manifest is validated into them, and they
arrive unchanged where they are needed. A key is declared here alone, with its type, its default in
the words of a manifest, and the sentence that editors show for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, Tag, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from harvester.core.calendar import Day
from harvester.core.dataset import Dataset
from harvester.core.field_types import (
    CLOSED,
    AccountDay,
    Appid,
    Argv,
    BaseUrl,
    Duration,
    Endpoint,
    Expiry,
    FilePath,
    Headers,
    Place,
    Proxy,
    Reference,
    RequestRate,
    Share,
    SinkPath,
    Tags,
    Text,
    TokenUrl,
    Truth,
    one_of,
    optional,
    union_by_kind,
    whole,
)
from harvester.core.parsers import InvalidValue

KINDS = ("secret", "token", "token_command", "token_url", "refresh_token")
"""The ways to a token. Each of the other keys of a credential goes with one of them."""

_OPTIONS = {"expires_at": "token", "timeout": "token_command", "headers": "token_url"}


@dataclass(frozen=True, config=one_of(*([kind] for kind in KINDS)))
class Credential:
    """How an account's token is got: exactly one of the ways, and what goes with it."""

    secret: Reference | None = optional(
        'Where the AppSecret is, never the AppSecret itself: "${NAME}" reads the environment, '
        '"${file:path}" a file; {appid} and {name} are filled in.'
    )
    token: Reference | None = optional(
        "Where an access token is that somebody else keeps fresh, in the forms of secret."
    )
    expires_at: Expiry | None = optional(
        "When the token ends: 2026-06-15T12:00:00Z, seconds since 1970, or a ${…} with one of them."
    )
    token_command: Argv | None = optional(
        "A command that prints the token, or JSON with access_token and expires_in: a list of the "
        "program and its arguments. No shell; {appid} and {name} are filled in."
    )
    timeout: Duration | None = optional("The longest a token_command may take; 10s if left out.")
    token_url: TokenUrl | None = optional(
        "A token server that answers with the token or such JSON. https only, http for localhost; "
        "{appid}, {name} and ${…} are filled in."
    )
    headers: Headers | None = optional(
        'Headers for the token server, keys from a ${…}: Authorization: "Bearer ${KEY}".'
    )
    refresh_token: Reference | None = optional(
        "Where the account's refresh token of the platform is, in the forms of secret."
    )

    def __post_init__(self) -> None:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if not given:
            raise InvalidValue(f"needs one of {', '.join(KINDS)}", 'as in {secret: "${NAME}"}')
        if len(given) > 1:
            what = f"has both {given[0]} and {given[1]}"
            raise InvalidValue(what, "an account has one way to its token")
        for option, kind in _OPTIONS.items():
            if getattr(self, option) is not None and kind != given[0]:
                raise InvalidValue(f"has {option}, which goes with {kind}", "leave it out")


@dataclass(frozen=True, config=one_of(["command"], ["url"]))
class External:
    """What somebody else keeps fresh, by command or address."""

    command: Argv | None = optional("A command that prints it, as token_command.")
    timeout: Duration | None = optional("The longest the command may take; 10s if left out.")
    url: TokenUrl | None = optional("An address that answers with it, as token_url.")
    headers: Headers | None = optional("Headers for that address.")

    def __post_init__(self) -> None:
        if (self.command is None) == (self.url is None):
            hint = 'or write "${NAME}" or "${file:path}"'
            raise InvalidValue("needs either command or url", hint)
        if self.timeout is not None and self.command is None:
            raise InvalidValue("has timeout, which goes with command", "leave it out")
        if self.headers is not None and self.url is None:
            raise InvalidValue("has headers, which go with url", "leave them out")


_Handed = Annotated[
    Annotated[Reference, Tag("[text]")] | Annotated[External, Tag("[mapping]")],
    union_by_kind('must be "${NAME}", "${file:path}" or a mapping of command or url'),
]


@dataclass(frozen=True, config=one_of(["file"], ["command"]))
class Sink:
    """Where rotated refresh tokens go."""

    file: SinkPath | None = optional(
        "A file for each account, {appid} in its path. It is written with mode 0600, and what it "
        "holds wins over the manifest's refresh_token."
    )
    command: Argv | None = optional(
        "A command that is given the token on its standard input; {appid} is filled in."
    )
    timeout: Duration | None = optional("The longest the command may take; 10s if left out.")

    def __post_init__(self) -> None:
        if (self.file is None) == (self.command is None):
            raise InvalidValue("needs either file or command", "as in {file: refresh/{appid}}")
        if self.timeout is not None and self.command is None:
            raise InvalidValue("has timeout, which goes with command", "leave it out")


@dataclass(frozen=True, config=one_of(["secret", "verify_ticket"], ["component_token"]))
class Platform:
    """A third-party platform that accounts have authorised."""

    appid: Appid = Field(description="The platform's own appid (component_appid).")
    secret: Reference | None = optional(
        "Where the platform's secret is; needed with verify_ticket."
    )
    verify_ticket: _Handed | None = optional(
        "The component_verify_ticket that WeChat pushes: a reference, or {command: […]} or "
        "{url: …}. It is looked up again when WeChat says that it expired."
    )
    component_token: _Handed | None = optional(
        "A component access token that the live platform keeps fresh, in the forms of "
        "verify_ticket."
    )
    sink: Sink | None = optional(
        "Where a rotated refresh token goes before its access token is used."
    )

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
    """For every account that does not say otherwise."""

    tags: Tags = optional("Labels to select accounts by.", frozenset())
    credential: Credential | None = optional(
        "How tokens are got, for an account or for all. Optional under base_url: sandbox."
    )
    begin_date: AccountDay | None = optional("Never ask for days of an account before this one.")
    end_date: AccountDay | None = optional("Never ask for days of an account after this one.")
    legacy_token: Truth = optional(
        "Get tokens from /cgi-bin/token, which ends the token of every other service.", False
    )
    owns_tokens: Truth = optional(
        "No other service holds an account's authorisation: it may be refreshed through the "
        "platform.",
        False,
    )


@dataclass(frozen=True, config=CLOSED)
class _Identity:
    appid: Appid = Field(description="The account's appid: wx and 16 hex digits.")
    name: Text = Field(default="", description="A label for people, in any script.")


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
    """Where WeChat is, and how long to wait for it."""

    base_url: BaseUrl = optional(
        "WeChat's address, or sandbox for the built-in emulator. https only, http for localhost.",
        "https://api.weixin.qq.com",
    )
    timeout: Duration = optional("The longest a request may take in all.", "30s")
    # It may hold a password, so it is in no repr.
    proxy: Proxy | None = Field(
        default=None,
        repr=False,
        description="An HTTP proxy, http://host:port; a password in it needs a ${…}.",
    )
    ca_file: FilePath | None = optional(
        "Certificates to trust instead of the system's: a PEM file."
    )

    @property
    def is_sandbox(self) -> bool:
        """True if the built-in emulator stands in for WeChat."""
        return self.base_url == "sandbox"


@dataclass(frozen=True, config=CLOSED)
class Pace:
    """How fast one account's token may be used."""

    rate: RequestRate = optional("Requests in any second or minute: 10/s or 600/min.", "10/s")
    burst: Annotated[int, *whole(1, 1_000_000)] = optional(
        "Requests that may start at once, at most the rate's number.", 1
    )
    concurrency: Annotated[int, *whole(1, 1_000)] = optional("Requests that may be in flight.", 4)

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
    """What a run may ask."""

    per_token: Pace = Field(default_factory=Pace)
    connections: Annotated[int, *whole(1, 10_000)] = optional(
        "Requests in flight over all accounts.", 100
    )
    daily_quota: Annotated[int, *whole(1, 10**9)] = optional(
        "Calls a Beijing day of each dataset of each account, assumed until WeChat says how many.",
        5000,
    )
    daily_reserve: Share = optional(
        "Of these, calls left to the account's other users: a number, or a share such as 20%.", "0"
    )
    max_requests: Annotated[int, *whole(1, 10**12)] | None = optional(
        "A run that would ask more is refused before its first request. No bound if left out."
    )

    def __post_init__(self) -> None:
        if self.daily_reserve.of(self.daily_quota) >= self.daily_quota:
            what = f"leaves nothing of the {self.daily_quota:,} calls of `daily_quota`"
            raise InvalidValue(what, keys=("daily_reserve", "daily_quota"))


@dataclass(frozen=True, config=CLOSED)
class Retry:
    """How often a window is tried, and how long to wait in between."""

    max_attempts: Annotated[int, *whole(1, 100)] = optional(
        "Attempts at one window, the first included.", 6
    )
    initial_delay: Duration = optional(
        "The longest wait before the second attempt; it doubles from there.", "500ms"
    )
    max_delay: Duration = optional("The longest wait before any attempt.", "30s")

    def __post_init__(self) -> None:
        if self.initial_delay > self.max_delay:
            raise InvalidValue("is longer than `max_delay`", keys=("initial_delay", "max_delay"))


@dataclass(frozen=True, config=CLOSED)
class Output:
    """Where the files go."""

    path: Place = optional("A directory, or s3://…, gs://…, az://….", "output")
    buckets: Annotated[int, *whole(1, 9_999)] = optional(
        "Files per month; fixed when a dataset's first file is written.", 1
    )
    must_exist: Truth = optional("Refuse to start a new tree, in case of a mistyped path.", False)
    endpoint: Endpoint | None = optional("The object store's address, if it is not the usual one.")
    single_writer: Truth = optional(
        "A promise that only one run at a time writes to an object store that cannot tell.", False
    )

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
