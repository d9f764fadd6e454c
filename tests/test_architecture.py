"""The structure of the package: what docs/architecture.md promises, checked against the source."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.import_graph import (
    BY_NAME,
    MODULES,
    PACKAGE,
    PURE,
    ROOT,
    code_lines,
    drawing,
    imports,
    levels,
    levels_inside,
    module_arrows,
    own_imports,
    room_arrows,
)

PAGE = ROOT / "docs" / "architecture.md"

TOP_LEVEL = {
    ".ci",
    ".dockerignore",
    ".editorconfig",
    ".github",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Containerfile",
    "LICENSE",
    "README.md",
    "README.zh-CN.md",
    "SECURITY.md",
    "benchmarks",
    "constraints.txt",
    "docs",
    "examples",
    "harvester",
    "hatch_build.py",
    "jobs.yaml",
    "justfile",
    "output",
    "pyproject.toml",
    "requirements.txt",
    "tests",
    "tools",
}

PACKAGE_ROOT = {"__init__.py", "__main__.py", "py.typed", "signals.py", "spark.py", "testing.py"}

# The rooms that each room may import from; a sub-package counts as its room.
DIRECTIONS: dict[str, set[str]] = {
    "core": set(),
    "catalogue": {"core"},
    "manifest": {"core", "catalogue"},
    "planning": {"core"},
    "scheduling": {"core"},
    "tables": {"core"},
    "wechat": {"core", "catalogue"},
    "storage": {"core", "catalogue", "tables", "planning"},
    "engine": {"core", "catalogue", "planning", "scheduling", "wechat", "storage"},
    "sandbox": {"core", "catalogue"},
    "runs": {
        "core",
        "planning",
        "scheduling",
        "wechat",
        "storage",
        "engine",
        "sandbox",
    },
    "verbs": {
        "core",
        "catalogue",
        "manifest",
        "planning",
        "tables",
        "storage",
        "engine",
        "runs",
    },
    "readers": {
        "core",
        "catalogue",
        "storage",
        "verbs",
        "sandbox",
    },
    "cli": {
        "core",
        "catalogue",
        "manifest",
        "verbs",
        "runs",
        "sandbox",
    },
}

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

# The modules that may import a third-party package: a module, or all of a folder.
THIRD_PARTY = {
    "aiohttp": (
        "wechat.transport",
        "wechat.account_calls",
        "wechat.connection_pool",
        "wechat.foreign_errors",
        "sandbox.server",
    ),
    "aiolimiter": ("engine.rate_limiter",),
    "annotated_types": ("core.model",),
    "anyio": (
        "engine",
        "readers.testing",
        "runs",
        "sandbox.server",
        "verbs",
        "wechat.auth",
    ),
    "cyclopts": ("cli",),
    "deltalake": ("verbs.lakehouse.delta",),
    "duckdb": (
        "readers.engines",
        "readers.output",
        "verbs.lakehouse.ducklake",
        "verbs.sql.duckdb_stores",
    ),
    "obstore": ("storage.backends",),
    "orjson": ("core.text.lenient_json", "storage.state", "sandbox.calls"),
    "prometheus_client": ("cli.output.metrics",),
    "polars": ("readers.engines", "readers.output"),
    "pyarrow": ("readers", "verbs", "storage", "tables", "runs.processes.forkserver"),
    "pydantic": (
        "core.config.settings",
        "core.config.field_types",
        "core.config.expect",
        "manifest",
        "storage.state.json_file",
        "verbs.arguments",
    ),
    "pyiceberg": ("verbs.lakehouse.iceberg",),
    "pyspark": ("readers.spark",),
    "pydantic_core": ("manifest", "storage.state.json_file"),
    "rich": ("verbs.progress", "cli"),
    "yaml": ("manifest",),
    "yarl": ("wechat.transport", "wechat.account_calls"),
}

# Imports inside functions, each with its reason: (module, imported name).
LATE_IMPORTS: dict[tuple[str, str], str] = {
    ("runs.access", "harvester.sandbox.FakeWeChat"): "no run against WeChat pays for an emulator",
    ("runs.access", "harvester.sandbox.Rules"): "no run against WeChat pays for an emulator",
    ("runs.access", "harvester.sandbox.server"): "no run against WeChat pays for an emulator",
    ("runs.platform_accounts", "harvester.runs.authorised_accounts"): (
        "no command without a platform pays for aiohttp"
    ),
    ("cli.commands.run", "harvester.cli.commands.plan.plan"): "no run shows a plan but a dry one",
    ("cli.commands.run", "harvester.cli.output.metrics"): "most runs write no metrics",
    ("cli.commands.status", "harvester.cli.output.metrics.of_status"): (
        "most commands write no metrics"
    ),
    ("cli.commands.datasets", "harvester.verbs.project.datasets_of"): (
        "the catalogue alone needs no Arrow"
    ),
    ("cli.options", "harvester.verbs.arguments.selection"): "the help needs no manifest",
    ("__main__", "harvester.cli.main"): "signals are obeyed while the rest is loaded",
    ("storage.layout", "harvester.storage.backends.object_store.ObjectStore"): (
        "no output on a disk pays for obstore"
    ),
    ("readers.arrow_dataset", "harvester.storage.backends.object_files.filesystem"): (
        "no output on a disk pays for obstore"
    ),
    ("verbs.run", "harvester.runs.processes.shared_run"): (
        "no run in one process pays for what supervises several"
    ),
    ("verbs.progress", "rich.columns.Columns"): "no run without a terminal pays for a bar",
    ("readers.engines", "duckdb"): "an extra that not every user has",
    (
        "tables.arrow_functions",
        "pyarrow.compute",
    ): "no command pays for functions that it does not use",
    ("readers.engines", "polars"): "an extra that not every user has",
    ("verbs.sql.duckdb_stores", "duckdb"): "an extra that not every user has",
}

# Modules of core that fewer than three rooms need, each with its reason.
SHARED_BY_TWO = {
    "core.text.lenient_json": (
        "calls and tables read the same answers, and neither may import the other"
    ),
}

# The sandbox must be able to disagree with the client, so it shares nothing else with it.
SANDBOX_MAY_USE = {"catalogue", "core.calendar", "core.dataset"}

# The ratchet: the lines of code that each room may have, without blanks, comments and docstrings,
# so that nobody saves there. A commit that needs fewer lowers the bound of its room to what it has;
# none raises one, but by the price that an issue names for a capability, once, in the commit that
# brings it and says which rooms take it. Texts and SQL are data files, bounded by MAX_TEXT.
MAX_CODE = {
    "core": 2_045,
    "catalogue": 808,
    "manifest": 1_481,
    "planning": 660,
    "scheduling": 1_530,
    "tables": 2_403,
    "wechat": 1_607,
    "storage": 4_515,
    "engine": 897,
    "runs": 4_479,
    "verbs": 4_992,
    "readers": 542,
    "cli": 2_779,
    "sandbox": 817,
    "root": 202,
}
MAX_SLACK = 40
"""Lines by which a bound may exceed its room: after a larger cut the bound falls too."""

MAX_TEXT = {"catalogue": 1_013, "cli": 37, "verbs": 343}
"""Lines that each room may have in data files, without blanks: SQL, texts, and a manifest."""

MAX_ARROWS = 46
MAX_LEVELS_INSIDE = 5
MAX_MODULES = 20
MAX_FUNCTION_LINES = 50
MAX_FILE_LINES = 400
MAX_MEDIAN_FUNCTION = 7
MAX_P95_FUNCTION = 20


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


def _aliases(node: ast.AST) -> list[ast.alias]:
    return node.names if isinstance(node, ast.Import | ast.ImportFrom) else []


def _face(room: str) -> set[str] | None:
    """The ``__all__`` of a room's ``__init__``: its public modules and names, None without one."""
    for node in BY_NAME[room].tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return set(ast.literal_eval(value))
    return None


def test_every_module_stands_in_a_room() -> None:
    """At the root of the package are its entry points alone; programs are in no room."""
    rooms = {module.room for module in MODULES if "." in module.name}
    assert rooms == set(DIRECTIONS)
    files = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert files == PACKAGE_ROOT


def test_imports_keep_their_directions() -> None:
    """A room imports from the rooms that the table of directions allows, and from no other."""
    assert not [
        f"{module.file}:{line} imports {name}"
        for module in MODULES
        if module.room in DIRECTIONS
        for name, _, line in own_imports(module.name)
        if name.partition(".")[0]
        not in {*DIRECTIONS[module.room], module.room, "__init__", "signals"}
    ]


def test_only_the_command_line_knows_signals() -> None:
    """The signal handler is the process's own, and the command line is what runs as a process."""
    users = {importer.partition(".")[0] for importer, to in module_arrows() if to == "signals"}
    assert users == {"__main__", "cli"}


def test_a_room_has_a_charter() -> None:
    """The docstring of a room's ``__init__`` says in a sentence what the room does."""
    assert not [room for room in DIRECTIONS if not ast.get_docstring(BY_NAME[room].tree)]


def test_rooms_are_entered_by_their_faces() -> None:
    """A room imports from another only names of its ``__all__``, if that has any."""
    faces = {room: face for room in DIRECTIONS if (face := _face(room)) is not None}
    around = []
    for module in MODULES:
        for name, attribute, line in own_imports(module.name):
            room, _, inner = name.partition(".")
            if room == module.room or room not in faces or module.name == "__main__":
                continue
            taken = inner.partition(".")[0] if inner else attribute
            if taken not in faces[room]:
                around.append(f"{module.file}:{line} imports {name} {attribute}")
    assert not around


def test_a_face_names_what_is_there() -> None:
    """Each name of a face exists."""
    missing = []
    for room in DIRECTIONS:
        tree = BY_NAME[room].tree
        defined = {each.asname or each.name for node in ast.walk(tree) for each in _aliases(node)}
        defined |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        kinds = ast.FunctionDef | ast.ClassDef
        defined |= {node.name for node in tree.body if isinstance(node, kinds)}
        face = _face(room) or set()
        modules = {name for name in face if f"{room}.{name}" in BY_NAME}
        missing += [f"{room}.{name}" for name in face - defined - modules]
    assert not missing


def _defined(tree: ast.Module) -> set[str]:
    """The names that a module assigns or defines itself."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    names = {node.name for node in tree.body if isinstance(node, kinds)}
    targets = [
        target
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    return names | {target.id for target in targets if isinstance(target, ast.Name)}


def test_no_module_hands_on_names_of_another() -> None:
    """A name is imported from the module that has it; two at the root are promised to users."""
    assert not [
        f"{module.file}: {name}"
        for module in MODULES
        if not module.is_face and module.name not in {"spark", "testing"}
        for node in module.tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for name in set(ast.literal_eval(node.value)) - _defined(module.tree)
    ]


def _hands_on(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The function that gets all arguments of one that does nothing else; empty for any other."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    match body:
        case [ast.Return(value=ast.Call() as call) | ast.Expr(value=ast.Call() as call)]:
            given = [ast.unparse(each) for each in call.args]
            named = {each.arg: ast.unparse(each.value) for each in call.keywords}
            known = function.args
            if given == [each.arg for each in known.args] and named == {
                each.arg: each.arg for each in known.kwonlyargs
            }:
                return ast.unparse(call.func)
    return ""


def test_no_function_hands_on_all_that_it_gets() -> None:
    """A function of the package adds something to the one of the package that it calls."""
    idle = []
    for module in MODULES:
        ours = {attribute or name for name, attribute, _ in own_imports(module.name)}
        ours = {name.rpartition(".")[2] for name in ours} | _defined(module.tree)
        for node in module.tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                called = _hands_on(node).partition(".")[0]
                idle += [f"{module.file}:{node.lineno} {node.name}"] * (called in ours)
    assert not idle


def _twice(names: list[tuple[str, str]]) -> dict[str, list[str]]:
    """The names that stand in more than one place, with those places."""
    places: dict[str, list[str]] = {}
    for name, place in names:
        places.setdefault(name, []).append(place)
    return {name: found for name, found in places.items() if len(found) > 1}


def test_no_module_has_the_name_of_another() -> None:
    """Only a verb has two modules: what it does, and its options. The sandbox stands alone.

    The API has the names that programs are promised.
    """
    verb = re.compile(r"(verbs|cli\.commands)\.\w+")
    found = _twice(
        [
            (module.name.rpartition(".")[2], module.name)
            for module in MODULES
            if not module.is_face
            and module.room not in {"verbs", "readers", "sandbox"}
            and module.name != "testing"
        ]
    )
    assert not {
        name: places for name, places in found.items() if not all(map(verb.fullmatch, places))
    }


def test_no_public_class_has_the_name_of_another() -> None:
    """A class name means one thing in the whole package but for the sandbox, which stands alone.

    The API and its events have the names that programs are promised.
    """
    assert not _twice(
        [
            (node.name, module.name)
            for module in MODULES
            if module.room not in {"verbs", "readers", "sandbox"}
            and module.name != "runs.record.events"
            for node in module.tree.body
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        ]
    )


def test_there_are_few_arrows_and_no_circle() -> None:
    """The rooms form a graph that fits in a head."""
    arrows = room_arrows()
    assert len(arrows) <= MAX_ARROWS
    assert levels(arrows)
    # The package itself names the API for type checkers, and has the version for all.
    assert levels((a, b) for a, b in module_arrows() if a not in {b, "__init__"})


def test_a_folder_is_flat() -> None:
    """Inside of a folder the longest chain of imports is short."""
    found = {folder: levels_inside(folder) for folder in {module.folder for module in MODULES}}
    assert not {
        folder: inside
        for folder, inside in found.items()
        if max(inside.values(), default=1) > MAX_LEVELS_INSIDE
    }


def _rooms_that_use(module: str) -> set[str]:
    """The rooms that import a module of core, directly or through core."""
    users = {module}
    while more := {a for a, b in module_arrows() if b in users and a.startswith("core.")} - users:
        users |= more
    return {a.partition(".")[0] for a, b in module_arrows() if b in users} - {"core"}


def test_core_holds_what_three_rooms_share() -> None:
    """Nothing stands in core that fewer than three rooms import, directly or through core."""
    shared = [m for m in MODULES if m.room == "core" and not m.is_face]
    assert not {
        module.file: rooms
        for module in shared
        if len(rooms := _rooms_that_use(module.name)) < 3 and module.name not in SHARED_BY_TWO
    }


def test_the_sandbox_stands_alone() -> None:
    """The emulator shares the catalogue and the calendar with the client, so it can disagree."""
    assert not [
        f"{module.file}:{line} imports {name}"
        for module in MODULES
        if module.room == "sandbox"
        for name, _, line in own_imports(module.name)
        if name not in SANDBOX_MAY_USE and name.partition(".")[0] not in {"catalogue", "sandbox"}
    ]


def test_no_late_imports() -> None:
    """Nothing is imported inside a function, unless it is listed here with a reason."""
    found = {
        (module.name, name) for module in MODULES for name, _, late in imports(module.name) if late
    }
    assert found == set(LATE_IMPORTS)


def test_third_party_packages_stay_in_their_modules() -> None:
    """Each third-party package is used by the modules that the table names, and by no other."""
    strangers = []
    for module in MODULES:
        for name, line, _ in imports(module.name):
            package = name.partition(".")[0]
            if package in sys.stdlib_module_names or package == "harvester":
                continue
            places = THIRD_PARTY.get(package, ())
            if not any(f"{module.name}.".startswith(f"{place}.") for place in places):
                strangers.append(f"{module.file}:{line} imports {package}")
    assert not strangers


def test_every_place_of_a_third_party_package_uses_it() -> None:
    """The table of third-party packages names no module that does without."""
    users = {
        (name.partition(".")[0], module.name)
        for module in MODULES
        for name, _, _ in imports(module.name)
    }
    assert not [
        f"{place} does not import {package}"
        for package, places in THIRD_PARTY.items()
        for place in places
        if not any(it == package and f"{user}.".startswith(f"{place}.") for it, user in users)
    ]


def test_pure_rooms_have_no_effects() -> None:
    """Pure rooms import nothing that acts, waits or reads a clock, and open no file."""
    pure = [module for module in MODULES if module.room in PURE]
    effects = [
        f"{module.file}:{line} imports {name}"
        for module in pure
        for name, line, _ in imports(module.name)
        if name.partition(".")[0] in EFFECTS
    ]
    opens = [
        f"{module.file}:{node.lineno} opens a file"
        for module in pure
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"open", "io.open"}
    ]
    assert not effects + opens


def test_the_clock_is_read_at_the_edges() -> None:
    """Below the runs the time of day is a parameter, so a test can choose it."""
    assert not [
        f"{module.file}:{node.lineno} reads {ast.unparse(node)}"
        for module in MODULES
        if module.room not in {"runs", "verbs", "readers", "cli", "sandbox"}
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        and any(f".{ast.unparse(node)}".endswith(f".{clock}") for clock in CLOCKS)
    ]


def test_functions_are_short() -> None:
    """A function fits on a screen: at most 50 lines of signature and body."""
    assert not [
        f"{module.file}:{line} {name} has {length} lines"
        for module in MODULES
        for name, line, length in _functions(module.tree)
        if length > MAX_FUNCTION_LINES
    ]


def test_most_functions_are_very_short() -> None:
    """Half of the functions are a thought, and nearly all a paragraph."""
    lengths = [length for module in MODULES for _, _, length in _functions(module.tree)]
    assert statistics.median(lengths) <= MAX_MEDIAN_FUNCTION
    assert statistics.quantiles(lengths, n=20)[-1] <= MAX_P95_FUNCTION


def test_files_are_short() -> None:
    """A file has at most 400 lines."""
    lengths = {module.file: module.text.count("\n") for module in MODULES}
    assert not {file: lines for file, lines in lengths.items() if lines > MAX_FILE_LINES}


def test_the_rooms_keep_their_budgets() -> None:
    """The package stays a thing that one person can read: bounds fall and do not rise."""
    rooms: Counter[str] = Counter()
    for module in MODULES:
        rooms[module.room if module.room in DIRECTIONS else "root"] += code_lines(module)
    assert rooms.keys() == MAX_CODE.keys()
    assert not {room: lines for room, lines in rooms.items() if lines > MAX_CODE[room]}
    assert not {room: lines for room, lines in rooms.items() if lines < MAX_CODE[room] - MAX_SLACK}


def test_the_texts_keep_their_budgets() -> None:
    """Data files are bounded as well, so that no code is saved by moving it there."""
    rooms: Counter[str] = Counter()
    for path in PACKAGE.rglob("*"):
        # The page is bounded where it is tested.
        is_page = path.parent == PACKAGE / "verbs" / "page"
        if path.is_file() and path.suffix not in {".py", ".pyc", ".typed"} and not is_page:
            assert path.suffix in {".sql", ".yaml", ".json"}, path
            lines = filter(str.strip, path.read_text("utf-8").splitlines())
            rooms[path.relative_to(PACKAGE).parts[0]] += len(list(lines))
    assert rooms == MAX_TEXT


def test_no_folder_is_a_heap() -> None:
    """A folder can be taken in at a glance."""
    folders = Counter(module.folder for module in MODULES if module.path.name != "__init__.py")
    assert max(folders.values()) <= MAX_MODULES


def test_the_page_draws_the_rooms_as_they_are() -> None:
    """The drawing in docs/architecture.md is what ``tests.support.import_graph`` prints."""
    [drawn] = re.findall(
        r"^```mermaid\n(.*?)\n```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert drawn == drawing()


def test_the_page_lists_every_room_with_its_directions() -> None:
    """The table of rooms in docs/architecture.md says the same as the table of directions."""
    rows = re.findall(r"^\| `(\w+)/` \| .* \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    told = {room: set(re.findall(r"\w+", cell)) for room, cell in rows}
    assert told == DIRECTIONS


def test_the_page_names_only_files_that_exist() -> None:
    """Every file that the page's story leads to is there."""
    named = set(re.findall(r"`([a-z_/]+\.py)`", PAGE.read_text("utf-8")))
    assert named
    assert [
        file
        for file in sorted(named)
        if not any((place / file).is_file() for place in (PACKAGE, ROOT))
    ] == []


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
    assert names == TOP_LEVEL
