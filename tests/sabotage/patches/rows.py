"""Rows and the state of days: which answer counts, and when a day is final."""

from __future__ import annotations

from tests.sabotage.run import Sabotage

ACCESS = "harvester/runs/access.py"
CALENDAR = "harvester/core/calendar.py"
CONTRADICTIONS = "harvester/core/contradictions.py"
COVERAGE = "harvester/tables/coverage.py"
DECODE = "harvester/tables/decode.py"
FETCH = "harvester/verbs/fetch.py"
MERGE = "harvester/tables/merge.py"
EVIDENCE = "harvester/tables/evidence.py"
MODEL = "harvester/core/model.py"
RECORD = "harvester/runs/record/record.py"
PIPELINE = "harvester/engine/pipeline.py"
PUBLISH = "harvester/storage/publish.py"
READINESS = "harvester/core/readiness.py"
SABOTAGES = (
    Sabotage(
        "unusable-row-beside-the-periods-is-silent",
        MERGE,
        "| with_rows | unusable",
        "| with_rows",
        "tests/tables/test_settling.py::test_an_unusable_row_of_a_tuesday_is_no_silence",
    ),
    Sabotage(
        "fetch-writes-rows",
        FETCH,
        "answer = Answer(",
        "tree.store.put('x', b''); answer = Answer(",
        "tests/verbs/test_fetch.py::test_an_answer_like_the_published_rows_is_the_same",
    ),
    Sabotage(
        "union-instead-of-replace",
        MERGE,
        "start = bisect_right(dates, day, middle, stop)",
        "start = middle",
        "tests/tables/test_merge.py::test_merged_equals_sorting_everything",
    ),
    Sabotage(
        "older-answer-wins",
        MERGE,
        "if asked.last > answer.asked_at:",
        "if False:",
        "tests/tables/test_merge.py::test_the_newest_answer_wins",
    ),
    Sabotage(
        "final-replaced",
        MERGE,
        "mask &= ~(self.known.final & self.known.with_rows) | refetch_mask(answer, self.month)",
        "pass",
        "tests/tables/test_merge.py::test_a_final_day_stands",
    ),
    Sabotage(
        "refetch-keeps-final",
        MERGE,
        "mask &= ~(self.known.final & self.known.with_rows) | refetch_mask(answer, self.month)",
        "mask &= ~(self.known.final & self.known.with_rows)",
        "tests/end_to_end/test_end_to_end.py::test_refetch_replaces_final_days",
    ),
    Sabotage(
        "empties-settle-rows",
        MERGE,
        "empty = good & ~(filled | known.with_rows)",
        "empty = good & ~filled",
        "tests/tables/test_merge.py::test_an_empty_answer_removes_nothing",
    ),
    Sabotage(
        "delay-ignored",
        MERGE,
        "doubted = filled if new.is_doubtful else 0",
        "doubted = 0",
        "tests/tables/test_settling.py::test_a_delayed_answer_settles_nothing",
    ),
    Sabotage(
        "empty-everywhere-confirmed",
        EVIDENCE,
        "is_sentinel = is_everywhere and appid in self.sentinels(day)",
        "is_sentinel = is_everywhere",
        "tests/tables/test_evidence.py::test_a_day_that_is_empty_everywhere_is_asked_by_five",
    ),
    Sabotage(
        "late-rows-are-evidence",
        EVIDENCE,
        "has_day(history.with_rows & ~history.late, day)",
        "has_day(history.with_rows, day)",
        "tests/tables/test_evidence.py::test_late_rows_reopen_the_whole_stretch",
    ),
    Sabotage(
        "rows-of-another-month",
        MERGE,
        "mask = filled & (1 << day - first if day >= first else 0)",
        "mask = 1",
        "tests/tables/test_merge.py::test_other_months_are_left_alone",
    ),
    Sabotage(
        "empty-trusted-at-once",
        MERGE,
        "if self._is_second(asked.first, new) and age >= new.on.dataset.refresh.empty[-1]:",
        "if True:",
        "tests/tables/test_merge.py::test_no_empty_day_is_final_by_one_answer",
    ),
    Sabotage(
        "bare-answer-settles-rows",
        MERGE,
        "is_over, age = False, new.on.dataset.last_age + refresh.rows[-1]",
        "is_over, age = True, 0",
        "tests/tables/test_settling.py"
        "::test_answers_without_rows_settle_a_day_with_rows_once_all_ages_came_twice",
    ),
    Sabotage(
        "rechecks-in-every-run",
        "harvester/storage/account_scan.py",
        "if days and not calendar.has_day(states.covered, calendar.newest(wanted)):",
        "if days:",
        "tests/engine/test_rechecks.py::test_a_day_that_is_as_it_was_is_counted_and_left",
    ),
    Sabotage(
        "ready-hour-ignored",
        READINESS,
        "calendar.today(now - dataset.ready_minutes * 60)",
        "calendar.today(now)",
        "tests/core/test_readiness.py::test_the_newest_period_that_may_be_asked",
    ),
    Sabotage(
        "day-of-utc",
        CALENDAR,
        "int((now + 8 * 3600) // 86_400)",
        "int(now // 86_400)",
        "tests/core/test_readiness.py::test_the_newest_period_that_may_be_asked",
    ),
    Sabotage(
        "midnight-of-utc",
        CALENDAR,
        "day * 86_400 - 8 * 3600 + minutes * 60.0",
        "day * 86_400 + minutes * 60.0",
        "tests/core/test_readiness.py::test_the_newest_period_that_may_be_asked",
    ),
    Sabotage(
        "bucket-of-other-bytes",
        MODEL,
        'int.from_bytes(digest[:8], "big")',
        'int.from_bytes(digest[:8], "little")',
        "tests/core/test_model.py::test_an_account_keeps_its_bucket",
    ),
    Sabotage(
        "rows-outside-the-window-kept",
        DECODE,
        "if window.begin <= day <= window.end}",
        "}",
        "tests/tables/test_decode.py::test_rows_outside_the_window_put_all_of_it_into_quarantine",
    ),
    Sabotage(
        "bug-in-a-decoder-ends-the-run",
        DECODE,
        "return quarantined(window, reason)",
        "raise",
        "tests/engine/test_internal_errors.py::test_a_bug_while_reading_puts_the_window_into_quarantine",
    ),
    Sabotage(
        "asked-at-after-the-answer",
        PIPELINE,
        "outcome = await self._ask(attempt)",
        "outcome = await self._ask(attempt); asked_at = int(self.clock())",
        "tests/engine/test_asked_at.py::test_a_day_asked_before_midnight_is_asked_again_after_it",
    ),
    Sabotage(
        "later-asked-at-trusted",
        PUBLISH,
        "if answer.asked_at <= update.now else",
        "if True else",
        "tests/storage/test_publish.py::test_an_answer_of_a_time_to_come_settles_nothing",
    ),
    Sabotage(
        "days-settle-by-the-later-clock",
        PUBLISH,
        "day_of(calendar.today(answer.asked_at - stamp.behind))",
        "day_of(calendar.today(answer.asked_at))",
        "tests/storage/test_publish.py"
        "::test_days_settle_by_the_earlier_clock_of_the_run_that_asked",
    ),
    Sabotage(
        "days-asked-by-the-later-clock",
        "harvester/runs/clock.py",
        "return moment - self.behind if self.is_apart else moment",
        "return moment",
        "tests/runs/test_wrong_clocks.py::test_a_date_of_the_future_asks_for_no_day_to_come",
    ),
    Sabotage(
        "wrong-clock-ends-with-0",
        RECORD,
        '"clock": self.clock_apart,',
        '"clock": False,',
        "tests/runs/test_earlier_clock.py::test_no_row_is_lost_by_a_wrong_machine",
    ),
    Sabotage(
        "provisional-day-asked-twice-a-day",
        EVIDENCE,
        "return is_hourly and asked.last // _HOUR < hour <= since + HOURLY_RUNS",
        "return True",
        "tests/tables/test_evidence.py::test_a_day_is_asked_by_the_first_run_at_or_after_an_age",
    ),
    Sabotage(
        "part-of-an-answer-as-all",
        CONTRADICTIONS,
        "return None if is_nothing else _quarantined(name, more)",
        "return None",
        "tests/tables/test_decode.py::test_an_answer_that_announces_more_rows_is_no_whole_one",
    ),
    Sabotage(
        "day-without-a-count-settled",
        "harvester/tables/corrections.py",
        "return self.decoded.delayed or self.decoded.doubtful",
        "return self.decoded.delayed",
        "tests/tables/test_settling.py::test_a_day_without_a_count_is_final_at_its_last_age",
    ),
    Sabotage(
        "one-of-two-lists",
        DECODE,
        "return not too_many",
        "return True",
        "tests/tables/test_decode.py::test_a_name_that_comes_twice_leaves_no_day_usable",
    ),
    Sabotage(
        "doubtful-answer-trusted",
        DECODE,
        "doubtful |= verdict is Verdict.OPEN",
        "doubtful |= False",
        "tests/tables/test_decode.py"
        "::test_an_undeclared_member_beside_the_list_puts_an_answer_in_doubt",
    ),
    Sabotage(
        "failure-as-an-empty-day",
        "harvester/wechat/protocol.py",
        "if not rows and (name := failure_in(answer)) is not None:",
        "if (name := '') is None:",
        "tests/wechat/test_protocol.py::test_an_empty_list_beside_words_of_failure_is_a_failure",
    ),
    Sabotage(
        "answer-of-a-cache-as-fresh",
        "harvester/wechat/transport.py",
        "CachedBody(body, age) if age else body",
        "body",
        "tests/wechat/test_transport.py::test_an_answer_of_a_cache_has_its_age",
    ),
    Sabotage(
        "one-token-for-two-accounts",
        ACCESS,
        "if len(accounts) > 1)",
        "if len(accounts) > 2)",
        "tests/cli/test_shared_credentials.py::test_the_accounts_of_all_processes_are_compared",
    ),
    Sabotage(
        "two-numbers-of-buckets-at-once",
        "harvester/storage/locks.py",
        "_refuse_other_counts(tree, labels[:1])",
        "_refuse_other_counts(tree, [])",
        "tests/storage/test_locks.py::test_of_two_numbers_of_buckets_at_once_at_most_one_goes_on",
    ),
)
