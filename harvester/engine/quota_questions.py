"""Questions to WeChat for the daily quotas, each at the pace of its account.

A question is a call of another API, so it spends nothing of the quota it asks for. It goes out in
a task of its own, on a connection of the account, and takes the place of one of its data calls.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import NamedTuple

import anyio

from harvester.core import calendar
from harvester.core.calendar import Clock
from harvester.core.config.settings import ASSUMED_QUOTA
from harvester.core.dataset import Dataset
from harvester.core.errors import CallError
from harvester.core.model import ReportedQuota
from harvester.engine.rate_limiter import RateLimiter
from harvester.planning.ledger import Ledger
from harvester.scheduling.account_queue import AccountQueue, Backlog
from harvester.wechat.auth.provider import TokenDenied
from harvester.wechat.auth.token_cache import TokenCache
from harvester.wechat.quota_api import QUOTA_PATH, quota_body, quota_or_reason
from harvester.wechat.transport import Transport

_log = logging.getLogger("harvester.quota")


class QuotaAnswer(NamedTuple):
    """An answer, and how many calls of the ledger it certainly includes.

    ``told`` is the quota, why WeChat does not tell it, or None if no answer came.
    """

    told: ReportedQuota | str | None
    counted: int = 0


@dataclass(eq=False, repr=False)
class QuotaQuestions:
    """Asks for quotas, each with one call.

    At most ``connections`` of them are in flight. ``now`` returns seconds since the Unix epoch and
    never steps back. ``asked`` counts the questions, and ``refused`` those that WeChat refused.
    """

    transport: Transport
    tokens: TokenCache
    limiter: RateLimiter
    connections: int
    now: Clock
    asked: int = 0
    refused: int = 0

    def __post_init__(self) -> None:
        """Bound the questions in flight."""
        self._in_flight = anyio.Semaphore(self.connections)

    async def ask(self, queue: AccountQueue, backlog: Backlog, ledger: Ledger) -> QuotaAnswer:
        """Ask for a dataset's quota; ``ledger`` has its calls."""
        dataset = backlog.dataset
        try:
            token = await self.tokens.current(queue.appid)
            async with self._in_flight:
                await self._turn(queue)
                self.asked += 1
                # As of the moment of asking: WeChat's number may be older than its answer. Calls in
                # flight may not be in it yet.
                counted = ledger.spent(dataset.name, queue.appid)
                counted -= backlog.quota.unused + queue.rate.in_flight
                asked_at = self.now()
                if calendar.today(asked_at) != ledger.day:
                    # The ledger of the new day is not open yet, so only the limit is of use.
                    asked_at = 0.0
                status, body = await self.transport.post(
                    queue.appid, QUOTA_PATH, quota_body(dataset), token
                )
        except (CallError, TokenDenied):
            return QuotaAnswer(None)
        told = quota_or_reason(status, body, asked_at)
        if isinstance(told, str):
            self._warn_once(queue.appid, dataset, told)
        return QuotaAnswer(told, max(0, counted))

    async def _turn(self, queue: AccountQueue) -> None:
        """Wait until the account may make a call; none of its data calls starts meanwhile."""
        rate, most = queue.rate, self.limiter.pace.rate.count
        while (at := rate.slot_at(self.now(), most)) > self.now():
            wait = self.limiter.interval if math.isinf(at) else at - self.now()
            rate.pause(self.now() + wait + rate.interval)
            await anyio.sleep(wait)
        rate.pause(self.now() + rate.interval)
        await self.limiter.take(queue.appid)
        rate.call_beside(self.now())

    def _warn_once(self, appid: str, dataset: Dataset, why: str) -> None:
        self.refused += 1
        if self.refused == 1:
            _log.warning(
                "WeChat does not tell the daily quota (%s %s: %s): %s calls a day are assumed "
                "where it is unknown; set limits.daily_quota if you know better",
                appid,
                dataset.name,
                why,
                f"{ASSUMED_QUOTA:,}",
            )
