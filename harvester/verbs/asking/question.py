"""One question to WeChat, under the rate and the quota of its account."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, field
from typing import NamedTuple

import anyio

from harvester.catalogue.error_codes import Action, rule_for
from harvester.core import calendar
from harvester.core.config.settings import Api, Manifest
from harvester.core.dataset import Dataset
from harvester.core.hold import Hold
from harvester.core.model import Refusal, Window, bucket_of
from harvester.core.secret import Secret
from harvester.core.text import redaction
from harvester.engine.ledger_files import LedgerFiles
from harvester.planning.daily_quota import Quota
from harvester.planning.quota import DayLedger
from harvester.runs.access import token_providers
from harvester.runs.runtime import RunContext
from harvester.storage.layout import Tree
from harvester.storage.state import quota_limits
from harvester.verbs.asking.attempts import MAX_ATTEMPTS, NOTHING_SENT, few_attempts
from harvester.wechat.attempt import RefusedAttempt, attempt
from harvester.wechat.auth.token_cache import TokenCache
from harvester.wechat.transport import Call, Transport

SPENT = 45009
"""WeChat's code for a quota that is spent."""

_TOLD_SECONDS = 5.0
"""Seconds of waiting from which on a wait is logged."""

_log = logging.getLogger("harvester.fetch")


class Heard(NamedTuple):
    """The outcome of a question, the bytes of its answer with secrets masked, and its requests."""

    outcome: bytes | RefusedAttempt
    raw: bytes
    requests: int


@dataclass(slots=True)
class Question:
    """Asks for one window, for the holder of the account's bucket.

    The calls are entered into the ledger of the bucket, each before it is made, and count in the
    rate of the next run. A question may spend what a run leaves to the account's other users,
    because it is put by one of them; it is not put if WeChat has said that the quota is spent, or
    if nothing at all is left of it.
    """

    manifest: Manifest
    context: RunContext
    tree: Tree
    run_id: str
    window: Window
    dataset: Dataset
    requests: int = 0
    rng: random.Random = field(default_factory=random.Random)

    @property
    def bucket(self) -> int:
        """The bucket of the account."""
        return bucket_of(self.window.appid, self.tree.buckets)

    async def ask(self) -> Heard:
        """Return the answer, or why there is none. Raises StoreError and UsageError, in a group."""
        clock, pace = self.context.clock, self.manifest.limits.per_token
        files = LedgerFiles(self.tree, self.run_id, clock.moment)
        recent = await self._cool_down(files)
        ledger = await files.open(calendar.today(clock()), self.bucket, pace.rate.period)
        if (spent := self._spent(ledger)) is not None:
            return Heard(spent, b"", 0)
        heard = await self._ask(files, ledger)
        if ledger.idle_from <= clock():
            ledger.recent_calls = 0
        ledger.enter_recent(recent + self.requests, clock() + pace.rate.period)
        ledger.in_use = False
        await files.write(ledger, self.bucket)
        return heard

    async def _ask(self, files: LedgerFiles, ledger: DayLedger) -> Heard:
        window, pace = self.window, self.manifest.limits.per_token
        async with (
            self.context.open_api() as api,
            _Recorder(api, self.dataset.path, self.context, self.tree.hold) as transport,
        ):
            providers = token_providers(self.context, transport)
            async with TokenCache(providers.provider, self.context.clock) as tokens:

                async def once() -> bytes | RefusedAttempt:
                    if self.requests:
                        await anyio.sleep(pace.rate.period / pace.rate.count)
                    # Durable before the call, because a killed run must have entered too many.
                    ledger.add(window.dataset, window.appid, 1)
                    await files.write(ledger, self.bucket)
                    found = await attempt(window, self.dataset, tokens, transport)
                    self.requests += 1
                    if isinstance(found, RefusedAttempt):
                        self._note(ledger, found)
                    return found

                outcome = await few_attempts(once, self.manifest.retry, self.rng)
        return Heard(outcome, redaction.redacted_bytes(transport.body), self.requests)

    async def _cool_down(self, files: LedgerFiles) -> int:
        """Wait while the rate of earlier runs leaves no room; return the calls that still count."""
        pace = self.manifest.limits.per_token
        waits = await files.waits(self.bucket, pace.rate.period)
        if waits is None:
            has_data = await files.with_data([self.bucket])
            waits = [(pace.rate.period, None)] if has_data else []
        recent = sum(calls or 0 for _, calls in waits)
        is_known = all(calls is not None for _, calls in waits)
        if is_known and recent + MAX_ATTEMPTS <= pace.rate.count:
            return recent
        seconds = max((wait for wait, _ in waits), default=0.0)
        if seconds >= _TOLD_SECONDS:
            _log.info("waiting %.0f s: a run has just used the rate of this account", seconds)
        await anyio.sleep(seconds)
        return 0

    def _spent(self, ledger: DayLedger) -> RefusedAttempt | None:
        """Return the refusal for a quota of which nothing is left, the reserve included."""
        dataset, appid = self.window.dataset, self.window.appid
        told = ledger.exhausted_by(dataset, appid)
        if told is not None:
            return RefusedAttempt(rule_for(told.errcode), told)
        quota = Quota(self.manifest.limits, quota_limits.read_known(self.tree, [self.bucket]))
        if quota.left(ledger, dataset, appid, reserve_too=True):
            return None
        return RefusedAttempt(rule_for(SPENT), quota.explain(ledger, dataset, appid))

    def _note(self, ledger: DayLedger, refused: RefusedAttempt) -> None:
        """Return a call that WeChat cannot have counted; enter a quota that it says is spent."""
        dataset, appid = self.window.dataset, self.window.appid
        if refused.rule.action in NOTHING_SENT:
            ledger.add(dataset, appid, -1)
        is_spent = refused.rule.action is Action.WAIT_FOR_QUOTA
        if is_spent and isinstance(refused.why, Refusal):
            ledger.exhaust(dataset, appid, refused.why)


class _Recorder(Transport):
    """A transport for one caller that keeps the last answer to a data call."""

    def __init__(self, api: Api, path: str, context: RunContext, hold: Hold) -> None:
        super().__init__(api, connections=1, on_date=context.clock.hear, hold=hold)
        self._path = path
        self.body = b""

    def post(self, account: str, path: str, body: bytes, token: Secret | None = None) -> Call:
        """Send a body, and keep the answer if it is one to a data call."""
        call = super().post(account, path, body, token)
        # The answers to calls for tokens hold tokens.
        return self._kept(call) if path == self._path else call

    async def _kept(self, call: Call) -> tuple[int, bytes]:
        status, self.body = await call
        return status, self.body
