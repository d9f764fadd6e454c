"""Gate of `status --require`: 0 if the days are there, 75 if they may come, 3 if they do not."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest

from harvester.core import calendar
from harvester.core.calendar import Day, day_of, parse_day
from harvester.core.config.settings import Limits, Pace
from harvester.core.errors import UsageError
from harvester.core.exit_codes import Exit
from harvester.core.model import DayRange, Rate
from harvester.sandbox.calls import Reply
from harvester.sandbox.data import Row, expected_rows
from harvester.storage.layout import Tree
from harvester.storage.state import run_records
from harvester.storage.state.run_records import RunResult
from harvester.verbs import gate, status
from harvester.verbs.gate import Gate, LostDays, Required
from tests.support.fake_time import VirtualTimeHarness, in_virtual_time
from tests.support.run_harness import DAILY, HOURLY, RunHarness, appid

SICK, WELL = appid(1), appid(2)
BROKEN = parse_day("2026-03-02")
NEWEST = parse_day("2026-05-19")


@pytest.fixture
def lab(tmp_path: Path) -> RunHarness:
    """Prepare three accounts and the two weeks up to yesterday, at noon."""
    lab = RunHarness(tmp_path, begin="2026-05-06", end=None, datasets=(HOURLY,))
    lab.limits = lab.one_of_each_at_a_time()
    return lab


def judged(
    lab: RunHarness, day: str | None = None, *, final: bool = False, at_least: float | None = None
) -> Gate:
    """Return the answer of the gate at this moment."""
    required = Required(None if day is None else parse_day(day), final, at_least=at_least)
    found = status.survey(lab.manifest(), lab.tree, lab.now(), required).gate
    assert found is not None
    return found


def lost(found: Gate) -> set[tuple[str, str, int | None, str]]:
    """Return the accounts, datasets, codes and reasons of the lost days."""
    return {(days.appid, days.dataset, days.errcode, days.reason) for days in found.lost}


def ranges(found: Iterable[DayRange]) -> set[tuple[Day, Day]]:
    """Return the first and the last day of each range."""
    return {(day_of(days.begin), day_of(days.end)) for days in found}


def records(lab: RunHarness) -> list[Path]:
    """The run records, oldest first."""
    return sorted((lab.root / "_harvester/runs").glob("*.json"))


def run_and_record(lab: RunHarness) -> dict[str, Any]:
    """Execute a run, and return its record as it stands in the tree."""
    lab.run()
    found: dict[str, Any] = orjson.loads(records(lab)[-1].read_bytes())
    return found


def test_a_gate_opens_with_the_run_that_fetches_the_days(lab: RunHarness) -> None:
    """A run can obtain them now, and after it everything is there."""
    found = judged(lab)
    assert found.exit_code is Exit.AGAIN
    assert found.obtainable == tuple(
        DayRange(name, HOURLY, date(2026, 5, 6), date(2026, 5, 19)) for name in lab.appids
    )
    assert found.retry_at == calendar.utc_text(lab.now())
    lab.run()
    newest = calendar.date_of(NEWEST)
    assert judged(lab) == Gate(newest, final=False, newest_ready=newest)
    assert judged(lab).exit_code is Exit.DONE


def test_a_gate_says_3_once_only_refused_days_are_missing(lab: RunHarness) -> None:
    """They are named with the code and the run that asked; other accounts may go on."""
    lab.sandbox.fail(SICK, 48001)
    record = run_and_record(lab)
    found = judged(lab)
    assert (found.exit_code, found.obtainable, found.retry_at) == (Exit.INCOMPLETE, (), None)
    first = parse_day("2026-05-06")
    assert ranges(found.lost) == {
        (NEWEST, NEWEST),
        (first, NEWEST - 1),
    }
    assert lost(found) == {(SICK, HOURLY, 48001, "refused")}
    assert {days.run_id for days in found.lost} == {record["run_id"]}
    lab.sandbox.heal(SICK)
    lab.run()
    assert judged(lab).exit_code is Exit.DONE


def test_a_share_of_the_days_may_be_enough(lab: RunHarness) -> None:
    """The days that the gate does without are named, with the reason."""
    assert judged(lab, at_least=0.5).exit_code is Exit.AGAIN
    lab.sandbox.fail(SICK, 48001)
    lab.run()
    found = judged(lab, at_least=2 / 3)
    assert (found.exit_code, found.share, found.lost, found.obtainable) == (0, 2 / 3, (), ())
    assert {(days.appid, days.reason, days.errcode) for days in found.without} == {
        (SICK, "refused", 48001)
    }
    closed = judged(lab, at_least=0.67)
    assert (closed.exit_code, closed.without) == (Exit.INCOMPLETE, ())
    assert lost(closed) == {(SICK, HOURLY, 48001, "refused")}


def test_the_share_counts_the_required_days_alone(lab: RunHarness) -> None:
    """Days after the required one are not in it, and days of a paused account neither."""
    lab.run()
    lab.end = None
    lab.advance(86_400.0)
    found = judged(lab, "2026-05-19", at_least=0.99)
    assert (found.exit_code, found.share) == (Exit.DONE, 1.0)
    assert 0.9 < judged(lab).share < 1


@pytest.mark.parametrize("given", ["95", "0.95", "0%", "101%", "many", "nan%"])
def test_a_share_is_a_percentage_up_to_all(lab: RunHarness, given: str) -> None:
    """A gate for no share would always be open, and one above the whole never."""
    manifest: dict[str, Any] = {
        "version": 1,
        "api": {"base_url": "sandbox"},
        "accounts": [{"appid": SICK}],
        "jobs": [{"datasets": [DAILY], "begin_date": "2026-03-01"}],
        "output": str(lab.root),
    }
    found = status.status(manifest, require="yesterday", at_least="99.5%")
    assert found.gate is not None
    assert found.gate.at_least == 0.995
    with pytest.raises(UsageError, match=f"at_least `{given}` (is not a share|must be )"):
        status.status(manifest, require="yesterday", at_least=given)


def test_a_gate_says_76_while_a_refused_account_hides_unfinished_ones(lab: RunHarness) -> None:
    """A spent quota is worth another run from five minutes after midnight in Beijing on."""
    lab.sandbox.fail(SICK, 48001)
    lab.sandbox.fail(WELL, 45009)
    lab.run()
    found = judged(lab)
    assert (found.exit_code, found.retry_at) == (Exit.ATTENTION, "2026-05-20T16:05:00Z")
    assert {days.appid for days in found.obtainable} == {WELL}
    assert lost(found) == {(SICK, HOURLY, 48001, "refused")}
    lab.advance(86_400)
    before, at, after = lab.now(), judged(lab, "2026-05-19").retry_at, lab.now()
    assert at is not None
    assert calendar.utc_text(before) <= at <= calendar.utc_text(after)


def test_a_gate_says_76_for_days_that_have_been_late_for_more_than_a_day(lab: RunHarness) -> None:
    """They may still come, and a person sees to it meanwhile; the newest day alone may be late."""
    lab.sandbox.fail(SICK, 61503, times=1)
    lab.run()
    assert judged(lab).exit_code is Exit.AGAIN
    lab.sandbox.fail(SICK, 61503)
    lab.advance(86_400)
    lab.run()
    found = judged(lab)
    assert (found.exit_code, found.lost) == (Exit.ATTENTION, ())
    assert [item.key for item in found.attention] == [f"not_ready/{SICK}/{HOURLY}"]


def test_a_new_day_of_a_refused_account_is_to_be_asked_first(lab: RunHarness) -> None:
    """Nothing is known of it before; then it is refused like the days before it."""
    lab.sandbox.fail(SICK, 48001)
    lab.run()
    lab.advance(86_400)
    found = judged(lab)
    assert found.exit_code is Exit.ATTENTION
    assert ranges(found.obtainable) == {(NEWEST + 1, NEWEST + 1)}
    lab.run()
    assert judged(lab).exit_code is Exit.INCOMPLETE


def test_a_failed_window_among_days_that_are_put_off_is_told_apart(lab: RunHarness) -> None:
    """The range of the rest includes its day, and its own entry is the exact one."""
    record = run_and_record(lab)
    for name in lab.root.glob(f"{HOURLY}/*/*"):
        name.unlink()
    common = {"appid": SICK, "dataset": HOURLY, "days": 1, "errcode": -1}
    record["exceptions"] = [
        {
            **common,
            "begin_date": "2026-05-06",
            "end_date": "2026-05-19",
            "action": "defer",
            "scope": "dataset of the account",
        },
        {
            **common,
            "begin_date": "2026-05-10",
            "end_date": "2026-05-10",
            "action": "retry",
            "scope": "window",
        },
    ]
    records(lab)[-1].write_bytes(orjson.dumps(record))
    lab.accounts = 1
    found = judged(lab)
    failed, on = parse_day("2026-05-10"), date(2026, 5, 10)
    assert found.lost == (LostDays(SICK, HOURLY, on, on, "failed", -1, record["run_id"]),)
    assert ranges(found.obtainable) == {
        (parse_day("2026-05-06"), failed - 1),
        (failed + 1, NEWEST),
    }
    ended = calendar.utc_text(lab.now() + 600)[:-3]
    assert found.retry_at is not None
    assert found.retry_at.startswith(ended[:-1])


def test_days_after_the_required_one_count_for_nothing(lab: RunHarness) -> None:
    """Yesterday is missing, and the day before it is all that is required."""
    lab.end = "2026-05-18"
    lab.run()
    lab.end = None
    assert judged(lab).exit_code is Exit.AGAIN
    assert judged(lab, "2026-05-18").exit_code is Exit.DONE


def test_a_named_day_is_required_before_it_is_ready(tmp_path: Path) -> None:
    """The newest ready day is there; the named one can be obtained from its ready hour on."""
    lab = RunHarness(tmp_path, begin="2026-05-16", end=None, datasets=(HOURLY,), minute=9 * 60)
    lab.run()
    assert judged(lab).exit_code is Exit.DONE
    found = judged(lab, "2026-05-19")
    assert (found.exit_code, found.retry_at) == (Exit.AGAIN, "2026-05-20T02:00:00Z")
    assert ranges(found.obtainable) == {(NEWEST, NEWEST)}


def test_a_week_is_required_once_it_is_over(tmp_path: Path) -> None:
    """2026-05-19 is a Tuesday: the week that began on Monday is not wanted yet."""
    lab = RunHarness(tmp_path, begin="2026-04-27", end=None, datasets=("upstream_msg_week",))
    lab.run()
    assert judged(lab, "2026-05-19").exit_code is Exit.DONE


def test_a_provisional_day_is_enough_unless_final_days_are_required(tmp_path: Path) -> None:
    """It is asked again on the next Beijing day, until it is final."""
    lab = RunHarness(tmp_path, begin="2026-05-16", end="2026-05-19", datasets=(DAILY,))
    lab.run()
    assert judged(lab).exit_code is Exit.DONE
    found = judged(lab, final=True)
    assert (found.exit_code, found.lost) == (Exit.AGAIN, ())
    assert found.retry_at == "2026-05-20T16:00:00Z"
    lab.advance(86_400)
    assert judged(lab, final=True).retry_at == calendar.utc_text(lab.now())
    lab.advance(9 * 86_400)
    lab.run()
    assert judged(lab, final=True).exit_code is Exit.DONE


def test_a_provisional_day_that_is_refused_today_is_lost_to_a_gate_for_final_days(
    tmp_path: Path,
) -> None:
    """An older refusal counts no more, because the day was answered since."""
    lab = RunHarness(tmp_path, begin="2026-05-19", end="2026-05-19", datasets=(DAILY,))
    lab.sandbox.fail(SICK, 48001)
    lab.run()
    lab.sandbox.heal(SICK)
    lab.run()
    lab.advance(86_400)
    again = judged(lab, final=True)
    assert (again.exit_code, again.lost) == (Exit.AGAIN, ())
    for name in lab.appids:
        lab.sandbox.fail(name, 48001)
    lab.run()
    assert judged(lab).exit_code is Exit.DONE
    assert judged(lab, final=True).exit_code is Exit.INCOMPLETE


def broken(dataset: str, account: str, day: Day) -> list[Row]:
    """The truth, but for a value that is no number."""
    rows = expected_rows(dataset, account, day)
    if (account, day) == (SICK, BROKEN):
        return [{**row, "callback_count": "many"} for row in rows]
    return rows


def test_a_quarantined_day_does_not_come_by_itself(tmp_path: Path) -> None:
    """Unless an earlier answer of the day was usable."""
    lab = RunHarness(tmp_path, begin="2026-03-01", end="2026-03-03", datasets=(HOURLY,))
    lab.source = broken
    lab.__post_init__()
    lab.run()
    found = judged(lab)
    assert found.exit_code is Exit.INCOMPLETE
    day = calendar.date_of(BROKEN)
    assert found.lost == (LostDays(SICK, HOURLY, day, day, "quarantined"),)


@pytest.mark.parametrize(
    ("member", "value"),
    [("action", "dance"), ("scope", "the moon"), ("begin_date", "soon"), ("appid", 7)],
)
def test_a_record_that_does_not_tell_leaves_the_days_to_the_next_run(
    lab: RunHarness, member: str, value: object
) -> None:
    """Whatever stands in the output, the gate is not opened and no run is put off by it."""
    lab.sandbox.fail(SICK, 48001)
    record = run_and_record(lab)
    for item in record["exceptions"]:
        item[member] = value
    records(lab)[-1].write_bytes(orjson.dumps(record))
    assert judged(lab).exit_code is Exit.AGAIN


@pytest.mark.parametrize(
    "ended",
    ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00", 7e22, "soon"],
)
def test_a_planted_time_ends_in_no_error(lab: RunHarness, ended: object) -> None:
    """Months are the calendar's, and have no name beyond its years."""
    lab.datasets, lab.begin = (HOURLY, "upstream_msg_month"), "2026-03-01"
    for name in lab.appids:
        lab.sandbox.fail(name, 48001)
    record = run_and_record(lab)
    records(lab)[-1].write_bytes(orjson.dumps({**record, "ended_at": ended}))
    late = ended == "9999-12-31T23:59:59Z"
    assert judged(lab).exit_code is (Exit.INCOMPLETE if late else Exit.AGAIN)


def test_a_run_that_has_not_ended_tells_nothing(lab: RunHarness) -> None:
    """A killed run's record has no last word, so the one before it counts."""
    lab.sandbox.fail(SICK, 48001)
    record = run_and_record(lab)
    killed = records(lab)[-1].with_name("20260521T000000Z-000000.json")
    killed.write_bytes(
        orjson.dumps({**record, "run_id": killed.stem, "state": "running", "exceptions": []})
    )
    assert judged(lab).exit_code is Exit.INCOMPLETE
    record["state"] = "running"
    records(lab)[0].write_bytes(orjson.dumps(record))
    assert judged(lab).exit_code is Exit.AGAIN


def test_records_from_before_a_day_was_ready_are_not_read(
    lab: RunHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first that cannot know ends the search, so a gate in the morning reads one of them."""
    for _ in range(3):
        lab.run()
    lab.advance(86_400)
    read = set[str]()
    newest = run_records.newest

    def counted(tree: Tree, kind: type[Any], *more: Any) -> Any:
        for record in newest(tree, kind, *more):
            if kind is RunResult:
                read.add(record.run_id)
            yield record

    monkeypatch.setattr(run_records, "newest", counted)
    monkeypatch.setattr(run_records, "last", lambda *_: [])
    assert judged(lab).exit_code is Exit.AGAIN
    assert len(read) == 1


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [(61503, 3600 - 1), (Reply(b"<html>", 503, "text/html"), 600)],
)
def test_what_passes_is_worth_another_run_from_a_moment_on(
    tmp_path: Path, fault: int | Reply, seconds: int
) -> None:
    """The next full hour for a day that is not ready, ten minutes after an outage."""
    lab = VirtualTimeHarness(tmp_path, begin="2026-05-19", end=None, datasets=(HOURLY,))
    lab.limits = Limits(Pace(Rate(10, 1.0), 1, concurrency=4))
    with in_virtual_time(lab), pytest.MonkeyPatch.context() as patch:
        if isinstance(fault, int):
            for name in lab.appids:
                lab.sandbox.fail(name, fault)
        else:
            well = lab.sandbox.answer
            patch.setattr(
                lab.sandbox,
                "answer",
                lambda request: fault if "datacube" in request.path else well(request),
            )
        ended = lab.run().ended_at
        found = judged(lab)
    assert found.exit_code is Exit.AGAIN
    assert found.retry_at is not None
    assert calendar.utc_text(ended + seconds - 2) <= found.retry_at
    assert found.retry_at <= calendar.utc_text(ended + seconds + 2)


def test_the_search_for_refusals_ends(lab: RunHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal beyond the newest records counts as unknown: the next run tells."""
    lab.sandbox.fail(SICK, 48001)
    run_and_record(lab)
    later = records(lab)[-1].with_name("20260521T000000Z-000000.json")
    later.write_bytes(
        orjson.dumps({**orjson.loads(records(lab)[-1].read_bytes()), "exceptions": []})
    )
    assert judged(lab).exit_code is Exit.INCOMPLETE
    monkeypatch.setattr(gate, "MAX_RECORDS", 1)
    assert judged(lab).exit_code is Exit.AGAIN


def test_a_gate_makes_no_call_and_creates_nothing(tmp_path: Path) -> None:
    """It reads files alone, and an output that does not exist has none."""
    lab = RunHarness(tmp_path / "none")
    assert judged(lab).exit_code is Exit.AGAIN
    assert not lab.root.exists()
    assert lab.calls() == 0
