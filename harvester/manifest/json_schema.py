"""The manifest's JSON Schema, made from the models that validate it."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from harvester.manifest.models import Root


def json_schema() -> dict[str, Any]:
    """What a manifest may say, as JSON Schema (draft 2020-12), for editors and other tools.

    Every key has a description, and its default where it has one. Anything may also be a
    ``${…}``; what that yields is only known when the manifest is loaded.
    """
    schema: dict[str, Any] = _tidied(TypeAdapter(Root).json_schema())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "harvester manifest",
        **schema,
    }


def _tidied(node: Any) -> Any:
    """Return a schema without titles, which repeat the key, and without null and empty defaults.

    No key accepts null.
    """
    if isinstance(node, list):
        return [_tidied(inner) for inner in node if inner != {"type": "null"}]
    if not isinstance(node, dict):
        return node
    tidy = {
        name: _tidied(inner)
        for name, inner in node.items()
        if not (name == "title" and isinstance(inner, str))
        and not (name == "default" and inner in (None, "", []))
    }
    choice = tidy.get("anyOf", ())
    if len(choice) == 1:
        del tidy["anyOf"]
        return {**choice[0], **tidy}
    return tidy
