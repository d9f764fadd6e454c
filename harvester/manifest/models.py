"""Models of the manifest beside those of the configuration: root, jobs, overrides, short forms.

`selection` checks the names of accounts, tags and datasets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, PlainValidator, Tag, ValidationInfo
from pydantic import WithJsonSchema as Schema
from pydantic.dataclasses import dataclass

from harvester.catalogue import CATALOGUE, unknown_dataset
from harvester.core.calendar import Day
from harvester.core.config import field_types, parsers, settings
from harvester.core.config.expect import Expect
from harvester.core.errors import InvalidValue, UnknownName
from harvester.manifest.account_selection import datasets_named

_T = TypeVar("_T")


class WrittenDay(NamedTuple, Generic[_T]):
    """A day as a job has it, and what it means today."""

    text: str
    day: _T


def _by_day(parse: Callable[[str, Day], _T]) -> PlainValidator:
    def validate(value: object, info: ValidationInfo) -> WrittenDay[_T]:
        # 20240131 is read as a number, and the parser says how a day is written.
        text = str(value) if isinstance(value, int) else field_types.text_of(value)
        return WrittenDay(text, parse(text, info.context["today"] if info.context else 0))

    return PlainValidator(validate)


def _only(wanted: object, hint: str) -> tuple[PlainValidator, Schema]:
    def validate(value: object) -> object:
        # `true` equals 1, and is no version.
        if type(value) is bool or value != wanted:
            raise InvalidValue(f"must be {wanted}", hint)
        return wanted

    return PlainValidator(validate), Schema({"const": wanted})


# An editor offers the names; globs and WeChat's own names are text like any other.
_NAMES: dict[str, Any] = {"anyOf": [{"enum": [*CATALOGUE, "all"]}, {"type": "string"}]}
DatasetName = Annotated[str, PlainValidator(field_types.plain_text), Schema(_NAMES)]
DatasetNames = Annotated[
    tuple[str, ...], field_types.validated_as(field_types.OneOrMore[DatasetName])
]
PathText = Annotated[
    str, PlainValidator(lambda value: parsers.path(field_types.plain_text(value))), field_types.PATH
]


def _in_catalogue(name: str) -> str:
    if name not in CATALOGUE:
        raise UnknownName(*unknown_dataset(name, CATALOGUE))
    return name


def _pattern(name: str) -> str:
    datasets_named(name)
    return name


# With their type, the schemas of keys become `propertyNames`.
_InCatalogue = Annotated[
    str, AfterValidator(_in_catalogue), Schema({"type": "string", "enum": [*CATALOGUE]})
]
_Pattern = Annotated[str, AfterValidator(_pattern), Schema({"type": "string", **_NAMES})]
_DAY = f"{parsers.DAY}|{parsers.AGO}"
BeginDay = Annotated[
    WrittenDay[Day], _by_day(parsers.begin_day), field_types.pattern(f"{_DAY}|earliest")
]
EndDay = Annotated[
    WrittenDay[Day | None],
    _by_day(parsers.end_day),
    field_types.pattern(f"{_DAY}|yesterday"),
]


@dataclass(frozen=True, config=field_types.CLOSED)
class Chosen:
    """Accounts by tag and attribute, or all accounts, without the excepted ones."""

    tags: field_types.Words | None = None
    """Accounts that have any of these tags."""
    attributes: dict[field_types.Word, field_types.Words] | None = None
    """Accounts that have these attributes, each with one of the values, as {client: Acme}."""
    without: field_types.Words | None = Field(default=None, alias="except")
    """Accounts to leave out: appids, names, tag:NAME, or NAME=VALUE of an attribute."""


def _as_choice(value: Any) -> tuple[str, ...] | Chosen:
    if isinstance(value, Chosen):
        return value
    return Chosen() if value == "all" else field_types.as_tuple(value)


_Accounts = Annotated[
    Annotated[field_types.Word, Tag("[text]")]
    | Annotated[list[field_types.Word], Tag("[list]"), Field(min_length=1)]
    | Annotated[Chosen, Tag("[mapping]")],
    field_types.union_by_kind(
        "must be all, a list of appids or a mapping of tags, attributes and except"
    ),
    AfterValidator(_as_choice),
]


@dataclass(frozen=True, config=field_types.CLOSED)
class WrittenJob:
    """Datasets of accounts for a range of days."""

    name: Annotated[str, PlainValidator(field_types.plain_text), field_types.TEXT] | None = None
    """The job's name in reports; job-1, job-2, … by place if left out."""
    datasets: DatasetNames = field_types.written("all")
    """Datasets: names, WeChat's API names, globs such as upstream_msg*, or all."""
    accounts: Annotated[tuple[str, ...] | Chosen, field_types.validated_as(_Accounts)] = (
        field_types.written("all")
    )
    """A list of appids, names, tag:NAME and NAME=VALUE of attributes, {tags: […], attributes: {…},
    except: […]}, or all."""
    begin_date: BeginDay = field_types.written("earliest")
    """The first day: 2024-01-31, -30d (days before today) or earliest."""
    end_date: EndDay = field_types.written("yesterday")
    """The last day: 2024-01-31, -30d, or yesterday for the newest day that is ready."""


_Ages = Annotated[
    tuple[Annotated[int, *field_types.whole(1, 366)], ...],
    Field(min_length=1),
    AfterValidator(parsers.ages),
]


@dataclass(frozen=True, config=field_types.CLOSED)
class WrittenRefresh:
    """Ages at which a provisional day is asked again, in days since its first answer."""

    rows: _Ages | None = None
    """Ages of a day with rows, until they are final: [1, 2, 3, 7]."""
    empty: _Ages | None = None
    """Ages of a day without rows, which is final after the last: [1, 2, 3, 7, 14, 28]."""


@dataclass(frozen=True, config=field_types.CLOSED)
class Override:
    """A change of WeChat's to a dataset that the catalogue does not have yet."""

    span: Annotated[int, *field_types.whole(1, 366)] | None = None
    """The most days one request may ask."""
    ready_minutes: field_types.Clock | None = Field(default=None, alias="ready_at")
    """The time of the next day from which a day may be asked, in Beijing: 11:00."""
    settle: field_types.Days | None = None
    """Age at which a day's rows are final: 5d."""
    refresh: WrittenRefresh | None = None
    """Ages at which a provisional day is asked again: {rows: [1, 2, 3, 7]}."""


_Output = field_types.text_or_mapping(
    field_types.Place, settings.Output, "must be a path or a mapping"
)


@dataclass(frozen=True, config=field_types.CLOSED)
class AccountsFile:
    """A CSV file with more accounts."""

    path: PathText
    """A CSV file in UTF-8. Its columns are the keys of accounts and of their credentials; tags are
    separated by ;."""
    credentials: field_types.Truth = False
    """Trust the file like the manifest: it may have the columns token_command and token_url."""


_FileOrPath = field_types.text_or_mapping(
    PathText, AccountsFile, "must be a path, or a mapping of path and credentials"
)
_AccountsFile = Annotated[AccountsFile, field_types.validated_as(_FileOrPath)]
SOURCES = ("accounts", "accounts_file", "accounts_from")
"""Keys that give accounts, of which a manifest needs one."""

_REQUIRED: dict[str, Any] = {
    "required": ["jobs"],
    "anyOf": [{"required": [name]} for name in SOURCES],
}


@dataclass(frozen=True, config=ConfigDict(**field_types.CLOSED, json_schema_extra=_REQUIRED))
class Root:
    """A manifest: accounts, jobs, limits and output."""

    version: Annotated[int, *_only(1, "the only version there is")] = 1
    """The version of this format."""
    api: settings.Api = Field(default_factory=settings.Api)
    """WeChat's address. Leave it out to talk to https://api.weixin.qq.com."""
    defaults: settings.Defaults = Field(default_factory=settings.Defaults)
    """Settings of every account that does not set them itself."""
    accounts: list[settings.Account] | None = None
    """The Official Accounts."""
    accounts_file: _AccountsFile | None = None
    """More accounts: the path of a CSV file, or {path: accounts.csv, credentials: true}."""
    accounts_from: Annotated[str, *_only("platform", "the only place there is")] | None = None
    """platform: the accounts that authorised the platform are added."""
    platform: settings.Platform | None = None
    """A third-party platform that accounts have authorised."""
    jobs: Annotated[list[WrittenJob], Field(min_length=1)] | None = None
    """Datasets to fetch, of accounts and days."""
    limits: settings.Limits = Field(default_factory=settings.Limits)
    """Limits of a run."""
    retry: settings.Retry = Field(default_factory=settings.Retry)
    """Attempts at one window, and the delays between them."""
    output: Annotated[settings.Output, field_types.validated_as(_Output)] = field_types.written(
        "output"
    )
    """The place for the files: a directory, s3://…, gs://…, az://…, or a mapping with more."""
    datasets: dict[_InCatalogue, Override] = Field(default_factory=dict)
    """By dataset: changes of WeChat's that the catalogue does not have yet."""
    expect: dict[_Pattern, Expect] = Field(default_factory=dict)
    """By dataset, glob or all: what is fine, as {all: {complete_by: "12:00"}}. The entry of a
    dataset is laid over that of a glob, and that over all."""
