"""Lines for the oddities of a run that are no errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import attrgetter

from harvester.core import calendar
from harvester.core.config.settings import ASSUMED_QUOTA
from harvester.core.model import Window
from harvester.core.text.counts import counted
from harvester.core.text.inert_text import inert, named
from harvester.runs.clock import apart_text
from harvester.runs.record.members import Members
from harvester.storage.publication import RowlessElement


def notes_of(record: Members, names: Mapping[str, str]) -> list[str]:
    """Return the oddities that are no errors, a line each. ``names`` are by appid."""
    found = [
        f"a damaged raw group was moved to quarantine as {inert(path)}" for path in record.damaged
    ]
    if record.clock_offset:
        found.append(clock_note(record.clock_offset, record.repeated))
    if record.surplus_answers:
        found.append(
            f"the server or a proxy sent {counted(record.surplus_answers, 'answer')} that no "
            "request asked for; since the first of them each request had a connection of its own"
        )
    if record.quotas_refused:
        found.append(
            f"WeChat did not tell the daily quota when it was asked ({record.quotas_refused:,} "
            f"times): {ASSUMED_QUOTA:,} calls a day of each dataset of each account are "
            "assumed where it is unknown; set limits.daily_quota if you know better"
        )
    found += delay_notes(record.delayed, names)
    found += (
        f"{each.dataset}: {each.text}; other datasets have rows of these days"
        for each in record.empty_everywhere
        if each.meaning == "note"
    )
    for dataset, span in record.shortened_spans.items():
        found.append(
            f"{dataset}: WeChat refused longer windows, {span} days at once worked; "
            f"set datasets.{dataset}.span to it"
        )
    for dataset, drift in sorted(record.drift.items()):
        found += drift.notes(dataset)
    found += rowless_notes(record.without_rows, names)
    return found


def clock_note(offset: float, repeated: int) -> str:
    """Return the line for a clock that is ``offset`` seconds apart from WeChat's."""
    again = f"; {repeated:,} requests of before were made again" if repeated else ""
    return f"{apart_text(offset)}: all times of this run are WeChat's{again}. Set it, as with NTP"


def delay_notes(delayed: Iterable[Window], names: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each dataset with windows that WeChat calls preliminary."""
    by_dataset = attrgetter("dataset")
    for dataset, windows in groupby(sorted(sorted(delayed), key=by_dataset), key=by_dataset):
        first, *others = windows
        account = named(first.appid, names.get(first.appid, ""))
        days = calendar.range_text(first.begin, first.end)
        more = f" and {counted(len(others), 'more window')}" if others else ""
        yield (
            f"{dataset}: WeChat is still computing {days} of {account}{more}; "
            "what it has so far is published and asked again on a later day"
        )


def rowless_notes(found: Iterable[RowlessElement], names: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each dataset with elements that have no row."""
    by_dataset = attrgetter("dataset")
    for dataset, elements in groupby(sorted(sorted(found), key=by_dataset), key=by_dataset):
        first, *others = elements
        account = named(first.appid, names.get(first.appid, ""))
        more = f" and {len(others):,} more" if others else ""
        yield (
            f"{dataset}: {first.key} of {account} on {calendar.day_text(first.day)}{more} came "
            "without a day of statistics and have no row; without_rows of the record names them"
        )
