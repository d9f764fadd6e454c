"""One harvest: a fixed pool of workers, a raw writer and a publish queue in one task group.

::

    scheduler ─► worker ─► attempt ─► scheduler       what to ask next, what the outcome changes
                   └────► raw writer ─► raw group ─► scheduler ─► publish queue ─► partition

A worker takes a window that may be asked now, makes one attempt and hands back the outcome. Idle
workers wait for an event; one of them, the timer worker, also waits for the next queue's time.
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import anyio

from harvester.catalogue.error_codes import INTERNAL_ERROR_RULE
from harvester.core import calendar
from harvester.core.errors import last_places, places
from harvester.core.model import RawAnswer
from harvester.core.rule import Action, Rule
from harvester.core.shortage import shortage
from harvester.engine.call_budget import BudgetPolicy, CallBudget
from harvester.engine.ledger_files import LedgerFiles
from harvester.engine.publish_queue import PublishQueue
from harvester.engine.quota_questions import QuotaQuestions
from harvester.engine.rate_limiter import RateLimiter
from harvester.engine.raw_writer import RawWriter
from harvester.engine.taken_along import idle_months, named_days
from harvester.planning.ledger import Moment
from harvester.scheduling.account_queue import AccountQueue, Attempt, pairs
from harvester.scheduling.scheduler import Scheduler
from harvester.storage.layout import Tree
from harvester.storage.publish import EvidenceOf, TrustedTimes
from harvester.storage.raw_log import Group
from harvester.wechat import attempt as fetch
from harvester.wechat.attempt import RefusedAttempt
from harvester.wechat.auth.token_cache import TokenCache
from harvester.wechat.auth.token_owners import SHARED_TOKEN
from harvester.wechat.transport import Transport

_log = logging.getLogger("harvester.pipeline")


@dataclass(slots=True)
class RequestCounters:
    """Counters of a run under way, by the names that they have in its record.

    ``waits`` has seconds, by what was done about the refusal before. Windows that were
    ``asked_again`` had no rows at first.
    """

    requests: int = 0
    answered: int = 0
    answered_days: int = 0
    bytes: int = 0
    bugs: int = 0
    asked_again: int = 0
    asked_again_with_rows: int = 0
    waits: dict[str, float] = field(default_factory=dict)


class RunClock(Protocol):
    """The clock of a run, in seconds since the Unix epoch. It never steps while a pipeline runs."""

    def __call__(self) -> float:
        """Return the time."""

    @property
    def is_off(self) -> bool:
        """True once WeChat's time is known to be another one."""

    @property
    def behind(self) -> float:
        """Seconds by which days settle earlier than by this clock, because another is behind."""

    def moment(self) -> Moment:
        """Return the present moment as a ledger keeps it."""


@dataclass(eq=False, repr=False)
class Pipeline:
    """One harvest. `run` returns when everything that could be had is published, or after `stop`.

    Its calls are handed out by ``terms``, and ``connections`` of them at a time. ``on_published``
    is called in a thread for replaced partitions, before their raw groups are deleted.
    ``evidence`` settles empty days, by dataset.
    """

    scheduler: Scheduler
    transport: Transport
    tokens: TokenCache
    spacing: RateLimiter
    tree: Tree
    terms: BudgetPolicy
    clock: RunClock
    on_published: Callable[..., None]
    evidence: EvidenceOf
    run_id: str
    connections: int

    def __post_init__(self) -> None:
        """Make the parts, which work once it runs."""
        self._idle: deque[anyio.Event] = deque()
        self._timer_until = _NEVER
        # Looked up once, because it would be for every request.
        self._logs_attempts = _log.isEnabledFor(logging.DEBUG)
        self._workers = anyio.CancelScope()
        datasets = {each.dataset.name: each.dataset for _, each in pairs(self.scheduler.queues)}
        self._months = self.scheduler.abandoned.months
        clock, count = self.clock, self.transport.in_hand.count
        self._writer = RawWriter(
            self.tree, self.run_id, self._on_durable, lambda: clock.behind, count
        )
        self._publishing = PublishQueue(self.tree, datasets, self.on_published, self._trusted_times)
        self._trusted_from = 0
        self._guided = defaultdict[str, list[str]](list)
        for name, found in self.evidence.items():
            # Of a longer span the other days of the table tell what an answer lacks.
            if (guide := found.dataset.guide) and guide.is_exact and found.dataset.span == 1:
                self._guided[guide.dataset].append(name)
        self._flushed_for: list[Rule] = []
        self.questions = QuotaQuestions(
            self.transport, self.tokens, self.spacing, self.connections, self.clock
        )
        self.counters = RequestCounters()
        self._budget = CallBudget(
            LedgerFiles(self.tree, self.run_id, self.clock.moment),
            self.scheduler,
            self.terms,
            self.questions,
            self._wake_if_ready,
        )

    async def run(self) -> None:
        """Ask, record and publish until nothing is left to do. Raises StoreError."""
        await self._budget.open()
        async with anyio.create_task_group() as effects:
            effects.start_soon(self._budget.run)
            effects.start_soon(self._record)
            effects.start_soon(self._publishing.run)
            with self._workers:
                async with anyio.create_task_group() as workers:
                    for _ in range(self.connections):
                        workers.start_soon(self._work)
            self._budget.close()
            self._writer.close()

    def describe(self) -> str:
        """Return what the run waits for, a line for the scheduler, the budget and some accounts."""
        open_queues = (queue for queue in self.scheduler.queues if queue.has_work())
        shown = islice(open_queues, MAX_DESCRIBED)
        return "\n".join(map(repr, (self.scheduler, self._budget, *shown)))

    def stop(self) -> None:
        """Start nothing new; what is in flight comes home, and all of it is published."""
        self.scheduler.stop()
        self._wake_all()

    def hurry(self, *, flight: float, publishing: float) -> None:
        """After `stop`: so many seconds for what is in flight, and for beginning to publish."""
        now = anyio.current_time()
        self._workers.deadline = now + flight
        self._publishing.hurry(now + publishing)

    async def _record(self) -> None:
        await self._writer.run()
        self._publishing.close()

    async def _work(self) -> None:
        while (attempt := await self._next()) is not None:
            began = self.clock()
            asked_at = int(began)
            outcome = await self._ask(attempt)
            if self._logs_attempts:
                _log.debug("%s: %s", attempt.window, _verdict(outcome, self.clock() - began))
            if self.clock.is_off:
                # Planned by a wrong clock: what it brought is asked for again by the right one.
                self.stop()
                continue
            if self.transport.pool.surplus and not self._trusted_from:
                self._distrust()
            if fetch.is_long(attempt.window, outcome):
                self.scheduler.refusals.take_long(attempt)
            if isinstance(outcome, RefusedAttempt):
                await self._hand_back(attempt, asked_at, outcome)
            else:
                is_empty = fetch.is_empty(outcome)
                self._count_answer(attempt, len(outcome), is_empty=is_empty)
                await self._keep(attempt, asked_at, outcome, is_empty=is_empty)
            # Otherwise each worker has a body in memory while it waits for the next one.
            del outcome

    async def _hand_back(self, attempt: Attempt, asked_at: int, outcome: RefusedAttempt) -> None:
        """Hand a failed attempt back to the scheduler, or keep its answer as evidence."""
        if not self.tree.hold.is_good():
            # Whatever it was refused for, the window stays missing for the next run.
            self.stop()
            return
        scheduler, attempt.refused_at = self.scheduler, self.clock()
        if outcome.is_unsent:
            self.counters.requests -= 1
            scheduler.give_back(attempt)
        elif outcome.rule.action is Action.WAIT_FOR_QUOTA:
            attempt.backlog.quota.count_refusal()
        if outcome.is_withheld:
            scheduler.withheld(attempt, attempt.refused_at, outcome.why)
            return
        attempt.retry_reason = outcome.rule.action.value
        if outcome.is_evidence and scheduler.refusals.is_last_try(attempt):
            await self._keep(attempt, asked_at, outcome.answer)
            return
        self._flush_for(outcome.rule)
        scheduler.refused(attempt, outcome.rule, self.clock(), outcome.why)
        self._close_if_done(attempt.queue)
        self._publishing.enqueue(self._months.take_complete())
        if scheduler.refusals.exhausted:
            self._budget.wake()

    async def _ask(self, attempt: Attempt) -> bytes | RefusedAttempt:
        """Make one attempt. A bug in harvester costs its window, and the others go on."""
        try:
            outcome = await fetch.attempt(
                attempt.window, attempt.backlog.dataset, self.tokens, self.transport
            )
            # Another account may have got the same token since the request.
            denial = self.tokens.owners.denial(attempt.queue.appid)
            return RefusedAttempt(denial.rule, denial.why) if denial else outcome
        except Exception as error:
            # No fault of the window: the run ends, and the next one goes on.
            if shortage(error) is not None:
                raise
            self.counters.bugs += 1
            what = f"a bug in harvester: {type(error).__name__}"
            _log.error("%s: %s at %s", attempt.window, what, last_places(error))
            _log.debug("%s: all frames: %s", attempt.window, places(error))
            return RefusedAttempt(INTERNAL_ERROR_RULE, what)

    def _flush_for(self, rule: Rule) -> None:
        """Publish what there is once two accounts are seen to have one token.

        It is put into quarantine, and a run after a kill would publish it as sound.
        """
        if rule.cause == SHARED_TOKEN and rule not in self._flushed_for:
            self._flushed_for.append(rule)
            self._publishing.flush()

    async def _keep(
        self, attempt: Attempt, asked_at: int, body: bytes, *, is_empty: bool = False
    ) -> None:
        """File an answer: its days are published, or quarantined if they cannot be decoded."""
        for guided in self._guided.get(attempt.window.dataset, ()):
            # A row that counts nothing costs a question.
            days = named_days(body, attempt.days)
            self.evidence[guided].hear_guide(attempt.queue.appid, days)
        self.scheduler.answered(attempt, self.clock(), is_empty=is_empty)
        self._close_if_done(attempt.queue)
        answer = RawAnswer(attempt.window, asked_at, attempt.refetch, body)
        await self._writer.append(attempt, answer)

    def _close_if_done(self, queue: AccountQueue) -> None:
        if not queue.rate.in_flight and not queue.has_work():
            self.transport.pool.close_account(queue.appid)

    def _distrust(self) -> None:
        """Let no answer of before settle a day, because the first surplus one has come."""
        self._trusted_from = int(self.clock()) + 1
        _log.warning(
            "the server or a proxy sends answers that no request asked for: "
            "every further request gets a connection of its own"
        )

    def _trusted_times(self) -> TrustedTimes:
        """Return the times of asking that may settle a day."""
        pool = self.transport.pool
        pool.inspect()
        if pool.surplus and not self._trusted_from:
            self._distrust()
        untrusted, evidence = self.tokens.owners.shared, self.evidence
        return TrustedTimes(self.clock, self._trusted_from, untrusted, evidence)

    def _on_durable(self, group: Group, answers: list[tuple[Attempt, RawAnswer]]) -> None:
        today = calendar.today(self.clock())
        self._publishing.add(group, idle_months(group, answers, self.evidence, today))
        for attempt, _ in answers:
            self.scheduler.durable(attempt)
        self._publishing.enqueue(self._months.take_complete())

    async def _next(self) -> Attempt | None:
        """Return the next attempt of this worker; None when there will be no more."""
        while not self.scheduler.is_stopped:
            now = self.clock()
            attempt = self.scheduler.next(now, self.tree.hold)
            if attempt is not None:
                if self.scheduler.refill_requests:
                    self._budget.wake()
                self._wake_next(now)
                await self.spacing.take(attempt.queue.appid)
                self._count(attempt)
                return attempt
            if self._is_finished():
                break
            await self._wait()
        self._wake_all()
        return None

    def _is_finished(self) -> bool:
        is_finished = self.scheduler.is_finished(self.clock())
        # What is asked once more may need calls.
        if self.scheduler.refill_requests:
            self._budget.wake()
        return is_finished

    def _count(self, attempt: Attempt) -> None:
        self.counters.requests += 1
        attempt.backlog.count_call(is_retry=bool(attempt.retry_reason))
        if attempt.retry_reason:
            waits, waited = self.counters.waits, self.clock() - attempt.refused_at
            waits[attempt.retry_reason] = waits.get(attempt.retry_reason, 0.0) + waited

    def _count_answer(self, attempt: Attempt, size: int, *, is_empty: bool) -> None:
        counters = self.counters
        counters.bytes += size
        if attempt.is_second:
            counters.asked_again += 1
            counters.asked_again_with_rows += not is_empty
        else:
            counters.answered += 1
            counters.answered_days += calendar.count_days(attempt.days)

    async def _wait(self) -> None:
        """Wait to be woken; the timer worker wakes itself when the next queue is due."""
        event = anyio.Event()
        self._idle.append(event)
        at = self.scheduler.wake_at(self.clock())
        if at is None or at >= self._timer_until:
            await event.wait()
            return
        self._timer_until = at
        with anyio.move_on_after(max(0.0, at - self.clock())):
            await event.wait()
        if self._timer_until == at:
            self._timer_until = _NEVER
        if not event.is_set():
            self._idle.remove(event)

    def _wake_next(self, now: float) -> None:
        """Wake one more worker if there is more to do now, or before the timer worker does."""
        if self._idle and (
            self.scheduler.has_ready(now)
            # A queue may have become due before the one that the timer worker waits for.
            or ((at := self.scheduler.wake_at(now)) is not None and at < self._timer_until)
        ):
            self._idle.popleft().set()

    def _wake_if_ready(self) -> None:
        """Wake a worker after an allocation, or all if nothing is left to do."""
        if self._is_finished():
            self._wake_all()
        else:
            self._wake_next(self.clock())

    def _wake_all(self) -> None:
        while self._idle:
            self._idle.popleft().set()


def _verdict(outcome: bytes | RefusedAttempt, seconds: float) -> str:
    """Return how an attempt ended, for the log: what came, and what is done about it."""
    if isinstance(outcome, RefusedAttempt):
        return f"{outcome.rule.action.value} after {seconds:.3f} s: {outcome.why}"
    return f"answered after {seconds:.3f} s, {len(outcome):,} bytes"


MAX_DESCRIBED = 20
"""Accounts that `Pipeline.describe` names: the first ones with work are telling enough."""

_NEVER = float("inf")
