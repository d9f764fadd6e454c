"""An output of an older schema version: refused by runs, brought up by `rewrite`, never moved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import month_of
from harvester.core.dataset import Column, Dataset, Kind
from harvester.core.errors import LeaseLost, OtherVersion, UsageError
from harvester.core.hold import Hold
from harvester.core.model import Partition, Window
from harvester.runs.record.record import Record
from harvester.runs.run_log import RunLog
from harvester.runs.stream import Stream
from harvester.storage import integrity_check, layout, partition_reader, raw_log
from harvester.storage.layout import Tree
from harvester.storage.publish import publish
from harvester.storage.state import rewrite_journal
from harvester.tables.columns import arrow_schema
from harvester.tables.integrity import FileIdentity
from harvester.tables.row_groups import NewRows, Provenance, to_record_batch
from harvester.tables.schema_upgrade import upgraded
from harvester.verbs.rewrite import NewTree, rewrite_tree
from tests.support.answers import DAILY, LONG_AFTER, MARCH, answer, appid, decode, row
from tests.support.output_helpers import ANY_TIME, path_of, rows_of, tree_at

HERE = Partition(DAILY.name, month_of(MARCH), 0)
NEWER = replace(
    DAILY, columns=(*DAILY.columns, Column("new_count", Kind.COUNT, "what is new", required=False))
)
SENT: dict[int, dict[str, Any]] = {
    0: {"new_count": 5},
    1: {"new_count": "x"},
    2: {"new_count": 7, "other": [1]},
    3: {},
}


@pytest.fixture
def old(tmp_path: Path) -> Tree:
    """A month of version 1, with undeclared members."""
    tree = tree_at(tmp_path / "old")
    window = Window(appid(1), DAILY.name, MARCH, MARCH + 9)
    rows = [row(MARCH + day, number=day, **more) for day, more in SENT.items()]
    group = raw_log.write_group(tree, 0, "run", [answer(window, rows)])
    publish(tree, DAILY, HERE, [group], ANY_TIME)
    raw_log.delete(tree, group)
    return tree


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on harvester is a newer one."""
    monkeypatch.setattr("harvester.storage.footer.SCHEMA_VERSION", 2)


def new_books() -> RunLog:
    """The list of the changes that are made to a tree."""
    return RunLog(Stream(Record.begun(Path("jobs.yaml"), LONG_AFTER), lambda: LONG_AFTER))


def test_a_run_is_refused_with_advice_and_nothing_is_moved(
    old: Tree, request: pytest.FixtureRequest
) -> None:
    """The footer of the month is neither read as nothing nor mixed with new columns."""
    request.getfixturevalue("newer")
    found = layout.partitions(old, DAILY.name).values()
    with pytest.raises(OtherVersion, match="older schema version") as caught:
        list(partition_reader.footers(old.store, found))
    assert "harvester rewrite" in caught.value.advice
    place = FileIdentity(NEWER, HERE.month, 0, 1)
    looked = integrity_check.check_file(path_of(old, HERE), old.name(HERE), place, read_data=True)
    assert looked.remedy == caught.value.advice


def test_rewrite_fills_new_columns_from_what_was_kept(
    old: Tree, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A value that fits moves out of _extra; one that does not stays; all else is as it was."""
    before = rows_of(old, HERE)
    request.getfixturevalue("newer")
    new = tree_at(tmp_path / "new", 1)
    made = rewrite_tree(old, new, {DAILY.name: NEWER}, old=new_books(), new=new_books())
    assert made == NewTree(new.store.display_path(), 1, files=1, rows=4)
    after = rows_of(new, HERE)
    assert after.schema.equals(arrow_schema(NEWER))
    assert after.column("new_count").to_pylist() == [5, None, 7, None]
    assert after.column("_extra").to_pylist() == [None, '{"new_count":"x"}', '{"other":[1]}', None]
    same = [name for name in before.schema.names if name != "_extra"]
    assert after.select(same).equals(before.select(same))
    place = FileIdentity(NEWER, HERE.month, 0, 1)
    looked = integrity_check.check_file(path_of(new, HERE), new.name(HERE), place, read_data=True)
    assert looked.defects == []


def test_a_rewrite_that_lost_its_lease_is_not_finished(old: Tree, tmp_path: Path) -> None:
    """Another run may have worked in one of the trees meanwhile, so it is to be repeated."""
    new = replace(tree_at(tmp_path / "new", 1), hold=Hold(lambda: False))
    with pytest.raises(LeaseLost):
        rewrite_tree(old, new, {DAILY.name: DAILY}, old=new_books(), new=new_books())
    with pytest.raises(UsageError, match="is not finished"):
        rewrite_journal.refuse_unfinished(new)


NESTED = CATALOGUE["article_share"]


def brought_up(dataset: Dataset, element: str, *columns: Column) -> dict[str, Any]:
    """The row of an answer, written before these columns were known."""
    body = f'{{"list":[{{"ref_date":"2024-03-01",{element}}}],"is_delay":false}}'
    decoded = decode(dataset, Window(appid(1), dataset.name, MARCH, MARCH), body.encode())
    assert not decoded.quarantined
    news = [
        NewRows(appid(1), day, rows, Provenance(1, "run")) for day, rows in decoded.days.items()
    ]
    newer = replace(dataset, columns=(*dataset.columns, *columns))
    [found] = upgraded(to_record_batch(arrow_schema(dataset), news), newer).to_pylist()
    return dict(found)


def new_column(name: str, *, inner: bool = False) -> Column:
    """A count that is only known now."""
    return Column(name, Kind.COUNT, "what is new", nested=inner, required=False)


@pytest.mark.parametrize(
    ("element", "value", "extra"),
    [
        ('"detail":{"share_user":3,"new":9}', 9, None),
        ('"detail":{"new":9,"b":1},"a":2', 9, '{"a":2,"detail":{"b":1}}'),
        ('"detail":{"share_user":3,"new":9},"new":5', 9, '{"new":5}'),
        ('"detail":{"share_user":3},"new":5', None, '{"new":5}'),
        ('"detail":{"new":-9},"a":2', None, '{"a":2,"detail":{"new":-9}}'),
        ('"detail":{"share_user":3}', None, None),
    ],
)
def test_an_inner_column_is_filled_from_inside(
    element: str, value: int | None, extra: str | None
) -> None:
    """And never by a member of the same name beside the nested one."""
    found = brought_up(NESTED, f'"msgid":"1_1",{element}', new_column("new", inner=True))
    assert (found["new"], found["_extra"]) == (value, extra)


def test_an_own_column_is_not_filled_from_inside() -> None:
    """The other way round."""
    element = '"msgid":"1_1","detail":{"new":9}'
    found = brought_up(NESTED, element, new_column("new"))
    assert (found["new"], found["_extra"]) == (None, '{"detail":{"new":9}}')
    found = brought_up(NESTED, element + ',"new":5', new_column("new"))
    assert (found["new"], found["_extra"]) == (5, '{"detail":{"new":9}}')


def test_what_stays_is_kept_as_it_was() -> None:
    """Readable where UTF-8 can spell it, escaped where it cannot: half a character stays one."""
    plain = ",".join(f'"{column.name}":1' for column in DAILY.columns[1:])
    element = rf'{plain},"new":7,"odd":"\ud800\u6570"'
    found = brought_up(DAILY, element, new_column("new"))
    assert (found["new"], found["_extra"]) == (7, r'{"odd":"\ud800\u6570"}')
    found = brought_up(DAILY, element.replace(r"\ud800", ""), new_column("new"))
    assert (found["new"], found["_extra"]) == (7, '{"odd":"数"}')
