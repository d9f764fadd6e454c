"""Verbs that read: `plan`, `status` and `read_manifest`."""

from __future__ import annotations

import os
from collections.abc import Mapping

from harvester.core.config.settings import Manifest
from harvester.manifest import end_day_option, load
from harvester.runs.clock import CheckedClock
from harvester.runs.runtime import Project
from harvester.verbs import arguments
from harvester.verbs import plan as planning
from harvester.verbs import status as surveying
from harvester.verbs.arguments import AnyDay, ManifestSource, Names, Refetch, ShardName
from harvester.verbs.gate import Required
from harvester.verbs.plan import PricedPlan
from harvester.verbs.project import open_project
from harvester.verbs.results import Plan, Status, plan_of

__all__ = ["open_project", "plan", "price", "read_manifest", "status", "survey"]


def read_manifest(manifest: ManifestSource, environ: Mapping[str, str] | None = None) -> Manifest:
    """Read and validate a manifest; no secret is resolved.

    ``environ`` has the variables of ``${NAME}``; those of the process by default. Raises UsageError
    with all ``mistakes``.
    """
    path, text = arguments.source(manifest)
    given = os.environ if environ is None else environ
    return load(path, environ=given, now=CheckedClock().started_at, text=text)


def plan(
    manifest: ManifestSource,
    *,
    accounts: Names = None,
    datasets: Names = None,
    jobs: Names = None,
    begin_date: AnyDay = None,
    end_date: AnyDay = None,
    output: str | os.PathLike[str] | None = None,
    shard: ShardName = None,
    refetch: Refetch | None = None,
) -> Plan:
    """Return what a run would ask now. Asks nothing, writes nothing and needs no secret.

    The arguments are those of `run`. Raises UsageError, and HarvesterError if the output cannot be
    read.
    """
    chosen = arguments.selection(accounts, datasets, jobs, begin_date, end_date)
    project = open_project(arguments.source(manifest), chosen, arguments.place(output))
    return plan_of(price(project, refetch, arguments.shard_of(shard)))


def price(project: Project, refetch: Refetch | None, shard: tuple[int, int]) -> PricedPlan:
    """Return the plan of a run and its price. Raises as `plan`."""
    return planning.plan(project, refetch=refetch, shard=shard)


def status(
    manifest: ManifestSource,
    *,
    accounts: Names = None,
    datasets: Names = None,
    jobs: Names = None,
    begin_date: AnyDay = None,
    end_date: AnyDay = None,
    output: str | os.PathLike[str] | None = None,
    require: AnyDay = None,
    final: bool = False,
    owners: bool = False,
) -> Status:
    """Return the coverage of an output. Reads the files alone and needs no secret.

    With ``require`` its ``gate`` tells whether every wanted day up to that one is there; with
    ``final`` provisional answers are not enough. With ``owners`` it names the runs that hold
    buckets. Raises UsageError, and HarvesterError if the
    output cannot be read.
    """
    chosen = arguments.selection(accounts, datasets, jobs, begin_date, end_date)
    project = open_project(arguments.source(manifest), chosen, arguments.place(output))
    if require is None:
        return survey(project, None, owners=owners)
    day = end_day_option("require", str(require), project.clock.started_at)
    return survey(project, Required(day, final), owners=owners)


def survey(project: Project, required: Required | None, *, owners: bool = False) -> Status:
    """Return the status of an opened project. Raises as `status`."""
    return surveying.status(project, required, owners=owners)
