"""pydantic's findings as our mistakes: with a place, in our words, without the input."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.dataclasses import is_pydantic_dataclass
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from harvester.core.config import KINDS, Account
from harvester.core.errors import InvalidValue
from harvester.core.references import shown
from harvester.manifest.diagnostics import (
    INVALID,
    Diagnostics,
    LoadContext,
    Step,
    Where,
    named,
    nearest,
)

Model = TypeVar("Model")

_TYPES = {
    "dataclass_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "too_short": "is empty",
}
_KIND_EXAMPLES = {"token_command": "[…]", "token_url": '"https://…"'}
_EXAMPLES = {
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


def check(
    model: type[Model], value: object, where: Where, reading: LoadContext, *, item_of: str = ""
) -> Model | None:
    """Return the value as a model, or None, and everything wrong with it is on the list.

    ``item_of`` is the key of the list whose item the value is.
    """
    valid: Model | None
    valid, flaws = _judged(model, value, reading)
    for flaw in flaws:
        _tell(model, flaw, where, reading.mistakes, item_of)
    return valid


def salvage(
    model: type[Model], value: dict[str, Any], where: Where, reading: LoadContext
) -> tuple[Model, set[str]]:
    """Return what is good of a mapping, and the keys that are not, which are on the list."""
    good, flaws = _judged(model, value, reading)
    for flaw in flaws:
        _tell(model, flaw, where, reading.mistakes)
    bad = {str(flaw["loc"][0]) for flaw in flaws}
    if bad:
        rest = {name: inner for name, inner in value.items() if name not in bad}
        good, _ = _judged(model, rest, reading)
    return good, bad


def _judged(model: Any, value: object, reading: LoadContext) -> tuple[Any, list[ErrorDetails]]:
    context = {"today": reading.today, "folder": reading.folder}
    try:
        # An adapter of pydantic's would be made anew for each of ten thousand accounts.
        return model.__pydantic_validator__.validate_python(value, context=context), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _tell(
    model: type[Any], flaw: ErrorDetails, where: Where, mistakes: Diagnostics, item_of: str = ""
) -> None:
    # The forms of a key have a step in pydantic's path and none in the file.
    loc = tuple(step for step in flaw["loc"] if not str(step).startswith("["))
    kind = flaw["type"]
    if kind == "unexpected_keyword_argument":
        what, hint = _unknown(_owner(model, loc), str(loc[-1]), in_secret="credential" in loc)
        mistakes.add(where(loc, key=True), what, hint)
        return
    if kind == "missing":
        mistakes.add(where(loc), f"`{loc[-1]}` is missing")
        return
    if flaw["input"] is INVALID:
        return
    reason = flaw.get("ctx", {}).get("error")
    if isinstance(reason, InvalidValue) and reason.keys:
        present = next((name for name in reason.keys if name in flaw["input"]), reason.keys[0])
        mistakes.add(where((*loc, present)), f"`{reason.keys[0]}` {reason.what}", reason.hint)
        return
    name = next((step for step in reversed(loc) if isinstance(step, str)), item_of)
    what, hint = _words(flaw, name)
    item = "an item of " if (item_of and not loc) or (loc and loc[-1] != name) else ""
    subject = f"{item}{named(name)}" if name else "the manifest"
    mistakes.add(where(loc), f"{subject} {what}", hint)


def _words(flaw: ErrorDetails, name: str) -> tuple[str, str]:
    """Return what is wrong and what to do. pydantic's own text may hold the input."""
    reason = flaw.get("ctx", {}).get("error")
    if isinstance(reason, InvalidValue):
        return reason.what, reason.hint
    text = flaw["msg"] if flaw["type"] == "form" else _TYPES.get(flaw["type"], "is not right")
    return text, _EXAMPLES.get(name, "")


def _unknown(owner: type[Any] | None, name: str, *, in_secret: bool) -> tuple[str, str]:
    fields = fields_of(owner) if owner else {}
    known = [field.alias or name for name, field in fields.items()]
    if owner is Account and name in KINDS:
        example = _KIND_EXAMPLES.get(name, '"${NAME}"')
        return f"unknown key `{name}`", f"write credential: {{{name}: {example}}}"
    hint = nearest(name, known) or f"known are {', '.join(known)}"
    # In a credential an unknown key may be the secret itself, as in {0123…}.
    return "unknown key" if in_secret else f"unknown key{shown(name)}", hint


def _owner(model: type[Any], loc: Sequence[Step]) -> type[Any] | None:
    """Return the model that a key was unknown to. Indices and keys of a dict lead into items."""
    owner: type[Any] | None = model
    for step in loc[:-1]:
        fields = fields_of(owner) if owner else {}
        if isinstance(step, str) and step in fields:
            owner = _model_in(fields[step].annotation)
    return owner


def _model_in(annotation: Any) -> type[Any] | None:
    if isinstance(annotation, type) and is_pydantic_dataclass(annotation):
        return annotation
    found = (_model_in(inner) for inner in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)
