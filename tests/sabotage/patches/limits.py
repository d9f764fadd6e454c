"""Rates, quotas, retries and shards: what may be asked, and when."""

from __future__ import annotations

from tests.sabotage.run import Sabotage

BUDGET = "harvester/engine/call_budget.py"
FETCH = "harvester/verbs/fetch.py"
LEASE = "harvester/storage/backends/lease.py"
LEARNING = "harvester/scheduling/refusal_learning.py"
DEATHS = "tests/runs/processes/test_deaths.py"
LONE_CALLS = "harvester/engine/lone_calls.py"
LIMITER = "harvester/engine/rate_limiter.py"
QUOTA = "harvester/planning/quota.py"
RATE = "harvester/scheduling/rate_state.py"
REFUSAL = "harvester/scheduling/refusal_policy.py"
RETRIES = "harvester/scheduling/retry_budget.py"
RUN = "harvester/runs/harvest.py"
SCHEDULER = "harvester/scheduling/scheduler.py"
SHARD_PROCESS = "harvester/runs/processes/shard_process.py"
SHARDING = "harvester/planning/sharding.py"
SHARED = "tests/runs/processes/test_shared_run.py"
SHARED_RUN = "harvester/runs/processes/shared_run.py"
STREAM = "harvester/runs/stream.py"
SUPERVISOR = "harvester/runs/processes/supervisor.py"
WINDOWS = "harvester/core/windows.py"

SABOTAGES = (
    Sabotage(
        "fetch-beside-a-run",
        FETCH,
        "with locked(tree, own, stream, project.lock_timeout) as tree:",
        "with locked(tree, [], stream, project.lock_timeout) as tree:",
        "tests/verbs/test_fetch.py::test_a_run_at_work_is_not_disturbed",
    ),
    Sabotage(
        "fetch-counts-no-call",
        LONE_CALLS,
        "ledger.add(window.dataset, window.appid, 1)",
        "pass",
        "tests/verbs/test_fetch.py::test_a_question_counts_in_the_ledger",
    ),
    Sabotage(
        "span-plus-one",
        WINDOWS,
        "floor = max(0, end - span)",
        "floor = max(0, end - span - 1)",
        "tests/core/test_windows.py::test_no_cover_has_fewer_windows",
    ),
    Sabotage(
        "one-slot-more",
        RATE,
        "if self.in_flight + len(slots) < count:",
        "if self.in_flight + len(slots) <= count:",
        "tests/scheduling/test_scheduler.py::test_no_sliding_window_of_the_server_ever_holds_more_than_the_limit",
    ),
    Sabotage(
        "wider-limiter",
        LIMITER,
        "AsyncLimiter(burst, burst * self.interval * RATE_MARGIN)",
        "AsyncLimiter(2 * burst, burst * self.interval * RATE_MARGIN)",
        "tests/engine/test_rate_limiter.py::test_a_burst_starts_at_once_and_the_rest_evenly",
    ),
    Sabotage(
        "slot-free-at-the-answer",
        RATE,
        "self.reserved_until.append(now + self.window_seconds)",
        "pass",
        "tests/scheduling/test_scheduler.py::test_no_sliding_window_of_the_server_ever_holds_more_than_the_limit",
    ),
    Sabotage(
        "no-hold-off",
        BUDGET,
        "queue.rate.reserve(ledger.idle_from, ledger.recent_calls)",
        "pass",
        "tests/scheduling/test_limits_and_outages.py::test_a_run_holds_off_until_calls_of_the_one_before_count_no_more",
    ),
    Sabotage(
        "minute-limit-without-slowing",
        REFUSAL,
        "rate.slow_down(self._interval, SLOWDOWN_FACTOR, MAX_INTERVAL)",
        "rate.minute_limits += 1",
        "tests/scheduling/test_limits_and_outages.py::test_a_server_that_is_stricter_than_the_manifest_is_obeyed_in_the_end",
    ),
    Sabotage(
        "minute-limit-without-a-pause",
        REFUSAL,
        "rate.refuse_until(now + backoff.until_next_minute(now, self._jitter))",
        "rate.refuse_until(now)",
        "tests/scheduling/test_scheduler.py::test_the_minute_limit_pauses_one_lane_and_burns_no_attempt",
    ),
    Sabotage(
        "ledger-not-written",
        BUDGET,
        "await self.files.write(touched)",
        "pass",
        "tests/engine/test_daily_quota.py::test_a_killed_run_has_noted_too_much_rather_than_too_little",
    ),
    Sabotage(
        "ledger-written-after",
        BUDGET,
        "await self.files.write(touched)",
        '__import__("asyncio").ensure_future(self.files.write(touched))',
        "tests/engine/test_daily_quota.py::test_a_call_is_in_the_ledger_before_it_is_made",
    ),
    Sabotage(
        "reserve-ignored",
        QUOTA,
        "kept = 0 if reserve_too else self._reserve + self._kept",
        "kept = 0 if reserve_too else self._kept",
        "tests/engine/test_daily_quota.py::test_the_reserve_is_left_to_others",
    ),
    Sabotage(
        "remaining-calls-ignored",
        QUOTA,
        "self._room = min(self.quota, known.counted + told.remain)",
        "self._room = self.quota",
        "tests/planning/test_quota_decisions.py::test_what_is_left_is_the_smaller_of_limit_and_remain_less_the_reserve",
    ),
    Sabotage(
        "quota-never-asked",
        QUOTA,
        "if owed > unasked == 0 == unused:",
        "if False:",
        "tests/engine/test_quota_questions.py::test_a_day_of_few_calls_asks_nothing",
    ),
    Sabotage(
        "questions-not-counted",
        QUOTA,
        "questions, day = self._questions() + 1, self._ledger.day",
        "questions, day = 1, self._ledger.day",
        "tests/engine/test_quota_questions.py::test_no_more_than_four_questions_on_a_day_however_many_runs",
    ),
    Sabotage(
        "ran-out-while-none-were-given",
        SCHEDULER,
        "if not (limit or backlog.abandoned_by or backlog.quota.allocated > 0):",
        "if False:",
        "tests/scheduling/test_blocked_datasets.py::test_calls_that_ran_out_while_none_were_given_are_asked_for_again",
    ),
    Sabotage(
        "calls-over-midnight-not-counted",
        SCHEDULER,
        "return [(queue, calls) for queue, calls in flown if calls]",
        "return []",
        "tests/scheduling/test_scheduler.py::test_nothing_is_handed_out_between_a_day_and_the_next",
    ),
    Sabotage(
        "refusals-never-learnt",
        LEARNING,
        "elif in_a_row >= SAMPLES:",
        "elif False:",
        "tests/engine/test_surprises.py::test_a_code_for_every_window_costs_a_handful_of_calls",
    ),
    Sabotage(
        "learnt-refusal-not-kept",
        BUDGET,
        "ledger.learn(backlog.dataset.name, queue.appid, backlog.refusals.learnt)",
        "pass",
        "tests/engine/test_surprises.py::test_a_code_for_every_window_costs_a_handful_of_calls",
    ),
    Sabotage(
        "one-bad-account-stops-the-others",
        LEARNING,
        "and name not in self._answered",
        "and True",
        "tests/scheduling/test_refusal_learning.py::test_an_account_that_is_refused_after_another_was_answered_is_sampled",
    ),
    Sabotage(
        "probe-without-waiting",
        "harvester/scheduling/account_queue.py",
        "backlog.refusals.held = not backlog.refusals.released",
        "backlog.refusals.held = is_held",
        "tests/engine/test_surprises.py::test_each_dataset_of_an_account_is_probed_before_it_is_asked_at_once",
    ),
    Sabotage(
        "accounts-wait-for-dead-scouts",
        LEARNING,
        "while waiting and len(scouts) < SCOUTS:",
        "while False:",
        "tests/engine/test_surprises.py::test_scouts_that_end_otherwise_keep_no_account_waiting",
    ),
    Sabotage(
        "working-token-counts-as-useless",
        "harvester/wechat/auth/token_cache.py",
        "() if cached.works else (*self",
        "(*self",
        "tests/wechat/auth/test_providers.py::test_a_token_that_worked_is_none_of_the_two_that_justify_force",
    ),
    Sabotage(
        "attempts-without-end",
        REFUSAL,
        "if attempt.tries < self._backoff.max_attempts:",
        "if True:",
        "tests/scheduling/test_scheduler.py::test_a_retry_waits_in_the_heap_and_is_given_up_after_the_last_try",
    ),
    Sabotage(
        "refused-account-answers-for-a-dataset",
        REFUSAL,
        'self.heard("" if is_of_account else attempt.window.dataset, is_refusal=True)',
        "self.heard(attempt.window.dataset, is_refusal=True)",
        "tests/scheduling/test_scheduler.py::test_a_refusal_of_an_account_is_no_answer_about_the_dataset_that_waits",
    ),
    Sabotage(
        "wait-of-a-dataset-resumes-refused-accounts",
        REFUSAL,
        "backlog.is_aside = is_held",
        "backlog.refusals.held = is_held",
        "tests/scheduling/test_scheduler.py::test_the_wait_of_a_dataset_ends_and_its_refused_accounts_wait_on_for_their_scouts",
    ),
    Sabotage(
        "outage-costs-windows",
        REFUSAL,
        "return attempt.returns <= MAX_RETURNS",
        "return False",
        "tests/runs/test_unfinished_before_partial.py::test_windows_that_ran_out_of_attempts_in_a_storm_are_asked_after_it",
    ),
    Sabotage(
        "gate-never-closes",
        RETRIES,
        "if self.balance < 1 or (self.failures >= FAILURES_TO_OPEN and is_away):",
        "if False:",
        "tests/scheduling/test_limits_and_outages.py::test_the_gate_closes_after_five_failures_of_a_run_that_got_no_answer",
    ),
    Sabotage(
        "shards-overlap",
        SHARDING,
        "if bucket % total == number - 1]",
        "]",
        "tests/end_to_end/test_end_to_end.py::test_each_shard_harvests_its_own_buckets",
    ),
    Sabotage(
        "request-limit-ignored",
        RUN,
        "if grant is not None and requests > grant:",
        "if False:",
        "tests/end_to_end/test_end_to_end.py::test_a_plan_that_is_too_large_is_refused_before_the_first_request",
    ),
    Sabotage(
        "connections-not-shared-out",
        SHARED_RUN,
        "least, more = divmod(manifest.limits.connections, count)",
        "least, more = manifest.limits.connections, 0",
        f"{SHARED}::test_the_connections_are_shared_out",
    ),
    Sabotage(
        "dead-process-not-reported",
        SUPERVISOR,
        "self._stream.report(Ended(self._stream.now(), error), shard.name)",
        "pass",
        f"{DEATHS}::test_a_shard_whose_process_dies_twice_is_reported",
    ),
    Sabotage(
        "dead-process-not-started-again",
        SUPERVISOR,
        "MAX_DEATHS = 1",
        "MAX_DEATHS = 0",
        f"{DEATHS}::test_a_process_that_dies_is_started_again",
    ),
    Sabotage(
        "exit-code-of-the-first-shard",
        STREAM,
        "return Record.of_shards([*self._shards.values()], self.own)",
        "return Record.of_shards([*self._shards.values()][:1], self.own)",
        f"{SHARED}::test_the_exit_code_is_the_most_severe_of_all_shards",
    ),
    Sabotage(
        "orphans-go-on",
        SHARD_PROCESS,
        "self.order.code = Exit(code)",
        "pass",
        f"{DEATHS}::test_a_signal_ends_all_processes_in_order",
    ),
    Sabotage(
        "lease-not-checked-at-hand-out",
        SCHEDULER,
        "if not hold.is_good():",
        "if False:",
        "tests/scheduling/test_scheduler.py::test_nothing_is_handed_out_without_the_lease",
    ),
    Sabotage(
        "request-written-after-the-lease",
        "harvester/wechat/account_calls.py",
        "refuse_without_lease(self._hold)",
        "pass",
        "tests/wechat/test_transport_tokens.py::test_no_request_is_written_without_the_lease",
    ),
    Sabotage(
        "lease-taken-over-too-early",
        LEASE,
        "return self._since + seconds_of(",
        "return self._since + 0.9 * seconds_of(",
        "tests/storage/backends/test_lease.py::test_all_buckets_of_a_dead_run_are_taken_after_one_lease",
    ),
    Sabotage(
        "lease-renewed-without-condition",
        LEASE,
        "self._files.put(self._name, data, self._version)",
        "self._files.put(self._name, data, (self.look(), self._version)[1])",
        "tests/storage/backends/test_lease.py::test_a_renewal_never_replaces_the_note_of_another_run",
    ),
    Sabotage(
        "lease-counted-from-the-answer",
        LEASE,
        "self.good_until = sent_at[beat] + ",
        "self.good_until = self._terms.clock() + ",
        "tests/storage/backends/test_lease.py::test_a_lease_counts_from_before_its_put",
    ),
    Sabotage(
        "ledger-put-without-condition",
        "harvester/storage/state/json_file.py",
        "self._store.put(self._name, encoded(value), self._version)",
        "self._store.put("
        "self._name, encoded(value), getattr(self._store.get(self._name), 'version', None))",
        "tests/storage/state/test_quota_ledger.py::test_a_ledger_of_another_run_is_not_replaced",
    ),
    Sabotage(
        "ledger-replaced-on-a-disk-unseen",
        "harvester/storage/backends/local.py",
        "if self._version(name) != over:",
        "if False:",
        "tests/storage/state/test_quota_ledger.py::test_a_ledger_of_another_run_is_not_replaced",
    ),
    Sabotage(
        "ledger-written-after-the-lease",
        "harvester/engine/ledger_files.py",
        "if self._tree.hold.is_good():",
        "if True:",
        "tests/engine/test_lost_lease.py::test_a_run_that_has_lost_its_lease_writes_no_ledger",
    ),
    Sabotage(
        "window-of-the-missing-days-alone",
        WINDOWS,
        "inside = missing >> floor | along >> floor",
        "inside = missing >> floor",
        "tests/core/test_windows.py::test_a_window_reaches_back_over_the_whole_span",
    ),
    Sabotage(
        "cost-of-a-waiting-dataset-given-back-again",
        RETRIES,
        "            wait.cost = 0",
        "            pass",
        "tests/scheduling/test_limits_and_outages.py"
        "::test_what_a_waiting_dataset_has_cost_is_given_back_once",
    ),
    Sabotage(
        "run-longer-than-the-wait",
        "harvester/verbs/run.py",
        "return left if own is None else min(own, left)",
        "return left if own is None else own",
        "tests/cli/test_until_complete.py::test_max_duration_bounds_each_run_and_wait_all_of_them",
    ),
    Sabotage(
        "calls-under-way-at-midnight-not-charged",
        BUDGET,
        "self._ledgers[queue.bucket].add(backlog.dataset.name, queue.appid, calls)",
        "pass",
        "tests/engine/test_daily_quota.py"
        "::test_calls_under_way_at_midnight_are_calls_of_the_new_day",
    ),
    Sabotage(
        "quota-of-the-new-day-in-the-ledger-of-before",
        "harvester/engine/quota_questions.py",
        "if calendar.today(asked_at) != ledger.day:",
        "if False:",
        "tests/engine/test_quota_questions.py"
        "::test_a_number_that_is_told_after_midnight_is_none_of_the_ledger_of_before",
    ),
    Sabotage(
        "recent-calls-of-before-a-fetch-forgotten",
        "harvester/planning/ledger.py",
        "self.enter_recent(self.recent_calls + calls,",
        "self.enter_recent(calls,",
        "tests/verbs/test_fetch.py::test_a_question_counts_in_the_ledger",
    ),
    Sabotage(
        "lease-given-back-over-a-late-renewal",
        LEASE,
        "for _ in range(2):",
        "for _ in range(1):",
        "tests/storage/backends/test_lease.py"
        "::test_a_lease_ends_although_a_renewal_arrives_just_before",
    ),
)
