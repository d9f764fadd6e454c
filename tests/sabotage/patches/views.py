"""The views of `harvester sql`: names that act, rows not chosen, and days that may change."""

from __future__ import annotations

from tests.sabotage.run import Sabotage

DEFINITIONS = "harvester/verbs/sql/definitions.py"
DIALECTS = "harvester/verbs/sql/dialects.py"
SCRIPT = "harvester/verbs/sql/script.py"

OF_SQL = "tests/verbs/test_sql.py"
OF_NAMES = f"{OF_SQL}::test_no_name_and_no_path_acts"
OF_MONTH = "tests/verbs/test_reports.py::test_the_reports_of_a_month_in_duckdb"

SABOTAGES = (
    Sabotage(
        "text-in-a-view-acts", DIALECTS, "'{_doubled(value, self.doubled)}'", "'{value}'", OF_NAMES
    ),
    Sabotage(
        "identifier-in-a-view-acts",
        DIALECTS,
        "{_doubled(name, self.quote)}{self.quote}",
        "{name}{self.quote}",
        OF_NAMES,
    ),
    Sabotage(
        "character-of-a-path-stands-for-others",
        DIALECTS,
        "if each in self.wild else each",
        'if each == "" else each',
        OF_NAMES,
    ),
    Sabotage(
        "unprintable-attribute-in-a-view",
        DEFINITIONS,
        "sorted(filter(str.isprintable, self.attributes), key",
        "sorted(self.attributes, key",
        OF_NAMES,
    ),
    Sabotage(
        "account-that-is-not-selected-in-a-view",
        DEFINITIONS,
        "if values is not None and name in names:",
        "if False:",
        f"{OF_SQL}::test_what_is_not_selected_is_in_no_view",
    ),
    Sabotage(
        "provisional-day-called-final",
        DEFINITIONS,
        '"coalesce(array_contains(a.days, d.ref_date), false)"',
        '"false"',
        OF_MONTH,
    ),
    Sabotage(
        "views-written-without-news",
        SCRIPT,
        "for file, data in read if data == files[file.name]}",
        "for file, data in read if not data}",
        f"{OF_SQL}::test_a_run_leaves_the_views_in_the_output",
    ),
    Sabotage(
        "mistyped-output-with-empty-views",
        SCRIPT,
        "layout.refuse_unharvested(store)",
        "pass",
        f"{OF_SQL}::test_without_a_manifest_the_output_is_enough",
    ),
    Sabotage(
        "views-of-another-shard-s-first-file-missed",
        SCRIPT,
        "range(_MAX_TRIES)",
        "range(1)",
        f"{OF_SQL}::test_a_dataset_that_another_shard_begins_meanwhile_is_in_the_views",
    ),
)
