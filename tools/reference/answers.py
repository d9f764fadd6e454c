"""The page of the answers in JSON, from the results that the verbs return."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from datetime import date
from enum import Enum
from typing import Any

import harvester
from harvester.core.plain import JSON_NAMES
from harvester.core.rule import Rule
from harvester.runs.record.account_report import DatasetSummary, DayCounts
from harvester.verbs.forget import Receipt
from harvester.verbs.lakehouse.export import Exported
from harvester.verbs.rewrite import NewTree

ANSWERS = """\
# Answers in JSON

What `--format json` prints, and what `to_dict()` of the results in Python returns. Days are texts
such as `2026-05-31`, moments RFC 3339 in UTC. The command line describes those of
[`check`](../cli.md#harvester-check), and another page [the run record](../run-record.md).
"""

ROOTS = {
    "plan": harvester.Plan,
    "status": harvester.Status,
    "report": harvester.ReportPage,
    "fetch": harvester.Answer,
    "changes": harvester.Change,
    "verify": harvester.Report,
    "rewrite": NewTree,
    "forget": Receipt,
    "export": Exported,
}
INNER = {
    "Status": {"unusable", "next_requests"},
    "Expectation": {"lacking"},
    "Answer": {"raw"},
}
"""Members of results that are not in their JSON."""

MORE: Mapping[str, Mapping[str, str]] = {
    "Status": {
        "complete": "true or false",
        "attention_new": "integer",
        "attention_total": "integer",
    },
    "EmptyEverywhere": {"since": "text", "retry_at": "text or null"},
    "Expectation": {"share": "number", "met": "true or false"},
    "Answer": {"answer": "any"},
    "Report": {"undamaged": "true or false"},
}
"""Members of the JSON that are computed."""

NEWEST = {"newest_complete_day": "day or null"}

EXPLAIN = """\
## explain

| member | type | meaning |
|---|---|---|
| `errcode` | integer | the code |
| `known` | true or false | false if the rule for unknown codes is shown |
| `data`, `token` | [Rule](#rule) | the rules for data calls and for token calls |
"""

DATASETS = """\
## datasets

A list with an object for each dataset.

| member | type | meaning |
|---|---|---|
| `name`, `label` | text | name and title |
| `api`, `path` | text | WeChat's name of the endpoint, and its path |
| `about` | text | what it is about, and what a row is |
| `notes` | list of text | wrong ways to add up its numbers |
| `family` | text | `user`, `article`, `message` or `interface` |
| `permission_set` | integer | the permission set that a platform needs |
| `grain` | text | period of a row: `day`, `hour`, `week` or `month` |
| `span_days` | integer | maximum number of days of a request |
| `first_day` | day | first day that WeChat has |
| `ready_at` | text | hour in Beijing, on the day after a period, from which it may be asked |
| `settle_days` | integer | age that a period must exceed before an answer with rows is final |
| `may_be_delayed` | true or false | true if an answer may say that WeChat is still computing |
| `sparse` | true or false | true if days without rows are ordinary |
| `nesting` | text | `flat`: each element of an answer's list is a row |
| | | `object`: the counts of a row are in its member `inside` |
| | | `array`: each entry of its member `inside` is a row |
| `inside` | text | that member, or an empty text |
| `key` | list of text | columns of the natural key |
| `columns` | list of object | WeChat's columns, see below |
| `example`, `check_query` | text | a query to start with; one that checks numbers, or empty |
| `source`, `checked` | text, day | WeChat's page, and the day on which it was read |

| member of a column | type | meaning |
|---|---|---|
| `name`, `label`, `meaning` | text | name, title and meaning |
| `type` | text | type in the files |
| `unit` | text | unit, or an empty text |
| `nested` | true or false | true if it stands in the member `inside` |
| `promised` | true or false | false if WeChat may leave it out |
| `labels` | object | labels of its codes |
| `fields` | list of object | columns of its elements, if it is a list |
"""
"""The answer is a list, and no result of a verb."""

WORDS = {int: "integer", float: "number", str: "text", bool: "true or false", date: "day"}


def answers() -> str:
    """Return the page."""
    parts, seen = [ANSWERS], set[type]()
    for verb, root in ROOTS.items():
        parts.append(f"## {verb}\n")
        for kind in _kinds(root):
            if kind not in seen:
                seen.add(kind)
                parts.append(_kind(kind))
    return "\n".join([*parts, EXPLAIN, _kind(Rule), DATASETS])


def members(kind: type) -> dict[str, str]:
    """Return the members of a result in JSON with their types."""
    if kind is DatasetSummary:
        counts = dict.fromkeys(DayCounts._fields, "integer")
        return {"dataset": "text", "accounts": "integer", **counts, **NEWEST}
    found = {
        JSON_NAMES.get(name, name): _words(hint)
        for name, hint in typing.get_type_hints(kind).items()
        if name not in INNER.get(kind.__name__, ()) and not name.startswith("_")
    }
    return {**found, **MORE.get(kind.__name__, {})}


def _kind(kind: type) -> str:
    text = inspect.getdoc(kind) or ""
    for name in INNER.get(kind.__name__, ()):
        # The sentence about it, which the page of the Python API has.
        text = re.sub(rf"(?<=\.)\s+``{name}``\s[^.]*\.", "", text)
    text = re.sub(r"``(.*?)``", r"`\1`", text)
    for word, json in (("None", "null"), ("True", "true"), ("False", "false")):
        text = re.sub(rf"\b{word}\b", json, text)
    rows = "".join(f"| `{name}` | {words} |\n" for name, words in members(kind).items())
    return f"### {kind.__name__}\n\n{text}\n\n| member | type |\n|---|---|\n{rows}"


def _kinds(root: type) -> Iterator[type]:
    """Yield a result and the results in it."""
    yield root
    if root is DatasetSummary:
        return
    for name, hint in typing.get_type_hints(root).items():
        if name not in INNER.get(root.__name__, ()):
            for part in _parts(hint):
                if _is_result(part):
                    yield from _kinds(part)


def _parts(hint: Any) -> Iterator[type]:
    if inspect.isclass(hint):
        yield hint
    for inner in typing.get_args(hint):
        yield from _parts(inner)


def _is_result(kind: type) -> bool:
    return hasattr(kind, "__dataclass_fields__") or hasattr(kind, "_fields")


def _words(hint: Any) -> str:
    """Return a type in the words of the page."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        return " or ".join("null" if part is type(None) else _words(part) for part in inner)
    if origin is typing.Literal:
        return " or ".join(f'`"{value}"`' for value in inner)
    if origin in {tuple, list}:
        of = dict.fromkeys(_words(part) for part in inner if part is not ...)
        return f"list of {' and '.join(of)}"
    if origin is not None and issubclass(origin, Mapping):
        return "object"
    if inspect.isclass(hint):
        if issubclass(hint, Enum):
            return "text"
        return WORDS.get(hint) or (_link(hint) if _is_result(hint) else "any")
    return "any"


def _link(kind: type) -> str:
    return f"[{kind.__name__}](#{kind.__name__.lower()})"
