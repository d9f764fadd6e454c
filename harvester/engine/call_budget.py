"""Allocation of the daily quota: written to disk before use; unused calls are returned at the end.

One write of a ledger covers many queues and the calls of several seconds, so requests wait for the
disk only at the start of a day. If WeChat must be asked for the quota of a dataset of an account,
this dataset waits for the answer while all others get their calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import anyio

from harvester.catalogue.error_codes import rule_for
from harvester.core import calendar
from harvester.core.calendar import Day
from harvester.core.config.settings import Limits
from harvester.engine.ledger_files import LedgerFiles
from harvester.engine.quota_questions import QuotaAnswer, QuotaQuestions
from harvester.planning.ledger import Calls
from harvester.planning.quota import Block, DailyQuota, block
from harvester.scheduling.account_queue import AccountQueue, Backlog, pairs
from harvester.scheduling.scheduler import Scheduler

GATHER_SECONDS = 1.0
"""Seconds for which refills are gathered, unless a queue has no call left."""


class BudgetPolicy(NamedTuple):
    """Policy for allocating one day's calls.

    ``reserved_later`` returns the calls to keep, at a time, for data that gets ready later that
    day. ``forget`` treats the quotas of the run's accounts and datasets as unspent, because the
    user says so. ``forget_refusals`` drops the refusals that earlier runs have learnt.
    """

    limits: Limits
    reserved_later: Callable[[float], Calls]
    forget: bool = False
    forget_refusals: bool = False


@dataclass(eq=False, repr=False)
class CallBudget:
    """Budget of a run: enters calls into the ledgers and allocates them to the queues.

    ``questions`` asks WeChat for quotas where the policy requires it, and provides the clock.
    ``on_allocated`` is called after each allocation.
    """

    files: LedgerFiles
    scheduler: Scheduler
    policy: BudgetPolicy
    questions: QuotaQuestions
    on_allocated: Callable[[], None]

    def __post_init__(self) -> None:
        """Begin before the first day."""
        self._now = self.questions.now
        self._ledgers = self.files.ledgers
        self._kept: Calls = {}
        self._to_ask: list[tuple[AccountQueue, Backlog]] = []
        self._answers: list[tuple[AccountQueue, Backlog, QuotaAnswer]] = []
        self._day: Day = 0
        self._closing = False
        self._wake = anyio.Event()
        self._urgent = anyio.Event()

    def __repr__(self) -> str:
        """Describe the ledgers in use and what waits for an allocation."""
        return (
            f"CallBudget(day={calendar.day_text(self._day)}, ledgers={len(self._ledgers)}, "
            f"refill_requests={len(self.scheduler.refill_requests)})"
        )

    async def open(self) -> None:
        """Read the calls already spent and allocate the first ones, before the first request.

        Recent calls of earlier runs count against the rate. If their number is unknown, the rate
        counts as fully used: after a run that did not end in order, and if data has no ledger.
        Raises StoreError.
        """
        self._day = calendar.today(self._now())
        buckets = {queue.bucket for queue in self.scheduler.queues}
        await self.files.open(self._day, buckets, self.policy.limits.per_token.rate)
        for queue in self.scheduler.queues:
            ledger = self._ledgers[queue.bucket]
            queue.rate.reserve(ledger.idle_from, ledger.recent_calls)
        await self._start_day(forget=self.policy.forget)
        self._expect_refusals()

    def wake(self) -> None:
        """Wake `run`, because queues have few calls left or a quota is spent."""
        self._wake.set()
        # A blocked queue idles meanwhile, and a spent quota is lost if the process is killed.
        if self.scheduler.blocked > 0 or self.scheduler.refusals.exhausted:
            self._urgent.set()

    def close(self) -> None:
        """Let `run` return the unused calls and end, because no more calls will be made."""
        self._closing = True
        self._wake.set()
        self._urgent.set()

    async def run(self) -> None:
        """Allocate calls until closed. Raises StoreError, in an exception group."""
        async with anyio.create_task_group() as questions:
            while not self._closing:
                for queue, backlog in self._to_ask:
                    questions.start_soon(self._ask, queue, backlog)
                self._to_ask.clear()
                await self._allocate_next()
            # What is not answered by now is not needed any more.
            questions.cancel_scope.cancel()
        await self._return_unused()

    async def _allocate_next(self) -> None:
        """Wait until calls are wanted or the day ends, and allocate."""
        midnight = calendar.instant(self._day + 1)
        with anyio.move_on_after(max(0.0, midnight - self._now())):
            await self._wake.wait()
        # Bounded by midnight, because calls of this day must not be spent on the next one.
        with anyio.move_on_after(min(GATHER_SECONDS, max(0.0, midnight - self._now()))):
            await self._urgent.wait()
        # Replaced before the work, so that a wake-up during it is not lost.
        self._wake, self._urgent = anyio.Event(), anyio.Event()
        if calendar.today(self._now()) != self._day:
            self._day = calendar.today(self._now())
            for ledger in self._ledgers.values():
                ledger.day = self._day
            # ``forget`` is about the calls of the first day alone.
            await self._start_day(forget=False)
        else:
            await self._allocate()
        self.on_allocated()

    async def _start_day(self, *, forget: bool) -> None:
        """Start a Beijing day. Calls in flight at midnight are charged to it."""
        # First of all, because calls allocated for the day before must not be spent any more.
        in_flight = self.scheduler.start_day(self._now(), calendar.instant(self._day + 1))
        self._kept = self.policy.reserved_later(self._now())
        for queue, backlog in pairs(self.scheduler.queues if forget else []):
            self._quota(queue, backlog).forget_spent()
        for queue, calls in in_flight:
            for backlog in queue.backlogs:
                self._ledgers[queue.bucket].add(backlog.dataset.name, queue.appid, calls)
        await self._allocate()

    def _expect_refusals(self) -> None:
        """Pass the refusals that earlier runs have learnt to the scheduler."""
        for queue, backlog in pairs(self.scheduler.queues):
            deferred = self._ledgers[queue.bucket].deferred
            learnt = deferred.get(backlog.dataset.name, {}).get(queue.appid)
            if learnt is not None and not self.policy.forget_refusals:
                self.scheduler.learning.expect(queue, backlog, learnt)

    def _quota(self, queue: AccountQueue, backlog: Backlog) -> DailyQuota:
        name, appid = backlog.dataset.name, queue.appid
        kept = self._kept.get(name, {}).get(appid, 0)
        return DailyQuota(self.policy.limits, self._ledgers[queue.bucket], name, appid, kept=kept)

    async def _allocate(self) -> None:
        """Enter refills and spent quotas into the ledgers, then allocate the refills."""
        refills = self.scheduler.take_refill_requests() + self._take_answers()
        touched = {queue.bucket for queue, _ in refills} | self._take_exhausted()
        blocks = [self._next_block(queue, backlog) for queue, backlog in refills]
        # Durable before use, because a killed run must have entered too many calls, not too few.
        await self.files.write(touched)
        now = self._now()
        for (queue, backlog), found in zip(refills, blocks, strict=True):
            told = self._ledgers[queue.bucket].exhausted_by(backlog.dataset.name, queue.appid)
            if told is not None:
                self.scheduler.abandoned.stop_dataset(queue, backlog, rule_for(told.errcode), told)
            if found is None:
                self._to_ask.append((queue, backlog))
            else:
                self.scheduler.allocate(queue, backlog, *found, now)
        if self.scheduler.refill_requests:
            self.wake()

    def _next_block(self, queue: AccountQueue, backlog: Backlog) -> Block | None:
        """Enter the next calls of a backlog; return None if WeChat must be asked before them."""
        dataset, appid, ledger = backlog.dataset.name, queue.appid, self._ledgers[queue.bucket]
        if backlog.abandoned_by is not None or ledger.exhausted_by(dataset, appid) is not None:
            return Block(0)
        owed = backlog.windows_left + backlog.pending_retries
        wanted = block(self.policy.limits.per_token, owed, backlog.calls)
        quota = self._quota(queue, backlog)
        found = quota.next_block(wanted, owed=owed, unused=backlog.quota.unused)
        if found is None:
            quota.asking()
        return found

    async def _ask(self, queue: AccountQueue, backlog: Backlog) -> None:
        """Ask WeChat for a quota; the next allocation uses the answer."""
        answer = await self.questions.ask(queue, backlog, self._ledgers[queue.bucket])
        # Not applied here, because a thread may be reading the ledger to write it.
        self._answers.append((queue, backlog, answer))
        self.wake()

    def _take_answers(self) -> list[tuple[AccountQueue, Backlog]]:
        """Apply the answers about quotas, and return the backlogs that waited for them."""
        answers, self._answers = self._answers, []
        for queue, backlog, answer in answers:
            self._quota(queue, backlog).answered(*answer)
        return [(queue, backlog) for queue, backlog, _ in answers]

    def _take_exhausted(self) -> set[int]:
        """Enter spent quotas and the calls that they allowed; return their ledgers' buckets."""
        touched = set()
        for queue, backlog, refusal in self.scheduler.refusals.take_exhausted():
            self._ledgers[queue.bucket].exhaust(backlog.dataset.name, queue.appid, refusal)
            self._teach(queue, backlog)
            touched.add(queue.bucket)
        return touched

    def _teach(self, queue: AccountQueue, backlog: Backlog) -> None:
        """Learn from a spent quota how many calls the day allowed."""
        spent = self._ledgers[queue.bucket].spent(backlog.dataset.name, queue.appid)
        allowed = spent - backlog.quota.unused - backlog.quota.refusals
        self._quota(queue, backlog).teach(max(0, allowed))

    async def _return_unused(self) -> None:
        """Return calls that were entered and not spent, at the end of the run."""
        now = self._now()
        for ledger in self._ledgers.values():
            ledger.expire(now)
        self._take_answers()
        self._take_exhausted()
        for queue in self.scheduler.queues:
            ledger = self._ledgers[queue.bucket]
            ledger.enter_recent(*queue.rate.recent_calls(now))
            for backlog in queue.backlogs:
                ledger.learn(backlog.dataset.name, queue.appid, backlog.refusals.learnt)
                self._return_calls(queue, backlog)
        await self.files.close()

    def _return_calls(self, queue: AccountQueue, backlog: Backlog) -> None:
        dataset, appid, ledger = backlog.dataset.name, queue.appid, self._ledgers[queue.bucket]
        if backlog.quota.refusals and ledger.exhausted_by(dataset, appid) is not None:
            # Once more, because calls were in flight when the first one was refused.
            self._teach(queue, backlog)
        if backlog.quota.unused > 0:
            ledger.add(dataset, appid, -backlog.quota.unused)
        self._quota(queue, backlog).outgrow()
