"""What a manifest may say: its keys, the type of each, and the sentence an editor shows for it.

These models hold what is written, the short forms included. Defaults are those of
`harvester.core.config`: a key that is left out stays None here. Only cross-references (is there
such an account?) are judged elsewhere, in `accounts` and `selection`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, Tag

from harvester.catalogue import CATALOGUE
from harvester.manifest.ground import Shape, forms, key
from harvester.manifest.scalars import (
    AccountDay,
    Appid,
    BaseUrl,
    BeginDay,
    Clock,
    DatasetName,
    Duration,
    EndDay,
    Endpoint,
    FromPlatform,
    PathText,
    PlaceText,
    Proxy,
    Rate,
    Settle,
    Share,
    Text,
    Truth,
    Version,
    Word,
    whole,
)
from harvester.manifest.ways import Credential, Platform


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


Texts = Annotated[
    Annotated[Text, Tag("[text]")] | Annotated[list[Text], Tag("[list]")],
    forms("must be text or a list"),
    AfterValidator(_several),
]
Words = Annotated[
    Annotated[Word, Tag("[text]")] | Annotated[list[Word], Tag("[list]"), Field(min_length=1)],
    forms("must be a name or a list of names"),
    AfterValidator(_several),
]
DatasetNames = Annotated[
    Annotated[DatasetName, Tag("[text]")]
    | Annotated[list[DatasetName], Tag("[list]"), Field(min_length=1)],
    forms("must be a name or a list of names"),
    AfterValidator(_several),
]


class Defaults(Shape):
    """For every account that does not say otherwise."""

    tags: Texts | None = key("Labels to select accounts by.")
    credential: Credential | None = key(
        "How tokens are got, for an account or for all. Optional under base_url: sandbox."
    )
    begin_date: AccountDay = key("Never ask for days of an account before this one.")
    end_date: AccountDay = key("Never ask for days of an account after this one.")
    legacy_token: Truth = key(
        "Get tokens from /cgi-bin/token, which ends the token of every other service.",
        default=False,
    )
    owns_tokens: Truth = key(
        "No other service holds an account's authorisation: it may be refreshed through the "
        "platform.",
        default=False,
    )


class _Identity(Shape):
    appid: Appid = Field(description="The account's appid: wx and 16 hex digits.")
    name: Text | None = key("A label for people, in any script.")


# The keys of the last base come first, in the schema and in hints.
class Account(Defaults, _Identity):
    """One Official Account."""


class Api(Shape):
    """Where WeChat is, and how long to wait for it."""

    base_url: BaseUrl = key(
        "WeChat's address, or sandbox for the built-in emulator. https only, http for localhost.",
        default="https://api.weixin.qq.com",
    )
    timeout: Duration = key("The longest a request may take in all.", default="30s")
    proxy: Proxy = key("An HTTP proxy, http://host:port; a password in it needs a ${…}.")
    ca_file: PathText = key("Certificates to trust instead of the system's: a PEM file.")


class Chosen(Shape):
    """Accounts by tag: those with any of the tags, or all, without the excepted ones."""

    tags: Words | None = key("Accounts that have any of these tags.")
    without: Words | None = key("Appids to leave out.", alias="except")


class Job(Shape):
    """Which datasets of which accounts for which days."""

    name: Text | None = key("What reports call the job; job-1, job-2, … by place if left out.")
    datasets: DatasetNames | None = key(
        "Datasets: names, WeChat's API names, globs such as upstream_msg*, or all.", default="all"
    )
    accounts: (
        Annotated[
            Annotated[Word, Tag("[text]")]
            | Annotated[list[Word], Tag("[list]"), Field(min_length=1)]
            | Annotated[Chosen, Tag("[mapping]")],
            forms("must be all, a list of appids or a mapping of tags and except"),
        ]
        | None
    ) = key("A list of appids, {tags: […], except: […]}, or all.", default="all")
    begin_date: BeginDay = key(
        "The first day: 2024-01-31, -30d (days before today) or earliest.", default="earliest"
    )
    end_date: EndDay = key(
        "The last day: 2024-01-31, -30d, or yesterday for the newest day that is ready.",
        default="yesterday",
    )


class PerToken(Shape):
    """How fast one account's token may be used."""

    rate: Rate = key("Requests in any second or minute: 10/s or 600/min.", default="10/s")
    burst: Annotated[int | None, *whole(1, 1_000_000)] = key(
        "Requests that may start at once, at most the rate's number.", default=1
    )
    concurrency: Annotated[int | None, *whole(1, 1_000)] = key(
        "Requests that may be in flight.", default=4
    )


class Limits(Shape):
    """What a run may ask."""

    per_token: PerToken | None = key("How fast one account's token may be used.")
    connections: Annotated[int | None, *whole(1, 10_000)] = key(
        "Requests in flight over all accounts.", default=100
    )
    daily_quota: Annotated[int | None, *whole(1, 10**9)] = key(
        "Calls a Beijing day of each dataset of each account, assumed until WeChat says how many.",
        default=5000,
    )
    daily_reserve: Share = key(
        "Of these, calls left to the account's other users: a number, or a share such as 20%.",
        default=0,
    )
    max_requests: Annotated[int | None, *whole(1, 10**12)] = key(
        "A run that would ask more is refused before its first request. No bound if left out."
    )


class Retry(Shape):
    """How often a window is tried, and how long to wait in between."""

    max_attempts: Annotated[int | None, *whole(1, 100)] = key(
        "Attempts at one window, the first included.", default=6
    )
    initial_delay: Duration = key(
        "The longest wait before the second attempt; it doubles from there.", default="500ms"
    )
    max_delay: Duration = key("The longest wait before any attempt.", default="30s")


class Output(Shape):
    """Where the files go."""

    path: PlaceText = key("A directory, or s3://…, gs://…, az://….", default="output")
    buckets: Annotated[int | None, *whole(1, 9_999)] = key(
        "Files per month; fixed when a dataset's first file is written.", default=1
    )
    must_exist: Truth = key(
        "Refuse to start a new tree, in case of a mistyped path.", default=False
    )
    endpoint: Endpoint = key("The object store's address, if it is not the usual one.")
    single_writer: Truth = key(
        "A promise that only one run at a time writes to an object store that cannot tell.",
        default=False,
    )


class Override(Shape):
    """What WeChat changed about a dataset before the catalogue knew."""

    span: Annotated[int | None, *whole(1, 366)] = key("The most days one request may ask.")
    ready_at: Clock = key("When on the next day a day may be asked, Beijing time: 11:00.")
    settle: Settle = key("How many days old a day must be before its rows are final: 5d.")


class Root(Shape):
    """What to fetch of which accounts, how fast, and where to put it."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [name]} for name in ("accounts", "accounts_file", "accounts_from")
            ]
        }
    )

    version: Version = Field(default=1, description="The version of this format.")
    api: Api | None = key("Where WeChat is. Leave it out to talk to https://api.weixin.qq.com.")
    defaults: Defaults | None = key("For every account that does not say otherwise.")
    accounts: list[Account] | None = key("The Official Accounts.")
    accounts_file: PathText = key(
        "More accounts: a CSV file in UTF-8 with the columns appid, name, tags (split by ;), "
        "begin_date, end_date, secret, token, expires_at, token_command, token_url, "
        "refresh_token, legacy_token, owns_tokens."
    )
    accounts_from: FromPlatform = key("platform: whoever authorised it is an account too.")
    platform: Platform | None = key("A third-party platform that accounts have authorised.")
    jobs: Annotated[list[Job], Field(min_length=1)] = Field(description="What to fetch.")
    limits: Limits | None = key("What a run may ask.")
    retry: Retry | None = key("How often a window is tried, and how long to wait in between.")
    output: (
        Annotated[
            Annotated[PlaceText, Tag("[text]")] | Annotated[Output, Tag("[mapping]")],
            forms("must be a path or a mapping"),
        ]
        | None
    ) = key(
        "Where the files go: a directory, s3://…, gs://…, az://…, or a mapping with more.",
        default="output",
    )
    datasets: dict[str, Override] | None = key(
        "By dataset: what WeChat changed before the catalogue knew.",
        schema={"propertyNames": {"enum": [*CATALOGUE]}},
    )
