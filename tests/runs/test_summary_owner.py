"""The summary of a run has one owner: only the record room assigns its fields."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields

import pytest

from harvester.runs.record.summary import Summary
from tests.support.import_graph import MODULES, Module

OWNER = "operations.record."
FIELDS = {field.name for field in fields(Summary)}
# The rooms that can hold a summary: no other may import the operations.
HOLDERS = [
    module
    for module in MODULES
    if module.room in {"operations", "cli", "__main__"} and not module.name.startswith(OWNER)
]


def assigned(tree: ast.AST) -> Iterator[str]:
    """Every place that assigns, deletes or changes an element of an attribute named as a field.

    A class's own attribute, ``self.failed``, may have the name of a field.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self")):
                continue
            case ast.Attribute(attr=name, ctx=ast.Store() | ast.Del()) if name in FIELDS:
                yield f"{node.lineno}: {ast.unparse(node)}"
            case ast.Subscript(value=ast.Attribute(attr=name), ctx=ast.Store() | ast.Del()):
                if name in FIELDS:
                    yield f"{node.lineno}: {ast.unparse(node)}"
            case ast.Call(func=ast.Name(id="setattr" | "delattr")):
                yield f"{node.lineno}: {ast.unparse(node)}"
            case ast.Call(func=ast.Attribute(attr="__setattr__")):
                yield f"{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("module", HOLDERS, ids=lambda module: module.name)
def test_no_other_module_assigns_a_field_of_the_summary(module: Module) -> None:
    """Outside of the record room the summary is written through its methods alone."""
    assert list(assigned(module.tree)) == []


@pytest.mark.parametrize(
    "code",
    [
        "summary.windows = 1",
        "state.run_log.summary.stopped_by = Exit.SIGINT",
        "self.books.summary.stopped_by = Exit.SIGINT",
        "summary.damaged += found",
        "summary.bound_seconds, summary.bound_by = 1.0, 'rate'",
        "summary.requests: int = 3",
        "for summary.retries in range(3): pass",
        "with opened() as summary.failed: pass",
        "summary.waits['retry'] = 1.0",
        "del summary.published",
        "setattr(summary, 'windows', 1)",
    ],
)
def test_every_form_of_assignment_is_found(code: str) -> None:
    """The check knows assignments to names, elements and targets of loops."""
    assert len(set(assigned(ast.parse(code)))) >= 1


@pytest.mark.parametrize("code", ["x = summary.windows", "self.failed = 1", "check.calls = 2"])
def test_reading_a_summary_is_no_assignment(code: str) -> None:
    """Reading a field, and attributes of other classes, are allowed."""
    assert list(assigned(ast.parse(code))) == []
