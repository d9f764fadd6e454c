"""Field ids: each column has one, which is given once."""

from __future__ import annotations

import json

import pytest

from harvester.catalogue.field_ids import field_ids
from harvester.verbs.lakehouse.tables import lake_tables
from tests.support.doc_pages import ROOT
from tests.support.field_ids import ids_in

GIVEN: dict[str, dict[str, int]] = json.loads((ROOT / "tests/data/field_ids.json").read_text())
"""All ids that were ever given. Those of new columns are appended, and none is taken away."""


@pytest.mark.parametrize("table", lake_tables())
def test_an_id_keeps_its_name(table: str) -> None:
    """Or engines would read one column of an Iceberg table as another one."""
    assert {*GIVEN[table].items()} <= {*field_ids(table).items()}


@pytest.mark.parametrize("table", lake_tables())
def test_each_column_has_an_id_of_its_own(table: str) -> None:
    """And so has each member of one; the number of a column that went away stays given."""
    known = field_ids(table)
    assert {*ids_in(lake_tables()[table].schema)} <= {*known}
    assert len({*known.values()}) == len(known)
    new = {path: number for path, number in known.items() if path not in GIVEN[table]}
    assert min(new.values(), default=1000) > max(GIVEN[table].values()), "not the next number"
    assert not new, "append them to tests/data/field_ids.json too"
