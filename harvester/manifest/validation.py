"""Validation by pydantic. Errors are reported with their place and without the input."""

from __future__ import annotations

import typing
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.dataclasses import is_pydantic_dataclass
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from harvester.core.config.nearest import nearest
from harvester.core.config.references import quote_safe
from harvester.core.config.settings import KINDS, Account
from harvester.core.errors import InvalidValue, UnknownName
from harvester.manifest.diagnostics import Invalid, Section, Steps

Model = TypeVar("Model")

_TYPES = {
    "dataclass_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "too_short": "is empty",
}
_FORMS = {
    "mapping": "as in {key: value}",
    "list": "as in [a, b]",
    "empty": "give it a value or leave it out",
    "": "see docs/manifest.md",
}
_KIND_EXAMPLES = {"token_command": "[…]", "token_url": '"https://…"'}
_EXAMPLES = {
    "appid": "write appid: wx…",
    "reason": "say why it is paused; in a CSV file in the column `paused`",
    "": "begin with `accounts:` and `jobs:`",
    "credential": 'as in {secret: "${NAME}"}',
    "accounts": "one `- appid: wx…` each",
    "token_command": "as in [vault, read, wechat/{appid}]",
    "command": "as in [cat, /run/ticket]",
    "jobs": "one `- datasets: …` each",
}


def fields_of(model: type[Any]) -> dict[str, FieldInfo]:
    """Return the fields of a model by name."""
    fields: dict[str, FieldInfo] = model.__pydantic_fields__
    return fields


def check(model: type[Model], section: Section) -> Model | None:
    """Return the value as a model, or None after every mistake in it is reported."""
    valid: Model | None = _validated(model, section)[0]
    return valid


def salvage(model: type[Model], section: Section) -> tuple[Model, set[str]]:
    """Return the model of the valid keys of a mapping, and the invalid keys, which are reported."""
    good, flaws = _validated(model, section)
    bad = {str(flaw["loc"][0]) for flaw in flaws}
    if bad:
        rest = {name: inner for name, inner in section.value.items() if name not in bad}
        good, _ = _validated(model, replace(section, value=rest))
    return good, bad


def _validated(model: Any, section: Section) -> tuple[Any, list[ErrorDetails]]:
    """Return the value as a model, None for an invalid one, and the flaws, which are reported."""
    given = {"today": section.context.today, "folder": section.context.file.parent}
    try:
        # Called directly, because a TypeAdapter would be made for each of ten thousand accounts.
        return model.__pydantic_validator__.validate_python(section.value, context=given), []
    except ValidationError as error:
        flaws = error.errors(include_url=False)
    for flaw in flaws:
        _report(model, flaw, section)
    return None, flaws


def refuse_missing(section: Section, loc: Steps, written: Iterable[str], hint: str) -> None:
    """Report a missing key, unless one of the ``written`` keys beside it is likely a misspelling.

    Such a key is reported as unknown.
    """
    if not any(nearest(key, [str(loc[-1])]) for key in written):
        section.refuse(loc, f"`{loc[-1]}` is missing", hint)


def _report(model: type[Any], flaw: ErrorDetails, section: Section) -> None:
    # Without the tags that `union_of` adds.
    loc = tuple(step for step in flaw["loc"] if not str(step).startswith("["))
    kind, written = flaw["type"], flaw["input"]
    if kind == "unexpected_keyword_argument":
        what, hint = _unknown_key(_owner(model, loc), str(loc[-1]), in_secret="credential" in loc)
        section.refuse(loc, what, hint, key=True)
        return
    if kind == "missing":
        refuse_missing(section, loc, written, _EXAMPLES.get(str(loc[-1]), "add it"))
        return
    # An item of a list has an index; the message names the key of its list.
    path = (*section.at, *loc)
    name = next((step for step in reversed(path) if isinstance(step, str)), "")
    if isinstance(written, Invalid):
        if written.what:
            section.refuse(loc, f"{_label(name)} {written.what}", written.hint)
        return
    reason = flaw.get("ctx", {}).get("error")
    if isinstance(reason, UnknownName):
        section.refuse(loc, reason.what, reason.hint, key=flaw["loc"][-1] == "[key]")
        return
    # Keys that contradict each other: the mistake is shown at the first that is written.
    if isinstance(reason, InvalidValue) and reason.keys:
        present = next((name for name in reason.keys if name in written), reason.keys[0])
        section.refuse((*loc, present), f"`{reason.keys[0]}` {reason.what}", reason.hint)
        return
    if isinstance(reason, InvalidValue):
        what, hint = reason.what, reason.hint
    else:
        what, hint = _form_mistake(flaw, name)
    item = "an item of " if path and path[-1] != name else ""
    subject = f"{item}{_label(name)}" if path else "the manifest"
    section.refuse(loc, f"{subject} {what}", hint)


def _label(key: str) -> str:
    """Return a key as messages show it. It may be any text, even a secret."""
    return quote_safe(key).strip() or "a value"


def _form_mistake(flaw: ErrorDetails, name: str) -> tuple[str, str]:
    """Return the mistake and a hint, without pydantic's own message, which may hold the input."""
    text = flaw["msg"] if flaw["type"] == "form" else _TYPES.get(flaw["type"], "is not right")
    usual = next(hint for word, hint in _FORMS.items() if word in text)
    return text, _EXAMPLES.get(name, usual)


def _unknown_key(owner: type[Any] | None, name: str, *, in_secret: bool) -> tuple[str, str]:
    fields = fields_of(owner) if owner else {}
    known = [field.alias or name for name, field in fields.items()]
    if owner is Account and name in KINDS:
        example = _KIND_EXAMPLES.get(name, '"${NAME}"')
        return f"unknown key `{name}`", f"write credential: {{{name}: {example}}}"
    hint = nearest(name, known) or f"known are {', '.join(known)}"
    # In a credential an unknown key may be the secret itself, as in {0123…}.
    return "unknown key" if in_secret else f"unknown key{quote_safe(name)}", hint


def _owner(model: type[Any], loc: Steps) -> type[Any] | None:
    """Return the model that the last key of a path belongs to; None if it is no model's key.

    Indices of lists and keys of plain mappings in the path are skipped.
    """
    owner: type[Any] | None = model
    for step in loc[:-1]:
        fields = fields_of(owner) if owner else {}
        if isinstance(step, str) and step in fields:
            owner = _model_in(fields[step].annotation)
    return owner


def _model_in(annotation: Any) -> type[Any] | None:
    if isinstance(annotation, type) and is_pydantic_dataclass(annotation):
        return annotation
    # Of a union the one member that is a mapping: text and lists have no keys.
    found = (_model_in(inner) for inner in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)
