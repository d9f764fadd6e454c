"""Queries and workbooks: sums of people, formulas out of foreign text, rows left out."""

from __future__ import annotations

from tests.sabotage.run import Sabotage

WORKBOOKS = "examples/excel/client_workbooks.py"
READERS = "examples/followers_and_readers.py"

OF_QUERIES = "tests/docs/test_people_sums.py::test_no_query_adds_up_people"
OF_WORKBOOKS = "tests/warehouses/test_excel.py"
OF_CELLS = f"{OF_WORKBOOKS}::test_a_cell_is_what_its_value_is"
OF_SHEETS = f"{OF_WORKBOOKS}::test_a_full_sheet_goes_on_in_another"
OF_CLIENTS = f"{OF_WORKBOOKS}::test_each_client_gets_a_workbook_of_its_accounts"

SABOTAGES = (
    Sabotage(
        "readers-added-up",
        READERS,
        "avg(source.user_count)",
        "sum(source.user_count) / 7",
        OF_QUERIES,
    ),
    Sabotage(
        "title-as-a-formula", WORKBOOKS, "write_string(*place, text", "write(*place, text", OF_CELLS
    ),
    Sabotage(
        "title-as-a-formula-once-edited",
        WORKBOOKS,
        "text.startswith(ACTIVE)",
        "text.startswith('@')",
        OF_CELLS,
    ),
    Sabotage(
        "rows-beyond-a-sheet-left-out", WORKBOOKS, "self.row == ROWS", "self.row > ROWS", OF_SHEETS
    ),
    Sabotage("accounts-of-other-clients", WORKBOOKS, '"客户" = ?', '"客户" >= ?', OF_CLIENTS),
)
