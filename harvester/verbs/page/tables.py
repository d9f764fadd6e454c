"""Tables of the page as plain HTML, which stands without script. Every text in them is escaped."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import groupby, islice

from harvester.catalogue import languages
from harvester.catalogue.languages import recorded
from harvester.core.calendar import day_text
from harvester.core.text.wording import Message, entry, render, said, share_text, word
from harvester.runs.days.missing_days import MAX_RECORDS
from harvester.runs.record import account_report
from harvester.runs.record.account_report import WITNESSES
from harvester.runs.record.attention import Attention
from harvester.runs.record.statement import ground
from harvester.storage import layout
from harvester.storage.layout import Tree
from harvester.storage.publication import DIFFERING
from harvester.storage.state import run_records
from harvester.storage.state.quota_ledger import quota_use
from harvester.storage.state.run_records import RunRechecks, RunRecord
from harvester.verbs.account_status import STATES
from harvester.verbs.page.facts import View

MAX_ROWS = 200
"""Most rows of a table; the rest is counted."""

SHOWN_RUNS = 20
"""Run records that are shown, newest first."""

MAX_NAMES = 20
"""Most accounts that a cell names."""

_BEIJING = dt.timezone(dt.timedelta(hours=8))


class Html(str):
    """HTML in which all that is foreign is escaped."""

    __slots__ = ()


def text(value: object) -> Html:
    """Return a value as HTML; a number with its thousands apart."""
    if isinstance(value, Html):
        return value
    return Html(escape(f"{value:,}" if isinstance(value, int) else str(value)))


def _section(view: View, name: str, body: str) -> Html:
    return Html(f'<section id="{name}"><h2>{text(view.words[name])}</h2>{body}</section>')


def _table(view: View, name: str, heads: str, rows: Sequence[Sequence[object]]) -> Html:
    """Return a section with a table, and below it the number of the rows that are left out."""
    if not rows:
        return _section(view, name, f"<p>{text(view.words[f'{name}.none'])}</p>")
    words = [text(view.words[each]) for each in heads.split()]
    head = "".join(f'<th scope="col">{word}</th>' for word in words)
    lines = ("<tr>" + "".join(map(_cell, words, cells)) + "</tr>" for cells in rows[:MAX_ROWS])
    found = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    more = (f"<p>{each}</p>" for each in _more(view, len(rows) - MAX_ROWS))
    return _section(view, name, found + "".join(more))


def _cell(head: Html, value: object) -> str:
    # A narrow window shows it beside the name of its column.
    return f'<td data-head="{head}">{text(value)}</td>'


def _more(view: View, count: int) -> list[Html]:
    """Return how many things are left out, if any are."""
    return [text(view.words["more"].format(count=f"{count:,}"))] if count > 0 else []


def attention(view: View) -> Html:
    """Return what needs a person, new first; items of one cause and beginning are in one row."""
    groups = [list(group) for _, group in groupby(sorted(_concerned(view), key=_kind), _kind)]
    heads = "since cause accounts datasets" + " advice" * (not view.for_client)
    return _table(view, "attention", heads, [_row(view, group) for group in groups])


def _concerned(view: View) -> Iterator[Attention]:
    """Yield the items about what is selected; a client is not told of what concerns whole runs."""
    for item in view.found.attention:
        if view.datasets.keys() & {*item.datasets} if item.datasets else not view.for_client:
            yield item


def _kind(item: Attention) -> tuple[bool, str, str, int, str]:
    return not item.new, item.since, item.cause, item.errcode or 0, item.advice


def _row(view: View, items: Sequence[Attention]) -> list[object]:
    first, words, since = items[0], view.words, _beijing(items[0].since)
    cause = words.get(f"cause.{first.cause}", first.cause)
    if first.errcode is not None:
        rule = view.rule(first.errcode)
        cause = words["cause.code"].format(cause=cause, code=first.errcode, meaning=rule.meaning)
    appids = dict.fromkeys(label.appid for item in items for label in item.accounts)
    datasets = view.datasets.keys() & {name for item in items for name in item.datasets}
    when = words["new"].format(time=since) if first.new else since
    # An expectation names its accounts if they are few, and its dataset otherwise.
    whose = _accounts(view, appids) if appids or not datasets else ""
    cells: list[object] = [when, cause, whose, ", ".join(sorted(datasets))]
    return cells + [recorded(first.advice, view.lang)] * (not view.for_client)


def _accounts(view: View, appids: Iterable[str]) -> Html:
    """Return the first accounts, each apart, so that none turns the letters of another."""
    known = [view.accounts[appid] for appid in appids if appid in view.accounts]
    named = [
        Html(f"<bdi>{text(account.name)}</bdi> <code>{text(account.appid)}</code>")
        for account in known[:MAX_NAMES]
    ]
    named += _more(view, len(known) - MAX_NAMES)
    return Html("<br>".join(named)) if known else text(view.words["all_accounts"])


def expectations(view: View) -> Html:
    """Return the expectations of the manifest, the unmet ones first."""
    words, rows = view.words, []
    for each in sorted(view.found.expectations, key=lambda each: each.is_met):
        counts = {"there": f"{each.there:,}", "accounts": f"{each.accounts:,}"}
        there = words["there.share"].format(**counts, share=share_text(each.share))
        kind, met = words[f"expectation.{each.kind}"], words["yes" if each.is_met else "no"]
        rows.append((each.dataset, kind, str(each.day), share_text(each.expected), there, met))
    heads = "dataset expectation day expected there met"
    return _table(view, "expectations", heads, rows)


def days(view: View, tree: Tree) -> Html:
    """Return what the days rest on, and the place of the map, which the script draws.

    Raises StoreError.
    """
    states = (state for of_dataset in view.found.states.values() for state in of_dataset.values())
    found, words = ground(map(account_report.final_days, states)), languages.translations(view.lang)
    # That is counted over the whole output.
    rechecked = None if view.for_client else _rechecked(tree)
    lines = (f"<p>{text(render(x, words))}</p>" for x in (found, rechecked) if x)
    noscript = f"<noscript><p>{text(view.words['noscript'])}</p></noscript>"
    return _section(view, "map", "".join(lines) + noscript)


def _rechecked(tree: Tree) -> Message | None:
    """Return of how many days that the last runs asked again by lot the rows were others."""
    days = Counter[str]()
    for each in islice(run_records.newest(tree, RunRechecks, run_records.HEAD_BYTES), MAX_RECORDS):
        days.update(each.rechecked)
    found = [(name, days[name], days[name + DIFFERING]) for name in WITNESSES if days[name]]
    shares = [
        said("{share} {witness}", share=f"{other:,}/{many:,}", witness=word("witness", name))
        for name, many, other in found
    ]
    return entry(said("asked again by lot, with other rows"), shares) if shares else None


def runs(view: View, tree: Tree) -> Html:
    """Return the last runs. Raises StoreError."""
    rows = []
    for each in run_records.last(tree, SHOWN_RUNS):
        outcome = view.words.get(f"outcome.{each.outcome or 'none'}", each.outcome)
        code = "" if each.exit_code is None else each.exit_code
        reasons = ", ".join(view.words.get(f"reason.{word}", word) for word in each.reasons)
        figures = reasons, each.requests, each.rows, _duration(each)
        rows.append((_beijing(each.started_at), each.verb, outcome, code, *figures))
    heads = "started verb outcome exit_code reasons requests rows duration"
    return _table(view, "runs", heads, rows)


def _duration(record: RunRecord) -> str:
    """Return how long a run took, in hours, minutes and seconds."""
    begin, end = _moment(record.started_at), _moment(record.ended_at)
    return str(end - begin).partition(".")[0] if begin and end and end >= begin else ""


def quota(view: View, tree: Tree) -> Html:
    """Return the calls that today's ledgers have, and what they leave of the quotas."""
    rows = list(quota_use(view.manifest, tree, view.now))
    return _table(view, "quota", "dataset calls least_left spent", rows)


def sizes(view: View, tree: Tree) -> Html:
    """Return the number of files, bytes and months of each dataset. Raises StoreError."""
    rows = []
    for name in view.datasets:
        found = layout.partitions(tree, name)
        months = len({partition.month for partition in found})
        rows.append((name, len(found), sum(file.size for file in found.values()), months))
    return _table(view, "sizes", "dataset files bytes months", rows)


def sentence(view: View, version: str) -> str:
    """Return the state of all accounts in one sentence."""
    states = Counter(account.state for account in view.found.accounts)
    name = "sentence.more" if states["backfilling"] or states["paused"] else "sentence"
    found = view.words[name if states else "sentence.nothing"].format(
        day=day_text(view.columns.stop - 1),
        accounts=f"{states.total():,}",
        time=f"{dt.datetime.fromtimestamp(view.now, _BEIJING):%H:%M}",
        version=version,
        **{state: f"{states[state]:,}" for state in STATES},
    )
    unmet = sum(not each.is_met for each in view.found.expectations)
    return view.words["sentence.unmet"].format(sentence=found, count=unmet) if unmet else found


def _beijing(moment: str) -> str:
    """Write a time, RFC 3339 in UTC, to the minute in Beijing; any other text as it is."""
    found = _moment(moment)
    return f"{found.astimezone(_BEIJING):%Y-%m-%d %H:%M}" if found else moment


def _moment(written: str) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(written).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None
