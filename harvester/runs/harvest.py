"""A run from lock to record: recover, scan coverage, plan, fetch, publish, and report facts."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio

from harvester.core import calendar
from harvester.core.config.settings import Manifest
from harvester.core.errors import UsageError
from harvester.core.model import bucket_of
from harvester.core.text.wording import counted
from harvester.engine.call_budget import BudgetPolicy
from harvester.engine.pipeline import Pipeline
from harvester.engine.rate_limiter import RateLimiter
from harvester.planning import wanted_days
from harvester.planning.sharding import as_kept, of_shard, own_buckets
from harvester.runs import runtime, token_comparison, watchers
from harvester.runs.access import ask_for_time, open_line, run_context
from harvester.runs.days.coverage_of_run import Harvested, read_coverage
from harvester.runs.days.derived_tables import TablesUpdate
from harvester.runs.event_loop import run_in_loop
from harvester.runs.facts import AskingEnded, Begun, GroupsDamaged, Planned
from harvester.runs.run_log import RunLog, locked_and_recorded
from harvester.runs.run_state import RunState
from harvester.runs.stream import all_made
from harvester.scheduling.account_queue import AccountQueue, Backlog
from harvester.scheduling.scheduler import Scheduler
from harvester.scheduling.standing import pending
from harvester.storage import coverage_scan, publish
from harvester.storage.account_scan import Scan, States
from harvester.storage.publication import Published
from harvester.storage.publish import EvidenceOf
from harvester.storage.state import forced_refreshes, manifests, quota_ledger


def run(
    run_log: RunLog,
    project: runtime.Project,
    options: runtime.RunOptions,
    share: tuple[list[int], int | None] | None = None,
) -> None:
    """Fetch and publish the missing days, as far as they can be had now.

    The record of ``run_log`` has the result. ``share`` has the buckets of one process of a run, and
    the number of requests that it may make, None for any number. By default the options name the
    shard, and the manifest the limit. Raises UsageError for missing secrets or a shard without
    buckets, and as `execute`.
    """
    manifest = project.manifest
    alone = own_buckets(manifest.output.buckets, options.shard), manifest.limits.max_requests
    own, grant = share or alone
    # A process of a run got it with its share.
    name = name_in_output(project) if share is None else project.whole.file

    def own_parts(mine: Manifest, whole: Manifest) -> tuple[Manifest, Manifest]:
        # The limits of a process are its share of the manifest's.
        mine = replace(of_shard(mine, own), limits=manifest.limits)
        return mine, replace(of_shard(as_kept(whole), own), file=name)

    mine, whole = own_parts(manifest, project.whole)
    # Narrowed before secrets are read: a shard may have the secrets of its own accounts only.
    context = run_context(project._replace(manifest=mine))

    def read_again(now: float) -> tuple[Manifest, Manifest]:
        return own_parts(*project.read_again(now))

    place = project.tree, options, context, own, run_log
    execute(RunState(mine, whole, *place, read_again, grant))


def name_in_output(project: runtime.Project) -> Path:
    """Return the name that the whole manifest has in the output."""
    return Path(manifests.name_of(project.tree, as_kept(project.whole)))


def execute(state: RunState) -> None:
    """Recover, scan the coverage, plan, harvest, and scan again, in the buckets of the run.

    Raises Busy if another run holds them for too long; UsageError if the plan exceeds
    ``limits.max_requests``, or for files of a newer version or another number of buckets;
    StoreError if the output cannot be read or written.
    """
    clock, tree, stream = state.context.clock, state.tree, state.stream
    state.run_log.manifest = as_kept(state.manifest)
    stream.report(begun(state.manifest, state.options, state.started_at))
    ledger = quota_ledger.read(tree, calendar.today(clock()), state.own[0])
    clock.agrees = ledger.agrees_with(clock.moment()) if ledger is not None else None
    # WeChat may have been asked for the platform's accounts already.
    state = _by_right_clock(state)
    waits = state.options.lock_timeout, _seconds_left(state)
    # Listed once the buckets are held, and again where this run has changed files.
    with locked_and_recorded(state.run_log, tree.listed_once(), state.own, *waits) as tree:
        state = state._replace(tree=tree)
        # What a killed run left is published first, so that the plan finds it covered.
        _recover(state)
        harvested = _plan_and_harvest(state)
        while clock.is_off:
            # Nothing was kept so far, and the plan was made for another day.
            state = _by_right_clock(state)
            harvested = _plan_and_harvest(state)
        if clock.offset is not None and (clock.agrees is False or clock.is_apart):
            # It may have made no call of this bucket, and a gate reads no other ledger.
            quota_ledger.retime(tree, state.own[0], clock.moment())
        scan = harvested.scan or state.scan(harvested.want)
        if _ask_reopened(state, harvested, scan):
            scan = state.scan(harvested.want)
        _conclude(state, harvested, scan)


def _ask_reopened(state: RunState, harvested: Harvested, scan: Scan) -> bool:
    """Ask again for empty days, because this run got late rows that speak against them.

    Returns whether it asked. A run that left anything open asks no more.
    """
    record = state.stream.own
    if not harvested.queues or record.pending or state.stream.stop.code is not None:
        return False
    days = {
        name: {x: wanted & scan.states[name][x].again for x, wanted in of_dataset.items()}
        for name, of_dataset in harvested.want.items()
    }
    for item in record.abandoned:
        days[item.dataset][item.appid] = calendar.NO_DAYS
    queues = make_queues(state.manifest, harvested.want, wanted_days.Missing(days, {}))
    if queues:
        run_in_loop(partial(_harvest, state, queues, scan.evidence))
    return bool(queues)


def _conclude(state: RunState, harvested: Harvested, scan: Scan) -> None:
    """Report what the files have now, and have the tables made of it once the run ends.

    ``scan`` may have paused accounts besides those harvested.
    """
    manifest, tree, clock, whole = state.manifest, state.tree, state.context.clock, state.whole
    own, found, want = state.stream.own, scan.states, state.with_paused(harvested.want)
    harvested = harvested._replace(scan=scan.of(harvested.want))
    state.stream.report(read_coverage(own, manifest, tree, harvested, clock))
    if state.is_narrowed:
        want = wanted_days.wanted(whole, state.as_of, paused_too=True)
        found = coverage_scan.read(tree, want, clock(), whole.datasets, state.own).states
    state.run_log.write_tables = lambda: TablesUpdate(
        tree, state.own, whole, state.started_at, want, found, state.stream.own
    ).write()


def _recover(state: RunState) -> None:
    """Publish what killed runs left in the raw log, and report each file."""

    def tell(item: Published) -> None:
        state.run_log.record_published(item)
        # Not at the end: the next process of a shard that dies in between cannot tell it again.
        state.stream.drain()
        state.tree.list_again()

    clock = state.context.clock
    damaged = publish.recover(state.tree, state.manifest.datasets, state.own, tell, now=clock)
    state.stream.report(GroupsDamaged(tuple(damaged)))


def _by_right_clock(state: RunState) -> RunState:
    """Correct a clock that is off; return the state by which the run goes on."""
    clock = state.context.clock
    if moved := clock.correct():
        state.run_log.correct_clock(moved)
        # On days that its clock takes for future ones a manifest may want nothing, and be refused.
        with suppress(UsageError):
            manifest, whole = state.read_again(state.started_at)
            state = state._replace(manifest=manifest, whole=whole)
        state.stream.report(begun(state.manifest, state.options, state.started_at))
    return state._replace(as_of=clock.earlier(state.started_at))


def _plan_and_harvest(state: RunState) -> Harvested:
    """Plan, ask for what is missing and publish it.

    Keeps nothing if that shows that the clock is off.
    """
    manifest, clock = state.manifest, state.context.clock
    want = wanted_days.wanted(manifest, state.as_of)
    scan = state.scan(want)
    gaps = coverage_scan.gaps(scan.of(want).states)
    if queues := _planned_queues(state, want, scan.of(want).states):
        # Of ten thousand accounts they are large, and they change while the run asks.
        scan = scan._replace(states={})
    # A slow clock finds nothing missing. Where something is asked, the first token tells the time.
    if (clock.is_doubted or not (queues or clock.is_checked)) and not manifest.api.is_sandbox:
        run_in_loop(partial(ask_for_time, manifest, state.context))
    if queues and not clock.is_off:
        run_in_loop(partial(_harvest, state, queues, scan.evidence))
    return Harvested(want, gaps, queues, None if queues else scan)


def _planned_queues(
    state: RunState, want: wanted_days.Wanted, states: dict[str, dict[str, States]]
) -> list[AccountQueue]:
    """Plan, and return the queues of what is missing. Raises as `_check_request_limit`."""
    missing = coverage_scan.to_ask(states, want, state.options.refetch)
    plan = wanted_days.summarise(as_kept(state.manifest), want, missing)
    _check_request_limit(plan.requests, state)
    state.stream.report(planned(want, plan))
    return make_queues(state.manifest, want, missing) if plan.requests else []


def _check_request_limit(requests: int, state: RunState) -> None:
    """Raise UsageError if the run would make more requests than it may."""
    grant, limit = state.grant, state.manifest.limits.max_requests
    if grant is not None and requests > grant:
        whose = "" if grant == limit else "its share of "
        raise UsageError(
            f"this run would make {counted(requests, 'request')}, and {whose}limits.max_requests is"
            f" {grant:,}",
            "look at `harvester plan`; then narrow the range or raise the limit",
        )


def begun(manifest: Manifest, options: runtime.RunOptions, now: float) -> Begun:
    """Return the beginning of a run as a fact."""
    return Begun(options.labels, options.shard_text, wanted_days.next_ready_at(manifest, now))


def planned(want: wanted_days.Wanted, plan: wanted_days.Plan) -> Planned:
    """Return the plan of the wanted days as a fact."""
    accounts = {appid for of_dataset in want.values() for appid in of_dataset}
    return Planned(plan.requests, plan.account_days, plan.bound, len(accounts), plan.paused)


def make_queues(
    manifest: Manifest, want: wanted_days.Wanted, missing: wanted_days.Missing
) -> list[AccountQueue]:
    """Return a queue for each account with missing days, its datasets in the catalogue's order."""
    backlogs: defaultdict[str, list[Backlog]] = defaultdict(list)
    for dataset, appid, lacking in wanted_days.each_missing(manifest, missing):
        again = missing.again.get(dataset.name, {}).get(appid, calendar.NO_DAYS)
        along = want[dataset.name][appid]
        backlogs[appid].append(Backlog(dataset, lacking, along, refetch=again))
    buckets = manifest.output.buckets
    return [AccountQueue(appid, bucket_of(appid, buckets), of) for appid, of in backlogs.items()]


async def _harvest(state: RunState, queues: list[AccountQueue], evidence: EvidenceOf) -> None:
    """Ask WeChat for what the queues owe, and publish it."""
    manifest, context, stream = state.manifest, state.context, state.stream
    clock = context.clock
    stream.stop.is_graceful = True
    limiter = RateLimiter(pace := manifest.limits.per_token)
    scheduler = Scheduler(
        queues,
        manifest.limits,
        policy=manifest.retry,
        limiter=limiter,
        jitter=random.Random(),
        listener=stream.report,
        expects=lambda window, found: evidence[window.dataset].expects(window, found),
    )
    # More workers than all accounts together may use would never be busy.
    connections = min(manifest.limits.connections, len(queues) * pace.concurrency)
    async with open_line(
        context, connections, state.tree.hold, partial(_may_force_refresh, state)
    ) as (transport, tokens, providers):
        owed = [(x.appid, each, each.missing) for x in queues for each in x.backlogs]
        again = partial(token_comparison.ask_again, manifest, state.started_at, owed)
        context.owners.ask_again = again
        pipeline = Pipeline(
            scheduler,
            transport=transport,
            tokens=tokens,
            spacing=limiter,
            tree=state.tree,
            terms=BudgetPolicy(
                manifest.limits,
                partial(wanted_days.calls_kept, manifest),
                forget=state.options.ignore_spent_quota,
                forget_refusals=state.options.refetch == "refused",
            ),
            clock=clock,
            evidence=evidence,
            on_published=state.run_log.record_published,
            run_id=state.run_log.run_id,
            connections=connections,
        )
        count = watchers.Counting(stream, pipeline, lambda: providers.calls)
        await _run_to_end(state, count)


async def _run_to_end(state: RunState, count: watchers.Counting) -> None:
    """Run the pipeline, and report what it leaves. Raises MemoryLimit."""
    stream, clock, queues = state.stream, state.context.clock, count.pipeline.scheduler.queues
    memory = watchers.MemoryWatch(state.manifest.limits.memory)
    try:
        is_late = await _run_watched(state, count, memory)
        state.tree.list_again()
        has_lost = not state.tree.hold.is_good()
        if has_lost and state.options.refetch is None:
            await anyio.to_thread.run_sync(_drop_covered, state, queues)
        left = tuple(pending(queues))
        # A run that answered everything before the deadline or just after is complete.
        stream.report(AskingEnded(clock(), left, bool(left) and is_late, bool(left) and has_lost))
    finally:
        stream.describe = all_made
        count()
    memory.check()


def _drop_covered(state: RunState, queues: Sequence[AccountQueue]) -> None:
    """Take the days off the queues that the files have: of another run that took the buckets."""
    manifest, now = state.manifest, state.context.clock()
    want = wanted_days.wanted(manifest, state.as_of)
    states = coverage_scan.read(state.tree, want, now, manifest.datasets, state.own).states
    for queue in queues:
        for backlog in queue.backlogs:
            covered = states[backlog.dataset.name][queue.appid].no_ask_today
            backlog.drop(covered, until_midnight=False)
            backlog.make_durable(covered)


async def _run_watched(
    state: RunState, count: watchers.Counting, memory: watchers.MemoryWatch
) -> bool:
    """Get the first tokens and run the pipeline, beside the tasks that show, record and end that.

    Returns whether the time budget ended meanwhile.
    """
    stream, pipeline = state.stream, count.pipeline
    deadline = anyio.current_time() + _seconds_left(state)
    async with anyio.create_task_group() as tasks:
        before = anyio.CancelScope(deadline=deadline)
        tasks.start_soon(stream.watch, stream.position)
        tasks.start_soon(watchers.watch_signals, pipeline, stream.stop, before)
        tasks.start_soon(watchers.checkpoint, state.run_log)
        tasks.start_soon(watchers.count_often, count)
        tasks.start_soon(memory.watch, pipeline)
        tasks.start_soon(watchers.stop_at, pipeline, deadline)
        with before:
            await _get_first_tokens(state, pipeline)
        # Planned by a wrong clock, it is planned once more before anything is asked.
        if not state.context.clock.is_off:
            stream.describe = pipeline.describe
            await pipeline.run()
        tasks.cancel_scope.cancel()
    return anyio.current_time() >= deadline


async def _get_first_tokens(state: RunState, pipeline: Pipeline) -> None:
    """Get the token that tells the time, and those that are compared before the first data call."""
    context, tokens, queues = state.context, pipeline.tokens, pipeline.scheduler.queues
    if not context.clock.is_checked:
        await tokens.request_ahead(queues[0].appid)
    if not context.clock.is_off:
        appids = token_comparison.to_compare(context, state.manifest, queues)
        await token_comparison.compare(context, tokens, appids)


async def _may_force_refresh(state: RunState, appid: str) -> bool:
    """Return whether the account's token may be replaced by force, and count it: 20 a day may."""
    spend = partial(forced_refreshes.spend, state.tree, appid, state.context.clock())
    return await anyio.to_thread.run_sync(spend)


def _seconds_left(state: RunState) -> float:
    """Return the seconds that are left of the time budget, infinite without one."""
    budget = state.options.max_duration
    spent = state.context.clock() - state.started_at
    return math.inf if budget is None else max(0.0, budget - spent)
