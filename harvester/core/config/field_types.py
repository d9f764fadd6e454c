"""Types of the configuration's fields: `parsers` as pydantic validators, each with a JSON Schema.

The readers of a manifest's files make texts, lists and mappings, so a number of a manifest is text
here. A value of another type is a default or comes from Python, and is accepted unchanged. The
context of a manifest has ``today``, and the ``folder`` that its relative paths are relative to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, TypeGuard

import pydantic

from harvester.core.calendar import Day, DaySet
from harvester.core.config import parsers, references
from harvester.core.errors import InvalidValue
from harvester.core.model import APPID, Rate, Reserve
from harvester.core.text.secret_words import has_secret_parameter, holds_secret, is_secret_name


class AmbiguousScalar(str):
    """Unquoted text that is or looks like a number, a date, a time or a truth value."""

    __slots__ = ()


CLOSED = pydantic.ConfigDict(extra="forbid", hide_input_in_errors=True)
"""Configuration of all models: unknown keys are refused, and errors never repeat the input."""


def one_of(*ways: list[str]) -> pydantic.ConfigDict:
    """Return CLOSED for a model that needs exactly one of several sets of keys."""
    schema: dict[str, Any] = {"oneOf": [{"required": way} for way in ways]}
    return pydantic.ConfigDict(**CLOSED, json_schema_extra=schema)


def check_kind(model: object, kinds: Sequence[str], options: Mapping[str, str], hint: str) -> None:
    """Raise InvalidValue unless exactly one kind is given, with only the options of that kind."""
    given = [kind for kind in kinds if getattr(model, kind) is not None]
    if not given:
        raise InvalidValue(f"needs one of {', '.join(kinds)}", hint)
    if len(given) > 1:
        raise InvalidValue(f"has both {given[0]} and {given[1]}", "leave one out")
    for option, kind in options.items():
        if getattr(model, option) is not None and kind != given[0]:
            raise InvalidValue(f"has {option}, which goes with {kind}", "leave it out")


def written(default: str) -> Any:
    """Return a default as a manifest spells it."""
    return pydantic.Field(default=default, validate_default=True)


REFERENCE = {"type": "string", "pattern": r"\$\{.+\}"}


def or_reference(*schemas: dict[str, Any]) -> pydantic.WithJsonSchema:
    """Return a JSON Schema for a value of one of these forms, or a reference."""
    return pydantic.WithJsonSchema({"anyOf": [*schemas, REFERENCE]})


def pattern(regex: str) -> pydantic.WithJsonSchema:
    """Return a JSON Schema for text that a pattern matches, or a reference."""
    return or_reference({"type": "string", "pattern": f"^(?:{regex})$"})


TEXT = pydantic.WithJsonSchema({"type": "string"})


def _kind_of(value: object) -> str:
    if isinstance(value, list | tuple | frozenset):
        return "[list]"
    return "[text]" if isinstance(value, str) else "[mapping]"


def union_of(what: str, text: Any, *, items: Any = None, mapping: Any = None) -> Any:
    """Return the union of the forms that a value may have, each for another kind of value.

    ``what`` is the error for a value of another kind.
    """
    forms = {"[text]": text, "[list]": items, "[mapping]": mapping}
    tagged = [Annotated[form, pydantic.Tag(tag)] for tag, form in forms.items() if form is not None]
    by_kind = pydantic.Discriminator(_kind_of, custom_error_type="form", custom_error_message=what)
    return Annotated[reduce(or_, tagged), by_kind]


def validated_as(form: Any) -> pydantic.GetPydanticSchema:
    """Return a marker for a type that is validated as ``form``, which yields the type."""
    return pydantic.GetPydanticSchema(lambda _, handler: handler(form))


def or_text(text: Any, what: str) -> pydantic.GetPydanticSchema:
    """Return a marker for a model that may be written as text alone, which is its first field.

    ``what`` is the error for a value of another kind.
    """

    def schema(model: Any, handler: Callable[[Any], Any]) -> Any:
        short = Annotated[text, pydantic.AfterValidator(model)]
        return handler(union_of(what, short, mapping=model))

    return pydantic.GetPydanticSchema(schema)


def one_or_more(item: Any) -> pydantic.GetPydanticSchema:
    """Return a marker for a tuple that is written as one item or a list of items."""
    items = Annotated[list[item], pydantic.Field(min_length=1)]
    form = union_of("must be a name or a list of names", item, items=items)
    return validated_as(Annotated[form, pydantic.AfterValidator(as_tuple)])


def _must_be(wanted: str, value: object) -> str:
    kind = "list" if isinstance(value, list) else "mapping" if isinstance(value, dict) else ""
    return f"must be {wanted}, not a {kind}" if kind else f"must be {wanted}"


def text_of(value: object) -> str:
    """Return quoted or unquoted text, for values with their own grammar. Raises InvalidValue."""
    if isinstance(value, str):
        return value
    raise InvalidValue(_must_be("text", value), "quote it, or write a single value")


def plain_text(value: object) -> str:
    """Return text that every YAML reader reads as text. Raises InvalidValue for any other value."""
    if isinstance(value, AmbiguousScalar):
        raise InvalidValue("must be text", "quote it")
    text = text_of(value)
    if not text.strip():
        raise InvalidValue("is empty", "give it a value or leave it out")
    return text


_NO_REASONS = {"true", "false", "yes", "no", "y", "n", "0", "1", "x", "-"}


def _text(value: object, info: pydantic.ValidationInfo) -> str:
    return "" if value == "" and info.context is None else str(plain_text(value))


def _reason(value: object) -> str:
    """Return a reason. Only text explains, and `no` in a table would pause what it must not."""
    hint = 'say why, as in "new secret asked for", or leave it out'
    text = value if isinstance(value, str) and not isinstance(value, AmbiguousScalar) else ""
    if not text.strip() or text.strip().lower() in _NO_REASONS:
        raise InvalidValue("must be a reason in words", hint)
    return str(text)


def _attribute(value: object) -> str:
    name = text_of(value).strip()
    if not name or "=" in name or "," in name:
        raise InvalidValue("must have a name without `=` and `,`", "as in {client: Acme}")
    return name


def parsed_by(parse: Callable[[str], Any]) -> pydantic.PlainValidator:
    """Return a validator that applies a function of `parsers`."""

    def validate(value: object) -> Any:
        # A number of a manifest lacks its unit, as 30 does: the parser says which forms it accepts.
        is_parsed = isinstance(value, int | float | Rate | Reserve)
        return value if is_parsed else parse(str(text_of(value)))

    return pydantic.PlainValidator(validate)


MAX_QUOTA = 10**9
"""Maximum of a quota in a manifest."""

_DIGITS = re.compile(r"0|-?[1-9][0-9]{0,14}")
_TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def _is_typed(value: object) -> TypeGuard[str]:
    """Return whether text has a type: it is unquoted, or came out of a ``${…}``."""
    return isinstance(value, AmbiguousScalar | references.Resolved)


def _whole_number(value: object, low: int, high: int) -> int:
    is_whole = isinstance(value, str) and _DIGITS.fullmatch(value)
    if is_whole and _is_typed(value):
        value = int(value)
    if not isinstance(value, int):
        hint = "leave the quotes out" if is_whole else "write digits alone"
        raise InvalidValue(_must_be("a whole number", value), hint)
    if not low <= value <= high:
        raise InvalidValue(f"must be from {low:,} to {high:,}", "write a number in between")
    return value


def whole(low: int, high: int) -> tuple[pydantic.PlainValidator, pydantic.WithJsonSchema]:
    """Return the markers of a whole number from ``low`` to ``high``, both included."""
    schema = {"type": "integer", "minimum": low, "maximum": high}
    validator = pydantic.PlainValidator(lambda value: _whole_number(value, low, high))
    return validator, or_reference(schema)


def _quota(value: object) -> int | None:
    """Return a whole number, and None for ``auto``. Raises InvalidValue."""
    if value is None or value == "auto":
        return None
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise InvalidValue("must be auto or a whole number", "write auto or 1000")
    return _whole_number(value, 1, MAX_QUOTA)


def _truth(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if _is_typed(value) and value in _TRUTHS:
        return _TRUTHS[value]
    raise InvalidValue(_must_be("true or false", value), "write true or false without quotes")


def _proxy(value: object, info: pydantic.ValidationInfo) -> str:
    text = plain_text(value)
    if "@" in text and info.context and not isinstance(text, references.Resolved):
        raise InvalidValue("must not hold a password", 'write "${PROXY}" and set it there')
    return parsers.proxy(str(text))


def _located_by(parse: Callable[[str], str]) -> pydantic.PlainValidator:
    """Return a validator of a path, which is relative to the folder, or of a URI as it is."""

    def validate(value: object, info: pydantic.ValidationInfo) -> Path | str:
        if isinstance(value, Path):
            return value
        text = parse(str(plain_text(value)))
        folder: Path = info.context["folder"] if info.context else Path()
        return text if text.startswith(parsers.STORES) else folder / text

    return pydantic.PlainValidator(validate)


def _reference(value: object) -> str:
    """Check a reference. Other text may be a secret, so the error names only its kind."""
    if isinstance(value, list | dict):
        raise InvalidValue(_must_be("text", value), references.SECRET_FORMS)
    return references.check_credential(str(value))


def _command_word(value: object) -> str:
    """Check a word of a command. Arguments are visible to all users, so it must hold no secret."""
    text = plain_text(value)
    if references.is_reference(text):
        hint = "the command inherits the environment, and its arguments are visible to all users"
        raise InvalidValue("must not hold a `${…}`", hint)
    if holds_secret(text):
        hint = "arguments are visible to all users of the machine"
        raise InvalidValue("must not hold a secret", hint)
    references.check_template(text)
    return str(text)


_INSTEAD = 'write "${NAME}" in its place'


def _template(value: object) -> str:
    """Check text that may hold references, and no secret between them."""
    text = plain_text(value)
    if any(map(holds_secret, references.check_template(text))):
        raise InvalidValue("must not hold a secret", _INSTEAD)
    return str(text)


def _token_url(value: object) -> str:
    text = _template(value)
    if has_secret_parameter(text):
        raise InvalidValue("must not hold a secret", _INSTEAD)
    if "{name}" in references.origin(text):
        # Names come from a list that others may edit, and keys may go along with the request.
        raise InvalidValue("must not have {name} in its host", "use {appid}")
    if not text.startswith("${"):
        parsers.token_url(references.without_references(text))
    return text


def _headers(written: dict[str, str]) -> dict[str, str]:
    for name, value in written.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9\-_]*", name):
            raise InvalidValue("has a name that is none of a header", "as in Authorization")
        if is_secret_name(name) and not references.is_reference(value):
            raise InvalidValue("must not hold a secret", _INSTEAD)
    return written


def _expiry(value: object) -> str:
    text = str(text_of(value))
    if references.is_reference(text):
        return references.check_credential(text)
    parsers.moment(text)
    return text


def _sink_path(value: object) -> str:
    text = parsers.path(str(plain_text(value)))
    rest = text.replace("{appid}", "")
    if rest == text:
        raise InvalidValue("must have {appid} in it", "each account needs a file of its own")
    if "{" in rest:
        raise InvalidValue("has a `{…}` that nothing fills in", "{appid} is")
    return text


def as_tuple(value: Any) -> tuple[Any, ...]:
    """Return one value or a list of them as a tuple."""
    return tuple(value) if isinstance(value, list) else (value,)


Text = Annotated[str, pydantic.PlainValidator(_text), TEXT]
# Not as Text, because a name that comes out of a `${…}` must not be repeated if it is unknown.
Word = Annotated[str, pydantic.PlainValidator(plain_text), TEXT]
Words = Annotated[tuple[str, ...], one_or_more(Word)]
Tags = Annotated[
    frozenset[str],
    validated_as(union_of("must be text or a list", Text, items=list[Text])),
    pydantic.AfterValidator(lambda given: frozenset(as_tuple(given))),
]
Attributes = dict[Annotated[str, pydantic.PlainValidator(_attribute), TEXT], Text]
Reason = Annotated[str, pydantic.PlainValidator(_reason), TEXT]
Appid = Annotated[str, parsed_by(parsers.appid), pattern(APPID)]
AccountDay = Annotated[Day, parsed_by(parsers.day), pattern(parsers.DAY)]
QuietDays = Annotated[DaySet, parsed_by(parsers.quiet_days), pattern(parsers.QUIET_DAYS)]
Memory = Annotated[int, parsed_by(parsers.memory), pattern(parsers.SIZE)]
Clock = Annotated[int, parsed_by(parsers.clock), pattern(parsers.CLOCK)]
Days = Annotated[int, parsed_by(parsers.days), pattern(parsers.DAYS)]
Age = Annotated[int, parsed_by(parsers.age), pattern(parsers.AGE)]
Duration = Annotated[float, parsed_by(parsers.duration), pattern(parsers.DURATION)]
Lease = Annotated[float, parsed_by(parsers.lease), pattern(parsers.LEASE)]
Percentage = Annotated[float, parsed_by(parsers.percentage), pattern(parsers.PERCENTAGE)]
PercentageOrNone = Annotated[float, parsed_by(parsers.share_or_none), pattern(parsers.PERCENTAGE)]
Gate = Annotated[str, parsed_by(parsers.gate), pattern(parsers.GATE)]
RequestRate = Annotated[Rate, parsed_by(parsers.rate), pattern(parsers.RATE)]
DailyQuota = Annotated[
    int | None,
    pydantic.PlainValidator(_quota),
    or_reference({"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": MAX_QUOTA}),
]
Share = Annotated[
    Reserve,
    parsed_by(parsers.reserve),
    or_reference(
        {"type": "integer", "minimum": 0}, {"type": "string", "pattern": f"^(?:{parsers.RESERVE})$"}
    ),
]
BaseUrl = Annotated[str, parsed_by(parsers.base_url), pattern("sandbox|https?://.+")]
Proxy = Annotated[str, pydantic.PlainValidator(_proxy), pattern("https?://.+")]
PATH = pydantic.WithJsonSchema({"type": "string", "minLength": 1})
FilePath = Annotated[Path, _located_by(parsers.path), PATH]
Place = Annotated[Path | str, _located_by(parsers.place), PATH]
Endpoint = Annotated[str, parsed_by(parsers.endpoint), pattern("https?://.+")]
Reference = Annotated[str, pydantic.PlainValidator(_reference), pydantic.WithJsonSchema(REFERENCE)]
Argv = Annotated[
    tuple[Annotated[str, pydantic.PlainValidator(_command_word), TEXT], ...],
    pydantic.Field(min_length=1),
]
TokenUrl = Annotated[str, pydantic.PlainValidator(_token_url), pattern("https?://.+")]
Headers = Annotated[
    dict[str, Annotated[str, pydantic.PlainValidator(_template), TEXT]],
    pydantic.AfterValidator(_headers),
]
Expiry = Annotated[
    str,
    pydantic.PlainValidator(_expiry),
    pydantic.WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
]
SinkPath = Annotated[str, pydantic.PlainValidator(_sink_path), TEXT]
Truth = Annotated[bool, pydantic.PlainValidator(_truth), or_reference({"type": "boolean"})]
