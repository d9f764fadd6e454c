"""Broken manifests and the exact messages about them, from tests/data/manifests/*.txt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from harvester.core import calendar
from harvester.core.errors import ManifestError
from harvester.core.exit_codes import Exit
from harvester.manifest import loader, yaml_reader
from tests.support.nights import few_by_day

CORPUS = Path(__file__).parents[1] / "data/manifests"
NOW = calendar.instant(calendar.parse_day("2026-06-15"), 12 * 60)
SECRETS = ("hunter2", "0123456789abcdef0", "12345678901234567", "77_abc", "c0ffee", ":pass")
ENVIRON = {"EMPTY": "", "WORD": "many"}


class Case(NamedTuple):
    """A manifest with the files beside it and the expected messages, one mistake a line."""

    name: str
    files: dict[str, str]
    says: str


def cases() -> Iterator[Case]:
    """Yield all cases: ``=== name``, manifest, ``--- file`` for each other file, ``--- says``."""
    for path in sorted(CORPUS.glob("*.txt")):
        for block in re.split(r"^=== ", path.read_text("utf-8"), flags=re.MULTILINE)[1:]:
            title, _, body = block.partition("\n")
            parts = re.split(r"^--- ([\w.]+)\n", body, flags=re.MULTILINE)
            files = dict(zip(["jobs.yaml", *parts[1::2]], parts[::2], strict=True))
            says = files.pop("says").strip("\n")
            yield Case(f"{path.stem}: {title}", files, says)


CASES = list(cases())
NAMED = {case.name: case for case in CASES}


def said(folder: Path, error: ManifestError) -> str:
    """Return the messages as the corpus spells them, without the manifest's name."""
    return error.problem.replace(f"{folder}/", "").replace("jobs.yaml:", "")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_broken_manifest_is_refused(case: Case, tmp_path: Path) -> None:
    """Every mistake is reported once, with its place and a hint, and nothing else is reported."""
    for name, text in case.files.items():
        (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(ManifestError) as caught:
        loader.read(tmp_path / "jobs.yaml", environ=ENVIRON, now=NOW).manifest()
    assert said(tmp_path, caught.value) == case.says
    assert caught.value.exit_code == Exit.USAGE


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_no_message_of_the_corpus_repeats_a_secret(case: Case) -> None:
    """No message holds a text of the broken manifest that looks like a secret."""
    for secret in SECRETS:
        assert secret not in case.says


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_mistake_has_a_place_a_cause_and_a_remedy(case: Case) -> None:
    """Each line begins with its place and ends with what to do, in brackets."""
    for line in case.says.splitlines():
        assert re.fullmatch(r"(?:\d+:\d+|[\w.]+:\d+:\d+|[\w.]+: row .+?): .+ \(.+\)", line), line


def test_the_corpus_is_large() -> None:
    """The corpus has at least sixty cases."""
    assert len(NAMED) == len(CASES) >= 60


@pytest.mark.parametrize("name", few_by_day(NAMED, [*NAMED][::8]))
def test_the_pure_python_parser_finds_the_same_mistakes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PyYAML without its C parser finds the same mistakes at the same places."""
    case = NAMED[name]
    monkeypatch.setattr(yaml_reader, "_LOADER", yaml.SafeLoader)
    for path, text in case.files.items():
        (tmp_path / path).write_text(text, "utf-8")
    with pytest.raises(ManifestError) as caught:
        loader.read(tmp_path / "jobs.yaml", environ=ENVIRON, now=NOW).manifest()
    assert said(tmp_path, caught.value) == case.says
