"""Each class of errors once, over real HTTP: its effect, and that no other account is affected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from harvester.catalogue import error_codes
from harvester.core.calendar import parse_day
from harvester.core.exit_codes import Exit
from harvester.core.rule import Action, Scope
from harvester.runs.record.record import Record
from harvester.sandbox import TOKEN
from tests.support import faulty_wechat
from tests.support.faulty_wechat import Fault
from tests.support.nights import by_night, few_by_day
from tests.support.run_harness import (
    BOTH,
    DAILY,
    HOURLY,
    RunHarness,
    appid,
    days_between,
    expected,
    published_rows,
)

DAYS = ("2026-03-01", "2026-03-04")
SICK, WELL = appid(1), (appid(2), appid(3))
UNKNOWN_CODE = 99_999


@pytest.fixture
def lab(tmp_path: Path) -> RunHarness:
    """Prepare three accounts, two datasets and four days, two seconds before a minute ends."""
    lab = RunHarness(tmp_path, begin=DAYS[0], end=DAYS[1])
    lab.advance(58.0)
    lab.limits = lab.one_of_each_at_a_time()
    return lab


def others_are_exact(lab: RunHarness, duck: duckdb.DuckDBPyConnection) -> bool:
    """Return whether the accounts without faults have every row."""
    return all(
        [row for row in published_rows(duck, lab.root, dataset) if row[0] != SICK]
        == expected(dataset, WELL, days_between(*DAYS))
        for dataset in BOTH
    )


def first_by_day(found: list[int]) -> list[Any]:
    """Return codes of one effect, of which ``-m slow`` alone tries all but the first two."""
    return few_by_day(found, found[:2])


def lost(done: Record) -> dict[str, int]:
    """Count the abandoned account-days by dataset; only the sick account may have any."""
    assert {gone.appid for gone in done.abandoned} <= {SICK}
    found = dict.fromkeys(BOTH, 0)
    for gone in done.abandoned:
        found[gone.dataset] += gone.count
    return found


def codes(action: Action, *scopes: Scope) -> list[int]:
    """Return the codes of the table with this effect on a data call."""
    return [
        code
        for code, rule in error_codes.DATA_RULES.items()
        if rule.action is action and rule.scope in scopes and code > 599
    ] + [
        code
        for code, rule in error_codes.DATA_RULES.items()
        if rule.action is action and rule.scope in scopes and code < 0
    ]


@pytest.mark.parametrize("code", first_by_day(codes(Action.RETRY, Scope.WINDOW)))
def test_a_temporary_fault_is_retried(
    lab: RunHarness, code: int, duck: duckdb.DuckDBPyConnection
) -> None:
    """Two failures cost two more requests and nothing else."""
    lab.sandbox.fail(SICK, code, dataset=HOURLY, times=2)
    done = lab.run()
    assert (done.exit_code, done.retries, done.requests) == (Exit.DONE, 2, done.windows + 2)
    assert others_are_exact(lab, duck)
    assert published_rows(duck, lab.root, HOURLY) == expected(
        HOURLY, lab.appids, days_between(*DAYS)
    )


@pytest.mark.parametrize(
    "fault",
    [
        faulty_wechat.HTML_PAGE,
        faulty_wechat.EMPTY_OBJECT,
        faulty_wechat.CUT,
        *by_night(
            [
                faulty_wechat.BAD_GATEWAY,
                faulty_wechat.EMPTY_BODY,
                faulty_wechat.NULL_LIST,
                faulty_wechat.CLOSED,
                faulty_wechat.RESET,
                faulty_wechat.GARBAGE,
            ]
        ),
    ],
)
def test_an_unusable_answer_is_retried(
    lab: RunHarness, fault: Fault, duck: duckdb.DuckDBPyConnection
) -> None:
    """HTML, half a body, a closed connection or `{}` is not taken for an empty day."""
    lab.sandbox.fail(SICK, fault, dataset=HOURLY, times=2)
    done = lab.run()
    assert done.exit_code is Exit.DONE
    assert done.retries >= 2
    assert published_rows(duck, lab.root, HOURLY) == expected(
        HOURLY, lab.appids, days_between(*DAYS)
    )


def test_a_permanent_fault_fails_its_windows_alone(
    lab: RunHarness, duck: duckdb.DuckDBPyConnection
) -> None:
    """After the last attempt the window is abandoned; the run goes on and ends with 3."""
    lab.sandbox.fail(SICK, -1, dataset=HOURLY)
    done = lab.run()
    assert (done.exit_code, lost(done)) == (Exit.INCOMPLETE, {DAILY: 0, HOURLY: 4})
    assert done.requests == done.windows + 4 * (lab.retry.max_attempts - 1)
    assert others_are_exact(lab, duck)


FAILED = Fault(body=b'{"list":[],"errmsg":"system error"}')


def test_an_empty_list_beside_words_of_failure_is_retried(
    lab: RunHarness, duck: duckdb.DuckDBPyConnection
) -> None:
    """It is taken for no empty day, and what all attempts did not bring is left to a later run."""
    lab.sandbox.fail(SICK, FAILED, dataset=HOURLY)
    done = lab.run()
    assert (done.exit_code, done.reasons()) == (Exit.AGAIN, {"deferred": Exit.AGAIN})
    assert lost(done) == {DAILY: 0, HOURLY: 4}
    assert done.requests == done.windows + 4 * (lab.retry.max_attempts - 1)
    assert others_are_exact(lab, duck)
    lab.sandbox.heal(SICK, dataset=HOURLY)
    assert lab.run().exit_code is Exit.DONE
    rows = published_rows(duck, lab.root, HOURLY)
    assert rows == expected(HOURLY, lab.appids, days_between(*DAYS))


@pytest.mark.parametrize("code", codes(Action.REFRESH_TOKEN, Scope.ACCOUNT))
def test_a_rejected_token_is_renewed_once(
    lab: RunHarness, code: int, duck: duckdb.DuckDBPyConnection
) -> None:
    """It costs one token call and one request; other accounts keep their tokens."""
    lab.sandbox.fail(SICK, code, dataset=HOURLY, times=1)
    done = lab.run()
    assert (done.exit_code, done.retries) == (Exit.DONE, 1)
    assert lab.sandbox.counters.token_calls[SICK] == 2
    assert all(lab.sandbox.counters.token_calls[name] == 1 for name in WELL)
    assert others_are_exact(lab, duck)


@pytest.mark.parametrize("code", codes(Action.REFRESH_TOKEN, Scope.ACCOUNT))
def test_an_account_whose_tokens_are_all_rejected_stops(
    lab: RunHarness, code: int, duck: duckdb.DuckDBPyConnection
) -> None:
    """A token conflict stops the account after a bounded number of calls."""
    lab.sandbox.fail(SICK, code)
    done = lab.run()
    assert (done.exit_code, sum(lost(done).values())) == (Exit.INCOMPLETE, 8)
    asked = lab.sandbox.counters
    # Only 40001 justifies force, because the others say that the token expired.
    most = 3 if code == 40001 else 2
    assert (asked.calls[SICK], asked.token_calls[SICK]) == (most, most)
    assert others_are_exact(lab, duck)


@pytest.mark.long
def test_the_minute_limit_is_waited_out(lab: RunHarness, duck: duckdb.DuckDBPyConnection) -> None:
    """45011 pauses its account until the next minute and loses no window."""
    lab.sandbox.fail(SICK, 45011, dataset=HOURLY, times=1)
    began = lab.now()
    done = lab.run()
    assert lab.now() // 60 > began // 60
    assert (done.exit_code, done.abandoned, done.requests) == (Exit.DONE, [], done.windows + 1)
    assert others_are_exact(lab, duck)


def test_a_day_that_is_not_ready_leaves_the_rest_of_its_window(
    lab: RunHarness, duck: duckdb.DuckDBPyConnection
) -> None:
    """61503 drops the newest day; three days are published; the exit code is 75."""
    lab.sandbox.fail(SICK, 61503, dataset=DAILY, times=1)
    done = lab.run()
    assert (done.exit_code, lost(done)) == (Exit.AGAIN, {DAILY: 1, HOURLY: 0})
    assert list(done.reasons()) == ["not_ready"]
    assert done.abandoned[0].begin == parse_day(DAYS[1])
    assert others_are_exact(lab, duck)


@pytest.mark.parametrize("code", codes(Action.WAIT_FOR_QUOTA, Scope.ACCOUNT_DATASET))
def test_a_spent_quota_stops_one_dataset_of_one_account(
    lab: RunHarness, code: int, duck: duckdb.DuckDBPyConnection
) -> None:
    """It is not called again; its other dataset and all other accounts go on; exit code 75."""
    lab.sandbox.fail(SICK, code, dataset=HOURLY)
    done = lab.run()
    assert (done.exit_code, lost(done)) == (Exit.AGAIN, {DAILY: 0, HOURLY: 4})
    assert lab.sandbox.counters.calls[SICK] == 2
    assert others_are_exact(lab, duck)


@pytest.mark.parametrize("code", codes(Action.STOP, Scope.ACCOUNT_DATASET))
def test_a_missing_permission_stops_one_dataset_of_one_account(
    lab: RunHarness, code: int, duck: duckdb.DuckDBPyConnection
) -> None:
    """The account's other dataset is complete."""
    lab.sandbox.fail(SICK, code, dataset=HOURLY)
    done = lab.run()
    assert (done.exit_code, lost(done)) == (Exit.INCOMPLETE, {DAILY: 0, HOURLY: 4})
    assert lab.sandbox.counters.calls[SICK] == 2
    assert others_are_exact(lab, duck)


@pytest.mark.parametrize("code", first_by_day(codes(Action.STOP, Scope.ACCOUNT)))
def test_a_refused_account_is_not_called_again(
    lab: RunHarness, code: int, duck: duckdb.DuckDBPyConnection
) -> None:
    """It costs one call, and two if the refusal may pass."""
    lab.sandbox.fail(SICK, code)
    done = lab.run()
    assert (done.exit_code, sum(lost(done).values())) == (Exit.INCOMPLETE, 8)
    assert lab.sandbox.counters.calls[SICK] == 1 + error_codes.rule_for(code).repeats
    assert others_are_exact(lab, duck)


@pytest.mark.parametrize("code", [*first_by_day(codes(Action.STOP, Scope.WINDOW)), UNKNOWN_CODE])
def test_a_refused_window_is_not_requested_again(
    lab: RunHarness, code: int, duck: duckdb.DuckDBPyConnection
) -> None:
    """All other windows of the account are harvested, also after an unknown code."""
    lab.sandbox.fail(SICK, code, dataset=HOURLY, times=1)
    done = lab.run()
    assert (done.exit_code, lost(done)) == (Exit.INCOMPLETE, {DAILY: 0, HOURLY: 1})
    assert done.requests == done.windows
    assert others_are_exact(lab, duck)


@pytest.mark.parametrize("fault", [47009, Fault(status=404), Fault(status=412)])
def test_a_removed_api_stops_its_dataset_for_all_accounts(
    lab: RunHarness, fault: int | Fault, duck: duckdb.DuckDBPyConnection
) -> None:
    """The other dataset is harvested for all accounts."""
    lab.limits = lab.one_at_a_time()
    for name in lab.appids:
        lab.sandbox.fail(name, fault, dataset=HOURLY)
    done = lab.run()
    assert done.exit_code is Exit.INCOMPLETE
    assert sum(gone.count for gone in done.abandoned) == 12
    assert lab.calls() == 3 + 1
    assert published_rows(duck, lab.root, DAILY) == expected(DAILY, lab.appids, days_between(*DAYS))


@pytest.mark.parametrize(
    "code", [40001, 40002, 40013, 40125, 40164, 40243, 41002, 41004, 89501, 89503, 89506, 89507]
)
def test_an_account_without_a_token_costs_one_call(
    lab: RunHarness, code: int, duck: duckdb.DuckDBPyConnection
) -> None:
    """A permanent refusal of the token endpoint stops the account before any data call."""
    lab.sandbox.fail(SICK, code, dataset=TOKEN)
    done = lab.run()
    assert (done.exit_code, sum(lost(done).values())) == (Exit.INCOMPLETE, 8)
    assert lab.sandbox.counters.token_calls[SICK] == 1
    assert lab.sandbox.counters.calls[SICK] == 0
    assert others_are_exact(lab, duck)


def test_a_busy_token_endpoint_is_retried(lab: RunHarness, duck: duckdb.DuckDBPyConnection) -> None:
    """-1 at the token endpoint says nothing about the account."""
    lab.sandbox.fail(SICK, -1, dataset=TOKEN, times=2)
    done = lab.run()
    assert done.exit_code is Exit.DONE
    assert lab.sandbox.counters.token_calls[SICK] == 3
    assert others_are_exact(lab, duck)


def test_if_no_account_gets_a_token_the_exit_code_is_4(lab: RunHarness) -> None:
    """Each account costs one token call."""
    for name in lab.appids:
        lab.sandbox.fail(name, 40164, dataset=TOKEN)
    done = lab.run()
    assert done.exit_code is Exit.UNAUTHORISED
    assert sum(lab.sandbox.counters.token_calls.values()) == 3


def test_accounts_that_are_already_complete_prevent_exit_code_4(lab: RunHarness) -> None:
    """A second run asks the refused account alone, and its exit code is still 3."""
    lab.sandbox.fail(SICK, 40125, dataset=TOKEN)
    assert [lab.run().exit_code for _ in range(2)] == [Exit.INCOMPLETE] * 2


@pytest.mark.parametrize(
    ("errcode", "dataset", "reason", "code"),
    [
        (45009, TOKEN, "quota", Exit.AGAIN),
    ],
)
def test_temporary_refusals_of_all_tokens_are_not_exit_code_4(
    lab: RunHarness, errcode: int, dataset: str, reason: str, code: Exit
) -> None:
    """No account gets a token, but for another reason than its credential."""
    for name in lab.appids:
        lab.sandbox.fail(name, errcode, dataset=dataset)
    done = lab.run()
    assert (list(done.reasons()), done.exit_code) == ([reason], code)


@pytest.mark.slow
def test_twenty_five_broken_accounts_do_not_affect_five_good_ones(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """The good ones have exact rows and cost as many calls as without the others."""
    lab = RunHarness(tmp_path, accounts=30, begin="2026-03-01", end="2026-03-20")
    for number in range(1, 26):
        lab.sandbox.fail(appid(number), -1)
    done = lab.run()
    assert done.exit_code is Exit.ATTENTION
    good = [appid(number) for number in range(26, 31)]
    for dataset in BOTH:
        assert published_rows(duck, tmp_path, dataset) == expected(
            dataset, good, days_between("2026-03-01", "2026-03-20")
        )
    assert [lab.sandbox.counters.calls[name] for name in good] == [21] * 5
