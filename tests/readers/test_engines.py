"""DuckDB's views and Polars' frames of an output, and what is said where they are missing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pytest

import harvester
from harvester.catalogue import CATALOGUE
from harvester.readers import engines
from harvester.readers.output_place import OutputPlace
from tests.readers.test_output import in_order, rows_in_files
from tests.support.harvested_output import DATASETS, Lab
from tests.support.run_harness import DAILY
from tests.support.store_backends import CREDENTIALS

KEY = CREDENTIALS["AWS_SECRET_ACCESS_KEY"]


def test_a_new_connection_has_a_view_for_each_dataset(on_disk: Lab) -> None:
    """The schema is the default one, so that a dataset's name is enough."""
    con = on_disk.output.duckdb()
    assert con.sql("select current_schema()").fetchall() == [("wechat",)]
    views = con.sql("select schema_name, view_name from duckdb_views() where not internal")
    found = {name for schema, name in views.fetchall() if schema == "wechat"}
    assert found >= {*CATALOGUE, "accounts", "runs", "followers_daily", "关注日报"}
    for name in CATALOGUE:
        rows = con.sql(f"select * from {name}")
        if name not in DATASETS:
            assert not rows.fetchall()
            continue
        expected = rows_in_files(on_disk.folder, name)
        columns = expected.schema.names
        assert set(columns) < set(rows.columns)
        assert con.sql(f"select {', '.join(columns)} from {name} order by all").fetchall() == (
            in_order(expected)
        )
    kind = con.sql(f"select distinct typeof(ref_month), typeof(ref_date) from {DAILY}").fetchall()
    assert kind == [("VARCHAR", "DATE")]


def test_a_given_connection_keeps_its_default_schema(
    on_disk: Lab, duck: duckdb.DuckDBPyConnection
) -> None:
    """The schema may have any name, and the views are replaced at a second call."""
    for _ in range(2):
        assert on_disk.output.duckdb(duck, schema='brand "A"') is duck
    assert duck.sql("select current_schema()").fetchall() == [("main",)]
    [(count,)] = duck.sql(f'select count(*) from "brand ""A""".{DAILY}').fetchall()
    assert count == len(rows_in_files(on_disk.folder, DAILY))


@pytest.mark.parametrize("package", ["duckdb", "polars"])
def test_a_missing_package_is_named(
    on_disk: Lab, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    """Both are optional, and everything else works without them."""
    monkeypatch.setitem(sys.modules, package, None)
    calls: dict[str, Callable[[], object]] = {
        "duckdb": on_disk.output.duckdb,
        "polars": lambda: on_disk.output.polars(DAILY),
    }
    with pytest.raises(harvester.HarvesterError, match=f"^{package} is not installed\n") as caught:
        calls[package]()
    assert caught.value.advice == f"pip install {package}"
    assert on_disk.output.arrow(DAILY).count_rows() > 0


def test_a_missing_extension_is_named(
    on_objects: Lab, s3_keys: None, duck: duckdb.DuckDBPyConnection
) -> None:
    """Without a network DuckDB cannot read an object store; the error says what can."""
    if can_load(duck):
        pytest.skip("httpfs is installed here")
    with pytest.raises(harvester.HarvesterError, match="extension httpfs") as caught:
        on_objects.output.duckdb(duck)
    assert "install httpfs" in caught.value.advice
    assert ".arrow()" in caught.value.advice
    assert KEY not in repr(caught.value)


def test_views_of_an_object_store(
    on_objects: Lab, s3_keys: None, duck: duckdb.DuckDBPyConnection
) -> None:
    """The views have the rows of the objects, if httpfs is installed here."""
    if not can_load(duck):
        pytest.skip("httpfs is not installed here")
    con = on_objects.output.duckdb(duck)
    for name in DATASETS:
        expected = rows_in_files(on_objects.folder, name)
        columns = ", ".join(expected.schema.names)
        found = con.sql(f"select {columns} from wechat.{name} order by all").fetchall()
        assert found == in_order(expected)


def can_load(con: duckdb.DuckDBPyConnection) -> bool:
    """Return whether httpfs is installed on this machine."""
    try:
        con.execute("load httpfs")
    except duckdb.Error:
        return False
    return True


@dataclass
class Recorder:
    """A connection that records its statements; ``secrets`` of it match any place."""

    secrets: int = 0
    refused: str = "nothing"
    statements: list[str] = field(default_factory=list)

    def execute(self, statement: str, parameters: object = None) -> Recorder:
        """Record a statement, or refuse it."""
        del parameters
        self.statements.append(statement)
        if statement.startswith(self.refused):
            raise duckdb.Error(f"Parser Error: {statement}")
        return self

    def fetchone(self) -> tuple[Any, ...]:
        """Return the answer to the last question."""
        return (self.secrets,) if "which_secret" in self.statements[-1] else (True,)


def statements_for(recorder: Recorder, place: OutputPlace) -> list[str]:
    """Return the statements that let a connection reach a place."""
    engines.duckdb_connection(place, recorder, "wechat")  # type: ignore[arg-type]
    return recorder.statements


def test_the_secret_is_of_the_place_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options win over the environment; the key is sent to this bucket and to no other."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "environment")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "it's")
    options = {"aws_access_key_id": "option", "SECRET_ACCESS_KEY": KEY, "region": "eu-1"}
    place = OutputPlace("s3://bucket/some/place", "http://127.0.0.1:9000", options)
    statements = statements_for(Recorder(), place)
    [secret] = [each for each in statements if each.startswith("create or replace temporary")]
    members = secret.partition("(")[2].removesuffix(")").split(", ")
    assert members[0] == "type s3"
    assert set(members[1:]) == {
        "key_id 'option'",
        f"secret '{KEY}'",
        "session_token 'it''s'",
        "region 'eu-1'",
        "endpoint '127.0.0.1:9000'",
        "url_style 'path'",
        "use_ssl 'false'",
        "scope 's3://bucket/some/place'",
    }


def test_without_a_key_the_machine_has_the_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """A role of the machine, or a profile, is found by DuckDB itself."""
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    statements = statements_for(Recorder(), OutputPlace("s3://bucket/x"))
    [secret] = [each for each in statements if "secret" in each and "create" in each]
    assert "provider 'credential_chain'" in secret


def test_a_secret_of_the_connection_is_kept() -> None:
    """A connection that already reaches the place is not given another key."""
    statements = statements_for(Recorder(secrets=1), OutputPlace("s3://bucket/x"))
    assert not any("create or replace temporary" in each for each in statements)
    for uri in ("gs://bucket/x", "az://bucket/x"):
        assert "which_secret" in statements_for(Recorder(secrets=1), OutputPlace(uri))[-1]


@pytest.mark.parametrize(("uri", "kind"), [("gs://bucket/x", "gcs"), ("az://bucket/x", "azure")])
def test_other_stores_need_a_secret_of_the_connection(uri: str, kind: str) -> None:
    """DuckDB cannot use the credentials that runs use there."""
    with pytest.raises(harvester.HarvesterError, match="cannot use the credentials") as caught:
        statements_for(Recorder(), OutputPlace(uri))
    assert f"secret of type {kind}" in caught.value.advice


def test_a_refused_secret_is_not_quoted() -> None:
    """DuckDB's errors repeat the statement."""
    place = OutputPlace(
        "s3://bucket/x", None, {"aws_access_key_id": "key", "secret_access_key": KEY}
    )
    with pytest.raises(harvester.HarvesterError) as caught:
        statements_for(Recorder(refused="create or replace temporary"), place)
    assert KEY not in f"{caught.value!r} {caught.value.advice} {caught.value.__cause__}"
    assert caught.value.__suppress_context__


def test_an_extension_is_installed_only_if_the_connection_may() -> None:
    """`autoinstall_known_extensions` of the connection decides."""

    class Forbidding(Recorder):
        def fetchone(self) -> tuple[Any, ...]:
            return (False,)

    for recorder, tried in ((Recorder(refused="load"), True), (Forbidding(refused="load"), False)):
        with pytest.raises(harvester.HarvesterError, match="extension httpfs"):
            statements_for(recorder, OutputPlace("s3://bucket/x"))
        assert ("install httpfs" in recorder.statements) is tried


def test_polars_gets_the_address_and_the_options() -> None:
    """As the run reaches the store, whatever its kind."""
    place = OutputPlace(
        "gs://bucket/x", "http://127.0.0.1:9000", {"google_service_account": "file"}
    )
    assert engines._polars_options(place) == {
        "google_service_account": "file",
        "google_base_url": "http://127.0.0.1:9000",
        "allow_http": "true",
    }
