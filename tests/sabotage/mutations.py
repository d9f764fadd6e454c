"""Mutations: one-line faults that operators make in the syntax of the package, drawn by a seed."""

from __future__ import annotations

import ast
import random
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

TURNED: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
}
"""Comparisons as they stand in the text, and what they are turned into."""

SWAPPED = {"max": "min", "min": "max"}


class Mutation(NamedTuple):
    """A fault: bytes ``start`` to ``end`` of ``file`` become ``new``, on ``line`` and after it."""

    file: str
    line: int
    start: int
    end: int
    new: str
    what: str


class _Finder(ast.NodeVisitor):
    """Collects the mutations of a module; annotations, f-strings and type checking have none."""

    def __init__(self, file: str, source: bytes) -> None:
        self.file, self.source, self.found = file, source, list[Mutation]()
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def offset(self, line: int, column: int) -> int:
        return self.starts[line - 1] + column

    def end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.offset(node.end_lineno, node.end_col_offset)

    def put(self, node: ast.expr | ast.stmt, new: str, what: str) -> None:
        start = self.offset(node.lineno, node.col_offset)
        self.found.append(Mutation(self.file, node.lineno, start, self.end(node), new, what))

    def condition(self, test: ast.expr, *values: str) -> None:
        for value in values:
            self.put(test, value, f"condition {value.lower()}")

    def visit_Compare(self, node: ast.Compare) -> None:
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            old, new = TURNED[type(operator)]
            start = self.end(left)
            gap = self.source[start : self.offset(right.lineno, right.col_offset)].decode()
            at = start + gap.index(old)
            turned = Mutation(
                self.file, node.left.lineno, at, at + len(old), new, "comparison turned"
            )
            self.found.append(turned)
            left = right
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in SWAPPED:
            self.put(node.func, SWAPPED[node.func.id], "max and min swapped")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if type(node.value) is int:
            self.put(node, str(node.value + 1), "constant + 1")
            self.put(node, str(node.value - 1), "constant - 1")

    def visit_Expr(self, node: ast.Expr) -> None:
        value = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(value, ast.Call):
            self.put(node, "pass", "call left out")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.put(node, "pass", "raise left out")
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" not in (text := ast.unparse(node.test)) and "__main__" not in text:
            self.condition(node.test, "True", "False")
            self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self.condition(node.test, "False")
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.condition(node.test, "True", "False")
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self.condition(test, "True", "False")
        self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        """Leave annotations alone."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Leave f-strings alone: Python 3.11 does not know the places of what is in them."""

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in (*node.decorator_list, node.args, *node.body):
            self.visit(part)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the name that NodeVisitor calls


def mutations_of(file: str, source: bytes) -> list[Mutation]:
    """Find every mutation of a module; a few of them leave no Python that can be compiled."""
    finder = _Finder(file, source)
    finder.visit(ast.parse(source))
    return finder.found


def compiles(source: bytes) -> bool:
    """Tell whether a text is Python: a test that fails for a SyntaxError has noticed nothing."""
    try:
        compile(source, "a mutation", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


def mutated(source: bytes, mutation: Mutation) -> bytes:
    """Return the text of a module with a mutation in it."""
    return source[: mutation.start] + mutation.new.encode() + source[mutation.end :]


def changed_line(source: bytes, mutation: Mutation) -> tuple[str, str]:
    """Return the first line of a mutation, as it was and as it is, without its indent."""
    start = source.rfind(b"\n", 0, mutation.start) + 1
    old, new = (text[start:].split(b"\n", 1)[0] for text in (source, mutated(source, mutation)))
    return old.decode().strip(), new.decode().strip()


def changed_lines(root: Path, since: str) -> dict[str, set[int]]:
    """Return the lines of the package, by file, that the commits since a revision have touched.

    Raises SystemExit with the message of git for an unknown revision.
    """
    command = ["git", "diff", "-U0", "--no-ext-diff", f"{since}..HEAD", "--", "harvester"]
    told = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if told.returncode:
        raise SystemExit(told.stderr)
    lines: dict[str, set[int]] = defaultdict(set)
    file = ""
    for line in told.stdout.splitlines():
        if line.startswith("+++ "):
            file = line.removeprefix("+++ b/")
        elif hunk := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line):
            first = int(hunk[1])
            lines[file].update(range(first, first + int(hunk[2] or 1)))
    return lines


def drawn(
    root: Path, *, count: int, seed: int, lines: dict[str, set[int]] | None = None
) -> Iterator[Mutation]:
    """Draw mutations by a seed, each on a line of its own: of these lines, or of the package.

    Lines are drawn before operators, so that a line with ten constants is as likely as any.
    """
    sources = {
        str(path.relative_to(root)): path.read_bytes() for path in root.glob("harvester/**/*.py")
    }
    by_line: dict[tuple[str, int], list[Mutation]] = defaultdict(list)
    for file in sorted(sources if lines is None else sources.keys() & lines.keys()):
        for each in mutations_of(file, sources[file]):
            if lines is None or each.line in lines[file]:
                by_line[file, each.line].append(each)
    chance = random.Random(seed)
    places = chance.sample(sorted(by_line), len(by_line))
    choices = (chance.choice(by_line[place]) for place in places)
    usable = (each for each in choices if compiles(mutated(sources[each.file], each)))
    return islice(usable, count)
