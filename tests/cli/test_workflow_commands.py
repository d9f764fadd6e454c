"""Commands to a GitHub runner: errors as annotations, and nothing that a text could add."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from harvester.cli import invoke
from harvester.cli.output.workflow_commands import (
    MAX_ANNOTATIONS,
    workflow_command,
    write_outputs,
)
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
        "::error title=harvester::CODE: `100%25` is not a whole number"
    ]
    assert invoke(["init", str(tmp_path)]) == Exit.USAGE
    [command] = commands_in(capsys.readouterr().err)
    assert command == f"::error title=harvester::{tmp_path}: File exists"


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


# Outputs of a step


def outputs_in(file: Path) -> dict[str, str]:
    """Read a file of outputs as GitHub's runner does: `name=value`, or a text between marks."""
    found: dict[str, str] = {}
    lines = iter(file.read_text("utf-8").split("\n"))
    for line in lines:
        if not line:
            continue
        name, separator, rest = re.match(r"([^=<]*)(=|<<)?(.*)", line).groups()  # type: ignore[union-attr]
        if separator == "=":
            found[name] = rest
            continue
        assert separator == "<<", line
        text = []
        while (inside := next(lines)) != rest:
            text.append(inside)
        found[name] = "\n".join(text)
    return found


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which a step of a runner sets its outputs; an earlier command has set one."""
    file = tmp_path / "outputs"
    file.write_text("before=1\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(file))
    return file


@pytest.fixture
def sandboxed(tmp_path: Path) -> str:
    """A small manifest on the sandbox."""
    manifest = tmp_path / "jobs.yaml"
    manifest.write_text(
        "api: {base_url: sandbox}\naccounts: [{appid: wx0000000000000001}]\n"
        "jobs: [{datasets: [interface_summary], begin_date: 2026-03-01, end_date: 2026-03-05}]\n"
    )
    return str(manifest)


def test_a_run_sets_the_outputs_of_its_step(outputs: Path, sandboxed: str) -> None:
    """A later step acts on them; outputs of before stay, and the code is the true one."""
    assert invoke(["run", sandboxed]) == Exit.DONE
    assert outputs_in(outputs) == {
        "before": "1",
        "attention": "[]",
        "attention_new": "0",
        "attention_total": "0",
        "outcome": "complete",
        "exit_code": "0",
        "reasons": "",
        "retry_at": "",
        "requests": "1",
        "rows": "5",
        "accounts_failed": "0",
    }
    Path(sandboxed).write_text("no: manifest\n")
    assert invoke(["run", sandboxed]) == Exit.USAGE
    found = outputs_in(outputs)
    assert (found["outcome"], found["exit_code"], found["reasons"]) == ("invalid", "2", "usage")
    assert (found["requests"], found["retry_at"]) == ("0", "")


@pytest.mark.parametrize(
    "file",
    [
        pytest.param("{}", id="a folder"),
        pytest.param("{}/none/outputs", id="in no folder"),
        pytest.param("{}/pipe", id="a pipe that no process reads"),
    ],
)
def test_outputs_that_cannot_be_set_are_a_warning(
    file: str,
    *,
    tmp_path: Path,
    sandboxed: str,
    outputs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The run ends as it would without a runner."""
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv("GITHUB_OUTPUT", file.format(tmp_path))
    assert invoke(["run", sandboxed]) == Exit.DONE
    assert "the outputs of the step are not set" in capsys.readouterr().err
    assert outputs_in(outputs) == {"before": "1"}


def test_without_a_runner_no_output_is_set(
    outputs: Path, sandboxed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the variable holds."""
    monkeypatch.delenv("GITHUB_ACTIONS")
    assert invoke(["run", sandboxed]) == Exit.DONE
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.delenv("GITHUB_OUTPUT")
    assert invoke(["run", sandboxed]) == Exit.DONE
    assert outputs_in(outputs) == {"before": "1"}


@pytest.mark.parametrize("text", [*HOSTILE, "x\noutcome=complete", "\r\nevil<<x\n1\nx"])
def test_no_text_sets_another_output(text: str, outputs: Path) -> None:
    """A text is one line between two that it cannot contain, and nothing in it acts."""
    write_outputs({"reasons": text, "rows": 3, "retry_at": None})
    found = outputs_in(outputs)
    assert list(found) == ["before", "reasons", "rows", "retry_at"]
    assert (found["rows"], found["retry_at"]) == ("3", "")
    assert acts(found["reasons"]) == []
    assert found["reasons"].splitlines() in ([found["reasons"]], [])


def test_the_marks_around_a_text_are_those_of_no_other_text(outputs: Path) -> None:
    """A text that a later run tells cannot contain them either."""
    write_outputs({"reasons": "locked"})
    mark = outputs.read_text("utf-8").rstrip().rpartition("\n")[2]
    write_outputs({"reasons": mark, "rows": 3})
    assert outputs_in(outputs) == {"before": "1", "reasons": mark, "rows": "3"}


def test_one_module_alone_writes_commands() -> None:
    """And `stop-commands` is used nowhere: stdout and stderr have no order between them."""
    writers = [module.name for module in MODULES if re.search(r'f?"::', module.text)]
    assert writers == ["cli.output.workflow_commands"]
    assert not any("stop-commands" in module.text for module in MODULES)


def test_one_function_prints_lines_with_foreign_texts() -> None:
    """They and the cells of tables make a text inert; the catalogue and a bar are our own."""
    makers = [module.name for module in MODULES if re.search(r"\bText\(", module.text)]
    assert makers == [
        "cli.commands.datasets",
        "cli.output.table_layout",
        "cli.output.terminal",
        "verbs.progress",
    ]
