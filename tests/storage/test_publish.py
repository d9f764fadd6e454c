from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import (
    date_of,
    day_of,
    day_range,
    instant,
    month_of,
    one_day,
    today,
)
from harvester.core.dataset import Dataset
from harvester.core.errors import StoreError
from harvester.core.model import Partition, RawAnswer, Window, bucket_of
from harvester.core.readiness import settled_before
from harvester.core.secret import Secret
from harvester.storage import coverage_scan, publish, quarantine, raw_log
from harvester.storage import footer as file_footer
from harvester.storage.account_scan import Scan, States
from harvester.storage.backends.base import read_bytes
from harvester.storage.layout import RAW, Tree
from harvester.storage.publication import Published
from harvester.storage.publish import recover
from harvester.storage.raw_log import Group, write_group
from harvester.tables.coverage import OLD_DAYS, AccountDays, AskTimes
from harvester.tables.evidence import Evidence
from harvester.tables.merge import OLD_AGE
from tests.support.answers import (
    DAILY,
    HOURLY,
    LONG_AFTER,
    MARCH,
    answer,
    appid,
    of_day,
    row,
    times,
)
from tests.support.output_helpers import ANY_TIME, coverage_of, footer_of, rows_of, tree_at
from tests.support.store_backends import Outputs, all_names

MONTH = month_of(MARCH)
HERE = Partition(DAILY.name, MONTH, 0)


def put(
    tree: Tree, groups: Iterable[Group], dataset: Dataset = DAILY, month: int = MONTH
) -> Published:
    """Publish a month of bucket 0."""
    return publish.publish(
        tree,
        dataset,
        Partition(dataset.name, month, 0),
        list(groups),
        ANY_TIME,
    )


def read(tree: Tree, dataset: Dataset = DAILY, month: int = MONTH) -> list[dict[str, Any]]:
    """The rows of a month as they stand in the file."""
    partition = Partition(dataset.name, month, 0)
    found: list[dict[str, Any]] = rows_of(tree, partition).to_pylist()
    return found


def known(tree: Tree, dataset: Dataset = DAILY, month: int = MONTH) -> dict[str, AccountDays]:
    """Return the coverage of each account in the file."""
    found = coverage_of(tree, Partition(dataset.name, month, 0))
    return {name: found.account(name) for name in found.appids}


def days_of(first: int, last: int, account: int = 1) -> Window:
    """Days of the month, counted from 0."""
    return Window(appid(account), DAILY.name, MARCH + first, MARCH + last)


def test_a_month_of_hours(tree: Tree) -> None:
    """Answers of many accounts and days become one sorted file with full coverage."""
    answers = [
        of_day(MARCH + day, day + 1, account) for day in range(30, -1, -1) for account in (2, 1)
    ]
    groups = [write_group(tree, 0, f"run-{i}", answers[i::3]) for i in range(3)]
    done = put(tree, groups, HOURLY)
    rows = read(tree, HOURLY)
    keys = [(each["appid"], each["ref_date"], each["ref_hour"]) for each in rows]
    assert keys == sorted(set(keys))
    assert len(rows) == 2 * 31 * 24
    assert {each["callback_count"] for each in rows} == set(range(1, 32))
    assert {each["_run_id"] for each in rows} == {"run-0", "run-1", "run-2"}
    assert {int(each["_fetched_at"].timestamp()) for each in rows} == {LONG_AFTER}
    full = AccountDays(final=2**31 - 1, with_rows=2**31 - 1)
    assert known(tree, HOURLY) == {appid(1): full, appid(2): full}
    assert done == Published(
        dataset=HOURLY.name,
        month=MONTH,
        path="interface_summary_hour/ref_month=2024-03/part-0000-of-0001.parquet",
        days=day_range(MARCH, MARCH + 30),
        appids={appid(1), appid(2)},
        rows_before=0,
        rows_after=2 * 31 * 24,
        changed_days=day_range(MARCH, MARCH + 30),
        changed_appids={appid(1), appid(2)},
    )
    assert done.ref_month == "2024-03"


def test_a_window_over_two_months(tree: Tree) -> None:
    """Each month takes its own days of a window, those in quarantine too."""
    window = days_of(20, 49)
    rows = [row(MARCH + day, number=day) for day in range(19, 50)]
    group = write_group(tree, 0, "run", [answer(window, rows[1:])])
    march, april = put(tree, [group]), put(tree, [group], month=MONTH + 1)
    assert [each["callback_count"] for each in read(tree)] == list(range(20, 31))
    assert [each["callback_count"] for each in read(tree, month=MONTH + 1)] == list(range(31, 50))
    assert (march.days.bit_count(), april.days.bit_count()) == (11, 19)
    every = (1 << 30) - 1
    stray = write_group(tree, 0, "run", [answer(window, rows)._replace(refetch=every)])
    march, april = put(tree, [stray]), put(tree, [stray], month=MONTH + 1)
    assert (len(march.quarantined), len(april.quarantined)) == (11, 19)


def test_publishing_twice_changes_nothing(tree: Tree) -> None:
    """A group that is in already leaves the file as it is, byte by byte, and is named again."""
    group = write_group(tree, 0, "run", [answer(days_of(0, 1), [row(MARCH)])])
    first = put(tree, [group])
    before = read_bytes(tree.store, tree.name(HERE))
    again = put(tree, [group])
    assert read_bytes(tree.store, tree.name(HERE)) == before
    assert (again.rows_before, again.rows_after) == (1, 1)
    assert (again.days, again.appids) == (first.days, first.appids)


def test_an_old_group_does_not_undo_a_refetch(tree: Tree) -> None:
    """A refetched day stays as the newest refetch left it when an older group comes again."""
    older, newer = (
        write_group(tree, 0, "run", [answer(days_of(0, 0), [row(MARCH, number=n)], at, refetch=-1)])
        for n, at in ((1, LONG_AFTER), (2, LONG_AFTER + 60))
    )
    put(tree, [older])
    put(tree, [newer])
    put(tree, [older, newer])
    put(tree, [older])
    assert [each["callback_count"] for each in read(tree)] == [2]


def test_only_groups_that_exist_are_remembered(tree: Tree) -> None:
    """The footer names merged groups only while a run could publish them again."""
    groups = []
    for account in range(4):
        groups.append(write_group(tree, 0, "run", [answer(days_of(0, 0, account), [row(MARCH)])]))
        put(tree, groups[-1:])
        if account != 1:
            raw_log.delete(tree, groups[-1])
    footer = footer_of(tree, HERE)
    assert footer is not None
    assert list(footer.groups) == [groups[1].id, groups[3].id]
    assert len(read(tree)) == 4


def test_a_month_without_rows_is_published(tree: Tree) -> None:
    """A month of empty answers is a file without rows and with full coverage."""
    put(tree, [write_group(tree, 0, "run", [answer(days_of(0, 29), [])])])
    assert read(tree) == []
    asked = {OLD_DAYS: AskTimes(LONG_AFTER, LONG_AFTER)}
    assert known(tree) == {appid(1): AccountDays(provisional=2**30 - 1, asked=asked)}


def scan_at(tree: Tree, now: float) -> Scan:
    """Return the state of the month at a moment."""
    want = {DAILY.name: {appid(1): day_range(MARCH, MARCH + 29)}}
    return coverage_scan.read(tree, want, now, {DAILY.name: DAILY})


def test_an_old_stretch_rests_on_five_of_its_days(tree: Tree) -> None:
    """Before the first row and behind it; one that is asked again opens no other."""
    rows = [row(MARCH + day) for day in (*range(10, 15), *range(25, 30))]
    put(tree, [write_group(tree, 0, "run", [answer(days_of(0, 29), rows)])])
    before, behind = (day_range(MARCH + day, MARCH + day + 9) for day in (0, 15))
    states = scan_at(tree, LONG_AFTER + 60).states[DAILY.name][appid(1)]
    assert states.no_ask_today & (before | behind) == states.provisional == before | behind
    again = scan_at(tree, LONG_AFTER + 86_400)
    states = again.states[DAILY.name][appid(1)]
    five = (0, 2, 4, 6, 9)
    due = sum(one_day(MARCH + begin + place) for begin in (0, 15) for place in five)
    assert (before | behind) & ~states.no_ask_today == due
    # One of the stretches is empty again, and the other is not asked.
    empty = [answer(days_of(place, place), [], LONG_AFTER + 86_400) for place in five]
    trusted = ANY_TIME._replace(evidence=again.evidence)
    publish.publish(tree, DAILY, HERE, [write_group(tree, 0, "again", empty)], trusted)
    states = scan_at(tree, LONG_AFTER + 86_400).states[DAILY.name][appid(1)]
    assert states.stretch == before & ~due
    assert states.provisional == behind


def test_rows_of_a_later_day_settle_no_empty_one(tree: Tree) -> None:
    """Two answers of different Beijing days do, the second at the last age."""
    whole = {appid(1): day_range(MARCH, MARCH + 1)}
    place = Partition(HOURLY.name, MONTH, 0)
    for age, is_final in ((0, False), (27, False), (28, True)):
        at = int(instant(MARCH + 10 + age))
        asked = [answer(Window(appid(1), HOURLY.name, MARCH, MARCH), [], at)]
        asked.append(of_day(MARCH + 1)._replace(asked_at=at))
        evidence = {HOURLY.name: Evidence(HOURLY, at, {}, whole)}
        group = write_group(tree, 0, "run", asked)
        publish.publish(tree, HOURLY, place, [group], ANY_TIME._replace(evidence=evidence))
        [days] = known(tree, HOURLY).values()
        assert (days.final, days.provisional) == ((3, 0) if is_final else (2, 1))
        assert days.with_rows == 2


def test_reasons_are_safe_to_print(tree: Tree) -> None:
    """No reason repeats a secret or a control character, be it of a run or of a file."""
    secret = Secret("canary0123456789abcdef").reveal()
    trusted = ANY_TIME._replace(untrusted={appid(1): f"the value {secret} \x1b[2J"})
    group = write_group(tree, 0, "run", [answer(days_of(0, 0), [row(MARCH)], LONG_AFTER)])
    [day] = publish.publish(tree, DAILY, HERE, [group], trusted).quarantined
    assert day.reason == r"the value *** \x1b[2J"
    states = {DAILY.name: {appid(1): States(quarantined=one_day(MARCH))}}
    assert [*coverage_scan.quarantined_days(tree, states)] == [day]


def test_quarantine_and_healing(tree: Tree) -> None:
    """A bad day keeps its raw answer and its old rows until a good answer comes."""
    at = int(instant(MARCH + 2))
    put(tree, [write_group(tree, 0, "a", [answer(days_of(0, 0), [row(MARCH, number=5)], at)])])
    bad = answer(days_of(0, 1), [row(MARCH, number=-1), row(MARCH + 1)], LONG_AFTER)
    done = put(tree, [write_group(tree, 0, "b", [bad])])
    reason = "callback_count: a negative count"
    assert done.quarantined == [(appid(1), DAILY.name, date_of(MARCH), reason)]
    [kept] = quarantine.entries(tree, DAILY.name)
    assert (kept.appid, kept.day, kept.reason) == (appid(1), date_of(MARCH), reason)
    assert (kept.run_id, kept.body.encode()) == ("b", bad.body)
    assert [each["callback_count"] for each in read(tree)] == [5, 1]
    assert known(tree)[appid(1)].quarantined == 1
    good = answer(days_of(0, 0), [row(MARCH, number=7)], LONG_AFTER + 60, refetch=-1)
    put(tree, [write_group(tree, 0, "c", [good])])
    assert [each["callback_count"] for each in read(tree)] == [7, 1]
    assert known(tree)[appid(1)] == AccountDays(final=0b11, with_rows=0b11, count_1=0b11)
    assert quarantine.quarantined_days(tree, DAILY.name) == {}


def test_evidence_that_a_kill_left_is_removed_by_the_next_run(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the rename and the removal: the group is in already when it comes again."""
    bad = answer(days_of(0, 1), [row(MARCH, number=-1), row(MARCH + 1, number=-1)])
    put(tree, [write_group(tree, 0, "a", [bad])])
    raw_log.delete(tree, raw_log.unpublished(tree, [0])[0][0])
    good = answer(days_of(0, 0), [row(MARCH)], LONG_AFTER + 60, refetch=True)
    group = write_group(tree, 0, "b", [good])

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(quarantine, "forget", die)
        with pytest.raises(KeyboardInterrupt):
            put(tree, [group])
    assert known(tree)[appid(1)].quarantined == 0b10
    recover(tree, CATALOGUE, [0], print, now=lambda: math.inf)
    assert quarantine.quarantined_days(tree, DAILY.name) == {appid(1): [MARCH + 1]}


def test_schema_drift_and_dropped_rows_are_reported(tree: Tree) -> None:
    """Unknown and missing members are named, and unknown ones are kept in the file."""
    rows = [row(MARCH, new=1), row(MARCH + 1, fail_count=None)]
    done = put(tree, [write_group(tree, 0, "run", [answer(days_of(0, 1), rows)])])
    assert done.unknown == {"new"}
    assert done.missing == {"fail_count"}
    assert [each["_extra"] for each in read(tree)] == ['{"new":1}', None]


def test_a_damaged_group_costs_calls_not_data(tree: Tree) -> None:
    """A group damaged in the middle is quarantined, and its days are not covered."""
    long = [of_day(MARCH + day, 1, account) for account in range(1, 9) for day in range(30)]
    bad = write_group(tree, 0, "bad", [*long, answer(days_of(0, 0), [row(MARCH)])])
    good = write_group(tree, 0, "good", [of_day(MARCH, 2, account) for account in (20, 21)])
    raw = bytearray(bad.path.read_bytes())
    for place in range(len(raw) * 2 // 3, len(raw) * 2 // 3 + 8):
        raw[place] ^= 0xFF
    bad.path.write_bytes(raw)
    done = put(tree, [bad, good], HOURLY)
    assert done.damaged == [f"_harvester/quarantine/groups/bad.{bad.path.name}"]
    covered = {name: each.final.bit_count() * 24 for name, each in known(tree, HOURLY).items()}
    rows = read(tree, HOURLY)
    assert covered == {
        name: sum(each["appid"] == name for each in rows) for name in {r["appid"] for r in rows}
    }
    assert {appid(20), appid(21)} < covered.keys()
    assert put(tree, [bad], DAILY).damaged == []
    raw_log.delete(tree, bad)


def test_recovering(tree: Tree) -> None:
    """Groups of dead runs are published into every month they touch, then deleted."""
    for run in ("a", "b"):
        answers = [of_day(MARCH + day, 1, ord(run)) for day in (0, 40)]
        write_group(tree, 0, run, [*answers, answer(days_of(0, 9, ord(run)), [row(MARCH)])])
    put(tree, raw_log.unpublished(tree, [0])[0], HOURLY)
    found: list[Published] = []
    assert recover(tree, CATALOGUE, [0], found.append, now=lambda: math.inf) == []
    assert [(done.dataset, done.ref_month, done.rows_after) for done in found] == [
        (HOURLY.name, "2024-04", 48),
        (DAILY.name, "2024-03", 2),
        (HOURLY.name, "2024-03", 48),
    ]
    assert all_names(tree, RAW) == []
    assert recover(tree, CATALOGUE, [0], found.append, now=lambda: math.inf) == []
    assert len(found) == 3


def test_more_groups_than_are_merged_at_once_are_recovered_in_parts(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has all rows in the end, and each answer counts once."""
    monkeypatch.setattr(publish, "MERGED_GROUPS", 2)
    for number in range(5):
        write_group(tree, 0, "run", [of_day(MARCH + number)])
    found: list[Published] = []
    assert recover(tree, CATALOGUE, [0], found.append, now=lambda: math.inf) == []
    assert [done.rows_after for done in found] == [48, 96, 120]
    assert all_names(tree, RAW) == []


def test_recovered_groups_stand_until_every_publication_is_recorded(tree: Tree) -> None:
    """A run that is killed while it recovers leaves them to the next one."""
    write_group(tree, 0, "dead", [of_day(MARCH + day, 1) for day in (0, 40)])
    standing: list[int] = []
    recover(
        tree,
        CATALOGUE,
        [0],
        lambda _: standing.append(len(all_names(tree, RAW))),
        now=lambda: math.inf,
    )
    assert standing == [1, 1]
    assert all_names(tree, RAW) == []


def test_recovering_an_unknown_dataset_is_refused(tree: Tree) -> None:
    """Answers of a dataset this version does not know are kept, and the error says so."""
    window = Window(appid(1), "of_tomorrow", MARCH, MARCH)
    group = write_group(tree, 0, "run", [answer(window, [])])
    with pytest.raises(StoreError, match="of_tomorrow"):
        recover(tree, CATALOGUE, [0], print, now=lambda: math.inf)
    assert raw_log.existing(tree, [group]) == [group]


def test_recovering_damage(tree: Tree) -> None:
    """A group that cannot be opened at all is named by recovery."""
    path = write_group(tree, 0, "run", [of_day(MARCH)]).path
    path.write_bytes(b"nonsense")
    assert recover(tree, CATALOGUE, [0], print, now=lambda: math.inf) == [
        f"_harvester/quarantine/groups/run.{path.name}"
    ]


def test_each_bucket_has_its_own_file(outputs: Outputs) -> None:
    """Each bucket has its own groups and files; recovery leaves other buckets alone."""
    tree = outputs(2)
    accounts = range(1, 9)
    for bucket in (0, 1):
        mine = [of_day(MARCH, 1, n) for n in accounts if bucket_of(appid(n), 2) == bucket]
        write_group(tree, bucket, "run", mine)
    found: list[Published] = []
    recover(tree, CATALOGUE, [1], found.append, now=lambda: math.inf)
    assert [done.path[-25:] for done in found] == ["part-0001-of-0002.parquet"]
    assert len(raw_log.unpublished(tree, [0, 1])[0]) == 1


def test_a_failure_before_the_rename_is_repeated(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publish that failed is whole after the next recovery."""
    group = write_group(tree, 0, "run", [answer(days_of(0, 1), [row(MARCH), row(MARCH + 1)])])

    def refuse(path: Path, length: int) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(file_footer, "digest", refuse)
        with pytest.raises(StoreError, match="No space left"):
            put(tree, [group])
    assert read_bytes(tree.store, tree.name(HERE)) is None
    assert not list(tree.store.scratch.glob("*.tmp"))
    recover(tree, CATALOGUE, [0], print, now=lambda: math.inf)
    assert len(read(tree)) == 2


# A brute-force model: what a month must look like after any history of publishes.


@dataclass
class Cell:
    """One account's day: the number in its row, and its state.

    ``stored`` is the number that the file had before the publish.
    """

    number: int | None = None
    stored: int | None = None
    final: bool = False
    asked: AskTimes | None = None
    bad: bool = False
    old: bool = False
    again: bool = False
    late: bool = False


Model = dict[tuple[str, int], Cell]


def learn(
    model: Model, old: dict[str, int], each: RawAnswer, numbers: dict[int, int | None]
) -> None:
    """Let an answer count, day by day; a number of None is one that cannot be read.

    ``old`` has the first time of the old days that were asked once, which they have together.
    """
    name, at = each.window.appid, each.asked_at
    for day in range(max(each.window.begin, MARCH), min(each.window.end, MARCH + 30) + 1):
        cell = model.get((name, day), Cell())
        if cell.final and not each.refetch >> (day - each.window.begin) & 1:
            continue
        if cell.asked is not None and cell.asked.last > at:
            continue
        model[name, day] = cell
        cell.bad = day in numbers and numbers[day] is None
        if cell.bad:
            continue
        is_empty = day not in numbers
        is_known = cell.final or cell.old or cell.asked is not None
        # Nothing in these publishes settles an empty day, so late rows come to open ones.
        is_late = is_known and cell.number is None and not is_empty
        is_open = is_late or (cell.late and cell.asked is not None and not is_ripe(cell.asked, at))
        if not is_empty:
            cell.number = numbers[day]
        is_settled = day < settled_before(DAILY, at) and not (is_empty or is_open)
        asked = AskTimes(old[name], old[name]) if cell.old and is_late else cell.asked
        asked = asked or AskTimes(at, at)
        cell.late |= is_late
        cell.again |= is_late and cell.old
        cell.final = is_settled or (is_empty and cell.final)
        cell.old = is_empty and (cell.old or (not is_known and day < today(at) - OLD_AGE))
        times = AskTimes(min(asked.first, at), at, asked.rests_on or at)
        cell.asked = None if cell.final or cell.old else times
    if any(cell.old for (other, _), cell in model.items() if other == name):
        old.setdefault(name, at)
    else:
        old.pop(name, None)


def is_ripe(asked: AskTimes, at: int) -> bool:
    """Return whether the ages of late rows are over, or those of an empty day and of its rows."""
    on, refresh = today(at), DAILY.refresh
    is_over = on - today(asked.first) >= refresh.last + refresh.rows[-1]
    return is_over or on - today(asked.rests_on) >= refresh.rows[-1]


def store(model: Model) -> None:
    """End a publish: what differs from the file before rests on its last answer."""
    for cell in model.values():
        if cell.number != cell.stored and cell.asked is not None:
            cell.asked = cell.asked._replace(rests_on=cell.asked.last)
        cell.stored = cell.number


@st.composite
def told(draw: st.DrawFn) -> tuple[RawAnswer, dict[int, int | None]]:
    """An answer, and what it says by day."""
    begin = MARCH + draw(st.integers(-4, 30))
    end = begin + draw(st.integers(0, 29))
    window = Window(appid(draw(st.integers(1, 4))), DAILY.name, begin, end)
    days = st.integers(max(begin, MARCH - 4), min(end, MARCH + 33))
    values = st.one_of(st.integers(0, 10**6), st.none())
    numbers = draw(st.dictionaries(days, values, max_size=6)) if end >= MARCH - 4 else {}
    rows = [row(day, number=-1 if number is None else number) for day, number in numbers.items()]
    at = int(instant(MARCH + draw(st.integers(1, 40)))) + draw(st.integers(0, 1000))
    return answer(window, rows, at, refetch=draw(st.integers(-1, 2**30 - 1))), numbers


HISTORIES = st.lists(st.lists(st.lists(told(), min_size=1, max_size=5), max_size=3), max_size=4)


@pytest.mark.long
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(HISTORIES)
def test_any_history_equals_the_model(
    tmp_path: Path, history: list[list[list[tuple[RawAnswer, dict[int, int | None]]]]]
) -> None:
    """After any publishes, repeats and recoveries, rows and coverage are those of the model."""
    tree = tree_at(tmp_path / "output")
    shutil.rmtree(tmp_path / "output", ignore_errors=True)
    model: Model = {}
    old: dict[str, int] = {}
    groups: list[Group] = []
    for number, batch in enumerate(history):
        new = [write_group(tree, 0, f"run-{number}", [each for each, _ in part]) for part in batch]
        stamped = [
            # Of one second the newest days come first, as in a publish.
            (each.asked_at, group.fetched_at, -each.window.begin, place, each, numbers)
            for place, (group, part) in enumerate(zip(new, batch, strict=True))
            for each, numbers in sorted(part, key=lambda item: raw_log._group_order(item[0]))
        ]
        for *_, each, numbers in sorted(stamped, key=lambda item: item[:4]):
            learn(model, old, each, numbers)
        store(model)
        groups += new
        put(tree, groups)
    recover(tree, CATALOGUE, [0], print, now=lambda: math.inf)
    if not model:
        return
    expected = [
        (*key, cell.number) for key, cell in sorted(model.items()) if cell.number is not None
    ]
    got = [(each["appid"], day_of(each["ref_date"]), each["callback_count"]) for each in read(tree)]
    assert got == expected
    in_file = known(tree)
    assert {name: x.asked.pop(OLD_DAYS).first for name, x in in_file.items() if x.once} == old
    assert in_file == in_masks(model)
    bad = {(name, day) for (name, day), cell in model.items() if cell.bad}
    kept = quarantine.quarantined_days(tree, DAILY.name)
    assert bad <= {(name, day) for name, days in kept.items() for day in days}
    assert {
        (name, day) for name, days in kept.items() for day in days if MARCH <= day < MARCH + 31
    } == bad


def in_masks(model: Model) -> dict[str, AccountDays]:
    """The model as coverage."""
    found: dict[str, AccountDays] = {}
    for (name, day), cell in model.items():
        account = found.setdefault(name, AccountDays())
        bit = 1 << (day - MARCH)
        account.final |= bit if cell.final else 0
        account.with_rows |= bit if cell.number is not None else 0
        account.quarantined |= bit if cell.bad else 0
        account.again |= bit if cell.again else 0
        account.late |= bit if cell.late else 0
        account.count_1 |= bit if cell.number else 0
        account.provisional |= bit if cell.old else 0
        if cell.asked is not None:
            account.provisional |= bit
            account.asked[day - MARCH] = cell.asked
    return found


# Times that a wrong clock has told.

NOW = int(instant(MARCH + 2, 12 * 60))


def put_at(tree: Tree, asked_at: int, number: int, now: int = NOW) -> Published:
    """Publish an answer with the rows of the 1st, at ``now``."""
    window = Window(appid(1), DAILY.name, MARCH, MARCH + 1)
    sent = answer(window, [row(MARCH, number=number)], asked_at)
    groups = [write_group(tree, 0, "run", [sent])]
    return publish.publish(tree, DAILY, HERE, groups, publish.TrustedTimes(lambda: now))


def test_a_time_to_come_refuses_no_answer(tree: Tree) -> None:
    """A clock a day ahead has written when the empty 2nd was asked for."""
    put_at(tree, NOW + 86_400, 1, now=NOW + 2 * 86_400)
    asked = coverage_of(tree, HERE).account(appid(1)).asked
    assert asked == dict.fromkeys((0, 1), times(NOW + 86_400))
    window = Window(appid(1), DAILY.name, MARCH + 1, MARCH + 1)
    sent = answer(window, [row(MARCH + 1, number=7)], NOW)
    done = publish.publish(
        tree, DAILY, HERE, [write_group(tree, 0, "run", [sent])], publish.TrustedTimes(lambda: NOW)
    )
    assert done.rows_after == 2
    assert rows_of(tree, HERE)["callback_count"].to_pylist() == [1, 7]


@pytest.mark.parametrize(("behind", "final"), [(0, 0b11), (86_400, 0b01), (172_800, 0)])
def test_days_settle_by_the_earlier_clock_of_the_run_that_asked(
    tree: Tree, behind: int, final: int
) -> None:
    """A later run publishes the group by the same clocks, and keeps the times of asking."""
    window = Window(appid(1), DAILY.name, MARCH, MARCH + 1)
    now = NOW + 3 * 86_400
    sent = answer(window, [row(MARCH), row(MARCH + 1)], now)
    group = write_group(tree, 0, "run", [sent], behind)
    assert group.behind == behind
    assert recover(tree, CATALOGUE, [0], print, now=lambda: now) == []
    days = coverage_of(tree, HERE).account(appid(1))
    assert (days.final, days.provisional) == (final, 0b11 & ~final)
    assert set(days.asked.values()) <= {times(now)}
    stamps = rows_of(tree, HERE)["_fetched_at"].to_pylist()
    assert {stamp.timestamp() for stamp in stamps} == {now}


def test_an_earlier_answer_is_still_refused(tree: Tree) -> None:
    """If the time of the one that is there has passed, it is known."""
    assert put_at(tree, NOW - 60, 1).rows_after == 1
    window = Window(appid(1), DAILY.name, MARCH + 1, MARCH + 1)
    sent = answer(window, [row(MARCH + 1, number=7)], NOW - 120)
    done = publish.publish(
        tree, DAILY, HERE, [write_group(tree, 0, "run", [sent])], publish.TrustedTimes(lambda: NOW)
    )
    assert done.rows_after == 1


@pytest.mark.parametrize("later", [1, 5 * 86_400, 300 * 86_400])
def test_an_answer_of_a_time_to_come_settles_nothing(tree: Tree, later: int) -> None:
    """A killed run with a clock ahead left it: its days are asked for again, its rows are there."""
    window = Window(appid(1), DAILY.name, MARCH, MARCH + 1)
    sent = answer(window, [row(MARCH)], NOW + later)
    write_group(tree, 0, "run", [sent])
    assert recover(tree, CATALOGUE, [0], print, now=lambda: NOW) == []
    days = coverage_of(tree, HERE).account(appid(1))
    assert (days.final, days.provisional, days.with_rows) == (0, 0b11, 0b01)
    assert days.asked == {0: AskTimes(0, 0), 1: AskTimes(0, 0)}
    [stamp] = rows_of(tree, HERE)["_fetched_at"].to_pylist()
    assert stamp.timestamp() == NOW


def test_answers_of_an_untrusted_account_go_to_quarantine(tree: Tree) -> None:
    """With the reason, and the rows of other accounts are published."""
    sent = [
        answer(Window(appid(account), DAILY.name, MARCH, MARCH), [row(MARCH)], NOW)
        for account in (1, 2)
    ]
    trusted = publish.TrustedTimes(lambda: NOW, untrusted={appid(1): "not its own"})
    done = publish.publish(tree, DAILY, HERE, [write_group(tree, 0, "run", sent)], trusted)
    assert [(day.appid, day.reason) for day in done.quarantined] == [(appid(1), "not its own")]
    assert rows_of(tree, HERE)["appid"].to_pylist() == [appid(2)]
