"""Commands to a GitHub runner: errors as annotations, and nothing that a text could add."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from harvester.cli import invoke
from harvester.cli.output.workflow_commands import MAX_ANNOTATIONS, workflow_command
from harvester.core.exit_codes import Exit
from tests.support.hostile_texts import HOSTILE, acts
from tests.support.import_graph import MODULES


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a GitHub runner."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")


def commands_in(text: str) -> list[str]:
    """Return the lines that a runner takes for commands."""
    return [line for line in text.splitlines() if line.lstrip().startswith("::")]


@pytest.mark.usefixtures("github")
def test_mistakes_of_a_manifest_are_annotations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first ten have their file, line and column; GitHub shows no more of a step."""
    manifest = tmp_path / "jobs, 100%.yaml"
    manifest.write_text("".join(f"key{number}: 1\n" for number in range(20)))
    assert invoke(["status", str(manifest)]) == Exit.USAGE
    found = commands_in(capsys.readouterr().err)
    assert len(found) == MAX_ANNOTATIONS
    name = str(manifest).replace("%", "%25").replace(",", "%2C")
    assert found[0].startswith(f"::error file={name},line=1,col=1::")
    assert any("unknown key `key3`" in line for line in found)


@pytest.mark.usefixtures("github")
def test_any_other_error_is_one_annotation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It repeats the line that the log has, with a title."""
    assert invoke(["explain", "100%"]) == Exit.USAGE
    assert commands_in(capsys.readouterr().err) == [
        "::error title=harvester::'100%25' is no errcode"
    ]
    assert invoke(["init", str(tmp_path)]) == Exit.USAGE
    [command] = commands_in(capsys.readouterr().err)
    assert command == f"::error title=harvester::{tmp_path}: exists already"


def test_without_a_runner_there_is_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A terminal or another CI gets the plain lines alone."""
    assert invoke(["explain", "x"]) == Exit.USAGE
    assert commands_in(capsys.readouterr().err) == []


@pytest.mark.parametrize("text", HOSTILE)
def test_data_and_properties_are_encoded(text: str) -> None:
    """No text ends a property or the command, or begins another one."""
    line = workflow_command("error", text, file=text, line=3)
    assert acts(line) == []
    name, data = re.fullmatch(r"::error file=([^:,]*),line=3::(.*)", line).groups()  # type: ignore[union-attr]
    assert "%" not in re.sub("%(25|0D|0A)", "", data)
    assert unquote(name).rstrip() == unquote(data).rstrip()


def test_one_module_alone_writes_commands() -> None:
    """And `stop-commands` is used nowhere: stdout and stderr have no order between them."""
    writers = [module.name for module in MODULES if re.search(r'f?"::', module.text)]
    assert writers == ["cli.output.workflow_commands"]
    assert not any("stop-commands" in module.text for module in MODULES)


def test_one_function_prints_lines_with_foreign_texts() -> None:
    """`print_line` and `cell` make a text inert; the catalogue is harvester's own."""
    makers = [module.name for module in MODULES if re.search(r"\bText\(", module.text)]
    assert makers == ["cli.commands.datasets", "cli.output.answers"]
