"""Attention, the gate, pauses, checks and `forget`: what a person is told and may rely on."""

from __future__ import annotations

from tests.sabotage.run import Sabotage

CHECK = "harvester/verbs/check.py"
CLI = "harvester/cli/__init__.py"
EXPECTATIONS = "harvester/runs/record/expectations.py"
FORGET = "harvester/verbs/forget.py"
GATE = "harvester/verbs/gate.py"
LINES = "harvester/cli/output/attention_lines.py"
MISSING_DAYS = "harvester/runs/days/missing_days.py"
FINDER = "harvester/runs/attention_finder.py"
PAUSE_LINES = "harvester/manifest/pause_lines.py"
STATUS = "harvester/verbs/status.py"

OF_EXPECTATIONS = "tests/runs/test_expectations.py"
OF_RUNS = "tests/runs/test_attention.py"
OF_GATES = "tests/verbs/test_gate.py"
READY_HOUR = "tests/cli/test_ready_hour.py"

SABOTAGES = (
    Sabotage(
        "attention-of-the-other-shards-hidden",
        FINDER,
        "if run.shard in shards and len(shards) >= _shard_count(run.shard):",
        "if run.shard in shards:",
        f"{OF_RUNS}::test_the_last_run_of_one_shard_does_not_hide_what_the_others_left",
    ),
    Sabotage(
        "windows-of-a-wrong-clock-need-a-person",
        FINDER,
        'lost = {"refused"} if record.clock_apart else',
        "lost =",
        f"{OF_RUNS}::test_by_a_wrong_clock_no_window_needs_a_person",
    ),
    Sabotage(
        "yesterday-is-the-newest-ready-day",
        "harvester/core/config/parsers.py",
        'return today - 1 if text == "yesterday" else None',
        "return None",
        f"{READY_HOUR}::test_before_the_ready_hour_the_gate_of_yesterday_is_closed",
    ),
    Sabotage(
        "gate-opens-at-the-first-ready-hour",
        GATE,
        "ExplainedDays(dataset, appid, days, max(ready_at)",
        "ExplainedDays(dataset, appid, days, min(ready_at)",
        f"{READY_HOUR}::test_the_latest_ready_hour_opens_a_gate",
    ),
    Sabotage(
        "nothing-wanted-is-complete",
        "harvester/runs/record/record.py",
        "return self.statement if self.exit_code is Exit.DONE and not self.is_wanted else None",
        "return None",
        f"{READY_HOUR}::test_a_run_that_wants_nothing_yet_is_not_called_complete",
    ),
    Sabotage(
        "house-without-a-row-is-complete",
        "harvester/runs/record/absent_rows.py",
        "return self.since is not None and not self.has_rows",
        "return False",
        f"{READY_HOUR}::test_a_house_without_a_row_is_75_for_two_days_and_then_76",
    ),
    Sabotage(
        "late-dataset-is-an-item-of-each-account",
        "harvester/runs/attention_finder.py",
        "yield replace(item, key=key) if is_one else item",
        "yield item",
        "tests/runs/test_attention.py::test_a_dataset_that_is_late_for_most_accounts_is_one_item",
    ),
    Sabotage(
        "late-days-never-end-a-gate-with-76",
        GATE,
        'obtainable if item.cause == "not_ready" else lost',
        "lost",
        f"{OF_GATES}::test_a_gate_says_76_for_days_that_have_been_late_for_more_than_a_day",
    ),
    Sabotage(
        "older-refusal-of-an-answered-day-counts",
        MISSING_DAYS,
        "days &= ~self.states[item.dataset][item.appid].provisional",
        "pass",
        f"{OF_GATES}::test_a_provisional_day_that_is_refused_today_is_lost_to_a_gate_for_final_days",
    ),
    Sabotage(
        "whole-account-paused-in-part",
        PAUSE_LINES,
        "if all(names):",
        "if any(names):",
        "tests/manifest/test_pause_lines.py::test_a_refusal_of_the_whole_account_pauses_all_of_it",
    ),
    Sabotage(
        "refused-calls-of-a-check-not-counted",
        CHECK,
        "if may_count(outcome):",
        "if isinstance(outcome, bytes):",
        "tests/verbs/test_check.py::test_refused_calls_of_a_check_are_calls_of_the_day",
    ),
    Sabotage(
        "forgotten-days-stay-in-a-quarantined-answer",
        FORGET,
        "request.has(dataset, min(day, begins.get((appid, day), day)))",
        "request.has(dataset, day)",
        "tests/verbs/test_forget.py"
        "::test_a_quarantined_answer_that_begins_before_the_limit_goes_as_a_whole",
    ),
    Sabotage(
        "76-hidden-behind-the-error-that-ended-the-run",
        CLI,
        "code = error.exit_code if error.result is None else error.result.exit_code",
        "code = error.exit_code",
        "tests/cli/test_until_complete.py::test_another_run_may_outlast_the_wait",
    ),
    Sabotage(
        "old-trouble-told-as-new",
        LINES,
        "    if first.new:",
        "    if items:",
        "tests/cli/test_small_answers.py::test_what_needs_a_person_has_a_line_a_cause_and_beginning",
    ),
    Sabotage(
        "account-paused-for-one-dataset",
        STATUS,
        "some = () if datasets == {*names} else",
        "some = () if datasets else",
        f"{OF_RUNS}::test_a_status_pauses_no_more_than_was_refused",
    ),
    Sabotage(
        "account-of-the-manifest-told-to-be-forgotten",
        STATUS,
        "project.whole.accounts",
        "project.manifest.accounts",
        "tests/verbs/test_kept_manifests.py"
        "::test_an_account_that_is_not_selected_is_in_the_manifest_all_the_same",
    ),
    Sabotage(
        "run-without-rows-needs-no-person",
        FINDER,
        "yield from expectations.attention_of(judged)",
        "yield from ()",
        f"{OF_EXPECTATIONS}::test_a_run_without_rows_is_seen_although_it_succeeds",
    ),
    Sabotage(
        "share-of-expected-accounts-counted-by-floats",
        EXPECTATIONS,
        "self.there >= Fraction(str(self.expected)) * self.accounts",
        "self.there >= self.expected * self.accounts",
        f"{OF_EXPECTATIONS}::test_shares_that_floats_get_wrong",
    ),
    Sabotage(
        "quiet-days-judged",
        EXPECTATIONS,
        "return day if period & ~expect.quiet_days else None",
        "return day",
        f"{OF_EXPECTATIONS}::test_nothing_is_expected_of_a_quiet_day",
    ),
    Sabotage(
        "first-backfill-alarms",
        EXPECTATIONS,
        "and (has_lost or calendar.oldest(wanted) == oldest)",
        "",
        f"{OF_EXPECTATIONS}::test_an_account_in_its_first_backfill_alarms_nobody",
    ),
    Sabotage(
        "job-of-a-few-days-never-judged",
        EXPECTATIONS,
        'begin_day(text, today) if text.startswith("-") else FIRST_DAY',
        "FIRST_DAY",
        f"{OF_EXPECTATIONS}::test_a_job_of_a_few_days_is_judged_all_the_same",
    ),
    Sabotage(
        "refused-account-told-twice",
        EXPECTATIONS,
        'and (name, appid, "refused") not in lost',
        "",
        f"{OF_EXPECTATIONS}::test_a_refused_account_is_judged_by_nobody",
    ),
    Sabotage(
        "rejected-answer-counts-as-there",
        EXPECTATIONS,
        "if not calendar.has_day(state.answered, day))",
        "if not calendar.has_day(state.covered, day))",
        f"{OF_EXPECTATIONS}::test_a_day_in_quarantine_is_not_there",
    ),
    Sabotage(
        "expectations-of-shards-not-added",
        EXPECTATIONS,
        "there=one.there + other.there,",
        "there=one.there,",
        f"{OF_EXPECTATIONS}::test_shards_add_up_to_the_whole",
    ),
    Sabotage(
        "shard-alarms-for-what-all-shards-have",
        "harvester/runs/record/members.py",
        "expectations.by_the_sum(whole.attention, whole.expectations)",
        "whole.attention",
        f"{OF_EXPECTATIONS}::test_the_merged_record_needs_a_person_only_if_all_shards_together_do",
    ),
    Sabotage(
        "closed-gate-opens",
        GATE,
        "if self.lost or self.expectations else code",
        "if self.lost else code",
        f"{OF_EXPECTATIONS}::test_a_closed_gate_says_3_in_the_place_of_0",
    ),
    Sabotage(
        "gate-closed-by-a-day-that-is-not-required",
        GATE,
        "if each.dataset in asked and each.day <= day)",
        "if True)",
        f"{OF_EXPECTATIONS}::test_a_closed_gate_says_3_in_the_place_of_0",
    ),
    Sabotage(
        "expectation-of-earlier-runs-told-for-ever",
        FINDER,
        "    expectations.CAUSE,",
        "    # none of them",
        f"{OF_EXPECTATIONS}::test_a_day_that_is_called_quiet_is_in_no_item_any_more",
    ),
    Sabotage(
        "status-of-an-output-expects-nothing",
        "harvester/verbs/project.py",
        '("accounts", "datasets", "expect") if kept',
        '("accounts", "datasets") if kept',
        "tests/verbs/test_kept_manifests.py::test_a_run_keeps_the_whole_manifest_and_no_credential",
    ),
)
