"""The summary of a run and the status of an output, as text."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from rich.console import Console

from harvester.api.reports import (
    DatasetSummary,
    Gate,
    NextRequests,
    Project,
    Status,
    Summary,
    causes,
)
from harvester.cli.next_commands import (
    NextCommand,
    days_of,
    first_rows,
    next_command,
    print_next,
    run_again,
)
from harvester.cli.output.account_tables import (
    day_lines,
    lost_lines,
    missing_lines,
    missing_title,
)
from harvester.cli.output.answers import (
    MAX_LINES,
    print_line,
    print_lines,
    print_paused,
    print_pending,
    print_table,
)
from harvester.cli.output.phrases import seconds_text
from harvester.cli.output.styles import style_of
from harvester.cli.output.table_layout import Cell, TableColumn, own
from harvester.core import calendar
from harvester.core.exit_codes import Exit, Outcome
from harvester.core.inert_text import inert, named
from harvester.core.safe_text import safe_text

_STATES = {
    "done": TableColumn("covered"),
    "missing": TableColumn("missing"),
    "provisional": TableColumn("provisional", rank=2),
    "quarantined": TableColumn("quarantined", rank=1),
    "suspicious": TableColumn("suspicious", rank=3),
    "empty": TableColumn("empty", rank=4),
}
"""The columns of account-days by state."""

_BEIJING = dt.timezone(dt.timedelta(hours=8))

_LIMITS = {"rate": "the rate limit", "cpu": "the processor", "quota": "the daily quota"}
"""The limits that bound the time of a run from below, by ``bound_by``."""

_VERDICTS = {
    Outcome.COMPLETE: "everything wanted is covered",
    Outcome.PARTIAL: "finished, but some wanted days could not be obtained",
    Outcome.UNAUTHORISED: "no account could be authorised",
    Outcome.STOPPED: "what was harvested is safe",
    Outcome.BUG: "an internal error; what was harvested is safe",
}


def summary(out: Console, done: Summary, project: Project) -> None:
    """Print the figures of a run, and the next steps."""
    out.print()
    _print_coverage(out, done.datasets)
    out.print()
    _print_figures(out, done)
    _print_lost_shards(out, done)
    _print_causes(out, done, project.manifest.names)
    print_paused(out, done.paused)
    print_pending(out, done.pending, project.manifest.names)
    _print_suspicious(out, done.next_requests)
    for note in done.notes(project.manifest.names):
        print_line(out, f"  note: {note}", gap=True)
    out.print()
    print_line(out, _verdict(done), style=style_of(done.outcome))
    print_next(out, _next_steps(done, project))


def _verdict(done: Summary) -> str:
    """Return the outcome in one line, and if more can be obtained, the time from which on."""
    words = [_VERDICTS[done.outcome]] if done.outcome in _VERDICTS else []
    if done.retry_at is not None:
        when = _time_text(done.retry_at) if done.retry_at > done.ended_at else "now"
        words.append(f"run again {when}")
    return f"{done.outcome}: {'; '.join(words)}"


def _time_text(moment: float) -> str:
    """Write a moment in the time of this machine and, if that is another, in Beijing's."""
    # To the next full minute, because the text must not be earlier than the moment.
    here = dt.datetime.fromtimestamp(-(-moment // 60) * 60, dt.UTC).astimezone()
    in_beijing = f"{here.astimezone(_BEIJING):%Y-%m-%d %H:%M} in Beijing"
    if here.utcoffset() == _BEIJING.utcoffset(None):
        return f"from {in_beijing} on"
    return f"from {here:%Y-%m-%d %H:%M} on ({in_beijing})"


def _print_coverage(out: Console, rows: Sequence[DatasetSummary]) -> None:
    """Count account-days by state; states without a day get no column, but for covered ones."""
    shown = [
        name for name in _STATES if name == "done" or any(getattr(row.days, name) for row in rows)
    ]
    columns = [
        TableColumn("dataset", "code"),
        TableColumn("accounts", rank=6),
        TableColumn("wanted", rank=5),
    ]
    print_table(
        out,
        [*columns, *(_STATES[name] for name in shown)],
        [
            [
                row.dataset,
                f"{row.accounts:,}",
                f"{row.days.wanted:,}",
                *(_count(row, name) for name in shown),
            ]
            for row in rows
        ],
    )


def _count(row: DatasetSummary, name: str) -> Cell:
    number = getattr(row.days, name)
    if name == "done":
        return own(f"{number:,}", "" if row.days.missing else "done")
    return own(f"{number:,}", style_of(name) if number else "")


def _print_figures(out: Console, done: Summary) -> None:
    bound = ""
    if done.bound_seconds:
        limit = _LIMITS[done.bound_by]
        bound = f" (lower bound from {limit}: {seconds_text(done.bound_seconds)})"
    figures = {
        "requests": f"{done.requests:,} for {done.windows:,} windows",
        **_questions(done.quota_questions),
        "retries": f"{done.retries:,}{_waited(done.waits)}",
        "refused": f"{sum(gone.count for gone in done.abandoned):,} account-days",
        "rows": f"{done.rows:,} new",
        "files": f"{len({item.path for item in done.published}):,} written",
        "time": f"{seconds_text(done.seconds)}{bound}",
    }
    for name, value in figures.items():
        print_line(out, f"  {name:<10}{value}")


def _questions(count: int) -> dict[str, str]:
    return {"questions": f"{count:,} for the daily quota"} if count else {}


def _waited(waits: Mapping[str, float]) -> str:
    """Return how long refused requests waited by cause, the longest first; waits overlap."""
    longest = sorted(waits.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{seconds_text(time)} {cause}" for cause, time in longest if time >= 0.05)
    return f" (waited {shown})" if shown else ""


def _print_lost_shards(out: Console, done: Summary) -> None:
    """Print what ended shards early, each with its advice."""
    for shard in done.shards:
        if shard.error is not None:
            name = f"shard {shard.shard}"
            problem = shard.error.lines[0]
            whole = problem if problem.startswith(name) else f"{name}: {problem}"
            print_line(out, f"  {whole}", gap=True)
            print_line(out, f"    {shard.error.advice}")


def _print_causes(out: Console, done: Summary, names: Mapping[str, str]) -> None:
    """Print the causes that need attention, equal ones together, each with its advice."""
    found = causes(done, names)
    for cause in found[:MAX_LINES]:
        count = "1 day" if cause.days == 1 else f"{cause.days:,} days"
        print_line(out, f"  {cause.whose}: {count}: {cause.why}", gap=True)
        if cause.advice:
            print_line(out, f"    {cause.advice}")
    if len(found) > MAX_LINES:
        more = len(found) - MAX_LINES
        print_line(out, f"  and {more:,} more kinds in the run record", gap=True)


def _next_steps(done: Summary, project: Project) -> list[NextCommand]:
    """Return the commands that are worth typing now."""
    again = run_again(done.next_requests, done.missing, len(done.quarantined))
    in_detail = NextCommand("coverage, gaps and the last runs", next_command("status"))
    if done.exit_code is not Exit.DONE:
        return [*again, in_detail]
    dataset = done.datasets[0].dataset if done.datasets else "interface_summary"
    return [in_detail, first_rows(project.tree.store.display_path(), dataset), *again]


def status(out: Console, found: Status) -> None:
    """Print the coverage, missing and suspicious days, the last runs and commands to type next."""
    _print_coverage(out, found.datasets)
    if found.gaps:
        print_line(out, missing_title(found.gaps), gap=True)
        print_lines(out, missing_lines(found.gaps))
    _print_suspicious(out, found.next_requests)
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


def _print_suspicious(out: Console, price: NextRequests) -> None:
    """Print how many empty days are odd."""
    if price.suspicious is not None:
        title = f"suspicious gaps: {days_of(price.suspicious)}, between days with rows"
        print_line(out, title, gap=True)
