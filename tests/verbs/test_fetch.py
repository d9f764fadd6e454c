"""`harvester fetch`: one window asked now, nothing published, and what differs."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, dataclass, field
from pathlib import Path

import pytest

import harvester
from harvester import Answer, Busy, UsageError
from harvester.catalogue import CATALOGUE
from harvester.cli import invoke
from harvester.core import calendar
from harvester.core.calendar import Day
from harvester.core.config.settings import Output
from harvester.core.exit_codes import Exit
from harvester.sandbox import Rules
from harvester.sandbox.data import Row, expected_rows
from harvester.storage import locks
from harvester.storage.layout import Tree, open_tree
from harvester.storage.state import quota_ledger
from tests.support.claims import claim
from tests.support.cli import CommandLine, JobScope, command_line
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.run_harness import DAILY, HOURLY, appid

ONE, TWO = appid(1), appid(2)
DAY = "2026-02-02"
SECRET = "0f" * 16


@dataclass
class Truth:
    """The rows that WeChat has: the emulator's, and those that a test puts in their place."""

    instead: dict[str, list[Row]] = field(default_factory=dict)

    def rows(self, dataset: str, name: str, day: Day) -> list[Row]:
        """Return the rows of a day."""
        changed = self.instead.get(calendar.day_text(day))
        return expected_rows(dataset, name, day) if changed is None else changed


@pytest.fixture
def truth() -> Truth:
    """Return what WeChat says."""
    return Truth()


@pytest.fixture
def cli(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    truth: Truth,
) -> Iterator[CommandLine]:
    """The command line on two accounts and three days, the first account with a name."""
    monkeypatch.setenv("COMMANDS_SECRET", SECRET)
    scope = JobScope((DAILY, HOURLY), "2026-02-01", "2026-02-03")
    world = FaultyWeChat(Rules(), time.time, source=truth.rows)
    with command_line(tmp_path, scope, world, capsys) as found:
        text = found.manifest.read_text()
        found.manifest.write_text(
            text.replace(f"{{appid: {ONE}}}", f"{{appid: {ONE}, name: Acme}}")
        )
        yield found


def fetch(cli: CommandLine, *words: str) -> Answer:
    """Ask through the Python API."""
    return harvester.fetch(cli.manifest, *words)


def files(cli: CommandLine) -> dict[str, bytes]:
    """Return every file of the output but those of the ledger and the locks."""
    aside = ("quota", "locks")
    return {
        str(path.relative_to(cli.output)): path.read_bytes()
        for path in cli.output.rglob("*")
        if path.is_file() and path.parent.name not in aside
    }


def text_of(cli: CommandLine, *words: str) -> tuple[int, str]:
    """Ask on the command line; the manifest is the last word."""
    cli.capsys.readouterr()
    code = invoke(["fetch", *words, str(cli.manifest)])
    return code, cli.capsys.readouterr().out


def test_an_answer_like_the_published_rows_is_the_same(cli: CommandLine) -> None:
    """Exit 0; the account is named by its appid or its name, the dataset by either name too."""
    cli("run")
    before, calls = files(cli), cli.calls()
    for account, dataset in ((ONE, DAILY), ("Acme", "getinterfacesummary")):
        found = fetch(cli, account, dataset, "2026-02-01", "2026-02-03")
        assert (found.outcome, found.exit_code) == ("same", Exit.DONE)
        assert (found.appid, found.name, found.dataset) == (ONE, "Acme", DAILY)
        assert found.rows == found.published == len(found.answer["list"]) > 0
        assert found.published_at is not None
    assert cli.calls() == calls + 2
    assert files(cli) == before


@pytest.mark.long
def test_every_dataset_is_compared(cli: CommandLine) -> None:
    """Nested answers, lists, weeks and months too."""
    text = cli.manifest.read_text().replace(f"{DAILY}, {HOURLY}", "all")
    cli.manifest.write_text(text.replace("[{appid: " + ONE + ", name: Acme}, ", "["))
    assert cli("run").code == Exit.DONE
    days = {"week": "2026-02-02", "month": "2026-02-01"}
    compared = 0
    for name, dataset in CATALOGUE.items():
        found = fetch(cli, TWO, name, days.get(dataset.grain.value, DAY))
        assert found.outcome == "same", found
        compared += found.published
    assert compared > 50


def test_differences_are_told_by_key_and_column(cli: CommandLine, truth: Truth) -> None:
    """Values that changed, rows that are new and rows that are gone; nothing is published."""
    first, second, *rest, last = expected_rows(HOURLY, ONE, calendar.parse_day(DAY))
    truth.instead[DAY] = [first, second, *rest]
    cli("run", "--accounts", ONE, "--datasets", HOURLY)
    before = files(cli)
    changed = {**second, "callback_count": second["callback_count"] + 5}
    truth.instead[DAY] = [changed, *rest, last]
    found = fetch(cli, ONE, HOURLY, DAY)
    assert (found.outcome, found.exit_code) == ("different", Exit.INCOMPLETE)
    [value] = found.changed
    key = {"appid": ONE, "ref_date": DAY, "ref_hour": second["ref_hour"] // 100}
    assert (value.key, value.column) == (key, "callback_count")
    assert value.answered - value.published == 5
    assert [row["ref_hour"] for row in found.added] == [last["ref_hour"] // 100]
    assert [row["ref_hour"] for row in found.removed] == [first["ref_hour"] // 100]
    code, said = text_of(cli, ONE, HOURLY, DAY)
    assert code == Exit.INCOMPLETE
    told = f"callback_count is {value.answered}, published as {value.published}"
    assert f"ref_date={DAY} ref_hour={second['ref_hour'] // 100}: {told}" in said
    assert f"not published: ref_date={DAY} ref_hour={last['ref_hour'] // 100}" in said
    assert f"published and not answered: ref_date={DAY} ref_hour={first['ref_hour'] // 100}" in said
    assert files(cli) == before


def test_a_day_that_was_never_fetched_is_all_new(cli: CommandLine, truth: Truth) -> None:
    """Also where there is no output yet; rows that do not fit are told with the reason."""
    found = fetch(cli, ONE, DAILY, DAY)
    assert (found.outcome, found.published, len(found.added)) == ("different", 0, 1)
    truth.instead[DAY] = [{**expected_rows(DAILY, ONE, calendar.parse_day(DAY))[0]}]
    truth.instead[DAY][0]["callback_count"] = "many"
    [unusable] = fetch(cli, ONE, DAILY, DAY).unusable
    assert str(unusable.day) == DAY
    assert "callback_count" in unusable.reason


def test_the_json_is_that_of_the_result(cli: CommandLine) -> None:
    """It can be pickled and not be changed."""
    cli("run")
    found = fetch(cli, ONE, DAILY, DAY)
    code, said = text_of(cli, ONE, DAILY, DAY, "--format", "json")
    assert (code, json.loads(said)) == (Exit.DONE, found.to_dict())
    assert pickle.loads(pickle.dumps(found)) == found
    with pytest.raises(FrozenInstanceError):
        found.rows = 7  # type: ignore[misc]


def test_the_bytes_are_those_of_wechat_with_secrets_masked(cli: CommandLine, truth: Truth) -> None:
    """Blanks and order included; what is the account's secret is no part of a report."""
    row = expected_rows(DAILY, ONE, calendar.parse_day(DAY))[0]
    truth.instead[DAY] = [{**row, "note": SECRET}]
    code, said = text_of(cli, ONE, DAILY, DAY, "--raw")
    assert code == Exit.INCOMPLETE
    assert said.startswith('{"list":[{"ref_date":"2026-02-02"')
    assert '"note":"***"' in said
    assert SECRET not in said
    assert SECRET not in str(fetch(cli, ONE, DAILY, DAY))


def test_a_refusal_has_code_rid_and_advice(cli: CommandLine) -> None:
    """3 for a permission, 4 for the account, 75 for what passes."""
    cli.world.fail(ONE, 48001)
    found = fetch(cli, ONE, DAILY, DAY)
    assert (found.outcome, found.errcode, found.exit_code) == ("refused", 48001, Exit.INCOMPLETE)
    assert found.rid
    assert found.advice
    assert found.retry_at is None
    code, said = text_of(cli, ONE, DAILY, DAY)
    assert code == Exit.INCOMPLETE
    assert "refused: 48001 " in said
    assert "(rid " in said
    code, said = text_of(cli, ONE, DAILY, DAY, "--raw")
    assert said.startswith('{"errcode":48001')
    cli.world.fail(TWO, 50002)
    assert fetch(cli, TWO, DAILY, DAY).exit_code == Exit.UNAUTHORISED


def test_no_answer_says_when_to_ask_again(cli: CommandLine) -> None:
    """A server that is not there: 75, after few attempts, and no call in the ledger."""
    address = cli.manifest.read_text().partition('base_url: "')[2].partition('"')[0]
    cli.manifest.write_text(cli.manifest.read_text().replace(address, "http://127.0.0.1:9"))
    found = fetch(cli, ONE, DAILY, DAY)
    assert (found.outcome, found.errcode, found.exit_code) == ("unanswered", None, Exit.AGAIN)
    assert found.retry_at is not None
    assert spent(cli) == 0


def tree(cli: CommandLine) -> Tree:
    """Return the tree of the output."""
    return open_tree(Output(cli.output))


def spent(cli: CommandLine) -> int:
    """Return the calls of the first account today, by the ledger."""
    ledger = quota_ledger.read(tree(cli), calendar.today(time.time()), 0)
    return 0 if ledger is None else ledger.spent(DAILY, ONE)


def test_a_question_counts_in_the_ledger(cli: CommandLine) -> None:
    """For the quota of the day, and with the one before it for the rate of the run to come."""
    text = cli.manifest.read_text()
    cli.manifest.write_text(text.replace("rate: 100000/s", "rate: 60000/min"))
    fetch(cli, ONE, DAILY, DAY)
    fetch(cli, ONE, DAILY, DAY)
    assert spent(cli) == 2
    ledger = quota_ledger.read(tree(cli), calendar.today(time.time()), 0)
    assert ledger is not None
    assert not ledger.in_use
    assert ledger.recent_calls == 2


def test_a_question_may_use_the_reserve_and_no_more(cli: CommandLine) -> None:
    """It is put by one of those for whom calls are left; nothing is asked of a spent quota."""
    text = cli.manifest.read_text().replace(
        "limits: {", "limits: {daily_quota: 4, daily_reserve: 3, "
    )
    cli.manifest.write_text(text)
    assert [fetch(cli, ONE, DAILY, DAY).outcome for _ in range(5)] == ["different"] * 4 + [
        "unanswered"
    ]
    calls = cli.calls()
    found = fetch(cli, ONE, DAILY, DAY)
    assert (found.exit_code, found.requests, cli.calls()) == (Exit.AGAIN, 0, calls)
    assert found.retry_at is not None
    assert found.errmsg.startswith("4 calls a day (set)")


def test_a_quota_that_wechat_calls_spent_is_remembered(cli: CommandLine) -> None:
    """Neither the next question nor the next run asks again today."""
    cli.world.fail(ONE, 45009)
    assert fetch(cli, ONE, DAILY, DAY).exit_code == Exit.AGAIN
    calls = cli.calls()
    found = fetch(cli, ONE, DAILY, DAY)
    assert (found.errcode, found.requests, cli.calls()) == (45009, 0, calls)


def test_a_run_at_work_is_not_disturbed(cli: CommandLine) -> None:
    """Its lock covers the rate and the quota of its accounts, so nothing is asked beside it."""
    cli("run")
    calls = cli.calls()
    with locks.hold(tree(cli), [0], claim("a-run", "2026-02-03T00:00:00Z")):
        with pytest.raises(Busy):
            fetch(cli, ONE, DAILY, DAY)
        assert text_of(cli, ONE, DAILY, DAY)[0] == Exit.AGAIN
    assert cli.calls() == calls


def test_a_paused_account_is_asked_because_a_person_wants_it(cli: CommandLine) -> None:
    """The answer says that it is paused."""
    text = cli.manifest.read_text().replace("name: Acme", "name: Acme, paused: moved away")
    cli.manifest.write_text(text)
    code, said = text_of(cli, "Acme", DAILY, DAY)
    assert code == Exit.INCOMPLETE
    assert "the account is paused: moved away" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((appid(7), DAILY, DAY), "unknown account"),
        (("Twin", DAILY, DAY), "2 accounts match `Twin`"),
        ((ONE, "interface_sumary", DAY), "unknown dataset `interface_sumary`"),
        ((ONE, "interface_*", DAY), "2 datasets match"),
        ((ONE, "user_read", DAY), "WeChat has retired `user_read`"),
        ((ONE, HOURLY, "2026-02-01", DAY), "are 2 days, and one request"),
        ((ONE, DAILY, DAY, "2026-02-01"), "2026-02-01 is before 2026-02-02"),
        ((ONE, "upstream_msg_week", "2026-02-04"), "counts by week, and none begins on"),
        ((ONE, DAILY, "2999-01-01"), "is after yesterday"),
        ((ONE, DAILY, "today"), "is not a day"),
    ],
)
def test_words_that_make_no_window_are_exit_2(
    cli: CommandLine, words: tuple[str, ...], said: str
) -> None:
    """Nothing is asked and nothing is written."""
    text = cli.manifest.read_text()
    twins = ", ".join(f"{{appid: {appid(number)}, name: Twin}}" for number in (3, 4))
    cli.manifest.write_text(text.replace("accounts: [", f"accounts: [{twins}, "))
    with pytest.raises(UsageError) as error:
        fetch(cli, *words)
    assert said in error.value.problem
    assert not cli.output.exists()
    assert cli.calls() == 0
