"""The messages of the package, found in its source: what ``said`` and ``counted`` are given."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator

from tests.support.import_graph import MODULES

HEADED = {"cli.output.coverage_table", "cli.commands.status", "cli.commands.datasets"}
"""Modules whose tables have headings in a language."""

MARKDOWN = "cli.output.markdown_summary"
"""The module whose tables of Markdown have a tuple ``columns``."""

BUILDERS = {"core.text.wording", "catalogue.languages"}
"""Modules that make messages of what they are given."""

OF_RULES = {("runs.record.causes", "whole")}
"""Variables with the meaning of a rule, whose texts are the catalogue's."""


def message_ids() -> dict[str, str]:
    """Return each template with the place where it stands."""
    found: dict[str, str] = {}
    for module in MODULES:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                for template in _given(module.name, module.tree, node):
                    found.setdefault(template, f"{module.file}:{node.lineno}")
        if module.name == MARKDOWN:
            found |= dict.fromkeys(_columns(module.tree), str(module.file))
    return found


def _given(name: str, tree: ast.Module, call: ast.Call) -> Iterator[str]:
    match call:
        case ast.Call(func=ast.Name(id="said"), args=[template]):
            yield from _texts(name, tree, template)
        case ast.Call(func=ast.Name(id="counted" | "one_or_many"), args=[_, noun]):
            yield from (f"{{count:,}} {each}" for each in _texts(name, tree, noun))
        case ast.Call(func=ast.Name(id="TableColumn"), args=[ast.Constant(value=text), *_]):
            if name in HEADED and isinstance(text, str) and text:
                yield text


def _texts(name: str, tree: ast.Module, value: ast.expr) -> Iterator[str]:
    """Yield the texts that an expression may be. Raises AssertionError if none can be found."""
    match value:
        case ast.Constant(value=str() as text):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from _texts(name, tree, one)
            yield from _texts(name, tree, other)
        case ast.Name(id=variable) if (name, variable) in OF_RULES:
            return
        case ast.Name(id=variable) if found := [*_assigned(tree, variable)]:
            yield from found
        case ast.Subscript(value=ast.Name(id=table)):
            yield from getattr(importlib.import_module(f"harvester.{name}"), table).values()
        case ast.Attribute(attr="meaning" | "advice" | "value"):
            # Of a rule or a scope: the catalogue's own, or of a part that names none of ours.
            return
        case _ if name in BUILDERS:
            return
        case _:
            raise AssertionError(f"{name}:{value.lineno}: the template is not found")


def _assigned(tree: ast.Module, variable: str) -> Iterator[str]:
    """Yield what is assigned to a variable, in a function or in the module."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == variable:
                every = (value.body, value.orelse) if isinstance(value, ast.IfExp) else (value,)
                texts = (each.value for each in every if isinstance(each, ast.Constant))
                yield from (text for text in texts if isinstance(text, str))


def _columns(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id="columns")], value=ast.Tuple(elts=elements)):
                yield from (ast.literal_eval(each) for each in elements)
