"""The other generated pages: keys of the manifest, error codes, events, the Python API."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

import harvester
from harvester.catalogue.error_codes import DATA_RULES, PLATFORM_RULES, TOKEN_RULES
from harvester.cli.commands.explain import DOES
from harvester.core.config.field_types import REFERENCE
from harvester.core.rule import Rule
from harvester.manifest.json_schema import json_schema
from harvester.runs.record import events

SECTIONS = {
    "Account": "accounts",
    "Pause": "paused",
    "Credential": "credential",
    "External": "verify_ticket",
    "WrittenJob": "jobs",
    "Chosen": "jobs: accounts",
    "Pace": "limits: per_token",
    "Sink": "platform: sink",
    "AccountsFile": "accounts_file",
    "Override": "datasets",
    "WrittenRefresh": "datasets: refresh",
    "Expect": "expect",
    "CompleteBy": "expect: complete_by",
}
"""The keys under which the models of the JSON Schema stand, where the name does not say it."""


KEYS = """\
# Keys of the manifest

From the JSON Schema that `harvester schema` prints. [The manifest](../manifest.md) explains how
they work together.
"""
CODES = """\
# Error codes of WeChat

`harvester explain CODE` prints one of them, also in Chinese. A code that is not here stops its
window, and at the token endpoint its account.
"""
EVENTS = """\
# Events

Lines of `--log-format json`, and what `on_event` of the Python API gets.
[events.schema.json](../events.schema.json) has the types, [Logs](../logs.md#events) an example.
`null` is `None` in Python.
"""
LOG = """\
## log

A log record, in the lines alone: harvester's own below `warning`, and those of libraries.

Members: `event`, `level`, `version`, `time`, `run_id`, `shard`, `logger`, `message`.
"""
API = """\
# Python API

[harvester from Python](../python.md) shows how they are used. Everything is found as
`harvester.NAME`.
"""


def manifest_keys() -> str:
    """Return the page of all keys of the manifest."""
    schema = json_schema()
    parts = [KEYS, _keys("The top level", schema)]
    for name, model in schema["$defs"].items():
        parts.append(_keys(SECTIONS.get(name, name.lower()), model))
    return "\n".join(parts)


def _keys(title: str, model: Mapping[str, Any]) -> str:
    required = model.get("required", ())
    rows = "".join(
        f"| `{name}` | {_type(key)} | {_default(key, needed=name in required)} |"
        f" {_cell(key.get('description', ''))} |\n"
        for name, key in model["properties"].items()
    )
    about = model.get("description", "")
    text = f"{about}\n\n" if about else ""
    return f"## {title}\n\n{text}| key | type | default | meaning |\n|---|---|---|---|\n{rows}"


def _default(key: Mapping[str, Any], *, needed: bool) -> str:
    if needed:
        return "required"
    return f"`{json.dumps(key['default']).strip(chr(34))}`" if "default" in key else ""


def _type(key: Mapping[str, Any]) -> str:
    """Return the types of a value; a reference stands in the place of each, so it is left out."""
    if "$ref" in key:
        return "mapping"
    if "const" in key:
        return f"`{key['const']}`"
    if "enum" in key:
        return " or ".join(f"`{value}`" for value in key["enum"])
    for union in ("anyOf", "oneOf"):
        if union in key:
            kinds = (_type(each) for each in key[union] if each != REFERENCE)
            return " or ".join(dict.fromkeys(kinds)) or "text"
    names = {"string": "text", "array": "list", "object": "mapping", "boolean": "true or false"}
    kind = str(key.get("type", "text"))
    if "minimum" in key and "maximum" in key:
        return f"{key['minimum']:,} to {key['maximum']:,}"
    return names.get(kind, kind)


def error_codes() -> str:
    """Return the page of WeChat's error codes."""
    return (
        CODES
        + _rules("Calls for data", DATA_RULES)
        + _rules("Calls for a token", TOKEN_RULES, DATA_RULES)
        + _rules("Calls of a third-party platform", PLATFORM_RULES, DATA_RULES)
    )


def _rules(title: str, rules: Mapping[int, Rule], known: Mapping[int, Rule] | None = None) -> str:
    rows = "".join(
        f"| {code} | {_cell(rule.meaning)} | {rule.scope.value} |"
        f" {DOES.get(rule.action, rule.action.value)} | {_cell(rule.advice)} |\n"
        for code, rule in sorted(rules.items())
        if known is None or known.get(code) != rule
    )
    head = "| code | meaning | stops | a run | what to do |\n|--:|---|---|---|---|\n"
    return f"\n## {title}\n\n{head}{rows}"


def event_lines() -> str:
    """Return the page of the events of ``--log-format json`` and ``on_event``."""
    parts = [EVENTS]
    for kind in get_args(events.Event):
        fields = [name for name in kind.__dataclass_fields__ if name != "stamp"]
        fields[1:1] = ["level", "version"]
        text = re.sub(r"``(.*?)``", r"`\1`", inspect.getdoc(kind) or "")
        text = re.sub(r"\bNone\b", "null", text)
        members = ", ".join(f"`{name}`" for name in fields)
        parts.append(f"## {kind.event}\n\n{text}\n\nMembers: {members}.\n")
    parts.append(LOG)
    return "\n".join(parts)


def python_api() -> str:
    """Return the page of the public names of the package."""
    names = [name for name in dir(harvester) if not name.startswith("_")]
    groups = {
        "Functions": [name for name in names if inspect.isfunction(getattr(harvester, name))],
        "Errors": [name for name in names if _is_error(name)],
        "Types": [name for name in names if _is_type(name)],
    }
    parts = [API]
    for title, found in groups.items():
        parts += [f"## {title}\n", *map(_documented, found)]
    return "\n".join(parts)


def _is_error(name: str) -> bool:
    value = getattr(harvester, name)
    return inspect.isclass(value) and issubclass(value, Exception)


def _is_type(name: str) -> bool:
    return not inspect.isfunction(getattr(harvester, name)) and not _is_error(name)


def _documented(name: str) -> str:
    value = getattr(harvester, name)
    if kinds := get_args(value):
        return f"### {name}\n\nOne of {', '.join(f'`{kind.__name__}`' for kind in kinds)}.\n"
    text = re.sub(r"``(.*?)``", r"`\1`", inspect.getdoc(value) or "")
    signature = ""
    if inspect.isfunction(value):
        signature = f"```text\n{name}({_parameters(value)})\n```\n\n"
    members = ", ".join(f"`{member}`" for member in _members(value))
    return f"### {name}\n\n{signature}{text}\n" + (f"\nMembers: {members}.\n" if members else "")


def _parameters(function: Any) -> str:
    found = inspect.signature(function)
    lines = ",\n    ".join(_parts(found.parameters.values()))
    return f"\n    {lines},\n" if lines else ""


def _parts(parameters: Iterable[inspect.Parameter]) -> Iterator[str]:
    is_keyword = False
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not is_keyword:
            is_keyword = True
            yield "*"
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        yield f"{parameter.name}: {parameter.annotation}{default}"


def is_ours(value: type[Any]) -> bool:
    """Return whether a class is one of harvester."""
    return value.__module__.partition(".")[0] == "harvester"


def _members(value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        names = [
            *getattr(value, "__dataclass_fields__", ()),
            *getattr(value, "_fields", ()),
            *(name for owner in value.__mro__ if is_ours(owner) for name in vars(owner)),
        ]
        yield from (name for name in dict.fromkeys(names) if not name.startswith("_"))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
