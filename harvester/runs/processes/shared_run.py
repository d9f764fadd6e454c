"""Run in several processes: the work is shared out by buckets, and recorded as one run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from harvester.core.config.settings import Limits
from harvester.core.errors import UsageError
from harvester.planning import windows
from harvester.planning.sharding import of_shard, own_buckets
from harvester.runs import harvest as harvesting
from harvester.runs.access import run_context
from harvester.runs.event_loop import run_in_loop
from harvester.runs.processes.cores import usable_cores
from harvester.runs.processes.launcher import Launcher
from harvester.runs.processes.messages import ShardTask
from harvester.runs.processes.platform_service import known_of
from harvester.runs.processes.supervisor import Supervisor
from harvester.runs.record.run_log import RunLog, recorded
from harvester.runs.runtime import (
    Project,
    RunContext,
    RunOptions,
    Watch,
    shard_text,
    show_no_progress,
)

_ONE_EACH = 0


def run(
    run_log: RunLog, project: Project, options: RunOptions, watch: Watch = show_no_progress
) -> None:
    """Fetch and publish the missing days in as many processes as the options say.

    The result is in ``run_log``. Raises UsageError for more processes than buckets or connections,
    and as `harvester.runs.harvest.run` as long as no request was made. Later the error of a shard
    is in the summary.
    """
    manifest = project.manifest
    own = own_buckets(manifest.output.buckets, options.shard)
    count = _processes(options.processes, len(own), manifest.limits)
    if count == 1:
        harvesting.run(run_log, project, options, watch)
        return
    with Launcher() as launcher:
        launcher.prepare()
        project = project._replace(manifest=of_shard(manifest, own))
        # Read here as well, so that all missing secrets are named before any process begins.
        context = run_context(project, watch)
        summary = run_log.summary
        summary.identified(shard=options.shard_text, labels=options.labels)
        summary.calendar_read(windows.next_ready_at(project.manifest, summary.started_at))
        run_log.events.leave_causes_to_shards()
        tasks = [
            _task(run_log, project, context, replace(options, processes=1), part)
            for part in _parts(options.shard, own, _shares(manifest.limits.connections, count))
        ]
        supervisor = Supervisor(run_log, project.tree, context, launcher, tasks)
        with recorded(run_log):
            run_in_loop(supervisor.run)


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


def _task(
    run_log: RunLog, project: Project, context: RunContext, options: RunOptions, part: _Part
) -> ShardTask:
    manifest, summary = of_shard(project.manifest, part.own), run_log.summary
    limits = replace(manifest.limits, connections=part.connections)
    appids = {account.appid for account in manifest.accounts}
    return ShardTask(
        run_id=summary.run_id,
        started_at=summary.started_at,
        shard=part.name,
        own=part.own,
        manifest=replace(manifest, limits=limits),
        manifest_at=project.manifest_at,
        credentials=project.credentials,
        options=options,
        log_level=logging.getLogger("harvester").getEffectiveLevel(),
        platform=known_of(context.platform, appids),
    )


def _shares(connections: int, count: int) -> list[int]:
    """Divide the requests in flight that the whole run may have."""
    least, more = divmod(connections, count)
    return [least + (index < more) for index in range(count)]
