"""`fetch`: one window asked now and compared with the published rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from harvester.core import calendar, readiness
from harvester.core.calendar import Day
from harvester.core.config.parsers import parsed
from harvester.core.config.references import quote_safe
from harvester.core.config.settings import Account, Job, Manifest
from harvester.core.dataset import DATE_COLUMN, Dataset
from harvester.core.errors import UsageError
from harvester.core.exit_codes import Exit
from harvester.core.model import Refusal, Window, bucket_of
from harvester.core.plain import Brief, plain
from harvester.core.rule import NO_ANSWER, Action, Rule, Scope
from harvester.core.text.redaction import redacted_bytes
from harvester.core.text.safe_text import safe_text
from harvester.engine.ledger_files import LedgerFiles
from harvester.engine.lone_calls import LoneCalls, Outcome
from harvester.manifest.account_selection import AccountIndex, datasets_named
from harvester.manifest.option_values import end_day_option
from harvester.runs.access import open_line, run_context
from harvester.runs.event_loop import run_in_loop
from harvester.runs.record.account_report import reason_for
from harvester.runs.record.prospects import comes_at, moment_text
from harvester.runs.run_log import locked, new_run_log
from harvester.runs.runtime import Project
from harvester.storage.partition_reader import published_rows
from harvester.storage.state import json_file
from harvester.tables import decode
from harvester.tables.columns import arrow_schema
from harvester.tables.day_rows import Decoded
from harvester.tables.row_difference import ChangedValue, differences, plain_rows
from harvester.tables.row_groups import NewRows, Provenance, to_record_batch
from harvester.verbs.arguments import ManifestSource, checked, in_own_record, timeout_seconds
from harvester.verbs.project import open_project


class UnusableDay(NamedTuple):
    """A day whose rows in the answer do not fit the columns of the dataset."""

    day: date
    reason: str


@dataclass(frozen=True, slots=True, repr=False)
class Answer(Brief):
    """WeChat's answer to one window, as `harvester fetch` prints it. Nothing of it is published.

    ``outcome`` is ``"same"`` or ``"different"``, compared with the published rows, ``"refused"`` if
    WeChat answered an ``errcode``, or ``"unanswered"`` if the network or a spent quota is the
    cause. ``rows`` and ``published`` count the rows of the answer and the published ones; those
    that only one of them has are ``added`` or ``removed``. ``published_at`` is when the newest
    published row was asked, RFC 3339 in UTC. ``is_delay`` is True if WeChat was still computing the
    answer. ``answer`` is the answer itself with secrets masked, text if it is no JSON. ``raw`` has
    the bytes of that.
    """

    appid: str
    name: str
    dataset: str
    begin_date: date
    end_date: date
    outcome: Literal["same", "different", "refused", "unanswered"]
    exit_code: int
    requests: int
    paused: str = ""
    rows: int = 0
    published: int = 0
    published_at: str | None = None
    is_delay: bool = False
    added: tuple[Mapping[str, Any], ...] = ()
    removed: tuple[Mapping[str, Any], ...] = ()
    changed: tuple[ChangedValue, ...] = ()
    unusable: tuple[UnusableDay, ...] = ()
    errcode: int | None = None
    errmsg: str = ""
    rid: str = ""
    meaning: str = ""
    advice: str = ""
    retry_at: str | None = None
    raw: bytes = field(default=b"", repr=False)

    @property
    def answer(self) -> Any:
        """The answer as values of JSON; text if it is no JSON, None without an answer."""
        if not self.raw:
            return None
        try:
            return json_file.parse(self.raw)
        except ValueError:
            return self.raw.decode(errors="replace")

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as `fetch --format json` prints it."""
        members: dict[str, Any] = plain(self)
        del members["raw"]
        return {**members, "answer": self.answer}


@checked
def fetch(
    manifest: ManifestSource,
    account: str,
    dataset: str,
    begin: str | date,
    end: str | date | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    lock_timeout: str | timedelta | None = None,
) -> Answer:
    """Ask WeChat for one window now, and compare its answer with the published rows.

    ``account`` is an appid or a unique name, ``begin`` and ``end`` are Beijing days, both included;
    without ``end`` it is one day. Nothing is published. ``lock_timeout`` is how long to wait for an
    account that a run holds. In a running event loop call it in a thread. Raises UsageError, Busy
    if a run holds the account for longer, and HarvesterError if the output cannot be read.
    """
    timeout = timeout_seconds(lock_timeout)
    days = str(begin), str(begin if end is None else end)

    def ask() -> Answer:
        project = open_project(manifest, output=output)._replace(lock_timeout=timeout)
        return _ask(project, account, dataset, days)

    return in_own_record(ask)


def _ask(project: Project, account: str, dataset: str, days: tuple[str, str]) -> Answer:
    """Ask for one window of an account now, and compare the answer with the published rows.

    Writes the ledger of calls alone. A paused account is asked as well, because a person wants it.
    Raises UsageError for words that mean nothing, for a window that one request cannot ask, for a
    secret that is missing, and as `published_rows`; Busy if a run holds the account's bucket;
    StoreError if the output cannot be read or written.
    """
    accounts = project.manifest.accounts
    appid = _only_one("account", account, AccountIndex(accounts).selected)
    chosen = next(each for each in accounts if each.appid == appid)
    known = project.manifest.datasets[_only_one("dataset", dataset, datasets_named)]
    window = _window(chosen, known, days, project.clock.started_at)
    manifest = _only(project.manifest, chosen, window)
    context = run_context(project._replace(manifest=manifest))
    tree, clock = project.tree, project.clock
    stream = new_run_log(manifest.file, clock).stream
    # Held for the call too: a run beside it would count its own calls alone in the rate.
    own = [bucket_of(chosen.appid, tree.buckets)]
    with locked(tree, own, stream, project.lock_timeout) as tree:
        published = list(published_rows(tree, window))
        files = LedgerFiles(tree, stream.own.run_id, clock.moment)

        async def hear() -> tuple[Outcome, int]:
            async with open_line(context, hold=tree.hold) as (transport, tokens, _):
                calls = LoneCalls(transport, tokens, manifest, clock)
                return await calls.ask(window, files), calls.made

        outcome, requests = run_in_loop(hear)
    answer = Answer(
        appid=chosen.appid,
        name=chosen.name,
        dataset=window.dataset,
        begin_date=calendar.date_of(window.begin),
        end_date=calendar.date_of(window.end),
        outcome="unanswered",
        exit_code=int(Exit.INCOMPLETE),
        requests=requests,
        paused=chosen.paused.reason if chosen.paused and chosen.pauses(known.name) else "",
        raw=redacted_bytes(outcome) if isinstance(outcome, bytes) else outcome.answer,
    )
    if isinstance(outcome, bytes):
        return _compared(answer, known, decode.decoder(known)(window, outcome), published)
    return _refused(answer, outcome.rule, outcome.why, context.clock())


def _only_one(noun: str, word: str, look_up: Callable[[str], list[str]]) -> str:
    """Return the account or the dataset of a word. Raises UsageError unless it has just one."""
    found = parsed("", word, look_up)
    if len(found) > 1:
        problem = f"{len(found):,} {noun}s match{quote_safe(word)}"
        raise UsageError(problem, f"name one of them, as {', '.join(found[:3])}")
    return found[0]


def _window(account: Account, dataset: Dataset, words: tuple[str, str], now: float) -> Window:
    """Return the window of two days. Raises UsageError if one request cannot ask for it."""
    named = zip(("begin", "end"), words, strict=True)
    begin, end = (_day(name, word, dataset, now) for name, word in named)
    first, last = map(calendar.day_text, (begin, end))
    if end < begin:
        raise UsageError(f"{last} is before {first}", "swap the days")
    if begin < dataset.first_day:
        day = calendar.day_text(dataset.first_day)
        raise UsageError(f"{dataset.name} begins on {day}, and not on {first}")
    if end - begin >= dataset.span:
        raise UsageError(
            f"{first}..{last} are {end - begin + 1} days, and one request for {dataset.name} asks"
            f" at most {dataset.span}",
            "ask for fewer days",
        )
    whole = readiness.period_begin(dataset.grain, begin)
    if whole != begin:
        raise UsageError(
            f"{dataset.name} counts by {dataset.grain.value}, and none begins on {first}",
            f"ask for {calendar.day_text(whole)}",
        )
    return Window(account.appid, dataset.name, begin, end)


def _day(name: str, word: str, dataset: Dataset, now: float) -> Day:
    day = end_day_option(name, word, now)
    return readiness.newest_ready(dataset, now) if day is None else day


def _only(manifest: Manifest, account: Account, window: Window) -> Manifest:
    """Return a manifest that asks for nothing but a window."""
    job = Job("fetch", (window.dataset,), (window.appid,), window.begin, window.end)
    # A person who asks for a window of a paused account means it.
    alone = replace(account, paused=None)
    return replace(manifest, accounts=(alone,), jobs=(job,), all_jobs=(), from_platform=False)


def _refused(answer: Answer, rule: Rule, why: Refusal | str, now: float) -> Answer:
    """Return a refusal, with the exit code of a run for which nothing else is open."""
    reason, code = reason_for(rule.action, rule.scope)
    # Of a run these are one account of many; here it is the only one.
    if rule.scope is Scope.ACCOUNT and rule.action in (Action.STOP, Action.REFRESH_TOKEN):
        code = Exit.UNAUTHORISED
    elif rule.action in NO_ANSWER:
        reason, code = "unanswered", Exit.AGAIN
    errcode, errmsg, rid = why if isinstance(why, Refusal) else (None, safe_text(why), "")
    return replace(
        answer,
        outcome="unanswered" if errcode is None else "refused",
        exit_code=int(code),
        errcode=errcode,
        errmsg=errmsg,
        rid=rid,
        meaning=rule.meaning,
        advice=rule.advice,
        retry_at=moment_text(comes_at(reason, now)) if code is Exit.AGAIN else None,
    )


def _compared(answer: Answer, dataset: Dataset, decoded: Decoded, published: list[Any]) -> Answer:
    """Return an answer with its differences to the published rows."""
    # Of a file with older columns those alone are compared that it has.
    names = [
        name
        for name in arrow_schema(dataset).names
        if all(name in table.column_names for table in published)
    ]
    old = [row for table in published for row in plain_rows(table, names)]
    new = plain_rows(_table(answer.appid, dataset, decoded), names)
    # Some datasets have the day in their key already.
    key = tuple(dict.fromkeys(("appid", DATE_COLUMN, *dataset.key)))
    found = differences(old, new, key)
    unusable = tuple(
        UnusableDay(calendar.date_of(day), safe_text(reason))
        for day, reason in sorted(decoded.quarantined.items())
    )
    moments = [each for table in published for each in table["_fetched_at"].to_pylist() if each]
    is_same = not (found.added or found.removed or found.changed or unusable)
    return replace(
        answer,
        outcome="same" if is_same else "different",
        exit_code=int(Exit.DONE if is_same else Exit.INCOMPLETE),
        rows=len(new),
        published=len(old),
        published_at=calendar.utc_text(max(moments).timestamp()) if moments else None,
        is_delay=decoded.delayed,
        unusable=unusable,
        **found._asdict(),
    )


def table_of_answer(dataset: Dataset, window: Window, body: bytes) -> pa.Table:
    """Return the rows of an answer in the schema of the dataset's files."""
    return _table(window.appid, dataset, decode.decoder(dataset)(window, body))


def _table(appid: str, dataset: Dataset, decoded: Decoded) -> pa.Table:
    schema = arrow_schema(dataset)
    news = [NewRows(appid, day, rows, Provenance(0, "")) for day, rows in decoded.days.items()]
    return pa.Table.from_batches([to_record_batch(schema, news)] if news else [], schema)
