"""Calls and tokens: what counts as an answer, and when a token is replaced."""

from __future__ import annotations

from tests.sabotage.run import Sabotage

ACCOUNT_CALLS = "harvester/wechat/account_calls.py"
RAW_LOG = "harvester/storage/raw_log.py"
PROVIDERS = "harvester/wechat/auth/token_providers.py"
COMPONENT = "harvester/wechat/auth/component.py"
FORCED = "harvester/storage/state/forced_refreshes.py"
OWNERS = "harvester/wechat/auth/token_owners.py"
POOL = "harvester/wechat/connection_pool.py"
PUBLISH = "harvester/storage/publish.py"
TOKENS = "harvester/wechat/auth/token_cache.py"
TRANSPORT = "harvester/wechat/transport.py"

SABOTAGES = (
    Sabotage(
        "cut-body-without-length-accepted",
        TRANSPORT,
        "if not has_length and not is_document(body):",
        "if False:",
        "tests/wechat/test_transport.py::test_an_answer_cut_behind_an_inner_list_is_no_list_of_rows",
    ),
    Sabotage(
        "body-cap-not-checked",
        TRANSPORT,
        "if len(body) > MAX_BODY:",
        "if False:",
        "tests/wechat/test_transport.py::test_an_endless_answer_is_refused",
    ),
    Sabotage(
        "body-read-without-end",
        ACCOUNT_CALLS,
        "while size <= MAX_BODY:",
        "while True:",
        "tests/wechat/test_transport.py::test_an_endless_answer_is_refused",
    ),
    Sabotage(
        "answers-in-hand-not-bounded",
        ACCOUNT_CALLS,
        "while self._must_wait(reader):",
        "while False:",
        "tests/wechat/test_bytes_in_hand.py::test_the_bytes_in_hand_never_exceed_their_bound",
    ),
    Sabotage(
        "answers-wait-in-a-merge-with-their-bodies",
        RAW_LOG,
        "if batch.size <= BATCH_BYTES:",
        "if True:",
        "tests/storage/test_raw_log.py::test_a_merge_holds_no_long_answer_whose_turn_has_not_come",
    ),
    Sabotage(
        "rows-of-other-months-held",
        "harvester/tables/decode_batch.py",
        "if not pc.all(wanted).as_py():",
        "if False:",
        "tests/tables/test_decode_batch.py::test_only_rows_of_the_kept_days_are_in_memory",
    ),
    Sabotage(
        "redirect-accepted",
        TRANSPORT,
        "if 300 <= status < 400:",
        "if False:",
        "tests/wechat/test_transport.py::test_a_redirect_is_not_followed",
    ),
    Sabotage(
        "redirect-followed",
        TRANSPORT,
        "self._session.post(",
        "(lambda *given, allow_redirects, **named: self._session.post(*given, **named))(",
        "tests/wechat/test_transport.py::test_a_redirect_is_not_followed",
    ),
    Sabotage(
        "redirect-of-a-token-server-followed",
        TRANSPORT,
        "self._session.get(",
        "(lambda *given, allow_redirects, **named: self._session.get(*given, **named))(",
        "tests/wechat/test_transport_tokens.py::test_a_redirect_of_a_token_server_is_not_followed",
    ),
    Sabotage(
        "surplus-bytes-read-as-an-answer",
        POOL,
        "not self.surplus and protocol.is_connected() and not protocol.should_close",
        "protocol.is_connected()",
        "tests/wechat/test_transport.py::test_unsolicited_bytes_are_not_read_as_an_answer",
    ),
    Sabotage(
        "idle-connections-used-after-a-surplus-answer",
        POOL,
        "fresh and not self.surplus and",
        "fresh and",
        "tests/wechat/test_connection_pool.py::test_a_surplus_answer_to_one_account_ends_the_use_of_all_idle_connections",
    ),
    Sabotage(
        "broken-connection-used-again",
        ACCOUNT_CALLS,
        "self.pool.discard(connection)",
        "self.pool.give_back(account, connection)",
        "tests/wechat/test_connection_pool.py::test_a_late_answer_is_not_that_to_the_next_request",
    ),
    Sabotage(
        "connection-handed-to-another-account",
        POOL,
        "while (idle := self._idle.get(account)) is not None:",
        "while (idle := self._idle.get(account := next(iter(self._idle), account))) is not None:",
        "tests/wechat/test_connection_pool.py::test_a_connection_serves_one_account",
    ),
    Sabotage(
        "proxy-of-the-environment-used",
        TRANSPORT,
        "trust_env=False",
        "trust_env=True",
        "tests/wechat/test_transport.py::test_proxies_of_the_environment_are_ignored",
    ),
    Sabotage(
        "token-expired-without-compare",
        TOKENS,
        "if cached is None or cached.token is not token:",
        "if cached is None:",
        "tests/wechat/auth/test_token_cache.py::test_a_rejected_token_is_replaced_once",
    ),
    Sabotage(
        "token-life-from-the-answer",
        TOKENS,
        "asked_at + issued.seconds",
        "self._clock() + issued.seconds",
        "tests/wechat/auth/test_token_cache.py::test_a_token_s_life_counts_from_the_request",
    ),
    Sabotage(
        "force-at-once",
        PROVIDERS,
        "rejection is not None and rejection.rejections >= 2",
        "rejection is not None",
        "tests/wechat/auth/test_providers.py::test_a_token_is_replaced_by_force_only_when_its_successor_is_rejected_too",
    ),
    Sabotage(
        "force-beyond-the-budget",
        PROVIDERS,
        " or not await self._budget(appid)",
        "",
        "tests/wechat/auth/test_providers.py::test_without_a_budget_the_account_stops",
    ),
    Sabotage(
        "budget-for-force-without-end",
        FORCED,
        "count >= MAX_PER_DAY or ",
        "",
        "tests/storage/state/test_forced_refreshes.py::test_twenty_a_day",
    ),
    Sabotage(
        "token-of-two-accounts-used",
        OWNERS,
        "self.stop(found)",
        "pass",
        "tests/wechat/auth/test_token_owners.py::test_all_accounts_with_one_token_are_stopped_for_one_cause",
    ),
    Sabotage(
        "answers-under-the-token-of-another-published",
        PUBLISH,
        "quarantined(answer.window, reason) if reason else decoded",
        "decoded",
        "tests/storage/test_publish.py::test_answers_of_an_untrusted_account_go_to_quarantine",
    ),
    Sabotage(
        "refusal-behind-an-empty-list",
        "harvester/wechat/protocol.py",
        """ and b'"errcode"' not in body""",
        "",
        "tests/wechat/test_protocol.py::test_an_errcode_is_a_refusal",
    ),
    Sabotage(
        "refresh-token-replaced-by-a-spent-one",
        COMPONENT,
        "if token is not before.get(x)",
        "if False",
        "tests/wechat/auth/test_platform.py"
        "::test_a_list_that_was_long_on_its_way_replaces_no_newer_refresh_token",
    ),
    Sabotage(
        "refresh-token-not-flushed",
        "harvester/wechat/auth/refresh_token_store.py",
        "os.fsync(file.fileno())",
        "pass",
        "tests/wechat/auth/test_platform.py"
        "::test_a_refresh_token_is_on_the_disk_before_its_file_has_its_name",
    ),
)
