"""A run from lock to record: recover, survey, plan, fetch, publish, and say how it went."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

import anyio
from anyio import to_thread

from harvester import clock, days, plan, publish, survey
from harvester.access import Access, Platform
from harvester.days import Day
from harvester.errors import HarvesterError, UsageError
from harvester.lanes import Lane, Work, make_lane
from harvester.model import Api, Manifest, bucket_of
from harvester.pace import Spacing
from harvester.pipeline import Pipeline, Tools
from harvester.plan import Wanted
from harvester.progress import Position
from harvester.quota import Quota
from harvester.report.accounts import troubled
from harvester.report.books import Books, recorded
from harvester.schedule import Schedule
from harvester.sources import Office
from harvester.status import quarantined_days
from harvester.store import forced, layout, learned, locks
from harvester.store.layout import Tree
from harvester.summary import MOST_SUSPICIOUS, Summary, summarise_states, utc_text
from harvester.survey import Refetch
from harvester.tokens import Tokens
from harvester.transport import Transport
from harvester.treasurer import Terms

BOOKS_SECONDS = 30.0
"""Between two records of a run under way."""

FLIGHT_SECONDS = 3.0
"""After a signal, requests in flight get this long to come home."""

PUBLISH_SECONDS = 4.5
"""After a signal, a month may be begun to be published for so long."""

_LOOK_SECONDS = 0.1
"""Between two looks whether to stop."""

Watch: TypeAlias = Callable[[Callable[[], Position]], Coroutine[Any, Any, None]]
"""Shows progress until it is cancelled."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What the command line wants of a run, beyond the manifest."""

    refetch: Refetch | None = None
    shard: tuple[int, int] = (1, 1)
    max_duration: float | None = None
    unpark: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """What a run may touch outside of the output: the clock, WeChat, secrets and the user's eyes.

    ``now`` is in seconds since the Unix epoch and never steps back; ``reach`` opens the way to the
    API for as long as the run needs it; ``credentials`` gives what opens an account, and
    ``platform`` is the third-party platform that some are opened through.
    """

    now: Callable[[], float]
    reach: Callable[[], AbstractAsyncContextManager[Api]]
    credentials: Callable[[str], Access]
    watch: Watch
    platform: Platform | None = None


@dataclass(frozen=True, slots=True)
class _Stage:
    """Everything that one run is about."""

    manifest: Manifest
    tree: Tree
    orders: Orders
    world: World
    own: list[int]
    books: Books

    @property
    def summary(self) -> Summary:
        """What the run did so far."""
        return self.books.summary


def own_buckets(buckets: int, shard: tuple[int, int]) -> list[int]:
    """The buckets that a shard owns. Raises UsageError if there are fewer buckets than shards."""
    number, total = shard
    if buckets < total:
        raise UsageError(
            f"{total} shards need at least {total} buckets, and output.buckets is {buckets}",
            "A bucket is written by one shard alone; a new tree can have more of them.",
        )
    return [bucket for bucket in range(buckets) if bucket % total == number - 1]


def carry_out(
    books: Books, manifest: Manifest, tree: Tree, *, orders: Orders, world: World
) -> None:
    """Make coverage whole, as far as it can be had now, told in ``books`` as far as it came.

    Raises Busy if another run holds the buckets, UsageError if the plan is larger than
    ``limits.max_requests`` and StoreError if the output cannot be read or written.
    """
    own = own_buckets(manifest.output.buckets, orders.shard)
    manifest = of_shard(manifest, own)
    since = utc_text(books.summary.started_at)
    with locks.hold(tree, own, run_id=books.summary.run_id, since=since), recorded(books):
        books.open(tree, own)
        _make_whole(_Stage(manifest, tree, orders, world, own, books))


def _make_whole(stage: _Stage) -> None:
    """Recover, survey, plan, harvest, and survey again."""
    manifest, tree, summary, own = stage.manifest, stage.tree, stage.summary, stage.own
    layout.sweep(tree, own)
    summary.damaged += publish.recover(tree, manifest.datasets, own, stage.books.note)
    want = plan.wanted(manifest, summary.started_at)
    summary.wanted_accounts = len({appid for of_dataset in want.values() for appid in of_dataset})
    missing, refetch = survey.to_ask(tree, want, summary.today, stage.orders.refetch)
    priced = plan.summarise(manifest, want, missing, summary.today)
    _refuse_surprise(manifest, priced.requests)
    summary.bound_seconds, summary.bound_by = priced.bound_seconds, priced.bound_by
    summary.windows = priced.requests
    lanes = make_lanes(manifest, missing, refetch, summary.today) if priced.requests else []
    if lanes:
        _plainly(partial(_harvest, stage, lanes, _terms(stage)))
    states = survey.read_states(tree, want, summary.today)
    summary.datasets = summarise_states(want, states)
    summary.accounts = list(troubled(want, states, summary.gone, lanes))
    summary.quarantined = list(quarantined_days(tree, states))
    summary.suspicious = list(islice(survey.suspicious(states), MOST_SUSPICIOUS))


def make_lanes(manifest: Manifest, missing: Wanted, refetch: Wanted, today: Day) -> list[Lane]:
    """A lane for each account that lacks something, datasets in the catalogue's order."""
    work: defaultdict[str, list[Work]] = defaultdict(list)
    for name, dataset in manifest.datasets.items():
        again = refetch.get(name, {})
        boundary = clock.boundary(dataset, today)
        for appid, lacking in missing.get(name, {}).items():
            chosen = again.get(appid, days.NO_DAYS)
            work[appid].append(Work(dataset, lacking, boundary, refetch=chosen))
    buckets = manifest.output.buckets
    return [make_lane(appid, bucket_of(appid, buckets), items) for appid, items in work.items()]


def of_shard(manifest: Manifest, own: list[int]) -> Manifest:
    """The part of a manifest whose accounts lie in these buckets; jobs may be left without any."""
    buckets = manifest.output.buckets
    if len(own) == buckets:
        return manifest
    mine = {
        account.appid for account in manifest.accounts if bucket_of(account.appid, buckets) in own
    }
    jobs = (
        replace(job, appids=tuple(appid for appid in job.appids if appid in mine))
        for job in manifest.jobs
    )
    accounts = tuple(account for account in manifest.accounts if account.appid in mine)
    return replace(manifest, accounts=accounts, jobs=tuple(jobs))


def _refuse_surprise(manifest: Manifest, requests: int) -> None:
    most = manifest.limits.max_requests
    if most is not None and requests > most:
        raise UsageError(
            f"this run would make {requests:,} requests, and limits.max_requests is {most:,}",
            "Look at `harvester plan`; then narrow the range or raise the limit.",
        )


def _plainly(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run tasks; what ends them for a reason of ours is raised by itself, not in a group."""
    try:
        anyio.run(work)
    except BaseExceptionGroup as group:
        ours, others = group.split(HarvesterError)
        if ours is None or others is not None:
            raise
        raise _first(ours) from None


def _first(group: BaseExceptionGroup[HarvesterError]) -> HarvesterError:
    """The first error that is no group. Those that follow it have the same cause."""
    error: HarvesterError | BaseExceptionGroup[HarvesterError] = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _harvest(stage: _Stage, lanes: list[Lane], terms: Terms) -> None:
    """The part of a run that talks to WeChat; fills in the summary."""
    manifest, world, summary = stage.manifest, stage.world, stage.summary
    summary.in_order = True
    pace = manifest.limits.per_token
    spacing = Spacing(pace)
    schedule = Schedule(lanes, pace, policy=manifest.retry, spacing=spacing, dice=random.Random())
    connections = _connections(manifest, lanes)
    async with AsyncExitStack() as opened:
        api = await opened.enter_async_context(world.reach())
        transport = await opened.enter_async_context(Transport(api, connections=connections))
        office = Office(
            world.credentials,
            transport,
            clock=world.now,
            budget=partial(_may_force, stage),
            platform=world.platform,
        )
        tokens = await opened.enter_async_context(Tokens(office.source, world.now))
        tools = Tools(
            transport=transport,
            tokens=tokens,
            spacing=spacing,
            tree=stage.tree,
            terms=terms,
            now=world.now,
            on_published=stage.books.note,
        )
        pipeline = Pipeline(schedule, tools, run_id=summary.run_id, connections=connections)
        count = partial(_count, summary, pipeline, schedule, office)
        try:
            async with anyio.create_task_group() as watchers:
                watchers.start_soon(world.watch, partial(_position, count, summary, world.now))
                watchers.start_soon(_obey, pipeline, summary)
                watchers.start_soon(_keep_books, stage.books, count)
                if stage.orders.max_duration is not None:
                    watchers.start_soon(_keep_time, pipeline, stage)
                await pipeline.run()
                watchers.cancel_scope.cancel()
            schedule.settle(world.now(), summary.wanted_accounts)
            # If everything was answered before the mark or just after, nobody need come again.
            summary.out_of_time &= pipeline.owes
        finally:
            count()


def _terms(stage: _Stage) -> Terms:
    """By which the calls of a day are handed out."""
    limits = stage.manifest.limits
    kept = partial(plan.calls_kept, stage.manifest)
    told = learned.read(stage.tree)
    if stage.orders.unpark:
        told = {key: allowance._replace(used=0) for key, allowance in told.items()}
    return Terms(Quota(limits, told), limits.per_token, kept, forget=stage.orders.unpark)


def _count(summary: Summary, pipeline: Pipeline, schedule: Schedule, office: Office) -> None:
    """Bring the summary up to date."""
    summary.gone, summary.narrowed = schedule.gone, dict(schedule.narrowed)
    counters = pipeline.counters
    summary.requests, summary.answered = counters.requests, counters.answered
    summary.bytes, summary.retries = counters.bytes, schedule.retries
    summary.token_calls = office.calls
    summary.bugs, summary.waits = counters.bugs, dict(counters.waits)


def _connections(manifest: Manifest, lanes: list[Lane]) -> int:
    """As many workers as can ever be busy."""
    return min(manifest.limits.connections, len(lanes) * manifest.limits.per_token.concurrency)


async def _may_force(stage: _Stage, appid: str) -> bool:
    """Whether the account's token may be replaced by force, of which there are 20 a day."""
    spend = partial(forced.spend, stage.tree, appid, stage.world.now())
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


async def _keep_books(books: Books, count: Callable[[], None]) -> None:
    """A run that is killed leaves a record that is not older than half a minute."""
    while True:
        await anyio.sleep(BOOKS_SECONDS)
        count()
        await to_thread.run_sync(books.write)


async def _keep_time(pipeline: Pipeline, stage: _Stage) -> None:
    """Start nothing new after the mark, which counts from the beginning of the run."""
    spent = stage.world.now() - stage.summary.started_at
    await anyio.sleep(max(0.0, (stage.orders.max_duration or 0.0) - spent))
    stage.summary.out_of_time = True
    pipeline.stop()


async def _obey(pipeline: Pipeline, summary: Summary) -> None:
    """End the run in order when it is told to stop: by a signal, which a thread hears."""
    # Nothing is waited for that a thread would have to hand over to a loop that may be gone.
    while summary.stopped_by is None:  # noqa: ASYNC110 - as the line above says
        await anyio.sleep(_LOOK_SECONDS)
    pipeline.stop()
    pipeline.hurry(flight=FLIGHT_SECONDS, publishing=PUBLISH_SECONDS)
