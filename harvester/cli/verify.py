"""``harvester verify``: every file against itself."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from harvester import days
from harvester import verify as verifying
from harvester.cli import show, streams
from harvester.cli.options import (
    Format,
    ManifestPath,
    OkExit,
    Output,
)
from harvester.cli.project import open_harvested, steady_clock
from harvester.errors import Exit
from harvester.store import locks
from harvester.summary import new_run_id, utc_text
from harvester.verify import Damage, Verdict

_MOST_STRETCHES = 12


def verify(
    manifest: ManifestPath = Path("jobs.yaml"),
    /,
    *,
    output: Output = None,
    read_data: Annotated[
        bool,
        Parameter(
            help="Also read every page and compare the digest: every byte counts.",
            env_var="HARVESTER_READ_DATA",
            negative="",
        ),
    ] = False,
    repair: Annotated[
        bool,
        Parameter(
            help="Move what is damaged to the quarantine: the next run asks for its days again.",
            env_var="HARVESTER_REPAIR",
            negative="",
        ),
    ] = False,
    format: Format = "text",
    ok_exit: OkExit = "",
) -> int:
    """Check every file against itself. Exits with 3 if anything is damaged.

    With 2 if a file is of another version: nothing can be said of it.

    Names, months, buckets, order, unique keys, and rows against coverage. Asks WeChat nothing.
    """
    del ok_exit  # settled where every verb ends
    now = steady_clock()()
    project = open_harvested(manifest, output, now)
    run_id, since = new_run_id(now), utc_text(now)
    buckets = range(project.tree.buckets) if repair else ()
    # Who only looks disturbs nobody. Who moves files must be alone with them.
    alone = locks.hold(project.tree, buckets, run_id=run_id, since=since)
    with alone if repair else nullcontext():
        found = verifying.verify(project.manifest, project.tree, now, read_data=read_data)
        if repair:
            found = verifying.repair(project.tree, found, run_id)
    with streams.answering():
        if format == "json":
            print(json.dumps(_as_json(found), indent=2, ensure_ascii=False))
        else:
            _print(show.console(), found, project.words)
    if any(damage.remedy for damage in found.damaged):
        return Exit.USAGE
    return Exit.DONE if found.sound else Exit.INCOMPLETE


def _as_json(found: Verdict) -> dict[str, object]:
    return {**asdict(found), "sound": found.sound, "damaged": list(map(_damage, found.damaged))}


def _damage(damage: Damage) -> dict[str, object]:
    return {
        "path": damage.name,
        "dataset": damage.dataset or None,
        "ref_month": damage.ref_month or None,
        "flaws": list(damage.flaws),
        "lost": [
            {
                "appid": item.appid,
                "begin_date": days.day_text(item.begin),
                "end_date": days.day_text(item.end),
            }
            for item in damage.lost
        ],
        "other_version": bool(damage.remedy),
        "moved_to": damage.moved_to,
    }


def _print(out: Console, found: Verdict, words: str) -> None:
    for damage in found.damaged:
        _print_damage(out, damage)
    if found.foreign:
        out.print("not harvester's, and left alone; engines may read them")
        for name in found.foreign:
            out.print(Text(f"  {name}"), soft_wrap=True)
        out.print()
    groups = f", {found.groups:,} raw groups" if found.groups else ""
    verdict = "sound" if found.sound else f"{len(found.damaged):,} damaged"
    out.print(f"{found.files:,} files, {found.rows:,} rows{groups}: {verdict}")
    if any(damage.moved_to for damage in found.damaged):
        out.print(Text(f"\n  harvester run {words}"), soft_wrap=True)
    elif not all(damage.remedy for damage in found.damaged):
        out.print(Text(f"\n  restore them, or: harvester verify {words} --repair"), soft_wrap=True)


def _print_damage(out: Console, damage: Damage) -> None:
    kind = "of another version" if damage.remedy else "damaged"
    out.print(Text(f"{kind}: {damage.name}"), soft_wrap=True)
    for flaw in damage.flaws:
        out.print(Text(f"  {flaw}"))
    for item in damage.lost[:_MOST_STRETCHES]:
        until = "" if item.end == item.begin else f"..{days.day_text(item.end)}"
        out.print(Text(f"    {item.appid or 'no account'} {days.day_text(item.begin)}{until}"))
    if len(damage.lost) > _MOST_STRETCHES:
        more = len(damage.lost) - _MOST_STRETCHES
        out.print(f"    and {more:,} more (--format json lists all)")
    if damage.remedy:
        out.print(Text(f"  it is whole and stays; {damage.remedy}"), soft_wrap=True)
    if damage.moved_to:
        out.print(Text(f"  moved to {damage.moved_to}"), soft_wrap=True)
    out.print()
