"""A run from lock to record: recover, survey, plan, fetch, publish, and say how it went."""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from os import environ
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from harvester.catalogue import readiness
from harvester.core import calendar
from harvester.core.calendar import Day
from harvester.core.config import Manifest, Output
from harvester.core.errors import HarvesterError, UsageError
from harvester.core.model import bucket_of
from harvester.engine.call_budget import BudgetPolicy
from harvester.engine.pipeline import Pipeline, Tools
from harvester.engine.rate_limiter import RateLimiter
from harvester.operations.access import world_of
from harvester.operations.project import warn_of_open_files
from harvester.operations.record.account_report import with_trouble
from harvester.operations.record.run_log import RunLog
from harvester.operations.record.summary import MOST_SUSPICIOUS, Summary, summarise_states
from harvester.operations.runtime import (
    Position,
    Project,
    RunContext,
    RunOptions,
    Watch,
    show_nothing,
)
from harvester.operations.session import working
from harvester.operations.status import quarantined_days
from harvester.planning import windows
from harvester.planning.quota import Quota
from harvester.planning.sharding import of_shard, own_buckets
from harvester.planning.windows import Wanted
from harvester.scheduling.account_queue import AccountQueue, DatasetBacklog, make_queue
from harvester.scheduling.scheduler import Scheduler
from harvester.storage import coverage_scan, layout, publish
from harvester.storage.layout import Tree
from harvester.storage.state import forced_refreshes, quota_limits
from harvester.wechat.auth import TokenProviders
from harvester.wechat.auth.token_cache import TokenCache
from harvester.wechat.transport import Transport

CHECKPOINT_SECONDS = 30.0
"""Between two records of a run under way."""

IN_FLIGHT_GRACE_SECONDS = 3.0
"""After a signal, requests in flight get this long to come home."""

PUBLISH_GRACE_SECONDS = 4.5
"""After a signal, a month may be begun to be published for so long."""

_POLL_SECONDS = 0.1
"""Between two looks whether to stop."""

_RUNNERS = ("CI", "GITHUB_ACTIONS")
_log = logging.getLogger("harvester.run")


@dataclass(frozen=True, slots=True)
class RunState:
    """Everything that one run is about. The manifest has the accounts of its own buckets alone."""

    manifest: Manifest
    tree: Tree
    orders: RunOptions
    world: RunContext
    own: list[int]
    books: RunLog

    @property
    def summary(self) -> Summary:
        """The summary of the run so far."""
        return self.books.summary


def run(books: RunLog, project: Project, orders: RunOptions, watch: Watch = show_nothing) -> None:
    """Make coverage whole, as far as it can be had now, told in ``books`` as far as it came.

    Raises UsageError if secrets are missing, and as `carry_out`.
    """
    warn_of_open_files(project.manifest)
    _warn_of_a_runner(project.manifest.output)
    own = own_buckets(project.manifest.output.buckets, orders.shard)
    # Each runner of a shard need have only the secrets of its own accounts.
    ours = project._replace(manifest=of_shard(project.manifest, own))
    execute(RunState(ours.manifest, ours.tree, orders, world_of(ours, watch), own, books))


def execute(stage: RunState) -> None:
    """Do what a run does, in the buckets that it owns.

    Raises Busy if another run holds them, UsageError if the plan is larger than
    ``limits.max_requests`` and StoreError if the output cannot be read or written.
    """
    with working(stage.books, stage.tree, stage.own):
        _backfill_gaps(stage)


def _backfill_gaps(stage: RunState) -> None:
    """Recover, survey, plan, harvest, and survey again."""
    manifest, tree, summary, own = stage.manifest, stage.tree, stage.summary, stage.own
    layout.clean_temp(tree, own)
    summary.damaged += publish.recover(tree, manifest.datasets, own, stage.books.record_published)
    want = windows.wanted(manifest, summary.started_at)
    summary.wanted_accounts = len({appid for of_dataset in want.values() for appid in of_dataset})
    missing, refetch = coverage_scan.to_ask(tree, want, summary.today, stage.orders.refetch)
    priced = windows.summarise(manifest, want, missing, summary.today)
    _check_request_limit(manifest, priced.requests)
    summary.bound_seconds, summary.bound_by = priced.bound_seconds, priced.bound_by
    summary.windows = priced.requests
    lanes = make_queues(manifest, missing, refetch, summary.today) if priced.requests else []
    if lanes:
        _run_unwrapping_groups(partial(_harvest, stage, lanes, _budget_policy(stage)))
    states = coverage_scan.read_states(tree, want, summary.today)
    summary.datasets = summarise_states(want, states)
    summary.accounts = list(with_trouble(want, states, summary.abandoned, lanes))
    summary.quarantined = list(quarantined_days(tree, states))
    summary.suspicious = list(islice(coverage_scan.suspicious(states), MOST_SUSPICIOUS))


def make_queues(
    manifest: Manifest, missing: Wanted, refetch: Wanted, today: Day
) -> list[AccountQueue]:
    """Make a lane for each account that lacks something, datasets in the catalogue's order."""
    work: defaultdict[str, list[DatasetBacklog]] = defaultdict(list)
    for name, dataset in manifest.datasets.items():
        again = refetch.get(name, {})
        boundary = readiness.boundary(dataset, today)
        for appid, lacking in missing.get(name, {}).items():
            chosen = again.get(appid, calendar.NO_DAYS)
            work[appid].append(DatasetBacklog(dataset, lacking, boundary, refetch=chosen))
    buckets = manifest.output.buckets
    return [make_queue(appid, bucket_of(appid, buckets), items) for appid, items in work.items()]


def _warn_of_a_runner(output: Output) -> None:
    """Say that on a CI runner a folder is gone after the job, unless measures were taken."""
    on_runner = any(environ.get(name, "") not in {"", "0", "false"} for name in _RUNNERS)
    if on_runner and isinstance(output.path, Path) and not output.must_exist:
        _log.warning(
            "the output, %s, is a folder of this CI runner: if that is thrown away, so is the"
            " output, and the next run asks for everything again. Name an object store, or a disk"
            " that stays together with `output.must_exist: true`",
            output.path,
        )


def _check_request_limit(manifest: Manifest, requests: int) -> None:
    most = manifest.limits.max_requests
    if most is not None and requests > most:
        raise UsageError(
            f"this run would make {requests:,} requests, and limits.max_requests is {most:,}",
            "Look at `harvester plan`; then narrow the range or raise the limit.",
        )


def _run_unwrapping_groups(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run tasks; what ends them for a reason of ours is raised by itself, not in a group."""
    try:
        anyio.run(work)
    except BaseExceptionGroup as group:
        ours, others = group.split(HarvesterError)
        if ours is None or others is not None:
            raise
        raise _first_error(ours) from None


def _first_error(group: BaseExceptionGroup[HarvesterError]) -> HarvesterError:
    """Return the first error that is no group. Those that follow it have the same cause."""
    error: HarvesterError | BaseExceptionGroup[HarvesterError] = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _harvest(stage: RunState, lanes: list[AccountQueue], terms: BudgetPolicy) -> None:
    """Talk to WeChat, and fill in the summary."""
    manifest, world, summary = stage.manifest, stage.world, stage.summary
    summary.stops_gracefully = True
    pace = manifest.limits.per_token
    spacing = RateLimiter(pace)
    schedule = Scheduler(
        lanes, pace, policy=manifest.retry, limiter=spacing, jitter=random.Random()
    )
    connections = _connections(manifest, lanes)
    async with AsyncExitStack() as opened:
        api = await opened.enter_async_context(world.reach())
        transport = await opened.enter_async_context(Transport(api, connections=connections))
        office = TokenProviders(
            world.credentials,
            transport,
            clock=world.now,
            budget=partial(_may_force_refresh, stage),
            platform=world.platform,
        )
        tokens = await opened.enter_async_context(TokenCache(office.provider, world.now))
        tools = Tools(
            transport=transport,
            tokens=tokens,
            spacing=spacing,
            tree=stage.tree,
            terms=terms,
            now=world.now,
            on_published=stage.books.record_published,
        )
        pipeline = Pipeline(schedule, tools, run_id=summary.run_id, connections=connections)
        count = partial(_count, summary, pipeline, schedule, office)
        try:
            async with anyio.create_task_group() as watchers:
                watchers.start_soon(world.watch, partial(_position, count, summary, world.now))
                watchers.start_soon(_watch_signals, pipeline, summary)
                watchers.start_soon(_checkpoint, stage.books, count)
                if stage.orders.max_duration is not None:
                    watchers.start_soon(_enforce_deadline, pipeline, stage)
                await pipeline.run()
                watchers.cancel_scope.cancel()
            schedule.finish(world.now(), summary.wanted_accounts)
            # If everything was answered before the mark or just after, no run need come again.
            summary.out_of_time &= pipeline.owes
        finally:
            count()


def _budget_policy(stage: RunState) -> BudgetPolicy:
    """Return the terms by which the calls of a day are handed out."""
    limits = stage.manifest.limits
    kept = partial(windows.calls_kept, stage.manifest)
    told = quota_limits.read(stage.tree)
    if stage.orders.ignore_spent_quota:
        told = {key: allowance._replace(used=0) for key, allowance in told.items()}
    return BudgetPolicy(
        Quota(limits, told), limits.per_token, kept, forget=stage.orders.ignore_spent_quota
    )


def _count(
    summary: Summary, pipeline: Pipeline, schedule: Scheduler, office: TokenProviders
) -> None:
    """Bring the summary up to date."""
    summary.abandoned, summary.shortened_spans = schedule.abandoned, dict(schedule.shortened_spans)
    counters = pipeline.counters
    summary.requests, summary.answered = counters.requests, counters.answered
    summary.bytes, summary.retries = counters.bytes, schedule.retries
    summary.token_calls = office.calls
    summary.bugs, summary.waits = counters.bugs, dict(counters.waits)


def _connections(manifest: Manifest, lanes: list[AccountQueue]) -> int:
    """Count the workers that can ever be busy."""
    return min(manifest.limits.connections, len(lanes) * manifest.limits.per_token.concurrency)


async def _may_force_refresh(stage: RunState, appid: str) -> bool:
    """Return whether the account's token may be replaced by force, which 20 a day may be."""
    spend = partial(forced_refreshes.spend, stage.tree, appid, stage.world.now())
    return await anyio.to_thread.run_sync(spend)


def _position(count: Callable[[], None], summary: Summary, now: Callable[[], float]) -> Position:
    count()
    return Position(
        done=summary.answered,
        windows=summary.windows,
        requests=summary.requests,
        retries=summary.retries,
        files=len(summary.published),
        seconds=now() - summary.started_at,
    )


async def _checkpoint(books: RunLog, count: Callable[[], None]) -> None:
    """Write the record twice a minute, so that a killed run leaves a recent one."""
    while True:
        await anyio.sleep(CHECKPOINT_SECONDS)
        count()
        await to_thread.run_sync(books.write)


async def _enforce_deadline(pipeline: Pipeline, stage: RunState) -> None:
    """Start nothing new after the mark, which counts from the beginning of the run."""
    spent = stage.world.now() - stage.summary.started_at
    await anyio.sleep(max(0.0, (stage.orders.max_duration or 0.0) - spent))
    stage.summary.out_of_time = True
    pipeline.stop()


async def _watch_signals(pipeline: Pipeline, summary: Summary) -> None:
    """End the run in order when it is told to stop: by a signal, which a thread hears."""
    # Nothing is waited for that a thread would have to hand over to a loop that may be gone.
    while summary.stopped_by is None:  # noqa: ASYNC110 - as the line above says
        await anyio.sleep(_POLL_SECONDS)
    pipeline.stop()
    pipeline.hurry(flight=IN_FLIGHT_GRACE_SECONDS, publishing=PUBLISH_GRACE_SECONDS)
