"""Facts of the page's map: accounts, datasets, and why days are missing."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import chain, islice
from typing import Any

from harvester.catalogue import languages
from harvester.catalogue.error_codes import DATA_RULES, rule_for, token_rule_for
from harvester.catalogue.languages import Language, dataset_label, rule_in
from harvester.core import calendar
from harvester.core.calendar import day_of, one_day
from harvester.core.config.settings import Account, Manifest
from harvester.core.dataset import Dataset, Grain
from harvester.core.day_states import NOT_ASKED, ExplainedDays
from harvester.core.rule import Rule
from harvester.core.text.wording import render, sentences
from harvester.storage import coverage_scan
from harvester.storage.account_scan import States
from harvester.verbs.page.cells import row, whole_periods
from harvester.verbs.status import Findings

MAX_CAUSES = 50_000
"""Most stretches of days of which the page says why they are missing. The map has all of them."""

_INERT = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})


@dataclass(frozen=True)
class View:
    """Content of a page. ``command`` is the run that fills gaps, empty for none."""

    manifest: Manifest
    found: Findings
    now: float
    lang: Language
    for_client: bool = False
    command: str = ""

    @functools.cached_property
    def words(self) -> Mapping[str, str]:
        """The words of the language."""
        return languages.words(self.lang)

    def rule(self, errcode: int) -> Rule:
        """Return the rule of a code of WeChat, for data or for a token, in the language."""
        known = rule_for(errcode) if errcode in DATA_RULES else token_rule_for(errcode)
        return rule_in(known, self.lang)

    @functools.cached_property
    def accounts(self) -> Mapping[str, Account]:
        """The accounts by appid."""
        return {account.appid: account for account in self.manifest.accounts}

    @functools.cached_property
    def datasets(self) -> Mapping[str, Dataset]:
        """The datasets of which days are wanted, by name."""
        return {
            name: self.manifest.datasets[name] for name, days in self.found.want.items() if days
        }

    @functools.cached_property
    def columns(self) -> range:
        """The days of the map, from the oldest to the newest that is wanted."""
        every = calendar.NO_DAYS
        for name, dataset in self.datasets.items():
            # Nearly all accounts want the same days.
            for days in {*self.found.want[name].values()}:
                every |= whole_periods(days, dataset.grain)
        begin = calendar.oldest(every) if every else calendar.FIRST_DAY
        return range(begin, calendar.newest(every) + 1)


def facts_of(view: View) -> dict[str, Any]:
    """Return what the map needs besides the days."""
    texts: dict[str, int] = {}
    return {
        "lang": view.lang,
        "words": {key: text for key, text in view.words.items() if key.startswith("js.")},
        "made_at": int(view.now),
        "begin": calendar.day_text(view.columns.start),
        "columns": len(view.columns),
        "accounts": list(_accounts(view)),
        "datasets": [_dataset(view, *each) for each in enumerate(view.datasets.values())],
        "causes": list(islice(_causes(view, texts), MAX_CAUSES)),
        "texts": list(texts),
        "command": view.command,
    }


def _accounts(view: View) -> Iterator[dict[str, Any]]:
    first = coverage_scan.first_days(view.found.states)
    text = " · " + view.words["begins"]
    begins = {appid: text.format(day=calendar.day_text(day)) for appid, day in first.items()}
    for account in view.found.accounts:
        given, since = view.accounts[account.appid], account.paused_since
        known: dict[str, Any] = {"appid": account.appid, "name": account.name}
        # The reason is a note of the house, and may name people and other clients.
        why = given.paused.reason if given.paused and not view.for_client else ""
        why += f" ({view.words['since']} {since})" if why and since else ""
        known |= {"tags": account.tags, "attributes": given.attributes, "state": account.state}
        yield {**known, "paused": why, "begins": begins.get(account.appid, "")}


def _dataset(view: View, place: int, dataset: Dataset) -> dict[str, Any]:
    grain = "day" if dataset.grain is Grain.HOUR else dataset.grain.value
    facts = {"grain": grain, "span": dataset.span, "cells": f"days-{place}"}
    return {"name": dataset.name, "label": dataset_label(dataset.name, view.lang), **facts}


def rows_of(view: View, dataset: Dataset) -> Iterator[bytes]:
    """Yield the cells of each account."""
    name, found = dataset.name, view.found
    for appid in (account.appid for account in found.accounts):
        wanted = found.want[name].get(appid, calendar.NO_DAYS)
        states = found.states[name].get(appid, States())
        lacks = (each for each in found.missing.get(appid, ()) if each.dataset == name)
        days = states.by_state(wanted, lacks, is_paused=view.accounts[appid].pauses(name))
        yield row(days, dataset.grain, view.columns)


def _causes(view: View, texts: dict[str, int]) -> Iterator[list[object]]:
    """Yield the stretches of days that a run gave up, or that are in quarantine.

    Each has the places of its dataset, its account, its columns and its text in ``texts``.
    """
    datasets = {name: place for place, name in enumerate(view.datasets)}
    accounts = {account.appid: place for place, account in enumerate(view.found.accounts)}
    begin = view.columns.start
    for item, text in _explained(view):
        at = calendar.utc_text(item.at) if item.at is not None and item.at > view.now else None
        why = item.reason, item.errcode, at, texts.setdefault(text, len(texts))
        whole = whole_periods(item.days, view.datasets[item.dataset].grain)
        for first, last in calendar.day_ranges(whole):
            where = datasets[item.dataset], accounts[item.appid]
            yield [*where, first - begin, last - begin, *why]


def _explained(view: View) -> Iterator[tuple[ExplainedDays, str]]:
    """Yield days with their cause, and what to do about it; that is not for a client."""
    for item in chain.from_iterable(view.found.missing.values()):
        if item.reason != NOT_ASKED:
            yield item._replace(reason=item.word), _text(view, item.errcode)
    for day in view.found.rejected:
        days = one_day(day_of(day.day))
        text = "" if view.for_client else day.reason
        yield ExplainedDays(day.dataset, day.appid, days, None, "quarantined"), text


def _text(view: View, errcode: int | None) -> str:
    if errcode is None:
        return ""
    rule = view.rule(errcode)
    both = render(sentences(rule.meaning, rule.advice), languages.translations(view.lang))
    return rule.meaning if view.for_client else both


def data(name: str) -> str:
    """Return the text of a file of the page."""
    return resources.files("harvester.verbs.page").joinpath(name).read_text("utf-8")


def inert_script(value: object) -> str:
    """Return a value as JSON that can stand in a script element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_INERT)
