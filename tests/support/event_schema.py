"""The JSON Schema of the lines of ``--log-format json``, and a check of lines against it.

``python -m tests.support.event_schema`` writes it to ``docs/events.schema.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter

from harvester.runs.record import events

PAGE = Path(__file__).parents[2] / "docs" / "events.schema.json"

_TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"
_LEVELS = {"problem": ["warning", "error"], "log": list(get_args(events.Level))}
_MAYBE_TEXT = {"type": ["string", "null"]}
_WORDS = {"``": "`", "None": "null", "is empty before": "is null before"}
"""Words of Python's side of an event, and those of its line."""

_LOG: dict[str, Any] = {
    "description": "A log record: harvester's own below `warning`, and those of libraries.",
    "type": "object",
    "properties": {
        "time": {},
        "run_id": {},
        "shard": _MAYBE_TEXT,
        "logger": {"type": "string"},
        "message": {"type": "string"},
    },
}


def schema() -> dict[str, Any]:
    """Return the schema of a line, made of the dataclasses of the events."""
    kinds = {kind.event: TypeAdapter(kind).json_schema() for kind in get_args(events.Event)}
    found = {name: _of_line(name, kind) for name, kind in {**kinds, "log": _LOG}.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of harvester --log-format json",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in found],
        "$defs": found,
    }


def _of_line(name: str, kind: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an event as `to_dict` returns it: all members are always there."""
    properties = {
        "time": {"type": "string", "format": "date-time", "pattern": _TIME},
        "level": {"enum": _LEVELS.get(name, ["info"])},
        "event": {"const": name},
        "version": {"const": events.VERSION},
        **{
            member: _bare(value) for member, value in kind["properties"].items() if member != "time"
        },
    }
    if name in _LEVELS:
        # Of a command line with mistakes, say: no run has begun.
        properties["run_id"] = _MAYBE_TEXT
    description = " ".join(kind["description"].split())
    for of_python, of_line in _WORDS.items():
        description = description.replace(of_python, of_line)
    return {
        "description": description,
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def _bare(value: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a member without its title and default, and null as one of its types."""
    found = {key: inner for key, inner in value.items() if key not in {"title", "default"}}
    if "anyOf" in found:
        found["type"] = [each["type"] for each in found.pop("anyOf")]
    return found


def events_in(text: str) -> list[dict[str, Any]]:
    """Return the lines of stderr, after a check of each against the published schema."""
    found = [json.loads(line) for line in text.splitlines()]
    published = json.loads(PAGE.read_text("utf-8"))
    for line in found:
        kind = published["$defs"][line["event"]]
        assert [*_mistakes(kind, line, "line")] == [], line
        assert list(line) == kind["required"]
    return found


_TYPES: dict[str, type | tuple[type, ...]] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "null": type(None),
    "number": (int, float),
    "object": dict,
    "string": str,
}
_KNOWN = {
    "additionalProperties",
    "const",
    "description",
    "enum",
    "format",
    "items",
    "pattern",
    "properties",
    "required",
    "type",
}


def _mistakes(kind: dict[str, Any], value: Any, where: str) -> Iterator[str]:
    """Yield what a value does not have of a schema, of the keywords that this schema uses."""
    assert set(kind) <= _KNOWN, kind
    if "const" in kind and value != kind["const"]:
        yield f"{where} is not {kind['const']}"
    if "enum" in kind and value not in kind["enum"]:
        yield f"{where} is not in {kind['enum']}"
    if "type" in kind:
        names = kind["type"] if isinstance(kind["type"], list) else [kind["type"]]
        is_odd = isinstance(value, bool) and "boolean" not in names
        if is_odd or not any(isinstance(value, _TYPES[name]) for name in names):
            yield f"{where} is no {kind['type']}"
            return
    if "pattern" in kind and not re.search(kind["pattern"], value):
        yield f"{where} does not match {kind['pattern']}"
    yield from _mistakes_inside(kind, value, where)


def _mistakes_inside(kind: dict[str, Any], value: Any, where: str) -> Iterator[str]:
    for name in kind.get("required", ()):
        if name not in value:
            yield f"{where}.{name} is missing"
    for name, inner in kind.get("properties", {}).items():
        if name in value:
            yield from _mistakes(inner, value[name], f"{where}.{name}")
    for number, element in enumerate(value if "items" in kind else ()):
        yield from _mistakes(kind["items"], element, f"{where}[{number}]")


if __name__ == "__main__":
    PAGE.write_text(json.dumps(schema(), indent=2) + "\n", "utf-8")
