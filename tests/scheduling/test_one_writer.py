"""Each field of a record of the scheduler is assigned in one module, so its owner is known."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import fields

import pytest

from harvester.scheduling.account_queue import AccountQueue, Attempt, Backlog
from harvester.scheduling.quota_state import AllocatedCalls
from harvester.scheduling.rate_state import RateState
from harvester.scheduling.refusal_state import RefusalState
from tests.support.import_graph import BY_NAME, MODULES

OWNERS = {
    Backlog: "scheduling.account_queue",
    AccountQueue: "scheduling.account_queue",
    RateState: "scheduling.rate_state",
    AllocatedCalls: "scheduling.quota_state",
    RefusalState: "scheduling.refusal_state",
}

Function = (ast.FunctionDef, ast.AsyncFunctionDef)


def _assigned(node: ast.AST, known: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each assigned attribute with the class it belongs to, empty if that is not known.

    The classes of ``self`` and of annotated parameters are known.
    """
    if isinstance(node, ast.ClassDef):
        known = {**known, "self": node.name}
    elif isinstance(node, Function):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        known = known | {a.arg: ast.unparse(a.annotation) for a in arguments if a.annotation}
    elif isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
        yield node.attr, known.get(ast.unparse(node.value), "")
    for child in ast.iter_child_nodes(node):
        yield from _assigned(child, known)


def _writers(record: type) -> dict[str, set[str]]:
    """Return the modules that may assign each field of a record."""
    names = {field.name for field in fields(record)}
    found: defaultdict[str, set[str]] = defaultdict(set)
    for module in MODULES:
        if module.room in {"scheduling", "engine"} or "AccountQueue" in module.text:
            for name, owner in _assigned(module.tree, {}):
                if name in names and owner in {"", record.__name__}:
                    found[name].add(module.name)
    return found


@pytest.mark.parametrize("record", OWNERS, ids=lambda record: record.__name__)
def test_a_record_is_written_by_its_own_module(record: type) -> None:
    """No other module assigns a field of it; others call its methods."""
    assert OWNERS[record] in BY_NAME
    astray = {name: found - {OWNERS[record]} for name, found in _writers(record).items()}
    assert not {name: modules for name, modules in astray.items() if modules}


def test_each_field_of_an_attempt_has_one_writer() -> None:
    """An attempt passes from the scheduler to a worker and back; no field is written by both."""
    assert {name: len(modules) for name, modules in _writers(Attempt).items()} == dict.fromkeys(
        ("tries", "repeats", "split_span", "day_number", "refused_at", "retry_reason"), 1
    )


def test_a_foreign_assignment_is_found() -> None:
    """Whatever the form of the assignment; a field of the same name of another class is not one."""
    tree = ast.parse(
        "def f(queue: AccountQueue, other: Summary):\n"
        "    queue.retries, x = [], 1\n"
        "    queue.rate.in_flight += 1\n"
        "    other.retries = 2\n"
    )
    assert list(_assigned(tree, {})) == [
        ("retries", "AccountQueue"),
        ("in_flight", ""),
        ("retries", "Summary"),
    ]
