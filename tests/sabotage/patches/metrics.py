"""Metrics and the newest complete day: what no alert would find."""

from __future__ import annotations

from tests.sabotage.run import Sabotage

COMPLETE_DAYS = "tests/runs/test_complete_days.py"
OF_METRICS = "tests/cli/test_metrics.py"
REPORT = "harvester/runs/record/account_report.py"

SABOTAGES = (
    Sabotage(
        "rejected-answers-complete-a-day",
        REPORT,
        "wanted & ~state.covered | state.unanswered",
        "wanted & ~state.covered",
        f"{COMPLETE_DAYS}::test_a_rejected_answer_is_none",
    ),
    Sabotage(
        "counts-by-day-of-shards-lose-a-carry",
        "harvester/core/calendar.py",
        "counts[level], days = counts[level] ^ days, counts[level] & days",
        "counts[level], days = counts[level] ^ days, 0",
        f"{COMPLETE_DAYS}::test_any_cut_into_shards_gives_the_same_day",
    ),
    Sabotage(
        "metrics-of-a-run-that-goes-on",
        "harvester/cli/commands/run.py",
        "if done.finished else None",
        "if done else None",
        f"{OF_METRICS}::test_a_run_writes_nothing_before_its_end",
    ),
    Sabotage(
        "metrics-that-only-the-harvest-may-read",
        "harvester/storage/backends/user_file.py",
        "os.fchmod(descriptor, 0o644)",
        "pass",
        f"{OF_METRICS}::test_everyone_may_read_the_file",
    ),
    Sabotage(
        "causes-without-a-series",
        "harvester/cli/output/metrics.py",
        "dict.fromkeys((*get_args(Cause), CAUSE, *counts))",
        "counts",
        f"{OF_METRICS}::test_every_cause_has_a_series",
    ),
)
