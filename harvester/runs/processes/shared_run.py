"""Run in several processes: the work is shared out by buckets, and recorded as one run."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from harvester.core.config.credentials import PlatformAccess, PlatformCache
from harvester.core.config.parsers import MIN_MEMORY
from harvester.core.config.settings import Limits, Manifest
from harvester.core.errors import UsageError
from harvester.core.shortage import mebibytes
from harvester.planning import wanted_days
from harvester.planning.sharding import as_kept, of_shard, own_buckets
from harvester.runs import harvest as harvesting
from harvester.runs.access import run_context
from harvester.runs.event_loop import run_in_loop
from harvester.runs.facts import Planned
from harvester.runs.processes.cores import usable_cores
from harvester.runs.processes.launcher import Launcher
from harvester.runs.processes.messages import ShardTask
from harvester.runs.processes.supervisor import Supervisor
from harvester.runs.run_log import RunLog, recorded
from harvester.runs.runtime import Project, RunOptions
from harvester.storage import coverage_scan
from harvester.storage.layout import Tree
from harvester.storage.raw_log import group_names


def run(run_log: RunLog, project: Project, options: RunOptions) -> None:
    """Fetch and publish the missing days in as many processes as the options say.

    One process does it if nothing is missing, and says it if too much is. The record of ``run_log``
    has the result. Raises UsageError for more processes than buckets or connections, and as
    `harvester.runs.harvest.run` as long as no request was made. Later the error of a shard is in
    the record.
    """
    manifest = project.manifest
    own = own_buckets(manifest.output.buckets, options.shard)
    count = _processes(options.processes, len(own), manifest.limits)
    tasks = list(_tasks(run_log, project, options, own, count)) if count > 1 else []
    needed, limit = sum(task.plan.windows for task in tasks), manifest.limits.max_requests
    # One process judges the limit under the locks, and records that it is exceeded.
    is_allowed = limit is None or needed <= limit
    # What an earlier run left in the raw log is published by those that hold its buckets.
    if is_allowed and (needed or (tasks and group_names(project.tree))):
        project = project._replace(manifest=of_shard(manifest, own))
        _run_tasks(run_log, project, options, tasks)
    else:
        harvesting.run(run_log, project, options)


def _run_tasks(
    run_log: RunLog, project: Project, options: RunOptions, tasks: Sequence[ShardTask]
) -> None:
    """Have each shard harvested by a process of its own. Raises as `run`."""
    with Launcher() as launcher:
        # Read here as well, so that all missing secrets are named before any process begins.
        context = run_context(project)
        begun = harvesting.begun(project.manifest, options, run_log.stream.own.started_at)
        run_log.stream.report(begun)
        run_log.manifest = as_kept(project.manifest)
        limit = project.manifest.limits.max_requests
        granted = list(_granted(tasks, limit, context.platform))
        supervisor = Supervisor(run_log, project.tree, context, launcher, granted)
        try:
            with recorded(run_log):
                run_in_loop(supervisor.run)
        finally:
            # Only now is the record written, for which the processes keep their locks.
            supervisor.release()


def _tasks(
    run_log: RunLog, project: Project, options: RunOptions, own: list[int], count: int
) -> Iterator[ShardTask]:
    """Yield the shards of the processes, which share out the requests in flight.

    They are those that ``--shard`` would name if each process were started by hand.
    """
    record, manifest, (number, total) = run_log.stream.own, project.manifest, options.shard
    least, more = divmod(manifest.limits.connections, count)
    whole = replace(as_kept(project.whole), file=harvesting.name_in_output(project))
    for index in range(count):
        mine = own[index::count]
        # The first process has a share, too.
        memory = manifest.limits.memory and manifest.limits.memory // (count + 1)
        limits = replace(manifest.limits, connections=least + (index < more), memory=memory)
        narrowed = replace(of_shard(manifest, mine), limits=limits)
        yield ShardTask(
            run_id=record.run_id,
            started_at=record.started_at,
            shard=f"{number + index * total}/{count * total}",
            own=mine,
            plan=_plan(project.tree, mine, narrowed, options, record.started_at),
            manifest=narrowed,
            whole=of_shard(whole, mine),
            read_again=project.read_again,
            credentials=project.credentials,
            options=options._replace(processes=1),
            log_level=logging.getLogger("harvester").getEffectiveLevel(),
        )


def _plan(
    tree: Tree, own: list[int], manifest: Manifest, options: RunOptions, now: float
) -> Planned:
    """Plan a part without its lock: another run may be at work, and finish some of it."""
    want = wanted_days.wanted(manifest, now)
    states = coverage_scan.read(tree, want, now, manifest.datasets, own).states
    missing = coverage_scan.to_ask(states, want, options.refetch)
    return harvesting.planned(want, wanted_days.summarise(as_kept(manifest), want, missing))


def _granted(
    tasks: Sequence[ShardTask], limit: int | None, platform: PlatformAccess | None
) -> Iterator[ShardTask]:
    """Yield each task with the requests that it may make, and what is known of the platform."""
    # A part that plans more under its lock may use its share of what the plans leave over.
    over = 0 if limit is None else (limit - sum(task.plan.windows for task in tasks)) // len(tasks)
    for task in tasks:
        known = known_of(platform, [account.appid for account in task.manifest.accounts])
        grant = None if limit is None else task.plan.windows + over
        yield task._replace(grant=grant, platform=known)


def known_of(platform: PlatformAccess | None, appids: Collection[str]) -> PlatformCache | None:
    """Return what is known of a platform, with the refresh tokens of these accounts alone."""
    if platform is None:
        return None
    known = platform.known
    listed = {appid: known.listed[appid] for appid in appids if appid in known.listed}
    return replace(known, listed=listed)


def _processes(wanted: int, buckets: int, limits: Limits) -> int:
    """Return the number of processes; ``wanted`` is 0 for one on each core. Raises UsageError."""
    in_memory = max(1, (limits.memory or sys.maxsize) // MIN_MEMORY - 1)
    if not wanted:
        return min(usable_cores(), buckets, limits.connections, in_memory)
    if wanted > in_memory:
        needed = mebibytes((wanted + 1) * MIN_MEMORY)
        what = f"{wanted} processes and the one that starts them need {needed} of limits.memory"
        raise UsageError(what, "raise the limit, or use fewer processes")
    if wanted > buckets:
        raise UsageError(
            f"{wanted} processes need at least {wanted} buckets, and this run has {buckets}",
            f"use {buckets} of them; `harvester rewrite --buckets {wanted}` makes a tree with more,"
            " and a new tree gets output.buckets",
        )
    if wanted > (most := limits.connections):
        what = f"{wanted} processes need at least {wanted} limits.connections, which is {most}"
        raise UsageError(what, "they are shared out: raise the limit, or use fewer processes")
    return wanted
