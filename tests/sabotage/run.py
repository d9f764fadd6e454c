"""Runs tests in a copy of the tree, with one line of it changed.

Every process of the copy imports the package of the copy: PYTHONPATH names it alone, which comes
before every installed package, and the working directory is the copy.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from harvester.runs.processes.cores import usable_cores

ROOT = Path(__file__).parents[2]
MAX_SECONDS = 1800.0
"""Seconds after which the tests of a copy are stopped."""

BROWSER_PACKAGES = "tests/browser/node_modules"
"""The folder of what npm installed, which git ignores and a copy needs."""

NOT_ENDED, PASSED, FAILED, UNKNOWN_TEST, NO_TEST = -1000, 0, 1, 4, 5
FAILURE = re.compile(r"^(?:FAILED|ERROR) (tests/.+?)(?: - |$)", re.MULTILINE)


class Sabotage(NamedTuple):
    """A fault: in ``file`` the text ``old``, which is a part of one line, becomes ``new``.

    ``test`` is the one that must fail, in words for pytest.
    """

    name: str
    file: str
    old: str
    new: str
    test: str


class Outcome(NamedTuple):
    """The result of a sabotage: the test that failed, or else the ``fault`` of the sabotage."""

    caught_by: str
    fault: str
    seconds: float


class PytestResult(NamedTuple):
    """The exit code of pytest, and what it printed."""

    code: int
    text: str


def places(sabotage: Sabotage, root: Path = ROOT) -> int:
    """Count the places of a sabotage's old text in its file; 0 if there is no such file."""
    path = root / sabotage.file
    return path.read_text("utf-8").count(sabotage.old) if path.is_file() else 0


def plant(sabotage: Sabotage, root: Path) -> None:
    """Change the line of a sabotage in the tree below ``root``."""
    path = root / sabotage.file
    path.write_text(path.read_text("utf-8").replace(sabotage.old, sabotage.new), "utf-8")


@contextmanager
def copied_tree(root: Path = ROOT) -> Iterator[Path]:
    """Copy the files of a work tree that git does not ignore into a folder for the block."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    with tempfile.TemporaryDirectory(prefix="sabotage-", ignore_cleanup_errors=True) as folder:
        tree = Path(folder, "tree")
        for name in filter(None, listed.split("\0")):
            source, target = root / name, tree / name
            # A file may be deleted and still be listed.
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        if (root / BROWSER_PACKAGES).is_dir():
            (tree / BROWSER_PACKAGES).symlink_to(root / BROWSER_PACKAGES)
        yield tree


def environment(tree: Path, seconds: float = 120) -> dict[str, str]:
    """Return the environment in which every Python process imports the package below ``tree``.

    A fault may make its test hang: after ``seconds`` the test fails.
    """
    # A copy with a fault in it says nothing about the coverage of the package.
    measuring = ("COVERAGE_", "PYTEST_PLUGINS")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(measuring)}
    return {**kept, "PYTHONPATH": str(tree), "PYTEST_TIMEOUT": f"{seconds:g}"}


def run_tests(
    tree: Path, tests: Iterable[str], *, seconds: float = MAX_SECONDS, each: float = 120
) -> PytestResult:
    """Run tests of a tree until one of them fails; what they write goes beside the tree.

    The limits are seconds: of all tests, and of each.
    """
    options = ["-x", "-q", "--tb=line", "-m", "", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, f"--basetemp={tree}.temp", *tests]
    try:
        ended = subprocess.run(
            command,
            cwd=tree,
            env=environment(tree, each),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return PytestResult(NOT_ENDED, f"the tests did not end in {seconds:g} s")
    return PytestResult(ended.returncode, ended.stdout + ended.stderr)


def outcome_of(sabotage: Sabotage, root: Path = ROOT) -> Outcome:
    """Plant a sabotage in a copy of the tree, and run its test there."""
    found = places(sabotage, root)
    if found != 1:
        return Outcome("", f"its text stands {found} times in {sabotage.file}", 0.0)
    begun = time.monotonic()
    with copied_tree(root) as tree:
        plant(sabotage, tree)
        code, text = run_tests(tree, [sabotage.test])
    seconds = time.monotonic() - begun
    if code == FAILED and (failure := FAILURE.search(text)):
        return Outcome(failure[1], "", seconds)
    # Any other code says that the test was not run: an unknown name, a file that cannot be read.
    fault = "not caught" if code == PASSED else f"its test does not run: {text.strip()[-400:]}"
    return Outcome("", fault, seconds)


def faults_without_sabotage(sabotages: Sequence[Sabotage], root: Path = ROOT) -> str:
    """Return the failure of the sabotages' tests in an unchanged copy; empty if they pass.

    A test that fails anyway would catch everything.
    """
    tests = dict.fromkeys(sabotage.test for sabotage in sabotages)
    with copied_tree(root) as tree:
        code, text = run_tests(tree, tests)
    return "" if code == PASSED else text


def chosen(names: Sequence[str], known: Mapping[str, Sabotage]) -> list[Sabotage]:
    """Return the sabotages of these names, or all. Raises SystemExit for an unknown name."""
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"no such sabotage: {', '.join(unknown)}; known: {', '.join(known)}")
    return [known[name] for name in names] or list(known.values())


def report(
    sabotages: Sequence[Sabotage], tell: Callable[[str], object] = print, root: Path = ROOT
) -> int:
    """Try sabotages, one for each core at a time, and tell a line about each.

    Returns the exit code: 1 if one is not caught.
    """
    broken = faults_without_sabotage(sabotages, root)
    if broken:
        tell(f"the tests fail without any sabotage:\n{broken}")
        return 1
    width = max(len(sabotage.name) for sabotage in sabotages)
    tell(f"{'sabotage':{width}}  {'seconds':>7}  caught by")
    uncaught = 0
    with ThreadPoolExecutor(usable_cores()) as pool:
        outcomes = pool.map(partial(outcome_of, root=root), sabotages)
        for sabotage, (caught_by, fault, seconds) in zip(sabotages, outcomes, strict=True):
            uncaught += bool(fault)
            tell(f"{sabotage.name:{width}}  {seconds:7.1f}  {caught_by or f'NOTHING: {fault}'}")
    tell(f"{len(sabotages) - uncaught} of {len(sabotages)} caught")
    return 1 if uncaught else 0
