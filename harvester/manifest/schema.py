"""The manifest's JSON Schema, made from the models that validate it."""

from __future__ import annotations

from typing import Any

from harvester.manifest.shape import Root


def json_schema() -> dict[str, Any]:
    """What a manifest may say, as JSON Schema (draft 2020-12), for editors and other tools.

    Every key has a description, and its default where it has one. Anything may also be a
    ``${…}``; what that yields is only known when the manifest is loaded.
    """
    schema: dict[str, Any] = _untitled(Root.model_json_schema())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "harvester manifest",
        **schema,
    }


def _untitled(node: Any) -> Any:
    """Without pydantic's titles, which repeat the key or name a class."""
    if isinstance(node, dict):
        return {
            name: _untitled(inner)
            for name, inner in node.items()
            if not (name == "title" and isinstance(inner, str))
        }
    return [_untitled(inner) for inner in node] if isinstance(node, list) else node
