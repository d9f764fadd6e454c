"""Answers in odd but legal forms: harvester reads the same rows as from ordinary ones."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import aiohttp
import duckdb
import orjson
import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.exit_codes import Exit
from harvester.sandbox import Rules
from harvester.sandbox.calls import Reply, list_of
from harvester.sandbox.data import Row, expected_rows
from harvester.sandbox.server import serve
from tests.support.cli import JobScope, command_line
from tests.support.faulty_wechat import Fault, Wire, broken
from tests.support.odd_answers import BODIES, WAYS, OddWeChat, odd
from tests.support.run_harness import appid, days_between, expected, published_rows
from tests.support.sandboxes import BUSY, HOURLY, QUIET, TODAY, Clock, client_for

DAYS = ("2026-03-01", "2026-03-31")
PAIRS = len(BODIES) * len(WAYS)


def test_a_run_reads_every_form(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    duck: duckdb.DuckDBPyConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One run publishes all rows of all datasets, as from ordinary answers, and notes nothing."""
    monkeypatch.setenv("COMMANDS_SECRET", "s")
    world = OddWeChat(Rules(), time.time)
    with command_line(tmp_path, JobScope(["all"], *DAYS), world, capsys) as command:
        done = command("run")
        assert done.code == Exit.DONE, done.err
        record = command.record()
    assert (record["quarantined"], record["notes"], record["exceptions"]) == ([], [], [])
    assert world.counters.requests > 5 * PAIRS
    for name in CATALOGUE:
        found = published_rows(duck, command.output, name)
        assert found, name
        assert found == expected(name, [appid(1), appid(2)], days_between(*DAYS)), name


def rows_in(body: bytes) -> list[Row]:
    """Return the rows of an answer; hours as hundreds."""
    rows: list[Row] = orjson.loads(body.removeprefix(b"\xef\xbb\xbf"))["list"]
    if any(row.get("ref_hour", 0) % 100 for row in rows):
        rows = [{**row, "ref_hour": row["ref_hour"] * 100} for row in rows]
    return rows


@pytest.mark.parametrize("dataset", CATALOGUE)
def test_no_form_changes_the_rows(dataset: str) -> None:
    """All pairs of a body and a way are different, and all have the same rows."""
    rows = [
        row for day in range(TODAY - 40, TODAY - 39) for row in expected_rows(dataset, BUSY, day)
    ]
    delay = False if CATALOGUE[dataset].may_be_delayed else None
    ordinary = Reply(list_of(rows, is_delay=delay))
    replies = [odd(ordinary, number, "now") for number in range(PAIRS)]
    assert all(rows_in(reply.body) == rows for reply in replies)
    # Only what is in an answer can have another form: hours, is_delay, and texts beyond ASCII.
    assert len(set(replies)) >= len(WAYS) * 4
    if rows and (dataset.endswith("_hour") or delay is not None):
        assert len(set(replies)) >= len(WAYS) * 5


def test_a_mark_of_a_delay_is_a_text_in_some_answers() -> None:
    """True or false, and a text already."""
    for delay in (True, False, "true"):
        bodies = [make(list_of([], is_delay=delay)) for make in BODIES]
        marks = [orjson.loads(body)["is_delay"] for body in bodies]
        assert {str(mark).lower() for mark in marks} == {str(delay).lower()}
        assert any(isinstance(mark, str) for mark in marks)


@pytest.mark.parametrize("reply", [Reply(b"<html>", 502), broken(Reply(b"{}"), Wire.CUT, 0.0)])
def test_what_is_broken_stays_as_it_is(reply: Reply) -> None:
    """An odd form is for answers that can be read."""
    assert all(odd(reply, number, "now") == reply for number in range(PAIRS))


async def head_and_body(session: aiohttp.ClientSession, url: str) -> tuple[Any, Any]:
    """Return the headers and the rows of an answer about a day with hours."""
    asked = {"begin_date": "2024-06-01", "end_date": "2024-06-01"}
    async with session.post(url, json=asked) as answer:
        return answer.headers, rows_in(await answer.read())


async def test_the_forms_are_on_the_wire() -> None:
    """There are answers with and without a length, in chunks, compressed and of other types."""
    world = OddWeChat(Rules(), Clock())
    async with serve(world) as address, aiohttp.ClientSession() as session:
        url = f"{address}{HOURLY}?access_token={world.token_of(BUSY)}"
        answers = [await head_and_body(session, url) for _ in range(PAIRS)]
    heads = [head for head, _ in answers]
    assert all(rows == answers[0][1] for _, rows in answers)
    assert sum(head.get("Transfer-Encoding") == "chunked" for head in heads) == PAIRS / len(WAYS)
    assert sum(head.get("Connection") == "close" for head in heads) == 3 * PAIRS / len(WAYS)
    without = [head for head in heads if not {"Content-Length", "Transfer-Encoding"} & head.keys()]
    assert len(without) == PAIRS / len(WAYS)
    assert sum(head.get("Content-Encoding") == "gzip" for head in heads) == PAIRS / len(WAYS)
    assert {head["Content-Type"].partition(";")[0] for head in heads} == {
        "application/json",
        "text/plain",
        "text/html",
    }


async def test_errors_and_tokens_have_odd_forms_too() -> None:
    """Whatever is answered, and a fault of a test keeps its bytes."""
    world = OddWeChat(Rules(), Clock())
    world.fail(QUIET, Fault(errcode=45009))
    world.fail(BUSY, Fault(body=b"<html>", status=502), times=1)
    async with client_for(world) as client:
        types = {(await client.stable_token(BUSY)).headers["Content-Type"] for _ in WAYS}
        assert {"text/plain", "text/html; charset=gbk"} < types
        assert (await client.ask(world.token_of(BUSY), "2024-06-01", "2024-06-01")).status == 502
        for _ in WAYS:
            got = await client.ask(world.token_of(QUIET), "2024-06-01", "2024-06-01")
            assert b'"errcode":45009' in got.body
