"""Exports with a database as the catalog, and with catalogs that fall silent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from harvester.catalogue import CATALOGUE, field_ids
from harvester.core.calendar import Day
from harvester.core.config.settings import Output
from harvester.core.dataset import Column, Kind
from harvester.core.errors import StoreAway
from harvester.core.exit_codes import Exit
from harvester.sandbox.data import Row
from harvester.storage.backends.local import LocalStore
from harvester.storage.layout import Tree
from harvester.verbs.lakehouse.export import Format
from harvester.verbs.lakehouse.formats import Lake, Lakehouse, within
from harvester.verbs.rewrite import rewrite_tree
from tests.lakehouse.catalog_tables import LakePlace
from tests.lakehouse.duck import REQUIRED
from tests.lakehouse.exports import DAILY, Lakeside
from tests.storage.test_upgrade import new_books
from tests.support.postgres_server import new_database, postgres_server, program
from tests.support.rest_catalog import TOKEN, rest_catalog
from tests.support.silent_proxy import silent_proxy

NEWER = replace(
    CATALOGUE[DAILY],
    columns=(*CATALOGUE[DAILY].columns, Column("tomorrow", Kind.COUNT, "new", required=False)),
)
SERVED = ("iceberg", "ducklake")
"""Formats whose catalog may be a server."""

APRIL = "2026-04-01"


class Growing(Lakeside):
    """An output to which WeChat sends a count that this catalogue does not have."""

    def _source(self, dataset: str, account: str, day: Day) -> list[Row]:
        rows = super()._source(dataset, account, day)
        return [{**row, "tomorrow": day} for row in rows] if dataset == DAILY else rows


@pytest.fixture
def growing(tmp_path: Path) -> Growing:
    """Such an output after a first run."""
    made = Growing(tmp_path)
    made.harness.run()
    return made


@pytest.fixture(scope="session")
def server() -> Iterator[int]:
    """The port of a server of Postgres."""
    if not program("initdb"):
        why = "no server of Postgres is installed, see .ci/full"
        pytest.fail(why) if REQUIRED else pytest.skip(why)
    with postgres_server() as port:
        yield port


@pytest.fixture
def database(server: int) -> str:
    """The name of an empty database there."""
    return new_database(server)


@pytest.fixture
def _installed(request: pytest.FixtureRequest) -> None:
    """Skip DuckLake without DuckDB's extensions."""
    if request.getfixturevalue("to") == "ducklake":
        request.getfixturevalue("extensions")


def address(to: Format, port: int, database: str) -> str:
    """Return the catalog of a format in a database of Postgres."""
    if to == "iceberg":
        return f"postgresql://harvester@127.0.0.1:{port}/{database}"
    return f"postgres:host=127.0.0.1 port={port} user=harvester dbname={database}"


@pytest.mark.long
@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize("to", SERVED)
@pytest.mark.parametrize("where", ["disk", "objects"])
def test_a_catalog_in_postgres(
    to: Format,
    where: str,
    growing: Growing,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A day is replaced, a newer catalogue adds a column, an account is deleted for good."""
    place: Path | str = growing.place
    if where == "objects":
        place = in_objects(request.getfixturevalue("s3_output"), monkeypatch)
    catalog = address(to, *map(request.getfixturevalue, ("server", "database")))
    live(LakePlace(to, place, catalog), growing, monkeypatch)


@pytest.mark.long
@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize("to", ["delta", *SERVED])
def test_a_catalog_beside_the_tables(
    to: Format, growing: Growing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same life."""
    live(LakePlace(to, growing.place), growing, monkeypatch)


@pytest.mark.long
def test_delta_tables_in_objects(
    growing: Growing, s3_output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same life without a catalog."""
    live(LakePlace("delta", in_objects(s3_output, monkeypatch)), growing, monkeypatch)


def in_objects(output: Output, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a place in an object store, which the environment names to all libraries."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", str(output.endpoint))
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    return f"{output.path}/lake"


def live(lake: LakePlace, side: Growing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Export through a life; each version stays what it was until an expiry removes it."""
    first, before = lake.table(side.output).version, side.rows()
    assert lake.rows() == before
    side.replace_rows(APRIL)
    second, then = lake.table(side.output).version, side.rows()
    assert lake.rows() == then != before
    grow(side, monkeypatch)
    newest = lake.table(side.output)
    assert newest.added == newest.removed == 4
    assert lake.rows() == side.rows()
    assert all(row["tomorrow"] for row in lake.rows())
    assert (lake.rows(first), lake.rows(second)) == (before, then)
    assert not lake.table(side.output).added
    gone = side.forget_last()
    assert lake.table(side.output).holding
    assert not lake.table(side.output, expire=True).holding
    assert lake.rows() == side.rows()
    assert gone not in {row["appid"] for row in lake.rows()}


def grow(side: Growing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go on with a newer catalogue in a rewritten output, in which its column has values."""
    monkeypatch.setitem(CATALOGUE, DAILY, NEWER)
    ids = field_ids.field_ids(DAILY)
    monkeypatch.setitem(field_ids._all(), DAILY, {**ids, "tomorrow": max(ids.values()) + 1})
    monkeypatch.setattr("harvester.storage.footer.SCHEMA_VERSION", 2)
    old, root = side.harness.tree, side.output.parent / "newer"
    new = Tree(LocalStore(root), old.buckets)
    rewrite_tree(old, new, CATALOGUE, old=new_books(), new=new_books())
    side.harness.root = root


# Catalogs that accept a connection and stay silent.


@pytest.mark.parametrize(
    ("catalog", "named"),
    [
        (None, "(file)"),
        ("postgres:dbname=lake password=pass-word", "(postgres)"),
        ("postgres:dbname=lake host=db.example.com password=pass-word", "at db.example.com"),
        ("postgres:postgresql://me:pass-word@db.example.com/lake", "at db.example.com"),
        ("https://me:pass-word@example.com:8181/lake?token=pass@word", "at example.com"),
        ("https://catalog.example.com", "at catalog.example.com"),
    ],
)
def test_of_a_catalog_the_host_is_told(tmp_path: Path, catalog: str | None, named: str) -> None:
    """Or its kind, and nothing else, because that may be a password."""

    class Tables(Lakehouse):
        check = state = commit = holding = expire = None  # type: ignore[assignment]

    lake = Lake(LocalStore(tmp_path), tmp_path, [], catalog, None, "wechat", lambda: 0.0)
    released = Event()
    with pytest.raises(StoreAway) as failed:
        within(0.01, Tables(lake)._who, released.wait)
    released.set()
    told = f"{tmp_path}: the catalog {named} has not answered for 0.01 seconds"
    assert failed.value.problem == told
    assert failed.value.exit_code == Exit.AGAIN
    assert failed.value.advice.startswith("run again")


def test_what_a_call_raises_and_returns_is_its_own() -> None:
    """Within the limit."""
    assert within(60, "", divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        within(60, "", divmod, 7, 0)
    with pytest.raises(TimeoutError, match="of its own"):
        within(60, "", partial(next, raising()))


def raising() -> Iterator[None]:
    """Raise the error of a library that limits the call too."""
    raise TimeoutError("of its own")
    yield


@contextmanager
def impatient(to: Format, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give a catalog a second in the block."""
    with monkeypatch.context() as patch:
        for name in ("CALL_LIMIT", "_WORK_LIMIT"):
            patch.setattr(f"harvester.verbs.lakehouse.{to}.{name}", 1.0, raising=False)
        yield


def silenced(
    lake: LakePlace, side: Lakeside, port: int, messages: int, monkeypatch: pytest.MonkeyPatch
) -> bool:
    """Export while the server at a port answers some messages; return whether that was enough."""
    with silent_proxy(port, messages) as proxy:
        assert lake.catalog is not None
        through = lake._replace(catalog=lake.catalog.replace(str(port), str(proxy.port)))
        told = ""
        try:
            with impatient(lake.to, monkeypatch):
                through.export(side.output)
        except StoreAway as away:
            told = str(away.problem)
        expected = f"{lake.place}: the catalog at 127.0.0.1 has not answered for 1 seconds"
        # A second may be too little for what was answered, too.
        assert told == (expected if proxy.is_silent else told and expected)
        return not told


@pytest.mark.long
def test_a_rest_catalog_falls_silent(
    lakeside: Lakeside, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """At any of its calls: 75, and the next export brings the table up to date."""
    config = {"catalog": {"harvester": {"token": TOKEN}}}
    monkeypatch.setattr("pyiceberg.catalog._ENV_CONFIG.config", config)
    with (
        closing(SqlCatalog("harvester", uri=f"sqlite:///{tmp_path}/catalog.db")) as catalog,
        rest_catalog(catalog) as url,
    ):
        lake = LakePlace("iceberg", lakeside.place, url)
        port = int(url.rpartition(":")[2])
        for day in ("2026-03-30", APRIL):
            messages = 0
            while not silenced(lake, lakeside, port, messages, monkeypatch):
                messages += 1
            assert messages > 2
            reader = lake._replace(catalog=f"sqlite:///{tmp_path}/catalog.db")
            assert reader.rows() == lakeside.rows()
            lakeside.replace_rows(day)


@pytest.mark.slow
@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize("to", SERVED)
def test_postgres_falls_silent(
    to: Format, server: int, database: str, lakeside: Lakeside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its first message, or later in the export."""
    lake = LakePlace(to, lakeside.place, address(to, server, database))
    for day in ("2026-03-30", APRIL):
        messages = 0
        while not silenced(lake, lakeside, server, messages, monkeypatch):
            messages = messages * 2 + 1
        assert messages > 2
        assert lake.rows() == lakeside.rows()
        lakeside.replace_rows(day)
