"""The meaning of 0: before and after the ready hour, where nothing is wanted, and without a row.

Commands on a real output. The clock of this machine and of WeChat is the test's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from harvester.core.calendar import day_text, instant, parse_day
from harvester.core.exit_codes import Exit
from tests.support.cli import CommandLine, CommandResult, JobScope, command_line
from tests.support.faulty_wechat import FaultyRules, FaultyWeChat, Outage
from tests.support.run_harness import DAILY, HOURLY, appid
from tests.support.sandboxes import Clock

WEDNESDAY, MONDAY, FIRST = "2026-05-20", "2026-05-18", "2026-06-01"
WEEKLY, MONTHLY = "upstream_msg_week", "upstream_msg_month"
SPARSE = "article_read"
NOON = 12 * 60


class At(CommandLine):
    """Commands at a minute of a Beijing day."""

    clock: Clock

    def at(self, day: str, minute: int) -> None:
        """Set the clocks of both sides."""
        self.clock.now = instant(parse_day(day), minute)

    def wants(self, begin: str, end: str = "yesterday", *datasets: str) -> None:
        """Change what the only job wants."""
        text = self.manifest.read_text()
        head, _, rest = text.partition("jobs:")
        limits = rest[rest.index("limits:") :]
        names = ", ".join(datasets or (DAILY,))
        job = f"- {{datasets: [{names}], begin_date: {begin}, end_date: {end}}}"
        self.manifest.write_text(f"{head}jobs:\n  {job}\n{limits}")

    def add(self, text: str) -> None:
        """Add lines to the manifest."""
        self.manifest.write_text(self.manifest.read_text() + text + "\n")

    def gate(self, required: str, *options: str) -> CommandResult:
        """Return the answer of a gate as JSON."""
        return self("status", "--require", required, "--format", "json", *options)


@pytest.fixture
def here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[At]:
    """Two accounts that want a week of one dataset up to yesterday."""
    clock = Clock()
    # The same machine after a start without a name: only an earlier time would be a wrong clock.
    monkeypatch.setattr("harvester.runs.clock.time", SimpleNamespace(time=clock))
    monkeypatch.setattr("harvester.runs.clock.boot_id", str)
    monkeypatch.setenv("COMMANDS_SECRET", "s" * 32)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.chdir(tmp_path)
    scope = JobScope([DAILY], "2026-05-13", "yesterday")
    with command_line(tmp_path, scope, FaultyWeChat(FaultyRules(), clock), capsys) as made:
        found = At(made.manifest, made.world, capsys)
        found.clock = clock
        yield found


def test_before_the_ready_hour_a_run_says_which_day_is_not_ready(here: At) -> None:
    """So does `status`, in the same words, of accounts as well; 0 stays 0."""
    here.at(WEDNESDAY, 9 * 60)
    done, said = here("run"), "2026-05-19 gets ready at 10:00 in Beijing, in 60 minutes"
    assert done.code == Exit.DONE
    lines = done.err.splitlines()
    assert lines[lines.index("complete: everything wanted is covered") + 1] == said
    assert f"\ncomplete\n{said}\n" in here("status").out
    assert f"\n{said}\n" in here("status", "--by", "account").out
    assert here("status", "--format", "json").json["statement"] == said
    told = here("status", "--lang", "zh").out
    assert "2026-05-19 的数据将于北京时间 10:00 就绪，还有 60 分钟" in told


def test_before_the_ready_hour_the_gate_of_yesterday_is_closed(here: At) -> None:
    """It names the day, the reason and the ready hour; `ready` asks for the day before."""
    here.at(WEDNESDAY, 9 * 60)
    here("run")
    found = here.gate("yesterday")
    gate = found.json["gate"]
    assert found.code == Exit.AGAIN
    assert (gate["day"], gate["newest_ready"]) == ("2026-05-19", "2026-05-18")
    assert (gate["reasons"], gate["retry_at"]) == (["not_ready"], "2026-05-20T02:00:00Z")
    text = here("status", "--require", "yesterday").out
    assert "days up to 2026-05-19: 2 account-days can still be obtained" in text
    assert "2026-05-18 is the newest ready day: --require ready is a gate up to it" in text
    ready = here.gate("ready")
    assert (ready.code, ready.json["gate"]["day"]) == (Exit.DONE, "2026-05-18")
    assert ready.json["gate"]["reasons"] == []
    text = here("status", "--require", "ready").out
    assert "days up to 2026-05-18: all of them are there" in text


def test_at_the_ready_hour_a_run_opens_the_gate(here: At) -> None:
    """From that minute on the day is wanted: it is missing until a run has fetched it."""
    here.at(WEDNESDAY, 9 * 60)
    here("run")
    here.at(WEDNESDAY, 10 * 60)
    for required in ("yesterday", "ready"):
        gate = here.gate(required)
        assert gate.code == Exit.AGAIN
        assert (gate.json["gate"]["day"], gate.json["gate"]["reasons"]) == (
            "2026-05-19",
            ["not_asked"],
        )
    assert "newest ready day" not in here("status", "--require", "yesterday").out
    done = here("run")
    assert "ready at" not in done.err
    assert "ready at" not in here("status").out
    assert here.gate("yesterday").code == here.gate("ready").code == Exit.DONE


def test_the_latest_ready_hour_opens_a_gate(here: At) -> None:
    """A run between the two hours gets the days of one dataset, which is not enough."""
    here.wants("2026-05-13", "yesterday", DAILY, HOURLY)
    here.add(f'datasets: {{{HOURLY}: {{ready_at: "11:30"}}}}')
    here.at(WEDNESDAY, 9 * 60)
    here("run")
    for minute, lacking in (9 * 60, 4), (10 * 60 + 30, 2):
        here.at(WEDNESDAY, minute)
        here("run")
        gate = here.gate("yesterday").json["gate"]
        assert gate["retry_at"] == "2026-05-20T03:30:00Z"
        assert len(gate["obtainable"]) == lacking
        # Up to the newest day that all datasets have.
        ready = here.gate("ready")
        assert (ready.code, ready.json["gate"]["day"]) == (Exit.DONE, "2026-05-18")
    here.at(WEDNESDAY, 11 * 60 + 30)
    here("run")
    assert here.gate("yesterday").code == Exit.DONE


def test_what_is_missing_and_ready_can_be_had_before_the_ready_hour(here: At) -> None:
    """A gate names both reasons, and the moment at which a run obtains something."""
    here.at(WEDNESDAY, 9 * 60)
    gate = here.gate("yesterday").json["gate"]
    assert gate["reasons"] == ["not_asked", "not_ready"]
    assert gate["retry_at"] == "2026-05-20T01:00:00Z"


@pytest.mark.parametrize(
    ("dataset", "begin", "day", "unready"),
    [
        (WEEKLY, "2026-04-27", WEDNESDAY, False),
        (WEEKLY, "2026-04-27", MONDAY, True),
        (MONTHLY, "2026-03-01", WEDNESDAY, False),
        (MONTHLY, "2026-03-01", FIRST, True),
    ],
)
def test_a_week_or_a_month_is_required_once_it_is_over(
    here: At, dataset: str, begin: str, day: str, *, unready: bool
) -> None:
    """On the day after its end up to the ready hour it is not ready; within the next it counts."""
    here.wants(begin, "yesterday", dataset)
    here.at(day, 9 * 60)
    said = f"{day_text(parse_day(day) - 1)} gets ready at 10:00 in Beijing, in 60 minutes"
    assert (said in here("run").err) is unready
    found = here.gate("yesterday")
    assert found.code == (Exit.AGAIN if unready else Exit.DONE)
    assert found.json["gate"]["day"] == day_text(parse_day(day) - 1)
    assert found.json["gate"]["reasons"] == ["not_ready"] * unready
    assert here.gate("ready").code == Exit.DONE
    here.at(day, 10 * 60)
    assert here.gate("yesterday").code == (Exit.AGAIN if unready else Exit.DONE)
    here("run")
    assert here.gate("yesterday").code == Exit.DONE


def test_a_day_of_the_past_requires_no_week_that_was_not_over(here: At) -> None:
    """2026-05-12 is a Tuesday: its week, which is missing, was over five days later."""
    here.wants("2026-04-27", "2026-05-10", WEEKLY)
    here.at(WEDNESDAY, NOON)
    here("run")
    here.wants("2026-04-27", "yesterday", WEEKLY)
    assert here.gate("2026-05-12").code == Exit.DONE
    assert here.gate("2026-05-17").code == Exit.AGAIN


# Nothing is wanted.


def test_a_run_that_wants_nothing_yet_is_not_called_complete(here: At) -> None:
    """The first day of the job is not ready: the run and `status` say so in the same words."""
    here.wants("2026-05-19")
    here.at(WEDNESDAY, 9 * 60 + 30)
    said = "nothing is wanted yet: 2026-05-19 gets ready at 10:00 in Beijing, in 30 minutes"
    done, summary = here("run", "--summary-markdown", "summary.md"), here("status")
    assert (done.code, done.err.splitlines().count(said)) == (Exit.DONE, 1)
    assert summary.out.splitlines().count(said) == 1
    assert "\ncomplete" not in done.err + summary.out
    assert Path("summary.md").read_text().startswith(f"## harvester run: {said}\n")
    # Yesterday is wanted all the same.
    assert here.gate("yesterday").code == Exit.AGAIN
    assert here.gate("ready").code == Exit.DONE


def test_nothing_is_wanted_before_the_job_begins(here: At) -> None:
    """The day on which it gets ready is named, because it is not today."""
    here.wants("2026-05-18", "yesterday", MONTHLY)
    here.at(WEDNESDAY, NOON)
    said = "nothing is wanted yet: 2026-06-30 gets ready on 2026-07-01 in Beijing"
    assert said in here("status").out.splitlines()
    assert "nothing is wanted of 2026-05-19" in here("status", "--require", "yesterday").out


def test_of_paused_accounts_nothing_is_wanted(here: At) -> None:
    """A run of them is no complete one."""
    text = here.manifest.read_text()
    here.manifest.write_text(text.replace("defaults: {", "defaults: {paused: not verified, "))
    here.at(WEDNESDAY, NOON)
    said = "nothing is wanted: 2 accounts paused"
    assert said in here("run").err.splitlines()
    assert said in here("status").out.splitlines()
    assert "没有需要采集的日期：2 个账号已暂停" in here("status", "--lang", "zh").out


def test_yesterday_is_required_of_what_wants_it(here: At) -> None:
    """A range that has ended wants no yesterday, a day by its date is required up to then."""
    here.wants("2026-05-01", "2026-05-10")
    here.at(WEDNESDAY, NOON)
    found = here.gate("yesterday")
    assert (found.code, found.json["gate"]["wanted"]) == (Exit.DONE, False)
    text = here("status", "--require", "yesterday").out
    assert "\nnothing is wanted of 2026-05-19\n" in text
    assert here.gate("2026-05-19").code == here.gate("ready").code == Exit.AGAIN
    here("run")
    assert here.gate("2026-05-19").code == here.gate("ready").code == Exit.DONE


def test_one_account_of_two_wants_yesterday(here: At) -> None:
    """Older days that the other one lacks keep no gate for yesterday."""
    here.at(WEDNESDAY, NOON)
    here("run", "--accounts", appid(1))
    assert here.gate("yesterday").code == Exit.AGAIN
    text = here.manifest.read_text()
    whole, ended = f"{{appid: {appid(2)}}}", f"{{appid: {appid(2)}, end_date: 2026-05-15}}"
    here.manifest.write_text(text.replace(whole, ended))
    assert here.gate("yesterday").code == Exit.DONE
    assert here.gate("2026-05-19").code == Exit.AGAIN


# Reasons.


def test_the_reasons_of_a_gate_are_those_of_the_days(here: At) -> None:
    """Sorted; none if the gate is open, or if a share is enough."""
    here.at(WEDNESDAY, NOON)
    here.world.fail(appid(1), 48001)
    here.world.fail(appid(2), 45009)
    here("run")
    found = here.gate("yesterday")
    assert (found.code, found.json["gate"]["reasons"]) == (Exit.ATTENTION, ["quota", "refused"])
    here.world.heal(appid(2))
    here.at("2026-05-21", NOON)
    here("run")
    found = here.gate("yesterday")
    assert (found.code, found.json["gate"]["reasons"]) == (Exit.INCOMPLETE, ["refused"])
    enough = here.gate("yesterday", "--at-least", "50%")
    assert (enough.code, enough.json["gate"]["reasons"]) == (Exit.DONE, [])
    here.world.heal(appid(1))
    here("run", "--refetch", "refused")
    here.at("2026-05-22", NOON)
    final = here.gate("2026-05-20", "--final")
    assert (final.code, final.json["gate"]["reasons"]) == (Exit.AGAIN, ["provisional"])


# An output without a row.


def silence(here: At, *datasets: str) -> None:
    """Let all accounts want so many days that a table ought to have a row, and answer none."""
    here.world.add_data_fault(Outage())
    here.wants("2026-05-01", "yesterday", *datasets)


@pytest.mark.parametrize("datasets", [(HOURLY,), (HOURLY, SPARSE)])
def test_a_house_without_a_row_is_75_for_two_days_and_then_76(
    here: At, datasets: tuple[str, ...]
) -> None:
    """The run, `status` and the gate say the same, and that the user may find it fine."""
    silence(here, *datasets)
    for day, code in (20, Exit.AGAIN), (21, Exit.AGAIN), (22, Exit.ATTENTION):
        here.at(f"2026-05-{day}", NOON)
        done = here("run", "--log-format", "json")
        assert (done.code, here.record()["reasons"]) == (code, ["no_rows"])
        assert here.record()["retry_at"] == f"2026-05-{day + 1}T02:00:00Z"
        assert '"cause": "no_rows"' in done.err
        gate = here.gate("yesterday")
        assert (gate.code, gate.json["gate"]["reasons"]) == (code, ["no_rows"])
        assert gate.json["gate"]["retry_at"] == f"2026-05-{day + 1}T02:00:00Z"
        assert gate.json["complete"] is False
        keys = [item["key"] for item in gate.json["attention"]]
        assert keys == ["no_rows"] * (code == Exit.ATTENTION)
    said = "no dataset has a row of any account"
    assert f"incomplete: {said}" in here("status").out
    done = here("run")
    assert f"\n  {said}\n" in done.err
    assert "expect: {all: {min_share_with_rows: 0%}}" in done.err


@pytest.mark.parametrize("datasets", [(HOURLY,), (HOURLY, SPARSE), (SPARSE,)])
def test_the_manifest_says_that_no_row_is_fine(here: At, datasets: tuple[str, ...]) -> None:
    """Of sparse datasets, too, and where the output alone is read."""
    silence(here, *datasets)
    here.wants("2026-02-01", "yesterday", *datasets)
    here.at(WEDNESDAY, NOON)
    assert here("run").code == Exit.AGAIN
    here.add("expect: {all: {min_share_with_rows: 0%}}")
    assert here("run").code == Exit.DONE
    assert here.gate("yesterday").code == Exit.DONE
    assert here.gate("yesterday", "--output", str(here.output)).code == Exit.DONE
    assert "\ncomplete\n" in here("status").out


@pytest.mark.parametrize(
    ("dataset", "begin", "code"),
    [
        (HOURLY, "2026-05-07", Exit.DONE),
        (HOURLY, "2026-05-06", Exit.AGAIN),
        (SPARSE, "2026-05-06", Exit.DONE),
    ],
)
def test_few_days_without_a_row_say_nothing(here: At, dataset: str, begin: str, code: int) -> None:
    """Fourteen days of a table are enough; a sparse one needs sixty."""
    here.world.add_data_fault(Outage())
    here.wants(begin, "yesterday", dataset)
    here.at(WEDNESDAY, NOON)
    assert here("run").code == code


def test_the_fourteenth_day_without_a_row_is_the_first_of_three(here: At) -> None:
    """A house that grows day by day has its two days of patience as well."""
    here.world.add_data_fault(Outage())
    here.wants("2026-05-07", "yesterday", HOURLY)
    codes = []
    for day in range(20, 24):
        here.at(f"2026-05-{day}", NOON)
        codes.append(here("run").code)
    assert codes == [Exit.DONE, Exit.AGAIN, Exit.AGAIN, Exit.ATTENTION]


def test_a_range_of_old_days_without_a_row_has_its_three_days(here: At) -> None:
    """Its days are older than a month when they are asked first."""
    here.world.add_data_fault(Outage())
    here.wants("2026-03-01", "2026-03-31", HOURLY)
    codes = []
    for day in range(20, 24):
        here.at(f"2026-05-{day}", NOON)
        codes.append(here("run").code)
    assert codes == [Exit.AGAIN, Exit.AGAIN, Exit.ATTENTION, Exit.ATTENTION]


def test_one_row_of_one_dataset_ends_it(here: At) -> None:
    """Whatever the other datasets lack."""
    silence(here, HOURLY, DAILY)
    here.at(WEDNESDAY, NOON)
    assert here("run").code == Exit.AGAIN
    here.world.remove_data_fault(Outage())
    here.world.add_data_fault(Outage(datasets=(HOURLY,)))
    here("run", "--refetch", "empty", "--accounts", appid(1))
    done = here("run")
    assert (done.code, here.gate("yesterday").code) == (Exit.DONE, Exit.DONE)


@pytest.mark.parametrize("option", ["--accounts", "--shard"])
def test_a_part_of_the_output_is_not_judged(here: At, option: str) -> None:
    """Neither by a run nor by a gate."""
    silence(here, HOURLY)
    here.at(WEDNESDAY, NOON)
    text = here.manifest.read_text()
    here.manifest.write_text(text.replace("output: out", "output: {path: out, buckets: 2}"))
    parts = [appid(1), appid(2)] if option == "--accounts" else ["1/2", "2/2"]
    for part in parts:
        assert here("run", option, part).code == Exit.DONE
    assert here.gate("yesterday", "--accounts", appid(1)).code == Exit.DONE
    assert here.gate("yesterday").code == Exit.AGAIN
