"""The import graph of the package, read from its source.

``python -m tests.support.import_graph`` prints the drawing of docs/architecture.md, and on stderr
the figures that the bounds of `tests/test_architecture.py` are about.
"""

from __future__ import annotations

import ast
import functools
import io
import sys
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "harvester"

PURE = {"core", "catalogue", "planning", "scheduling", "tables"}
"""Rooms that decide: a clock, a loop, a socket or a file is passed in, or stays outside."""

Arrow: TypeAlias = tuple[str, str]
"""The importing room or module, and the imported one."""


class Import(NamedTuple):
    """One imported name at one line; ``late`` if it stands in a function."""

    name: str
    line: int
    late: bool


class Module(NamedTuple):
    """One file of the package. ``name`` is dotted and relative: ``storage.raw_log``."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def file(self) -> str:
        """The path inside the package, ``storage/raw_log.py``."""
        return self.path.relative_to(PACKAGE).as_posix()

    @property
    def folder(self) -> str:
        """The folder inside the package; ``.`` at its root."""
        return self.path.parent.relative_to(PACKAGE).as_posix()

    @property
    def is_face(self) -> bool:
        """True if the file is the ``__init__`` of its folder."""
        return self.path.name == "__init__.py"

    @property
    def room(self) -> str:
        """The package below ``harvester``; for a module at the root, its own name."""
        return self.name.partition(".")[0]


def _load(path: Path) -> Module:
    relative = path.relative_to(PACKAGE).with_suffix("")
    parts = [part for part in relative.parts if part != "__init__"]
    text = path.read_text("utf-8")
    return Module(".".join(parts) or "__init__", path, text, ast.parse(text, str(path)))


def code_lines(module: Module) -> int:
    """Count the lines of code of a file: those without blanks, comments and docstrings."""
    texts = {
        line
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    tokens = tokenize.generate_tokens(io.StringIO(module.text).readline)
    code = {
        line
        for token in tokens
        if token.type not in _NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(code - texts)


_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}

MODULES = [_load(path) for path in sorted(PACKAGE.rglob("*.py"))]
BY_NAME = {module.name: module for module in MODULES}


def _names(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(source), names=names):
            return [f"{source}.{alias.name}" for alias in names]
        case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="__import__")):
            return [ast.unparse(node)]
    return []


@functools.cache
def imports(name: str) -> tuple[Import, ...]:
    """All that a module imports, ``from x import y`` as ``x.y``."""
    tree = BY_NAME[name].tree
    late = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(node)
    }
    return tuple(
        Import(imported, getattr(node, "lineno", 0), id(node) in late)
        for node in ast.walk(tree)
        for imported in _names(node)
    )


def own_imports(name: str) -> Iterator[tuple[str, str, int]]:
    """The modules of the package that a module imports: module, name taken from it, line."""
    for imported, line, _ in imports(name):
        if imported == "harvester" or imported.startswith("harvester."):
            wanted = imported.removeprefix("harvester").removeprefix(".")
            parent, _, attribute = wanted.rpartition(".")
            if wanted in BY_NAME:
                yield wanted, "", line
            else:
                yield (parent if parent in BY_NAME else "__init__"), attribute, line


def module_arrows() -> set[Arrow]:
    """Every import of one module of the package by another."""
    return {(module.name, to) for module in MODULES for to, _, _ in own_imports(module.name)}


def room_arrows() -> set[Arrow]:
    """Every pair of rooms of which one imports from the other."""
    rooms = {module.room for module in MODULES if "." in module.name}
    pairs = {(BY_NAME[a].room, BY_NAME[b].room) for a, b in module_arrows()}
    return {(a, b) for a, b in pairs if a != b and a in rooms and b in rooms}


def levels(arrows: Iterable[Arrow]) -> dict[str, int]:
    """Each node's level: 1 without imports, else one more than the highest it imports."""
    below: dict[str, set[str]] = {}
    for importer, imported in arrows:
        below.setdefault(importer, set()).add(imported)
        below.setdefault(imported, set())

    @functools.cache
    def level(node: str) -> int:
        return 1 + max(map(level, below[node]), default=0)

    return {node: level(node) for node in below}


def levels_inside(folder: str) -> dict[str, int]:
    """The level of each module of a folder by the imports inside of it, its face left out."""
    names = {module.name for module in MODULES if module.folder == folder and not module.is_face}
    return levels({(a, b) for a, b in module_arrows() if a != b and {a, b} <= names})


def essential(arrows: set[Arrow]) -> set[Arrow]:
    """The arrows that do not follow from others: the transitive reduction."""
    reach = _reachable(arrows)
    return {
        (a, b)
        for a, b in arrows
        if not any((a, middle) in arrows and b in reach[middle] for middle in reach if middle != b)
    }


def _reachable(arrows: set[Arrow]) -> Mapping[str, set[str]]:
    below = {node: {b for a, b in arrows if a == node} for arrow in arrows for node in arrow}
    for node in sorted(below, key=levels(arrows).__getitem__):
        below[node] |= {further for direct in below[node] for further in below[direct]}
    return below


def drawing() -> str:
    """The rooms as a Mermaid graph: each level a row, without arrows that follow from others."""
    arrows = room_arrows()
    lines = ["graph TD"]
    by_level = levels(arrows)
    lines += [
        f"    {a} --> {b}"
        for a, b in sorted(essential(arrows), key=lambda arrow: (-by_level[arrow[0]], arrow))
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the drawing, and the figures on stderr."""
    sys.stdout.write(f"{drawing()}\n")
    arrows = room_arrows()
    rooms = {room for arrow in arrows for room in arrow}
    # The package itself names the API for type checkers, so it is left out of the levels.
    inside = {(a, b) for a, b in module_arrows() if a not in {b, "__init__"}}
    figures = {
        "modules": len(MODULES),
        "imports between modules": len(module_arrows()),
        "levels of modules": max(levels(inside).values()),
        "rooms": len(rooms),
        "arrows between rooms": len(arrows),
        "levels of rooms": max(levels(arrows).values()),
        "levels inside a folder": {
            folder: max(levels_inside(folder).values(), default=1)
            for folder in sorted({module.folder for module in MODULES})
        },
        "lines": sum(module.text.count("\n") for module in MODULES),
    }
    for name, value in figures.items():
        sys.stderr.write(f"{name}: {value}\n")


if __name__ == "__main__":
    main()
