"""Lines for the oddities of a run that are no errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import attrgetter

from harvester.core import calendar
from harvester.core.model import Window
from harvester.core.text.inert_text import named
from harvester.runs.clock import apart_text
from harvester.storage.answer_notes import RowlessElement
from harvester.storage.publication import Published


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
        more = f" and {len(others):,} more windows" if others else ""
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


def is_about(item: Published, window: Window) -> bool:
    """Return whether a file was replaced by answers that may include a window's."""
    return (
        item.dataset == window.dataset
        and window.appid in item.appids
        and any(window.begin <= day <= window.end for day in item.days)
    )


def still_rowless(found: list[RowlessElement], item: Published) -> list[RowlessElement]:
    """Return the elements that the answers of a published file say nothing about."""
    appids, days = set(item.appids), set(item.days)
    return [
        each
        for each in found
        if each.dataset != item.dataset or each.appid not in appids or each.day not in days
    ]
