"""The check of the catalogue against WeChat itself, on the emulator."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from harvester.core.calendar import Day
from harvester.core.exit_codes import Exit
from harvester.sandbox import Rules
from harvester.sandbox.data import Row, expected_rows
from harvester.testing import Sandbox, sandbox
from tests.support.doc_pages import ROOT
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.sandboxes import serve_in_thread
from tools.live_check.__main__ import main
from tools.live_check.shapes import shape_of, without_ids

MAX_CALLS = 30


def run(
    wechat: Sandbox, folder: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[Exit, dict[str, Any], str]:
    """Check the first account; return the exit code, the report and its text."""
    manifest = folder / "jobs.yaml"
    manifest.write_text(json.dumps(wechat.manifest(output=str(folder / "output"))))
    code = main([str(manifest), wechat.accounts[0]])
    text = capsys.readouterr().out
    return code, json.loads(text or "{}"), text


@pytest.fixture(scope="module")
def agreed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Exit, str, int, Path]:
    """A check on an emulator that is as the catalogue says: code, report, calls, folder."""
    folder = tmp_path_factory.mktemp("live")
    with sandbox(accounts=2) as wechat, pytest.MonkeyPatch.context() as patch:
        written: list[str] = []
        patch.setattr("sys.stdout.write", written.append)
        (folder / "jobs.yaml").write_text(json.dumps(wechat.manifest(output=str(folder / "out"))))
        code = main([str(folder / "jobs.yaml"), wechat.accounts[0]])
        return code, "".join(written), wechat.requests, folder


def test_the_emulator_is_as_the_catalogue_says(agreed: tuple[Exit, str, int, Path]) -> None:
    """No difference, in some twenty calls of which one is for the token; nothing is written."""
    code, text, requests, folder = agreed
    report = json.loads(text)
    assert code == Exit.DONE
    assert report["differences"] == []
    assert report["calls"] + 1 == requests <= MAX_CALLS
    assert report["quota"]["fits"]
    assert len(report["spans"]) == 15
    assert [path.name for path in folder.iterdir()] == ["jobs.yaml"]


def test_the_report_can_be_sent(agreed: tuple[Exit, str, int, Path]) -> None:
    """It has paths, types and numbers of them, and neither a value nor a name of the account."""
    _, text, _, _ = agreed
    for secret in ("wx0000000000000001", "https://", "sandbox", "rid", "127.0.0.1"):
        assert secret not in text
    for finding in json.loads(text)["findings"]:
        for types in (finding["shape"] or {}).values():
            assert {*types} <= {"object", "list", "integer", "number", "date", "text", "boolean"}


def test_values_are_masked() -> None:
    """Of a text only its type is shown, of a message no word that may identify anything."""
    body = (
        '{"a": [{"title": "秘密", "n": 7}, {"title": null, "n": 1.5}], "2026-01-01": "2026-01-01"}'
    )
    shape = shape_of(body.encode())
    assert shape is not None
    assert shape[".a[].title"] == {"null": 1, "text": 1}
    assert shape[".a[].n"] == {"integer": 1, "number": 1}
    assert "秘密" not in json.dumps(shape, ensure_ascii=False)
    assert shape_of(b"<html>") is None
    said = without_ids("invalid ip 203.0.113.7, not in whitelist rid: 608a6564-495fb669-6d56d31b")
    assert said == "invalid ip … not in whitelist rid: …"


def spoilt(dataset: str, account: str, day: Day) -> list[Row]:
    """Return rows that are not as the catalogue says."""
    rows = [dict(row) for row in expected_rows(dataset, account, day)]
    if dataset == "user_summary":
        return [{**row, "secret_member": 4711} for row in rows]
    if dataset == "interface_summary":
        return [{**row, "fail_count": "many"} for row in rows]
    if dataset == "user_cumulate":
        for row in rows:
            row.pop("cumulate_user", None)
    return rows


def test_differences_are_named_without_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new member, a wrong type and a missing member, each with its endpoint."""
    monkeypatch.setenv("LIVE_SECRET", "s")
    with serve_in_thread(FaultyWeChat(Rules(), time.time, source=spoilt)) as address:
        manifest = {
            "version": 1,
            "api": {"base_url": address},
            "accounts": [
                {"appid": "wx0000000000000001", "credential": {"secret": "${LIVE_SECRET}"}}
            ],
            "jobs": [{"datasets": ["interface_summary"], "begin_date": "-30d"}],
            "limits": {"per_token": {"rate": "1000/s", "burst": 100}},
            "output": str(tmp_path / "output"),
        }
        (tmp_path / "jobs.yaml").write_text(json.dumps(manifest))
        code = main([str(tmp_path / "jobs.yaml"), "wx0000000000000001"])
    text = capsys.readouterr().out
    found = json.loads(text)["differences"]
    assert code == Exit.INCOMPLETE
    assert "getusersummary, answer: undeclared member secret_member" in found
    assert "getusercumulate, answer: no value of cumulate_user" in found
    assert [each for each in found if each.startswith("getinterfacesummary, answer: ")]
    assert "4711" not in text
    assert "many" not in text


def test_a_refused_dataset_is_no_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An account may lack a permission; the report says which."""
    with sandbox(accounts=1) as wechat:
        wechat.fail(wechat.accounts[0], 48001, dataset="user_summary")
        code, report, _ = run(wechat, tmp_path, capsys)
    refused = [each for each in report["findings"] if each["errcode"] == 48001]
    assert {each["dataset"] for each in refused} == {"user_summary"}
    assert (code, report["differences"]) == (Exit.DONE, [])


def test_what_is_not_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """75 without an answer, 4 without a token, 2 for wrong arguments."""
    with sandbox(accounts=1) as wechat:
        wechat.fail("*", 45009)
        code, _, _ = run(wechat, tmp_path, capsys)
        assert code == Exit.AGAIN
        assert main(["jobs.yaml"]) == Exit.USAGE
        assert main([str(tmp_path / "jobs.yaml"), "wx00000000000000ff"]) == Exit.USAGE
        wechat.heal("*")
        wechat.fail("*", 40164)
        code, report, _ = run(wechat, tmp_path, capsys)
        assert (code, report) == (Exit.UNAUTHORISED, {})


def test_the_readme_says_that_it_has_not_been_run() -> None:
    """Until a report of a real account is in the project."""
    text = " ".join((ROOT / "README.md").read_text("utf-8").split())
    assert "has not been run against the real WeChat" in text
