"""Stdout and stderr closed, full, or in an old charset: no traceback, and the same exit code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harvester.cli.output import streams
from harvester.core.errors import HarvesterError
from harvester.core.exit_codes import Exit
from harvester.core.secret import Secret
from tests.end_to_end.test_kills import ENVIRONMENT, sandbox_process, write_manifest
from tests.support.nights import by_night
from tests.support.run_harness import appid

OLD_CHARSET = {
    "LANG": "C",
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "TERM": "dumb",
    "COLUMNS": "20",
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A manifest on a server that refuses one of its two accounts: a run ends with 3."""
    folder = tmp_path_factory.mktemp("streams")
    with sandbox_process("--unauthorised", appid(2)) as address:
        manifest = write_manifest(folder, address, 2)
        text = manifest.read_text()
        text = text.replace(f"appid: {appid(1)}", f"{{appid: {appid(1)}, name: 微信店}}")
        manifest.write_text(text.replace("2026-04-01", "2026-02-02"), "utf-8")
        yield manifest


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which ``harvester`` is this checkout's."""
    line = f'harvester() {{ {sys.executable} -m harvester "$@"; }}; {line}'
    return subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", line],
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        env={**ENVIRONMENT, **environment},
    )


@pytest.mark.long
@pytest.mark.parametrize(
    "redirected",
    [
        "",
        "<&- >&- 2>&-",
        "> /dev/full",
        "2> /dev/full",
        "2>&1 | true",
        *by_night(
            [
                ">&-",
                "2>&-",
                "--summary /dev/full",
                "--progress bar 2> /dev/full",
                "--log-format json --log-level debug 2> /dev/full",
                "2>&1 | head -1",
            ]
        ),
    ],
)
def test_the_state_of_the_streams_changes_no_exit_code(refused: Path, redirected: str) -> None:
    """The exit code is 3, as with open streams, and there is no traceback."""
    ended = shell(f"harvester run {refused} {redirected}")
    assert ended.returncode == Exit.INCOMPLETE, ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    locks = refused.parent / "output/_harvester/locks/0000-of-0001.lock"
    assert locks.read_bytes().startswith(b'{"host"')
    assert locks.read_bytes().endswith(b"}")


@pytest.mark.long
def test_an_old_charset_and_a_dumb_terminal(refused: Path) -> None:
    """Characters outside of the charset are escaped, and the exit code is the same."""
    ended = shell(f"harvester run {refused}", **OLD_CHARSET)
    assert ended.returncode == Exit.INCOMPLETE
    assert "Traceback" not in ended.stderr
    shown = shell("harvester datasets interface_summary; harvester schema", **OLD_CHARSET)
    assert (shown.returncode, shown.stderr) == (0, "")


@pytest.mark.long
def test_a_gate_keeps_its_exit_code_with_a_closed_pipe(refused: Path) -> None:
    """The exit code is 3, as without the pipe."""
    assert shell(f"harvester run {refused}").returncode == Exit.INCOMPLETE
    gate = f"harvester status {refused} --require ready"
    assert shell(gate).returncode == Exit.INCOMPLETE
    for sink in ("| true", "| head -1", ">&-"):
        ended = shell(f"{gate} {sink}")
        assert (ended.returncode, ended.stderr) == (Exit.INCOMPLETE, "")


def test_an_answer_that_cannot_be_written_is_a_failure(refused: Path) -> None:
    """A full disk behind stdout is an error, because the file must not pass for an answer."""
    ended = shell(f"harvester plan {refused} --format json > /dev/full")
    assert ended.returncode == Exit.BUG
    assert ended.stderr == "error: stdout: No space left on device\n"


@pytest.mark.long
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("harvester --help | true", Exit.DONE),
        ("harvester --help > /dev/full", Exit.DONE),
        ("harvester --version >&-", Exit.DONE),
        ("harvester run --nonsense 2> /dev/full", Exit.USAGE),
        ("harvester run --nonsense 2>&1 | true", Exit.USAGE),
        ("harvester run no-such.yaml 2>&1 | true", Exit.USAGE),
        ("harvester schema | true", Exit.DONE),
    ],
)
def test_help_and_usage_errors_survive_their_streams(line: str, code: Exit) -> None:
    """Help and usage errors keep their exit code if a stream is closed or full."""
    ended = shell(line)
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr


def test_an_error_shows_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever path, host or file an error names: a value that is secret is masked in it."""
    value = Secret("an-app-secret-of-this-test").reveal()
    streams.report_error(HarvesterError(f"/mnt/{value}: no such folder", f"make /mnt/{value}"))
    assert capsys.readouterr().err == "error: /mnt/***: no such folder\n\nmake /mnt/***\n"
