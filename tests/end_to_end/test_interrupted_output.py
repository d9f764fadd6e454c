"""Completion of what killed commands left of one another: rows, calls, a half-made tree."""

from __future__ import annotations

import json
from collections import Counter
from itertools import starmap
from pathlib import Path
from typing import Any

import duckdb
import pytest

from harvester.core.calendar import day_of, parse_day
from harvester.storage import raw_log
from harvester.storage.state.packed_lines import unpack
from tests.support.faulty_wechat import AskedWindow
from tests.support.interrupted_output import (
    ACCOUNTS,
    BUSY,
    DATASETS,
    QUIET,
    SPOILT,
    UNASKED,
    InterruptedOutput,
    clean_run,
)
from tests.support.output_helpers import tree_at
from tests.support.run_harness import published_rows


def durable(output: InterruptedOutput) -> set[AskedWindow]:
    """Read the windows that the killed run had written to its raw log."""
    return {
        AskedWindow(*answer.window)
        for group in starmap(raw_log.open_group, raw_log.local_copies(tree_at(output.output, 2)))
        for dataset, month in group.months
        for answer in group.answers(dataset, month)
    }


def overlapping(one: set[AskedWindow], other: set[AskedWindow]) -> set[AskedWindow]:
    """Select the windows of one set that have a day in common with the other."""
    return {
        a
        for a in one
        for b in other
        if (a.appid, a.dataset) == (b.appid, b.dataset) and a.begin <= b.end and b.begin <= a.end
    }


def rows(duck: duckdb.DuckDBPyConnection, root: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Read the rows of every dataset, as WeChat sent them."""
    return {dataset: published_rows(duck, root, dataset) for dataset in DATASETS}


def test_a_run_on_the_same_day_asks_for_the_rest(interrupted: InterruptedOutput) -> None:
    """Answers in the raw log are published and not asked for again; leftovers are gone."""
    kept = durable(interrupted)
    rounds = interrupted.files("changes/*/rounds/*")
    entries = [json.loads(line) for path in rounds for line in unpack(path.read_bytes())]
    entries = [each for each in entries if each["op"] != "begin"]
    assert len(entries) > 1
    assert interrupted("run").code == 3
    assert {each.dataset for each in interrupted.asked()} >= {UNASKED}
    assert len(interrupted.asked()) == interrupted.world.windows.total()
    assert overlapping(interrupted.asked(), kept) == set()
    record = interrupted.record()
    assert record["reasons"] == ["quarantined"]
    feed = map(json.loads, interrupted("changes", "--since", "v1").out.splitlines()[:-1])
    assert {(each["seq"], each["path"]) for each in entries} <= {
        (each["seq"], each["path"]) for each in feed
    }
    assert [interrupted.files(left) for left in ("tmp/*", "raw/*/*")] == [[], []]
    status = interrupted("status", "--format", "json").json
    assert [each["missing"] for each in status["datasets"]] == [0] * len(DATASETS)


def test_a_run_on_a_later_day_makes_the_rows_of_a_clean_run(
    interrupted: InterruptedOutput, duck: duckdb.DuckDBPyConnection
) -> None:
    """But for the quarantined day, which is asked again on demand; final days are not.

    An empty day of a killed run is not final, and windows end on such days alone.
    """
    kept = durable(interrupted)
    interrupted.at("2026-05-14", 12)
    assert interrupted("run").code == 3
    last = parse_day("2026-05-06")
    final = {
        each._replace(end=min(each.end, last)) for each in kept if each.dataset in DATASETS[:2]
    }
    assert final
    again = overlapping(interrupted.asked(), final)
    assert interrupted("verify").code == 0
    expected = rows(duck, clean_run(interrupted))
    filled = {
        (row[0], dataset, day_of(row[1])) for dataset in DATASETS[:2] for row in expected[dataset]
    }
    ends = {(x.appid, x.dataset, x.end) for x in again if x.end <= last}
    assert ends & filled == set()
    found = rows(duck, interrupted.output)
    spoilt = found.pop("user_summary")
    assert found.items() <= expected.items()
    lost = set(expected["user_summary"]) - set(spoilt)
    assert {(row[0], row[1].isoformat()) for row in lost} == {(SPOILT, "2026-04-29")}
    assert interrupted("run", "--refetch", "quarantined").code == 0
    assert rows(duck, interrupted.output) == expected
    assert interrupted.files("quarantine/user_summary/*/*") == []
    calls = interrupted.world.windows.total()
    assert interrupted("run").code == 0
    assert interrupted.world.windows.total() == calls


def test_calls_spent_on_that_day_still_count(interrupted: InterruptedOutput) -> None:
    """Of the 24 that a check read three are reserved, and some were noted by the killed run."""
    ledgers = [json.loads(path.read_bytes()) for path in interrupted.files("quota/0*")]
    left = {
        appid: 24 - 3 - calls
        for ledger in ledgers
        for appid, calls in ledger["days"]["2026-05-10"]["calls"]["article_total_detail"].items()
    }
    assert left.keys() == {*ACCOUNTS}
    assert max(left.values()) < 21
    interrupted.edit("begin_date: 2026-05-05", "begin_date: 2026-04-15")
    ended = interrupted("run", "--refetch", "all", "--datasets", "article_total_detail")
    assert (ended.code, interrupted.record()["reasons"]) == (75, ["quota"])
    assert Counter(each.appid for each in interrupted.asked()) == left


@pytest.mark.parametrize(("day", "count"), [("2026-05-10", 20), ("2026-05-11", 1)])
def test_forced_refreshes_of_that_day_still_count(
    interrupted: InterruptedOutput, day: str, count: int
) -> None:
    """Twenty were spent: none is left until midnight in Beijing."""
    interrupted.at(day, 18)
    interrupted.world.fail(BUSY, 40001, times=2)
    interrupted("run", "--accounts", BUSY)
    (path,) = interrupted.files("quota/forced/*")
    assert json.loads(path.read_text())["count"] == count
    refused = "refused" in interrupted.record()["reasons"]
    assert refused == (count == 20)


def test_a_rewrite_makes_a_tree_of_it(
    interrupted: InterruptedOutput, duck: duckdb.DuckDBPyConnection
) -> None:
    """With other buckets, the same rows and nothing that was answered to ask for."""
    kept = durable(interrupted)
    assert interrupted("rewrite", "--to", "new", "--buckets", "3").code == 0
    interrupted.edit("{path: output, buckets: 2}", "{path: new, buckets: 3}")
    assert rows(duck, interrupted.folder / "new") == rows(duck, interrupted.output)
    assert interrupted("verify").code == 0
    assert interrupted("run").code == 3
    assert overlapping(interrupted.asked(), kept) == set()


def test_a_killed_rewrite_is_finished(
    interrupted: InterruptedOutput, duck: duckdb.DuckDBPyConnection
) -> None:
    """Until then the new tree is refused."""
    before = (interrupted.folder / "jobs.yaml").read_text()
    interrupted.edit("{path: output, buckets: 2}", "{path: fresh, buckets: 3}")
    refused = interrupted("status")
    assert refused.code == 2
    assert "is not finished" in refused.err
    (interrupted.folder / "jobs.yaml").write_text(before)
    assert interrupted("rewrite", "--to", "fresh", "--buckets", "3").code == 0
    assert rows(duck, interrupted.folder / "fresh") == rows(duck, interrupted.output)
    interrupted.edit("{path: output, buckets: 2}", "{path: fresh, buckets: 3}")
    assert interrupted("verify").code == 0
    assert not list((interrupted.folder / "fresh" / "_harvester" / "tmp").iterdir())


def test_forget_removes_an_account_from_every_file(
    interrupted: InterruptedOutput, duck: duckdb.DuckDBPyConnection
) -> None:
    """Rows, raw answers, damaged files that may name it, notes and records; no row of others."""
    before = rows(duck, interrupted.output)
    recovered = durable(interrupted)
    for job in DATASETS[1:]:
        interrupted.edit(f"{job}], begin", f"{job}], accounts: {{except: [{QUIET}]}}, begin")
    ended = interrupted("forget", "--accounts", QUIET, "--format", "json")
    assert ended.code == 0
    receipt = ended.json
    assert receipt["answers"] == sum(each.appid == QUIET for each in recovered)
    assert [Path(name).parent.name for name in receipt["damaged"]] == ["groups", "files"]
    after = rows(duck, interrupted.output)
    for dataset in DATASETS:
        assert not [row for row in after[dataset] if row[0] == QUIET]
        others = {str(row) for row in before[dataset] if row[0] != QUIET}
        assert others <= set(map(str, after[dataset]))
    left = [path for path in interrupted.files("**/*") if path.is_file() and names(path, QUIET)]
    assert left == []
    assert interrupted("verify").code == 0


def names(path: Path, appid: str) -> bool:
    """Return whether an account stands in a file or its name."""
    return appid in path.name or appid.encode() in path.read_bytes()


def test_the_platforms_accounts_are_known(interrupted: InterruptedOutput) -> None:
    """A plan asks nothing and finds the three that a check heard of."""
    told = interrupted("plan", "platform.yaml", "--format", "json").json
    assert {each["appid"] for each in told["price"]["accounts"]} == {
        BUSY,
        "wx00000000000000a1",
        "wx00000000000000a2",
    }
    assert interrupted.world.counters.requests == 0
