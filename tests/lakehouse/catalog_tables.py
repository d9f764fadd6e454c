"""Tables of any format, in any catalog and at any place, as the libraries of readers see them."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import deltalake
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog

from harvester.verbs.lakehouse import export as exporting
from harvester.verbs.lakehouse.export import Exported, ExportedTable, Format, export
from harvester.verbs.lakehouse.tables import lake_tables
from harvester.verbs.sql.duckdb_stores import reach_store
from tests.lakehouse.duck import connected
from tests.lakehouse.exports import DAILY, in_order


class LakePlace(NamedTuple):
    """A place of tables of a format, with the catalog that an export is given."""

    to: Format
    place: Path | str
    catalog: str | None = None

    def export(self, output: Path, **options: Any) -> Exported:
        """Export the daily table alone, once."""
        daily = {DAILY: lake_tables()[DAILY]}
        named = {"catalog": self.catalog} if self.catalog else {}
        with patch.object(exporting, "lake_tables", lambda: daily):
            return export(self.place, to=self.to, output=output, **{**named, **options})

    def table(self, output: Path, **options: Any) -> ExportedTable:
        """Export the daily table alone, once; return what became of it."""
        (done,) = self.export(output, **options).tables
        return done

    def rows(self, version: str | None = None) -> list[dict[str, Any]]:
        """Return the rows of a version, the newest one without another, without the month."""
        found: pa.Table = getattr(self, f"_{self.to}")(version)
        months = [name for name in found.column_names if name == "ref_month"]
        return in_order(found.drop_columns(months))

    def _delta(self, version: str | None) -> pa.Table:
        at = None if version is None else int(version)
        return deltalake.DeltaTable(f"{self.place}/{DAILY}", version=at).to_pyarrow_table()

    def _iceberg(self, version: str | None) -> pa.Table:
        uri = self.catalog or f"sqlite:///{self.place}/catalog.db"
        uri = uri.replace("postgresql:", "postgresql+psycopg2:")
        given = {"s3.endpoint": os.environ.get("AWS_ENDPOINT_URL", ""), "s3.region": "us-east-1"}
        with closing(SqlCatalog("harvester", uri=uri, **given)) as catalog:
            table = catalog.load_table(f"wechat.{DAILY}")
            return table.scan(snapshot_id=None if version is None else int(version)).to_arrow()

    def _ducklake(self, version: str | None) -> pa.Table:
        at = "" if version is None else f"at (version => {version})"
        address = self.catalog or f"{self.place}/catalog.ducklake"
        with connected() as con:
            if not isinstance(self.place, Path):
                reach_store(con, self.place, "")
            con.execute(f"attach 'ducklake:{address}' as lake")
            return con.sql(f"from lake.wechat.{DAILY} {at}").to_arrow_table()
