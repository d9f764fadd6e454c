"""pydantic's findings as our mistakes: with a place, in our words, without the input."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from harvester.manifest.mistakes import Mistakes, Reading, Step, Unfit, Where, named, nearest, shown
from harvester.manifest.shape import Account
from harvester.manifest.ways import KINDS
from harvester.manifest.yaml_tree import BROKEN

Model = TypeVar("Model", bound=BaseModel)

_TYPES = {
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "list_type": "must be a list",
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


def check(model: type[Model], value: object, where: Where, reading: Reading) -> Model | None:
    """The value as a model; None if it is none, and everything wrong with it is on the list."""
    try:
        return model.model_validate(value, context={"today": reading.today})
    except ValidationError as error:
        flaws = error.errors(include_url=False)
    for flaw in flaws:
        _tell(model, flaw, where, reading.mistakes)
    return None


def good(model: type[Model], value: object, reading: Reading) -> Model | None:
    """The value as a model; None if it is none, and that has been told already."""
    try:
        return model.model_validate(value, context={"today": reading.today})
    except ValidationError:
        return None


def salvage(
    model: type[Model], value: dict[str, object], reading: Reading, **least: object
) -> tuple[Model, set[str]]:
    """What is good of a mapping that is not as a whole, and the keys of what is.

    ``least`` are the keys the model cannot do without. The mistakes have been told already.
    """
    sound = {
        name: inner
        for name, inner in value.items()
        if name not in least and good(model, {**least, name: inner}, reading)
    }
    rest = model.model_validate({**least, **sound}, context={"today": reading.today})
    return rest, set(sound)


def _tell(model: type[BaseModel], flaw: ErrorDetails, where: Where, mistakes: Mistakes) -> None:
    # The forms of a key have a step in pydantic's path and none in the file.
    loc = tuple(step for step in flaw["loc"] if not str(step).startswith("["))
    kind = flaw["type"]
    if kind == "extra_forbidden":
        what, hint = _unknown(_owner(model, loc), str(loc[-1]), in_secret="credential" in loc)
        mistakes.at(where(loc, key=True), what, hint)
        return
    if kind == "missing":
        mistakes.at(where(loc), f"`{loc[-1]}` is missing", _EXAMPLES.get(str(loc[-1]), ""))
        return
    if flaw["input"] is BROKEN:
        return
    name = next((step for step in reversed(loc) if isinstance(step, str)), "")
    what, hint = _words(flaw, name)
    item = "an item of " if loc and loc[-1] != name else ""
    subject = f"{item}{named(name)}" if name else "the manifest"
    mistakes.at(where(loc), f"{subject} {what}", hint)


def _words(flaw: ErrorDetails, name: str) -> tuple[str, str]:
    """What is wrong and what to do. pydantic's own text is never used: it may hold the input."""
    context = flaw.get("ctx", {})
    reason = context.get("error")
    if isinstance(reason, Unfit):
        return reason.what, reason.hint
    text = flaw["msg"] if flaw["type"] == "form" else _TYPES.get(flaw["type"], "is not right")
    return text, _EXAMPLES.get(name, "")


def _unknown(owner: type[BaseModel] | None, name: str, *, in_secret: bool) -> tuple[str, str]:
    known = _keys(owner) if owner else []
    if owner is Account and name in KINDS:
        example = _KIND_EXAMPLES.get(name, '"${NAME}"')
        return f"unknown key `{name}`", f"write credential: {{{name}: {example}}}"
    hint = nearest(name, known) or f"known are {', '.join(known)}"
    # In a credential an unknown key may be the secret itself, as in {0123…}.
    return "unknown key" if in_secret else f"unknown key{shown(name)}", hint


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _owner(model: type[BaseModel], loc: Sequence[Step]) -> type[BaseModel] | None:
    """The model that a key was unknown to. Indices and the keys of a dict lead into their items."""
    owner: type[BaseModel] | None = model
    for step in loc[:-1]:
        fields = owner.model_fields if owner else {}
        if isinstance(step, str) and step in fields:
            owner = _model_in(fields[step].annotation)
    return owner


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(inner) for inner in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)
