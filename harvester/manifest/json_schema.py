"""The manifest's JSON Schema, generated from the models."""

from __future__ import annotations

import ast
import inspect
import itertools
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from harvester.core.config import expect, settings
from harvester.manifest import models
from harvester.manifest.validation import fields_of

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Schema(GenerateJsonSchema):
    """Schema without null, which no key accepts, empty defaults, and titles that repeat a key."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        if made.get("default") in (None, "", []):
            made.pop("default", None)
        return made

    def field_title_should_be_set(self, _schema: object) -> bool:
        return False


def json_schema() -> dict[str, Any]:
    """Return the format of a manifest as JSON Schema (draft 2020-12), for editors and other tools.

    Every key has a description, and its default if it has one. Any value may also be a ``${…}``,
    which is resolved and validated when the manifest is loaded.
    """
    schema = TypeAdapter(models.Root).json_schema(schema_generator=_Schema)
    sources = (models, settings, expect)
    sentences = {place: text for each in sources for place, text in _sentences(each).items()}
    for name, model in {"Root": schema, **schema["$defs"]}.items():
        del model["title"]
        made = next(getattr(each, name) for each in sources if hasattr(each, name))
        bases = [base.__name__ for base in made.__mro__]
        for key, field in fields_of(made).items():
            # The sentence stands in the class that declares the field; an account inherits fields.
            [sentence] = [sentences[base, key] for base in bases if (base, key) in sentences]
            model["properties"][field.alias or key]["description"] = sentence
    return {"$schema": _DIALECT, "title": "harvester manifest", **schema}


def _sentences(module: Any) -> dict[tuple[str, str], str]:
    """Return the text below each field of a module's classes, by class and field.

    Not read by pydantic, because pydantic would read them at every start and slow all commands.
    """
    return {
        (made.name, ast.unparse(field.target)): " ".join(ast.literal_eval(text.value).split())
        for made in ast.parse(inspect.getsource(module)).body
        if isinstance(made, ast.ClassDef)
        for field, text in itertools.pairwise(made.body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }
