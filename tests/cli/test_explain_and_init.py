"""`harvester explain` and `harvester init`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harvester.catalogue.error_codes import DATA_RULES, TOKEN_RULES
from harvester.cli import invoke
from harvester.cli.commands.explain import DOES
from harvester.core.exit_codes import Exit


@pytest.mark.parametrize("code", sorted({*DATA_RULES, *TOKEN_RULES, 99_999}))
def test_every_code_is_explained(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Text and JSON agree with the table of codes."""
    assert invoke(["explain", str(code)]) == Exit.DONE
    said = capsys.readouterr().out
    assert invoke(["explain", str(code), "--format", "json"]) == Exit.DONE
    found = json.loads(capsys.readouterr().out)
    assert (found["errcode"], found["known"]) == (code, code != 99_999)
    for member in ("meaning", "advice", "scope"):
        assert found["data"][member] in said
    assert found["token"]["scope"] == "account"
    assert {rule.action for rule in DATA_RULES.values()} <= DOES.keys()


def test_a_code_means_something_else_to_a_call_for_a_token(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """40001 is an expired token for a data call and a wrong AppSecret for a token call."""
    invoke(["explain", "40001"])
    data, token = capsys.readouterr().out.split("to a call for a token: ")
    assert "fetches another token" in data
    assert token.startswith("the AppSecret is wrong")


def test_an_unknown_code_has_a_rule(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown code stops its window, and at the token endpoint the account."""
    invoke(["explain", "99999"])
    data, token = capsys.readouterr().out.split("to a call for a token: ")
    assert "99999 is a code that is not in harvester's table" in data
    assert "scope   window" in data
    assert "scope   account" in token


def test_a_code_that_is_repeated_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """50002 stops the account when it comes twice."""
    invoke(["explain", "50002"])
    said = capsys.readouterr().out
    assert "repeats the request once after a delay, then asks no more" in said
    assert "to a call for a token" not in said


@pytest.mark.parametrize("text", ["quota", "", "45009x"])
def test_what_is_no_code_is_a_usage_error(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The message quotes the text."""
    assert invoke(["explain", text]) == Exit.USAGE
    assert "is not a whole number" in capsys.readouterr().err


def test_a_first_manifest_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The manifest is the same on stdout and as a file, runs, and overwrites no file."""
    monkeypatch.chdir(tmp_path)
    assert invoke(["init"]) == Exit.DONE
    printed = capsys.readouterr().out
    assert invoke(["init", "jobs.yaml"]) == Exit.DONE
    manifest = tmp_path / "jobs.yaml"
    assert manifest.read_text("utf-8") == printed
    assert invoke(["plan", "jobs.yaml"]) == Exit.DONE
    assert "interface_summary_hour" in capsys.readouterr().out
    manifest.write_text("mine")
    assert invoke(["init", "jobs.yaml"]) == Exit.USAGE
    assert "File exists" in capsys.readouterr().err
    assert manifest.read_text() == "mine"
    assert invoke(["init", "no/such/folder.yaml"]) == Exit.USAGE
    assert "No such file" in capsys.readouterr().err


def test_what_is_commented_out_is_valid_too(tmp_path: Path) -> None:
    """Every commented line of the manifest is valid."""
    manifest = tmp_path / "jobs.yaml"
    assert invoke(["init", str(manifest)]) == Exit.DONE
    text = manifest.read_text("utf-8")
    for section in ("limits", "retry"):
        begin = text.index(f"# {section}:")
        end = text.index("\n\n", begin)
        text = (
            text[:begin] + text[begin:end].replace("# ", "", 1).replace("\n# ", "\n") + text[end:]
        )
    text = text.replace("    # end_date", "    end_date").replace(
        "    # accounts:", "    accounts:"
    )
    manifest.write_text(text, "utf-8")
    assert invoke(["plan", str(manifest)]) == Exit.DONE
