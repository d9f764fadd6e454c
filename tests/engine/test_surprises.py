"""A surprise is cheap: a code that every window shares costs a handful of calls, and no data."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import parse_day
from harvester.core.config.settings import Limits, Pace, Retry
from harvester.core.exit_codes import Exit, Outcome
from harvester.core.model import Rate
from harvester.core.rule import Action
from harvester.runs import harvest
from harvester.scheduling.account_queue import Backlog
from harvester.scheduling.refusal_learning import SAMPLES
from tests.support.fake_time import Call, VirtualTimeHarness, in_virtual_time
from tests.support.nights import by_night, few_by_day
from tests.support.run_harness import HOURLY, days_between, expected, published_rows

WEEKLY = "user_summary"
"""A dataset that is asked for seven days at once."""

UNKNOWN = 99_999
CODES = (UNKNOWN, 61500, 47001, 44002, 61501, 61503)
TODAY = parse_day("2026-05-20")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[VirtualTimeHarness]:
    """Five accounts that owe 138 windows each."""
    lab = VirtualTimeHarness(
        tmp_path,
        accounts=5,
        begin="2025-12-01",
        end="2026-03-30",
        datasets=(HOURLY, WEEKLY),
        limits=Limits(Pace(Rate(10, 1.0), 1, concurrency=4), connections=16),
    )
    with in_virtual_time(lab):
        yield lab


def always(errcode: int) -> Callable[[Call, bytes], int | None]:
    """Refuse every call."""
    return lambda _, __: errcode


def refuse_some(share: float, seed: int, errcode: int = UNKNOWN) -> Callable[[Call, bytes], int]:
    """Refuse a share of all windows, each always or never."""

    def refuse(call: Call, body: bytes) -> int:
        dice = random.Random(f"{seed} {call.appid} {call.path} {body!r}")
        return errcode if dice.random() < share else 0

    return refuse


def only(names: set[str], errcode: int = UNKNOWN) -> Callable[[Call, bytes], int]:
    """Refuse every call of some accounts."""
    return lambda call, _: errcode if call.appid in names else 0


def calls_of(lab: VirtualTimeHarness, run: Callable[[], Any]) -> int:
    """Return how many data calls a run makes."""
    before = len(lab.net.calls)
    run()
    return len(lab.net.calls) - before


def is_whole(
    lab: VirtualTimeHarness, duck: duckdb.DuckDBPyConnection, accounts: tuple[str, ...]
) -> bool:
    """Return whether all rows of these accounts are there, once, and no others."""
    return all(
        published_rows(duck, lab.root, dataset)
        == expected(dataset, accounts, days_between(lab.begin, str(lab.end)))
        for dataset in lab.datasets
    )


@pytest.mark.long
@pytest.mark.parametrize("errcode", few_by_day(CODES, (CODES[0], 61503)))
def test_a_code_for_every_window_costs_a_handful_of_calls(
    lab: VirtualTimeHarness, errcode: int, duck: duckdb.DuckDBPyConnection
) -> None:
    """690 windows: at most 150 calls, and one call of each pair in the next run of the day.

    What was deferred is unfinished on the first day (76, because of what was refused), and refused
    (3) from the next one on.
    """
    lab.net.refuse = always(errcode)
    first = lab.run()
    assert (first.windows, first.exit_code.outcome) == (690, Outcome.UNFINISHED)
    assert len(lab.net.calls) <= 5 * 2 * SAMPLES
    assert {gone.rule.action for gone in first.abandoned} >= {Action.DEFER}
    assert calls_of(lab, lab.run) <= 5 * 2 * (2 if errcode == 61503 else 1)
    lab.sleep_until(TODAY + 1, 12 * 60)
    next_day = lab.run()
    assert next_day.exit_code is (Exit.ATTENTION if errcode == 61503 else Exit.INCOMPLETE)
    assert next_day.requests <= 5 * 2 * SAMPLES
    lab.net.refuse = lambda _, __: None
    healed = lab.run()
    assert (healed.exit_code, healed.missing) == (Exit.DONE, 0)
    assert is_whole(lab, duck, lab.appids)


@pytest.mark.parametrize(("seed", "accounts"), [(0, 15), *by_night([(0, 50), (1, 50), (2, 50)])])
def test_half_of_the_windows_refused_at_random_defers_hardly_any_pair(
    lab: VirtualTimeHarness, seed: int, accounts: int
) -> None:
    """At most one pair is deferred early; every good window of the others is covered."""
    lab.accounts, lab.net.refuse = accounts, refuse_some(0.5, seed)
    lab.begin, lab.limits = "2026-02-01", replace(lab.limits, connections=100)
    first = lab.run()
    early = {
        (gone.appid, gone.dataset) for gone in first.abandoned if gone.rule.action is Action.DEFER
    }
    assert len(early) <= 1
    # An hour asked more than once costs a call each; a refused week is refused as a whole.
    assert first.requests == first.windows - sum(
        gone.count for gone in first.abandoned if gone.rule.action is Action.DEFER
    )
    lab.sleep_until(TODAY + 1, 12 * 60)
    second = lab.run()
    asked = {pair for pair in early if second.requests}
    assert asked == early


@pytest.mark.parametrize("bad", [1, 2, 4])
def test_bad_accounts_never_stop_the_others(
    lab: VirtualTimeHarness, bad: int, duck: duckdb.DuckDBPyConnection
) -> None:
    """One, two or most: the others are asked for everything in the same run."""
    sick = set(lab.appids[:bad])
    lab.net.refuse = only(sick)
    done = lab.run()
    assert {gone.appid for gone in done.abandoned} == sick
    assert is_whole(lab, duck, lab.appids[bad:])


def test_after_two_accounts_the_others_are_asked_once(tmp_path: Path) -> None:
    """Sixty accounts of which none is answered cost little more than one call each."""
    lab = VirtualTimeHarness(
        tmp_path, accounts=60, datasets=(HOURLY,), limits=Limits(connections=2), begin="2026-01-01"
    )
    with in_virtual_time(lab):
        lab.net.refuse = always(UNKNOWN)
        done = lab.run()
    assert done.windows == 60 * 90
    assert len(lab.net.calls) <= 60 + 10 * SAMPLES


@pytest.mark.long
def test_an_answer_forgets_what_was_learnt(lab: VirtualTimeHarness) -> None:
    """The day after a surprise that was healed meanwhile, another one is unfinished again."""
    lab.net.refuse = always(UNKNOWN)
    lab.run()
    lab.net.refuse, lab.end = lambda _, __: None, "2026-03-10"
    assert lab.run().exit_code is Exit.DONE
    lab.sleep_until(TODAY + 1, 12 * 60)
    lab.net.refuse, lab.end, lab.begin = always(UNKNOWN), "2026-04-30", "2025-10-01"
    again = lab.run()
    assert again.exit_code is Exit.ATTENTION
    assert len({call.appid for call in lab.net.calls}) == 5


def test_refetch_refused_starts_anew(lab: VirtualTimeHarness) -> None:
    """It samples each pair as on the first day, and what it defers is unfinished again."""
    lab.accounts, lab.net.refuse = 1, always(UNKNOWN)
    assert calls_of(lab, lab.run) == 2 * SAMPLES
    assert calls_of(lab, lab.run) == 2
    assert calls_of(lab, lambda: lab.run(refetch="refused")) == 2 * SAMPLES
    lab.sleep_until(TODAY + 1, 12 * 60)
    assert lab.run().exit_code is Exit.INCOMPLETE
    assert lab.run(refetch="refused").exit_code is Exit.ATTENTION


def test_another_code_is_another_surprise(lab: VirtualTimeHarness) -> None:
    """Knowledge of one code says nothing of the next one."""
    lab.accounts, lab.net.refuse = 1, always(UNKNOWN)
    lab.run()
    lab.net.refuse = always(47001)
    assert calls_of(lab, lab.run) == 2 * SAMPLES
    assert calls_of(lab, lab.run) == 2


def test_runs_of_one_day_ask_for_other_windows(lab: VirtualTimeHarness) -> None:
    """A pair of which some windows are good is found by one of the next runs."""
    lab.accounts, lab.datasets = 1, (HOURLY,)
    asked: list[str] = []

    def refuse(_: Call, body: bytes) -> int:
        asked.append(orjson.loads(body)["begin_date"])
        return UNKNOWN

    lab.net.refuse = refuse
    for _ in range(6):
        lab.run()
    assert len(set(asked)) == len(asked) == SAMPLES + 5


def test_a_day_that_is_ready_for_no_account_is_asked_of_few(tmp_path: Path) -> None:
    """Once five accounts were told so, the others are asked for the days before it alone."""
    lab = VirtualTimeHarness(
        tmp_path, accounts=60, datasets=(WEEKLY,), begin="2026-03-01", end="2026-03-28"
    )
    lab.limits = Limits(connections=2)

    def refuse(_: Call, body: bytes) -> int:
        return 61503 if orjson.loads(body)["end_date"] == "2026-03-28" else 0

    with in_virtual_time(lab):
        lab.net.refuse = refuse
        done = lab.run()
    assert (done.exit_code, list(done.reasons())) == (Exit.AGAIN, ["not_ready"])
    assert sum(gone.count for gone in done.abandoned) == 60
    assert done.requests <= 60 * 4 + 8


def test_a_bad_newest_day_costs_no_span(lab: VirtualTimeHarness) -> None:
    """61501 for one day is no shorter span: the rest is asked seven days at once."""
    lab.datasets, lab.accounts = (WEEKLY,), 1

    def refuse(_: Call, body: bytes) -> int:
        return 61501 if orjson.loads(body)["end_date"] == lab.end else 0

    lab.net.refuse = refuse
    done = lab.run()
    assert sum(gone.count for gone in done.abandoned) == 1
    assert not done.shortened_spans
    assert done.requests == 3 + 17


def test_the_rest_of_an_answered_pair_is_deferred_after_thirty_refusals_in_a_row(
    lab: VirtualTimeHarness,
) -> None:
    """Twenty-nine and an answer between cost nothing; thirty end it for this run."""
    lab.accounts, lab.datasets = 1, (HOURLY,)
    lab.net.refuse = lambda _, body: (
        0 if orjson.loads(body)["begin_date"] in {"2026-03-30", "2026-02-28"} else UNKNOWN
    )
    done = lab.run()
    assert done.requests == 1 + 29 + 1 + 30
    assert done.exit_code is Exit.ATTENTION


def test_each_dataset_of_an_account_is_probed_before_it_is_asked_at_once(tmp_path: Path) -> None:
    """A slow network shows it: one call is under way until the first answer, then several."""
    lab = VirtualTimeHarness(tmp_path, accounts=1, datasets=(HOURLY, WEEKLY))
    lab.limits = Limits(Pace(Rate(100, 1.0), 8, concurrency=8))
    lab.net.there, lab.net.back = 0.0, 0.0
    lab.sandbox.rules = replace(lab.sandbox.rules, latency=2.0)
    with in_virtual_time(lab):
        lab.run()
    for name in lab.datasets:
        starts = [call.at for call in lab.net.calls if call.path == CATALOGUE[name].path]
        assert starts[1] - starts[0] >= 2.0
        assert starts[3] - starts[1] < 2.0


def released(*given: Any, **named: Any) -> Backlog:
    """Return a backlog of which several windows may be asked before the first answer."""
    backlog = Backlog(*given, **named)
    backlog.refusals.released = True
    return backlog


@pytest.mark.long
@pytest.mark.parametrize("accounts", [3, *by_night([300])])
def test_the_probe_costs_a_backfill_hardly_any_time(
    tmp_path: Path, accounts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two datasets, a year at 10/s: at most 1% of the makespan of a run that does not probe."""

    def seconds(root: Path) -> float:
        lab = VirtualTimeHarness(root, accounts=accounts, datasets=(HOURLY, WEEKLY))
        lab.begin, lab.end = "2025-03-01", "2026-02-28"
        lab.limits = Limits(Pace(Rate(10, 1.0), 1, concurrency=4))
        with in_virtual_time(lab):
            assert lab.run().exit_code is Exit.DONE
        return lab.net.calls[-1].at - lab.net.calls[0].at

    with_probe = seconds(tmp_path / "with")
    monkeypatch.setattr(harvest, "Backlog", released)
    assert with_probe <= 1.01 * seconds(tmp_path / "without")


def test_scouts_that_end_otherwise_keep_no_account_waiting(
    lab: VirtualTimeHarness, duck: duckdb.DuckDBPyConnection
) -> None:
    """The first accounts are refused and then banned; the others go on long before the end."""
    lab.accounts = 6
    asked: Counter[str] = Counter()

    def refuse(call: Call, _: bytes) -> int:
        if call.path != CATALOGUE[WEEKLY].path:
            return 0
        asked[call.appid] += 1
        if call.appid in lab.appids[:3]:
            return UNKNOWN if asked[call.appid] < 4 else 48004
        return UNKNOWN if asked[call.appid] <= 2 else 0

    lab.net.refuse = refuse
    lab.run()
    begin, end = lab.net.calls[0].at, lab.net.calls[-1].at
    for name in lab.appids[3:]:
        calls = [call for call in lab.net.calls if call.appid == name]
        weekly = [call.at for call in calls if call.path == CATALOGUE[WEEKLY].path]
        assert len(weekly) == 18
        assert weekly[2] - begin < 0.5 * (end - begin)


def test_accounts_with_different_codes_do_not_wait(lab: VirtualTimeHarness) -> None:
    """Each code is a surprise of its own; every pair is deferred in the end."""
    lab.accounts = 12
    lab.net.refuse = lambda call, _: 90_000 + int(call.appid[-1], 16)
    done = lab.run()
    assert {(gone.appid, gone.dataset) for gone in done.abandoned} == {
        (name, dataset) for name in lab.appids for dataset in lab.datasets
    }
    assert len(lab.net.calls) <= 12 * 2 * SAMPLES


@pytest.mark.parametrize("seed", [0, *by_night(range(1, 8))])
def test_tokens_that_worked_and_die_give_up_no_window(
    tmp_path: Path, seed: int, duck: duckdb.DuckDBPyConnection
) -> None:
    """155 windows, 16 in flight, each twentieth call of a token that worked ends it.

    The call that worked may be answered after the one that was refused.
    """
    lab = VirtualTimeHarness(
        tmp_path,
        accounts=5,
        datasets=(HOURLY,),
        limits=Limits(Pace(Rate(100, 1.0), 16, concurrency=16), connections=16),
        retry=Retry(),
        seed=seed,
    )
    dice = random.Random(seed)
    working: set[str] = set()

    def refuse(call: Call, _: bytes) -> int:
        if not call.appid or call.appid not in working or dice.random() >= 0.05:
            working.add(call.appid)
            return 0
        lab.sandbox.tokens.revoke(call.appid, lab.now())
        working.discard(call.appid)
        return 40001

    with in_virtual_time(lab):
        lab.net.refuse = refuse
        done = lab.run()
        assert (done.exit_code, done.abandoned) == (Exit.DONE, [])
        assert is_whole(lab, duck, lab.appids)
