"""The gate of ``harvester status --require`` on the command line."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Any

import pytest

from harvester.cli import invoke
from harvester.cli.commands.status import _verdict
from harvester.core.exit_codes import Exit
from harvester.core.model import DayRange
from harvester.core.text.wording import share_text
from harvester.storage.empty_everywhere import EmptyEverywhere
from harvester.verbs import status as surveying
from harvester.verbs.gate import Gate
from harvester.verbs.status import Status
from tests.end_to_end.test_kills import sandbox_process, start, write_manifest
from tests.support.run_harness import appid

WELL, SICK = appid(1), appid(2)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A manifest whose run has ended, with one of its two accounts refused; its secret is unset."""
    with sandbox_process("--unauthorised", SICK) as address:
        path = write_manifest(tmp_path_factory.mktemp("gate"), address, 2)
        assert start(path).wait() == Exit.INCOMPLETE
    return str(path)


def test_lost_days_are_named_in_json(manifest: str, capsys: pytest.CaptureFixture[str]) -> None:
    """3, with each range, its reason and WeChat's code, and nothing left to obtain."""
    gate = ["status", manifest, "--require", "2026-02-03", "--format", "json"]
    assert invoke([*gate, "--ok-exit", "3"]) == Exit.DONE
    capsys.readouterr()
    assert invoke(gate) == Exit.INCOMPLETE
    found = json.loads(capsys.readouterr().out)["gate"]
    assert (found["day"], found["final"]) == ("2026-02-03", False)
    assert (found["obtainable"], found["retry_at"]) == ([], None)
    assert {(lost["appid"], lost["reason"], lost["errcode"]) for lost in found["lost"]} == {
        (SICK, "refused", 48001)
    }
    assert max(lost["end_date"] for lost in found["lost"]) <= "2026-02-03"


def test_lost_days_are_named_in_text(manifest: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The last lines say so, and name the account, the days, the reason and the code."""
    assert invoke(["status", manifest, "--require", "2026-02-03"]) == Exit.INCOMPLETE
    shown = capsys.readouterr().out
    assert "days up to 2026-02-03: nothing more comes by itself" in shown
    assert re.search(rf"{SICK}: \d+ days? of .*2026-02-0\d.*: refused \(48001\)", shown)


@pytest.mark.parametrize(("last", "days"), [(1, "1 account-day"), (2, "2 account-days")])
def test_days_that_can_still_be_obtained_are_counted(last: int, days: str) -> None:
    """One day is no days."""
    lacking = DayRange(SICK, "interface_summary", date(2026, 2, 1), date(2026, 2, last))
    day, at = date(2026, 2, 2), "2026-02-03T02:00:00Z"
    gate = Gate(day, final=False, obtainable=(lacking,), retry_at=at)
    verdict = _verdict(gate)
    assert verdict == f"{days} can still be obtained, from 2026-02-03T02:00:00Z on"


@pytest.mark.parametrize(
    ("share", "text"), [(0.57, "57%"), (0.999_99, "99.9%"), (2 / 3, "66.6%"), (1.0, "100%")]
)
def test_a_share_is_rounded_down_to_what_it_is(share: float, text: str) -> None:
    """57% in binary is a little less."""
    assert share_text(share) == text


def test_a_share_may_be_enough(manifest: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One of two accounts is half of the days; the other one is named with its reason."""
    gate = ["status", manifest, "--require", "2026-02-03", "--at-least"]
    assert invoke([*gate, "50%"]) == Exit.DONE
    shown = capsys.readouterr().out
    assert "days up to 2026-02-03: 50% are there, which is enough; without" in shown
    assert f"{SICK}: " in shown
    assert invoke([*gate, "51%"]) == Exit.INCOMPLETE


def test_a_gate_is_about_the_selected_accounts(
    manifest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """All days of the other account are there, and long final."""
    gate = ["status", manifest, "--require", "ready", "--final", "--accounts", WELL]
    assert invoke(gate) == Exit.DONE
    shown = capsys.readouterr().out
    assert re.search(r"final days up to 20\d\d-\d\d-\d\d: all of them are there", shown)


@pytest.mark.parametrize(
    ("meaning", "code", "said"),
    [
        ("note", Exit.DONE, "all of them are there"),
        ("again", Exit.AGAIN, "WeChat may still fill days that are empty everywhere"),
        ("person", Exit.INCOMPLETE, "nothing more comes by itself"),
    ],
)
def test_the_verdict_on_days_empty_everywhere_is_that_of_the_code(
    meaning: Any,
    code: Exit,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the third day on no run obtains them by itself, although each has an answer."""
    day = date(2026, 5, 17)
    at = 1_779_249_600.0 if meaning == "again" else None
    silent = EmptyEverywhere("user_summary", day, day, 6, 1_779_163_200, meaning, at)
    gate = Gate(day, final=False, empty_everywhere=(silent,))
    nothing = Status((), (), (), (), (), 0, (), gate=gate, empty_everywhere=(silent,))
    monkeypatch.setattr(surveying, "status", lambda *_, **__: nothing)
    assert invoke(["status", "jobs.yaml", "--require", "yesterday"]) == code
    assert f"days up to 2026-05-17: {said}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--require", "tomorrow"), "--require `tomorrow` is not a day"),
        (("--require", "2099-01-01"), "--require `2099-01-01` is after yesterday"),
        (("--final",), "--final is a part of --require"),
        (("--at-least", "95%"), "--at-least is a part of --require"),
        (("--require", "yesterday", "--at-least", "95"), "--at-least `95` is not a share"),
    ],
)
def test_a_gate_without_a_day_is_a_mistake(
    manifest: str, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A gate that waits for no day of the past would be open for ever, or never."""
    assert invoke(["status", manifest, *words]) == Exit.USAGE
    assert said in capsys.readouterr().err
