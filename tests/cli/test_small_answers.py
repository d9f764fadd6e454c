"""Small answers of commands: notes of a plan, a fetched window, a check, and lost shards."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from harvester.cli import invoke
from harvester.cli.commands import check as check_command
from harvester.cli.commands import fetch as fetch_command
from harvester.cli.commands.plan import print_plan
from harvester.cli.output import logs, run_summary
from harvester.cli.output.attention_lines import print_attention
from harvester.cli.output.terminal import Terminal
from harvester.core.errors import ProcessDied, StoreError
from harvester.core.exit_codes import Exit
from harvester.core.plain import plain
from harvester.core.results import DatasetPlan
from harvester.planning.cost import AccountPrice, EmptyPrefix
from harvester.runs.record.attention import AccountLabel, Attention
from harvester.runs.record.members import ShardOutcome
from harvester.runs.record.record import Record
from harvester.verbs.check_report import AccountCheck, Check, ProbeResult, State
from harvester.verbs.fetch import Answer, UnusableDay
from harvester.verbs.plan import Plan
from tests.support.run_harness import DAILY, HOURLY, appid

ONE, TWO, THREE = appid(1), appid(2), appid(3)
DAY = date(2026, 5, 20)
MAY = date(2026, 5, 1)
PRICE: dict[str, Any] = {
    "requests_today": 10,
    "read": 1,
    "assumed": 0,
    "refused": 0,
    "accounts": [plain(AccountPrice(ONE, "Acme", 30, 3))],
    "shorter_ranges": [],
    "before_first_row": [],
}
PLAN = Plan(
    requests=30,
    account_days=30,
    bound_seconds=90.0,
    bound_by="quota",
    quota_questions=0,
    calendar_days=3,
    complete_on=date(2026, 5, 22),
    assumed=(),
    datasets=(DatasetPlan(DAILY, 1, 30, 30, 30, date(2026, 4, 20), date(2026, 5, 19)),),
    warnings=(),
    paused=(),
    price=PRICE,
)
PREFIX = EmptyPrefix(ONE, "Acme", DAILY, None, 120, 20)
ANSWER = Answer(ONE, "Acme", DAILY, MAY, MAY, "same", 0, 1, raw=b'{"list":[]}')


def plan_text(capsys: pytest.CaptureFixture[str], quota_questions: int = 0, **price: Any) -> str:
    """Return a plan of thirty requests as it is printed."""
    found = replace(PLAN, quota_questions=quota_questions, price={**PRICE, **price})
    print_plan(Terminal(), found)
    return capsys.readouterr().out


def answer_text(capsys: pytest.CaptureFixture[str], **members: Any) -> str:
    """Return an answer to a window as it is printed."""
    fetch_command._show(Terminal(), replace(ANSWER, **members))
    return capsys.readouterr().out


def check_text(capsys: pytest.CaptureFixture[str], *accounts: AccountCheck) -> str:
    """Return a check of accounts as it is printed."""
    check_command._print_check(Terminal(), Check([*accounts], calls=7))
    return capsys.readouterr().out


def probed(family: str, state: State, **more: Any) -> ProbeResult:
    """Return the result of a probe."""
    return ProbeResult(family, 7, DAILY, DAY, state, **more)


def test_a_check_of_many_accounts_that_work_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The table has what does not work, and without a table nothing is left out of it."""
    many = [AccountCheck(f"wx{n:016x}", "", [probed("user", State.WORKS)]) for n in range(300)]
    assert check_text(capsys, *many).strip() == "300 accounts: 300 work; 7 calls"
    sick = AccountCheck(ONE, "Acme", [probed("user", State.REFUSED)])
    assert "and 300 more (--format json lists all)" in check_text(capsys, *many, sick)


def test_a_plan_counts_the_questions_for_the_quota(capsys: pytest.CaptureFixture[str]) -> None:
    """They are told if there are any."""
    assert "questions" not in plan_text(capsys)
    assert "1,200 questions to WeChat for the daily quota\n" in plan_text(
        capsys, quota_questions=1_200
    )


def test_a_plan_tells_that_a_quota_is_assumed(capsys: pytest.CaptureFixture[str]) -> None:
    """A refused question leads to a note with the number and the key that replaces it."""
    assert "note:" not in plan_text(capsys)
    text = plan_text(capsys, read=0, assumed=1, refused=1)
    assert "1,000 calls a day are assumed; set limits.daily_quota" in text
    assert "under the daily quota (assumed), complete on 2026-05-22" in text


@pytest.mark.parametrize(
    ("read", "assumed", "source"),
    [(3, 0, "read"), (0, 0, "set in the manifest"), (1_500, 2, "1,500 read, 2 assumed")],
)
def test_a_plan_tells_the_sources_of_its_quotas(
    capsys: pytest.CaptureFixture[str], read: int, assumed: int, source: str
) -> None:
    """Two sources have their counts, and one source has none."""
    text = plan_text(capsys, read=read, assumed=assumed)
    assert f"3 days under the daily quota ({source}), " in text


@pytest.mark.parametrize(
    ("first_row", "since"),
    [(None, "no row at all"), (DAY, "its first row on 2026-05-20")],
)
def test_a_plan_tells_of_days_before_the_first_row(
    capsys: pytest.CaptureFixture[str], first_row: date | None, since: str
) -> None:
    """The requests of all such accounts are added, and the first of them is the example."""
    other = EmptyPrefix(TWO, "", HOURLY, DAY, 400, 5)
    barren = [PREFIX._replace(first_row=first_row), other]
    text = plan_text(capsys, before_first_row=plain(barren))
    assert "note: 25 requests are for days before an account's first row" in text
    assert f"({ONE} Acme, {DAILY}: {since}, 120 empty days before)" in text
    assert TWO not in text


def test_raw_and_json_exclude_each_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command ends with 2 before it looks for the manifest."""
    # Left as they are, because a command sets the handlers of the whole process.
    monkeypatch.setattr(logs, "set_up", lambda _: None)
    words = ["fetch", ONE, DAILY, "yesterday", "no-such.yaml", "--raw", "--format", "json"]
    assert invoke(words) == Exit.USAGE
    ended = capsys.readouterr()
    assert ended.out == ""
    assert "--raw and --format json are two forms of the answer" in ended.err
    assert "no-such" not in ended.err


def test_a_raw_answer_does_not_act_on_a_ci_runner(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its escapes read the same as JSON; in a pipe the bytes are WeChat's own."""
    body = b'{"name": "\x1b[31m", "bad": "\xff"}'
    fetch_command._print_raw(body)
    assert capfdbinary.readouterr().out == body
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    fetch_command._print_raw(body)
    out = capfdbinary.readouterr().out
    assert b"\x1b" not in out
    assert b"\\u001b[31m" in out
    assert "\N{REPLACEMENT CHARACTER}".encode() in out


def test_a_window_of_several_days_is_named_by_both_ends(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A window of one day has one, and a paused account has its reason."""
    one = answer_text(capsys)
    assert one.splitlines()[0] == f"{ONE} Acme  {DAILY}  2026-05-01"
    assert "paused" not in one
    many = answer_text(capsys, end_date="2026-05-03", paused="moved").splitlines()
    assert many[:2] == [
        f"{ONE} Acme  {DAILY}  2026-05-01..2026-05-03",
        "the account is paused: moved",
    ]


def test_a_refused_window_tells_when_to_ask_again(capsys: pytest.CaptureFixture[str]) -> None:
    """The code, the id of the request, the meaning and the moment, and no comparison."""
    refused: dict[str, Any] = {
        "outcome": "refused",
        "errcode": 45009,
        "errmsg": "reach max api daily quota limit",
        "rid": "6a-b",
        "meaning": "the quota is spent",
        "advice": "Wait.",
    }
    text = answer_text(capsys, **refused, retry_at="2026-05-21T16:00:00Z")
    assert "refused: 45009 reach max api daily quota limit (rid 6a-b)\n" in text
    assert "  the quota is spent. Wait.\n  ask again from 2026-05-21T16:00:00Z on\n" in text
    assert "published" not in text
    assert "ask again" not in answer_text(capsys, **refused)


def test_a_long_answer_is_cut_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Sixty lines are printed; the rest is counted, and the option for all of it is named."""
    members = ",".join(f'"m{number}": {number}' for number in range(100))
    lines = answer_text(capsys, raw=f"{{{members}}}".encode()).splitlines()
    assert lines[2] == "{"
    assert '  "m58": 58,' in lines
    assert not any('"m59"' in line for line in lines)
    assert "and 42 more lines: --raw prints all" in lines


def test_an_answer_that_is_not_final_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """So does one with days that do not fit the columns."""
    delay = "  WeChat is still computing this answer\n"
    assert delay not in answer_text(capsys)
    odd = UnusableDay(MAY, "a text in the place of a number")
    text = answer_text(capsys, is_delay=True, unusable=(odd,))
    assert delay in text
    assert "  2026-05-01 does not fit the columns: a text in the place of a number\n" in text


def test_a_check_of_no_accounts_has_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    """The count alone is printed."""
    assert check_text(capsys).strip() == "0 accounts; 7 calls"


def test_what_works_has_no_row_beside_what_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    """A refused family is named with its permission set, and one that works has no row."""
    told: dict[str, Any] = {
        "errcode": 48001,
        "errmsg": "api unauthorized",
        "meaning": "a right is missing",
        "advice": "Ask for it.",
    }
    account = AccountCheck(
        ONE, "Acme", [probed("interface", State.WORKS), probed("user", State.REFUSED, **told)]
    )
    text = check_text(capsys, account)
    [row] = [line for line in text.splitlines() if line.startswith("Acme")]
    assert row.split()[:4] == ["Acme", ONE, "user", "refused"]
    assert "works" not in text
    assert "user: 48001 api unauthorized" in text
    assert "a right is missing (permission set 7). Ask for it." in text


def test_no_account_is_told_to_lack_what_another_one_lacks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One reason stands twice for accounts of which it stops other families."""
    told: dict[str, Any] = {"errcode": 48001, "errmsg": "api unauthorized", "advice": "Ask for it."}
    refused = [probed(family, State.REFUSED, **told) for family in ("interface", "user")]
    one = AccountCheck(ONE, "Acme", [refused[0], probed("user", State.WORKS)])
    two = AccountCheck(TWO, "Bravo", refused)
    three = AccountCheck(THREE, "Cedar", refused)
    text = check_text(capsys, one, two, three)
    assert f"  {ONE} Acme: interface: 48001 api unauthorized\n" in text
    assert f"  {TWO} Bravo, {THREE} Cedar: interface, user: 48001 api unauthorized\n" in text


def test_a_family_that_is_not_ready_needs_no_permission_set(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A spent quota is no lack of a permission."""
    spent = probed(
        "user",
        State.NOT_READY,
        errcode=45009,
        errmsg="spent",
        meaning="the quota is spent",
        advice="Wait.",
    )
    text = check_text(capsys, AccountCheck(ONE, "Acme", [spent, probed("article", State.WORKS)]))
    assert "user: 45009 spent" in text
    assert "the quota is spent. Wait." in text
    assert "permission set" not in text


def test_lost_shards_are_told_with_their_advice(capsys: pytest.CaptureFixture[str]) -> None:
    """Each is named once, also if its error names it already; a shard that ended well is not."""
    died = ProcessDied("shard 2/4: the process ended without a word", "look at the memory")
    full = StoreError("the disk is full", "make room")
    summary = Record.begun(Path("jobs.yaml"), 1_779_000_000.0)
    summary.shards = [
        ShardOutcome("1/4", Exit.DONE, (), 3, 4),
        ShardOutcome("2/4", Exit.BUG, ("died",), 0, 0, deaths=2, error=died),
        ShardOutcome("3/4", Exit.BUG, ("store",), 0, 0, error=full),
    ]
    run_summary._print_lost_shards(Terminal(), summary)
    told = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert told == [
        "shard 2/4: the process ended without a word",
        "look at the memory",
        "shard 3/4: the disk is full",
        "make room",
    ]
    # The code of both is 1, and a full disk is no internal error.
    assert "an output that fails" in str(run_summary._verdict(summary))


def test_what_needs_a_person_has_a_line_a_cause_and_beginning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """New ones come first, and old ones say since when they are open."""
    one, two = AccountLabel(ONE, "Acme"), AccountLabel(TWO, "Bravo")
    old = Attention(
        f"refused/{ONE}", "refused", "", (one,), (DAILY,), 48001, "2026-05-01", new=False
    )
    items = [
        old,
        replace(old, key=f"refused/{TWO}", accounts=(two,), datasets=(HOURLY,)),
        replace(old, key=f"failed/{TWO}", cause="failed", accounts=(two,), errcode=None, new=True),
        Attention("clock", "clock", "", since="2026-05-02", new=False),
    ]
    print_attention(Terminal(), items)
    assert capsys.readouterr().out.splitlines() == [
        "",
        "needs a person: 4, 1 new",
        f"  new: failed, {TWO} Bravo, {DAILY}",
        f"  since 2026-05-01: refused (48001), 2 accounts ({ONE} Acme, {TWO} Bravo), 2 datasets",
        "  since 2026-05-02: clock",
    ]
