"""Models of the manifest beside those of the configuration: root, jobs, overrides, short forms.

`selection` checks the names of accounts, tags and datasets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, PlainValidator, ValidationInfo
from pydantic import WithJsonSchema as Schema
from pydantic.dataclasses import dataclass

from harvester.catalogue import CATALOGUE, unknown_dataset
from harvester.core.calendar import Day
from harvester.core.config import field_types as types
from harvester.core.config import parsers, settings
from harvester.core.config.expect import Expect
from harvester.core.errors import InvalidValue, UnknownName
from harvester.manifest.account_selection import datasets_named

_T = TypeVar("_T")


def _by_day(parse: Callable[[str, Day], _T]) -> PlainValidator:
    """Return a validator of a day as a job has it, which adds what it means today."""

    def validate(value: object, info: ValidationInfo[dict[str, Day]]) -> tuple[str, _T]:
        # 20240131 is text too, and the parser says how a day is written.
        text = types.text_of(value)
        return text, parse(text, info.context["today"])

    return PlainValidator(validate)


def _only(wanted: object, hint: str) -> tuple[PlainValidator, Schema]:
    def validate(value: object) -> object:
        # A version is a number, so it has no quotes.
        is_number = isinstance(value, types.AmbiguousScalar) and value == str(wanted)
        if value != wanted and not is_number:
            raise InvalidValue(f"must be {wanted}", hint)
        return wanted

    return PlainValidator(validate), Schema({"const": wanted})


# An editor offers the names; globs and WeChat's own names are text like any other.
_NAMES: dict[str, Any] = {"anyOf": [{"enum": [*CATALOGUE, "all"]}, {"type": "string"}]}
DatasetName = Annotated[str, PlainValidator(types.plain_text), Schema(_NAMES)]
DatasetNames = Annotated[tuple[str, ...], types.one_or_more(DatasetName)]
PathText = Annotated[
    str, PlainValidator(lambda value: parsers.path(types.plain_text(value))), types.PATH
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
BeginDay = Annotated[tuple[str, Day], _by_day(parsers.begin_day), types.pattern(f"{_DAY}|earliest")]
EndDay = Annotated[
    tuple[str, Day | None], _by_day(parsers.end_day), types.pattern(f"{_DAY}|yesterday")
]


@dataclass(frozen=True, config=types.CLOSED)
class Chosen:
    """Accounts by tag and attribute, or all accounts, without the excepted ones."""

    tags: types.Words | None = None
    """Accounts that have any of these tags."""
    attributes: dict[types.Word, types.Words] | None = None
    """Accounts that have these attributes, each with one of the values, as {client: Acme}."""
    without: types.Words | None = Field(default=None, alias="except")
    """Accounts to leave out: appids, names, tag:NAME, or NAME=VALUE of an attribute."""


def _as_choice(value: Any) -> tuple[str, ...] | Chosen:
    if isinstance(value, Chosen):
        return value
    return Chosen() if value == "all" else types.as_tuple(value)


_FORMS = "must be all, a list of appids or a mapping of tags, attributes and except"
_WordList = Annotated[list[types.Word], Field(min_length=1)]
_Accounts = Annotated[
    tuple[str, ...] | Chosen,
    types.validated_as(types.union_of(_FORMS, types.Word, items=_WordList, mapping=Chosen)),
    AfterValidator(_as_choice),
]


@dataclass(frozen=True, config=types.CLOSED)
class WrittenJob:
    """Datasets of accounts for a range of days."""

    name: types.Word | None = None
    """The job's name in reports; job-1, job-2, … by place if left out."""
    datasets: DatasetNames = types.written("all")
    """Datasets: names, WeChat's API names, globs such as upstream_msg*, or all."""
    accounts: _Accounts = types.written("all")
    """A list of appids, names, tag:NAME and NAME=VALUE of attributes, {tags: […], attributes: {…},
    except: […]}, or all."""
    begin_date: BeginDay = types.written("earliest")
    """The first day: 2024-01-31, -30d (days before today) or earliest."""
    end_date: EndDay = types.written("yesterday")
    """The last day: 2024-01-31, -30d, or yesterday for the newest day that is ready."""


_Ages = Annotated[
    tuple[Annotated[int, *types.whole(1, 366)], ...],
    Field(min_length=1),
    AfterValidator(parsers.ages),
]


@dataclass(frozen=True, config=types.CLOSED)
class WrittenRefresh:
    """Ages at which a provisional day is asked again, in days since its first answer."""

    rows: _Ages | None = None
    """Ages of a day with rows, until they are final: [1, 2, 3, 7]."""
    empty: _Ages | None = None
    """Ages of a day without rows, which is final after the last: [1, 2, 3, 7, 14, 28]."""


@dataclass(frozen=True, config=types.CLOSED)
class Override:
    """A change of WeChat's to a dataset that the catalogue does not have yet."""

    span: Annotated[int, *types.whole(1, 366)] | None = None
    """The most days one request may ask."""
    ready_minutes: types.Clock | None = Field(default=None, alias="ready_at")
    """The time of the next day from which a day may be asked, in Beijing: 11:00."""
    settle: types.Days | None = None
    """Age at which a day's rows are final: 5d."""
    refresh: WrittenRefresh | None = None
    """Ages at which a provisional day is asked again: {rows: [1, 2, 3, 7]}."""


@dataclass(frozen=True, config=types.CLOSED)
class AccountsFile:
    """A CSV file with more accounts."""

    path: PathText
    """A CSV file in UTF-8. Its columns are the keys of accounts and of their credentials; tags are
    separated by ;."""
    credentials: types.Truth = False
    """Trust the file like the manifest: it may have the columns token_command and token_url."""


_AccountsFile = Annotated[
    AccountsFile, types.or_text(PathText, "must be a path, or a mapping of path and credentials")
]
SOURCES = ("accounts", "accounts_file", "accounts_from")
"""Keys that give accounts, of which a manifest needs one."""

_REQUIRED: dict[str, Any] = {
    "required": ["jobs"],
    "anyOf": [{"required": [name]} for name in SOURCES],
}


@dataclass(frozen=True, config=ConfigDict(**types.CLOSED, json_schema_extra=_REQUIRED))
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
    output: Annotated[
        settings.Output, types.or_text(types.Place, "must be a path or a mapping")
    ] = types.written("output")
    """The place for the files: a directory, s3://…, gs://…, az://…, or a mapping with more."""
    datasets: dict[_InCatalogue, Override] = Field(default_factory=dict)
    """By dataset: changes of WeChat's that the catalogue does not have yet."""
    expect: dict[_Pattern, Expect] = Field(default_factory=dict)
    """By dataset, glob or all: what is fine, as {all: {complete_by: "12:00"}}. The entry of a
    dataset is laid over that of a glob, and that over all."""
