"""The configuration: accounts, credentials, the platform, limits and the output.

The models are the values that the program uses: a manifest is validated into them. A key is
declared here only, with its type, its default and, below it, the sentence that editors show.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from harvester.core.calendar import Day
from harvester.core.config import field_types as types
from harvester.core.config.expect import Expect
from harvester.core.config.manifest_text import ManifestText
from harvester.core.config.references import Reference
from harvester.core.dataset import Dataset
from harvester.core.errors import InvalidValue, Place
from harvester.core.plain import Brief

ASSUMED_QUOTA = 1_000
"""The daily quota while WeChat has not told it."""

KINDS = ("secret", "token", "token_command", "token_url", "refresh_token")
"""Kinds of credential, of which one is given. Each other key of a credential belongs to one."""


@dataclass(frozen=True, config=types.one_of(*([kind] for kind in KINDS)))
class Credential:
    """The source of an account's token."""

    secret: types.Reference | None = None
    """Reference to the AppSecret, never the AppSecret itself: "${NAME}" reads the environment,
    "${file:path}" a file; {appid} and {name} are filled in."""
    token: types.Reference | None = None
    """Reference to an access token that another service renews, in the forms of secret."""
    expires_at: types.Expiry | None = None
    """End of the token: 2026-06-15T12:00:00Z, seconds since 1970, or a ${…} with one of them."""
    token_command: types.Argv | None = None
    """A command that prints the token, or JSON with access_token and expires_in: a list of the
    program and its arguments. No shell; {appid} and {name} are filled in."""
    timeout: types.Duration | None = None
    """The time limit of a token_command; 10s if left out."""
    token_url: types.TokenUrl | None = None
    """A token server that answers with the token or such JSON. https only, http for localhost;
    {appid}, {name} and ${…} are filled in."""
    headers: types.Headers | None = None
    """Headers for the token server, keys from a ${…}: Authorization: "Bearer ${KEY}"."""
    refresh_token: types.Reference | None = None
    """Reference to the account's refresh token of the platform, in the forms of secret."""

    def __post_init__(self) -> None:
        options = {"expires_at": "token", "timeout": "token_command", "headers": "token_url"}
        types.check_kind(self, KINDS, options, 'as in {secret: "${NAME}"}')


@dataclass(frozen=True, config=types.one_of(["command"], ["url"]))
class External:
    """A secret that another service renews, read by command or from an address."""

    command: types.Argv | None = None
    """A command that prints it, as token_command."""
    timeout: types.Duration | None = None
    """The time limit of the command; 10s if left out."""
    url: types.TokenUrl | None = None
    """An address that answers with it, as token_url."""
    headers: types.Headers | None = None
    """Headers for url, as for token_url."""

    def __post_init__(self) -> None:
        hint = 'or write "${NAME}" or "${file:path}"'
        types.check_kind(self, ("command", "url"), {"timeout": "command", "headers": "url"}, hint)


_EXTERNAL = 'must be "${NAME}", "${file:path}" or a mapping of command or url'
_ExternalSecret = Annotated[
    str | External,
    types.validated_as(types.union_of(_EXTERNAL, types.Reference, mapping=External)),
]


@dataclass(frozen=True, config=types.one_of(["file"], ["command"]))
class Sink:
    """A place for rotated refresh tokens."""

    file: types.SinkPath | None = None
    """A file for each account, {appid} in its path. It is written with mode 0600, and its
    content wins over the manifest's refresh_token."""
    command: types.Argv | None = None
    """A command that receives the token on its standard input; {appid} is filled in."""
    timeout: types.Duration | None = None
    """The time limit of the command; 10s if left out."""

    def __post_init__(self) -> None:
        hint = "as in {file: refresh/{appid}}"
        types.check_kind(self, ("file", "command"), {"timeout": "command"}, hint)
        if any("{name}" in word for word in self.command or ()):
            raise InvalidValue("has `{name}`, which nothing fills in", "{appid} is")


@dataclass(frozen=True, config=types.one_of(["secret", "verify_ticket"], ["component_token"]))
class Platform:
    """A third-party platform that accounts have authorised."""

    appid: types.Appid
    """The platform's own appid (component_appid)."""
    secret: types.Reference | None = None
    """Reference to the platform's secret; needed with verify_ticket."""
    verify_ticket: _ExternalSecret | None = None
    """The component_verify_ticket that WeChat pushes: a reference, or {command: […]} or
    {url: …}. It is read again when WeChat says that it expired."""
    component_token: _ExternalSecret | None = None
    """A component access token that the live platform renews, in the forms of verify_ticket."""
    sink: Sink | None = None
    """The place where a rotated refresh token is stored before its access token is used."""

    def __post_init__(self) -> None:
        kinds, hint = ("verify_ticket", "component_token"), "write one of them"
        types.check_kind(self, kinds, {"secret": "verify_ticket"}, hint)
        if self.verify_ticket is not None and self.secret is None:
            raise InvalidValue("needs its secret with a verify_ticket", 'write secret: "${NAME}"')


@dataclass(frozen=True, config=types.CLOSED)
class Pause:
    """Known trouble of an account, because of which datasets of it are not asked."""

    reason: types.Reason
    """The reason, in words: not verified."""
    datasets: types.Words = ()
    """The datasets that are not asked: names, or globs such as article_*; all if left out."""
    until: types.AccountDay | None = None
    """The last Beijing day of the pause, after which it ends by itself."""


_PAUSED = "must be a reason in words, or a mapping of reason, datasets and until"


@dataclass(frozen=True, config=types.CLOSED)
class Defaults:
    """Settings of every account that does not set them itself."""

    tags: types.Tags = frozenset()
    """Labels to select accounts by."""
    credential: Credential | None = None
    """The source of tokens, for an account or for all. Optional under base_url: sandbox."""
    begin_date: types.AccountDay | None = None
    """Never ask for days of an account before this one."""
    end_date: types.AccountDay | None = None
    """Never ask for days of an account after this one."""
    legacy_token: types.Truth = False
    """Get tokens from /cgi-bin/token, which invalidates the token of every other service."""
    owns_tokens: types.Truth = False
    """No other service uses the account's authorisation, so the platform may refresh it."""
    paused: Annotated[Pause, types.or_text(types.Reason, _PAUSED)] | None = None
    """Known trouble that is not asked and counts for no exit code: "new secret asked for", or
    {datasets: [article_*], reason: "not verified", until: 2026-12-31} for a part of the account."""


@dataclass(frozen=True, config=types.CLOSED)
class _Identity:
    appid: types.Appid
    """The account's appid: wx and 16 hex digits."""
    name: types.Text = ""
    """A label for people, in any script."""


# The keys of the last base come first, in the schema and in hints.
@dataclass(frozen=True, config=types.CLOSED)
class Account(Defaults, _Identity):
    """One Official Account."""

    attributes: types.Attributes = Field(default_factory=dict)
    """Any names with text values, as {client: Acme}; client=Acme selects the accounts."""

    def pauses(self, dataset: str) -> bool:
        """Return whether a dataset of the account is not asked."""
        pause = self.paused
        return pause is not None and (not pause.datasets or dataset in pause.datasets)

    @property
    def uses_platform(self) -> bool:
        """True if the account's refresh token is given, or is taken from the platform's list."""
        return self.credential is None or self.credential.refresh_token is not None


@dataclass(frozen=True, config=types.CLOSED)
class Api:
    """WeChat's address, and how to reach it."""

    base_url: types.BaseUrl = "https://api.weixin.qq.com"
    """WeChat's address, or sandbox for the built-in emulator. https only, http for localhost."""
    timeout: types.Duration = types.written("30s")
    """The time limit of a request."""
    proxy: types.Proxy | None = Field(default=None, repr=False)
    """An HTTP proxy, http://host:port; a password in it needs a ${…}."""
    ca_file: types.FilePath | None = None
    """Certificates to trust instead of the system's: a PEM file."""

    @property
    def is_sandbox(self) -> bool:
        """True if the built-in emulator stands in for WeChat."""
        return self.base_url == "sandbox"


@dataclass(frozen=True, config=types.CLOSED)
class Pace:
    """Limits of one account's token."""

    rate: types.RequestRate = types.written("10/s")
    """Requests in any second or minute: 10/s or 600/min."""
    burst: Annotated[int, *types.whole(1, 1_000_000)] = 1
    """Requests that may start at once, at most the rate's number."""
    concurrency: Annotated[int, *types.whole(1, 1_000)] = 4
    """Requests that may be in flight."""

    def __post_init__(self) -> None:
        if self.burst > self.rate.count:
            what = f"is more than the {self.rate.count:,} of the rate"
            raise InvalidValue(what, "lower it, or raise the rate", keys=("burst",))


@dataclass(frozen=True, config=types.CLOSED)
class Limits:
    """Limits of a run."""

    per_token: Pace = Field(default_factory=Pace)
    """Limits of one account's token."""
    connections: Annotated[int, *types.whole(1, 10_000)] = 100
    """Requests in flight over all accounts."""
    daily_quota: types.DailyQuota = types.written("auto")
    """Calls per Beijing day, dataset and account. auto asks WeChat before many calls, and assumes
    1,000 while it does not tell; a number is the limit, and WeChat is not asked."""
    daily_reserve: types.Share = types.written("10%")
    """Of these, calls left to the account's other services: a number, or a share such as 20%."""
    max_requests: Annotated[int, *types.whole(1, 10**12)] | None = None
    """A run that needs more requests is refused before the first one. No limit if left out."""
    memory: types.Memory | None = None
    """Resident memory of all processes of a run, such as 2GiB; at it the run ends with 75."""

    def __post_init__(self) -> None:
        quota = ASSUMED_QUOTA if self.daily_quota is None else self.daily_quota
        if self.daily_reserve.of(quota) >= quota:
            assumed = " that are assumed" if self.daily_quota is None else ""
            what = f"leaves nothing of the {quota:,} calls of `daily_quota`{assumed}"
            raise InvalidValue(what, "reserve fewer", keys=("daily_reserve", "daily_quota"))


@dataclass(frozen=True, config=types.CLOSED)
class Retry:
    """Attempts at one window, and the delays between them."""

    max_attempts: Annotated[int, *types.whole(1, 100)] = 6
    """Attempts at one window, the first included."""
    initial_delay: types.Duration = types.written("500ms")
    """The maximum delay before the second attempt; it doubles with each further one."""
    max_delay: types.Duration = types.written("30s")
    """The maximum delay before any attempt."""

    def __post_init__(self) -> None:
        if self.initial_delay > self.max_delay:
            keys = ("initial_delay", "max_delay")
            raise InvalidValue("is longer than `max_delay`", "swap them", keys=keys)


@dataclass(frozen=True, config=types.CLOSED)
class Output:
    """Place and layout of the output."""

    path: types.Place = types.written("output")
    """A directory, or s3://…, gs://…, az://…."""
    buckets: Annotated[int, *types.whole(1, 9_999)] = 1
    """Files per month; fixed when a dataset's first file is written."""
    account_names: types.Truth = True
    """False keeps names, tags and attributes of accounts out of all files of the output."""
    must_exist: types.Truth = False
    """Refuse to start a new tree, in case of a mistyped path."""
    endpoint: types.Endpoint | None = None
    """The object store's address, if it is not the usual one."""
    single_writer: types.Truth = False
    """A promise that runs never overlap, for an object store without conditional writes."""
    lease: types.Lease | None = None
    """Duration after which the buckets of a dead run are free, in an object store; 30s if left out.
    0, for no lease, only together with single_writer, where it is 0 if left out."""
    keep_history: types.Age = types.written("400d")
    """Duration for which run records and the changes of files are kept, as 400d."""
    follow_links: types.Truth = False
    """The folders of datasets and months may be symbolic links, as to another disk."""

    def __post_init__(self) -> None:
        if self.lease == 0 and not self.single_writer:
            what = "is 0, so that two runs at once would ask everything twice"
            raise InvalidValue(what, "set single_writer: true, or 30s", keys=("lease",))
        if self.lease and self.single_writer:
            what = "needs conditional writes, and `single_writer` says that there are none"
            raise InvalidValue(what, keys=("lease", "single_writer"))

    @property
    def lease_seconds(self) -> float:
        """The length of a lease in seconds, 0 for none."""
        usual = 0.0 if self.single_writer else 30.0
        return usual if self.lease is None else self.lease

    @field_validator("endpoint", "single_writer", "lease", "follow_links")
    @classmethod
    def _fits_the_path(cls, value: object, info: ValidationInfo) -> object:
        # Checked with a context only, because --output may replace the store by a directory.
        path = info.data.get("path") if value and info.context else None
        is_for_a_directory = info.field_name == "follow_links"
        if isinstance(path, str) and is_for_a_directory:
            raise InvalidValue("is for a directory, and `path` is an object store", "leave it out")
        if isinstance(path, Path) and not is_for_a_directory:
            raise InvalidValue("is for an object store, and `path` is a directory", "leave it out")
        return value


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """Datasets of accounts for a range of days, all by name.

    ``end`` is None for the newest day that is ready. ``written`` has both as in the manifest.
    """

    name: str
    datasets: tuple[str, ...]
    appids: tuple[str, ...]
    begin: Day
    end: Day | None
    written: tuple[str, str] = dataclasses.field(default=("", ""), compare=False)


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Manifest(Brief):
    """A valid manifest. ``datasets`` is the catalogue with the manifest's overrides.

    ``from_platform`` is true if the accounts include those that authorised the platform.
    ``references`` are those that were resolved while the manifest was read.
    ``all_jobs`` are the manifest's jobs if options narrowed ``jobs``, and else empty.
    ``secret_variables`` are the variables of all credentials, if any of these has a command: it
    does not inherit them. ``credential_places`` has the place of each account's credential by
    appid; PLATFORM and DEFAULTS stand for those of the platform and of all other accounts.
    ``account_places`` has the places of the accounts that are written somewhere, by appid.
    ``expect`` is by dataset. ``source`` is what it was read from, if a program holds it.
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
    expect: Mapping[str, Expect] = dataclasses.field(default_factory=dict)
    references: tuple[Reference, ...] = ()
    all_jobs: tuple[Job, ...] = dataclasses.field(default=(), compare=False)
    secret_variables: frozenset[str] = frozenset()
    credential_places: Mapping[str, Place] = dataclasses.field(
        default_factory=dict, compare=False, repr=False
    )
    account_places: Mapping[str, Place] = dataclasses.field(
        default_factory=dict, compare=False, repr=False
    )
    source: ManifestText | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def is_whole(self) -> bool:
        """True if no option has narrowed the manifest."""
        return self.all_jobs in ((), self.jobs)

    @property
    def names(self) -> dict[str, str]:
        """The names of the accounts by appid, empty where there is none."""
        return {account.appid: account.name for account in self.accounts}

    @property
    def asked_accounts(self) -> list[Account]:
        """The accounts of which a job asks something, in the manifest's order."""
        return [
            account
            for account, names in self.datasets_of_accounts()
            if not all(map(account.pauses, names))
        ]

    def datasets_of_accounts(self) -> Iterator[tuple[Account, tuple[str, ...]]]:
        """Yield the accounts that have a job with the datasets of their jobs, paused ones too."""
        names: dict[str, tuple[str, ...]] = {}
        for job in self.jobs:
            for appid in job.appids:
                names[appid] = names.get(appid, ()) + job.datasets
        return (
            (account, names[account.appid]) for account in self.accounts if account.appid in names
        )
