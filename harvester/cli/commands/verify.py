"""``harvester verify``: every file against itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.text import Text

from harvester.cli import options
from harvester.cli.output.answers import answer, range_text
from harvester.core.errors import Exit
from harvester.operations import verify as verifying
from harvester.operations.plain import plain
from harvester.operations.project import open_harvested
from harvester.operations.verify import Damage, Verdict

_MOST_STRETCHES = 12


def verify(
    manifest: options.ManifestPath = Path("jobs.yaml"),
    /,
    *,
    output: options.Output = None,
    read_data: Annotated[
        bool,
        options.flag(
            "Also read every page and compare the digest: every byte counts.",
            "HARVESTER_READ_DATA",
        ),
    ] = False,
    repair: Annotated[
        bool,
        options.flag(
            "Move what is damaged to the quarantine: the next run asks for its days again.",
            "HARVESTER_REPAIR",
        ),
    ] = False,
    format: options.Format = "text",
    _ok_exit: options.OkExit = "",
) -> int:
    """Check every file against itself. Exits with 3 if anything is damaged.

    With 2 if a file is of another version: nothing can be said of it.

    Names, months, buckets, order, unique keys, and rows against coverage. Asks WeChat nothing.
    """
    project = open_harvested(manifest, output)
    found = verifying.verify(project, read_data=read_data, repair=repair)
    answer(
        format,
        lambda: {**plain(found), "sound": found.sound},
        lambda out: _print(out, found, project.words),
    )
    if any(damage.remedy for damage in found.damaged):
        return Exit.USAGE
    return Exit.DONE if found.sound else Exit.INCOMPLETE


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
    out.print(Text(f"{kind}: {damage.path}"), soft_wrap=True)
    for flaw in damage.flaws:
        out.print(Text(f"  {flaw}"))
    for item in damage.lost[:_MOST_STRETCHES]:
        lost = range_text(item.begin, item.end)
        out.print(Text(f"    {item.appid or 'no account'} {lost}"))
    if len(damage.lost) > _MOST_STRETCHES:
        more = len(damage.lost) - _MOST_STRETCHES
        out.print(f"    and {more:,} more (--format json lists all)")
    if damage.remedy:
        out.print(Text(f"  it is whole and stays; {damage.remedy}"), soft_wrap=True)
    if damage.moved_to:
        out.print(Text(f"  moved to {damage.moved_to}"), soft_wrap=True)
    out.print()
