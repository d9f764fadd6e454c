"""The page of a report: states of days, what is selected or for a client, and foreign texts."""

from __future__ import annotations

from tests.sabotage.run import Sabotage

ASSEMBLY = "harvester/verbs/page/assembly.py"
CELLS = "harvester/verbs/page/cells.py"
DAY_STATES = "harvester/core/day_states.py"
FACTS = "harvester/verbs/page/facts.py"
OBJECTS = "harvester/storage/backends/object_store.py"
REPORT = "harvester/verbs/report.py"
SCAN = "harvester/storage/coverage_scan.py"
TABLES = "harvester/verbs/page/tables.py"

OF_PAGE = "tests/verbs/test_report.py"
OF_COMMAND = "tests/cli/test_report_command.py"
OF_STATES = f"{OF_PAGE}::test_each_day_has_the_state_that_the_files_and_the_records_tell"
OF_REASONS = f"{OF_PAGE}::test_each_reason_of_a_missing_day_has_a_number_of_its_own"
OF_FOREIGN = f"{OF_PAGE}::test_foreign_texts_are_text"
OF_CLIENT = f"{OF_PAGE}::test_a_client_gets_no_command_no_remedy_no_run_no_quota"
OF_CAUSES = f"{OF_PAGE}::test_a_gap_has_its_reason_its_code_and_its_next_time"

SABOTAGES = (
    Sabotage("foreign-text-in-a-page-alive", TABLES, "Html(escape(f", "Html(str(f", OF_FOREIGN),
    Sabotage("foreign-text-in-a-script-alive", FACTS, ".translate(_INERT)", "", OF_FOREIGN),
    Sabotage(
        "missing-day-shown-as-empty",
        CELLS,
        "_MISSING + REASONS.index(item.reason)",
        "_FINAL + 1",
        OF_REASONS,
    ),
    Sabotage(
        "refused-day-shown-as-not-asked",
        "harvester/storage/account_scan.py",
        "reason=item.word",
        'reason="not_asked"',
        OF_STATES,
    ),
    Sabotage(
        "provisional-day-shown-as-final",
        CELLS,
        '_PROVISIONAL if item.state == "provisional" else _FINAL',
        "_FINAL",
        OF_STATES,
    ),
    Sabotage(
        "empty-day-shown-as-there",
        CELLS,
        "(not item.has_rows)",
        "0",
        OF_STATES,
    ),
    Sabotage(
        "rejected-answer-hidden-by-the-one-before",
        DAY_STATES,
        "provisional &= ~quarantined",
        "quarantined &= ~answered",
        f"{OF_PAGE}::test_a_rejected_answer_counts_although_there_is_an_earlier_one",
    ),
    Sabotage(
        "paused-account-shown-blank",
        "harvester/storage/account_scan.py",
        "if is_paused:",
        "if False:",
        OF_STATES,
    ),
    Sabotage(
        "days-of-a-page-swapped",
        CELLS,
        '"little"',
        '"big"',
        f"{OF_PAGE}::test_rows_equal_those_of_a_day_by_day_reading",
    ),
    Sabotage(
        "week-shown-as-a-day",
        CELLS,
        "for later in range(7)",
        "for later in range(1)",
        f"{OF_PAGE}::test_a_period_is_on_each_of_its_days",
    ),
    Sabotage("cause-beside-its-days", FACTS, "first - begin,", "first - begin + 1,", OF_CAUSES),
    Sabotage(
        "selection-of-a-page-ignored",
        REPORT,
        "chosen = selection(accounts,",
        "chosen = selection(None,",
        f"{OF_COMMAND}::test_what_is_not_selected_is_in_no_byte",
    ),
    Sabotage(
        "client-gets-the-command",
        REPORT,
        '"" if for_client else _command',
        "_command",
        f"{OF_COMMAND}::test_a_client_gets_nothing_of_the_harvest",
    ),
    Sabotage("client-gets-the-runs", ASSEMBLY, "if not view.for_client:", "if True:", OF_CLIENT),
    Sabotage(
        "client-gets-the-words-of-a-rejected-answer",
        FACTS,
        '"" if view.for_client else day.reason',
        "day.reason",
        OF_CLIENT,
    ),
    Sabotage(
        "client-gets-the-remedy",
        FACTS,
        "rule.meaning if view.for_client else ",
        "",
        OF_CLIENT,
    ),
    Sabotage(
        "client-gets-the-reason-of-a-pause",
        FACTS,
        "if given.paused and not view.for_client else",
        "if given.paused else",
        f"{OF_PAGE}::test_a_paused_account_has_its_reason_and_since_when",
    ),
    Sabotage(
        "page-may-load-anything",
        ASSEMBLY,
        "default-src 'none'; ",
        "",
        f"{OF_PAGE}::test_the_policy_allows_the_pages_own_script_and_style_alone",
    ),
    Sabotage(
        "page-in-a-store-without-a-type",
        OBJECTS,
        'if name.endswith(".html")',
        "if False",
        f"{OF_COMMAND}::test_a_page_in_an_object_store_is_one_put_with_its_type",
    ),
    Sabotage(
        "page-replaces-the-manifest",
        REPORT,
        "summary_file.refuse_place(place, manifest, name)",
        "pass",
        f"{OF_COMMAND}::test_a_place_that_holds_something_else_is_refused",
    ),
)
