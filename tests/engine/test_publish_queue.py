from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import from_thread, to_thread

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import NO_DAYS, month_of
from harvester.core.dataset import Dataset
from harvester.core.errors import StoreError
from harvester.core.model import Partition, Window
from harvester.engine import publish_queue
from harvester.engine.publish_queue import PublishQueue
from harvester.engine.raw_writer import RawWriter
from harvester.scheduling.account_queue import AccountQueue, Attempt, Backlog
from harvester.storage import partition_reader, publish, raw_log
from harvester.storage.layout import Tree
from harvester.storage.publication import Published
from harvester.storage.raw_log import Group, write_group
from harvester.wechat.account_calls import BytesInHand
from tests.support.answers import DAILY, MARCH, answer, appid
from tests.support.output_helpers import ANY_TIME, tree_at

MONTH = month_of(MARCH)
APRIL = 31


@pytest.fixture
def disk(tmp_path: Path) -> Tree:
    """An output in a folder."""
    return tree_at(tmp_path)


def group(tree: Tree, account: int, *days: int) -> Group:
    """A group with an empty answer for each of these days, counted from the first of March."""
    windows = [Window(appid(account), DAILY.name, MARCH + day, MARCH + day) for day in days]
    return write_group(tree, 0, "run", [answer(window, []) for window in windows])


class Told:
    """The months that were published, and a way to wait for so many."""

    def __init__(self, count: int) -> None:
        self.months: list[int] = []
        self.rounds: list[int] = []
        self.enough = anyio.Event()
        self._count = count

    def __call__(self, *done: Published) -> None:
        """Called in a thread."""
        self.rounds.append(len(done))
        self.months += [each.month for each in done]
        if len(self.months) == self._count:
            from_thread.run_sync(self.enough.set)


async def published_early(tree: Tree, groups: list[Group], count: int) -> list[int]:
    """The months that are published without a request, until so many were."""
    told = Told(count)
    work = PublishQueue(tree, dict(CATALOGUE), told, lambda: ANY_TIME)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work.run)
        for each in groups:
            work.add(each)
        await told.enough.wait()
        early = list(told.months)
        work.close()
    return early


def test_a_month_with_too_many_groups(disk: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is published before its time, and it alone: the others are still written once."""
    monkeypatch.setattr(publish_queue, "RAW_GROUPS", 2)
    groups = [group(disk, number, 0) for number in (1, 2)]
    groups += [group(disk, 3, 1, APRIL), group(disk, 4, APRIL)]
    assert anyio.run(published_early, disk, groups, 1) == [MONTH]


def test_more_groups_than_are_merged_at_once(disk: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their month is published in parts, and no group is left."""
    monkeypatch.setattr(raw_log, "MERGED_GROUPS", 2)
    told, merged = Told(3), []

    def count(*what: Any) -> Published:
        merged.append(len(what[3]))
        return real(*what)

    real = publish.publish
    monkeypatch.setattr(publish, "publish", count)
    work = PublishQueue(disk, dict(CATALOGUE), told, lambda: ANY_TIME)
    for number in range(5):
        work.add(group(disk, number, 0))
    work.close()
    anyio.run(work.run)
    assert merged == [2, 2, 1]
    assert raw_log.unpublished(disk, [0])[0] == []


def test_too_many_bytes(disk: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the cap everything is published, newest month first."""
    groups = [group(disk, number, 0, APRIL) for number in range(1, 4)]
    monkeypatch.setattr(publish_queue, "RAW_BYTES", sum(each.size for each in groups) - 1)
    assert anyio.run(published_early, disk, groups, 2) == [MONTH + 1, MONTH]


def test_a_month_is_published_once(disk: Tree) -> None:
    """However often it is asked for, and groups wait until all their months are."""
    told = Told(2)
    work = PublishQueue(disk, dict(CATALOGUE), told, lambda: ANY_TIME)
    for each in (group(disk, 1, 0, APRIL), group(disk, 2, 0)):
        work.add(each)
    march = Partition(DAILY.name, MONTH, 0)
    work.enqueue([march])
    work.enqueue([march])
    work.close()
    work.enqueue([march])
    anyio.run(work.run)
    assert told.months == [MONTH, MONTH + 1]
    assert told.rounds == [2]
    assert raw_log.unpublished(disk, [0])[0] == []


def test_no_file_is_written_for_an_idle_month(disk: Tree) -> None:
    """The group is deleted once the months that need it are published."""
    told = Told(1)
    work = PublishQueue(disk, dict(CATALOGUE), told, lambda: ANY_TIME)
    work.add(group(disk, 1, 0, APRIL), [(DAILY.name, MONTH)])
    work.enqueue([Partition(DAILY.name, MONTH, 0)])
    work.close()
    anyio.run(work.run)
    assert told.months == [MONTH + 1]
    assert raw_log.unpublished(disk, [0])[0] == []


def test_a_file_that_another_group_needs_gets_the_idle_one_too(disk: Tree) -> None:
    """Both accounts are in the file of March, although one group alone owes a day of it."""
    told = Told(2)
    work = PublishQueue(disk, dict(CATALOGUE), told, lambda: ANY_TIME)
    work.add(group(disk, 1, 0, APRIL), [(DAILY.name, MONTH)])
    work.add(group(disk, 2, 0))
    work.close()
    anyio.run(work.run)
    assert told.months == [MONTH + 1, MONTH]
    with partition_reader.opened(disk.store, disk.name(Partition(DAILY.name, MONTH, 0))) as file:
        assert file is not None
        assert file.footer.coverage.appids == (appid(1), appid(2))


def test_a_group_stands_until_its_publication_is_recorded(disk: Tree) -> None:
    """A run that is killed before it has recorded a file finds the file again by its groups."""
    groups = [group(disk, 1, 0, APRIL), group(disk, 2, 0)]
    standing: list[int] = []

    def record(*done: Published) -> None:
        for item in done:
            touching = [each for each in groups if (DAILY.name, item.month) in each.months]
            standing.append(len(raw_log.existing(disk, touching)) - len(touching))

    work = PublishQueue(disk, dict(CATALOGUE), record, lambda: ANY_TIME)
    for each in groups:
        work.add(each)
    work.close()
    anyio.run(work.run)
    assert standing == [0, 0]
    assert raw_log.existing(disk, groups) == []


def test_a_publication_that_fails_ends_the_queue_with_its_error(disk: Tree) -> None:
    """The run ends with the reason, and the groups wait for the next one."""
    groups = [group(disk, 1, 0)]

    def refuse(*_: Published) -> None:
        raise StoreError("the disk is full", "make room")

    work = PublishQueue(disk, dict(CATALOGUE), refuse, lambda: ANY_TIME)
    work.add(groups[0])
    work.close()
    with pytest.raises(StoreError, match="the disk is full"):
        anyio.run(work.run)
    assert raw_log.existing(disk, groups) == groups


def test_a_long_round_is_recorded_meanwhile(disk: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers wait a few seconds for what was published, however long the rest takes."""
    monkeypatch.setattr(publish_queue, "ROUND_SECONDS", 0.0005)
    told = Told(3)
    work = PublishQueue(disk, dict(CATALOGUE), told, lambda: ANY_TIME)
    work.add(group(disk, 1, 0, APRIL))
    work.close()
    anyio.run(work.run)
    assert told.rounds == [1, 1]


def test_what_was_published_before_an_error_is_recorded(
    disk: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files stand, although the next one cannot be written."""
    made, told = publish.publish, Told(2)

    def refuse(tree: Tree, dataset: Dataset, place: Partition, *rest: Any) -> Published:
        if place.month == MONTH:
            raise StoreError("the disk is full", "make room")
        return made(tree, dataset, place, *rest)

    monkeypatch.setattr(publish, "publish", refuse)
    work = PublishQueue(disk, dict(CATALOGUE), told, lambda: ANY_TIME)
    groups = [group(disk, 1, 0, APRIL)]
    work.add(groups[0])
    work.close()
    with pytest.raises(StoreError, match="the disk is full"):
        anyio.run(work.run)
    assert told.months == [MONTH + 1]
    assert raw_log.existing(disk, groups) == groups


async def test_threads_that_hang_keep_no_answer_from_being_written_and_published(
    disk: Tree,
) -> None:
    """All threads that are shared may wait for files of secrets, on a disk that is away."""
    hang, told, in_thread = threading.Event(), Told(1), partial[Any](to_thread.run_sync)
    window = Window(appid(1), DAILY.name, MARCH, MARCH)
    attempt = Attempt(AccountQueue(appid(1), 0, []), Backlog(DAILY, NO_DAYS), window, NO_DAYS)
    work = PublishQueue(disk, dict(CATALOGUE), told, lambda: ANY_TIME)

    def on_durable(durable: Group, _: object) -> None:
        work.add(durable)
        work.close()

    writer = RawWriter(disk, "run", on_durable, lambda: 0.0, BytesInHand().count)
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(in_thread, hang.wait)
        tasks.start_soon(writer.run)
        tasks.start_soon(work.run)
        await writer.append(attempt, answer(window, []))
        writer.close()
        with anyio.move_on_after(10) as patience:
            await told.enough.wait()
        hang.set()
    assert not patience.cancelled_caught
