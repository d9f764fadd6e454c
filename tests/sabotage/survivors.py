"""Tries drawn mutations with the nearest tests, and tells those that no test notices."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from math import comb
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from harvester.runs.processes.cores import usable_cores
from tests.sabotage.mutations import Mutation, changed_line, mutated
from tests.sabotage.nearest import Nearest
from tests.sabotage.run import (
    FAILED,
    FAILURE,
    NO_TEST,
    NOT_ENDED,
    PASSED,
    ROOT,
    UNKNOWN_TEST,
    copied_tree,
    run_tests,
)
from tests.sabotage.shares import SHARES

MAX_SECONDS = 100.0
"""Seconds for the nearest tests of a mutation."""

MAX_TEST_SECONDS = 30.0
"""Seconds for one of them, which fails after that."""

_SECONDS = count(1_000_000_000)

_SURVIVED = {
    PASSED: "{} tests pass",
    NOT_ENDED: "{} tests do not end",
    UNKNOWN_TEST: "{} tests are not found",
    NO_TEST: "no test runs it",
}

CHANCE = 0.01
"""The chance below which survivors of a room are more than its share."""


class Tried(NamedTuple):
    """A mutation with the test that failed for it, or else how it survived."""

    mutation: Mutation
    caught_by: str
    survived: str

    @property
    def room(self) -> str:
        """The room of the package, or ``root``."""
        _, *folders, _ = self.mutation.file.split("/")
        return folders[0] if folders else "root"


class Trials:
    """Runs tests in copies of a tree, one for each core at a time, and trusts no broken test."""

    def __init__(self, nearest: Nearest, trees: Iterable[Path]) -> None:
        self._nearest = nearest
        self._trees = SimpleQueue[Path]()
        for tree in trees:
            self._trees.put(tree)
        self._passing: set[str] = set()
        self._broken: set[str] = set()

    def tried(self, mutation: Mutation) -> Tried:
        """Try a mutation. A test that fails without it as well has noticed nothing."""
        tests = self._nearest.tests_of(mutation)
        if not tests:
            return Tried(mutation, "", "no test runs it")
        tree = self._trees.get()
        try:
            while True:
                left_out = {*self._broken}
                with _planted(tree, mutation):
                    caught_by, survived = _noticed(tree, tests, left_out)
                if not caught_by or self._passes(tree, caught_by):
                    return Tried(mutation, caught_by, survived)
                if caught_by in left_out:
                    return Tried(mutation, "", f"{caught_by} fails without it too")
        finally:
            self._trees.put(tree)

    def _passes(self, tree: Path, test: str) -> bool:
        if test not in self._passing | self._broken and test.startswith("tests/"):
            passed = run_tests(tree, [test], each=MAX_TEST_SECONDS).code == PASSED
            (self._passing if passed else self._broken).add(test)
        return test not in self._broken


@contextmanager
def _planted(tree: Path, mutation: Mutation) -> Iterator[None]:
    path = tree / mutation.file
    source = path.read_bytes()
    _write(path, mutated(source, mutation))
    try:
        yield
    finally:
        _write(path, source)


def _write(path: Path, source: bytes) -> None:
    path.write_bytes(source)
    # A cached module is known by size and second, so each version has a second of its own.
    second = next(_SECONDS)
    os.utime(path, (second, second))


def _noticed(tree: Path, tests: Sequence[str], left_out: Collection[str]) -> tuple[str, str]:
    """Return the first test that fails, or else how the tests ended."""
    limits = {"seconds": MAX_SECONDS, "each": MAX_TEST_SECONDS}
    without = [f"--deselect={test}" for test in sorted(left_out)]
    code, text = run_tests(tree, [*tests, *without], **limits)
    if code == UNKNOWN_TEST:  # an id may hold a time or a random name
        functions = dict.fromkeys(test.partition("[")[0] for test in tests)
        code, text = run_tests(tree, [*functions, *without], **limits)
    if code == FAILED and (failure := FAILURE.search(text)):
        return failure[1], ""
    if code in _SURVIVED:
        return "", _SURVIVED[code].format(len(tests))
    return f"(pytest ends with {code})", ""


def tell_survivors(
    mutations: Iterable[Mutation],
    nearest: Nearest,
    tell: Callable[[str], object] = print,
    *,
    seconds: float = float("inf"),
    root: Path = ROOT,
) -> list[Tried]:
    """Try mutations and tell each survivor; none is begun when these seconds are over."""
    deadline = time.monotonic() + seconds
    with ExitStack() as stack, ThreadPoolExecutor(usable_cores()) as pool:
        trees = [stack.enter_context(copied_tree(root)) for _ in range(usable_cores())]
        code, text = run_tests(trees[0], ["--collect-only"])
        if code != PASSED:
            raise SystemExit(f"the tests cannot be collected without any mutation:\n{text}")
        trials = Trials(nearest, trees)

        def tried(mutation: Mutation) -> Tried | None:
            return trials.tried(mutation) if time.monotonic() < deadline else None

        ended = list[Tried]()
        for each in filter(None, pool.map(tried, mutations)):
            ended.append(each)
            if not each.caught_by:
                mutation = each.mutation
                old, new = changed_line((root / mutation.file).read_bytes(), mutation)
                place = f"{mutation.file}:{mutation.line}: {mutation.what}: {each.survived}"
                tell(f"{place}\n    - {old}\n    + {new}")
    return ended


def tell_shares(ended: Sequence[Tried], tell: Callable[[str], object] = print) -> list[str]:
    """Tell survivors by room, and return the rooms that have more than their share."""
    drawn = Counter(each.room for each in ended)
    survived = Counter(each.room for each in ended if not each.caught_by)
    tell(f"{'room':12} {'drawn':>5} {'survived':>8} {'bound':>6}")
    for room, number in sorted(drawn.items()):
        tell(f"{room:12} {number:5} {survived[room]:8} {SHARES[room]:6.0%}")
    tell(f"{'all':12} {len(ended):5} {survived.total():8}")
    return [
        room
        for room, number in drawn.items()
        if at_least(survived[room], number, SHARES[room]) < CHANCE
    ]


def at_least(survived: int, count: int, share: float) -> float:
    """Return the probability of at least ``survived`` of ``count`` if ``share`` survives."""
    return sum(
        comb(count, each) * share**each * (1 - share) ** (count - each)
        for each in range(survived, count + 1)
    )
