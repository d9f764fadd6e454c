"""What a manifest may say beside the configuration's own models: jobs, overrides, short forms.

Only cross-references (is there such an account?) are judged elsewhere, in `selection`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, PlainValidator, Tag, ValidationInfo
from pydantic import WithJsonSchema as Schema
from pydantic.dataclasses import dataclass

from harvester.catalogue import CATALOGUE
from harvester.core import config, parsers
from harvester.core.calendar import Day
from harvester.core.field_types import (
    CLOSED,
    Place,
    optional,
    pattern,
    plain,
    read_by,
    text_of,
    union_by_kind,
    whole,
    written_as,
)
from harvester.core.parsers import InvalidValue


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


def _word(value: object) -> str:
    """Return a name that is looked up: whether it is one will show."""
    if isinstance(value, int):
        raise InvalidValue("must be text", "quote it")
    return text_of(value)


def _read_today(read: Callable[[str, Day], Any]) -> PlainValidator:
    def validate(value: object, info: ValidationInfo) -> Any:
        text = str(value) if isinstance(value, int) else text_of(value)
        return read(text, info.context["today"] if info.context else 0)

    return PlainValidator(validate)


def _only(wanted: object, hint: str) -> tuple[PlainValidator, Schema]:
    def validate(value: object) -> object:
        if type(value) is bool or value != wanted:
            raise InvalidValue(f"must be {wanted}", hint)
        return wanted

    return PlainValidator(validate), Schema({"const": wanted})


Word = Annotated[str, PlainValidator(_word), Schema({"type": "string"})]
DatasetName = Annotated[
    str,
    PlainValidator(_word),
    # An editor offers the names; globs and WeChat's own names are text like any other.
    Schema({"anyOf": [{"enum": [*CATALOGUE, "all"]}, {"type": "string"}]}),
]
_NAMES = union_by_kind("must be a name or a list of names")
Words = Annotated[
    Annotated[Word, Tag("[text]")] | Annotated[list[Word], Tag("[list]"), Field(min_length=1)],
    _NAMES,
    AfterValidator(_several),
]
DatasetNames = Annotated[
    Annotated[DatasetName, Tag("[text]")]
    | Annotated[list[DatasetName], Tag("[list]"), Field(min_length=1)],
    _NAMES,
    AfterValidator(_several),
]
PathText = Annotated[
    str,
    PlainValidator(lambda value: parsers.path(plain(value))),
    Schema({"type": "string", "minLength": 1}),
]
_DAY = f"{parsers.DAY}|{parsers.AGO}"


@dataclass(frozen=True, config=CLOSED)
class Chosen:
    """Accounts by tag: those with any of the tags, or all, without the excepted ones."""

    tags: Words | None = optional("Accounts that have any of these tags.")
    without: Words | None = optional("Appids to leave out.", alias="except")


@dataclass(frozen=True, config=CLOSED)
class Job:
    """Which datasets of which accounts for which days."""

    name: Annotated[str, PlainValidator(plain), Schema({"type": "string"})] | None = optional(
        "What reports call the job; job-1, job-2, … by place if left out."
    )
    datasets: DatasetNames = optional(
        "Datasets: names, WeChat's API names, globs such as upstream_msg*, or all.", "all"
    )
    accounts: Annotated[
        Annotated[Word, Tag("[text]")]
        | Annotated[list[Word], Tag("[list]"), Field(min_length=1)]
        | Annotated[Chosen, Tag("[mapping]")],
        union_by_kind("must be all, a list of appids or a mapping of tags and except"),
    ] = optional("A list of appids, {tags: […], except: […]}, or all.", "all")
    begin_date: Annotated[Day, _read_today(parsers.begin_day), pattern(f"{_DAY}|earliest")] = (
        optional("The first day: 2024-01-31, -30d (days before today) or earliest.", "earliest")
    )
    end_date: Annotated[Day | None, _read_today(parsers.end_day), pattern(f"{_DAY}|yesterday")] = (
        optional(
            "The last day: 2024-01-31, -30d, or yesterday for the newest day that is ready.",
            "yesterday",
        )
    )


@dataclass(frozen=True, config=CLOSED)
class Override:
    """What WeChat changed about a dataset before the catalogue knew."""

    span: Annotated[int, *whole(1, 366)] | None = optional("The most days one request may ask.")
    ready_minutes: Annotated[int, read_by(parsers.clock), pattern(parsers.CLOCK)] | None = optional(
        "When on the next day a day may be asked, Beijing time: 11:00.", alias="ready_at"
    )
    settle: Annotated[int, read_by(parsers.settle), pattern(parsers.SETTLE)] | None = optional(
        "How many days old a day must be before its rows are final: 5d."
    )


_Output = Annotated[
    Annotated[Place, AfterValidator(config.Output), Tag("[text]")]
    | Annotated[config.Output, Tag("[mapping]")],
    union_by_kind("must be a path or a mapping"),
]
_SOURCES = ("accounts", "accounts_file", "accounts_from")
_REQUIRED: dict[str, Any] = {
    "required": ["jobs"],
    "anyOf": [{"required": [name]} for name in _SOURCES],
}


@dataclass(frozen=True, config=ConfigDict(**CLOSED, json_schema_extra=_REQUIRED))
class Root:
    """What to fetch of which accounts, how fast, and where to put it."""

    version: Annotated[int, *_only(1, "the only version there is")] = optional(
        "The version of this format.", 1
    )
    api: config.Api = Field(
        default_factory=config.Api,
        description="Where WeChat is. Leave it out to talk to https://api.weixin.qq.com.",
    )
    defaults: config.Defaults = Field(default_factory=config.Defaults)
    accounts: list[config.Account] | None = optional("The Official Accounts.")
    accounts_file: PathText | None = optional(
        "More accounts: a CSV file in UTF-8 with the columns appid, name, tags (split by ;), "
        "begin_date, end_date, secret, token, expires_at, token_command, token_url, "
        "refresh_token, legacy_token, owns_tokens."
    )
    accounts_from: Annotated[str, *_only("platform", "the only place there is")] | None = optional(
        "platform: whoever authorised it is an account too."
    )
    platform: config.Platform | None = None
    jobs: Annotated[list[Job], Field(min_length=1)] | None = optional("What to fetch.")
    limits: config.Limits = Field(default_factory=config.Limits)
    retry: config.Retry = Field(default_factory=config.Retry)
    output: Annotated[config.Output, written_as(_Output)] = optional(
        "Where the files go: a directory, s3://…, gs://…, az://…, or a mapping with more.",
        "output",
    )
    datasets: dict[str, Override] = Field(
        default_factory=dict,
        description="By dataset: what WeChat changed before the catalogue knew.",
        json_schema_extra={"propertyNames": {"enum": [*CATALOGUE]}},
    )
