"""The table of sabotages stands in the code, and the runner tells the truth."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.sabotage.patches import SABOTAGES
from tests.sabotage.run import (
    ROOT,
    Sabotage,
    chosen,
    copied_tree,
    environment,
    outcome_of,
    places,
    plant,
    report,
)


def test_the_text_of_every_sabotage_stands_once() -> None:
    """A change that removes the line plants the fault anew at the place of what it breaks."""
    found = {each.name: f"{places(each)} times in {each.file}: {each.old}" for each in SABOTAGES}
    lost = [name for name, words in found.items() if not words.startswith("1 times")]
    assert not lost, "\n".join(f"{name}: {found[name]}" for name in lost)
    assert not [each.name for each in SABOTAGES if "\n" in each.old + each.new]


def test_the_test_of_every_sabotage_exists() -> None:
    """It is a function of a file, so that no other test can fail in its place."""
    gone = [
        f"{each.name}: {each.test}"
        for each in SABOTAGES
        for file, _, function in [each.test.partition("::")]
        if not (ROOT / file).is_file() or f"def {function}(" not in (ROOT / file).read_text("utf-8")
    ]
    assert not gone, "\n".join(gone)


def test_every_sabotage_leaves_a_module_that_can_be_compiled(tmp_path: Path) -> None:
    """A test that fails because of a SyntaxError has noticed nothing."""
    for sabotage in (each for each in SABOTAGES if each.file.endswith(".py")):
        target = tmp_path / sabotage.file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / sabotage.file).read_bytes())
        plant(sabotage, tmp_path)
        compile(target.read_text("utf-8"), f"{sabotage.name}: {sabotage.file}", "exec")


def test_there_are_many_sabotages() -> None:
    """Each has a name of its own."""
    assert len({each.name for each in SABOTAGES}) == len(SABOTAGES) >= 50


def test_names_choose_sabotages() -> None:
    """All without a name; an unknown one is refused with the names that there are."""
    known = {each.name: each for each in SABOTAGES}
    first = SABOTAGES[0]
    assert chosen([], known) == list(SABOTAGES)
    assert chosen([first.name], known) == [first]
    with pytest.raises(SystemExit, match=f"no such sabotage: nonsense; known: {first.name}, "):
        chosen(["nonsense"], known)


def test_every_process_of_a_copy_imports_the_copy(tmp_path: Path) -> None:
    """An installed package comes later, wherever a process of a test works and is started from."""
    script = "import harvester, tests; print(harvester.__file__, tests.__file__)"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {script!r}])"
    with copied_tree() as tree:
        expected = f"{tree}/harvester/__init__.py {tree}/tests/__init__.py\n"
        for code, folder in ((script, tree), (script, tmp_path), (nested, tmp_path)):
            command = [sys.executable, "-c", code]
            told = subprocess.run(
                command, cwd=folder, env=environment(tree), capture_output=True, check=True
            )
            assert told.stdout.decode() == expected
        command = [str(Path(sys.executable).with_name("harvester")), "--version"]
        (tree / "harvester" / "__main__.py").write_text("main = lambda: print('of the copy')")
        told = subprocess.run(
            command, cwd=tmp_path, env=environment(tree), capture_output=True, check=True
        )
        assert told.stdout == b"of the copy\n"


TWICE = "def twice(number: int) -> int:\n    return 2 * number\n"
TESTS = """
from harvester import twice

def test_of_three():
    assert twice(3) == 6

def test_of_nothing():
    assert twice(0) == 0
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project with a test that notices faults, and one that does not."""
    # Plugins take most of a second to load, and these tests need none.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    root = tmp_path / "project"
    for name, text in {
        "harvester/__init__.py": TWICE,
        "tests/test_twice.py": TESTS,
        "pyproject.toml": '[tool.pytest.ini_options]\naddopts = ["-ra"]\n',
        ".gitignore": "__pycache__/\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return root


def sabotaged(
    old: str = "2 * number", new: str = "3 * number", test: str = "test_of_three"
) -> Sabotage:
    """A sabotage of the small project."""
    return Sabotage("thrice", "harvester/__init__.py", old, new, f"tests/test_twice.py::{test}")


def test_the_table_names_the_test_that_fails_and_what_is_not_caught(project: Path) -> None:
    """In copies alone: the tree stays as it was. The command fails if one is not caught."""
    lines: list[str] = []
    unnoticed = sabotaged(test="test_of_nothing")
    assert report([sabotaged(), unnoticed], lines.append, project) == 1
    assert [line.split()[0] for line in lines] == ["sabotage", "thrice", "thrice", "1"]
    assert lines[1].endswith("  tests/test_twice.py::test_of_three")
    assert lines[2].endswith("  NOTHING: not caught")
    assert lines[3] == "1 of 2 caught"
    assert (project / "harvester/__init__.py").read_text() == TWICE
    assert report([sabotaged()], lines.append, project) == 0
    assert lines[-1] == "1 of 1 caught"


@pytest.mark.parametrize(
    ("sabotage", "fault"),
    [
        (sabotaged(old="4 * number"), "its text stands 0 times in harvester/__init__.py"),
        (sabotaged(old="number"), "its text stands 2 times in harvester/__init__.py"),
        (sabotaged(test="test_of_four"), "its test does not run: "),
        (sabotaged(new="("), "its test does not run: "),
    ],
    ids=["moved", "ambiguous", "no such test", "no Python"],
)
def test_only_a_test_that_fails_catches_a_sabotage(
    project: Path, sabotage: Sabotage, fault: str
) -> None:
    """A text that has moved, a test that has gone and a module that cannot be read are faults."""
    outcome = outcome_of(sabotage, project)
    assert outcome.caught_by == ""
    assert outcome.fault.startswith(fault)


def test_a_test_that_fails_anyway_catches_nothing(project: Path) -> None:
    """The tests are run without any sabotage first."""
    (project / "harvester/__init__.py").write_text(TWICE.replace("2 *", "5 *"))
    lines: list[str] = []
    assert report([sabotaged(old="5 *", new="6 *")], lines.append, project) == 1
    assert len(lines) == 1
    assert lines[0].startswith("the tests fail without any sabotage:\n")
    assert "test_of_three" in lines[0]
