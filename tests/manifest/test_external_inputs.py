"""The external inputs of a run, and the warning about secret files that other users can read."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from harvester.cli import invoke
from harvester.core import calendar
from harvester.core.config.credentials import Command
from harvester.core.exit_codes import Exit
from harvester.manifest import external_inputs, loader, narrowing
from harvester.manifest.narrowing import Selection
from harvester.manifest.resolve_credentials import CredentialReader

NOW = calendar.instant(calendar.parse_day("2026-06-15"), 12 * 60)

MANIFEST = """
version: 1
api: {base_url: "http://127.0.0.1:9", timeout: 1s}
defaults: {credential: {secret: "${file:secrets/{appid}}"}}
accounts:
  - appid: wx0000000000000001
  - appid: wx0000000000000002
  - {appid: wx0000000000000003, credential: {secret: "${THREE}"}}
  - {appid: wx0000000000000004, credential: {token: "${FOUR_{appid}}"}}
  - {appid: wx0000000000000005, credential: {secret: "${UNUSED}"}}
jobs:
  - datasets: [interface_summary]
    accounts: {except: [wx0000000000000005]}
    begin_date: 2026-03-01
    end_date: 2026-03-02
limits: {max_requests: 1}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A manifest without the files and variables that it refers to."""
    path = tmp_path / "jobs.yaml"
    path.write_text(MANIFEST)
    return path


def test_external_inputs_are_listed_without_reading_them(file: Path) -> None:
    """Inputs of accounts without a job are left out."""
    found = external_inputs.touched(loader.read(file, environ={}, now=NOW).manifest())
    assert found.variables == ("THREE", "FOUR_wx0000000000000004")
    secrets = file.parent / "secrets"
    assert found.files == (
        file,
        secrets / "wx0000000000000001",
        secrets / "wx0000000000000002",
    )
    assert found.hosts == ("127.0.0.1",)


def test_the_host_of_an_object_store_is_an_input(file: Path) -> None:
    """An endpoint is where the output is, so a run needs it as it needs WeChat."""
    store = 'output: {path: "s3://bucket/x", endpoint: "https://store.test:9000"}'
    file.write_text(f"{MANIFEST}{store}\n")
    found = external_inputs.touched(loader.read(file, environ={}, now=NOW).manifest())
    assert found.hosts == ("127.0.0.1", "store.test")


@pytest.fixture
def secrets(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The files and variables of the manifest, the files readable by their owner only."""
    monkeypatch.setenv("THREE", "x" * 32)
    monkeypatch.setenv("FOUR_wx0000000000000004", "y" * 32)
    folder = file.parent / "secrets"
    folder.mkdir()
    for number in (1, 2):
        path = folder / f"wx000000000000000{number}"
        path.write_text("z" * 32)
        path.chmod(0o600)
    # pytest keeps its folders for their owner, and that would hide the files below.
    closed = [path for path in folder.parents if not path.stat().st_mode & stat.S_IXOTH]
    for path in closed:
        path.chmod(path.stat().st_mode | stat.S_IXOTH)
    yield folder
    for path in closed:
        path.chmod(path.stat().st_mode & ~stat.S_IXOTH)


@pytest.mark.parametrize(
    ("opened", "words"),
    [
        ((), ""),
        ((1,), "every user of this machine: secrets/wx0000000000000001: chmod o-r"),
        ((1, 2), "every user of this machine: secrets/wx0000000000000001 and 1 more: chmod o-r"),
    ],
)
def test_a_secret_file_that_other_users_can_read_is_warned_about(
    file: Path,
    secrets: Path,
    opened: tuple[int, ...],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One warning before any request has the first file and the number of the others."""
    for number in opened:
        (secrets / f"wx000000000000000{number}").chmod(0o604)
    assert invoke(["run", str(file)]) == Exit.USAGE
    printed = capsys.readouterr().err
    assert printed.count("readable by every user") == bool(opened)
    assert words in printed


def test_a_folder_for_its_owner_alone_protects_what_lies_in_it(
    file: Path, secrets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mounted secrets, whose own mode cannot be set, are protected in this way."""
    (secrets / "wx0000000000000001").chmod(0o644)
    secrets.chmod(0o700)
    invoke(["run", str(file)])
    assert "readable by every user" not in capsys.readouterr().err


def test_a_platform_is_named_if_an_account_is_opened_through_it(file: Path) -> None:
    """The list has the platform's secret, its ticket and the program of its sink."""
    platform = """
platform:
  appid: wx00000000000000ff
  secret: "${PLATFORM}"
  verify_ticket: {command: [tickets, read]}
  sink: {command: [keep, "{appid}"]}
"""
    file.write_text(MANIFEST + platform)
    found = external_inputs.touched(loader.read(file, environ={}, now=NOW).manifest())
    assert "PLATFORM" not in found.variables
    assert found.programs == ()
    file.write_text(MANIFEST + platform + "accounts_from: platform\n")
    found = external_inputs.touched(loader.read(file, environ={}, now=NOW).manifest())
    assert "PLATFORM" in found.variables
    assert found.programs == ("tickets", "keep")


COMMANDS = """
accounts:
  - {appid: wx0000000000000001, credential: {token_command: [get]}}
  - {appid: wx0000000000000002, credential: {secret: "${S_{appid}}"}}
  - appid: wx0000000000000003
    name: c
    credential: {token_url: "https://t.test/{name}?a=${U_{name}}", headers: {X: "k ${H}"}}
  - {appid: wx0000000000000004, credential: {refresh_token: "${R}"}, owns_tokens: true}
platform:
  appid: wx00000000000000ff
  secret: "${P}"
  verify_ticket: {command: [tickets]}
  sink: {command: [keep, "{appid}"]}
jobs: [{accounts: wx0000000000000001, end_date: "${END:-2026-06-01}"}]
"""


def test_commands_do_not_inherit_the_variables_of_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all accounts and the platform, whichever accounts an operation is narrowed to."""
    file = tmp_path / "jobs.yaml"
    file.write_text(COMMANDS)
    made = loader.read(file, environ={}, now=NOW).manifest()
    hidden = {"S_wx0000000000000002", "U_c", "H", "R", "P"}
    assert made.secret_variables == hidden
    chosen = narrowing.narrow(made, Selection(accounts=("wx0000000000000001",)), NOW)
    [one] = chosen.accounts
    command = CredentialReader().access(chosen, one)
    assert isinstance(command, Command)
    assert command.hidden == hidden
    monkeypatch.setenv("P", "s")
    opened = CredentialReader().platform(chosen)
    assert opened is not None
    assert isinstance(opened.ticket, Command)
    assert opened.sink is not None
    into = opened.sink("wx0000000000000001")
    assert isinstance(into, Command)
    assert opened.ticket.hidden == into.hidden == hidden
