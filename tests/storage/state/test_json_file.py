"""Side files: what is damaged counts as none, what is newer is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harvester.cli import invoke
from harvester.core.calendar import instant, parse_day
from harvester.core.errors import StoreError, UsageError
from harvester.core.exit_codes import Exit
from harvester.core.model import Refusal, ReportedQuota
from harvester.planning.ledger import DayCalls, KnownQuota, Ledger, Moment
from harvester.storage import quarantine
from harvester.storage.backends.base import MAX_READ, read_bytes
from harvester.storage.backends.local import LocalStore
from harvester.storage.layout import Tree
from harvester.storage.quarantine import QuarantinedAnswer
from harvester.storage.state import (
    account_cache,
    forced_refreshes,
    json_file,
    run_records,
)
from harvester.storage.state.change_log import ChangeLog
from harvester.storage.state.quota_ledger import ledger_file
from harvester.storage.state.run_records import RunRecord
from tests.support.output_helpers import entries_of_logs
from tests.support.run_harness import appid

ONE, DATASET = appid(1), "user_summary"
DAY = parse_day("2026-05-20")
TIMES = "2026-05-20T02:00:00Z", "2026-05-20T02:00:01Z"
NOON = instant(DAY, 12 * 60)


PATH = "user_summary/ref_month=2026-05/part-0000-of-0001.parquet"


def taken_over(tree: Tree) -> list[tuple[str, str, list[str]]]:
    """Return the log entries that the announcements of a dead run become."""
    log = ChangeLog(tree, "mine", lambda: NOON)
    log.open([tree.bucket_label(0)])
    found = entries_of_logs(tree.store)
    return [(each.dataset, each.run_id, list(each.appids)) for each in found]


class SideFile(NamedTuple):
    """A file as it is written, and how it is read: undamaged, and damaged."""

    name: str
    text: str
    read: Callable[[Tree], object]
    value: object
    none: object = None


def entries(tree: Tree) -> list[QuarantinedAnswer]:
    """The files in quarantine."""
    return list(quarantine.entries(tree, DATASET))


def entry(*body: str) -> QuarantinedAnswer:
    """An answer of many days."""
    days = date(2026, 5, 20), date(2026, 1, 1), date(2026, 5, 20)
    return QuarantinedAnswer(ONE, DATASET, *days, "why", 1_779_249_600, "r", *body)


EVIDENCE = (
    '{"version":1,"appid":"wx0000000000000001","dataset":"user_summary","day":"2026-05-20",'
    '"begin_date":"2026-01-01","end_date":"2026-05-20","reason":"why","asked_at":1779249600,'
    '"run_id":"r",'
)
TOLD = ReportedQuota(10, 1, 9, 1_779_249_600.0)
FILES = {
    "forced": SideFile(
        f"quota/forced/{ONE}.json",
        '{"version":1,"day":"2026-05-20","count":19,"last":1779249500.0}',
        lambda tree: [forced_refreshes.spend(tree, ONE, NOON + 60 * more) for more in range(2)],
        [True, False],
        [False, False],
    ),
    "ledger": SideFile(
        "quota/0000-of-0001.json",
        '{"version":1,"day":20593,"run":"r","in_use":true,"period":1.0,"idle_from":2.5,'
        '"recent_calls":3,"written":[5.0,"b",2.0,null],'
        '"days":{"2026-05-20":{"calls":{"user_summary":{"wx0000000000000001":7}},'
        '"exhausted":{"user_summary":{"wx0000000000000001":[45009,"quota","rid"]}}}},'
        '"deferred":{},"known":{"user_summary":{"wx0000000000000001":[[10,1,9,1779249600.0],1,'
        "20593,2,3,false,5,20592]}}}",
        lambda tree: ledger_file(tree, 0).read(),
        Ledger(
            DAY,
            "r",
            in_use=True,
            period=1.0,
            idle_from=2.5,
            recent_calls=3,
            written=Moment(5.0, "b", 2.0),
            days={
                "2026-05-20": DayCalls(
                    {DATASET: {ONE: 7}}, {DATASET: {ONE: Refusal(45009, "quota", "rid")}}
                )
            },
            known={DATASET: {ONE: KnownQuota(TOLD, 1, DAY, 2, 3, False, 5, DAY - 1)}},
        ),
    ),
    "authorised": SideFile(
        "platform.json",
        '{"version":1,"authorised":["wx0000000000000001"]}',
        account_cache.read,
        (ONE,),
        (),
    ),
    "quarantine": SideFile(
        f"quarantine/user_summary/{ONE}/2026-05-20.json",
        EVIDENCE + '"body":"{\\"list\\":[\\u8d26]}","body_base64":""}',
        entries,
        [entry('{"list":[\u8d26]}')],
        [],
    ),
    "quarantined bytes": SideFile(
        f"quarantine/user_summary/{ONE}/2026-05-20.json",
        EVIDENCE + '"body":"","body_base64":"/w=="}',
        entries,
        [entry("", "/w==")],
        [],
    ),
    "announcement": SideFile(
        "changes/0000-of-0001/begun/r.1.entry",
        f'{{"version":1,"op":"erased","run_id":"r","dataset":"user_summary","path":"{PATH}",'
        f'"days":["2026-05-01"],"appids":["{ONE}"]}}',
        taken_over,
        [("user_summary", "r", [ONE])],
        [],
    ),
    "record": SideFile(
        "runs/r.json",
        '{"record_version":7,"run_id":"r","started_at":"2026-05-20T02:00:00Z",'
        '"ended_at":"2026-05-20T02:00:01Z","state":"running","exit_code":null,"reasons":["quota"],'
        '"requests":1,"rows":2,"outcome":null,"retry_at":null,"more":[1],"published":[{}]}',
        lambda tree: run_records.last(tree, 5),
        [RunRecord("r", *TIMES, "running", None, ("quota",), 1, 2, None, None)],
        [],
    ),
}
each = pytest.mark.parametrize("file", FILES.values(), ids=FILES)


def put(tree: Tree, name: str, data: bytes) -> None:
    """Write a file as it is."""
    tree.store.put(f"_harvester/{name}", data)


def versioned(data: bytes, version: bytes) -> bytes:
    """The same file of another version."""
    return data.replace(b'{"version":1,', b"{", 1).replace(b"{", b'{"version":' + version + b",", 1)


@each
def test_the_form_of_version_1_is_read(tree: Tree, file: SideFile) -> None:
    """Letter by letter: what was once written must stay readable."""
    put(tree, file.name, file.text.encode())
    assert file.read(tree) == file.value


@each
def test_what_is_not_there_is_no_error(tree: Tree, file: SideFile) -> None:
    """Absent is what damaged counts as; but for forced refreshes, which are all left."""
    assert file.read(tree) == ([True, True] if file.none == [False, False] else file.none)


@each
@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b'"', b"'"),
        lambda data: b"\xff" + data,
        lambda _: b"null",
        lambda _: b"[]",
        lambda _: b'[["version", 1]]',
        lambda _: b'"text"',
        lambda _: b"1e999",
        lambda _: b"[" * 100_000,
        lambda data: versioned(data, b'"one"'),
    ],
)
def test_what_is_damaged_counts_as_none(
    tree: Tree, file: SideFile, damage: Callable[[bytes], bytes]
) -> None:
    """Cut off, of another kind, or no JSON at all: never an error."""
    put(tree, file.name, damage(file.text.encode()))
    assert file.read(tree) == file.none


@each
def test_members_of_another_type_are_damage(tree: Tree, file: SideFile) -> None:
    """A file that is JSON and nothing else that was expected."""
    put(tree, file.name, b'{"day": 1, "count": {}, "authorised": 5, "calls": 5, "days": 5}')
    assert file.read(tree) == file.none


@each
def test_what_a_newer_harvester_wrote_is_refused(tree: Tree, file: SideFile) -> None:
    """It is named, with its version and ours, and the exit code is that of a wrong usage."""
    put(tree, file.name, versioned(file.text.encode(), b"2"))
    with pytest.raises(UsageError, match=r"version 2.* up to version 1") as caught:
        file.read(tree)
    assert tree.store.display_path(f"_harvester/{file.name}") in caught.value.problem
    assert "upgrade harvester" in caught.value.advice
    assert caught.value.exit_code is Exit.USAGE


def test_a_newer_announcement_is_refused_before_it_is_taken_over(tree: Tree) -> None:
    """It stays in its place for the harvester that can read it. A damaged one is only passed."""
    put(tree, "changes/0000-of-0001/begun/dead.1.entry", b"{")
    put(tree, "changes/0000-of-0001/begun/newer.1.entry", b'{"version": 2}')
    with pytest.raises(UsageError, match=r"begun/newer.1.entry: version 2"):
        taken_over(tree)
    assert read_bytes(tree.store, "_harvester/changes/0000-of-0001/begun/newer.1.entry") is not None


@pytest.mark.parametrize(
    ("verb", "name"),
    [
        ("plan", "quota/0000-of-0001.json"),
        ("forget", "quota/0000-of-0001.json"),
        ("run", "quota/0000-of-0001.json"),
        ("status", "rewrite.json"),
    ],
)
def test_a_verb_ends_with_the_code_of_a_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, name: str
) -> None:
    """On stderr stands which file it was, and what to do."""
    manifest = tmp_path / "jobs.yaml"
    manifest.write_text(
        "version: 1\napi: {base_url: sandbox}\n"
        f"accounts: [{{appid: {ONE}}}]\noutput: {tmp_path}/out\n"
        "jobs: [{datasets: [user_summary], begin_date: 2026-05-01, end_date: 2026-05-02}]\n"
    )
    newer = tmp_path / "out/_harvester" / name
    newer.parent.mkdir(parents=True)
    newer.write_text('{"version": 9}')
    other = ["--accounts", appid(2)] if verb == "forget" else []
    assert invoke([verb, str(manifest), *other]) == Exit.USAGE
    said = capsys.readouterr().err
    assert f"{newer}: version 9" in said
    assert "upgrade harvester" in said


def test_a_record_larger_than_any_small_file_is_read_by_its_beginning(tmp_path: Path) -> None:
    """The files that a run replaced come last, and may be many."""
    tree = Tree(LocalStore(tmp_path), 1)
    head: dict[str, Any] = {"run_id": "r", "started_at": TIMES[0], "ended_at": TIMES[1]}
    head |= {"state": "finished", "exit_code": 0, "reasons": [], "requests": 1, "rows": 2}
    head |= {"outcome": "complete", "retry_at": None}
    entry = {"path": "x/ref_month=2026-05/part-0000-of-0001.parquet", "appids": [ONE] * 10_000}
    run_records.write(tree, "20260520T000000Z-r", {**head, "published": [entry] * 200})
    path = tmp_path / "_harvester/runs/20260520T000000Z-r.json"
    assert path.stat().st_size > MAX_READ
    [found] = run_records.last(tree, 5)
    assert (found.run_id, found.rows) == ("r", 2)
    assert list(run_records.newest(tree, RunRecord)) == [found]


def test_a_file_that_could_not_be_read_again_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger of many accounts would be lost without a word, and a quota spent twice."""
    monkeypatch.setattr(json_file, "MAX_SIDE_FILE", 1_000)
    tree = Tree(LocalStore(tmp_path), 1)
    many = Ledger(DAY)
    for number in range(100):
        many.add("user_summary", appid(number), 1)
    with pytest.raises(StoreError, match="bytes, more than are ever read") as caught:
        ledger_file(tree, 0).write(many)
    assert "harvester rewrite --buckets" in caught.value.advice


def test_a_ledger_of_ten_thousand_accounts_is_read_again(tmp_path: Path) -> None:
    """With all datasets, three days, and a limit of each."""
    tree = Tree(LocalStore(tmp_path), 1)
    ledger, datasets = Ledger(DAY), [f"a_dataset_of_wechat_{number:02d}" for number in range(15)]
    told = ReportedQuota(10_000, 4_321, 5_679, 1_779_000_000.123)
    names = [f"wx{number:016x}" for number in range(10_000)]
    of_day = {name: dict.fromkeys(names, 123) for name in datasets}
    ledger.days = {f"2026-05-{day}": DayCalls(of_day) for day in (19, 20, 21)}
    known = KnownQuota(told, 4_321, DAY, 3, 5_000)
    ledger.known = {name: dict.fromkeys(names, known) for name in datasets}
    ledger_file(tree, 0).write(ledger)
    found = ledger_file(tree, 0).read()
    assert found is not None
    assert found.known == ledger.known
