"""Folded run records: every head is there for ever, once, at whatever moment a fold is killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harvester.core.calendar import instant, parse_day, utc_text
from harvester.readers.output import Output
from harvester.readers.output_place import OutputPlace
from harvester.storage.backends import atomic_files
from harvester.storage.backends.base import Blob, Store, read_bytes
from harvester.storage.backends.local import LocalStore
from harvester.storage.layout import RUNS, Tree, open_tree
from harvester.storage.state import record_folding, run_records
from harvester.storage.state.packed_lines import LINES, pack, unpack
from harvester.storage.state.record_folding import DAYS, fold
from harvester.storage.state.run_records import HEADS, RunRecord, RunResult
from harvester.verbs.erasure import ErasureRequest, erase_names
from tests.support.feed_histories import Killed, MortalStore
from tests.support.run_harness import appid
from tests.support.store_backends import all_names

NOON = instant(parse_day("2026-04-20"), 12 * 60)
DAY = 86_400.0


@pytest.fixture(params=["disk", "objects"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    """An empty output on either backend."""
    if request.param == "disk":
        return Tree(LocalStore(tmp_path / "out"))
    return open_tree(request.getfixturevalue("s3_output"))


@pytest.fixture(autouse=True)
def _no_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic_files, "sync", lambda _: None)


def record(at: float, number: int, **members: Any) -> dict[str, Any]:
    """Return the record of a run that was refused a day of an account."""
    begin = utc_text(at)
    run_id = f"{begin.replace('-', '').replace(':', '')}-{number:06x}"
    refused = {
        "appid": appid(number % 3),
        "dataset": "user_summary",
        "begin_date": begin[:10],
        "end_date": begin[:10],
        "days": 1,
        "action": "stop",
        "scope": "account",
        "meaning": "the AppSecret is wrong",
        "advice": "Compare it.",
        "errcode": 40125,
        "errmsg": "invalid appsecret",
        "rid": "6a0d",
    }
    return {
        "record_version": 2,
        "harvester_version": "1.0",
        "run_id": run_id,
        "shard": None,
        "labels": {"team": "a"},
        "started_at": begin,
        "ended_at": utc_text(at + 60),
        "state": "finished",
        "outcome": "partial",
        "exit_code": 3,
        "reasons": ["refused"],
        "retry_at": None,
        "requests": number,
        "retries": 0,
        "rows": 7,
        "exceptions": [refused],
        "published": [],
        **members,
    }


def written(tree: Tree, days: int) -> Iterator[float]:
    """Write the records of two runs a day; yield the moment after each."""
    for number in range(2 * days):
        at = NOON + number * DAY / 2
        members = record(at, number)
        run_records.write(tree, members["run_id"], members)
        yield at + 60


def known(tree: Tree) -> list[object]:
    """Return what `status`, the gate and `runs` read."""
    heads = [*run_records.newest(tree, RunRecord)]
    return [
        heads,
        [*run_records.newest(tree, RunResult)],
        Output("", OutputPlace(""), tree.store).runs(),
    ]


def whole(tree: Tree) -> set[str]:
    """Return the runs whose folded records are there as a whole."""
    names = [name for name in all_names(tree, RUNS) if name.endswith(LINES)]
    found = [line for name in names if not name.endswith(HEADS) for line in lines_of(tree, name)]
    return {json.loads(line)["run_id"] for line in found}


def test_readers_do_not_notice_a_fold(tree: Tree) -> None:
    """On either backend, over the end of a month, newest first, with what each run gave up."""
    *_, now = written(tree, 2 * DAYS + 6)
    before = known(tree)
    fold(tree, now)
    assert known(tree) == before
    names = all_names(tree, RUNS)
    assert sum(name.endswith(".json") for name in names) == 2 * DAYS + 2
    assert sum(name.endswith(HEADS) for name in names) == 1
    fold(tree, now + 9 * DAY)
    assert [name for name in all_names(tree, RUNS) if name.endswith(HEADS)] == [
        f"{RUNS}/2026-04{HEADS}",
        f"{RUNS}/2026-05{HEADS}",
    ]
    assert known(tree) == before


def test_few_files_stay_and_no_head_is_lost(tmp_path: Path) -> None:
    """Of 140 days; the whole records go with the history that is kept."""
    tree = Tree(LocalStore(tmp_path), keep_history=60)
    most = 0
    for now in written(tree, 140):
        fold(tree, now)
        most = max(most, len(all_names(tree, RUNS)))
    assert most < 60
    assert len([*run_records.newest(tree, RunRecord)]) == 280
    names = [name for name in all_names(tree, RUNS) if not name.endswith(HEADS)]
    assert min(names) > f"{RUNS}/202607"
    whole = [name for name in names if name.endswith(LINES)]
    assert all(
        b'"advice"' in line
        for name in whole
        for line in unpack(read_bytes(tree.store, name) or b"")
    )


@pytest.mark.parametrize("racy", [False, True])
def test_a_killed_fold_is_finished_by_the_next(tmp_path: Path, *, racy: bool) -> None:
    """Before and after every change readers see the same, and nothing is left over in the end."""
    life = 0
    while True:
        life += 1
        tree = Tree(MortalStore(tmp_path / str(life), racy=racy))
        *_, now = written(tree, 2 * DAYS + 6)
        before = known(tree)
        mortal = replace(tree, store=MortalStore(tree.store.root, life, racy=racy))  # type: ignore[attr-defined]
        with suppress(Killed):
            fold(mortal, now)
            break
        assert known(tree) == before
        fold(tree, now)
        fold(tree, now + 9 * DAY)
        assert known(tree) == before
        assert whole(tree) == {each.run_id for each in run_records.newest(tree, RunRecord)}
        assert not [name for name in all_names(tree, RUNS) if name.endswith(".json")]
    assert life > 10


def test_a_reader_beside_a_fold_misses_no_run(tmp_path: Path) -> None:
    """A record that is folded after it was listed is read from where it is then."""
    tree = Tree(LocalStore(tmp_path))
    *_, now = written(tree, 2 * DAYS + 6)
    before = [each.run_id for each in run_records.newest(tree, RunRecord)]
    reading = run_records.newest(tree, RunRecord)
    first = next(reading)
    fold(tree, now)
    assert sorted([first.run_id, *(each.run_id for each in reading)]) == sorted(before)


def test_a_run_that_goes_on_for_long_keeps_its_own_record(tmp_path: Path) -> None:
    """A record that is written after its fold counts, and is folded again."""
    tree = Tree(LocalStore(tmp_path))
    long = record(NOON - DAY, 1, state="running", exit_code=None, outcome=None)
    run_records.write(tree, long["run_id"], long)
    *_, now = written(tree, 2 * DAYS + 6)
    fold(tree, now)
    run_records.write(tree, long["run_id"], {**long, "state": "finished", "rows": 9})
    for _ in range(2):
        [mine] = [x for x in run_records.newest(tree, RunRecord) if x.run_id == long["run_id"]]
        assert (mine.state, mine.rows) == ("finished", 9)
        fold(tree, now + 9 * DAY)


def test_an_account_is_forgotten_in_what_is_folded(tmp_path: Path) -> None:
    """In heads and in whole records, of which the others stay."""
    tree = Tree(LocalStore(tmp_path))
    *_, now = written(tree, 2 * DAYS + 6)
    fold(tree, now)
    gone = ErasureRequest(frozenset({appid(1)}), frozenset({"user_summary"}), everything=True)
    names = set(erase_names(tree, gone, dry=False))
    assert {name for name in all_names(tree, RUNS) if name.endswith(LINES)} <= names
    left = [line for name in names if name.endswith(LINES) for line in lines_of(tree, name)]
    assert appid(2) in "".join(left)
    assert appid(1) not in "".join(left)
    runs = len([*run_records.newest(tree, RunRecord)])
    assert runs == 2 * (2 * DAYS + 6)
    assert not [*erase_names(tree, gone, dry=False)]


def lines_of(tree: Tree, name: str) -> list[str]:
    """Return the lines of a packed file."""
    return [line.decode() for line in unpack(read_bytes(tree.store, name) or b"")]


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"\x28\xb5\x2f\xfd"])
def test_a_damaged_file_hides_no_other(tmp_path: Path, damage: bytes) -> None:
    """`forget` removes it as well, because its accounts cannot be read."""
    tree = Tree(LocalStore(tmp_path))
    *_, now = written(tree, 2 * DAYS + 6)
    tree.store.put(f"{RUNS}/2025-01{HEADS}", damage)
    fold(tree, now)
    assert len([*run_records.newest(tree, RunRecord)]) == 2 * (2 * DAYS + 6)
    gone = ErasureRequest(frozenset({appid(9)}), frozenset({"user_summary"}), everything=True)
    found = [*erase_names(tree, gone, dry=False)]
    assert found == ([f"{RUNS}/2025-01{HEADS}"] if damage else found)


def test_a_bomb_does_not_explode() -> None:
    """A few kilobytes that stand for more than any file of ours."""
    bomb = pack([b"x" * (1 << 20)] * 40)
    assert len(bomb) < 1 << 16
    with pytest.raises(ValueError, match="longer"):
        unpack(bomb)


def test_a_head_that_another_process_puts_meanwhile_stays(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that lost its lease may still be folding when the next one does."""
    *_, now = written(tree, 2 * DAYS + 2)
    fold(tree, now)
    [name] = [name for name in all_names(tree, RUNS) if name.endswith(HEADS)]
    lines = [*lines_of(tree, name), json.dumps(record(NOON, 0xFFFF))]
    kind, between = type(tree.store), iter([pack(f"{line}\n".encode() for line in lines)])
    read = kind.get

    def late(self: Store, wanted: str, *rest: Any, **options: Any) -> Blob | None:
        found = read(self, wanted, *rest, **options)
        if wanted == name and (data := next(between, None)):
            self.put(name, data)
        return found

    monkeypatch.setattr(kind, "get", late)
    fold(tree, now + 9 * DAY)
    heads = [json.loads(line)["run_id"] for line in lines_of(tree, name)]
    assert len(heads) == 2 * (2 * DAYS + 2) + 1


def test_a_fold_reads_a_bounded_part_of_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are read whole, and the next fold takes the others."""
    monkeypatch.setattr(record_folding, "MAX_FILE_BYTES", 1)
    tree = Tree(LocalStore(tmp_path))
    *_, now = written(tree, 2 * DAYS + 2)
    for folded in (1, 2):
        fold(tree, now)
        assert len(whole(tree)) == folded
