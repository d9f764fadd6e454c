"""Field ids of Iceberg tables: those of the files, also where the table was made before them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from harvester.catalogue import CATALOGUE, field_ids
from harvester.core.dataset import Column, Kind
from harvester.core.errors import UsageError
from harvester.tables.columns import arrow_schema, with_field_ids
from harvester.verbs.lakehouse import iceberg
from tests.lakehouse.duck import REQUIRED
from tests.lakehouse.exports import DAILY, Lakeside, in_order
from tests.support.field_ids import ids_in, write_no_ids
from tests.support.format_shapes import footer_keys
from tests.support.rest_catalog import TOKEN, rest_catalog

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TABLES = (*CATALOGUE, "accounts", "coverage", "codes", "runs")
APRIL = "2026-04-01"


@pytest.fixture(scope="module")
def harvested(tmp_path_factory: pytest.TempPathFactory) -> Lakeside:
    """An output of all datasets with its tables."""
    made = Lakeside(tmp_path_factory.mktemp("wide"))
    made.harness.datasets = (*CATALOGUE,)
    made.harness.begin, made.harness.accounts = "2026-02-28", 3
    made.harness.run()
    made.export("iceberg")
    return made


@pytest.fixture
def before_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lakeside:
    """An output of a build that knew no field ids."""
    made = Lakeside(tmp_path)
    with monkeypatch.context() as earlier:
        write_no_ids(earlier)
        made.harness.run()
    return made


@contextmanager
def opened(side: Lakeside, name: str = DAILY) -> Iterator[Table]:
    """Provide a table as its library reads it."""
    with closing(SqlCatalog("harvester", uri=f"sqlite:///{side.place}/catalog.db")) as catalog:
        yield catalog.load_table(f"wechat.{name}")


def ids_of(side: Lakeside, name: str = DAILY) -> dict[str, int]:
    """Return the ids of the columns of a table by path."""
    with opened(side, name) as table:
        schema = table.schema()
        return {str(schema.find_column_name(each)): each for each in schema.field_ids}


def rows(side: Lakeside, name: str = DAILY) -> list[dict[str, Any]]:
    """Return the rows of a table."""
    with opened(side, name) as table:
        return in_order(table.scan().to_arrow())


def ids_of_files(folder: Path) -> list[dict[str, int | None]]:
    """Return the different ids of the columns in the files of a folder."""
    found = {str(ids := ids_in(pq.read_schema(path))): ids for path in folder.rglob("*.parquet")}
    return [*found.values()]


def with_other_ids(table: str) -> dict[str, int]:
    """Return other ids than those of the files."""
    return {path: number + 1 for path, number in field_ids.field_ids(table).items()}


def test_a_table_has_the_ids_of_its_files(harvested: Lakeside) -> None:
    """Of each dataset and of each table beside them; members of columns have theirs too."""
    for name in TABLES:
        known = field_ids.field_ids(name)
        assert ids_of_files(harvested.output / name) == [known]
        assert ids_of_files(harvested.place / name) == [known]
        assert ids_of(harvested, name) == known
        assert rows(harvested, name) == harvested.rows(name)


@pytest.mark.parametrize("is_rest", [False, True])
def test_ids_are_not_those_of_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_rest: bool
) -> None:
    """As pyiceberg, and the server of a REST catalog, would give them to a new table."""
    given = {**field_ids.field_ids(DAILY), "appid": 9, "_extra": 1, "_run_id": 12}
    monkeypatch.setitem(field_ids._all(), DAILY, given)
    side = Lakeside(tmp_path)
    side.harness.run()
    side.place.mkdir()
    monkeypatch.setattr(
        "pyiceberg.catalog._ENV_CONFIG.config", {"catalog": {"harvester": {"token": TOKEN}}}
    )
    uri = f"sqlite:///{side.place}/catalog.db"
    with closing(SqlCatalog("harvester", uri=uri)) as catalog, rest_catalog(catalog) as address:
        side.export("iceberg", catalog=address if is_rest else None)
    assert ids_of(side) == given
    assert rows(side) == side.rows()


def put_tomorrow(side: Lakeside, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Replace a file by one of a later catalogue, which has a new column in the middle."""
    before = {path: path.read_bytes() for path in (side.output / DAILY).rglob("*.parquet")}
    accounts, side.harness.accounts = side.harness.accounts, 1
    side.replace_rows(APRIL)
    side.harness.accounts = accounts
    [path] = [path for path, data in before.items() if path.read_bytes() != data]
    first, *others = CATALOGUE[DAILY].columns
    columns = (first, Column("tomorrow", Kind.COUNT, "what is new", required=False), *others)
    monkeypatch.setitem(CATALOGUE, DAILY, replace(CATALOGUE[DAILY], columns=columns))
    known = {**field_ids.field_ids(DAILY), "tomorrow": number}
    monkeypatch.setitem(field_ids._all(), DAILY, known)
    table = pq.ParquetFile(path).read()
    table = table.add_column(2, "tomorrow", pa.array(range(len(table)), pa.int64()))
    schema = with_field_ids(arrow_schema(CATALOGUE[DAILY]), known)
    pq.write_table(table.cast(schema).replace_schema_metadata(footer_keys(path)), path)


def check_tomorrow(side: Lakeside) -> None:
    """Compare the rows of a table with those of files, in which the column may be missing."""
    files = sorted((side.output / DAILY).rglob("*.parquet"))
    tables = [pq.ParquetFile(path).read() for path in files]
    found = [dict(sorted(row.items())) for row in rows(side)]
    known = pa.concat_tables(tables, promote_options="default").to_pylist()
    assert in_any_order(found) == in_any_order(dict(sorted(row.items())) for row in known)
    assert {row["tomorrow"] for row in found} > {None, 1}


def in_any_order(found: Iterable[dict[str, Any]]) -> list[str]:
    """Return rows as texts."""
    return sorted(map(repr, found))


@pytest.mark.parametrize("number", [10, 12])
def test_files_of_both_kinds_and_a_column_in_the_middle(
    before_ids: Lakeside, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The table is from before the ids, and the column has the number of the catalogue."""
    before_ids.export("iceberg")
    known = ids_of(before_ids)
    assert known == field_ids.field_ids(DAILY)
    assert ids_of_files(before_ids.place / DAILY) == [dict.fromkeys(known)]
    before_ids.replace_rows("2026-03-31")
    before_ids.export("iceberg")
    assert len(ids_of_files(before_ids.place / DAILY)) == 2
    assert rows(before_ids) == before_ids.rows()
    put_tomorrow(before_ids, monkeypatch, number)
    before_ids.export("iceberg")
    assert ids_of(before_ids) == {**known, "tomorrow": number}
    assert len(ids_of_files(before_ids.place / DAILY)) == 3
    check_tomorrow(before_ids)


def test_copies_in_a_table_with_other_ids_have_none(
    before_ids: Lakeside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier build has added columns to it at its end: files are read by their names."""
    with monkeypatch.context() as earlier:
        earlier.setattr(iceberg, "field_ids", with_other_ids)
        before_ids.export("iceberg")
    known = ids_of(before_ids)
    assert known == with_other_ids(DAILY)
    before_ids.replace_rows("2026-03-31")
    put_tomorrow(before_ids, monkeypatch, 10)
    before_ids.export("iceberg")
    assert ids_of(before_ids) == {**known, "tomorrow": 11}
    assert not [each for each in ids_of_files(before_ids.place / DAILY) if any(each.values())]
    check_tomorrow(before_ids)
    assert not before_ids.table(to="iceberg").added


def test_a_table_with_other_ids_than_its_files_is_not_committed(
    lakeside: Lakeside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither made nor changed: engines would read one column as another one."""
    monkeypatch.setattr(iceberg, "field_ids", with_other_ids)
    with pytest.raises(UsageError, match="has other field ids than ref_month="):
        lakeside.export("iceberg")
    with closing(SqlCatalog("harvester", uri=f"sqlite:///{lakeside.place}/catalog.db")) as catalog:
        assert catalog.list_tables("wechat") == []


def test_chosen_rows_have_the_ids_too(lakeside: Lakeside) -> None:
    """They are written anew."""
    lakeside.export("iceberg", accounts=[lakeside.harness.appids[0]])
    assert ids_of_files(lakeside.place / DAILY) == [field_ids.field_ids(DAILY)]


def test_daft(harvested: Lakeside) -> None:
    """It refuses files without ids."""
    daft = import_module("daft") if REQUIRED else pytest.importorskip("daft")
    for name in TABLES:
        with opened(harvested, name) as table:
            found = daft.read_iceberg(table).to_arrow()
            assert in_order(found.cast(table.schema().as_arrow())) == harvested.rows(name)


def test_spark_finds_columns_by_ids(harvested: Lakeside, spark: SparkSession) -> None:
    """Whatever their names are; its reader of Iceberg is not on the package index."""
    spark.conf.set("spark.sql.parquet.fieldId.read.enabled", "true")
    for name in TABLES:
        with opened(harvested, name) as table:
            schema = table.schema()
        names = [field.name for field in schema.fields]
        there = spark.read.parquet(*copies(harvested, name)).schema
        given = json.loads(there.json())
        for field in given["fields"]:
            number = schema.find_field(field["name"]).field_id
            field |= {"name": f"of {number}", "metadata": {"parquet.field.id": number}}
        read = spark.read.schema(there.fromJson(given)).parquet(*copies(harvested, name))
        found = read.toArrow().rename_columns(names).cast(schema.as_arrow())
        assert in_order(found) == harvested.rows(name)
    spark.conf.unset("spark.sql.parquet.fieldId.read.enabled")


def copies(side: Lakeside, name: str) -> list[str]:
    """Return the paths of the files of a table."""
    return [str(side.place / name / copy) for copy in side.copies(name)]
