"""Run in several processes: the work is shared out by buckets, and recorded as one run."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from harvester.core import calendar
from harvester.core.config.credentials import PlatformAccess
from harvester.core.config.settings import Limits
from harvester.core.errors import UsageError
from harvester.planning import windows
from harvester.planning.sharding import of_shard, own_buckets
from harvester.runs import harvest as harvesting
from harvester.runs.access import run_context
from harvester.runs.event_loop import run_in_loop
from harvester.runs.facts import Begun, Planned
from harvester.runs.processes.cores import usable_cores
from harvester.runs.processes.launcher import Launcher
from harvester.runs.processes.messages import ShardTask
from harvester.runs.processes.platform_service import known_of
from harvester.runs.processes.supervisor import Supervisor, Work
from harvester.runs.record.record import Record
from harvester.runs.run_log import RunLog, recorded
from harvester.runs.runtime import (
    Project,
    RunOptions,
    Watch,
    shard_text,
    show_no_progress,
)
from harvester.storage import coverage_scan
from harvester.storage.raw_log import group_names

_ONE_EACH = 0


def run(
    run_log: RunLog, project: Project, options: RunOptions, watch: Watch = show_no_progress
) -> None:
    """Fetch and publish the missing days in as many processes as the options say.

    One process does it if nothing is missing, and says it if too much is. The record of ``run_log``
    has the result. Raises UsageError for more processes than buckets or connections, and as
    `harvester.runs.harvest.run` as long as no request was made. Later the error of a shard is in
    the record.
    """
    manifest = project.manifest
    own = own_buckets(manifest.output.buckets, options.shard)
    count = _processes(options.processes, len(own), manifest.limits)
    parts = list(_parts(options.shard, own, _shares(manifest.limits.connections, count)))
    plans = _plans(run_log, project, options, parts) if count > 1 else []
    needed, limit = sum(plan.windows for plan in plans), manifest.limits.max_requests
    # One process judges the limit under the locks, and records that it is exceeded.
    is_allowed = limit is None or needed <= limit
    if is_allowed and (needed or (plans and group_names(project.tree))):
        project = project._replace(manifest=of_shard(manifest, own))
        _run_parts(run_log, project, options, list(zip(parts, plans, strict=True)), watch)
    else:
        harvesting.run(run_log, project, options, watch)


def _run_parts(
    run_log: RunLog,
    project: Project,
    options: RunOptions,
    work: Sequence[tuple[_Part, Planned]],
    watch: Watch,
) -> None:
    """Have each part harvested by a process of its own. Raises as `run`."""
    plans = [plan for _, plan in work]
    with Launcher() as launcher:
        launcher.prepare()
        # Read here as well, so that all missing secrets are named before any process begins.
        context = run_context(project, watch)
        stream = run_log.stream
        ready_at = windows.next_ready_at(project.manifest, stream.own.started_at)
        stream.report(Begun(options.labels, options.shard_text, ready_at))
        make = _TaskMaker(stream.own, project, context.platform, replace(options, processes=1))
        grants = _grants(plans, project.manifest.limits.max_requests)
        tasks = [make(part, grant) for (part, _), grant in zip(work, grants, strict=True)]
        shards = list(zip(tasks, plans, strict=True))
        supervisor = Supervisor(run_log, project.tree, context, launcher, Work(shards, _sum(plans)))
        try:
            with recorded(run_log):
                run_in_loop(supervisor.run)
        finally:
            supervisor.release()


def _plans(
    run_log: RunLog, project: Project, options: RunOptions, parts: Iterable[_Part]
) -> list[Planned]:
    """Plan each part without its lock: another run may be at work, and finish some of it."""
    now, plans = run_log.stream.own.started_at, []
    for part in parts:
        manifest = of_shard(project.manifest, part.own)
        want = windows.wanted(manifest, now)
        missing, _ = coverage_scan.to_ask(project.tree, want, now, options.refetch)
        plan = windows.summarise(manifest, want, missing, calendar.today(now))
        plans.append(harvesting.planned(manifest, want, plan, now))
    return plans


def _sum(plans: Sequence[Planned]) -> Planned:
    """Return one plan; its bound is that of the slowest part."""
    slowest = max(plans, key=lambda plan: plan.bound_seconds)
    moments = [plan.next_day_at for plan in plans if plan.next_day_at is not None]
    return Planned(
        sum(plan.windows for plan in plans),
        sum(plan.account_days for plan in plans),
        slowest.bound_seconds,
        slowest.bound_by,
        sum(plan.accounts for plan in plans),
        tuple(account for plan in plans for account in plan.paused),
        min(moments, default=None),
    )


def _grants(plans: Sequence[Planned], limit: int | None) -> Iterator[int | None]:
    """Yield how many requests each part may make, with its share of what the plans leave over."""
    over = 0 if limit is None else (limit - sum(plan.windows for plan in plans)) // len(plans)
    return (None if limit is None else plan.windows + over for plan in plans)


def _processes(wanted: int, buckets: int, limits: Limits) -> int:
    """Return the number of processes. Raises UsageError."""
    if wanted == _ONE_EACH:
        return min(usable_cores(), buckets, limits.connections)
    if wanted > buckets:
        raise UsageError(
            f"{wanted} processes need at least {wanted} buckets, and this run has {buckets}",
            f"use --processes {buckets}; `harvester rewrite --buckets {wanted}` makes a tree with"
            " more, and a new tree gets output.buckets",
        )
    if wanted > limits.connections:
        raise UsageError(
            f"{wanted} processes need at least {wanted} limits.connections, which is"
            f" {limits.connections}",
            "they are shared out: raise the limit, or use fewer processes",
        )
    return wanted


class _Part(NamedTuple):
    """The shard of one process, its buckets, and its share of the connections."""

    name: str
    own: list[int]
    connections: int


def _parts(outer: tuple[int, int], own: list[int], shares: list[int]) -> Iterator[_Part]:
    """Yield the shards of the processes, one for each share.

    They are those that ``--shard`` would name if each process were started by hand.
    """
    (number, total), count = outer, len(shares)
    for index, share in enumerate(shares):
        name = shard_text(number + index * total, count * total)
        yield _Part(name, own[index::count], share)


class _TaskMaker(NamedTuple):
    """Maker of the tasks of the parts of a run."""

    run: Record
    project: Project
    platform: PlatformAccess | None
    options: RunOptions

    def __call__(self, part: _Part, grant: int | None) -> ShardTask:
        """Return the task of a part that may make ``grant`` requests."""
        project, manifest = self.project, of_shard(self.project.manifest, part.own)
        limits = replace(manifest.limits, connections=part.connections)
        appids = {account.appid for account in manifest.accounts}
        return ShardTask(
            run_id=self.run.run_id,
            started_at=self.run.started_at,
            shard=part.name,
            own=part.own,
            grant=grant,
            manifest=replace(manifest, limits=limits),
            manifest_at=project.manifest_at,
            credentials=project.credentials,
            options=self.options,
            log_level=logging.getLogger("harvester").getEffectiveLevel(),
            platform=known_of(self.platform, appids),
        )


def _shares(connections: int, count: int) -> list[int]:
    """Divide the requests in flight that the whole run may have."""
    least, more = divmod(connections, count)
    return [least + (index < more) for index in range(count)]
