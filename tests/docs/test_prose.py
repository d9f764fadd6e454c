"""The words of docstrings, messages and pages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.support.doc_pages import PAGES, ROOT
from tests.support.import_graph import MODULES, Module

QUESTIONS = {"What", "Who", "Whose", "Where", "When", "How", "Whether", "Which", "Why"}

# A function does something, so its summary begins with a verb in the imperative.
NO_VERBS = {
    *QUESTIONS,
    *("The", "A", "An", "All", "Any", "Both", "Each", "Every", "Everything", "Some", "No", "None"),
    *("It", "Its", "Nothing", "One", "Only", "So", "As", "At", "From", "In", "Of", "On", "That"),
    *("These", "This", "Those", "To", "True", "With", "Without", "Is", "Has", "Not", "If", "Now"),
}

# A sentence about such a person hides which component does it.
PERSONS = re.compile(r"(?i)\b(nobody|somebody|everybody|anybody|whoever|whomever|someone|no one)\b")

# What the rule about members looks at: a word that may be a name. A value has its quotes, a path
# its dots, a command its spaces: ``"refused"``, ``api.timeout``, ``kill -9``.
NAMED = re.compile(r"``(\w+)``")


def _documented(module: Module) -> Iterator[tuple[ast.AST, str, str, int]]:
    """Yield every documented node with its name, its docstring and its line."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield node, getattr(node, "name", module.name), text, getattr(node, "lineno", 1)


def _is_value(node: ast.AST) -> bool:
    """Return whether a node is named as a value: a module, a class, a property, a fixture."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return True
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    return any("property" in decorator for decorator in decorators)


def test_summaries_say_what_a_thing_does_or_is() -> None:
    """A function's summary begins with a verb, any other with a noun; none asks a question."""
    astray = [
        f"{module.file}:{line} {name}: {text.splitlines()[0]}"
        for module in MODULES
        for node, name, text, line in _documented(module)
        if re.split(r"\W", text, maxsplit=1)[0] in (QUESTIONS if _is_value(node) else NO_VERBS)
    ]
    assert not astray, "\n".join(astray)


def test_summaries_of_tests_and_benchmarks_ask_no_question() -> None:
    """A summary is a statement about the product or a part of the laboratory."""
    opening = re.compile(rf'"""(?:{"|".join(sorted(QUESTIONS))})\b.*')
    astray = [
        f"{file.relative_to(ROOT)}: {match[0]}"
        for folder in ("tests", "benchmarks", "tools")
        for file in sorted((ROOT / folder).rglob("*.py"))
        for match in opening.finditer(file.read_text("utf-8"))
    ]
    assert not astray, "\n".join(astray)


def test_sentences_are_about_components() -> None:
    """No docstring and no message has an indefinite person for a subject."""
    found = {
        f"{module.file}:{node.lineno} {match[0]}"
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for match in PERSONS.finditer(node.value)
    }
    assert not found, "\n".join(sorted(found))


def test_pages_are_about_components() -> None:
    """No page has an indefinite person for a subject."""
    found = [
        f"{page.name}:{number} {match[0]}"
        for page in PAGES
        for number, line in enumerate(page.read_text("utf-8").splitlines(), 1)
        for match in PERSONS.finditer(line)
    ]
    assert not found, "\n".join(found)


def _own_members(node: ast.ClassDef) -> set[str]:
    """Return the attributes of a class, without those of its bases, and its parameters."""
    found: set[str] = set()
    for statement in node.body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(statement.name)
            case ast.AnnAssign(target=ast.Name(name)):
                found.add(name)
            case ast.Assign():
                found |= {each.id for each in statement.targets if isinstance(each, ast.Name)}
    for inner in ast.walk(node):
        match inner:
            case ast.Attribute(value=ast.Name("self"), attr=name, ctx=ast.Store()):
                found.add(name)
            case ast.FunctionDef(name="__init__"):
                found |= {each.arg for each in ast.walk(inner.args) if isinstance(each, ast.arg)}
    return found


def _members(node: ast.ClassDef, classes: dict[str, list[ast.ClassDef]]) -> set[str]:
    """Return the attributes and parameters of a class and of its bases."""
    names = (ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases)
    bases = [base for name in names for base in classes.get(name, ()) if base is not node]
    return _own_members(node).union(*(_members(base, classes) for base in bases))


def test_classes_name_members_that_they_have() -> None:
    """A word in double backquotes in a class's docstring is an attribute or a parameter of it."""
    found = [
        (module, node)
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    ]
    classes: dict[str, list[ast.ClassDef]] = {}
    for _, node in found:
        classes.setdefault(node.name, []).append(node)
    astray = [
        f"{module.file}:{node.lineno} {node.name} has no {name}"
        for module, node in found
        for name in sorted(set(NAMED.findall(ast.get_docstring(node) or "")))
        if name not in _members(node, classes)
    ]
    assert not astray, "\n".join(astray)


def test_rates_are_said_with_per() -> None:
    """One row per day, never "a row" and "a day" side by side, which many readers read twice."""
    rate = re.compile(
        r"(?i)\b(?:a|one) (?:row|file|key|line|task|entry|window|folder|call) an? "
        r"(?:hour|day|week|month|account|dataset|shard|bucket|article)\b"
    )
    files = [*PAGES, *(module.path for module in MODULES)]
    astray = [
        f"{file.relative_to(ROOT)}: {match[0]}"
        for file in files
        for match in rate.finditer(file.read_text("utf-8"))
    ]
    assert not astray, "\n".join(astray)
