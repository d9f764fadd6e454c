"""Wheel and sdist: what is in them, what their metadata say, and equal bytes of each build."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from harvester import __version__
from tests.support.doc_pages import ROOT
from tools.release import versions
from tools.release.__main__ import main

# Read here, because no test sees the variables of harvester that are set outside.
RELEASE = os.environ.get("HARVESTER_TEST_RELEASE", "")
"""Folder of the ``dist`` and ``release`` to test, in the place of new ones."""

HOME = os.environ.get("PROJECT_URL", "https://example.com/acme/harvester")
NAME = f"wechat_harvester-{__version__}"


class Built(NamedTuple):
    """Sdist and wheel of one build."""

    sdist: Path
    wheel: Path

    @property
    def contents(self) -> tuple[bytes, bytes]:
        """The bytes of both."""
        return self.sdist.read_bytes(), self.wheel.read_bytes()


def build(source: Path, folder: Path, **environ: str) -> Built:
    """Build both from a folder, with no variable of this process but the path."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    given = {"PATH": os.environ["PATH"], **environ}
    subprocess.run(command, cwd=source, env=given, check=True, capture_output=True)
    return Built(folder / f"{NAME}.tar.gz", folder / f"{NAME}-py3-none-any.whl")


def released() -> Built | None:
    """Return what `.ci/release build` made, where that is to be tested."""
    if not RELEASE:
        return None
    return Built(
        *(Path(RELEASE, "dist", f"{NAME}{end}") for end in (".tar.gz", "-py3-none-any.whl"))
    )


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack an sdist, and return its folder."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return folder / NAME


def tracked() -> list[str]:
    """Return the names of the files that git has, or will have."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git checkout")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def metadata(wheel: Path) -> Message:
    """Return the metadata of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return BytesParser().parsebytes(archive.read(f"{NAME}.dist-info/METADATA"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The release that a repository at an address would make."""
    if found := released():
        return found
    return build(ROOT, tmp_path_factory.mktemp("dist"), PROJECT_URL=HOME)


def test_the_wheel_has_the_package_alone(built: Built) -> None:
    """Its code, texts, licence and command; no test, no tool, no build hook."""
    with zipfile.ZipFile(built.wheel) as wheel:
        names = set(wheel.namelist())
    files = (path for path in (ROOT / "harvester").rglob("*") if path.is_file())
    ours = {str(path.relative_to(ROOT)) for path in files if path.suffix != ".pyc"}
    assert ours >= {"harvester/py.typed", "harvester/cli/jobs.yaml"}
    about = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    assert names == ours | {f"{NAME}.dist-info/{name}" for name in about}


def test_the_sdist_has_what_git_has(built: Built) -> None:
    """All that a test or a packager needs, and nothing that lies around in a checkout."""
    with tarfile.open(built.sdist) as archive:
        found = {member.name.removeprefix(f"{NAME}/") for member in archive}
    assert found == {*tracked(), "PKG-INFO"}


@pytest.mark.long
def test_a_file_that_lies_around_gets_into_no_build(tmp_path: Path) -> None:
    """Neither an accounts file nor a secret nor an output, whether git ignores it or not."""
    source = tmp_path / "source"
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    expected = build(source, tmp_path / "clean").contents
    for name in ("accounts.csv", ".env", "secrets/wx1", "output/x.parquet", "key.pem"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("secret")
    assert build(source, tmp_path / "dist").contents == expected


def test_a_build_gives_the_same_bytes(built: Built, tmp_path: Path) -> None:
    """From the sdist, in another folder, zone, locale and year, and with other rights of files."""
    source = unpack(built.sdist, tmp_path / "elsewhere")
    for path in source.rglob("*"):
        os.utime(path, (2e9, 2e9))
        if path.is_file() and not os.access(path, os.X_OK):
            path.chmod(0o600)
    again = build(source, tmp_path / "dist", TZ="Asia/Shanghai", LC_ALL="C")
    assert again.wheel.read_bytes() == built.wheel.read_bytes()
    with tarfile.open(again.sdist) as one, tarfile.open(built.sdist) as other:
        assert one.getnames() == other.getnames()


def test_the_metadata_are_whole(built: Built) -> None:
    """The index shows what it is, whose it is, where it lives, and a README whose links work."""
    found = metadata(built.wheel)
    assert (found["Name"], found["Version"]) == ("wechat-harvester", __version__)
    assert (found["License-Expression"], found["Requires-Python"]) == ("Apache-2.0", ">=3.11")
    addresses = dict(line.split(", ") for line in found.get_all("Project-URL", []))
    assert addresses["Repository"] == HOME
    assert set(addresses) == {"Repository", "Documentation", "Changelog", "Issues", "Security"}
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    tested = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    classifiers = found.get_all("Classifier", [])
    assert {f"Programming Language :: Python :: {version}" for version in tested} < {*classifiers}
    text = found.get_payload()
    assert isinstance(text, str)
    assert f"]({HOME}/blob/v{__version__}/docs/cli.md)" in text
    assert f"]({HOME}/raw/v{__version__}/docs/pictures/terminal.svg)" in text
    assert "](docs/" not in text


def test_the_action_that_uploads_knows_the_metadata(built: Built) -> None:
    """Its release of `packaging` refuses a version after 2.4, in the job that publishes."""
    with tarfile.open(built.sdist) as archive:
        file = archive.extractfile(f"{NAME}/PKG-INFO")
        assert file
        of_sdist = BytesParser().parsebytes(file.read())
    assert of_sdist["Metadata-Version"] == metadata(built.wheel)["Metadata-Version"] == "2.4"


def test_a_build_without_an_address_claims_none(tmp_path: Path) -> None:
    """A checkout does not know where it will be released."""
    assert metadata(build(ROOT, tmp_path).wheel).get_all("Project-URL") is None


def test_a_tag_repeats_the_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A release with another tag, without notes or without an address is refused."""
    monkeypatch.setenv("PROJECT_URL", HOME)
    log = tmp_path / "CHANGELOG.md"
    section = "## [1.2.3] - 2026-12-01\n\n- [one](docs/one.md)\n\n"
    log.write_text(f"## Unreleased\n\n{section}## [1.2.2] - 2026-11-01\n")
    assert versions.mistakes("v1.2.3", "1.2.3", tmp_path) == []
    assert versions.changes("1.2.3", tmp_path) == "- [one](docs/one.md)\n"
    assert versions.notes("1.2.3", tmp_path) == f"- [one]({HOME}/blob/v1.2.3/docs/one.md)\n"
    assert len(versions.mistakes("v1.2.4", "1.2.3", tmp_path)) == 1
    assert len(versions.mistakes("v1.2.1", "1.2.1", tmp_path)) == 1
    monkeypatch.delenv("PROJECT_URL")
    assert len(versions.mistakes("v1.2.3", "1.2.3", tmp_path)) == 1
    assert main(["check", "v9.9.9"]) == 1
    assert "the tag is v9.9.9, and harvester/__init__.py has version" in capsys.readouterr().err
    assert main(["nonsense"]) == 2


@pytest.mark.long
def test_a_shallow_clone_without_tags_builds_this_version(tmp_path: Path) -> None:
    """No tag is needed to build: git may be absent, as in an sdist or a downloaded archive."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    clone = ["git", "clone", "-q", "--depth=1", "--no-tags", ROOT.as_uri(), "clone"]
    subprocess.run(clone, cwd=tmp_path, check=True)
    assert build(tmp_path / "clone", tmp_path / "dist").wheel.is_file()
