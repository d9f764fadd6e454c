"""The summary of a run, as text."""

from __future__ import annotations

from collections.abc import Iterable

from harvester.cli.next_commands import (
    NextCommand,
    first_rows,
    next_command,
    print_next,
    run_again,
    try_refused,
)
from harvester.cli.output.answers import print_paused, print_pending
from harvester.cli.output.attention_lines import print_attention
from harvester.cli.output.coverage_table import COVERAGE, print_suspicious
from harvester.cli.output.event_lines import problem_line
from harvester.cli.output.phrases import VERDICTS, minute_texts, seconds_text
from harvester.cli.output.styles import style_of
from harvester.cli.output.terminal import Terminal
from harvester.core.exit_codes import Exit, Outcome
from harvester.core.text.wording import Message, counted, entry, indented, said, word
from harvester.runs.record.account_report import reason_of
from harvester.runs.record.causes import lost_lines
from harvester.runs.record.events import Problem
from harvester.runs.record.notes import notes_of
from harvester.runs.record.record import Record
from harvester.runs.runtime import Project

_LIMITS = {"rate": "the rate limit", "cpu": "the processor", "quota": "the daily quota"}
"""The limits that bound the time of a run from below, by ``bound_by``."""


def print_summary(
    out: Terminal, done: Record, project: Project, still_open: Iterable[Problem] = ()
) -> None:
    """Print the figures of a run, what kept it, and the next steps.

    ``still_open`` are passing causes that were not over at its end, if it was cut short.
    """
    out.print()
    out.say_table(COVERAGE, done.datasets)
    out.print()
    _print_figures(out, done)
    _print_lost_shards(out, done)
    passing = map(problem_line, still_open if done.pending else ())
    for line in (*lost_lines(done, project.manifest.names), *passing):
        out.say(indented(line), gap=not line.startswith(" "))
    print_attention(out, done.attention)
    print_paused(out, done.paused)
    print_pending(out, done.pending, project.manifest.names)
    print_suspicious(out, done.next_requests)
    for note in notes_of(done, project.manifest.names):
        out.say(indented(said("note: {note}", note=note)), gap=True)
    out.print()
    out.say(done.wants_nothing or _verdict(done), style=style_of(done.outcome))
    if done.statement and not done.wants_nothing:
        out.say(done.statement)
    if done.ground:
        out.say(done.ground)
    print_next(out, _next_steps(done, project))


def _verdict(done: Record) -> Message:
    """Return the outcome in one line, and if more can be obtained, the time from which on."""
    outcome, why = word("outcome", done.outcome), VERDICTS[done.outcome]
    if done.retry_at is None:
        return entry(outcome, why)
    again = _again(done.retry_at) if done.retry_at > done.ended_at else said("run again now")
    if done.outcome is Outcome.UNFINISHED:
        return entry(outcome, again)
    return said("{outcome}: {why}; {again}", outcome=outcome, why=why, again=again)


def _again(moment: float) -> Message:
    """Write a moment in the time of this machine and, if that is another, in Beijing's."""
    here, beijing = minute_texts(moment)
    if here == beijing:
        return said("run again from {beijing} in Beijing on", beijing=beijing)
    return said("run again from {here} on ({beijing} in Beijing)", here=here, beijing=beijing)


def _print_figures(out: Terminal, done: Record) -> None:
    files = len({item.path for item in done.published})
    windows = counted(done.windows, "window")
    figures: dict[str, str] = {
        said("requests"): said("{count:,} for {windows}", count=done.requests, windows=windows),
        said("questions"): said("{count:,} for the daily quota", count=done.quota_questions),
        said("retries"): said("{count:,}", count=done.retries),
        said("asked again"): said("{count:,}", count=done.asked_again),
        said("refused"): _given_up(done, refused=True),
        said("left"): _given_up(done, refused=False),
        said("rows"): said("{count:,} new", count=done.rows),
        said("files"): said("{count:,} written", count=files),
        said("time"): _time(done),
    }
    # These three are for runs that have them; of the others a zero says something too.
    for name in ("questions", "asked again", "left"):
        if figures[name].split()[0] == "0":
            del figures[name]
    out.say_pairs(figures)


def _given_up(done: Record, *, refused: bool) -> Message:
    """Count the days that WeChat refused, or those given up for another cause."""
    found = (gone for gone in done.abandoned if (reason_of(gone)[0] == "refused") is refused)
    return counted(sum(gone.count for gone in found), "account-day")


def _time(done: Record) -> Message:
    """Return how long the run took, and what bounds it from below."""
    seconds, limit = done.bound
    whole = seconds_text(done.seconds)
    if not seconds:
        return whole
    bound = {"limit": said(_LIMITS[limit]), "bound": seconds_text(seconds)}
    return said("{time} (lower bound from {limit}: {bound})", time=whole, **bound)


def _print_lost_shards(out: Terminal, done: Record) -> None:
    """Print what ended shards early, each with its advice."""
    for shard in done.shards:
        if shard.error is not None:
            name = f"shard {shard.shard}"
            problem = shard.error.lines[0]
            whole = problem if problem.startswith(name) else f"{name}: {problem}"
            out.say(indented(whole), gap=True)
            out.say(indented(shard.error.advice, 4))


def _next_steps(done: Record, project: Project) -> list[NextCommand]:
    """Return the commands that are worth typing now."""
    refused = {item.appid: None for item in done.abandoned if reason_of(item)[0] == "refused"}
    # A run does not obtain refused days, so it is not proposed for them.
    left = sum(row.days.missing for row in done.accounts if row.reasons != ("refused",))
    again = run_again(done.next_requests, left, len(done.quarantined)) + try_refused([*refused])
    detail = NextCommand(said("coverage, gaps and the last runs"), next_command("status"))
    if done.exit_code is not Exit.DONE:
        return [*again, detail]
    # Of one dataset, and of none without files, which the query would not find.
    found = [row.dataset for row in done.datasets if row.days.done][:1]
    return [detail, *(first_rows(project.tree.store.display_path(), one) for one in found), *again]
