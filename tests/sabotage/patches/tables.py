"""Tables beside the datasets: what would be stale, lost or told in spite of a promise."""

from __future__ import annotations

from tests.sabotage.run import Sabotage

COVERAGE = "harvester/storage/derived/derived_coverage.py"
FILES = "harvester/storage/derived/derived_files.py"
HARVEST = "harvester/runs/harvest.py"
ROWS = "harvester/tables/coverage_rows.py"
TESTS = "tests/end_to_end/test_derived_tables.py"

SABOTAGES = (
    Sabotage(
        "marks-without-the-file-of-the-table",
        COVERAGE,
        'mark = repr((tables.get(month, ""), sorted(inputs.items()), beside.get(month)))',
        "mark = repr((sorted(inputs.items()), beside.get(month)))",
        f"{TESTS}::test_lost_tables_are_made_again",
    ),
    Sabotage(
        "marks-without-what-is-wanted",
        COVERAGE,
        'mark = repr((tables.get(month, ""), sorted(inputs.items()), beside.get(month)))',
        'mark = repr((tables.get(month, ""), sorted(inputs.items())))',
        f"{TESTS}::test_the_coverage_is_what_files_and_manifest_say",
    ),
    Sabotage(
        "rows-of-another-manifest-made-anew",
        COVERAGE,
        "if others := self.others.get(name):",
        "if others := set():",
        f"{TESTS}::test_two_manifests_and_four_shards_share_the_tables",
    ),
    Sabotage(
        "tables-of-the-selection",
        HARVEST,
        "found = coverage_scan.read(tree, want, clock(), whole.datasets, state.own).states",
        "pass",
        f"{TESTS}::test_a_selection_narrows_no_table",
    ),
    Sabotage(
        "time-of-the-last-answer-in-the-place-of-its-news",
        ROWS,
        "times = pc.if_else(pc.equal(own, 0), last, pc.min_element_wise(own, last))",
        "times = last",
        f"{TESTS}::test_a_run_without_news_writes_its_own_row_alone",
    ),
    Sabotage(
        "names-in-records-against-the-manifest",
        "harvester/verbs/run.py",
        "chosen.texts(names=whole.output.account_names)",
        "chosen.texts()",
        f"{TESTS}::test_no_file_names_an_account_if_it_is_not_to",
    ),
    Sabotage(
        "table-put-over-equal-rows",
        FILES,
        "if data == there:",
        "if False:",
        f"{TESTS}::test_a_run_without_news_writes_its_own_row_alone",
    ),
    Sabotage(
        "tables-keep-a-forgotten-account",
        "harvester/verbs/forget.py",
        "*erasure.erase_rows(erasing.tree, request, dry=erasing.dry),",
        "",
        f"{TESTS}::test_nothing_is_left_of_a_forgotten_account",
    ),
)
