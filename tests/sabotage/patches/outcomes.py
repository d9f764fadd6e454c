"""Outcomes, the change feed and the Python API: what schedulers, followers and programs act on."""

from __future__ import annotations

from tests.sabotage.run import Sabotage

API_RUN = "harvester/verbs/run.py"
EXIT_CODES = "harvester/core/exit_codes.py"
FOLDING = "harvester/storage/state/change_folding.py"
LOG = "harvester/storage/state/change_log.py"
PROSPECTS = "harvester/runs/record/prospects.py"
READER = "harvester/storage/state/change_reader.py"

UNFINISHED = "tests/runs/test_unfinished_before_partial.py"
OUTCOMES = "tests/runs/test_outcomes.py"
CHANGE_LOG = "tests/storage/state/test_change_log.py"
API = "tests/verbs/test_run.py"

SABOTAGES = (
    Sabotage(
        "least-severe-code-wins",
        EXIT_CODES,
        "return min(codes,",
        "return max(codes,",
        f"{UNFINISHED}::test_the_codes_win_in_the_order_of_the_contract",
    ),
    Sabotage(
        "quota-comes-back-now",
        PROSPECTS,
        "calendar.instant(day + 1, _RENEWAL_MINUTES)",
        "ended",
        f"{OUTCOMES}::test_a_quota_is_renewed_after_the_day_on_which_it_was_met",
    ),
    Sabotage(
        "outage-asked-again-at-once",
        PROSPECTS,
        '"deferred": 10 * _MINUTE,',
        '"deferred": 0.0,',
        f"{OUTCOMES}::test_each_reason_has_its_moment",
    ),
    Sabotage(
        "what-never-comes-has-a-moment",
        PROSPECTS,
        "return None if seconds is None else ended + seconds",
        "return ended + (seconds or 0.0)",
        f"{OUTCOMES}::test_what_comes_by_itself_has_a_moment_and_nothing_else_has",
    ),
    Sabotage(
        "dead-runs-never-reported",
        LOG,
        "                self._take_over(label, file.name)",
        "                pass",
        f"{CHANGE_LOG}::test_what_was_announced_and_not_reported_is_reported",
    ),
    Sabotage(
        "folded-number-taken-again",
        LOG,
        "any(each.last >= first for each in found[label].segments)",
        "False",
        f"{CHANGE_LOG}::test_a_number_that_was_folded_is_not_taken_again",
    ),
    Sabotage(
        "cursor-not-compared-with-the-history",
        READER,
        "if places[label] != end:",
        "if False:",
        f"{CHANGE_LOG}::test_a_cursor_of_another_history_of_the_same_length_is_refused",
    ),
    Sabotage(
        "lost-history-silent",
        READER,
        "_end_of(newest, read[-1] if read else ())",
        "_end_of(newest, [*chain.from_iterable(read)])",
        f"{CHANGE_LOG}::test_a_damaged_entry_is_a_gap",
    ),
    Sabotage(
        "newest-history-dropped",
        FOLDING,
        "< each.day < first_day and each != newest",
        "< each.day < first_day",
        f"{CHANGE_LOG}::test_the_newest_entries_stay_however_old_they_are",
    ),
    Sabotage(
        "cancelled-run-goes-on",
        API_RUN,
        "            await asyncio.wait([done])",
        "            pass",
        f"{API}::test_a_cancelled_run_ends_in_order",
    ),
    Sabotage(
        "host-s-signal-not-heard",
        API_RUN,
        "                self._wait()",
        "                pass",
        f"{API}::test_the_host_s_own_signal_ends_a_run_in_order",
    ),
    Sabotage(
        "busy-hidden-from-programs",
        API_RUN,
        "        if isinstance(error, UsageError | Busy):",
        "        if isinstance(error, UsageError):",
        f"{API}::test_a_busy_output_names_its_owner",
    ),
)
