"""The summary of a run as Markdown, for the page of a job. Made of its record alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC
from gettext import NullTranslations

from harvester.catalogue.languages import Language, translations
from harvester.cli.output import attention_lines as told
from harvester.cli.output.markdown import first_lines, table, text
from harvester.cli.output.phrases import VERDICTS, minute_texts, seconds_text
from harvester.core.text.wording import counted, entry, render, said, word
from harvester.runs.record.attention import Attention
from harvester.runs.record.record import Record

MAX_BYTES = 200_000
"""Maximum bytes of a summary. A step of GitHub may have 1 MiB for all that is written there."""

MAX_NAMED = 50
"""Maximum accounts that are named, and maximum causes and lines of errors."""


def run_text(done: Record, _: object = None, *, language: Language | None = None) -> bytes:
    """Return the summary: outcome, when to run again, errors, attention, coverage by dataset."""
    words = translations(language or "en")
    lines = [*_head(done), *_errors(done), *_attention(done, words), *_coverage(done, words)]
    whole = "".join(f"{render(line, words)}\n" for line in lines)
    return first_lines(whole.encode(), MAX_BYTES)


def _head(done: Record) -> Iterator[str]:
    state = said("under way")
    if done.finished:
        outcome, why = word("outcome", done.outcome), VERDICTS[done.outcome]
        end = said("{outcome} ({code:d}): {why}", outcome=outcome, code=done.exit_code, why=why)
        state = done.wants_nothing or end
    yield entry(f"## harvester {done.verb}", state)
    yield ""
    run = said("{id} of shard {shard}", id=done.run_id, shard=done.shard)
    figures = [counted(done.requests, "request"), counted(done.rows, "new row")]
    figures.append(seconds_text(done.seconds))
    yield said("Run {run}: {figures}.", run=run if done.shard else done.run_id, figures=figures)
    if done.finished and done.reasons():
        reasons = [word("reason", each) for each in sorted(done.reasons())]
        yield said("Reasons: {reasons}.", reasons=reasons)
    if done.finished and done.retry_at is not None:
        utc, beijing = minute_texts(done.retry_at, UTC)
        yield said("Run again from {utc} UTC ({beijing} in Beijing) on.", utc=utc, beijing=beijing)
    if done.finished and done.statement and not done.wants_nothing:
        yield said("{statement}.", statement=done.statement)
    if done.ground:
        yield said("{statement}.", statement=done.ground)
    yield ""


def _errors(done: Record) -> Iterator[str]:
    """Yield what ended the run or some of its shards early, and what to do."""
    for error in [done.failed] if done.failed else done.errors[:MAX_NAMED]:
        lines = (*error.lines[:MAX_NAMED], error.advice)
        yield from (f"- {text(line)}" for line in lines if line)
        yield ""


def _attention(done: Record, words: NullTranslations) -> Iterator[str]:
    """Yield a row for each cause, new ones first, with the accounts that lack the most days."""
    if not done.attention:
        return
    left, rows = MAX_NAMED, []
    found = told.alike(done.attention, lambda item: (*told.kind_of(item), item.advice))
    for items in found[:MAX_NAMED]:
        days = told.days_missing(done, items)
        rows.append(_row(items, days, left, words))
        left = max(0, left - len(days))
    yield f"### {render(told.attention_title(done.attention), words).capitalize()}\n"
    columns = ("since", "cause", "accounts", "datasets", "days missing", "what to do")
    yield from table(columns, rows, words)
    if len(found) > MAX_NAMED:
        more = counted(len(found) - MAX_NAMED, "more cause")
        yield said("and {causes} in the run record", causes=more)
        yield ""


def _row(
    items: Sequence[Attention], days: Counter[str], most: int, words: NullTranslations
) -> Iterator[str]:
    names = told.names_of(items)
    worst = [appid for appid, _ in days.most_common(most)]
    accounts = [f"{text(appid)} {text(names[appid], 100)}".rstrip() for appid in worst]
    if len(days) > most:
        accounts.append(render(counted(len(days) - most, "more account"), words))
    yield said("**new**") if items[0].new else said("since {day}", day=text(items[0].since[:10]))
    yield told.cause_text(items[0])
    yield "<br>".join(accounts)
    yield text(", ".join(told.datasets_of(items)))
    yield f"{days.total():,}"
    yield text(render(items[0].advice, words))


def _coverage(done: Record, words: NullTranslations) -> Iterator[str]:
    columns = ("dataset", "wanted", "there", "missing", "provisional", "newest complete day")
    rows = []
    for row in done.datasets:
        counts = (row.days.wanted, row.days.done, row.days.missing, row.days.provisional)
        day = str(row.newest_complete_day or "")
        rows.append((text(row.dataset), *(f"{count:,}" for count in counts), day))
    yield from table(columns, rows, words) if rows else ()
