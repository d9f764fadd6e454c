"""Change logs: numbers without a gap for any number of writers, and folds that lose nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core.calendar import instant, parse_day
from harvester.core.config.settings import Output
from harvester.core.errors import HistoryLost
from harvester.core.hold import Hold
from harvester.core.results import Change
from harvester.storage.backends import atomic_files
from harvester.storage.backends.base import FileInfo, Store, read_bytes
from harvester.storage.layout import CHANGES, Tree, open_tree
from harvester.storage.state import change_folding, change_log, change_reader, packed_lines
from harvester.storage.state.change_entries import (
    LogEntry,
    LogFile,
    LogPosition,
    cursor,
    needed,
    parse_cursor,
    shelves,
)
from harvester.storage.state.change_log import ChangeLog
from harvester.verbs.changes import changes_of
from tests.support.machine import slowness
from tests.support.output_helpers import tree_at
from tests.support.run_harness import appid
from tests.support.store_backends import all_names

NOON = instant(parse_day("2026-05-20"), 12 * 60)
LABEL = "0000-of-0001"
PATH = "user_summary/ref_month=2026-05/part-0000-of-0001.parquet"


@pytest.fixture(params=["disk", "objects"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    """An empty output on either backend."""
    if request.param == "disk":
        return tree_at(tmp_path / "out")
    return open_tree(request.getfixturevalue("s3_output"))


def log_of(tree: Tree, run_id: str, now: float = NOON) -> ChangeLog:
    """An open log of the only bucket."""
    log = ChangeLog(tree, run_id, lambda: now)
    log.open([LABEL])
    return log


def entry(number: int = 0) -> LogEntry:
    """An entry about the same file as all others."""
    return LogEntry(path=PATH, dataset="user_summary", ref_month="2026-05", rows_after=number)


def rounds_of(tree: Tree) -> list[str]:
    """The first number of each file of a round, as in its name."""
    names = all_names(tree, f"{CHANGES}/{LABEL}/rounds")
    return [name.rpartition("/")[2].partition(".")[0] for name in names]


def told(tree: Tree, since: str = "v1") -> list[tuple[int, int]]:
    """Number and rows of each change."""
    return [(each.seq, each.rows_after) for each in changes_of(tree, since)[0]]


def test_entries_are_numbered_and_folded(tree: Tree) -> None:
    """Each round in a file of its own, then all in one; a reader sees no difference."""
    log = log_of(tree, "one")
    log.add(entry(0), entry(1))
    log.add(entry(2))
    for _ in range(change_folding.MAX_ROUNDS - 4):
        log.close()
        log.add(entry())
    before = told(tree)
    assert before[:4] == [(2, 0), (3, 1), (4, 2), (5, 0)]
    assert all_names(tree, f"{CHANGES}/{LABEL}/log") == []
    assert rounds_of(tree)[:3] == ["000000000001", "000000000002", "000000000004"]
    log.add(entry())
    before = told(tree)
    log.close()
    [folded] = all_names(tree, f"{CHANGES}/{LABEL}/log")
    assert f"000000000001-{before[-1][0]:012d}.2026-05-20." in folded
    assert all_names(tree, CHANGES) == [folded]
    assert told(tree) == before
    log.close()
    assert all_names(tree, CHANGES) == [folded]


def test_a_long_round_is_in_several_files(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of a bounded length, or of one entry; the numbers go on."""
    log = log_of(tree, "one")
    monkeypatch.setattr(change_log, "MAX_ROUND_BYTES", 700)
    long = replace(entry(2), appids=tuple(map(appid, range(100))))
    log.add(entry(0), entry(1), entry(2), long, entry(4))
    assert [rows for _, rows in told(tree)] == [0, 1, 2, 2, 4]
    assert rounds_of(tree)[1:] == [f"{number:012d}" for number in (2, 4, 5, 6)]


def test_a_round_of_several_buckets(tmp_path: Path) -> None:
    """Each bucket has its own file and numbers, in the order of the changes."""
    tree = tree_at(tmp_path, 2)
    log = ChangeLog(tree, "one", lambda: NOON)
    labels = [tree.bucket_label(bucket) for bucket in range(2)]
    log.open(labels)
    log.add(*(replace(entry(n), path=PATH.replace(LABEL, labels[n % 2])) for n in range(4)))
    assert told(tree) == [(2, 0), (3, 2), (2, 1), (3, 3)]
    assert len(all_names(tree, CHANGES)) == 4


def test_two_writers_of_one_bucket_share_the_numbers(s3_output: Output) -> None:
    """The first writer gets a number, and no entry takes the place of another."""
    tree = open_tree(s3_output)
    one, other = log_of(tree, "one"), log_of(tree, "other")
    for number in range(3):
        one.add(entry(number))
        other.add(entry(10 + number))
    assert [rows for _, rows in told(tree)] == [0, 10, 1, 11, 2, 12]


def test_a_number_that_was_folded_is_not_taken_again(
    s3_output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that knows less than the log finds its number free, and gives it back."""
    monkeypatch.setattr(change_folding, "MAX_ROUNDS", 1)
    tree = open_tree(s3_output)
    one, other = log_of(tree, "one"), log_of(tree, "other")
    for number in range(3):
        one.add(entry(number))
    _, cursor_before = changes_of(tree, "v1")
    one.close()
    other.add(entry(9))
    assert told(tree, cursor_before) == [(5, 9)]


def test_an_entry_costs_no_listing_of_rounds(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run may have thousands of them, and each entry would cost more than the one before."""
    log, kind, listed = log_of(tree, "one"), type(tree.store), list[str]()
    real = kind.list

    def counted(self: Store, folder: str) -> list[FileInfo]:
        listed.append(folder)
        return real(self, folder)

    monkeypatch.setattr(kind, "list", counted)
    log.add(entry(1))
    assert listed == [f"{CHANGES}/{LABEL}/log"]


def test_what_was_announced_and_not_reported_is_reported(tree: Tree) -> None:
    """By the next run of the bucket; a file that is not there any more as deleted."""
    dead = log_of(tree, "dead")
    dead.announce(replace(entry(5), op="erased"))
    log_of(tree, "next", NOON + 2 * 86_400)
    [found] = changes_of(tree, "v1")[0]
    assert (found.op, found.path, found.run_id) == ("deleted", PATH, "dead")
    assert all_names(tree, f"{CHANGES}/{LABEL}/begun") == []


def test_what_is_announced_again_after_a_lost_race_is_reported_once(tree: Tree) -> None:
    """By the run itself: none of its announcements is left to the next one."""
    log = log_of(tree, "ours")
    for rows in (5, 6):
        log.announce(replace(entry(rows), op="erased"))
    log.add(replace(entry(6), op="erased"))
    log_of(tree, "next", NOON + 60)
    assert [each.op for each in changes_of(tree, "v1")[0]] == ["erased"]


def test_a_change_is_told_though_its_run_lost_its_lease_and_was_killed(tree: Tree) -> None:
    """Its put may land after the next run, so all runs of a day report the announcement."""
    tree = replace(tree, hold=Hold())
    log_of(tree, "killed").announce(replace(entry(5), op="erased"))
    _, before = changes_of(tree, "v1")
    for hours, op in ((1, "deleted"), (25, "erased"), (26, None)):
        log_of(tree, f"after {hours} h", NOON + hours * 3_600)
        found, before = changes_of(tree, before)
        assert [each.op for each in found] == ([op] if op else [])
        tree.store.put(PATH, b"rewritten")


def test_a_run_that_lost_its_lease_reports_what_it_announced(tree: Tree) -> None:
    """The run that took over has reported it too, because the order of the two is not known."""
    tree = replace(tree, hold=Hold())
    alive = log_of(tree, "alive")
    alive.announce(replace(entry(5), op="erased"))
    log_of(tree, "next", NOON + 60)
    assert len(all_names(tree, f"{CHANGES}/{LABEL}/begun")) == 1
    alive.add(replace(entry(5), op="erased"))
    assert [each.op for each in changes_of(tree, "v1")[0]] == ["deleted", "erased"]
    assert all_names(tree, f"{CHANGES}/{LABEL}/begun") == []


def history(tree: Tree, days: int, runs: int = 2) -> Iterator[float]:
    """Runs of two entries each; yield the time of each."""
    for number in range(days * runs):
        now = NOON + number * 86_400 / runs
        log = log_of(tree, f"run-{number}", now)
        log.add(entry(number))
        log.add(entry(number))
        log.close()
        yield now


def test_a_month_that_is_over_is_one_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a month that is not over has one too, beside the newest rounds."""
    monkeypatch.setattr(atomic_files, "sync", lambda _: None)
    tree = tree_at(tmp_path)
    most = 0
    for _ in history(tree, 100):
        most = max(most, len(all_names(tree, f"{CHANGES}/{LABEL}/log")))
    months = [name.split(".")[1][:7] for name in all_names(tree, f"{CHANGES}/{LABEL}/log")]
    assert [months.count(f"2026-0{month}") for month in (5, 6, 7)] == [1, 1, 1]
    assert most <= 4
    assert [rows for _, rows in told(tree)] == [number for number in range(200) for _ in "ab"]


def test_a_fold_that_is_killed_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every change of the disk a reader sees the same, and in the end nothing is left over."""
    monkeypatch.setattr(change_folding, "MAX_ROUNDS", 1)
    at = 0
    while True:
        at += 1
        tree = tree_at(tmp_path / str(at))
        log = log_of(tree, "one")
        for number in range(4):
            log.add(entry(number))
        before, left = told(tree), at

        def mortal(path: Path) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(atomic_files, "sync", mortal)
            try:
                log.close()
            except KeyboardInterrupt:
                pass
            else:
                break
        assert told(tree) == before
        log_of(tree, "two").close()
        assert told(tree) == before
        assert len(all_names(tree, f"{CHANGES}/{LABEL}/log")) == 1
        assert not rounds_of(tree)
    assert at > 5


def test_a_long_history_is_in_segments_of_a_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Because a segment is read whole."""
    monkeypatch.setattr(change_folding, "MAX_SEGMENT_BYTES", 2_000)
    monkeypatch.setattr(change_folding, "MAX_ROUNDS", 1)
    tree = tree_at(tmp_path)
    log = log_of(tree, "one")
    for number in range(40):
        log.add(replace(entry(number), appids=(appid(number),) * 10))
    before = told(tree)
    log.close()
    found = tree.store.list(f"{CHANGES}/{LABEL}/log")
    assert len(found) > 5
    assert max(file.size for file in found) <= 2_000
    assert told(tree) == before


RANGES = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9)), max_size=12)


@given(RANGES, st.integers(0, 30))
def test_the_needed_files_hold_all_that_there_is(ranges: list[tuple[int, int]], at: int) -> None:
    """Every entry behind the number that any file holds, and no file that ends before another."""
    files = [
        LogFile(FileInfo(str(number), 1, ""), first, first + more, "d", "m")
        for number, (first, more) in enumerate(ranges)
    ]
    files.sort(key=lambda each: (each.first, -each.last))

    def held(chosen: list[LogFile]) -> set[int]:
        return {seq for each in chosen for seq in range(each.first, each.last + 1) if seq > at}

    chosen = needed(files, at)
    assert held(chosen) == held(files)
    lasts = [each.last for each in chosen]
    assert lasts == sorted(set(lasts))


@given(
    st.dictionaries(
        st.tuples(st.integers(0, 9_998), st.integers(1, 9_999)),
        st.tuples(st.integers(1, 10**11), st.text("0123456789abcdef", min_size=10, max_size=10)),
    )
)
def test_a_cursor_is_a_word_that_reads_back(places: dict[tuple[int, int], tuple[int, str]]) -> None:
    """Without anything that a shell would touch."""
    positions = {
        f"{bucket:04d}-of-{count:04d}": LogPosition(*at) for (bucket, count), at in places.items()
    }
    text = cursor(positions)
    assert parse_cursor(text) == positions
    assert set(text) <= set("v0123456789abcdef,-")


SHARDS, RUNS = 16, 730


def year(tree: Tree) -> str:
    """Write a year of two runs a day and 16 shards; return the cursor of a day before its end."""
    paths = {
        f"{bucket:04d}-of-{SHARDS:04d}": [
            entry()
            .path.replace("0000-of-0001", f"{bucket:04d}-of-{SHARDS:04d}")
            .replace("user_summary", f"{name}_summary")
            for name in ("user", "interface", "biz")
        ]
        for bucket in range(SHARDS)
    }
    a_day_ago = ""
    for number in range(RUNS):
        now = NOON + number * 43_200
        if number == RUNS - 2:
            _, a_day_ago = changes_of(tree, "v1")
        for label, named in paths.items():
            log = ChangeLog(tree, f"run-{number}-{label}", lambda now=now: now)  # type: ignore[misc]
            log.open([label])
            for path in named:
                log.add(replace(entry(number), path=path, appids=tuple(map(appid, range(60)))))
            log.close()
    return a_day_ago


def seconds_of(tree: Tree, cursor: str) -> tuple[float, list[Change]]:
    """Return the time of the fastest of three looks, and what it saw."""
    best, found = 1e9, list[Change]()
    for _ in range(3):
        begun = time.perf_counter()
        found, _ = changes_of(tree, cursor)
        best = min(best, time.perf_counter() - begun)
    return best, found


@pytest.mark.slow
def test_a_year_of_sixteen_shards(
    tmp_path: Path, s3_output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """11,680 runs: the last day of the feed in a second from a disk, and in three from S3."""
    monkeypatch.setattr(atomic_files, "sync", lambda _: None)
    disk = Tree(tree_at(tmp_path / "out").store, SHARDS)
    cursor = year(disk)
    files = all_names(disk, CHANGES)
    objects = Tree(open_tree(s3_output).store, SHARDS)
    for name in files:
        objects.store.put(name, read_bytes(disk.store, name) or b"")
    for tree, most in ((disk, 1.0), (objects, 3.0)):
        seconds, found = seconds_of(tree, cursor)
        assert len(found) == 2 * SHARDS * 3
        assert seconds <= most * slowness()


def test_a_damaged_entry_is_a_gap(tree: Tree) -> None:
    """Never a wrong change: a reader that has not passed it starts again."""
    log = log_of(tree, "one")
    log.add(entry(1))
    _, behind = changes_of(tree, "v1")
    log.add(entry(2))
    [*_, last] = all_names(tree, f"{CHANGES}/{LABEL}/rounds")
    tree.store.put(last, b"{")
    assert change_reader.heads(tree.store, shelves(tree.store.list(CHANGES)))[LABEL].seq == 3
    for seen in ("v1", behind):
        with pytest.raises(HistoryLost, match="older than the changes"):
            changes_of(tree, seen)
    _, after = changes_of(tree)
    assert changes_of(tree, after) == ([], after)
    log_of(tree, "next").add(entry(3))
    assert told(tree, after) == [(4, 3)]


def test_a_cursor_of_another_history_of_the_same_length_is_refused(tree: Tree) -> None:
    """The tree was restored from a copy and went on: its entry of this number is another one."""
    log = log_of(tree, "one")
    log.add(entry(1))
    [*_, last] = all_names(tree, f"{CHANGES}/{LABEL}/rounds")
    at_the_copy = read_bytes(tree.store, last)
    log.add(entry(2))
    _, behind = changes_of(tree, "v1")
    tree.store.delete(all_names(tree, f"{CHANGES}/{LABEL}/rounds")[-1])
    assert read_bytes(tree.store, last) == at_the_copy
    log_of(tree, "another").add(entry(3))
    with pytest.raises(HistoryLost):
        changes_of(tree, behind)


def test_the_newest_entries_stay_however_old_they_are(tree: Tree) -> None:
    """An output that had no change for years keeps its numbers, and the cursors of followers."""
    log = log_of(tree, "one")
    log.add(entry(1))
    _, behind = changes_of(tree, "v1")
    for _ in range(2):
        log_of(tree, "next", NOON + 3 * 365 * 86_400).close()
    assert not rounds_of(tree)
    assert changes_of(tree, behind) == ([], behind)
    log_of(tree, "later", NOON + 3 * 365 * 86_400).add(entry(2))
    assert told(tree, behind) == [(3, 2)]


def test_no_segment_leaps_over_a_number(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hide the entry, which another fold may have written."""
    monkeypatch.setattr(change_folding, "MAX_ROUNDS", 1)
    log = log_of(tree, "one")
    for number in range(3):
        log.add(entry(number))
    tree.store.delete(all_names(tree, f"{CHANGES}/{LABEL}/rounds")[2])
    log.close()
    names = all_names(tree, f"{CHANGES}/{LABEL}/log")
    ranges = [name.rpartition("/")[2].partition(".")[0] for name in names]
    assert ranges == ["000000000001-000000000002", "000000000004-000000000004"]


def test_a_segment_that_lost_an_entry_is_not_folded_on(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays as it is, and readers see the gap."""
    monkeypatch.setattr(change_folding, "MAX_ROUNDS", 1)
    log = log_of(tree, "one")
    log.add(entry(1))
    log.close()
    [damaged] = all_names(tree, f"{CHANGES}/{LABEL}/log")
    begin, _ = packed_lines.unpack(read_bytes(tree.store, damaged) or b"")
    tree.store.put(damaged, packed_lines.pack([begin + b"\n", b"{\n"]))
    log.add(entry(2))
    log.close()
    assert damaged in all_names(tree, f"{CHANGES}/{LABEL}/log")
    with pytest.raises(HistoryLost):
        changes_of(tree, "v1")


def test_files_whose_entries_were_dropped_are_known_as_long_as_they_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else is dropped later: `verify` and a lost cursor ask for them."""
    monkeypatch.setattr(atomic_files, "sync", lambda _: None)
    tree = replace(tree_at(tmp_path), keep_history=20)
    older, gone = PATH.replace("-05/", "-04/"), PATH.replace("-05/", "-03/")
    log = log_of(tree, "first", NOON - 86_400)
    log.add(replace(entry(), path=older), replace(entry(), path=gone))
    *_, end = history(tree, 40, runs=1)
    later = log_of(tree, "later", end)
    later.add(replace(entry(), path=gone, op="deleted"))
    [*history(tree, 100, runs=1)]
    assert not [each for each in changes_of(tree, changes_of(tree)[1])[0] if each.path != PATH]
    assert change_reader.not_removed(tree) == {PATH, older}
