"""Lines for the oddities of a run that are no errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter

from harvester.core import calendar
from harvester.core.config.settings import ASSUMED_QUOTA
from harvester.core.model import DOUBTS, OddityKind, RowlessElement, Window
from harvester.core.text.inert_text import inert, named
from harvester.core.text.wording import Message, and_more, counted, entry, said
from harvester.planning.ledger import WRONG_SECONDS
from harvester.runs.clock import apart_text
from harvester.runs.record.account_report import Beginning
from harvester.runs.record.members import AnswerDrift, Members
from harvester.storage.publication import SeenOddity

_DECIDED_BY = "`harvester datasets article_total_detail` has the query that decides"

MAX_BEGINNINGS = 5
"""Most accounts of which a note says when their history begins."""

_ODD = {
    OddityKind.UNKNOWN_MARK: (
        "is_delay was {name}, neither true nor false, first of {window}; such rows are published, "
        "and their days stay provisional"
    ),
    OddityKind.FALLING_TOTAL: (
        "{name} fell {value}, first of {window}; a total cannot, so the rows may count single "
        f"days: {_DECIDED_BY}"
    ),
    OddityKind.ABOVE_MAXIMUM: (
        "{name} was {value}, first of {window}, though WeChat documents a share from 0 to 1"
    ),
    **dict.fromkeys(
        DOUBTS,
        "{name} {value}, first of {window}; such answers may not be whole, so their days stay "
        "provisional until their last age",
    ),
    OddityKind.LONG_EXTRA: (
        "{name} of a row would have been {value}, first of {window}; only what fits into 64 KiB "
        "is kept"
    ),
    OddityKind.BESIDE_LIST: "{name} stands beside the list, first of {window}; it is not kept",
}


def notes_of(record: Members, names: Mapping[str, str]) -> Iterator[str]:
    """Yield the oddities that are no errors, a line each. ``names`` are by appid."""
    for path in record.damaged:
        yield said("a damaged raw group was moved to quarantine as {path}", path=inert(path))
    # A clock that was taken for wrong at first, and set right again, has no offset worth a note.
    if abs(record.clock_offset) > WRONG_SECONDS:
        text = "{apart}: all times of this run are WeChat's. Set it, as with NTP"
        yield said(text, apart=apart_text(record.clock_offset))
    if record.surplus_answers:
        yield said(
            "the server or a proxy sent {answers} that no request asked for; since the first "
            "of them each request had a connection of its own",
            answers=counted(record.surplus_answers, "answer"),
        )
    if record.quotas_refused:
        yield said(
            "WeChat did not tell the daily quota when it was asked ({count:,} times): "
            "{assumed:,} calls a day of each dataset of each account are assumed where it is "
            "unknown; set limits.daily_quota if you know better",
            count=record.quotas_refused,
            assumed=ASSUMED_QUOTA,
        )
    yield from beginning_notes(record.beginnings, names)
    yield from delay_notes(record.delayed, names)
    for each in record.empty_everywhere:
        if each.meaning == "note":
            text = entry(each.dataset, each.text)
            yield said(
                "{text}; most of their other datasets have none either, as on a holiday", text=text
            )
    for dataset, span in record.shortened_spans.items():
        yield said(
            "{dataset}: WeChat refused longer windows, {span} days at once worked; set "
            "datasets.{dataset}.span to it",
            dataset=dataset,
            span=span,
        )
    for dataset, drift in sorted(record.drift.items()):
        yield from drift_notes(dataset, drift)
    yield from rowless_notes(record.without_rows, names)


def beginning_notes(found: Sequence[Beginning], names: Mapping[str, str]) -> Iterator[str]:
    """Yield the days from which accounts have rows, if older ones were asked once so far."""
    shown = [
        said("{day} ({account})", day=calendar.day_text(day), account=named(x, names.get(x, "")))
        for x, day in found[:MAX_BEGINNINGS]
    ]
    if shown:
        begins = "history begins on {days}; proved from tomorrow on"
        yield said(begins, days=and_more(shown, len(found)))


def drift_notes(dataset: str, drift: AnswerDrift) -> Iterator[str]:
    """Yield a line for each kind of difference between answers and the catalogue."""
    if drift.unknown_members:
        names = sorted(drift.unknown_members)
        undeclared = "{dataset}: undeclared members went to _extra: {names}"
        yield said(undeclared, dataset=dataset, names=names)
    if drift.missing_members:
        names = sorted(drift.missing_members)
        yield said("{dataset}: members without a value: {names}", dataset=dataset, names=names)
    yield from map(odd_line, drift.oddities.values())


def odd_line(seen: SeenOddity) -> Message:
    """Return an oddity as a line for people."""
    kind, name, value, window = seen
    text = said(_ODD[kind], name=name, value=value, window=window)
    return entry(window.dataset, text)


def delay_notes(delayed: Iterable[Window], names: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each dataset with windows that WeChat calls preliminary."""
    by_dataset = attrgetter("dataset")
    for dataset, windows in groupby(sorted(sorted(delayed), key=by_dataset), key=by_dataset):
        first, *others = windows
        account = named(first.appid, names.get(first.appid, ""))
        days = calendar.range_text(first.begin, first.end)
        where = said("{days} of {account}", days=days, account=account)
        yield said(
            "{dataset}: WeChat is still computing {where}; what it has so far is published and "
            "asked again on a later day",
            dataset=dataset,
            where=and_more([where], 1 + len(others)),
        )


def rowless_notes(found: Iterable[RowlessElement], names: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each dataset with elements that have no row."""
    by_dataset = attrgetter("dataset")
    for dataset, elements in groupby(sorted(sorted(found), key=by_dataset), key=by_dataset):
        first, *others = elements
        account = named(first.appid, names.get(first.appid, ""))
        day = calendar.day_text(first.day)
        what = said("{key} of {account} on {day}", key=first.key, account=account, day=day)
        yield said(
            "{dataset}: {what} came without a day of statistics and have no row; without_rows of "
            "the record names them",
            dataset=dataset,
            what=and_more([what], 1 + len(others)),
        )
