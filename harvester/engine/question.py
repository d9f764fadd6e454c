"""One question to WeChat, under the rate and the quota of its account."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import anyio

from harvester.catalogue.error_codes import rule_for
from harvester.core import calendar
from harvester.core.calendar import Clock
from harvester.core.config.settings import Manifest
from harvester.core.model import Refusal, Window, bucket_of
from harvester.core.rule import Action, Rule
from harvester.engine.ledger_files import LedgerFiles, Opened
from harvester.engine.lone_calls import MAX_ATTEMPTS, LoneCalls, Outcome, may_count
from harvester.planning.ledger import Ledger
from harvester.planning.quota import DailyQuota
from harvester.storage.layout import Tree
from harvester.wechat.attempt import RefusedAttempt

SPENT = 45009
"""WeChat's code for a quota that is spent."""

_TOLD_SECONDS = 5.0
"""Seconds of waiting from which on a wait is logged."""

_log = logging.getLogger("harvester.fetch")


@dataclass(frozen=True, slots=True)
class Question:
    """Asks for one window, for the holder of the account's bucket.

    The calls are entered into the ledger of the bucket, each before it is made, and count in the
    rate of the next run. A question may spend what a run leaves to the account's other users,
    because it is put by one of them; it is not put if WeChat has said that the quota is spent, or
    if nothing at all is left of it.
    """

    calls: LoneCalls
    files: LedgerFiles
    manifest: Manifest
    now: Clock
    tree: Tree
    window: Window

    async def ask(self) -> Outcome:
        """Return the answer, or why there is none. Raises StoreError and UsageError, in a group."""
        files, rate = self.files, self.manifest.limits.per_token.rate
        bucket = bucket_of(self.window.appid, self.tree.buckets)
        opened = (await files.open(calendar.today(self.now()), [bucket], rate))[bucket]
        recent, ledger = await self._cool_down(opened), opened.ledger
        dataset = self.manifest.datasets[self.window.dataset]
        # Midnight may have passed meanwhile.
        ledger.begin(calendar.today(self.now()))
        if (spent := self._spent(ledger)) is not None:
            return spent

        async def once() -> Outcome:
            # Durable before the call, because a killed run must have entered too many.
            ledger.add(self.window.dataset, self.window.appid, 1)
            await files.write(ledger, bucket)
            found = await self.calls.attempt(self.window, dataset)
            self._note(ledger, found)
            return found

        outcome = await self.calls.few(once)
        # What earlier runs have sent counts in the rate until then, and these calls beside it.
        ledger.expire(self.now())
        ledger.enter_recent(recent + self.calls.made, self.now() + rate.period)
        await files.close(ledger, bucket)
        return outcome

    async def _cool_down(self, opened: Opened) -> int:
        """Wait while the rate of earlier runs leaves no room; return the calls that still count."""
        if not opened.wait:
            return 0
        # Unknown calls are as many as the rate allows, so their whole period is waited for.
        recent, rate = opened.recent, self.manifest.limits.per_token.rate
        if recent is not None and recent + MAX_ATTEMPTS <= rate.count:
            return recent
        if opened.wait >= _TOLD_SECONDS:
            until = calendar.utc_text(self.now() + opened.wait)
            _log.info("waiting until %s: a run has just used the rate of this account", until)
        await anyio.sleep(opened.wait)
        return 0

    def _spent(self, ledger: Ledger) -> RefusedAttempt | None:
        """Return the refusal for a quota of which nothing is left, the reserve included."""
        dataset, appid = self.window.dataset, self.window.appid
        told = ledger.exhausted_by(dataset, appid)
        if told is not None:
            # Asked again, WeChat would say the same and count the call.
            return RefusedAttempt(rule_for(told.errcode), told)
        quota = DailyQuota(self.manifest.limits, ledger, dataset, appid)
        if quota.left(reserve_too=True):
            return None
        return RefusedAttempt(rule_for(SPENT), quota.explain())

    def _note(self, ledger: Ledger, outcome: Outcome) -> None:
        """Return a call that WeChat cannot have counted; enter a quota that it says is spent."""
        dataset, appid = self.window.dataset, self.window.appid
        if not may_count(outcome):
            ledger.add(dataset, appid, -1)
        match outcome:
            case RefusedAttempt(rule=Rule(action=Action.WAIT_FOR_QUOTA), why=Refusal() as why):
                ledger.exhaust(dataset, appid, why)
