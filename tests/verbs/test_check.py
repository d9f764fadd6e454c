"""The check of every account, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from harvester.catalogue import CATALOGUE
from harvester.cli import invoke
from harvester.core import calendar, readiness
from harvester.core.config.settings import Limits, Output, Pace
from harvester.core.dataset import Grain
from harvester.core.errors import Busy
from harvester.core.exit_codes import Exit
from harvester.core.model import Rate, ReportedQuota, Reserve
from harvester.core.rule import Action
from harvester.core.secret import Secret
from harvester.engine.lone_calls import MAX_ATTEMPTS
from harvester.sandbox import QUOTA, TOKEN, Rules
from harvester.storage import locks
from harvester.storage.backends.elapsed import boot_seconds
from harvester.storage.backends.lease import BucketLease, Terms
from harvester.storage.layout import open_tree
from harvester.storage.state import quota_ledger
from harvester.storage.state.quota_ledger import ledger_file
from harvester.verbs.check import STATES, check_accounts, probes, save
from harvester.verbs.check_report import Check, State
from harvester.wechat.quota_api import quota_or_reason
from tests.support import faulty_wechat
from tests.support.answers import period_end
from tests.support.claims import claim
from tests.support.cli import JobScope, command_line
from tests.support.counting_wechat import StrictRules
from tests.support.fake_time import Killed, VirtualTimeHarness, in_virtual_time
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.ledgers import reported_quotas, tell
from tests.support.run_harness import DAILY, HOURLY, RunHarness, appid

SICK, WELL = appid(1), (appid(2), appid(3))
TODAY = calendar.parse_day("2026-05-20")
FAMILIES = ("user_summary", "upstream_msg_hour", "upstream_msg_week", DAILY, HOURLY)


@pytest.fixture
def lab(tmp_path: Path) -> RunHarness:
    """Three accounts and three families."""
    return RunHarness(tmp_path, datasets=FAMILIES, rules=Rules(daily_quota=1000))


def look(lab: RunHarness) -> Check:
    """One check of the lab's manifest."""
    return anyio.run(check_accounts, lab.manifest(), lab.world())


def states(found: Check, name: str) -> list[State]:
    """Return an account's findings."""
    [account] = [one for one in found.accounts if one.appid == name]
    return [finding.state for finding in account.findings]


def test_an_account_costs_a_token_a_call_for_each_family_and_one_for_each_quota(
    lab: RunHarness,
) -> None:
    """All of them work, each window is one day, and nothing is written by looking."""
    found = look(lab)
    assert found.exit_code is Exit.DONE
    assert [states(found, name) for name in lab.appids] == [[State.WORKS] * 3] * 3
    assert dict(lab.sandbox.counters.token_calls) == dict.fromkeys(lab.appids, 1)
    assert dict(lab.sandbox.counters.calls) == dict.fromkeys(lab.appids, 3)
    assert found.calls == 3 * (1 + 3 + 5)
    assert {asked.dataset for asked in lab.sandbox.windows} == {
        "user_summary",
        "upstream_msg_week",
        DAILY,
    }
    assert not list(lab.root.iterdir())


@pytest.mark.parametrize("dataset", CATALOGUE)
def test_the_period_that_is_asked_is_settled_and_no_news(lab: RunHarness, dataset: str) -> None:
    """It is older than three days, nothing newer is; a week or a month is asked on its first."""
    lab.datasets = (dataset,)
    for [probe] in probes(lab.manifest(), lab.now()).values():
        window = probe.window
        assert window.begin == window.end
        patient = replace(probe.dataset, settle=max(3, probe.dataset.settle))
        settled_before = readiness.settled_before(patient, lab.now())
        assert window.begin < settled_before
        assert window.begin >= probe.dataset.first_day
        assert window.begin == readiness.period_begin(probe.dataset.grain, window.begin)
        following = period_end(probe.dataset.grain, window.begin) + 1
        assert following >= settled_before


def test_the_cheapest_dataset_stands_for_its_family(lab: RunHarness) -> None:
    """Days before hours, few rows before many."""
    lab.datasets = tuple(CATALOGUE)
    [asked, *_] = probes(lab.manifest(), lab.now()).values()
    assert [probe.dataset.name for probe in asked] == [
        "user_cumulate",
        "biz_summary",
        "upstream_msg",
        DAILY,
    ]
    assert all(probe.dataset.grain is Grain.DAY for probe in asked)
    assert sum(len(probe.stands_for) for probe in asked) == len(CATALOGUE)


@pytest.mark.parametrize(
    "code",
    [40001, 40013, 40125, 40164, 40243, 89503],
)
def test_an_account_without_a_token_costs_one_call_and_stops_no_other(
    lab: RunHarness, code: int
) -> None:
    """Its only finding holds for all of it; the other accounts are checked as usual."""
    lab.sandbox.fail(SICK, code, dataset=TOKEN)
    found = look(lab)
    assert found.exit_code is Exit.INCOMPLETE
    assert states(found, SICK) == [State.REFUSED]
    assert found.accounts[0].findings[0].is_of_account
    assert not found.accounts[0].is_authorised
    assert [states(found, name) for name in WELL] == [[State.WORKS] * 3] * 2
    assert lab.sandbox.counters.token_calls[SICK] == 1
    assert lab.sandbox.counters.calls[SICK] == 0


def test_no_authorised_account_is_exit_4(lab: RunHarness) -> None:
    """The exit code tells a scheduler that the credentials are the cause."""
    for name in lab.appids:
        lab.sandbox.fail(name, 40164, dataset=TOKEN)
    found = look(lab)
    assert found.exit_code is Exit.UNAUTHORISED
    assert found.count(State.REFUSED) == 3


def test_a_missing_permission_set_is_found_by_family(lab: RunHarness) -> None:
    """The account's other families work, and its quota is asked for those alone."""
    lab.sandbox.permit(SICK, ["user", "interface"])
    found = look(lab)
    assert found.exit_code is Exit.INCOMPLETE
    assert states(found, SICK) == [State.WORKS, State.REFUSED, State.WORKS]
    assert found.accounts[0].is_authorised
    assert set(found.accounts[0].allowances) == {"user_summary", DAILY, HOURLY}


@pytest.mark.parametrize(
    ("code", "state", "exit_code"),
    [
        (45009, State.NOT_READY, Exit.DONE),
        (45011, State.NOT_READY, Exit.DONE),
        (61503, State.NOT_READY, Exit.DONE),
        (61501, State.REFUSED, Exit.INCOMPLETE),
        (-1, State.NO_ANSWER, Exit.AGAIN),
        (99_999, State.REFUSED, Exit.INCOMPLETE),
    ],
)
def test_calls_that_are_refused_for_now_are_not_ready(
    lab: RunHarness, code: int, state: State, exit_code: Exit
) -> None:
    """It is no refusal, and but for the minute limit the quota is asked all the same."""
    lab.sandbox.fail(SICK, code, dataset=DAILY)
    found = look(lab)
    assert states(found, SICK) == [State.WORKS, State.WORKS, state]
    assert found.exit_code is exit_code
    assert found.accounts[0].is_authorised
    asked = state is not State.REFUSED and code != 45011
    assert (DAILY in found.accounts[0].allowances) == asked


def test_every_action_has_its_state() -> None:
    """A new action must be given a state."""
    assert set(STATES) == set(Action)


def test_a_rejected_token_is_renewed_once(lab: RunHarness) -> None:
    """A second rejection is the result, and no token is replaced by force."""
    shared = lab.sandbox.token_of(SICK)
    lab.sandbox.fail(SICK, 40001, dataset=DAILY, times=1)
    assert look(lab).exit_code is Exit.DONE
    lab.sandbox.fail(SICK, 40001)
    found = look(lab)
    assert states(found, SICK) == [State.REFUSED]
    assert found.exit_code is Exit.INCOMPLETE
    assert lab.sandbox.token_of(SICK) == shared


def test_an_account_that_gets_no_answer_is_given_up_after_some_attempts(lab: RunHarness) -> None:
    """Its other families are left out; the other accounts are checked."""
    lab.sandbox.fail(SICK, faulty_wechat.CLOSED)
    found = look(lab)
    assert states(found, SICK) == [State.NO_ANSWER]
    assert lab.sandbox.counters.calls[SICK] == MAX_ATTEMPTS
    assert [states(found, name) for name in WELL] == [[State.WORKS] * 3] * 2
    lab.retry = replace(lab.retry, max_attempts=1)
    lab.sandbox.reset()
    look(lab)
    assert lab.sandbox.counters.calls[SICK] == 1


# What is learned.


def test_the_sandbox_tells_its_own_counters(lab: RunHarness) -> None:
    """The limit, what the account asked of each API today, what is left; from zero tomorrow."""
    lab.run()
    spent = {name: lab.sandbox.counters.calls[name] for name in lab.appids}
    lab.sandbox.counters.calls.clear()
    for account in look(lab).accounts:
        assert sum(one.used for one in account.allowances.values()) == spent[account.appid] + 3
        for allowance in account.allowances.values():
            assert allowance.daily_limit == 1000
            assert allowance.used + allowance.remain == 1000
    lab.advance(86_400)
    for account in look(lab).accounts:
        assert sum(one.used for one in account.allowances.values()) == 3


@pytest.mark.parametrize("code", [76021, 76022, 40001, -1])
def test_a_quota_that_wechat_does_not_report_stays_unknown(lab: RunHarness, code: int) -> None:
    """It changes nothing about the account."""
    lab.sandbox.fail(SICK, code, dataset=QUOTA)
    found = look(lab)
    assert found.exit_code is Exit.DONE
    assert found.accounts[0].allowances == {}
    assert set(found.accounts[1].allowances) == set(FAMILIES)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b'{"errcode":76021,"errmsg":"no"}',
        b'{"quota":null}',
        b'{"quota":[1,2,3]}',
        b'{"quota":{"daily_limit":"9","used":0,"remain":9}}',
        b'{"quota":{"daily_limit":9,"used":true,"remain":9}}',
        b'{"quota":{"daily_limit":9,"used":-1,"remain":9}}',
        b'{"quota":{"daily_limit":9,"used":1}}',
    ],
)
def test_a_quota_of_other_values_than_whole_numbers_is_ignored(body: bytes) -> None:
    """Anything else is unknown."""
    assert isinstance(quota_or_reason(200, body, 0.0), str)


def test_a_reported_quota_is_read() -> None:
    """With the moment it was asked."""
    body = b'{"errcode":0,"errmsg":"ok","quota":{"daily_limit":9,"used":2,"remain":7}}'
    assert quota_or_reason(200, body, 5.0) == ReportedQuota(9, 2, 7, 5.0)
    assert quota_or_reason(502, body, 5.0) is None


NOON = calendar.instant(calendar.parse_day("2026-05-20"), 12 * 60)


def test_saved_quotas_are_read_again(tmp_path: Path) -> None:
    """The newest of each account and dataset, also from days before; one file is left."""
    tree = RunHarness(tmp_path).tree
    assert reported_quotas(tree) == {}
    first = {
        (SICK, DAILY): ReportedQuota(10, 1, 9, NOON),
        (SICK, HOURLY): ReportedQuota(10, 2, 8, NOON),
    }
    tell(tree, first, NOON)
    assert reported_quotas(tree) == first
    later = {(SICK, DAILY): ReportedQuota(20, 0, 20, NOON + 86_400)}
    tell(tree, later, NOON + 86_400)
    assert reported_quotas(tree) == {**first, **later}
    files = [path.name for path in (tmp_path / "_harvester/quota").iterdir()]
    assert files == ["0000-of-0001.json"]
    assert not list(tree.store.scratch.iterdir())


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda data: data[:-5],
        lambda data: data.replace(b'"version":1', b'"version":"1"'),
        lambda _: b"[]",
        lambda _: b'{"version":1,"known":{"d":{"wx":[1]}}}',
    ],
)
def test_damaged_quotas_count_as_absent(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """It is as if nothing had been learned, and the next check writes anew."""
    tree = RunHarness(tmp_path).tree
    told = {(SICK, DAILY): ReportedQuota(10, 1, 9, NOON)}
    tell(tree, told, NOON)
    path = tmp_path / "_harvester/quota/0000-of-0001.json"
    path.write_bytes(damage(path.read_bytes()))
    assert reported_quotas(tree) == {}
    tell(tree, told, NOON)
    assert reported_quotas(tree) == told


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, b"gone", "404 HTTP 404"),
        (403, b"gone", "HTTP 403"),
        (502, b"<html>", None),
        (200, b"<html>", None),
        (200, b"", None),
        (200, b"[]", "not an object"),
        (200, b'{"errcode":0,"errmsg":"ok"}', "no such numbers"),
        (200, b'{"errcode":0,"quota":{"daily_limit":0,"used":0,"remain":0}}', "no such numbers"),
        (200, b'{"errcode":76022,"errmsg":"no quota"}', "76022 no quota"),
        (200, b'{"errcode":48001,"errmsg":"unauthorized"}', "48001 unauthorized"),
        (200, b'{"errcode":-1,"errmsg":"busy"}', None),
        (200, b'{"errcode":45011,"errmsg":"slower"}', None),
        (200, b'{"errcode":40001,"errmsg":"token"}', None),
    ],
)
def test_a_refused_question_is_told_from_trouble_that_passes(
    status: int, body: bytes, reason: str | None
) -> None:
    """The first is final for a day, the second leaves room for another question."""
    found = quota_or_reason(status, body, NOON)
    assert (found is None) if reason is None else (reason in str(found))


@pytest.mark.parametrize("told", [False, True])
def test_a_run_keeps_to_the_quota_that_was_told(tmp_path: Path, *, told: bool) -> None:
    """Without a check a refusal tells; with one, whose own call counts, it stops before."""
    lab = RunHarness(tmp_path, datasets=(HOURLY,), rules=Rules(daily_quota=10))
    lab.limits = replace(lab.limits, daily_reserve=Reserve(share=0.2))
    if told:
        save(look(lab), lab.manifest(), lab.tree, lab.clock())
    done = lab.run()
    assert done.exit_code is Exit.AGAIN
    assert list(done.reasons()) == ["quota"]
    assert bool(lab.sandbox.counters.errcodes[45009]) is not told
    assert (max(lab.sandbox.counters.calls.values()) == 10 - 2) is told


# What it spends.


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[VirtualTimeHarness]:
    """An account of two families without a reported quota; ten calls a minute, and a day."""
    lab = VirtualTimeHarness(tmp_path, accounts=1, begin="2026-04-01", end="2026-04-30")
    lab.datasets = ("user_summary", HOURLY)
    lab.limits = Limits(
        Pace(Rate(10, 60.0), 10, concurrency=4), daily_quota=10, daily_reserve=Reserve()
    )
    lab.rules = StrictRules(window_limit=(10, 60.0))
    lab.__post_init__()
    lab.sandbox.fail(SICK, 76021, dataset=QUOTA)
    with in_virtual_time(lab):
        yield lab


def look_and_keep(lab: VirtualTimeHarness) -> None:
    """A check as the command makes it."""
    save(look(lab), lab.manifest(), lab.tree, lab.clock())


def calls_for(lab: VirtualTimeHarness, dataset: str) -> int:
    """Return the number of calls so far on the lab's day."""
    return lab.calls_of_day(TODAY)[SICK, CATALOGUE[dataset].path]


def test_calls_of_a_check_still_count_in_the_run_after_it(patient: VirtualTimeHarness) -> None:
    """The run could make ten calls at once, and two of them were made a moment ago."""
    look_and_keep(patient)
    checked = patient.now()
    patient.run()
    calls = [call.at - checked for call in patient.net.calls if "datacube" in call.path]
    assert len([at for at in calls if at < 0]) == 2
    assert len([at for at in calls if 0 <= at < 5]) == 8
    assert patient.sandbox.counters.errcodes[45011] == 0


def test_calls_of_a_check_are_calls_of_the_day(patient: VirtualTimeHarness) -> None:
    """They are counted once, however many runs follow, until a run ignores the spent quota."""
    patient.datasets = (HOURLY,)
    for _ in range(2):
        look_and_keep(patient)
    for _ in range(2):
        patient.run()
        assert calls_for(patient, HOURLY) == 10
    note = quota_ledger.read(patient.tree, TODAY, 0)
    assert note is not None
    assert note.spent(HOURLY, SICK) == 10
    patient.run(ignore_spent_quota=True)
    assert calls_for(patient, HOURLY) == 20


def test_refused_calls_of_a_check_are_calls_of_the_day(patient: VirtualTimeHarness) -> None:
    """WeChat counts them as well."""
    patient.sandbox.fail(SICK, 48001)
    look_and_keep(patient)
    note = quota_ledger.read(patient.tree, TODAY, 0)
    assert note is not None
    assert [note.spent(dataset, SICK) for dataset in patient.datasets] == [1, 1]


def test_a_check_after_a_killed_run_forgets_nothing_of_it(patient: VirtualTimeHarness) -> None:
    """Its entries still stand, and its calls of the last minute may be ten."""
    patient.limits = replace(patient.limits, daily_quota=100)
    with pytest.raises(Killed):
        patient.run(kill_after=0.5)
    patient.advance(60)
    before = quota_ledger.read(patient.tree, TODAY, 0)
    look_and_keep(patient)
    after = quota_ledger.read(patient.tree, TODAY, 0)
    assert before is not None
    assert after is not None
    for dataset in patient.datasets:
        assert after.spent(dataset, SICK) == before.spent(dataset, SICK) + 1
    restarted = patient.now()
    patient.run()
    assert min(call.at for call in patient.net.calls if call.at > restarted) >= restarted + 60


def test_a_check_beside_a_run_at_work_leaves_its_ledger_alone(
    patient: VirtualTimeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run asks WeChat itself for what it needs to know."""
    found = look(patient)
    post = patient.net.post
    checks: list[str] = []

    async def beside(path: str, body: bytes, token: Secret | None) -> tuple[int, bytes]:
        if "datacube" in path and not checks:
            with pytest.raises(Busy):
                save(found, patient.manifest(), patient.tree, patient.clock())
            checks.append(path)
        return await post(path, body, token)

    monkeypatch.setattr(patient.net, "post", beside)
    patient.run()
    note = ledger_file(patient.tree, 0).read()
    assert checks
    assert note is not None
    assert not note.in_use
    assert note.spent(HOURLY, SICK) == calls_for(patient, HOURLY) - 1


def test_damaged_ledgers_are_ignored(patient: VirtualTimeHarness) -> None:
    """The calls of a check are lost then. Old days are dropped by the next run."""
    look_and_keep(patient)
    file = patient.root / "_harvester/quota/0000-of-0001.json"
    good = file.read_bytes()
    for bad in (b"", b"[]", b'{"days": 1}', good[:-20]):
        file.write_bytes(bad)
        assert quota_ledger.read(patient.tree, TODAY, 0) is None
    file.write_bytes(good)
    patient.advance(2 * 86_400)
    patient.run()
    note = ledger_file(patient.tree, 0).read()
    assert note is not None
    assert [*note.days] == ["2026-05-22"]


# The command.

MANIFEST = """
version: 1
api: {base_url: sandbox}
defaults: {credential: {secret: "${file:secrets/{appid}}"}}
accounts:
  - {appid: wx0000000000000001, name: Acme}
  - {appid: wx0000000000000002, credential: {token: "${TWO}"}}
jobs: [{datasets: [interface_summary, user_summary], begin_date: -30d}]
limits: {per_token: {rate: 1000/s}}
output: out
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A small manifest on the sandbox."""
    path = tmp_path / "jobs.yaml"
    path.write_text(MANIFEST)
    return path


def test_check_prints_a_table_and_keeps_the_quotas(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line for each account on stdout, if all of its families have the same state."""
    assert invoke(["check", str(manifest)]) == Exit.DONE
    printed = capsys.readouterr().out
    assert "Acme  wx0000000000000001  all     works" in printed
    assert printed.count("works") == 2
    assert "2 accounts: 2 work; 10 calls" in printed
    known = reported_quotas(RunHarness(manifest.parent / "out").tree)
    assert {dataset for _, dataset in known} == {DAILY, "user_summary"}


def test_check_says_that_nothing_is_kept_while_a_run_is_at_work(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its answer is whole all the same."""
    place = RunHarness(manifest.parent / "out")
    with locks.hold(place.tree, [0], claim("a-run")):
        assert invoke(["check", str(manifest)]) == Exit.DONE
    printed = capsys.readouterr()
    assert "2 accounts: 2 work; 10 calls" in printed.out
    assert "the quotas and the calls of this check are not saved" in printed.err
    assert "another run works on this bucket" in printed.err
    assert reported_quotas(place.tree) == {}


def test_a_check_outlasts_the_lease_of_a_killed_run(lab: RunHarness, s3_output: Output) -> None:
    """Such a lease stands until another run takes it over, and may be years old."""
    tree = open_tree(s3_output)
    dead = BucketLease(tree.store, tree.bucket_label(0), Terms(3.0, boot_seconds, "dead"))
    dead.look()
    assert dead.take(claim("dead-run").note())
    save(look(lab), lab.manifest(), tree, lab.clock())
    assert reported_quotas(tree)


def test_check_prints_json(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for programs."""
    assert invoke(["check", str(manifest), "--format", "json"]) == Exit.DONE
    found = json.loads(capsys.readouterr().out)
    assert (found["works"], found["refused"], found["calls"]) == (2, 0, 10)
    assert [account["authorised"] for account in found["accounts"]] == [True, True]
    assert found["accounts"][0]["quotas"][0]["used"] == 1


def test_alike_refusals_are_one_cause_although_their_rid_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In text one reason names both accounts; JSON keeps the rid of each, to show to WeChat."""
    world = FaultyWeChat(Rules(), lambda: calendar.instant(TODAY, 12 * 60))
    scope = JobScope((DAILY,), "2026-05-10", "2026-05-12", accounts=3)
    with pytest.MonkeyPatch.context() as patch, command_line(tmp_path, scope, world, capsys) as at:
        patch.setenv("COMMANDS_SECRET", "s" * 32)
        for name in (appid(1), appid(2)):
            world.fail(name, 48001)
        text, found = at("check").out, at("check", "--format", "json").json
    [reason] = [line for line in text.splitlines() if " 48001 " in line]
    assert reason.startswith(f"  {appid(1)}, {appid(2)}: ")
    findings = [finding for account in found["accounts"][:2] for finding in account["findings"]]
    assert {finding["errcode"] for finding in findings} == {48001}
    rids = [finding["rid"] for finding in findings]
    assert all(rids)
    assert len({*rids}) == 2


def test_offline_lists_what_a_run_would_use(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is asked, nothing needs to be there, and nothing is written."""
    manifest.write_text(
        MANIFEST.replace("base_url: sandbox", "base_url: https://api.test").replace(
            "output: out",
            'output: "${OUT:-out}"\naccounts_file: {path: "${file:name}", credentials: true}',
        )
    )
    (manifest.parent / "name").write_text("more.csv\n")
    (manifest.parent / "more.csv").write_text(
        "appid,secret,token_command,token_url\n"
        "wx0000000000000003,${THREE},,\n"
        "wx0000000000000004,,vault read {appid},\n"
        "wx0000000000000005,,,https://tokens.test/{appid}\n"
    )
    before = sorted(manifest.parent.iterdir())
    assert invoke(["check", str(manifest), "--offline", "--format", "json"]) == Exit.DONE
    found = json.loads(capsys.readouterr().out)
    assert found == {
        "accounts": 5,
        "jobs": 1,
        "paused": [],
        "variables": ["OUT", "TWO", "THREE"],
        "files": [
            str(manifest.parent / name)
            for name in ("jobs.yaml", "name", "more.csv", "secrets/wx0000000000000001")
        ],
        "programs": ["vault"],
        "hosts": ["api.test", "tokens.test"],
        "unset": ["TWO", "THREE"],
        "missing": [str(manifest.parent / "secrets/wx0000000000000001")],
    }
    monkeypatch.setenv("TWO", "a secret")
    assert invoke(["check", str(manifest), "--offline"]) == Exit.DONE
    printed = capsys.readouterr().out
    assert "5 accounts, 1 job: no mistakes" in printed
    assert "secrets/wx0000000000000001: missing\n" in printed
    assert "  OUT\n  TWO\n  THREE: not set\n" in printed
    assert "a run would end with 2: set up 2 of these first" in printed
    assert sorted(manifest.parent.iterdir()) == before


def test_a_missing_secret_is_exit_2(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is asked, and every one of them."""
    manifest.write_text(MANIFEST.replace("base_url: sandbox", "base_url: http://127.0.0.1:9"))
    assert invoke(["check", str(manifest)]) == Exit.USAGE
    error = capsys.readouterr().err
    assert "secrets/wx0000000000000001" in error
    assert "TWO" in error


def test_an_unreachable_host_is_exit_75(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is known of any account; the network's error is shown and nothing is written."""
    manifest.write_text(
        MANIFEST.replace("base_url: sandbox", "base_url: http://127.0.0.1:9")
        + "retry: {initial_delay: 1ms, max_delay: 2ms}\n"
    )
    (manifest.parent / "secrets").mkdir()
    (manifest.parent / "secrets/wx0000000000000001").write_text("s" * 32)
    monkeypatch.setenv("TWO", "t" * 32)
    assert invoke(["check", str(manifest)]) == Exit.AGAIN
    printed = capsys.readouterr().out
    assert "no answer" in printed
    assert "127.0.0.1:9: connection refused" in printed
    assert not (manifest.parent / "out").exists()
    assert invoke(["check", str(manifest), "--ok-exit", "75"]) == Exit.DONE
