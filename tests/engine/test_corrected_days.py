"""Final days that WeChat corrects, by whole runs over real HTTP."""

from __future__ import annotations

from pathlib import Path

import duckdb

import harvester
from harvester.core.calendar import parse_day
from harvester.core.exit_codes import Exit
from harvester.runs.record.run_record import as_record
from harvester.sandbox.data import Row, expected_rows
from tests.support.run_harness import RunHarness, appid, published_rows

USERS = "user_summary"
DAY = "2026-05-16"


def test_a_corrected_day_is_replaced_on_the_second_morning(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """The windows of the newest day reach it anyway; record and feed tell of it, once."""
    corrected = set[str]()

    def source(dataset: str, account: str, day: int) -> list[Row]:
        rows = expected_rows(dataset, account, day)
        is_other = account in corrected and day == parse_day(DAY)
        return [{**each, "new_user": 4_711} for each in rows] if is_other else rows

    lab = RunHarness(tmp_path, begin="2026-05-10", end=None, datasets=(USERS,), source=source)
    lab.run()
    before = published_rows(duck, tmp_path, USERS)
    output = harvester.open(tmp_path)
    _, cursor = output.changes()
    corrected.add(appid(2))
    told = []
    for _ in range(3):
        lab.advance(86_400)
        done = lab.run()
        assert done.exit_code == Exit.DONE
        [change], cursor = output.changes(cursor)
        told.append((as_record(done)["corrected"], change.corrected, DAY in change.days))
    assert told == [(0, False, False), (1, True, True), (0, False, False)]
    after = published_rows(duck, tmp_path, USERS)
    changed = {*after} - {*before}
    own = {row for row in changed if (row[0], str(row[1])) == (appid(2), DAY)}
    assert {row[3] for row in own} == {4_711}
    assert {str(row[1]) for row in changed - own} == {"2026-05-20", "2026-05-21", "2026-05-22"}
    assert len(own) == len({*before} - {*after})
    assert output.verify().undamaged
