"""Files around the package: metadata, pins, README and CI agree with each other."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support import example_tools

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

# Files of which pip takes a package by its hash alone.
PINNED = (
    *(ROOT / "constraints.txt", ROOT / "requirements.txt"),
    *(ROOT / ".ci" / "uv.txt", ROOT / ".ci" / "release.txt"),
    ROOT / "tools" / "release" / "requirements-lakehouse.txt",
)

# Jobs that may write. None of them runs a line of a checkout.
MAY_WRITE = {
    ("drift", "tell"): {"issues": "write"},
    ("release", "attest"): {"attestations": "write", "contents": "read", "id-token": "write"},
    ("release", "image"): {
        "attestations": "write",
        "contents": "read",
        "id-token": "write",
        "packages": "write",
    },
    ("release", "index"): {"id-token": "write"},
    ("release", "page"): {"contents": "write"},
    ("updates", "propose"): {"contents": "write", "pull-requests": "write"},
}

MAX_DECISION_LINES = 50


# What is installed under one name and imported under another.
IMPORTED_AS = {"markdown-it-py": "markdown-it", "pyyaml": "yaml", "pytest-xdist": "xdist"}

# Imported although not declared: they come with what is, and are part of its interface.
COME_ALONG = {
    "annotated-types": "pydantic",
    "packaging": "pytest",
    "pydantic-core": "pydantic",
    "werkzeug": "moto",
    "yarl": "aiohttp",
}

# What the benchmarks compare with, in an environment of its own.
CONTESTANTS = {"pandas"}

FLOORS = {"include-group": "floors"}
"""The part of the development group that the tests at the oldest dependencies need."""


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def _requirements() -> list[Requirement]:
    """Everything declared: dependencies, build backend, extras and the development group."""
    declared = _project()
    lists = (
        [declared["project"]["dependencies"], declared["build-system"]["requires"]],
        declared["project"]["optional-dependencies"].values(),
        declared["dependency-groups"].values(),
    )
    texts = [each for each in chain.from_iterable(chain.from_iterable(lists)) if each != FLOORS]
    found = map(Requirement, dict.fromkeys(texts))
    # An extra that names other extras of the distribution.
    return [each for each in found if each.name != declared["project"]["name"]]


def _pins(file: Path = PINNED[0]) -> dict[str, Version]:
    text = file.read_text("utf-8")
    return {
        canonicalize_name(name): Version(version)
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", text, re.MULTILINE)
    }


def _imported(folder: str) -> set[str]:
    """The packages of others that a folder's files import, by their canonical names."""
    names = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    ours = {"harvester", "tests", "benchmarks", "tools"}
    return {canonicalize_name(name) for name in names - sys.stdlib_module_names - ours}


def _as_imported(requirements: list[Requirement]) -> set[str]:
    names = {canonicalize_name(requirement.name) for requirement in requirements}
    return {IMPORTED_AS.get(name, name) for name in names}


def _first_code_block() -> list[str]:
    """The lines of the README's first code block."""
    text = (ROOT / "README.md").read_text("utf-8")
    block = re.search(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert block
    return block[1].splitlines()


@pytest.mark.parametrize("requirement", _requirements(), ids=str)
def test_pins_keep_the_promises(requirement: Requirement) -> None:
    """Everything declared is pinned, at a release the declaration allows.

    It is in constraints.txt, or is of the image with the exports alone.
    """
    pins = _pins(PINNED[-1]) | _pins()
    name = canonicalize_name(requirement.name)
    assert name in pins
    assert requirement.specifier.contains(pins[name])


def test_every_requirement_has_a_floor() -> None:
    """Every requirement names the oldest release it means."""
    assert [str(r) for r in _requirements() if ">=" not in str(r.specifier)] == []


def test_pins_have_hashes_and_no_addresses() -> None:
    """Each pin carries hashes, and neither an index nor a path of a machine."""
    for file in PINNED:
        text = file.read_text("utf-8")
        pins = re.findall(r"^[A-Za-z0-9._-]+==(?:.*\\\n)+.*$", text, re.MULTILINE)
        # A package may be pinned twice, for older and for newer Pythons.
        assert len({pin.partition("==")[0] for pin in pins}) == len(_pins(file)) > 0
        assert all("--hash=sha256:" in pin for pin in pins)
        assert not re.search(r"://|^--|^/|^-e ", text, re.MULTILINE)


def test_pip_installs_by_hash_in_ci() -> None:
    """A workflow's pip takes what a file has the hash of, or the checkout alone."""
    allowed = re.compile(
        r"-q (-r constraints\.txt|--require-hashes -r \.ci/(uv|release)\.txt|--no-deps -e \.)"
    )
    found = [
        f"{path.name}: {line.strip()}"
        for path in WORKFLOWS
        for line in path.read_text("utf-8").splitlines()
        for arguments in re.findall(r"(?<!uv )\bpip install (.*)", line)
        if not allowed.fullmatch(arguments)
    ]
    assert not found


def test_imports_are_declared() -> None:
    """The package imports what pyproject.toml declares, no more and no less."""
    imported = _imported("harvester") - COME_ALONG.keys()
    project = _project()["project"]
    texts = chain(project["dependencies"], *project["optional-dependencies"].values())
    found = [each for each in map(Requirement, texts) if each.name != project["name"]]
    # DuckDB loads them from their files.
    declared = [each for each in found if not each.name.startswith("duckdb-extension-")]
    assert imported == _as_imported(declared)


def test_imports_of_the_tests_are_declared() -> None:
    """Tests and benchmarks import nothing that only happens to be there."""
    imported = _imported("tests") | _imported("benchmarks") | _imported("tools")
    known = COME_ALONG.keys() | CONTESTANTS | _as_imported(_requirements())
    assert imported - known == set()


def test_the_readme_has_one_command_each() -> None:
    """The README's first code block runs the main job in one line and the tests in another."""
    block = _first_code_block()
    assert len([line for line in block if "harvester run jobs.yaml" in line]) == 1
    assert len([line for line in block if "pytest" in line]) == 1


def test_the_readme_commands_start_from_nothing() -> None:
    """Both commands make their own virtual environment and use only what they put there."""
    commands = [line for line in _first_code_block() if "harvester run" in line or "pytest" in line]
    for command in commands:
        steps = [shlex.split(step) for step in command.split("&&")]
        assert steps[0] == ["python3", "-m", "venv", ".venv"]
        assert all(step[0].startswith(".venv/bin/") for step in steps[1:])


@pytest.mark.parametrize("name", ["run", "full"])
def test_ci_is_executable(name: str) -> None:
    """.ci/run and .ci/full can be called as they are and are valid bash."""
    script = ROOT / ".ci" / name
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_are_careful(path: Path) -> None:
    """Workflows may read only, end in time, and run actions at a fixed commit without our token."""
    text = path.read_text("utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert "concurrency" in workflow
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 60
        if "permissions" in job:
            assert job["permissions"] == MAY_WRITE[path.stem, name]
            assert not any("actions/checkout@" in step.get("uses", "") for step in job["steps"])
        for step in job["steps"]:
            uses = step.get("uses", "")
            assert not uses or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", uses)
            assert "${{" not in step.get("run", "")
            if uses.startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
    assert len(re.findall(r"uses: ", text)) == len(re.findall(r"uses: \S+ # v\d", text))


def test_the_nightly_workflow_has_every_slow_test() -> None:
    """Each folder of tests with a slow one is in a job, and each folder of a job has one.

    The clients of others need Node, so they have a job of their own, which runs on each push. The
    examples, the warehouses and the lakehouse need engines that nothing else installs, the page a
    browser, and the package each Python, and none of their tests may be skipped there.
    """
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "nightly.yml").read_text("utf-8"))
    jobs = workflow["jobs"]
    named = " ".join(jobs["slow"]["strategy"]["matrix"]["tests"]).split()
    slow = {
        path.relative_to(ROOT / "tests").parts[0]
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search("mark.slow|by_night|few_by_day", path.read_text("utf-8"))
    }
    apart = {"browser", "examples", "foreign", "lakehouse", "release", "warehouses"}
    assert sorted(named) == sorted(f"tests/{folder}" for folder in slow - apart)
    assert jobs["browser"]["steps"][-1]["run"] == ".ci/full browser"
    assert ".ci/full package" in [step.get("run") for step in jobs["package"]["steps"]]
    assert jobs["warehouses"]["steps"][-1]["run"] == ".ci/full warehouses"
    assert jobs["lakehouse"]["steps"][-1]["run"] == ".ci/full lakehouse"
    ci = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    [run] = [step for step in ci["jobs"]["foreign"]["steps"] if "env" in step]
    assert run["run"] == ".venv/bin/pytest -m '' tests/foreign"
    assert run["env"] == {"HARVESTER_REQUIRE_NODE": "1"}
    [run] = [step for step in jobs["examples"]["steps"] if "pytest" in step.get("run", "")]
    assert run["run"] == ".venv/bin/pytest -m '' tests/examples"
    assert {*run["env"]} == {*example_tools.VARIABLES}
    for job, tests in {"slow": " $TESTS", "date": "", "sabotage": "", "drawn": ""}.items():
        assert jobs[job]["steps"][-1]["run"] == f".ci/full {job}{tests}"


def test_python_versions_agree() -> None:
    """The oldest Python promised is the one that ruff, mypy and CI are set to."""
    declared = _project()
    oldest = declared["project"]["requires-python"].removeprefix(">=")
    assert declared["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    assert declared["tool"]["mypy"]["python_version"] == oldest
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    assert oldest in workflow["jobs"]["test"]["strategy"]["matrix"]["python"]


def test_the_package_says_that_it_is_typed() -> None:
    """Users' type checkers look into the package, because it has a py.typed."""
    assert (ROOT / "harvester" / "py.typed").is_file()


def test_the_changelog_begins_with_what_comes() -> None:
    """The change log has an Unreleased section first, then the versions that are out."""
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert all(re.match(r"\[\d+\.\d+\.\d+\]", heading) for heading in headings[1:])


def test_decisions_are_short_and_listed() -> None:
    """Each decision fits on a page, has its four parts, and stands in the list by its title."""
    folder = ROOT / "docs" / "decisions"
    listed = (folder / "README.md").read_text("utf-8")
    for note in sorted(folder.glob("[0-9]*.md")):
        text, number = note.read_text("utf-8"), note.name[:4]
        assert text.count("\n") <= MAX_DECISION_LINES, note.name
        title = text.partition("\n")[0].removeprefix(f"# {number}: ")
        assert f"| [{number}]({note.name}) | {title} |" in listed
        for part in ("Context", "Decision", "Consequences", "Rejected"):
            assert f"**{part}.**" in text, note.name


def test_five_decisions_are_the_entrance() -> None:
    """The list begins with the five that a newcomer reads first, and why."""
    text = (ROOT / "docs" / "decisions" / "README.md").read_text("utf-8")
    entrance = re.findall(
        r"^\d\. \[\d{4}\]\(\S+\.md\): .+\.$", text.partition("\n| ")[0], re.MULTILINE
    )
    assert len(entrance) == 5


def test_links_in_the_docs_lead_somewhere() -> None:
    """Every relative link of a page leads to a file that exists."""
    dead = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not dead
