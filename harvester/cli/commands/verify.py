"""``harvester verify``: every file against itself."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from harvester.cli import options
from harvester.cli.next_commands import NextCommand, next_command, print_next
from harvester.cli.output.answers import answer
from harvester.cli.output.phrases import days_text
from harvester.cli.output.terminal import Terminal
from harvester.core.exit_codes import Exit
from harvester.core.text.inert_text import inert, named
from harvester.core.text.wording import counted
from harvester.verbs import plan as planning
from harvester.verbs import verify as verifying


def verify(
    manifest: options.ManifestPath = options.JOBS,
    /,
    *,
    selecting: options.Selecting = options.ALL,
    output: options.Output = None,
    lock_timeout: options.LockTimeout = None,
    footers_only: Annotated[bool, options.value("HARVESTER_FOOTERS_ONLY")] = False,
    repair: Annotated[bool, options.value("HARVESTER_REPAIR")] = False,
    format: options.Format = "text",
    _ok_exit: options.OkExit = "",
) -> int:
    """Check every file against itself, its data included.

    Checks names, months, buckets, order, unique keys, rows against coverage, and
    every byte against the file's digests; and that every published file is there.
    Options narrow it to the files that may have a selected day of a selected
    account. Asks WeChat nothing, and with --output needs no manifest.

    For example:
      harvester verify jobs.yaml --repair

    Exit codes:
      0   no damage found
      2   nothing was harvested here, or a file is of another version
      3   files are damaged or missing
      75  another run holds the accounts for too long (with --repair)

    Params:
        footers_only: Read footers and keys alone; leave out all other data and the digest.
        repair: Move damaged files to quarantine, and record which are gone.
    """
    source, chosen = options.manifest_of(manifest, output), selecting.chosen()
    how = {"footers_only": footers_only, "repair": repair}
    found = verifying.verify(source, chosen=chosen, output=output, lock_timeout=lock_timeout, **how)

    def show(out: Terminal) -> None:
        _print_report(out, found)
        if any(damage.repaired for damage in found.damaged):
            if source is None:
                return
            requests = planning.plan(source, output=output).requests
            again = f"to ask for the lost days again: {counted(requests, 'request')}"
            print_next(out, [NextCommand(again, next_command("run"))])
        elif not all(damage.remedy for damage in found.damaged):
            mend = "to move what is damaged to quarantine, if it cannot be restored"
            print_next(out, [NextCommand(mend, next_command("verify", "--repair"))])

    answer(format, found.to_dict, show)
    if any(damage.remedy for damage in found.damaged):
        return Exit.USAGE
    return Exit.DONE if found.undamaged else Exit.INCOMPLETE


def _print_report(out: Terminal, found: verifying.Report) -> None:
    for damage in found.damaged:
        _print_damage(out, damage)
    if found.foreign:
        out.print("not harvester's, and left alone; engines may read them")
        for name in found.foreign:
            out.say(f"  {inert(name)}")
        out.print()
    for each in found.equal:
        first, second = map(named, each.appids, each.names)
        days = f"{counted(each.days, 'day')} of {each.dataset}"
        line = f"{first} and {second} have equal rows on {days}"
        out.say(f"{line}: see whether both were asked with one token")
    groups = f", {found.groups:,} raw groups" if found.groups else ""
    kinds = Counter(map(_kind, found.damaged))
    verdict = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()) or "no damage found"
    out.print(f"{counted(found.files, 'file')}, {counted(found.rows, 'row')}{groups}: {verdict}")


def _kind(damage: verifying.Damage) -> str:
    return "of another version" if damage.remedy else "missing" if damage.missing else "damaged"


def _print_damage(out: Terminal, damage: verifying.Damage) -> None:
    out.say(f"{_kind(damage)}: {inert(damage.path)}")
    for flaw in damage.flaws:
        out.say(f"  {inert(flaw)}")
    lost = (f"{inert(x.appid)} {days_text(x.begin, x.end)}" for x in damage.lost)
    out.say_list("", list(lost), indent=4)
    if damage.remedy:
        out.say(f"  undamaged, and stays; {damage.remedy}")
    if damage.moved_to:
        out.say(f"  moved to {inert(damage.moved_to)}")
    out.print()
