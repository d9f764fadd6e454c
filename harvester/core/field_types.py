"""The types of the configuration's fields: pydantic's side of `parsers`, and what editors are told.

A manifest is validated with a context: the ``folder`` that its relative paths count from, and
``today``. Its values are text, or came out of a ``${…}``, so a number may come from a variable too.
Without a context the values come from Python, and one that is no text is taken as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetPydanticSchema,
    PlainValidator,
    Tag,
    ValidationInfo,
    WithJsonSchema,
)

from harvester.core import parsers
from harvester.core.calendar import Day
from harvester.core.errors import InvalidValue
from harvester.core.model import APPID, Rate, Reserve
from harvester.core.references import (
    SECRET_FORMS,
    Resolved,
    check_credential,
    check_template,
    is_reference,
    without_references,
)
from harvester.core.secret_words import has_secret_parameter, holds_secret, is_secret_name


class AmbiguousScalar(str):
    """Text that stood without quotes and looks like a number, a date, a time or a truth value."""

    __slots__ = ()


CLOSED = ConfigDict(extra="forbid", hide_input_in_errors=True)
"""The ground of all models: unknown keys are refused, and no error repeats its input."""


def one_of(*ways: list[str]) -> ConfigDict:
    """Return the same for a model that needs exactly one of several sets of keys."""
    schema: dict[str, Any] = {"oneOf": [{"required": way} for way in ways]}
    return ConfigDict(**CLOSED, json_schema_extra=schema)


def written(default: str) -> Any:
    """Return a default in the words of a manifest."""
    return Field(default=default, validate_default=True)


REFERENCE = {"type": "string", "pattern": r"\$\{.+\}"}


def said(schema: dict[str, Any]) -> WithJsonSchema:
    """Return a JSON Schema for the written form, or a reference to it."""
    return WithJsonSchema({"anyOf": [schema, REFERENCE]})


def pattern(regex: str) -> WithJsonSchema:
    """Return a JSON Schema for text that a pattern matches, or a reference to it."""
    return said({"type": "string", "pattern": f"^(?:{regex})$"})


TEXT = WithJsonSchema({"type": "string"})


def _form(value: object) -> str:
    if isinstance(value, list | tuple | frozenset):
        return "[list]"
    return "[text]" if isinstance(value, str | int) else "[mapping]"


def union_by_kind(what: str) -> Discriminator:
    """Return a union by the form of a value, tagged ``[text]``, ``[list]`` and ``[mapping]``.

    ``what`` is said of a value that has none of the forms.
    """
    return Discriminator(_form, custom_error_type="form", custom_error_message=what)


def written_as(form: Any) -> GetPydanticSchema:
    """Return the mark of a type that is validated as another one, which ends in this type."""
    return GetPydanticSchema(lambda _, handler: handler(form))


def _must_be(wanted: str, value: object) -> str:
    kind_of = "list" if isinstance(value, list) else "mapping" if isinstance(value, dict) else ""
    return f"must be {wanted}, not a {kind_of}" if kind_of else f"must be {wanted}"


def text_of(value: object) -> str:
    """Return text of any kind. Quotes do not matter to what has a grammar of its own."""
    if isinstance(value, str):
        return value
    raise InvalidValue(_must_be("text", value))


def plain(value: object) -> str:
    """Return text that every reader of YAML takes for text. Raises InvalidValue for others."""
    if isinstance(value, AmbiguousScalar | int):
        raise InvalidValue("must be text", "quote it")
    text = text_of(value)
    if not text.strip():
        raise InvalidValue("is empty", "give it a value or leave it out")
    return text


def _text(value: object, info: ValidationInfo) -> str:
    return "" if value == "" and info.context is None else str(plain(value))


def read_by(read: Callable[[str], Any]) -> PlainValidator:
    """Return a validator that reads text by a function of `parsers`."""

    def validate(value: object, info: ValidationInfo) -> Any:
        # A manifest holds no floats.
        if isinstance(value, float) or (info.context is None and not isinstance(value, str)):
            return value
        # A number without its unit, such as 30: the grammar says what it wants.
        return read(str(value) if isinstance(value, int) else str(text_of(value)))

    return PlainValidator(validate)


_DIGITS = re.compile(r"0|[1-9][0-9]{0,14}")


def whole(low: int, high: int) -> tuple[PlainValidator, WithJsonSchema]:
    """Return the marks of a whole number from ``low`` to ``high``, both allowed."""

    def validate(value: object) -> int:
        if isinstance(value, Resolved) and _DIGITS.fullmatch(value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            quoted = isinstance(value, str) and _DIGITS.fullmatch(value)
            hint = "leave the quotes out" if quoted else ""
            raise InvalidValue(_must_be("a whole number", value), hint)
        if not low <= value <= high:
            raise InvalidValue(f"must be from {low:,} to {high:,}")
        return value

    schema = {"type": "integer", "minimum": low, "maximum": high}
    return PlainValidator(validate), said(schema)


def _truth(value: object) -> bool:
    if isinstance(value, Resolved) and value in {"true", "false"}:
        return value == "true"
    if not isinstance(value, bool):
        raise InvalidValue(_must_be("true or false", value))
    return value


def _proxy(value: object, info: ValidationInfo) -> str:
    text = plain(value)
    if "@" in text and info.context and not isinstance(text, Resolved):
        raise InvalidValue("must not hold a password", 'write "${PROXY}" and set it there')
    return parsers.proxy(str(text))


def _in_folder(path: str, info: ValidationInfo) -> Path:
    folder: Path = info.context["folder"] if info.context else Path()
    return folder / path


def _file(value: object, info: ValidationInfo) -> Path:
    return value if isinstance(value, Path) else _in_folder(parsers.path(plain(value)), info)


def _place(value: object, info: ValidationInfo) -> Path | str:
    if isinstance(value, Path):
        return value
    text = parsers.place(str(plain(value)))
    return text if text.startswith(parsers.STORES) else _in_folder(text, info)


def _reference(value: object) -> str:
    """Return one reference. Anything else may be a secret, so only its type is told."""
    if isinstance(value, list | dict):
        raise InvalidValue(_must_be("text", value), SECRET_FORMS)
    return check_credential(str(value))


def _command_word(value: object) -> str:
    """Return a word of a command. Every user can read it, so no secret may stand in it."""
    text = plain(value)
    if is_reference(text):
        hint = "the command has our environment, and its arguments are visible to everybody"
        raise InvalidValue("must not hold a `${…}`", hint)
    if holds_secret(text):
        hint = "arguments are visible to everybody on the machine"
        raise InvalidValue("must not hold a secret", hint)
    check_template(text)
    if "\0" in text:
        raise InvalidValue("is not a word of a command")
    return str(text)


_INSTEAD = 'write "${NAME}" in its place'


def _token_url(value: object) -> str:
    text = plain(value)
    literals = check_template(text)
    if any(map(holds_secret, literals)) or has_secret_parameter(text):
        raise InvalidValue("must not hold a secret", _INSTEAD)
    if not text.startswith("${"):
        parsers.token_url(without_references(text))
    return str(text)


def _header_value(value: object) -> str:
    text = plain(value)
    if any(map(holds_secret, check_template(text))):
        raise InvalidValue("must not hold a secret", _INSTEAD)
    return str(text)


_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-_]*")


def _headers(written: dict[str, str]) -> dict[str, str]:
    for name, value in written.items():
        if not _HEADER.fullmatch(name):
            raise InvalidValue("has a name that is none of a header", "as in Authorization")
        if is_secret_name(name) and not is_reference(value):
            raise InvalidValue("must not hold a secret", _INSTEAD)
    return written


def _expiry(value: object) -> str:
    text = str(value) if isinstance(value, int) else str(text_of(value))
    if is_reference(text):
        return check_credential(text)
    parsers.moment(text)
    return text


def _sink_path(value: object) -> str:
    text = parsers.path(str(plain(value)))
    rest = text.replace("{appid}", "")
    if rest == text:
        raise InvalidValue("must have {appid} in it", "each account's token is a file of its own")
    if "{" in rest:
        raise InvalidValue("has a `{…}` that nothing fills in", "{appid} is")
    return text


Text = Annotated[str, PlainValidator(_text), TEXT]
_Texts = Annotated[
    Annotated[Text, Tag("[text]")] | Annotated[list[Text], Tag("[list]")],
    union_by_kind("must be text or a list"),
    AfterValidator(lambda given: frozenset([given] if isinstance(given, str) else given)),
]
Tags = Annotated[frozenset[str], written_as(_Texts)]
Appid = Annotated[str, read_by(parsers.appid), pattern(APPID)]
AccountDay = Annotated[Day, read_by(parsers.day), pattern(parsers.DAY)]
Duration = Annotated[float, read_by(parsers.duration), pattern(parsers.DURATION)]
RequestRate = Annotated[Rate, read_by(parsers.rate), pattern(parsers.RATE)]
Share = Annotated[
    Reserve,
    read_by(parsers.reserve),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": f"^(?:{parsers.RESERVE})$"},
                REFERENCE,
            ]
        }
    ),
]
BaseUrl = Annotated[str, read_by(parsers.base_url), pattern("sandbox|https?://.+")]
Proxy = Annotated[str, PlainValidator(_proxy), pattern("https?://.+")]
PATH = WithJsonSchema({"type": "string", "minLength": 1})
FilePath = Annotated[Path, PlainValidator(_file), PATH]
Place = Annotated[Path | str, PlainValidator(_place), PATH]
Endpoint = Annotated[str, read_by(parsers.endpoint), pattern("https?://.+")]
Reference = Annotated[str, PlainValidator(_reference), WithJsonSchema(REFERENCE)]
Argv = Annotated[
    tuple[Annotated[str, PlainValidator(_command_word), TEXT], ...], Field(min_length=1)
]
TokenUrl = Annotated[str, PlainValidator(_token_url), pattern("https?://.+")]
Headers = Annotated[
    dict[str, Annotated[str, PlainValidator(_header_value), TEXT]], AfterValidator(_headers)
]
Expiry = Annotated[
    str,
    PlainValidator(_expiry),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
]
SinkPath = Annotated[str, PlainValidator(_sink_path), TEXT]
Truth = Annotated[bool, PlainValidator(_truth), said({"type": "boolean"})]
