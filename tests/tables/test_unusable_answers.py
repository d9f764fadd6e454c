"""Answers and rows that do not fit, from the wire to the command that heals them."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pytest

from harvester.core.calendar import day_range, day_text, each_day, parse_day
from harvester.core.exit_codes import Exit
from harvester.sandbox import Rules
from harvester.sandbox.calls import Reply, Request, date_text
from harvester.sandbox.data import Row, expected_rows
from tests.support.cli import CommandLine, JobScope, command_line
from tests.support.faulty_wechat import Fault, FaultyWeChat, head_of
from tests.support.nights import few_by_day
from tests.support.run_harness import DAILY, appid, expected, published_rows

SUMMARY = "user_summary"
READ = "article_read"
BEGIN, BAD, END = "2026-03-02", "2026-03-04", "2026-03-06"
DAYS = list(each_day(day_range(parse_day(BEGIN), parse_day(END))))
SICK, WELL = appid(1), appid(2)

Body: TypeAlias = Callable[[list[Row]], bytes]
"""Makes a flawed answer of the true rows of a window."""


def listed(rows: list[Row]) -> bytes:
    """Rows as an answer."""
    return json.dumps({"list": rows}).encode()


def said(body: bytes) -> Body:
    """The same answer to whatever was asked."""
    return lambda _: body


def value(text: str, name: str = "callback_count") -> Body:
    """The bad day has this JSON for the value of a member."""

    def body(rows: list[Row]) -> bytes:
        for row in rows:
            if row["ref_date"] == BAD:
                row[name] = "@"
        return listed(rows).replace(b'"@"', text.encode())

    return body


def changed(change: Callable[[list[Row]], list[Row]]) -> Body:
    """The rows of the bad day are replaced by others, at the end."""

    def body(rows: list[Row]) -> bytes:
        bad = [row for row in rows if row["ref_date"] == BAD]
        return listed([row for row in rows if row["ref_date"] != BAD] + change(bad))

    return body


def dated(day: str | None) -> Callable[[list[Row]], list[Row]]:
    """Rows of another day."""
    return lambda rows: [{**row, "ref_date": day} for row in rows]


def beside(**members: Any) -> Body:
    """The rows with other members beside their list."""
    return lambda rows: json.dumps({"list": rows, **members}).encode()


def encoded(encoding: str) -> Body:
    """A text of the rows is Chinese, in this encoding."""

    def body(rows: list[Row]) -> bytes:
        told = [{**row, "note": "数据"} for row in rows]
        return json.dumps({"list": told}, ensure_ascii=False).encode(encoding)

    return body


@dataclass(frozen=True)
class Odd:
    """The answer that comes, and the words about it.

    ``whole`` if all days of the window are to blame and not BAD alone; ``exact`` if the values of
    all rows are the true ones.
    """

    name: str
    body: Body
    reason: str
    whole: bool = False
    exact: bool = True
    dataset: str = DAILY


def twice(rows: list[Row]) -> list[Row]:
    """The same key with other numbers."""
    return [*rows, *({**row, "callback_count": row["callback_count"] + 1} for row in rows)]


ODD = [
    Odd("an empty object", said(b"{}"), "an answer without a list", whole=True),
    Odd("a list that is null", said(b'{"list":null}'), "an answer without a list", whole=True),
    Odd("no object", said(b'["list"]'), "an answer without a list", whole=True),
    Odd(
        "errmsg without errcode",
        said(b'{"errmsg":"system error"}'),
        "an answer without a list",
        whole=True,
    ),
    Odd("an errcode of no number", said(b'{"errcode":"x"}'), "without a list", whole=True),
    Odd(
        "rows of other days alone",
        lambda rows: listed(dated("2024-03-04")(rows)),
        "every row lies outside the window",
        whole=True,
    ),
    Odd("a row without a day", changed(dated(None)), "without a readable ref_date", whole=True),
    Odd("a row that is no object", lambda rows: listed([*rows, 7]), "no object", whole=True),  # type: ignore[list-item]
    Odd("one key, two numbers", changed(twice), "two different rows for the same key"),
    Odd("a number as text", value('"12"'), "callback_count"),
    Odd("a fraction", value("1.5"), "callback_count"),
    Odd("2^63", value(str(2**63)), "callback_count"),
    Odd("2^64", value(str(2**64)), "callback_count"),
    Odd("NaN", value("NaN"), "callback_count"),
    Odd("1e400", value("1e400"), "callback_count"),
    Odd("a negative count", value("-1"), "callback_count"),
    Odd("a truth value", value("true"), "callback_count"),
    Odd("a number that is null in the key", value("null", "user_source"), "", dataset=SUMMARY),
    Odd(
        "broken UTF-8",
        lambda rows: listed(rows).replace(b'"list"', b'"\xff":0,"list"'),
        "broken UTF-8",
        whole=True,
    ),
    Odd("GBK", encoded("gbk"), "UTF-8", whole=True),
    Odd("there is more", beside(has_more=True), "has_more: an answer that says", whole=True),
    Odd("a next page", beside(next_cursor="b2"), "next_cursor: an answer that says", whole=True),
    Odd(
        "two lists",
        lambda rows: listed(rows)[:-1] + b', "l\\u0069st": []}',
        "list: a name that comes twice",
        whole=True,
    ),
    Odd(
        "a member twice",
        lambda rows: listed(rows).replace(b'"fail_count"', b'"fail_count":7,"fail_count"', 1),
        "fail_count: a name that comes twice",
        whole=True,
    ),
    Odd("another total", beside(total=7), "total: an answer that tells another", whole=True),
    Odd(
        "rows of other days come along",
        changed(lambda rows: rows + dated("2024-03-04")(rows)),
        "rows lie outside the window",
        whole=True,
    ),
]


@pytest.fixture
def week(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[CommandLine]:
    """Five days of two accounts, in one window each."""
    monkeypatch.setenv("COMMANDS_SECRET", "s")
    world = FaultyWeChat(Rules(), time.time)
    with command_line(tmp_path, JobScope((DAILY, SUMMARY), BEGIN, END), world, capsys) as run:
        yield run


def send(run: CommandLine, odd: Odd) -> bytes:
    """Let the account's window be answered so; gives what is sent."""
    rows = [row for day in DAYS for row in expected_rows(odd.dataset, SICK, day)]
    body = odd.body(rows)
    run.world.fail(SICK, Fault(body=body), dataset=odd.dataset)
    return body


BY_DAY = {
    "an empty object",
    "rows of other days alone",
    "one key, two numbers",
    "2^64",
    "a number that is null in the key",
    "broken UTF-8",
    "two lists",
    "rows of other days come along",
}


FEW = [odd for odd in ODD if odd.name in BY_DAY]


@pytest.mark.long
@pytest.mark.parametrize("odd", few_by_day(ODD, FEW), ids=[odd.name for odd in ODD])
def test_an_unusable_answer_is_kept_reported_and_replaced(
    week: CommandLine, odd: Odd, duck: duckdb.DuckDBPyConnection
) -> None:
    """The day is quarantined with the answer as it came, the others stand, a refetch heals."""
    run, dataset = week, odd.dataset
    body = send(run, odd)
    bad = [day for day in DAYS if odd.whole or day_text(day) == BAD]
    done = run("run")
    assert done.code == Exit.INCOMPLETE
    rows = [row for row in expected(dataset, [SICK, WELL], DAYS) if day_of(row) not in bad]
    rows += expected(dataset, [WELL], bad)
    assert published_rows(duck, run.output, dataset) == sorted(rows)
    assert quarantined(run.record()) == quarantined(run("status", "--format", "json").json)
    named = quarantined(run.record())
    assert [item[:3] for item in named] == [(SICK, dataset, day_text(day)) for day in bad]
    printed = run("status").out
    when = named[0][2] if len(named) <= 3 else f"{named[0][2]}..{named[-1][2]}"
    count = "1 day" if len(named) == 1 else f"{len(named)} days"
    assert f"{SICK}, {dataset} {when}: {count}: quarantined: {named[0][3]}" in done.err
    for name, of, day, reason in named:
        assert odd.reason in reason
        assert f"  {name} {of} {day}: {reason}" in printed
        kept = run.output / "_harvester" / "quarantine" / of / name / f"{day}.json"
        assert body_of(kept) == body

    calls = run.calls()
    assert run("run").code == Exit.INCOMPLETE
    assert run.calls() == calls
    run.world.heal(SICK, dataset=dataset)
    healed = run("run", "--refetch", "quarantined")
    assert healed.code == Exit.DONE
    assert run.calls() == calls + 1
    assert published_rows(duck, run.output, dataset) == expected(dataset, [SICK, WELL], DAYS)
    assert run("status", "--format", "json").json["quarantined"] == []


def day_of(row: tuple[Any, ...]) -> int:
    """The day of a row as a file has it."""
    return parse_day(row[1].isoformat())


def quarantined(found: Any) -> list[tuple[str, str, str, str]]:
    """The words of a record or a status."""
    return [tuple(item[key] for key in KEYS) for item in found["quarantined"]]


KEYS = ("appid", "dataset", "day", "reason")


def body_of(path: Path) -> bytes:
    """The bytes that the quarantine keeps."""
    fields = json.loads(path.read_text())
    if "body" in fields:
        return str(fields["body"]).encode()
    return base64.b64decode(fields["body_base64"])


ODDITIES = [
    Odd("a row that comes twice", changed(lambda rows: rows * 2), ""),
    Odd(
        "an unknown member",
        lambda rows: listed([{**row, "novel": 1} for row in rows]),
        "undeclared members went to _extra: novel",
    ),
    Odd(
        "a long unknown member",
        lambda rows: listed([{**row, "novel": "x" * 70_000} for row in rows[:1]]),
        "_extra of a row would have been 70,012 bytes on",
        exact=False,
    ),
    Odd(
        "an unknown code",
        lambda rows: listed([{**row, "user_source": 7777} for row in rows[:1]]),
        "",
        exact=False,
        dataset=SUMMARY,
    ),
    Odd(
        "a missing member",
        changed(lambda rows: [{k: v for k, v in row.items() if k != "fail_count"} for row in rows]),
        "members without a value: fail_count",
        exact=False,
    ),
    Odd(
        "control characters",
        lambda rows: listed([{**row, "note": "@"} for row in rows]).replace(b"@", b"a\x01b"),
        "undeclared members went to _extra: note",
    ),
    Odd("a byte order mark", lambda rows: b"\xef\xbb\xbf" + listed(rows), ""),
    Odd("more pages in another spelling", beside(hasMore=True), "hasMore stands beside the list"),
    Odd("a member that says nothing", beside(novel=0), "novel stands beside the list, first of"),
    Odd(
        "errcode 0 beside the list",
        lambda rows: b'{"errcode":0,"errmsg":"ok",' + listed(rows)[1:],
        "",
    ),
]


@pytest.mark.parametrize("odd", ODDITIES, ids=[odd.name for odd in ODDITIES])
def test_a_usable_irregular_answer_is_published_and_reported(
    week: CommandLine, odd: Odd, duck: duckdb.DuckDBPyConnection
) -> None:
    """The run is whole, nothing is quarantined, and the summary and the record say what was odd."""
    send(week, odd)
    done = week("run")
    assert done.code == Exit.DONE
    assert week.record()["quarantined"] == []
    assert odd.reason in done.err
    assert odd.reason in "; ".join(week.record()["notes"])
    rows = published_rows(duck, week.output, odd.dataset)
    assert (rows == expected(odd.dataset, [SICK, WELL], DAYS)) is odd.exact


class CachedWeChat(FaultyWeChat):
    """An emulator behind a cache that is an hour late."""

    def answer(self, request: Request) -> Reply:
        """Answer a request; rows come from the cache."""
        reply = super().answer(request)
        if not reply.body.startswith(b'{"list"'):
            return reply
        fields = "Age: 3600", f"Content-Length: {len(reply.body)}"
        data = head_of(reply, date_text(int(self.now())), *fields) + reply.body
        return reply._replace(raw=lambda transport: transport.write(data))


def test_rows_of_a_cache_are_published_and_stay_open(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    duck: duckdb.DuckDBPyConnection,
) -> None:
    """They may be of an hour in which the day was not over, so it is asked again at its ages."""
    monkeypatch.setenv("COMMANDS_SECRET", "s")
    world = CachedWeChat(Rules(), time.time)
    with command_line(tmp_path, JobScope((DAILY,), BEGIN, END), world, capsys) as run:
        assert run("run").code == Exit.DONE
        assert published_rows(duck, run.output, DAILY) == expected(DAILY, [SICK, WELL], DAYS)
        assert [odd["kind"] for odd in run.record()["oddities"]] == ["cached"]
        assert "Age of a cache is 3,600 s, first of" in "; ".join(run.record()["notes"])
        [told] = run("status", "--format", "json").json["datasets"]
        assert told["provisional"] == 2 * len(DAYS)


def test_an_errcode_may_be_a_text(week: CommandLine) -> None:
    """A token is renewed, and the window asked once more."""
    week.world.fail(SICK, Fault(body=b'{"errcode":"40001","errmsg":"invalid"}'), times=1)
    assert week("run").code == Exit.DONE
    assert week.world.counters.token_calls == {SICK: 2, WELL: 1}


def test_an_unknown_code_stops_its_window(week: CommandLine) -> None:
    """A refusal is no answer to keep: code, words and rid are told, and the next run asks again."""
    week.world.fail(SICK, Fault(errcode=99_999, errmsg="a new rule"), dataset=DAILY, times=1)
    done = week("run")
    assert done.code == Exit.INCOMPLETE
    assert "99999 a new rule (rid " in done.err
    [told] = week.record()["exceptions"]
    assert (told["errcode"], told["errmsg"], told["days"]) == (99_999, "a new rule", 5)
    assert week("run").code == Exit.DONE
