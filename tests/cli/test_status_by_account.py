"""`status --by account`: what is complete is one line, and what is in no manifest has its price."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from harvester.cli import invoke
from harvester.core.exit_codes import Exit
from harvester.storage.layout import MANIFESTS
from tests.support.run_harness import appid, newest_days


def write(*numbers: int, **of_all: Any) -> None:
    """Write a manifest of the emulator with these accounts."""
    accounts = [{"appid": appid(number), **of_all} for number in numbers]
    jobs = [{"datasets": "user_*", **newest_days(3)}]
    whole = {"api": {"base_url": "sandbox"}, "accounts": accounts, "jobs": jobs, "output": "out"}
    Path("jobs.yaml").write_text(json.dumps(whole), "utf-8")


@pytest.fixture
def shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> pytest.CaptureFixture[str]:
    """A folder with a manifest of two accounts after its run, and what is printed from then on."""
    monkeypatch.chdir(tmp_path)
    write(1, 2)
    assert invoke(["run", "jobs.yaml", "--progress", "none"]) == Exit.DONE
    capsys.readouterr()
    return capsys


def test_complete_accounts_are_folded_into_one_line(shown: pytest.CaptureFixture[str]) -> None:
    """They have rows, with the days that may change, once all are asked for."""
    assert invoke(["status", "--by", "account"]) == Exit.DONE
    assert shown.readouterr().out == "2 accounts: 2 complete (--all lists the complete ones)\n"
    assert invoke(["status", "--by", "account", "--all"]) == Exit.DONE
    lines = shown.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["appid", "percent", "provisional"]
    found = [line.split()[:3] for line in lines[1:3]]
    # One day more of each dataset is final in the hours before yesterday is ready.
    assert found in [[[appid(n), "100.0", count] for n in (1, 2)] for count in ("4", "6")]
    assert lines[-1] == "2 accounts: 2 complete"


def test_a_new_account_is_backfilling_and_a_late_one_pending(
    shown: pytest.CaptureFixture[str],
) -> None:
    """Only the newest week may be missing of an account that is pending."""
    write(1, 3)
    assert invoke(["status", "--by", "account"]) == Exit.DONE
    assert "1 pending, 1 complete" in shown.readouterr().out
    text = Path("jobs.yaml").read_text("utf-8")
    text = text.replace(newest_days(3)["begin_date"], newest_days(30)["begin_date"])
    Path("jobs.yaml").write_text(text, "utf-8")
    assert invoke(["status", "--by", "account", "--format", "json"]) == Exit.DONE
    states = [each["state"] for each in json.loads(shown.readouterr().out)["accounts"]]
    assert states == ["backfilling", "backfilling"]


def test_an_account_in_no_manifest_has_the_price_and_the_command_of_forget(
    shown: pytest.CaptureFixture[str],
) -> None:
    """Once a run without it has ended; the command works, and has its verb in the last runs."""
    write(2)
    assert invoke(["run", "--progress", "none"]) == Exit.DONE
    assert invoke(["status", "--by", "account", "--accounts", appid(2)]) == Exit.DONE
    assert "in no manifest" not in shown.readouterr().out
    assert invoke(["status", "--by", "account"]) == Exit.DONE
    *_, title, account, price, command = shown.readouterr().out.splitlines()
    assert title == "in no manifest: 1 account"
    assert account == f"  {appid(1)}: 6 account-days"
    assert price.startswith("  to delete them for good: 6 account-days in ")
    assert command.strip() == f"harvester forget --accounts {appid(1)}"
    assert invoke(shlex.split(command)[1:]) == Exit.DONE
    assert invoke(["status", "--by", "account"]) == Exit.DONE
    assert "in no manifest" not in shown.readouterr().out.partition("account-days")[2]
    assert invoke(["status"]) == Exit.DONE
    verbs = [line.split()[:1] + line.split()[2:3] for line in _last_runs(shown.readouterr().out)]
    assert verbs == [["+", "forget"], ["+", "run"], ["+", "run"]]


def test_an_account_of_another_manifest_is_in_one(shown: pytest.CaptureFixture[str]) -> None:
    """Two manifests may share an output, and the last run of each has kept it."""
    Path("jobs.yaml").rename("other.yaml")
    assert invoke(["run", "other.yaml", "--progress", "none"]) == Exit.DONE
    write(2)
    shown.readouterr()
    assert invoke(["status", "--by", "account"]) == Exit.DONE
    assert "in no manifest" not in shown.readouterr().out


def test_a_long_pause_is_told_with_its_age(shown: pytest.CaptureFixture[str]) -> None:
    """In both views, and from 30 days on as a long one."""
    write(1, 2, paused="new secret asked for")
    assert invoke(["run", "--progress", "none"]) == Exit.DONE
    (file,) = Path("out", MANIFESTS).iterdir()
    kept = json.loads(file.read_text("utf-8"))
    kept["paused_since"] = {appid(1): "2026-01-31"}
    file.write_text(json.dumps(kept), "utf-8")
    shown.readouterr()
    for view in ([], ["--by", "account"]):
        assert invoke(["status", *view]) == Exit.DONE
        printed = shown.readouterr().out
        assert "new secret asked for (paused for long, since 2026-01-31)" in printed
        assert printed.count("paused for long") == 1


def test_nothing_wanted_is_one_line(shown: pytest.CaptureFixture[str]) -> None:
    """No table of zeros."""
    write(1, begin_date="2026-01-01", end_date="2026-01-02")
    assert invoke(["status"]) == Exit.DONE
    assert shown.readouterr().out.startswith("nothing is wanted: ")


def _last_runs(printed: str) -> list[str]:
    listed = printed.partition("last runs\n")[2].partition("\n\n")[0]
    return [line.strip() for line in listed.splitlines()]
