"""A week of one operator: codes, attention, mails of cron, and what is typed, day by day.

A revoked secret, a late WeChat, accounts without a permission set, a holiday, a client that leaves.
The schedule is that of docs/schedule.md: a run each morning with ``--ok-exit 75``, which cron
mails if its code is not 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import yaml

from harvester.cli import invoke
from harvester.core.calendar import Day, instant, parse_day
from harvester.core.exit_codes import Exit
from harvester.runs import clock as run_clock
from tests.cli.test_until_complete import Life
from tests.support.faulty_wechat import FaultyRules, FaultyWeChat, Late, Outage
from tests.support.run_harness import appid
from tests.support.sandboxes import serve_in_thread

MONDAY = parse_day("2026-05-18")
ACCOUNTS = 12
UNVERIFIED = [appid(number) for number in range(9, ACCOUNTS + 1)]
REVOKED, LATE, LEAVING = appid(1), appid(2), appid(3)
DATASETS = ["user_summary", "user_cumulate"]
ARTICLES = ["article_read"]


class Morning(NamedTuple):
    """The end of a run: its code, the keys that need a person, the new ones, and a mail."""

    code: int
    keys: list[str]
    new: int
    is_mailed: bool


@dataclass
class Desk:
    """The operator's manifest and commands, and the WeChat that they meet."""

    folder: Path
    life: Life
    world: FaultyWeChat
    capsys: pytest.CaptureFixture[str]
    jobs: dict[str, Any]
    day: Day = MONDAY
    typed: list[str] = field(default_factory=list)

    def write(self) -> None:
        """Save the manifest."""
        self.manifest.write_text(yaml.safe_dump(self.jobs, allow_unicode=True))

    @property
    def manifest(self) -> Path:
        """The manifest."""
        return self.folder / "jobs.yaml"

    def account(self, name: str) -> dict[str, Any]:
        """Return the entry of an account."""
        [found] = [each for each in self.jobs["accounts"] if each["appid"] == name]
        assert isinstance(found, dict)
        return found

    def command(self, *words: str) -> tuple[int, str]:
        """Type a command; returns its exit code and its answer."""
        verb, *options = words
        self.typed.append(" ".join(["harvester", *words]))
        code = invoke([verb, str(self.manifest), *options])
        return code, self.capsys.readouterr().out

    def morning(self) -> Morning:
        """Let the schedule run at noon of the next day."""
        self.day += 1
        self.life.jumped += max(0.0, instant(self.day, 12 * 60) - self.life())
        summary = self.folder / "summary.json"
        options = ["--summary", str(summary), "--progress", "none", "--ok-exit", "75"]
        code = invoke(["run", str(self.manifest), *options])
        self.capsys.readouterr()
        record = json.loads(summary.read_bytes())
        keys = [item["key"] for item in record["attention"]]
        return Morning(record["exit_code"], keys, record["attention_new"], code != Exit.DONE)

    def paste(self) -> None:
        """Paste the lines of `status --acknowledge` into the manifest."""
        code, lines = self.command("status", "--acknowledge")
        assert code == Exit.DONE
        pasted: dict[str, Any] = {}
        for line in lines.splitlines():
            place, _, rest = line.strip().partition(" ")
            if place == "#":
                pasted[name_in(rest)] = None
            elif line.strip().startswith("paused:"):
                last = next(reversed(pasted))
                pasted[last] = yaml.safe_load(line.strip())["paused"]
        for name, pause in pasted.items():
            self.account(name)["paused"] = pause
        self.write()


def name_in(text: str) -> str:
    """Return the appid in a line."""
    return next(word.strip(":,") for word in text.split() if word.startswith("wx"))


@pytest.fixture
def desk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    """Twelve accounts, two datasets, and the last two weeks."""
    life = Life(began=instant(MONDAY, 11 * 60))
    world = FaultyWeChat(FaultyRules(), life)
    monkeypatch.setattr(run_clock, "boot_seconds", life.elapsed)
    monkeypatch.setattr(run_clock, "time", SimpleNamespace(time=life))
    (tmp_path / "secret").write_text("the-secret\n")
    with serve_in_thread(world) as address:
        jobs = {
            "version": 1,
            "api": {"base_url": address},
            "defaults": {"credential": {"secret": "${file:secret}"}},
            "accounts": [
                {"appid": appid(number), "name": f"Client {number}"}
                for number in range(1, ACCOUNTS + 1)
            ],
            "jobs": [{"datasets": DATASETS, "begin_date": "2026-05-05"}],
            "limits": {"per_token": {"rate": "1000/s", "burst": 100}},
            "output": "output",
        }
        found = Desk(tmp_path, life, world, capsys, jobs)
        found.write()
        yield found


def test_a_week(desk: Desk) -> None:
    """A person is called on the days on which something began, and on no other."""
    assert desk.morning() == Morning(0, [], 0, is_mailed=False)

    # Wednesday: one secret is revoked, and WeChat is late for another account.
    secret = f"refused/{REVOKED}/40125"
    desk.world.fail(REVOKED, 40125, dataset="token")
    late = Late(appid=LATE, begin=desk.day, end=desk.day + 1, days=1, unready=True)
    desk.world.add_data_fault(late)
    assert desk.morning() == Morning(76, [secret], 1, is_mailed=True)
    desk.paste()
    assert "40125" in desk.account(REVOKED)["paused"]["reason"]

    # Thursday: WeChat is late for another day, and nothing else is the matter.
    assert desk.morning() == Morning(75, [], 0, is_mailed=False)
    shown = desk.command("status", "--by", "account")[1]
    assert "paused" in shown

    # Friday: articles are wanted too, and four accounts are not verified.
    desk.world.remove_data_fault(late)
    for name in UNVERIFIED:
        desk.world.fail(name, 48001, dataset="article_read")
    desk.jobs["jobs"].append({"datasets": ARTICLES, "begin_date": "2026-05-12"})
    desk.write()
    refused = [f"refused/{name}/48001" for name in UNVERIFIED]
    assert desk.morning() == Morning(3, refused, len(refused), is_mailed=True)
    desk.paste()
    assert desk.account(UNVERIFIED[0])["paused"]["datasets"] == ARTICLES

    # Saturday: a new secret has come, so the pause is taken out.
    desk.world.heal(REVOKED, dataset="token")
    del desk.account(REVOKED)["paused"]
    desk.write()
    assert desk.morning() == Morning(0, [], 0, is_mailed=False)

    # Sunday: no account has rows of a dataset, and they come a day late.
    outage = Outage(datasets=("user_summary",), begin=desk.day, end=desk.day)
    desk.world.add_data_fault(outage)
    assert desk.morning() == Morning(75, [], 0, is_mailed=False)
    desk.world.remove_data_fault(outage)
    assert desk.morning() == Morning(0, [], 0, is_mailed=False)

    # And a client leaves.
    desk.jobs["accounts"].remove(desk.account(LEAVING))
    desk.write()
    assert desk.morning() == Morning(0, [], 0, is_mailed=False)
    shown = desk.command("status", "--by", "account")[1]
    assert LEAVING in shown
    assert "harvester forget" in shown
    assert desk.command("forget", "--accounts", LEAVING)[0] == Exit.DONE
    shown = desk.command("status", "--by", "account")[1]
    assert LEAVING not in shown
