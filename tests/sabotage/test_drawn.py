"""Mutations: each operator, the draw by a seed, and the report of survivors."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.sabotage.mutations import (
    Mutation,
    changed_line,
    changed_lines,
    drawn,
    mutated,
    mutations_of,
)
from tests.sabotage.nearest import Nearest
from tests.sabotage.run import ROOT
from tests.sabotage.shares import EQUIVALENT, SHARES
from tests.sabotage.survivors import Tried, at_least, tell_shares, tell_survivors
from tests.sabotage.test_sabotage import TWICE, project

__all__ = ["project"]

SOURCE = b"""
from typing import Literal
async def save(a: Literal[7], b=None):
    if a < max(a, 2):
        raise ValueError(f"{a + 1}")
    await fsync(a)
    return [x for x in a if x not in b]
"""


def test_every_operator_finds_its_places() -> None:
    """Annotations and f-strings are left alone."""
    changes = {changed_line(SOURCE, each) for each in mutations_of("x.py", SOURCE)}
    assert changes == {
        ("if a < max(a, 2):", "if a <= max(a, 2):"),
        ("if a < max(a, 2):", "if a < min(a, 2):"),
        ("if a < max(a, 2):", "if a < max(a, 3):"),
        ("if a < max(a, 2):", "if a < max(a, 1):"),
        ("if a < max(a, 2):", "if True:"),
        ("if a < max(a, 2):", "if False:"),
        ('raise ValueError(f"{a + 1}")', "pass"),
        ("await fsync(a)", "pass"),
        ("return [x for x in a if x not in b]", "return [x for x in a if x in b]"),
        ("return [x for x in a if x not in b]", "return [x for x in a if True]"),
        ("return [x for x in a if x not in b]", "return [x for x in a if False]"),
    }


def test_a_seed_draws_the_same_mutations_again() -> None:
    """Each is on a line of its own, and Python."""
    first, again, other = (list(drawn(ROOT, count=30, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert len({(each.file, each.line) for each in first}) == 30
    for each in first:
        compile(mutated((ROOT / each.file).read_bytes(), each), each.file, "exec")


def test_a_survivor_is_told_and_a_broken_test_notices_nothing(project: Path) -> None:
    """On the lines of the newest commit; the trees are as before for the next mutation."""
    tests = project / "tests" / "test_twice.py"
    tests.write_text(tests.read_text() + "\ndef test_that_is_broken():\n    assert twice(1) == 1\n")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@y"]
    for code in ("", TWICE + "\n\nSIZE = 4\nOTHER = 5\n"):
        (project / "harvester/__init__.py").write_text(code)
        for command in (["add", "-A"], ["commit", "-qm", "x"]):
            subprocess.run([*git, *command], cwd=project, check=True)
    lines = changed_lines(project, "HEAD^")
    assert lines == {"harvester/__init__.py": {1, 2, 3, 4, 5, 6}}

    class Known(Nearest):
        def tests_of(self, mutation: Mutation) -> list[str]:
            names = ["that_is_broken", "of_three"] if mutation.line < 5 else []
            named = [f"tests/test_twice.py::test_{name}" for name in names]
            return ["tests"] if mutation.line == 5 else named

    told: list[str] = []
    mutations = drawn(project, count=8, seed=3, lines=lines)
    ended = tell_survivors(mutations, Known(project), told.append, root=project)
    results = {(each.mutation.line, each.caught_by, each.survived) for each in ended}
    assert results == {
        (2, "tests/test_twice.py::test_of_three", ""),
        (5, "", "1 tests pass"),
        (6, "", "no test runs it"),
    }
    assert [text.partition(": ")[0] for text in sorted(told)] == [
        "harvester/__init__.py:5",
        "harvester/__init__.py:6",
    ]


def test_a_room_above_its_share_is_named() -> None:
    """One survivor of two may be chance; eight of twenty are none."""
    one = Tried(Mutation("harvester/tables/merge.py", 1, 0, 0, "", ""), "", "1 tests pass")
    caught = one._replace(caught_by="tests/test_x.py::test_y")
    assert tell_shares([one, caught], lambda _: None) == []
    assert tell_shares([one] * 8 + [caught] * 12, lambda _: None) == ["tables"]
    assert at_least(0, 20, 0.05) == pytest.approx(1.0)
    assert at_least(1, 20, 0.05) == pytest.approx(1 - 0.95**20)


def test_the_shares_only_fall() -> None:
    """No room has more than the commit before; each line that changes nothing has its reason."""
    command = ["git", "show", "HEAD^:tests/sabotage/shares.py"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    before: dict[str, dict[str, float]] = {}
    exec(shown.stdout, before)
    assert not {
        room: share for room, share in SHARES.items() if share > before.get("SHARES", SHARES)[room]
    }
    for (file, old, _), reason in EQUIVALENT.items():
        assert old in (ROOT / file).read_text("utf-8"), file
        assert reason
