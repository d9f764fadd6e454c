"""The status of an output, as text."""

from __future__ import annotations

from rich.console import Console

from harvester.cli.next_commands import print_next, run_again
from harvester.cli.output.account_tables import day_lines, lost_lines
from harvester.cli.output.answers import MAX_LINES, print_line, print_lines, print_paused
from harvester.cli.output.coverage_table import print_coverage, print_suspicious
from harvester.cli.output.phrases import counted
from harvester.core import calendar
from harvester.core.text.inert_text import inert, named
from harvester.core.text.safe_text import safe_text
from harvester.verbs.gate import Gate
from harvester.verbs.status import Status


def print_status(out: Console, found: Status) -> None:
    """Print the coverage, missing and suspicious days, the last runs and commands to type next."""
    print_coverage(out, found.datasets)
    if found.gaps:
        days = counted(sum(gap.days for gap in found.gaps), "account-day")
        accounts = counted(len({gap.appid for gap in found.gaps}), "account")
        print_line(out, f"missing: {days} of {accounts}", gap=True)
        print_lines(out, day_lines(found.gaps))
    print_suspicious(out, found.next_requests)
    print_lines(out, day_lines(found.suspicious))
    names = {account.appid: account.name for account in found.accounts}
    for item in found.quarantined[:MAX_LINES]:
        account = named(item.appid, names.get(item.appid, ""))
        where = f"{account}: {item.dataset} {calendar.day_text(item.day)}"
        is_first = item is found.quarantined[0]
        print_line(out, f"quarantined: {where}: {safe_text(item.reason)}", gap=is_first)
    for line in (*found.warnings, *(f"not harvester's: {inert(name)}" for name in found.foreign)):
        print_line(out, f"note: {line}", gap=True)
    print_paused(out, found.paused)
    _print_runs(out, found)
    print_owners(out, found)
    print_line(out, _completeness(found), gap=True)
    missing = sum(row.days.missing for row in found.datasets)
    print_next(out, run_again(found.next_requests, missing, len(found.quarantined)))
    if found.gate is not None:
        print_gate(out, found.gate)


def _completeness(found: Status) -> str:
    if found.gaps:
        return "incomplete: days are missing"
    if found.unusable:
        return f"incomplete: {found.unusable:,} account-days have no answer that fits"
    return "complete"


def _print_runs(out: Console, found: Status) -> None:
    if found.runs:
        out.print("\nlast runs")
    for record in found.runs:
        reasons = f" ({inert(', '.join(record.reasons))})" if record.reasons else ""
        ended = "under way, or killed"
        if record.exit_code is not None:
            ended = f"{inert(record.outcome or 'unknown')}, exit {record.exit_code}"
        figures = f"{record.requests:,} requests, {record.rows:,} rows"
        print_line(out, f"  {inert(record.started_at)}  {ended}{reasons}  {figures}")


def print_owners(out: Console, found: Status) -> None:
    """Print which run holds which bucket, if that was asked for."""
    if found.owners is None:
        return
    out.print("\nowners" if found.owners else "\nowners: no run holds a bucket")
    for owner in found.owners:
        lease = ""
        if owner.lease_ends_at is not None:
            lease = f"; renewed {owner.renewed_at}, ends {owner.lease_ends_at} unless renewed"
        who = owner if owner.run_id else "its note does not name it"
        print_line(out, f"  {owner.bucket}  {who}{lease}")


def print_gate(out: Console, gate: Gate) -> None:
    """Print whether the required days are there, or may still come, and name the lost ones."""
    day = "the newest ready day" if gate.day is None else calendar.day_text(gate.day)
    days = "final days up to" if gate.final else "days up to"
    if gate.obtainable:
        count = sum(each.end - each.begin + 1 for each in gate.obtainable)
        verdict = f"{count:,} account-days can still be obtained, from {gate.retry_at} on"
    else:
        verdict = "nothing more comes by itself" if gate.lost else "all of them are there"
    print_line(out, f"{days} {day}: {verdict}", gap=True)
    print_lines(out, lost_lines(gate.lost))
