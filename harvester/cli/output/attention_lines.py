"""Lines and annotations of what needs a person, one for each cause: new ones first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from harvester.cli.output.phrases import listed, with_code
from harvester.cli.output.terminal import Terminal
from harvester.cli.output.workflow_commands import MAX_ANNOTATIONS
from harvester.core.text.inert_text import inert, named
from harvester.core.text.wording import Message, counted, entry, one_or_many, said
from harvester.runs.record.attention import ENDS_EARLY, Attention
from harvester.runs.record.events import cause_of as cause_of_error
from harvester.runs.record.expectations import CAUSE
from harvester.runs.record.record import Record


def print_attention(out: Terminal, found: Sequence[Attention]) -> None:
    """Print the items that have a cause and a beginning in common in one line, if there are any."""
    out.say_list(attention_title(found), [*map(_line_with_numbers, alike(found, kind_of))])


def attention_title(found: Sequence[Attention]) -> Message:
    """Return how many items there are, and how many of them are new."""
    if new := sum(item.new for item in found):
        return said("needs a person: {count:,}, {new:,} new", count=len(found), new=new)
    return said("needs a person: {count:,}", count=len(found))


def alike(found: Sequence[Attention], kind: Callable[[Attention], Any]) -> list[list[Attention]]:
    """Return the items of each kind together, in the order of the kinds."""
    return [[*items] for _, items in groupby(sorted(found, key=kind), kind)]


def kind_of(item: Attention) -> tuple[bool, str, str, int, str]:
    """Return what the items of a line have in common: a cause and a beginning."""
    return not item.new, item.since, *cause_of(item)


def cause_of(item: Attention) -> tuple[str, int, str]:
    """Return what the items of a cause have in common. Each expectation has its own numbers."""
    return item.cause, item.errcode or 0, item.key if item.cause == CAUSE else ""


def _line_with_numbers(items: Sequence[Attention]) -> str:
    line = attention_line(items)
    return entry(line, items[0].advice) if items[0].cause == CAUSE else line


def attention_line(items: Sequence[Attention]) -> Message:
    """Return the cause of the items, their accounts and their datasets in a line."""
    first, names = items[0], names_of(items)
    text = cause_text(first)
    if names:
        shown = listed(named(appid, name) for appid, name in names.items())
        count = counted(len(names), "account")
        many = said("{count} ({accounts})", count=count, accounts=shown)
        text = said("{text}, {more}", text=text, more=shown if len(names) == 1 else many)
    if datasets := [*map(inert, datasets_of(items))]:
        text = said("{text}, {more}", text=text, more=one_or_many(datasets, "dataset"))
    if first.new:
        return said("new: {text}", text=text)
    return said("since {time}: {text}", time=inert(first.since), text=text)


def cause_text(item: Attention) -> Message:
    """Return the cause of an item, with WeChat's code if there is one."""
    return with_code("cause", inert(item.cause), item.errcode)


def names_of(items: Sequence[Attention]) -> dict[str, str]:
    """Return the names of the accounts by appid."""
    return {each.appid: each.name for item in items for each in item.accounts}


def datasets_of(items: Sequence[Attention]) -> list[str]:
    """Return the datasets, each once."""
    return sorted({name for item in items for name in item.datasets})


def days_missing(done: Record, items: Sequence[Attention]) -> Counter[str]:
    """Count the days without a usable answer by appid, in the datasets of each item."""
    pairs = {(one.appid, name) for item in items for one in item.accounts for name in item.datasets}
    found = Counter(dict.fromkeys(names_of(items), 0))
    for row in done.accounts:
        if (row.appid, row.dataset) in pairs:
            found[row.appid] += row.days.missing + row.days.quarantined
    return found


def annotations_of_run(done: Record) -> Iterator[tuple[str, str]]:
    """Yield the level and the text of each annotation, one for each cause, ten errors at most.

    What needs a person is an error. What ended the run early and passes by itself is a warning:
    neither a spent quota nor a day to come. The command itself tells the error that ended it.
    """
    told = {cause_of_error(done.failed)} if done.failed else set[str]()
    found = [item for item in done.attention if item.cause not in told]
    for items in alike(found, cause_of)[:MAX_ANNOTATIONS]:
        days = counted(days_missing(done, items).total(), "account-day")
        lack = "" if items[0].cause == CAUSE else f"{days} missing: "
        yield "error", f"{attention_line(items)}: {lack}{items[0].advice}"
    told |= {item.cause for item in found}
    for reason in sorted({*ENDS_EARLY, "deferred"} & {*done.reasons()} - told):
        accounts = counted(len({row.appid for row in done.accounts if row.days.missing}), "account")
        days = counted(done.missing, "account-day")
        yield "warning", f"{reason}: {accounts}, {days} missing. A later run goes on by itself."
