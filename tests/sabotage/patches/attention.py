"""Attention, the gate, pauses, checks and `forget`: what a person is told and may rely on."""

from __future__ import annotations

from tests.sabotage.run import Sabotage

CHECK = "harvester/verbs/check.py"
CLI = "harvester/cli/__init__.py"
FORGET = "harvester/verbs/forget.py"
GATE = "harvester/verbs/gate.py"
LINES = "harvester/cli/output/attention_lines.py"
MISSING_DAYS = "harvester/verbs/days/missing_days.py"
OF_RUN = "harvester/runs/attention_of_run.py"
OPEN = "harvester/runs/open_attention.py"
PAUSE_LINES = "harvester/manifest/pause_lines.py"
STATUS = "harvester/verbs/status.py"

OF_RUNS = "tests/runs/test_attention.py"
OF_GATES = "tests/verbs/test_gate.py"

SABOTAGES = (
    Sabotage(
        "attention-of-the-other-shards-hidden",
        OPEN,
        "if run.shard in shards and len(shards) >= _shard_count(run.shard):",
        "if run.shard in shards:",
        f"{OF_RUNS}::test_the_last_run_of_one_shard_does_not_hide_what_the_others_left",
    ),
    Sabotage(
        "windows-of-a-wrong-clock-need-a-person",
        OF_RUN,
        'lost = {"refused"} if record.clock_apart else',
        "lost =",
        f"{OF_RUNS}::test_by_a_wrong_clock_no_window_needs_a_person",
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
        "calls-before-the-clock-was-right-not-counted",
        CHECK,
        "        check.add_calls(before)",
        "        pass",
        "tests/runs/test_wrong_clocks.py::test_a_check_keeps_what_it_learns_by_the_corrected_clock",
    ),
    Sabotage(
        "forgotten-days-stay-in-a-quarantined-answer",
        FORGET,
        "min(day, begins.get((appid, day), day)) < before",
        "day < before",
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
        '"new" if first.new else',
        '"new" if items else',
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
        "(project.whole or project.manifest).accounts",
        "project.manifest.accounts",
        "tests/verbs/test_kept_manifests.py"
        "::test_an_account_that_is_not_selected_is_in_the_manifest_all_the_same",
    ),
)
