"""``harvester forget``: delete for good."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from harvester import days, plan
from harvester.cli import show
from harvester.cli.options import (
    Format,
    ManifestPath,
    Output,
    names_option,
    split,
)
from harvester.errors import UsageError
from harvester.manifest import day_option, meant
from harvester.operations import erasure
from harvester.operations import forget as forgetting
from harvester.operations.erasure import Target
from harvester.operations.forget import Receipt
from harvester.operations.project import Project, open_harvested
from harvester.operations.runtime import begin, steady_clock
from harvester.report.books import Books, recorded
from harvester.store import locks


def forget(
    manifest: ManifestPath = Path("jobs.yaml"),
    /,
    *,
    accounts: Annotated[
        tuple[str, ...],
        names_option("Whose: appids, names, tag:NAME or all.", "HARVESTER_ACCOUNTS"),
    ] = (),
    datasets: Annotated[
        tuple[str, ...],
        names_option("Only of these datasets: names or globs.", "HARVESTER_DATASETS"),
    ] = (),
    before: Annotated[
        str | None,
        Parameter(
            help="Only the days before this one: 2024-01-31 or -730d.",
            env_var="HARVESTER_BEFORE",
            allow_leading_hyphen=True,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        Parameter(
            help="Only tell what would be deleted.", env_var="HARVESTER_DRY_RUN", negative=""
        ),
    ] = False,
    output: Output = None,
    format: Format = "text",
) -> int:
    """Delete accounts for good: rows, answers, quarantine and names in records.

    Prints a receipt. Refuses what the manifest still wants: the next run would fetch it again.
    """
    clock = steady_clock()
    done = begin(manifest, clock())
    now = done.started_at
    project = open_harvested(manifest, output, now)
    target = _target(project, split(accounts), split(datasets), day_option("--before", before, now))
    erasure.refuse_wanted(target, plan.wanted(project.manifest, now))
    if dry_run:
        receipt = forgetting.forget(project.tree, project.manifest.datasets, target, None)
    else:
        receipt = _delete(project, target, Books(done, clock))
    if format == "json":
        print(json.dumps(_as_json(receipt, target, dry_run=dry_run), indent=2))
    else:
        _print(show.console(), receipt, target, dry_run=dry_run)
    return 0


def _delete(project: Project, target: Target, books: Books) -> Receipt:
    tree, done = project.tree, books.summary
    own = sorted(target.buckets(tree.buckets))
    since = days.utc_text(done.started_at)
    with locks.hold(tree, own, run_id=done.run_id, since=since), recorded(books):
        books.open(tree, own)
        return forgetting.forget(tree, project.manifest.datasets, target, books)


def _target(
    project: Project, accounts: tuple[str, ...], datasets: tuple[str, ...], before: days.Day | None
) -> Target:
    if not accounts:
        raise UsageError(
            "--accounts is missing", "Name whom to forget: appids, names, tag:NAME or all."
        )
    appids, names = meant(project.manifest, accounts, datasets)
    # However it is said: `all`, a glob, every name, or nothing.
    return Target(appids, names, before, everything=names == set(project.manifest.datasets))


def _as_json(receipt: Receipt, target: Target, *, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "accounts": sorted(target.appids),
        "datasets": sorted(target.datasets),
        "before": None if target.before is None else days.day_text(target.before),
        **asdict(receipt),
        "rewritten": [item._asdict() for item in receipt.rewritten],
    }


def _print(out: Console, receipt: Receipt, target: Target, *, dry_run: bool) -> None:
    until = "" if target.before is None else f" before {days.day_text(target.before)}"
    whom = "1 account" if len(target.appids) == 1 else f"{len(target.appids):,} accounts"
    verb = "would be" if dry_run else "were"
    out.print(f"of {whom} in {len(target.datasets)} datasets{until} {verb} deleted")
    rows = sum(item.rows_before - item.rows_after for item in receipt.rewritten)
    account_days = sum(item.account_days for item in receipt.rewritten)
    removed = sum(item.removed for item in receipt.rewritten)
    figures = {
        "rows": f"{rows:,} of {account_days:,} account-days",
        "files": f"{len(receipt.rewritten) - removed:,} rewritten, {removed:,} removed",
        "answers": f"{receipt.answers:,} not published yet",
        "quarantine": f"{receipt.quarantined:,} answers, {len(receipt.damaged):,} damaged files",
        "records": f"{len(receipt.records):,} without the names",
    }
    for name, figure in figures.items():
        out.print(Text(f"  {name:<11}{figure}"))
    if receipt.empty:
        out.print("\nnothing is known of them here")
    elif dry_run:
        out.print("\nnothing was changed")
