"""Installations of the wheel: in an empty environment of each Python, without a network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.release.test_package import build, released
from tests.support.doc_pages import ROOT
from tools.release.__main__ import main
from tools.release.wheelhouse import EXTRAS, PINS, requirement

PYTHONS = ("3.11", "3.12", "3.13")
NEXT = "3.14"
"""A Python that is no promise yet: for it all wheels are there, and that is all that is tested."""

# Read here, because no test sees the variables of harvester that are set outside.
REQUIRED = bool(os.environ.get("HARVESTER_REQUIRE_PYTHONS"))


def pins(file: Path) -> dict[str, str]:
    """Return each pin of a file with its version and its hashes."""
    text = file.read_text("utf-8")
    return dict(re.findall(r"^([\w.-]+)(==.*(?:\\\n.*--hash.*)+)", text, re.MULTILINE))


def interpreter(version: str) -> str:
    """Return the path of a Python, pyenv's too, or skip the test unless none may be missing."""
    ours = Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}")
    for found in (f"python{version}", *map(str, ours)):
        command = [found, "-c", "import sys; print(sys.executable)"]
        with suppress(OSError, subprocess.CalledProcessError):
            return subprocess.run(
                command, capture_output=True, text=True, check=True
            ).stdout.strip()
    assert not REQUIRED, f"no python{version}"
    pytest.skip(f"no python{version}")


def test_the_pins_of_an_installation_are_those_of_the_tests() -> None:
    """Each is in constraints.txt with the same version and hashes, and holds on every platform."""
    found, tested = pins(PINS), pins(ROOT / "constraints.txt")
    assert len(found) > 20
    assert {name: pin for name, pin in tested.items() if name in found} == found
    # The wheelhouse of one machine is made on another one, where a marker would be judged wrong.
    assert " ; " not in PINS.read_text("utf-8")
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = declared["dependencies"]
    assert {canonicalize_name(Requirement(text).name) for text in names} < {*found}


def test_the_pins_of_the_exports_are_those_of_the_tests() -> None:
    """But for DuckDB, whose extensions are on the index for an older version."""
    version = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)
    base, found, tested = (
        {*version.findall(file.read_text("utf-8"))}
        for file in (PINS, EXTRAS["lakehouse"], ROOT / "constraints.txt")
    )
    assert base < found
    others = {name for name, _ in found - tested}
    extensions = {"ducklake", "httpfs", "postgres-scanner", "sqlite-scanner"}
    assert others == {"duckdb", *(f"duckdb-extension-{name}" for name in extensions)}
    assert " ; " not in EXTRAS["lakehouse"].read_text("utf-8")


def test_a_wheel_is_named_with_its_hash(tmp_path: Path) -> None:
    """A requirement that pip takes with --require-hashes."""
    wheel = tmp_path / "typing_extensions-4.16.0-py3-none-any.whl"
    wheel.write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert requirement(wheel) == f"typing-extensions==4.16.0 --hash=sha256:{empty}"


def make(house: Path, version: str) -> Path:
    """Make a wheelhouse, or unpack the released one; return the wheel of harvester."""
    if found := released():
        [packed] = (found.wheel.parents[1] / "release").glob(f"*-wheelhouse-{version}-*.tar.gz")
        with tarfile.open(packed) as archive:
            archive.extractall(house, filter="data")
        return found.wheel
    wheel = build(ROOT, house.parent / "dist").wheel
    assert main(["wheelhouse", str(wheel), str(house), version]) == 0
    return wheel


@pytest.mark.slow
@pytest.mark.parametrize("version", PYTHONS)
def test_the_main_job_runs_from_a_wheelhouse(version: str, tmp_path: Path) -> None:
    """In an empty environment, with no index, each file by its hash; a changed file is refused."""
    python, house = interpreter(version), tmp_path / "wheelhouse"
    wheel = make(house, version)
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    install = [
        *(f"{tmp_path}/venv/bin/pip", "install", "-q", "--no-cache-dir", "--no-index"),
        *(f"--find-links={house}", "--require-hashes", "-r", f"{house}/requirements.txt"),
    ]
    kept = wheel.read_bytes()
    (house / wheel.name).write_bytes(kept + b"\0")
    assert subprocess.run(install, env=environ, capture_output=True, check=False).returncode
    (house / wheel.name).write_bytes(kept)
    subprocess.run(install, env=environ, check=True)
    shutil.rmtree(house)
    shutil.copy(ROOT / "jobs.yaml", tmp_path)
    for verb in (["run"], ["status", "--require", "ready"], ["verify"]):
        command = [f"{tmp_path}/venv/bin/harvester", *verb, "jobs.yaml"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "target", [(NEXT, "x86_64", ""), ("3.13", "aarch64", ""), ("3.13", "aarch64", "lakehouse")]
)
def test_another_machine_has_all_wheels(tmp_path: Path, target: tuple[str, str, str]) -> None:
    """Each pin has a wheel for it; nothing is run, because no interpreter is at hand."""
    wheel = build(ROOT, tmp_path / "dist").wheel
    assert main(["wheelhouse", str(wheel), str(tmp_path / "house"), *target]) == 0
    lines = (tmp_path / "house/requirements.txt").read_text("utf-8").splitlines()
    assert {line.partition("==")[0] for line in lines} == {
        *pins(EXTRAS[target[2]]),
        "wechat-harvester",
    }


@pytest.mark.slow
def test_the_pins_are_what_the_declaration_needs(tmp_path: Path) -> None:
    """Installed with all checks of pip: none is missing, and none does not fit."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    pip = f"{tmp_path}/venv/bin/pip"
    subprocess.run([pip, "install", "-q", "--require-hashes", "-r", PINS], check=True)
    wheel = build(ROOT, tmp_path / "dist").wheel
    subprocess.run([pip, "install", "-q", "--no-index", wheel], check=True)
    subprocess.run([pip, "check"], check=True)
