"""The tests that run a line, those first that run few others: measured, and kept in ``build/``."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from functools import cached_property
from pathlib import Path

from coverage.numbits import register_sqlite_functions

from tests.sabotage.mutations import Mutation

MAX_TESTS = 160
"""Tests that a mutation is tried with at most: what these do not notice, no test does."""

_WHICH = ("-m", "not slow")

_COVERING = """
    select distinct context from line_bits
    join context on context.id = context_id join file on file.id = file_id
    where path = ? and (? is null or num_in_numbits(?, numbits))
"""
_WIDTHS = """
    select context, sum(length(numbits)) from line_bits
    join context on context.id = context_id group by context
"""


class Nearest:
    """Finds the tests of a line in the data of ``coverage`` about the tree below ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._data = root / "build" / "nearest" / ".coverage"

    def measure(self) -> None:
        """Run all but the slow tests, each with a context, unless this was done before."""
        newest = max(
            path.stat().st_mtime
            for room in ("harvester", "tests")
            for path in (self._root / room).rglob("*.py")
        )
        if not self._data.exists() or self._data.stat().st_mtime < newest:
            self._data.parent.mkdir(parents=True, exist_ok=True)
            for old in self._data.parent.glob(".coverage*"):
                old.unlink()
            plugin = ("-p", "tests.sabotage.contexts")
            self._run("pytest", "-q", "-n", "logical", "--dist", "loadfile", *plugin, *_WHICH)
            self._run("coverage", "combine", "-q", str(self._data.parent))

    def _run(self, *module: str) -> None:
        variables = {
            "COVERAGE_PROCESS_START": str(Path(__file__).with_name("contexts.toml")),
            "COVERAGE_FILE": str(self._data),
        }
        command = [sys.executable, "-m", *module]
        if subprocess.run(
            command, cwd=self._root, env=os.environ | variables, check=False
        ).returncode:
            raise SystemExit(f"{module[0]} failed without any mutation, as told above")

    def tests_of(self, mutation: Mutation) -> list[str]:
        """Return the nearest tests of a mutation. The tests in ``test_MODULE.py`` come first.

        Of the others one of each function comes before the second of any. A line that is run when
        its module is imported is tried by the tests of what it names, or else of its module. The
        tests of the room try what no test runs.
        """
        found = self._covering(mutation.file, mutation.line)
        if "" in found:
            found |= self._using(mutation) or self._covering(mutation.file, None)
        functions: Counter[str] = Counter()
        turns: list[tuple[int, str]] = []
        own = f"/test_{Path(mutation.file).stem}.py"
        for test in sorted(found - {""}, key=lambda test: (self._widths[test], test)):
            name = test.partition("[")[0]
            functions[name] += 1
            turns.append((0 if name.partition("::")[0].endswith(own) else functions[name], test))
        nearest = [test for _, test in sorted(turns, key=lambda turn: turn[0])][:MAX_TESTS]
        room = Path("tests", *Path(mutation.file).parts[1:2])
        return nearest or ([str(room)] if (self._root / room).is_dir() else [])

    def _using(self, mutation: Mutation) -> set[str]:
        """Return the tests of the lines in functions that use what a line defines."""
        lines = (self._root / mutation.file).read_text("utf-8").splitlines()
        defined = re.match(r"\s*(\w+)(: .+)? = ", lines[mutation.line - 1])
        if defined is None:
            return set()
        uses = re.compile(rf"\b{defined[1]}\b")
        found = set[str]()
        for path in (self._root / "harvester").rglob("*.py"):
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                if uses.search(line):
                    covering = self._covering(str(path.relative_to(self._root)), number)
                    found |= covering if "" not in covering else set()
        return found

    def _covering(self, file: str, line: int | None) -> set[str]:
        path = str(self._root / file)
        with closing(sqlite3.connect(self._data)) as data:
            register_sqlite_functions(data)
            return {_test(name) for (name,) in data.execute(_COVERING, (path, line, line))}

    @cached_property
    def _widths(self) -> Counter[str]:
        """The size of what each test runs."""
        widths: Counter[str] = Counter()
        with closing(sqlite3.connect(self._data)) as data:
            for name, width in data.execute(_WIDTHS):
                widths[_test(name)] += width
        return widths


def _test(context: str) -> str:
    """Return the node id of a context; a process of a test has it from pytest, with a phase."""
    node, _, phase = context.rpartition(" (")
    return node if phase in {"setup)", "call)", "teardown)"} else context
