"""The types of a manifest's scalars: pydantic's side of `grammar`, with what an editor should know.

Every type accepts a value that came out of a ``${…}``, so a number may come from a variable too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, PlainValidator, ValidationInfo, WithJsonSchema

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import Day
from harvester.core.model import APPID, Reserve
from harvester.core.secret_words import has_secret_parameter, holds_secret, is_secret_name
from harvester.manifest import grammar
from harvester.manifest.mistakes import Resolved, Unfit
from harvester.manifest.references import (
    SECRET_FORMS,
    check_credential,
    check_template,
    is_reference,
    without_references,
)
from harvester.manifest.yaml_tree import Unquoted

REFERENCE = {"type": "string", "pattern": r"\$\{.+\}"}


def _said(schema: dict[str, Any]) -> WithJsonSchema:
    """A JSON Schema for the written form, or a reference to it."""
    return WithJsonSchema({"anyOf": [schema, REFERENCE]})


def _pattern(pattern: str) -> WithJsonSchema:
    return _said({"type": "string", "pattern": f"^(?:{pattern})$"})


def _text(value: object) -> str:
    """Text of any kind. Whoever wants it has a grammar of its own, so quotes do not matter."""
    if isinstance(value, str):
        return value
    raise Unfit(_must_be("text", value))


def _must_be(wanted: str, value: object) -> str:
    form = "list" if isinstance(value, list) else "mapping" if isinstance(value, dict) else ""
    return f"must be {wanted}, not a {form}" if form else f"must be {wanted}"


def plain(value: object) -> str:
    """Text that every reader of YAML takes for text. Raises Unfit for what should be quoted."""
    if isinstance(value, Unquoted | int):
        raise Unfit("must be text", "quote it")
    text = _text(value)
    if not text.strip():
        raise Unfit("is empty", "give it a value or leave it out")
    return text


def _word(value: object) -> str:
    """A name that is looked up: whether it is one will show."""
    if isinstance(value, int):
        raise Unfit("must be text", "quote it")
    return _text(value)


def read_by(read: Callable[[str], Any]) -> PlainValidator:
    """Validate by a function of `grammar`."""

    def validate(value: object) -> Any:
        if isinstance(value, int):  # 30 instead of 30s: let the grammar say what it wants
            return read(str(value))
        return read(_text(value))

    return PlainValidator(validate)


def _read_today(read: Callable[[str, Day], Any]) -> PlainValidator:
    def validate(value: object, info: ValidationInfo) -> Any:
        text = str(value) if isinstance(value, int) else _text(value)
        return read(text, info.context["today"] if info.context else 0)

    return PlainValidator(validate)


_DIGITS = re.compile(r"0|[1-9][0-9]{0,14}")


def whole(low: int, high: int) -> tuple[PlainValidator, WithJsonSchema]:
    """A whole number from ``low`` to ``high``, both allowed."""

    def validate(value: object) -> int:
        if isinstance(value, Resolved) and _DIGITS.fullmatch(value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            quoted = isinstance(value, str) and _DIGITS.fullmatch(value)
            raise Unfit(_must_be("a whole number", value), "leave the quotes out" if quoted else "")
        if not low <= value <= high:
            raise Unfit(f"must be from {low:,} to {high:,}")
        return value

    schema = {"type": "integer", "minimum": low, "maximum": high}
    return PlainValidator(validate), _said(schema)


def _truth(value: object) -> bool:
    if isinstance(value, Resolved) and value in {"true", "false"}:
        return value == "true"
    if not isinstance(value, bool):
        raise Unfit(_must_be("true or false", value))
    return value


def _proxy(value: object) -> str:
    text = plain(value)
    if "@" in text and not isinstance(text, Resolved):
        raise Unfit("must not hold a password", 'write "${PROXY}" and set it there')
    return grammar.proxy(text)


def _credential(value: object) -> str:
    """One reference. Whatever else stands there may be a secret, so only its type is told."""
    if isinstance(value, list | dict):
        raise Unfit(_must_be("text", value), SECRET_FORMS)
    return check_credential(str(value))


_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-_]*")


def _command_word(value: object) -> str:
    """A word of a command. Everybody on the machine can read it, so no secret may stand in it."""
    text = plain(value)
    if is_reference(text):
        hint = "the command has our environment, and its arguments are visible to everybody"
        raise Unfit("must not hold a `${…}`", hint)
    if holds_secret(text):
        raise Unfit("must not hold a secret", "arguments are visible to everybody on the machine")
    check_template(text)
    if "\0" in text:
        raise Unfit("is not a word of a command")
    return text


def _token_url(value: object) -> str:
    text = plain(value)
    literals = check_template(text)
    if any(map(holds_secret, literals)) or has_secret_parameter(text):
        raise Unfit("must not hold a secret", 'write "${NAME}" in its place')
    if not text.startswith("${"):
        grammar.token_url(without_references(text))
    return text


def _header_value(value: object) -> str:
    text = plain(value)
    if any(map(holds_secret, check_template(text))):
        raise Unfit("must not hold a secret", 'write "${NAME}" in its place')
    return text


def check_headers(written: dict[str, str]) -> dict[str, str]:
    """The headers of a call. Raises Unfit for names that are none, and for keys written out."""
    for name, value in written.items():
        if not _HEADER.fullmatch(name):
            raise Unfit("has a name that is none of a header", "as in Authorization")
        if is_secret_name(name) and not is_reference(value):
            raise Unfit("must not hold a secret", 'write "${NAME}" in its place')
    return written


def _expiry(value: object) -> str:
    text = str(value) if isinstance(value, int) else _text(value)
    if is_reference(text):
        return check_credential(text)
    grammar.moment(text)
    return text


def _sink_path(value: object) -> str:
    text = grammar.path(plain(value))
    if without_appid(text) == text:
        raise Unfit("must have {appid} in it", "each account's token is a file of its own")
    if "{" in without_appid(text):
        raise Unfit("has a `{…}` that nothing fills in", "{appid} is")
    return text


def without_appid(text: str) -> str:
    """The text without what an account's appid fills in."""
    return text.replace("{appid}", "")


def _from_platform(value: object) -> str:
    if value != "platform":
        raise Unfit("must be platform", "the only place there is")
    return str(value)


def _version(value: object) -> int:
    if type(value) is not int or value != 1:
        raise Unfit("must be 1", "the only version there is")
    return value


Text = Annotated[str, PlainValidator(plain), WithJsonSchema({"type": "string"})]
Word = Annotated[str, PlainValidator(_word), WithJsonSchema({"type": "string"})]
DatasetName = Annotated[
    str,
    PlainValidator(_word),
    # An editor offers the names; globs and WeChat's own names are text like any other.
    WithJsonSchema({"anyOf": [{"enum": [*CATALOGUE, "all"]}, {"type": "string"}]}),
]
Appid = Annotated[str, read_by(grammar.appid), _pattern(APPID)]
AccountDay = Annotated[Day | None, read_by(grammar.day), _pattern(grammar.DAY)]
BeginDay = Annotated[
    Day | None,
    _read_today(grammar.begin_day),
    _pattern(f"{grammar.DAY}|{grammar.AGO}|earliest"),
]
EndDay = Annotated[
    Day | None,
    _read_today(grammar.end_day),
    _pattern(f"{grammar.DAY}|{grammar.AGO}|yesterday"),
]
Duration = Annotated[float | None, read_by(grammar.duration), _pattern(grammar.DURATION)]
Rate = Annotated[tuple[int, float] | None, read_by(grammar.rate), _pattern(grammar.RATE)]
Clock = Annotated[int | None, read_by(grammar.clock), _pattern(grammar.CLOCK)]
Settle = Annotated[int | None, read_by(grammar.settle), _pattern(grammar.SETTLE)]
Share = Annotated[
    Reserve | None,
    read_by(grammar.reserve),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": f"^(?:{grammar.RESERVE})$"},
                REFERENCE,
            ]
        }
    ),
]
BaseUrl = Annotated[str | None, read_by(grammar.base_url), _pattern("sandbox|https?://.+")]
Proxy = Annotated[str | None, PlainValidator(_proxy), _pattern("https?://.+")]
PathText = Annotated[
    str | None,
    PlainValidator(lambda value: grammar.path(plain(value))),
    WithJsonSchema({"type": "string", "minLength": 1}),
]
PlaceText = Annotated[
    str | None,
    PlainValidator(lambda value: grammar.place(plain(value))),
    WithJsonSchema({"type": "string", "minLength": 1}),
]
Endpoint = Annotated[str | None, read_by(grammar.endpoint), _pattern("https?://.+")]
Reference = Annotated[str | None, PlainValidator(_credential), WithJsonSchema(REFERENCE)]
CommandWord = Annotated[str, PlainValidator(_command_word), WithJsonSchema({"type": "string"})]
TokenUrl = Annotated[str | None, PlainValidator(_token_url), _pattern("https?://.+")]
HeaderValue = Annotated[str, PlainValidator(_header_value), WithJsonSchema({"type": "string"})]
Headers = Annotated[dict[str, HeaderValue], AfterValidator(check_headers)]
Expiry = Annotated[
    str | None,
    PlainValidator(_expiry),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
]
SinkPath = Annotated[str | None, PlainValidator(_sink_path), WithJsonSchema({"type": "string"})]
FromPlatform = Annotated[
    str | None, PlainValidator(_from_platform), WithJsonSchema({"const": "platform"})
]
Truth = Annotated[bool | None, PlainValidator(_truth), _said({"type": "boolean"})]
Version = Annotated[int, PlainValidator(_version), WithJsonSchema({"const": 1})]
