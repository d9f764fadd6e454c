"""What every model of a manifest stands on: keys that may be left out, or have several forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field


def key(
    about: str,
    *,
    default: object = None,
    schema: Mapping[str, Any] | None = None,
    alias: str | None = None,
) -> Any:
    """A key that may be left out. ``default`` is told to editors and proved by a test."""
    told = {**(schema or {}), **({} if default is None else {"default": default})}

    def tell(plain: dict[str, Any]) -> None:
        plain.pop("default", None)
        plain.update(told)

    return Field(default=None, description=about, json_schema_extra=tell, alias=alias)


def form(value: object) -> str:
    """Which of a key's forms a value has; the tags of the unions below."""
    if isinstance(value, list):
        return "[list]"
    return "[text]" if isinstance(value, str | int) else "[mapping]"


def forms(what: str) -> Discriminator:
    """A union by `form`, and what is said of a value that has none of its forms."""
    return Discriminator(form, custom_error_type="form", custom_error_message=what)


class Shape(BaseModel):
    """The ground of all models: unknown keys are refused, and no error repeats its input."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)
