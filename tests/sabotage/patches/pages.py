"""The summary of a run on a page, in a pod and in files of the user, and its annotations."""

from __future__ import annotations

from tests.sabotage.run import Sabotage

ANNOTATIONS = "harvester/cli/output/attention_lines.py"
COMMANDS = "harvester/cli/output/workflow_commands.py"
MARKDOWN = "harvester/cli/output/markdown.py"
MESSAGE = "harvester/cli/output/termination_message.py"
RUN = "harvester/cli/commands/run.py"
RUN_LOG = "harvester/runs/run_log.py"
SUMMARY = "harvester/cli/output/markdown_summary.py"

OF_JOB = "tests/cli/test_job_summary.py"
OF_MARKDOWN = "tests/cli/test_markdown.py"

SABOTAGES = (
    Sabotage(
        "markdown-of-others-not-escaped",
        MARKDOWN,
        "_ACTING.sub(_entity, ",
        "str(",
        f"{OF_MARKDOWN}::test_a_cell_shows_exactly_the_text",
    ),
    Sabotage(
        "mention-and-emoji-left-whole",
        MARKDOWN,
        '"<!-- -->" * (match[0] in ":@#$")',
        '""',
        f"{OF_MARKDOWN}::test_no_text_is_a_link_or_a_mention_on_github",
    ),
    Sabotage(
        "secret-on-the-page-of-a-job",
        MARKDOWN,
        "inert(masked(foreign))",
        "inert(foreign)",
        f"{OF_MARKDOWN}::test_a_secret_is_masked",
    ),
    Sabotage(
        "summary-without-a-cap",
        SUMMARY,
        ".encode(), MAX_BYTES)",
        ".encode(), 1 << 30)",
        f"{OF_JOB}::test_a_summary_has_a_greatest_size",
    ),
    Sabotage(
        "first-accounts-named-instead-of-the-worst",
        SUMMARY,
        "in days.most_common(most)]",
        "in [*days.items()][:most]]",
        f"{OF_JOB}::test_the_worst_accounts_are_named_and_the_others_counted",
    ),
    Sabotage(
        "annotation-for-a-green-run",
        ANNOTATIONS,
        '{*ENDS_EARLY, "deferred"} & {*done.reasons()} - told',
        "{*done.reasons()} - told",
        f"{OF_JOB}::test_a_green_morning_has_no_annotation",
    ),
    Sabotage(
        "no-annotation-for-what-needs-a-person",
        ANNOTATIONS,
        "for item in done.attention if item.cause not in told]",
        "for item in done.attention if False]",
        f"{OF_JOB}::test_what_needs_a_person_is_an_error",
    ),
    Sabotage(
        "text-of-others-taken-off-the-page",
        COMMANDS,
        "os.O_WRONLY | os.O_APPEND |",
        "os.O_WRONLY | os.O_TRUNC |",
        f"{OF_JOB}::test_a_step_that_runs_again_has_a_summary_of_each_run",
    ),
    Sabotage(
        "no-summary-of-a-run-that-was-refused",
        RUN,
        "            _tell_engine(execution.record, running.lang)",
        "            pass",
        f"{OF_JOB}::test_a_mistake_is_on_the_page",
    ),
    Sabotage(
        "message-of-a-pod-cut-in-a-character",
        MESSAGE,
        "first_lines(text, MAX_BYTES)",
        "text[:MAX_BYTES]",
        f"{OF_JOB}::test_a_message_of_a_pod_is_cut_at_a_line",
    ),
    Sabotage(
        "file-of-the-user-written-although-refused",
        RUN_LOG,
        "files, self._files = self._files, []",
        "files = [*self._files]",
        "tests/cli/test_summary_file.py::test_a_file_that_no_run_may_replace_is_refused",
    ),
)
