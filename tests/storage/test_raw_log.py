from __future__ import annotations

import errno
import heapq
import os
import tracemalloc
from contextlib import suppress
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from harvester.core.calendar import month_begin, month_end, month_of
from harvester.core.contradictions import CachedBody
from harvester.core.errors import OtherVersion, StoreError, UsageError
from harvester.core.model import RawAnswer, Window
from harvester.storage import raw_log
from harvester.storage.backends import regular_files
from harvester.storage.layout import Tree
from harvester.storage.raw_log import (
    UNREAD,
    DamagedGroup,
    Group,
    open_group,
    unpublished,
    write_group,
)
from harvester.storage.state.json_file import VERSION
from tests.support.answers import DAILY, HOURLY, MARCH, appid, of_day
from tests.support.group_files import reindexed
from tests.support.output_helpers import tree_at
from tests.support.store_backends import Outputs

MONTH = month_of(MARCH)


def some(count: int = 3) -> list[RawAnswer]:
    """Answers of one account, newest day first, as a run asks."""
    return [of_day(MARCH + day) for day in reversed(range(count))]


def all_of(group: Group, dataset: str = HOURLY.name) -> list[RawAnswer]:
    """Everything a group holds of a dataset, each answer as often as it is found."""
    months = sorted(month for name, month in group.months if name == dataset)
    return [answer for month in months for answer in group.answers(dataset, month)]


def age_of(body: bytes) -> int:
    """The age of a body of a cache, 0 of any other."""
    return body.age if isinstance(body, CachedBody) else 0


ANSWERS = st.lists(
    st.builds(
        lambda account, dataset, begin, length, asked_at, refetch, raw: RawAnswer(
            Window(appid(account), dataset, MARCH + begin, MARCH + begin + length),
            asked_at,
            refetch,
            raw,
        ),
        st.integers(0, 2**64 - 1),
        st.sampled_from([HOURLY.name, DAILY.name]),
        st.integers(-70, 70),
        st.integers(0, 29),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**400),
        st.one_of(
            st.binary(max_size=20),
            st.just(b"x" * 200_000),
            st.builds(CachedBody, st.binary(max_size=20), st.integers(1, raw_log._MAX_AGE)),
        ),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANSWERS)
def test_what_is_written_is_read(tree: Tree, answers: list[RawAnswer]) -> None:
    """Each dataset and month finds exactly its answers, in order of account and window."""
    group = write_group(tree, 0, "run", answers)
    for dataset in (HOURLY.name, DAILY.name):
        for month in range(MONTH - 4, MONTH + 5):
            first, last = month_begin(month), month_end(month)
            expected = [
                each
                for each in answers
                if each.window.dataset == dataset
                and each.window.begin <= last
                and each.window.end >= first
            ]
            found = list(group.answers(dataset, month))
            expected.sort(key=raw_log._group_order)
            assert found == expected
            assert [age_of(each.body) for each in found] == [age_of(one.body) for one in expected]
            assert bool(expected) <= ((dataset, month) in group.months)
    assert open_group(group.name, group.path) == group
    raw_log.delete(tree, group)


@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.integers(0, 300_000), st.booleans()),
        min_size=1,
        max_size=40,
    )
)
def test_no_batch_takes_more_memory_than_a_batch_may(drawn: list[tuple[int, int, bool]]) -> None:
    """Whatever the lengths and their order; a longer answer is in a batch of its own."""
    answers = [
        RawAnswer(
            Window(appid(number), (HOURLY if hourly else DAILY).name, 0, 0), 1, 0, b" " * size
        )
        for number, size, hourly in drawn
    ]
    cut = [*raw_log._batches_of(sorted(answers, key=raw_log._group_order))]
    assert [each for part in cut for each in part] == sorted(answers, key=raw_log._group_order)
    for part in cut:
        taken = sum(raw_log._ANSWER_BYTES + len(each.body) for each in part)
        assert taken <= raw_log.BATCH_BYTES or len(part) == 1


def test_a_merge_holds_no_long_answer_whose_turn_has_not_come(tree: Tree) -> None:
    """Each of many groups holds a small batch, or the window of a long answer without its body."""
    long, count = 1 << 20, 12
    groups = [
        write_group(
            tree,
            0,
            "run",
            [
                RawAnswer(Window(appid(number + 50 * step), DAILY.name, MARCH, MARCH), 1, 0, body)
                for step, body in enumerate((b"a" * long, b"b", b"c" * long))
            ],
        )
        for number in range(count)
    ]
    streams = [group.by_turns(DAILY.name, MONTH) for group in groups]
    tracemalloc.start()
    try:
        merged = heapq.merge(*streams, key=lambda answer: answer.window)
        found = [len(each.body) for each in merged if each.body is not UNREAD]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == [long] * count + [1] * count + [long] * count
    # One is read: as its bytes in the file, as those of its batch, and as its body.
    assert peak < count * raw_log.BATCH_BYTES + 3 * long


def test_a_group_opened_again_has_the_same_index(outputs: Outputs) -> None:
    """A group opened again knows its run, bucket, moment, size and months; its id is its own."""
    tree = outputs(4)
    group = write_group(tree, 3, "run-1", some())
    again = open_group(group.name, group.path)
    for name in ("id", "run_id", "bucket", "buckets", "fetched_at", "size", "batches", "months"):
        assert getattr(again, name) == getattr(group, name)
    assert group.name == f"_harvester/raw/run-1/0003-{group.id}.group"
    assert group.fetched_at == some()[0].asked_at * 1_000_000
    assert group.size == group.path.stat().st_size
    assert group.months == {(HOURLY.name, MONTH)}
    assert write_group(tree, 3, "run-1", some()).id != group.id


def test_groups_of_a_run_have_names_of_their_own(outputs: Outputs) -> None:
    """Each begins with its bucket, and no temporary file is left."""
    tree = outputs(2)
    names = [write_group(tree, bucket, "run", some()).path.name for bucket in (0, 0, 1)]
    assert [name[:5] for name in names] == ["0000-", "0000-", "0001-"]
    assert len({*names}) == len(names)
    assert not list(tree.store.scratch.glob("*.tmp"))


def test_a_reader_holds_one_small_batch(tree: Tree) -> None:
    """Bodies are cut into batches of about 128 KiB, so a reader never holds a group."""
    answers = [of_day(MARCH)._replace(body=b"x" * 100_000) for _ in range(20)]
    group = write_group(tree, 0, "run", answers)
    assert max(batch.size for batch in group.batches) < 201_000
    assert len(all_of(group)) == 20


def test_unpublished_groups_are_found_by_bucket(outputs: Outputs) -> None:
    """The groups of all runs are found, oldest answers first, in the buckets asked for alone."""
    tree = outputs(3)
    late = [answer._replace(asked_at=answer.asked_at + 5) for answer in some()]
    second = write_group(tree, 0, "a", late)
    first = write_group(tree, 1, "b", some())
    write_group(tree, 2, "b", some())
    tree.store.put("_harvester/raw/b/notes.group", b"foreign")
    assert unpublished(tree, [0, 1]) == ([first, second], [])


def test_a_new_tree_has_no_unpublished_groups(tree: Tree) -> None:
    """A new output has none."""
    assert unpublished(tree, [0]) == ([], [])


def test_deleting(tree: Tree) -> None:
    """A deleted group is gone, with its run's folder once that is empty; twice is no error."""
    one, two = (write_group(tree, 0, "run", some()) for _ in range(2))
    raw_log.delete(tree, one)
    assert unpublished(tree, [0])[0] == [two]
    raw_log.delete(tree, two)
    raw_log.delete(tree, two)
    assert not list(tree.store.list("_harvester/raw"))


@pytest.mark.parametrize("keep", [0, 1, 100, -1, -30])
def test_a_damaged_group_is_moved_to_the_quarantine(tree: Tree, keep: int) -> None:
    """A group that is cut off goes to the quarantine and is named; the others are read."""
    bad, good = (write_group(tree, 0, "run", some()) for _ in range(2))
    bad.path.write_bytes(bad.path.read_bytes()[:keep])
    moved = f"_harvester/quarantine/groups/run.{bad.path.name}"
    assert unpublished(tree, [0]) == ([good], [moved])
    assert not bad.path.exists()


def test_every_damage_is_noticed_or_harmless(tree: Tree) -> None:
    """A flipped byte anywhere gives the answers as they were written, or none."""
    group = write_group(tree, 0, "run", some(2))
    raw, written = group.path.read_bytes(), all_of(group)
    damaged = 0
    for place in range(0, len(raw), 7):
        group.path.write_bytes(raw[:place] + bytes([raw[place] ^ 0x11]) + raw[place + 1 :])
        # A version may have become a newer one.
        with suppress(DamagedGroup, StoreError, OtherVersion):
            damaged -= 1
            assert all_of(open_group(group.name, group.path)) in (written, [])
            damaged += 1
    assert damaged < -90


def test_damage_to_an_open_group_is_noticed_or_harmless(tree: Tree) -> None:
    """A publish has read the index before; a byte is flipped, or the file ends, behind its back."""
    group = write_group(tree, 0, "run", some(2))
    raw, written = group.path.read_bytes(), all_of(group)
    damaged = 0
    for place in range(0, len(raw), 7):
        flipped = raw[:place] + bytes([raw[place] ^ 0x11]) + raw[place + 1 :]
        for data in (flipped, raw[:place]):
            group.path.write_bytes(data)
            try:
                assert all_of(group) == written
            except DamagedGroup:
                damaged += 1
    assert damaged > 90


def test_a_group_that_is_gone(tree: Tree) -> None:
    """Reading a removed group raises the error of a damaged one."""
    group = write_group(tree, 0, "run", some())
    group.path.unlink()
    with pytest.raises(DamagedGroup):
        all_of(group)


def test_a_system_error_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group that cannot be opened for want of a right or a descriptor stays where it is."""

    def refuse(path: Path, *_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    tree = tree_at(tmp_path)
    group = write_group(tree, 0, "run", some())
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreError, match="Too many open files"):
        unpublished(tree, [0])
    assert group.path.exists()


def test_a_newer_version_is_refused(tree: Tree) -> None:
    """It is neither guessed at nor moved away."""
    group = write_group(tree, 0, "run", some())
    reindexed(group.path, version=VERSION + 1)
    with pytest.raises(OtherVersion, match=f"{group.name}: raw group: version {VERSION + 1}"):
        unpublished(tree, [0])
    assert group.path.exists()


def test_another_number_of_buckets_is_refused(outputs: Outputs) -> None:
    """Groups written for another number of buckets are not published into the wrong files."""
    write_group(outputs(2), 0, "run", some())
    with pytest.raises(UsageError, match="buckets: 2, not 1"):
        unpublished(outputs(1), [0])


def test_a_full_disk_leaves_no_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the group cannot be written, none is there, and the error names a path."""
    tree = tree_at(tmp_path)
    monkeypatch.setattr(regular_files, "create", lambda _: os.open("/dev/full", os.O_RDWR))
    with pytest.raises(StoreError, match="No space left"):
        write_group(tree, 0, "run", some())
    assert unpublished(tree, [0])[0] == []
