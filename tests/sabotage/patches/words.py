"""Exit codes, records and secrets: what a run says of itself."""

from __future__ import annotations

from tests.sabotage.run import Sabotage

ACCOUNTS = "harvester/manifest/accounts.py"
ACCOUNTS_FILE = "harvester/manifest/accounts_file.py"
ARGUMENTS = "harvester/verbs/arguments.py"
ATTEMPT = "harvester/wechat/attempt.py"
ESCAPES = "harvester/core/text/escapes.py"
EXITS = "harvester/core/exit_codes.py"
GATE = "harvester/verbs/gate.py"
HOOKS = "harvester/cli/output/hooks.py"
INERT_TEXT = "harvester/core/text/inert_text.py"
RECORD = "harvester/runs/record/record.py"
RUN_LOG = "harvester/runs/run_log.py"
SAFE_TEXT = "harvester/core/text/safe_text.py"
SECRET = "harvester/core/secret.py"
STREAMS = "harvester/cli/output/streams.py"
WANTED_DAYS = "harvester/planning/wanted_days.py"

SABOTAGES = (
    Sabotage(
        "kept-selection-in-the-place-of-the-manifest",
        "harvester/verbs/run.py",
        "as_kept(self.project.whole)",
        "as_kept(self.project.manifest)",
        "tests/verbs/test_kept_manifests.py::test_a_gate_without_a_manifest_misses_what_no_run_fetched",
    ),
    Sabotage(
        "open-gate-without-a-kept-manifest",
        "harvester/verbs/status.py",
        "if not project.manifest.accounts:",
        "if False:",
        "tests/verbs/test_kept_manifests.py::test_an_output_in_which_nothing_was_kept_is_no_complete_one",
    ),
    Sabotage(
        "planted-manifest-reads-files",
        "harvester/verbs/project.py",
        'text.replace("${", "{")',
        "text",
        "tests/verbs/test_kept_manifests.py::test_a_planted_file_has_nothing_read",
    ),
    Sabotage(
        "gate-open-below-its-share",
        GATE,
        "required.at_least is not None and share >= required.at_least",
        "required.at_least is not None",
        "tests/verbs/test_gate.py::test_a_share_of_the_days_may_be_enough",
    ),
    Sabotage(
        "paused-account-is-asked",
        WANTED_DAYS,
        "if each.paused is None or not each.pauses(dataset)]",
        "if True]",
        "tests/runs/test_paused_accounts.py::test_a_paused_account_is_not_asked_and_leaves_the_run_complete",
    ),
    Sabotage(
        "pause-without-an-end",
        ACCOUNTS,
        "if pause is None or (pause.until is not None and pause.until < section.context.today):",
        "if pause is None:",
        "tests/runs/test_paused_accounts.py::test_a_pause_ends_after_its_last_day",
    ),
    Sabotage(
        "keys-of-the-defaults-go-anywhere",
        ACCOUNTS,
        'if kind != "token_url" or origin(str(own[kind])) == origin(str(default.token_url))',
        "if True",
        "tests/manifest/test_broken_manifests.py::test_a_broken_manifest_is_refused",
    ),
    Sabotage(
        "any-accounts-file-may-run-commands",
        ACCOUNTS_FILE,
        "refused = () if written.credentials else _TRUSTED",
        "refused = ()",
        "tests/manifest/test_broken_manifests.py::test_a_broken_manifest_is_refused",
    ),
    Sabotage(
        "an-empty-name-means-all",
        ARGUMENTS,
        "if not all(found) or not found:",
        "if not found:",
        "tests/verbs/test_arguments.py::test_an_empty_name_is_a_mistake",
    ),
    Sabotage(
        "paused-account-counts-for-the-gate",
        GATE,
        "wanted(history.manifest, until)",
        "wanted(history.manifest, until, paused_too=True)",
        "tests/runs/test_paused_accounts.py::test_a_paused_account_counts_for_no_gate",
    ),
    Sabotage(
        "fetched-answer-unmasked",
        "harvester/verbs/fetch.py",
        "redacted_bytes(outcome) if",
        "outcome if",
        "tests/end_to_end/test_secrets_are_hidden.py::test_an_answer_that_repeats_secrets_is_shown_without_them",
    ),
    Sabotage(
        "exit-0-always",
        EXITS,
        "return min(codes, key=[*Exit].index, default=Exit.DONE)",
        "return Exit.DONE",
        "tests/runs/test_summary.py::test_the_record_tells_of_each_account_that_needs_attention",
    ),
    Sabotage(
        "missing-days-without-75",
        RECORD,
        "<= {Exit.INCOMPLETE} and any_unexplained(self.accounts):",
        "<= set() and False:",
        "tests/runs/test_summary.py::test_days_that_were_lost_on_the_way_are_unfinished",
    ),
    Sabotage(
        "bug-without-1",
        RECORD,
        'found["bug"] = Exit.BUG',
        "pass",
        "tests/engine/test_internal_errors.py::test_a_bug_while_asking_costs_its_window",
    ),
    Sabotage(
        "quarantine-without-3",
        RECORD,
        'found["quarantined"] = Exit.INCOMPLETE',
        "pass",
        "tests/runs/test_summary.py::test_the_record_tells_of_each_account_that_needs_attention",
    ),
    Sabotage(
        "time-budget-without-75",
        RECORD,
        '"time_budget": self.out_of_time,',
        '"time_budget": False,',
        "tests/runs/test_summary.py::test_a_time_budget_starts_nothing_new_and_the_next_run_goes_on",
    ),
    Sabotage(
        "published-not-told",
        RUN_LOG,
        "self._changes.add(*map(feed_entry, items))",
        "pass",
        "tests/storage/state/test_change_feed.py::test_the_feed_has_days_accounts_and_rows",
    ),
    Sabotage(
        "token-in-a-record",
        SAFE_TEXT,
        "inert(mask_words(redacted(text)))",
        "inert(text)",
        "tests/core/test_redaction.py::test_a_value_is_masked_before_a_text_is_cut",
    ),
    Sabotage(
        "token-on-stderr",
        STREAMS,
        "inert_line(masked(line))",
        "inert_line(line)",
        "tests/cli/test_streams.py::test_an_error_shows_no_secret",
    ),
    Sabotage(
        "token-in-a-log",
        SAFE_TEXT,
        "inert_line(redacted(text))",
        "inert_line(text)",
        "tests/cli/test_cli.py::test_log_lines_are_objects_without_secrets",
    ),
    Sabotage(
        "token-in-a-traceback",
        HOOKS,
        "setFormatter(TextLines())",
        "setFormatter(logging.Formatter())",
        "tests/cli/test_hooks.py::test_nothing_python_prints_shows_a_secret",
    ),
    Sabotage(
        "token-in-evidence",
        ATTEMPT,
        "return redacted_bytes(self.received)",
        "return self.received",
        "tests/end_to_end/test_secrets_are_hidden.py::test_no_error_of_an_attempt_holds_a_secret",
    ),
    Sabotage(
        "secret-not-registered",
        SECRET,
        "conceal(part)",
        "pass",
        "tests/core/test_redaction.py::test_a_known_value_is_masked_however_it_is_written",
    ),
    Sabotage(
        "quoted-forms-not-masked",
        ESCAPES,
        "if not _ESCAPE.search(layer.text):",
        "if True:",
        "tests/core/test_redaction.py::test_a_known_value_is_masked_however_it_is_written",
    ),
    Sabotage(
        "escape-sequences-printed",
        INERT_TEXT,
        "if text.isprintable():",
        "if True:",
        "tests/wechat/test_protocol.py::test_a_message_is_safe_to_print",
    ),
    Sabotage(
        "step-outputs-with-a-known-mark",
        "harvester/cli/output/workflow_commands.py",
        "{os.urandom(16).hex()}",
        "0000",
        "tests/cli/test_workflow_commands.py"
        "::test_the_marks_around_a_text_are_those_of_no_other_text",
    ),
    Sabotage(
        "forwarded-secrets-stay-in-the-session",
        "harvester/readers/spark.py",
        "            context.environment = before",
        "            pass",
        "tests/readers/test_spark.py::test_an_error_of_a_task_names_its_shard",
    ),
)
