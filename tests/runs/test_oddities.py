"""Odd marks and odd numbers in a whole run: what is stored, what is said, and where."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import duckdb
import pytest

from harvester.core.calendar import Day, day_text, parse_day
from harvester.core.exit_codes import Exit
from harvester.runs.record.run_record import as_record
from harvester.sandbox.data import Row, expected_rows
from harvester.verbs.erasure import ErasureRequest, erase_from_json
from tests.support.faulty_wechat import Fault
from tests.support.run_harness import RunHarness, appid, expected, published_rows

READ, DETAIL = "article_read", "article_total_detail"
DAY = parse_day("2026-03-09")
ONE = appid(1)


def lab_of(root: Path, dataset: str, **more: Any) -> RunHarness:
    """A harness that asks two accounts for one day that is settled."""
    day = day_text(DAY)
    return RunHarness(root, accounts=2, begin=day, end=day, datasets=(dataset,), **more)


def marked(mark: Any) -> Fault:
    """The true rows of the first account with this ``is_delay``."""
    rows = expected_rows(READ, ONE, DAY)
    return Fault(body=json.dumps({"list": rows, "is_delay": mark}).encode())


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings of a run."""
    return [line.getMessage() for line in caplog.records if line.levelno == logging.WARNING]


@pytest.mark.parametrize("mark", [0, 1, None, "False"])
def test_a_mark_that_is_not_known_costs_no_row(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection, caplog: pytest.LogCaptureFixture, mark: Any
) -> None:
    """Rows are there, the run is complete, the value is said once, and a later day asks again."""
    lab = lab_of(tmp_path, READ)
    lab.sandbox.fail(ONE, marked(mark), times=1)
    done = lab.run()
    assert done.exit_code is Exit.DONE
    stored = published_rows(duck, tmp_path, READ)
    assert stored == expected(READ, lab.appids, [DAY])
    assert ONE in {row[0] for row in stored}
    shown = json.dumps(mark)
    said = f"article_read: is_delay was {shown}, neither true nor false, first of {ONE} {READ}"
    assert [line.startswith(said) for line in warnings_of(caplog)] == [True]
    record = as_record(done)
    assert [note for note in record["notes"] if "is_delay" in note] == warnings_of(caplog)
    assert record["oddities"] == [
        {
            "dataset": READ,
            "kind": "unknown_mark",
            "name": shown,
            "value": "",
            "appid": ONE,
            "begin_date": day_text(DAY),
            "end_date": day_text(DAY),
        }
    ]
    assert (record["quarantined"], record["reasons"]) == ([], [])
    [coverage] = record["datasets"]
    assert (coverage["done"], coverage["provisional"]) == (2, 1)

    assert lab.run().requests == 0
    lab.advance(86_400)
    assert lab.run().requests == 1
    lab.advance(86_400)
    assert lab.run().requests == 0


@pytest.mark.parametrize(("mark", "code"), [(True, Exit.AGAIN), (False, Exit.DONE)])
def test_a_mark_that_is_known_is_no_oddity(tmp_path: Path, mark: Any, code: Exit) -> None:
    """True still leaves the run unfinished, and false still settles the day."""
    lab = lab_of(tmp_path, READ)
    lab.sandbox.fail(ONE, marked(mark), times=1)
    done = lab.run()
    assert done.exit_code is code
    assert as_record(done)["oddities"] == []


def odd_articles(dataset: str, account: str, day: Day) -> list[Row]:
    """Articles whose readers fall and whose shares are percents, and one without statistics."""
    rows = expected_rows(dataset, ONE, day)
    for row in rows:
        for number, each in enumerate(row["detail_list"]):
            each["read_user"] = 1000 - number
            each["read_finish_rate"] = 63.5
    bare = {"ref_date": day_text(day), "msgid": "77_1", "publish_type": 0, "detail_list": []}
    return [*rows, bare]


def test_odd_numbers_are_said_once_for_a_dataset(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection, caplog: pytest.LogCaptureFixture
) -> None:
    """Two accounts with the same oddities: one line each, rows as they came, a full record."""
    lab = lab_of(tmp_path, DETAIL, source=odd_articles)
    done = lab.run()
    assert done.exit_code is Exit.DONE
    falls, shares = warnings_of(caplog)
    assert falls.startswith(f"{DETAIL}: read_user fell from 1,000 to 999 on 2026-03-10")
    assert "`harvester datasets article_total_detail` has the query" in falls
    assert shares.startswith(f"{DETAIL}: read_finish_rate was 63.5, first of {ONE} {DETAIL}")
    record = as_record(done)
    bare = (
        f"{DETAIL}: 77_1 of {ONE} on 2026-03-09 and 1 more came without a day of statistics and "
        "have no row; without_rows of the record names them"
    )
    assert record["notes"] == [falls, shares, bare]
    assert record["without_rows"] == [
        {"appid": account, "dataset": DETAIL, "day": "2026-03-09", "key": "77_1"}
        for account in lab.appids
    ]
    stored = {row[2] for row in published_rows(duck, tmp_path, DETAIL)}
    assert stored
    assert "77_1" not in stored


def test_what_was_odd_of_a_forgotten_account_is_erased(tmp_path: Path) -> None:
    """Notes, oddities and elements without rows name an account, so `forget` takes it out."""
    record = as_record(lab_of(tmp_path, DETAIL, source=odd_articles).run())
    request = ErasureRequest(frozenset({ONE}), frozenset({DETAIL}))
    left = erase_from_json(record, request)
    assert ONE in json.dumps(record)
    assert ONE not in json.dumps(left)
    assert [each["appid"] for each in left["without_rows"]] == [appid(2)]
