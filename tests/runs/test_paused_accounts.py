"""Paused accounts: not asked, in no exit code and no gate, and named with their reason."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from harvester.cli import invoke
from harvester.core import calendar
from harvester.core.config.settings import Manifest, Pause
from harvester.core.exit_codes import Exit
from harvester.core.results import PausedAccount
from harvester.manifest import loader
from harvester.planning import wanted_days
from harvester.sandbox import Rules
from harvester.verbs import status
from harvester.verbs.check import check_accounts
from harvester.verbs.check_report import State
from harvester.verbs.gate import Required
from tests.support.cli import CommandLine, JobScope, command_line
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.run_harness import DAILY, RunHarness, appid

SICK, WELL = appid(1), appid(2)
ARTICLES = "article_read"
FAMILY = [ARTICLES, "article_share", "biz_summary", "article_total_detail"]
REASON = "new secret asked for"
PAUSED: dict[str, Any] = {
    "appid": SICK,
    "name": "Acme",
    "reason": REASON,
    "datasets": [],
    "until": None,
}
UNTIL = "2099-12-31"


class PausingHarness(RunHarness):
    """A harness whose first account is paused, if ``pause`` names datasets only with these."""

    pause: tuple[str, ...] = ()

    def manifest(self) -> Manifest:
        """Return the manifest with a reason at its first account."""
        found = super().manifest()
        first, *others = found.accounts
        pause: Any = Pause(REASON, self.pause) if self.pause else REASON
        return replace(found, accounts=(replace(first, name="Acme", paused=pause), *others))


@pytest.fixture
def lab(tmp_path: Path) -> PausingHarness:
    """Two accounts of which the first is paused, at noon."""
    return PausingHarness(tmp_path, accounts=2, datasets=(DAILY,))


@pytest.fixture
def harvester(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[CommandLine]:
    """The command line on two accounts; the first is paused, and its secret is not there."""
    monkeypatch.setenv("COMMANDS_SECRET", "known")
    monkeypatch.delenv("ASKED_FOR", raising=False)
    scope = JobScope((DAILY,), "2026-02-01", "2026-02-03")
    with command_line(tmp_path, scope, FaultyWeChat(Rules(), time.time), capsys) as found:
        paused = (
            f'{{appid: {SICK}, name: Acme, paused: "{REASON}", '
            'credential: {secret: "${ASKED_FOR}"}}'
        )
        text = found.manifest.read_text()
        found.manifest.write_text(text.replace(f"{{appid: {SICK}}}", paused))
        yield found


def test_a_paused_account_is_not_asked_and_leaves_the_run_complete(lab: PausingHarness) -> None:
    """Its reason is in the summary, whatever the others come to."""
    done = lab.run()
    assert {asked.appid for asked in lab.sandbox.windows} == {WELL}
    assert SICK not in lab.sandbox.counters.token_calls
    assert done.exit_code is Exit.DONE
    assert done.paused == (PausedAccount(SICK, "Acme", REASON),)
    lab.sandbox.fail(WELL, 48001)
    lab.begin = "2026-02-01"
    assert lab.run().exit_code is Exit.INCOMPLETE


def test_a_paused_account_counts_for_no_gate(lab: PausingHarness) -> None:
    """Nothing of it is missing, at any day that is required, and its reason is told."""
    lab.run()
    for day in (None, calendar.parse_day("2026-03-31")):
        found = status.survey(lab.manifest(), lab.tree, lab.now(), Required(day, final=True))
        assert found.gate is not None
        assert found.gate.exit_code is Exit.DONE
    found = status.survey(lab.manifest(), lab.tree, lab.now())
    assert found.complete
    assert [(row.dataset, row.accounts) for row in found.datasets] == [(DAILY, 1)]
    assert found.paused == (PausedAccount(SICK, "Acme", REASON),)


def test_rows_stay_when_their_account_is_paused(lab: PausingHarness) -> None:
    """A pause is no wish to forget: the rows are there, and later runs add those of others."""
    whole = super(PausingHarness, lab).manifest()
    before = lab.tree
    lab.run()
    unpaused = RunHarness(lab.root, accounts=2, datasets=(DAILY,))
    assert unpaused.run().exit_code is Exit.DONE
    assert {asked.appid for asked in unpaused.sandbox.windows} == {SICK}
    lab.end = "2026-04-30"
    assert lab.run().exit_code is Exit.DONE
    states = status.survey(whole, before, lab.now())
    assert not states.gaps


def test_a_run_of_nothing_but_paused_accounts_asks_nothing(lab: PausingHarness) -> None:
    """It is complete, and needs no secret and no clock of WeChat's."""
    lab.accounts = 1
    assert lab.run().exit_code is Exit.DONE
    assert not lab.sandbox.counters.token_calls


def test_no_day_of_a_paused_account_gets_ready(lab: PausingHarness) -> None:
    """So no run is announced for it, and no calls are kept for its next day."""
    lab.accounts, lab.end, lab.minute = 1, None, 9 * 60
    paused = lab.manifest()
    whole = replace(paused, accounts=(replace(paused.accounts[0], paused=None),))
    assert wanted_days.next_ready_at(whole, lab.now()) is not None
    assert wanted_days.next_ready_at(paused, lab.now()) is None
    assert wanted_days.calls_kept(whole, lab.now())[DAILY]
    assert not wanted_days.calls_kept(paused, lab.now())[DAILY]


def test_check_tries_a_paused_account_once(lab: PausingHarness) -> None:
    """One token and one call; what they show is in no exit code."""
    found = anyio.run(check_accounts, lab.manifest(), lab.world())
    assert [account.appid for account in found.accounts] == [WELL]
    assert [(one.paused, one.state) for one in found.paused] == [
        (PausedAccount(SICK, "Acme", REASON), State.WORKS)
    ]
    assert lab.sandbox.counters.token_calls[SICK] == lab.sandbox.counters.calls[SICK] == 1
    assert not found.paused[0].allowances
    lab.sandbox.fail(SICK, 48001)
    found = anyio.run(check_accounts, lab.manifest(), lab.world())
    assert found.exit_code is Exit.DONE
    assert found.paused[0].state is State.REFUSED


def test_a_check_of_nothing_but_paused_accounts_is_no_lack_of_accounts(lab: PausingHarness) -> None:
    """4 says that no account could be authorised, and none was expected to be."""
    lab.accounts = 1
    lab.sandbox.fail(SICK, 48001)
    assert anyio.run(check_accounts, lab.manifest(), lab.world()).exit_code is Exit.DONE


def test_every_verb_names_paused_accounts(harvester: CommandLine) -> None:
    """Appid, name and reason in text and in JSON; the unset secret stops none of them."""
    told = f"{SICK} Acme: {REASON}"
    for verb in ("plan", "status"):
        assert told in harvester(verb).out
        assert harvester(verb, "--format", "json").json["paused"] == [PAUSED]
    assert told in harvester("check", "--offline").out
    ran = harvester("run", "--progress", "none")
    assert ran.code == Exit.DONE
    assert told in ran.err
    assert harvester.record()["paused"] == [PAUSED]
    told_to_programs = harvester("run", "--log-format", "json").err.splitlines()
    assert json.loads(told_to_programs[-1])["record"]["paused"] == [PAUSED]
    gate = harvester("status", "--require", "2026-02-03", "--format", "json")
    assert (gate.code, gate.json["paused"]) == (Exit.DONE, [PAUSED])
    assert harvester("plan", "--accounts", SICK).code == Exit.DONE


def test_check_says_whether_a_paused_account_works_again(
    harvester: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unset secret is its finding alone, and is told until the secret is there."""
    found = harvester("check")
    assert found.code == Exit.DONE
    assert f"{SICK} Acme: {REASON} (still: the credential of {SICK}" in found.out
    assert "`ASKED_FOR`, which is not set" in found.out
    monkeypatch.setenv("ASKED_FOR", "renewed")
    assert f"{SICK} Acme: {REASON} (it works again: take `paused` off)" in harvester("check").out
    [paused] = harvester("check", "--format", "json").json["paused"]
    assert (paused["appid"], paused["reason"], paused["works_again"]) == (SICK, REASON, True)


def test_check_says_that_a_paused_account_has_no_platform_that_can_be_read(
    harvester: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is its finding alone, as an unset secret of its own is: the others are asked."""
    monkeypatch.setenv("ASKED_FOR", "refresh-token")
    text = harvester.manifest.read_text().replace(
        'credential: {secret: "${ASKED_FOR}"}',
        'owns_tokens: true, credential: {refresh_token: "${ASKED_FOR}"}',
    )
    platform = 'platform: {appid: wx00000000000000ff, component_token: "${UNSET}"}'
    harvester.manifest.write_text(f"{text}{platform}\n")
    found = harvester("check")
    assert found.code == Exit.DONE
    assert f"{SICK} Acme: {REASON} (still: the secrets of its platform cannot be read" in found.out


def test_check_prints_the_lines_that_pause_what_was_refused(harvester: CommandLine) -> None:
    """With them in the manifest it is green, and no other account or dataset is paused."""
    text = harvester.manifest.read_text().replace(f"datasets: [{DAILY}]", "datasets: all")
    harvester.manifest.write_text(text)
    for name in FAMILY:
        harvester.world.fail(WELL, 48001, dataset=name)
    refused = harvester("check")
    assert refused.code == Exit.INCOMPLETE
    command = refused.out.splitlines()[-1].split()
    assert command[:2] == ["harvester", "check"]
    assert command[-1] == "--acknowledge"
    shown = harvester("check", "--acknowledge")
    place, line = shown.out.splitlines()[-2:]
    assert place.startswith(f"# {WELL}, jobs.yaml:")
    assert harvester("check", "--format", "json").json["pause_lines"] == [place, line]
    harvester.manifest.write_text(text.replace(f"{{appid: {WELL}}}", f"{{appid: {WELL}, {line}}}"))
    green = harvester("check")
    assert green.code == Exit.DONE
    assert "--acknowledge" not in green.out
    [_, part] = harvester("check", "--format", "json").json["paused"]
    assert part["appid"] == WELL
    assert part["datasets"] == FAMILY
    assert part["reason"].startswith("refused on ")


def test_forget_still_refuses_a_paused_account(
    harvester: CommandLine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its jobs want its days once it works again; taken off the jobs it is forgotten, name too."""
    assert harvester("run").code == Exit.DONE
    assert harvester("forget", "--accounts", SICK).code == Exit.USAGE
    text = harvester.manifest.read_text().replace(
        "jobs:\n  -", f"jobs:\n  - accounts: [{WELL}]\n   "
    )
    harvester.manifest.write_text(text)
    assert harvester("forget", "--accounts", SICK).code == Exit.DONE
    left = [path for path in harvester.output.rglob("*") if path.is_file()]
    assert left
    assert not [path for path in left if REASON.encode() in path.read_bytes()]
    assert harvester("verify").code == Exit.DONE


def paused_in_part(folder: Path) -> PausingHarness:
    """Return two accounts with two datasets, of which the first one's articles are paused."""
    found = PausingHarness(folder, accounts=2, datasets=(DAILY, ARTICLES))
    found.pause = (ARTICLES,)
    return found


def test_a_part_of_an_account_is_paused(tmp_path: Path) -> None:
    """Its other datasets are asked and count; those that are paused are named with the reason."""
    lab = paused_in_part(tmp_path)
    lab.sandbox.fail(SICK, 48001, dataset=ARTICLES)
    done = lab.run()
    assert done.exit_code is Exit.DONE
    assert {(asked.appid, asked.dataset) for asked in lab.sandbox.windows} == {
        (SICK, DAILY),
        (WELL, DAILY),
        (WELL, ARTICLES),
    }
    told = (PausedAccount(SICK, "Acme", REASON, (ARTICLES,)),)
    assert done.paused == told
    found = status.survey(lab.manifest(), lab.tree, lab.now(), Required(None, final=False))
    assert found.complete
    assert found.gate is not None
    assert found.gate.exit_code is Exit.DONE
    assert found.paused == told
    assert {(one.appid, one.paused, one.percent) for one in found.accounts} == {
        (SICK, "", 100.0),
        (WELL, "", 100.0),
    }


def test_check_tries_the_paused_part_of_an_account_once(tmp_path: Path) -> None:
    """Its other datasets are in the exit code, and the paused part is one finding beside it."""
    lab = paused_in_part(tmp_path)
    found = anyio.run(check_accounts, lab.manifest(), lab.world())
    families = {one.appid: [each.family for each in one.findings] for one in found.accounts}
    assert families == {SICK: ["interface"], WELL: ["interface", "article"]}
    [part] = found.paused
    assert ([each.family for each in part.findings], part.state) == (["article"], State.WORKS)
    assert lab.sandbox.counters.token_calls[SICK] == 1
    lab.sandbox.fail(SICK, 48001, dataset=ARTICLES)
    found = anyio.run(check_accounts, lab.manifest(), lab.world())
    assert (found.exit_code, found.paused[0].state) == (Exit.DONE, State.REFUSED)


def test_a_pause_of_a_part_is_told_with_its_end(harvester: CommandLine) -> None:
    """In text and in JSON; it needs its secret, because the rest is asked."""
    part = f'{{datasets: "interface_*", reason: {REASON}, until: {UNTIL}}}'
    text = harvester.manifest.read_text().replace(f'paused: "{REASON}"', f"paused: {part}")
    harvester.manifest.write_text(text)
    told = f"{SICK} Acme: {REASON}; until {UNTIL}"
    assert told in harvester("plan").out
    assert harvester("plan", "--format", "json").json["paused"] == [PAUSED | {"until": UNTIL}]
    harvester.manifest.write_text(text.replace(f"datasets: [{DAILY}]", "datasets: all"))
    out = harvester("plan").out
    assert f"{SICK} Acme: {REASON}; only interface_summary, interface_summary_hour; until" in out


@pytest.mark.parametrize(("until", "paused"), [("2026-06-14", []), ("2026-06-15", [WELL, SICK])])
def test_a_pause_ends_after_its_last_day(tmp_path: Path, until: str, paused: list[str]) -> None:
    """It counts on that day, and on the next one it is as if it was not there."""
    text = (
        "api: {base_url: sandbox}\naccounts_file: a.csv\n"
        f"defaults: {{paused: {{reason: {REASON}, until: {until}}}}}\n"
        f"accounts: [{{appid: {WELL}}}]\njobs: [{{}}]\n"
    )
    rows = f"appid,paused,paused.datasets,paused.until\n{SICK},{REASON},article_*,{until}\n"
    (tmp_path / "a.csv").write_text(rows)
    noon = calendar.instant(calendar.parse_day("2026-06-15"), 12 * 60)
    path = tmp_path / "jobs.yaml"
    found = loader.read(path, environ={}, now=noon, text=text).manifest()
    told = wanted_days.paused_accounts(found)
    assert [one.appid for one in told] == paused
    assert all("article_read" in one.datasets for one in told if one.appid == SICK)


def test_a_pause_needs_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a table as well, in which `no` would else pause the accounts that it means to keep."""
    manifest = tmp_path / "jobs.yaml"
    manifest.write_text(
        "api: {base_url: sandbox}\naccounts_file: a.csv\n"
        f"accounts: [{{appid: {WELL}, paused: true}}]\njobs: [{{}}]\n"
    )
    (tmp_path / "a.csv").write_text(f"appid,paused\n{SICK},no\n{appid(3)},contract ended\n")
    assert invoke(["plan", str(manifest)]) == Exit.USAGE
    said = capsys.readouterr().err
    assert "jobs.yaml:3:48: `paused` must be a reason in words (say why" in said
    assert "a.csv: row 2, column `paused`: `paused` must be a reason in words" in said
    assert "row 3" not in said
