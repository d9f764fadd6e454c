"""The shape of the house: what docs/architecture.md promises, checked against the tree."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "harvester"
PAGE = ROOT / "docs" / "architecture.md"

TOP_LEVEL = {
    ".ci",
    ".github",
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "benchmarks",
    "constraints.txt",
    "docs",
    "examples",
    "harvester",
    "jobs.yaml",
    "output",
    "pyproject.toml",
    "tests",
}

# Which package may be used where: in a module, or in all of a folder.
THIRD_PARTY = {
    "aiohttp": ("exchange", "transport", "sandbox.server"),
    "aiolimiter": ("pace",),
    "anyio": (
        "authorised",
        "check",
        "pipeline",
        "progress",
        "publisher",
        "recorder",
        "run",
        "sandbox.server",
        "sources",
        "tokens",
        "treasurer",
    ),
    "cyclopts": ("cli",),
    "obstore": ("store.bucket", "store.objects"),
    "orjson": ("wire", "store.learned", "store.quota", "store.records", "sandbox.calls"),
    "pyarrow": (
        "assembly",
        "audit",
        "bulk",
        "columns",
        "compact",
        "coverage",
        "merge",
        "oblivion",
        "publish",
        "store",
        "upgrade",
    ),
    "pydantic": ("core.config", "core.field_types", "manifest"),
    "pydantic_core": ("manifest",),
    "rich": ("cli", "progress"),
    "yaml": ("manifest",),
    "yarl": ("exchange", "transport"),
}

# Layers 0 and 1 decide; whatever acts, waits or looks at a clock is below their dignity.
EFFECTS = {
    "anyio",
    "asyncio",
    "os",
    "shutil",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
}

CLOCKS = {
    "date.today",
    "datetime.now",
    "datetime.today",
    "datetime.utcnow",
    "time.time",
    "time.time_ns",
}

# Imports inside functions, each with its reason: (module, imported name).
LATE_IMPORTS: dict[tuple[str, str], str] = {
    ("cli.run", "harvester.cli.emulator"): "no run against WeChat pays for an emulator",
    ("__main__", "harvester.cli.main"): "signals are obeyed while the rest is loaded",
    ("store.layout", "harvester.store.objects.Objects"): "no output on a disk pays for obstore",
}

SANDBOX_MAY_USE = {"catalogue", "days", "sandbox"}

MAX_FUNCTION_LINES = 50
MAX_FILE_LINES = 400


class Module(NamedTuple):
    """One file of the package. ``name`` is dotted and relative: ``store.rawlog``."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def file(self) -> str:
        """The path inside the package, ``store/rawlog.py``."""
        return self.path.relative_to(PACKAGE).as_posix()

    @property
    def room(self) -> str:
        """The file or folder that the layers table names."""
        return self.name.partition(".")[0]


class Import(NamedTuple):
    """One name imported at one line; ``late`` is inside a function."""

    name: str
    line: int
    late: bool


def _load(path: Path) -> Module:
    relative = path.relative_to(PACKAGE).with_suffix("")
    parts = [part for part in relative.parts if part != "__init__"]
    text = path.read_text("utf-8")
    return Module(".".join(parts) or "__init__", path, text, ast.parse(text, str(path)))


MODULES = [_load(path) for path in sorted(PACKAGE.rglob("*.py"))]
NAMES = {module.name for module in MODULES}

each_module = pytest.mark.parametrize("module", MODULES, ids=[module.name for module in MODULES])


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
def _imports(path: Path) -> tuple[Import, ...]:
    module = _load(path)
    late = {
        id(inner)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(node)
    }
    return tuple(
        Import(name, getattr(node, "lineno", 0), id(node) in late)
        for node in ast.walk(module.tree)
        for name in _names(node)
    )


def _own_imports(module: Module) -> Iterator[tuple[str, int]]:
    """The modules of harvester that a module imports, ``from x import y`` resolved to x or x.y."""
    for name, line, _ in _imports(module.path):
        if name != "harvester" and not name.startswith("harvester."):
            continue
        wanted = name.removeprefix("harvester").removeprefix(".")
        parent = wanted.rpartition(".")[0]
        yield (wanted if wanted in NAMES else parent if parent in NAMES else "__init__"), line


def _layers() -> dict[str, int]:
    """Each room of the house and its layer, from the table in the architecture page."""
    rows = re.findall(r"^\| (\d) [a-z]+ \|.*\| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return {room: int(number) for number, cell in rows for room in re.findall(r"`(\w+)/?`", cell)}


def _functions(tree: ast.AST) -> Iterator[tuple[str, int, int]]:
    """Every function with its line and length: signature and body without the docstring."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if ast.get_docstring(node) is not None:
            text = node.body[0]
            length -= (text.end_lineno or text.lineno) - text.lineno + 1
        yield node.name, node.lineno, length


@each_module
def test_every_module_has_its_layer(module: Module) -> None:
    """Every module stands in a layer of the table in docs/architecture.md."""
    assert module.room in _layers(), f"harvester/{module.file} has no place in {PAGE.name}"


@each_module
def test_imports_only_downwards(module: Module) -> None:
    """A module imports from its own layer and the ones below, never from above."""
    layers = _layers()
    upwards = [
        f"{module.file}:{line} imports {name}"
        for name, line in _own_imports(module)
        if layers.get(name.partition(".")[0], 0) > layers.get(module.room, 0)
    ]
    assert not upwards


@pytest.mark.parametrize(
    "module", [m for m in MODULES if m.room == "sandbox"], ids=lambda m: m.name
)
def test_the_sandbox_stands_alone(module: Module) -> None:
    """The emulator shares the catalogue and the calendar with the client, so it can disagree."""
    borrowed = [
        f"{module.file}:{line} imports {name}"
        for name, line in _own_imports(module)
        if name.partition(".")[0] not in SANDBOX_MAY_USE
    ]
    assert not borrowed


def test_no_import_cycles() -> None:
    """No module imports itself by any way round."""
    graph = {module.name: {name for name, _ in _own_imports(module)} for module in MODULES}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_late_imports() -> None:
    """Nothing is imported inside a function, unless it is listed here with a reason."""
    found = {
        (module.name, name) for module in MODULES for name, _, late in _imports(module.path) if late
    }
    assert found == set(LATE_IMPORTS)


@each_module
def test_packages_stay_in_their_rooms(module: Module) -> None:
    """Each package of others is used by the modules that it was let into, and by no other."""
    strangers = []
    for name, line, _ in _imports(module.path):
        package = name.partition(".")[0]
        if package in sys.stdlib_module_names or package == "harvester":
            continue
        rooms = THIRD_PARTY.get(package, ())
        if not any(f"{module.name}.".startswith(f"{room}.") for room in rooms):
            strangers.append(f"{module.file}:{line} imports {package}")
    assert not strangers


@pytest.mark.parametrize("package", THIRD_PARTY)
def test_packages_are_used(package: str) -> None:
    """No package has a room here that it never enters."""
    used = {name.partition(".")[0] for m in MODULES for name, _, _ in _imports(m.path)}
    assert package in used


@each_module
def test_decisions_have_no_effects(module: Module) -> None:
    """Layers 0 and 1 are arithmetic; only the manifest reads files, its own."""
    if _layers().get(module.room, 0) > 1 or module.room == "manifest":
        return
    effects = [
        f"{module.file}:{line} imports {name}"
        for name, line, _ in _imports(module.path)
        if name.partition(".")[0] in EFFECTS
    ]
    opens = [
        f"{module.file}:{node.lineno} opens a file"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"open", "io.open"}
    ]
    assert not effects + opens


@each_module
def test_the_clock_is_read_at_the_edges(module: Module) -> None:
    """Up to layer 3 the time of day is a parameter, so a test can choose it."""
    if _layers().get(module.room, 0) > 3:
        return
    reads = [
        f"{module.file}:{node.lineno} reads {ast.unparse(node)}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        and any(f".{ast.unparse(node)}".endswith(f".{clock}") for clock in CLOCKS)
    ]
    assert not reads


@each_module
def test_functions_are_short(module: Module) -> None:
    """A function fits on a screen: at most 50 lines of signature and body."""
    long = [
        f"{module.file}:{line} {name} has {length} lines"
        for name, line, length in _functions(module.tree)
        if length > MAX_FUNCTION_LINES
    ]
    assert not long


@each_module
def test_files_are_short(module: Module) -> None:
    """A file has at most 400 lines; the catalogue is data and may have more."""
    lines = module.text.count("\n")
    assert lines <= MAX_FILE_LINES or module.room == "catalogue"


def test_the_page_tells_of_every_file() -> None:
    """The architecture page says what each file does, and names no file that is gone."""
    told = set(re.findall(r"^\| `([a-z_/]+\.py)` \|", PAGE.read_text("utf-8"), re.MULTILINE))
    assert told == {module.file for module in MODULES}


def test_the_page_names_only_files_that_exist() -> None:
    """Whatever file the page's story leads to is there."""
    named = set(re.findall(r"`([a-z_/]+\.py)`", PAGE.read_text("utf-8")))
    places = (PACKAGE, ROOT)
    assert [f for f in sorted(named) if not any((place / f).is_file() for place in places)] == []


def test_the_top_level_is_tidy() -> None:
    """A first look at the repository shows the known names and nothing else."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("no git checkout")
    names = {line.partition("/")[0] for line in listed.stdout.splitlines()}
    assert names - TOP_LEVEL == set()
