"""A credential that gives two accounts one token is a mistake of the manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from harvester.cli import invoke
from harvester.core.exit_codes import Exit

ONE, TWO, THREE = (f"wx000000000000000{number}" for number in (1, 2, 5))

MANIFEST = """
api: {{base_url: "http://127.0.0.1:9"}}
platform: {{appid: wx00000000000000ff, component_token: "${{PLATFORM}}"}}
defaults: {{owns_tokens: true, credential: {default}}}
accounts:
  - {{appid: {one}, name: First, credential: {own}}}
  - {{appid: {two}}}
  - {{appid: {three}}}
jobs: [{{datasets: [interface_summary_hour], begin_date: -5d}}]
limits: {{max_requests: 1000}}
output: {{path: out, buckets: 2}}
"""

Refused: TypeAlias = Callable[..., str]

OWN = '{secret: "${SECRET}"}'


@pytest.fixture
def mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Return a function that refuses a manifest, and returns what is printed."""
    for name, value in {"SECRET": "s" * 32, "A": "same", "B": "same", "PLATFORM": "p"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def refused(default: str, own: str = OWN, *, verb: str = "run", **options: str) -> str:
        text = MANIFEST.format(default=default, own=own, one=ONE, two=TWO, three=THREE)
        Path("jobs.yaml").write_text(text)
        given = [word for name, value in options.items() for word in (f"--{name}", value)]
        assert invoke([verb, "jobs.yaml", *given]) == Exit.USAGE
        return capsys.readouterr().err

    return refused


@pytest.mark.parametrize("verb", ["run", "check"])
@pytest.mark.parametrize(
    "shared",
    [
        '{token: "${A}"}',
        "{token_command: [cat, token]}",
        '{token_url: "https://tokens.internal/"}',
        '{refresh_token: "${A}"}',
    ],
)
def test_a_credential_that_names_no_account_serves_one(
    mistakes: Refused, verb: str, shared: str
) -> None:
    """Nothing is asked: three accounts would get the same numbers, each under its own name."""
    printed = mistakes(shared, verb=verb)
    assert printed.startswith("error: jobs.yaml:4:")
    assert f": the credential gives {TWO} and {THREE} the same token" in printed
    assert "name {appid} in the credential" in printed


def test_references_are_compared_by_what_they_hold(mistakes: Refused) -> None:
    """Two variables with one token are one credential; the second account has the place."""
    printed = mistakes('{token: "${A}"}', '{token: "${B}"}')
    assert f"the credential gives {ONE} First and {TWO} the same token, and 1 more" in printed
    assert "same" not in printed.replace("the same token", "")


def test_the_accounts_of_all_processes_are_compared(mistakes: Refused) -> None:
    """Though each process has its own part of the accounts."""
    printed = mistakes('{token: "${A}"}', processes="2")
    assert f"the credential gives {TWO} and {THREE} the same token" in printed
