"""Tables of a lakehouse: rows lost or doubled, deletions hidden, versions that lose their files."""

from __future__ import annotations

from tests.sabotage.run import Sabotage

ROOM = "harvester/verbs/lakehouse"
COPIES = f"{ROOM}/copies.py"
DELTA = f"{ROOM}/delta.py"
NEWS = f"{ROOM}/news.py"
PLAN = f"{ROOM}/plan.py"
EXPORT = f"{ROOM}/export.py"

OF_DELTA = "tests/lakehouse/test_delta.py"
OF_TABLE = "tests/lakehouse/test_table_export.py"
OF_IDS = "tests/lakehouse/test_field_ids.py"
OF_DELETION = f"{OF_DELTA}::test_rows_that_were_deleted_for_good_are_named_until_they_are_gone"

SABOTAGES = (
    Sabotage(
        "cursor-without-its-files",
        DELTA,
        "for copy in swap.added:",
        "for copy in swap.added[1:]:",
        f"{OF_DELTA}::test_each_table_has_the_rows_of_its_files",
    ),
    Sabotage(
        "log-over-that-of-another-writer",
        DELTA,
        "os.link(temp, final)",
        "os.replace(temp, final)",
        f"{OF_DELTA}::test_another_writer_that_is_faster_wins",
    ),
    Sabotage(
        "race-unnoticed-while-columns-are-added",
        DELTA,
        "version += 1",
        "version = self._opened(table).version()",
        f"{OF_TABLE}::test_a_race_is_lost_where_columns_are_added_too",
    ),
    Sabotage(
        "compacted-rows-twice",
        PLAN,
        "return month in self.months if source is None else source in self.sources",
        "return source in self.sources",
        f"{OF_DELTA}::test_a_month_that_was_compacted_is_replaced_as_a_whole",
    ),
    Sabotage(
        "compacted-rows-of-a-month-that-is-gone",
        PLAN,
        "compacted.intersection(map(month_of, changed))",
        "compacted.intersection(map(month_of, touched))",
        f"{OF_TABLE}::test_a_month_that_is_gone_leaves_a_compacted_table",
    ),
    Sabotage(
        "snapshot-of-two-publish-rounds",
        EXPORT,
        "again=True",
        "again=False",
        f"{OF_TABLE}::test_no_table_mixes_what_was_published_at_two_times",
    ),
    Sabotage(
        "commit-of-what-was-not-copied-again",
        EXPORT,
        "raise LostRace(f",
        "str(f",
        f"{OF_TABLE}::test_runs_without_end_lose_no_row",
    ),
    Sabotage(
        "deletion-that-is-not-told",
        NEWS,
        "and entry.rows_before > 0",
        "and entry.rows_before < 0",
        OF_DELETION,
    ),
    Sabotage(
        "deletion-without-rows-that-is-not-told",
        EXPORT,
        "if table == CODES or table not in TABLES:",
        "if table:",
        f"{OF_TABLE}::test_an_account_without_a_row_is_deleted_for_good",
    ),
    Sabotage(
        "deletion-in-a-label-that-is-not-told",
        EXPORT,
        '(table, "labels") if table == RUN_ROWS',
        '(table, "run_id") if table == RUN_ROWS',
        f"{OF_TABLE}::test_an_account_in_the_label_of_a_run_is_deleted_for_good",
    ),
    Sabotage(
        "deletion-in-a-gap-that-is-not-told",
        NEWS,
        "erases = entries is None or any(",
        "erases = any(",
        f"{OF_TABLE}::test_where_the_history_has_a_gap_a_deletion_may_be_in_it",
    ),
    Sabotage(
        "version-without-its-copies",
        COPIES,
        "else note.kept | note.added",
        "else note.kept",
        f"{OF_TABLE}::test_what_a_version_since_then_may_need_stays",
    ),
    Sabotage(
        "copies-of-a-killed-export-stay",
        COPIES,
        "self._listed() - noted - {*files}",
        "self._listed() - noted - {*files} - self._listed()",
        f"{OF_TABLE}::test_the_copies_of_a_killed_export_are_removed",
    ),
    Sabotage(
        "commit-without-the-lease",
        EXPORT,
        "TableExport(source, held, ",
        "TableExport(source, target, ",
        f"{OF_TABLE}::test_nothing_is_committed_once_the_lease_has_ended",
    ),
    Sabotage(
        "expiry-of-what-another-writer-is-about-to-commit",
        f"{ROOM}/iceberg.py",
        "if has_erased or name in before or source_of(name):",
        "if name:",
        "tests/lakehouse/test_iceberg.py"
        "::test_an_expiry_keeps_what_another_writer_is_about_to_commit",
    ),
    Sabotage(
        "log-that-names-who-is-forgotten",
        DELTA,
        "if version < found.version()]",
        "if version < 0]",
        OF_DELETION,
    ),
    Sabotage(
        "files-that-were-removed-in-the-future",
        DELTA,
        "(*self._unused(table), *log)",
        "log",
        "tests/lakehouse/test_delta.py::test_an_expiry_removes_what_a_clock_that_was_ahead_removed",
    ),
    Sabotage(
        "ids-by-place",
        f"{ROOM}/iceberg.py",
        "staged.metadata.model_copy(update=ids)",
        "staged.metadata",
        f"{OF_IDS}::test_ids_are_not_those_of_places",
    ),
    Sabotage(
        "column-with-the-next-id",
        f"{ROOM}/iceberg.py",
        "    if has_own_ids:",
        "    if True:",
        f"{OF_IDS}::test_files_of_both_kinds_and_a_column_in_the_middle",
    ),
    Sabotage(
        "ids-in-a-table-that-has-others",
        COPIES,
        "if self.without_ids else there",
        "if False else there",
        f"{OF_IDS}::test_copies_in_a_table_with_other_ids_have_none",
    ),
    Sabotage(
        "ids-that-are-not-compared",
        f"{ROOM}/iceberg.py",
        "columns.name_mapping)) <= known:",
        "columns.name_mapping)):",
        f"{OF_IDS}::test_a_table_with_other_ids_than_its_files_is_not_committed",
    ),
)
