"""``harvester status``: coverage, gaps, quarantine and the last runs.

The rows are datasets or accounts, as tables or as JSON.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from harvester.cli import options
from harvester.cli.next_commands import (
    NextCommand,
    next_command,
    print_next,
    print_pause_lines,
    run_again,
)
from harvester.cli.output.answers import answer, print_paused
from harvester.cli.output.attention_lines import print_attention
from harvester.cli.output.coverage_table import COVERAGE, print_suspicious
from harvester.cli.output.phrases import days_text, minute_texts, with_code
from harvester.cli.output.styles import style_of
from harvester.cli.output.table_layout import Cell, Own, TableColumn
from harvester.cli.output.terminal import Terminal
from harvester.core.exit_codes import Exit
from harvester.core.results import PausedAccount
from harvester.core.text.inert_text import inert, named
from harvester.core.text.wording import (
    Message,
    counted,
    entry,
    indented,
    one_or_many,
    said,
    share_text,
    word,
)
from harvester.runs.record.absent_rows import NO_ROWS, NO_ROWS_TEXT
from harvester.runs.record.record import Record
from harvester.runs.record.statement import ground
from harvester.runs.user_files import UserFile
from harvester.verbs import status as surveying
from harvester.verbs import summary_file
from harvester.verbs.account_status import (
    STATES,
    AccountStatus,
    DaysOfAccount,
    MissingDays,
    UnlistedAccount,
)
from harvester.verbs.arguments import ManifestSource
from harvester.verbs.gate import Gate, LostDays
from harvester.verbs.project import read_manifest
from harvester.verbs.status import Status

_LONG_PAUSE_DAYS = 30
"""Days after which an account counts as paused for long."""

_SIGNS = {None: "?", 0: "+", 75: "~"}
"""Signs of runs by exit code: no end, complete, a later run goes on. Any other needs a person."""


def status(
    manifest: options.ManifestPath = options.JOBS,
    /,
    *,
    selecting: options.Selecting = options.ALL,
    output: options.Output = None,
    require: Annotated[str | None, options.day("HARVESTER_REQUIRE")] = None,
    final: Annotated[bool, options.value("HARVESTER_FINAL")] = False,
    at_least: Annotated[str | None, options.value("HARVESTER_AT_LEAST")] = None,
    by: Annotated[Literal["account", "dataset"], options.value("HARVESTER_BY")] = "dataset",
    all: Annotated[bool, options.value("HARVESTER_ALL")] = False,
    owners: Annotated[bool, options.value("HARVESTER_OWNERS")] = False,
    acknowledge: Annotated[bool, options.value("HARVESTER_ACKNOWLEDGE")] = False,
    metrics: options.Metrics = None,
    format: options.Format = "text",
    lang: options.Lang = None,
    _ok_exit: options.OkExit = "",
) -> int:
    """Show coverage, gaps, quarantine and the last runs.

    Reads the files alone, asks nothing, needs no secret, and with --output no
    manifest: the last run has kept what it wants.

    For example:
      harvester status jobs.yaml --require yesterday

    Exit codes:
      0   shown; with --require: every day up to that one has an answer
      2   a mistake in the manifest or the options
      3   with --require: days are missing that no run obtains by itself, or an
          expectation with gate: closed is not met
      75  with --require: days are missing that a run can still obtain
      76  with --require: as 75, and something needs a person as well

    Params:
        require: Be a gate for every day up to this one: yesterday, ready, 2024-01-31 or -30d.
        final: With --require: a provisional answer is not enough.
        at_least: With --require: this share of the account-days is enough, such as 95%.
        by: One row per dataset, or one row per account, the worst first.
        all: With --by account: list the complete accounts too.
        owners: Also list which run holds which bucket, and since when.
        acknowledge: Print the lines of the manifest that would pause what was refused.
        metrics: Also write metrics for Prometheus to this file.
    """
    given = selecting.given()
    source: ManifestSource | None = options.manifest_of(manifest, output)
    if metrics is not None:
        summary_file.refuse_unusable(metrics, manifest, "--metrics")
        if source is not None:
            source = read_manifest(source)
            summary_file.refuse_place(metrics, source, "--metrics")
    found = surveying.status(
        source,
        output=output,
        require=require,
        final=final,
        at_least=at_least,
        owners=owners,
        unlisted=by == "account" and not any(given.values()),
        quota=metrics is not None,
        **given,
    )
    if metrics is not None:
        _write_metrics(metrics, found)
    show = partial(_print_accounts, whole=all) if by == "account" else _print_status

    def print_all(out: Terminal) -> None:
        # Without a manifest no next command is proposed, because each would need one.
        show(out, found, proposes=source is not None)
        if found.gate is not None:
            _print_gate(out, found.gate)
        if acknowledge or source is not None:
            print_pause_lines(out, found.pause_lines, "status", acknowledge=acknowledge)

    answer(format, found.to_dict, print_all, options.language_of(lang, format))
    return found.gate.exit_code if found.gate else Exit.DONE


def _write_metrics(path: Path, found: Status) -> None:
    # Loaded only now, because no other status has such a file.
    from harvester.cli.output.metrics import of_status  # noqa: PLC0415 - as the line above says

    file = UserFile("--metrics", path, lambda *_: of_status(found, STATES), is_public=True)
    file.begin(Record(finished=True), {})


def _print_status(out: Terminal, found: Status, *, proposes: bool) -> None:
    """Print the coverage, missing and suspicious days, the last runs and commands to type next."""
    is_wanted = any(row.days.wanted for row in found.datasets)
    if is_wanted:
        out.say_table(COVERAGE, found.datasets)
    elif found.statement:
        out.say(found.statement)
    days = counted(sum(gap.days for gap in found.gaps), "account-day")
    accounts = counted(len({gap.appid for gap in found.gaps}), "account")
    title = said("missing: {days} of {accounts}", days=days, accounts=accounts)
    out.say_list(title, _day_lines(found.gaps))
    print_suspicious(out, found.next_requests)
    out.say_list("", _day_lines(found.suspicious))
    for silent in found.empty_everywhere:
        out.say(entry(silent.dataset, silent.text), gap=True)
    names = {account.appid: account.name for account in found.accounts}
    in_quarantine = [
        entry(f"{named(x.appid, names.get(x.appid, ''))} {x.dataset} {x.day}", x.reason)
        for x in found.quarantined
    ]
    many = counted(len(in_quarantine), "account-day")
    out.say_list(said("quarantined: {days}", days=many), in_quarantine)
    foreign = (said("not harvester's: {file}", file=inert(name)) for name in found.foreign)
    for line in (*found.warnings, *foreign):
        out.say(said("note: {note}", note=line), gap=True)
    print_attention(out, found.attention)
    _print_paused(out, found, found.paused)
    out.say_list(said("last runs"), [*_run_lines(found)])
    _print_owners(out, found)
    if is_wanted:
        out.say(_completeness(found), gap=True)
        if found.statement:
            out.say(found.statement)
        grounds = ground(row.days for row in found.datasets)
        if found.complete and grounds:
            out.say(grounds)
    if proposes:
        missing = sum(gap.days for gap in found.gaps if gap.reason != "refused")
        print_next(out, run_again(found.next_requests, missing, len(found.quarantined)))


def _completeness(found: Status) -> Message:
    if found.gaps:
        return said("incomplete: days are missing")
    if found.unusable:
        days = counted(found.unusable, "account-day")
        return said("incomplete: {days} without an answer that fits", days=days)
    return said("incomplete: {reason}", reason=NO_ROWS_TEXT) if found.rowless else said("complete")


def _print_paused(out: Terminal, found: Status, paused: Sequence[PausedAccount]) -> None:
    """Print paused accounts with their reasons, and since when they are paused."""
    known = {account.appid: account for account in found.accounts}
    aged = (replace(one, reason=_aged(one.reason, known.get(one.appid))) for one in paused)
    print_paused(out, aged)


def _aged(reason: str, account: AccountStatus | None) -> str:
    """Return the reason of a pause, and since when it lasts; not on the first day."""
    if account is None or account.paused_days <= 0:
        return reason
    pause = {"reason": inert(reason), "day": account.paused_since}
    if account.paused_days >= _LONG_PAUSE_DAYS:
        return said("{reason} (paused for long, since {day})", **pause)
    return said("{reason} (since {day})", **pause)


def _run_lines(found: Status) -> Iterator[Message]:
    """Yield when each of the last runs began, how it ended and what it did."""
    for record in found.runs:
        sign = _SIGNS.get(record.exit_code, "!")
        run = f"{sign} {inert(record.started_at)}  {inert(record.verb)}"
        end = _end(record.outcome, record.exit_code, record.reasons)
        figures = [counted(record.requests, "request"), counted(record.rows, "row")]
        yield said("{run}  {end}  {figures}", run=run, end=end, figures=figures)


def _end(outcome: str | None, code: int | None, reasons: Sequence[str]) -> Message:
    """Return how a run ended, with its reasons if it has some."""
    if code is None:
        return said("under way, or killed")
    end = {"outcome": word("outcome", inert(outcome or "unknown")), "code": code}
    if not reasons:
        return said("{outcome}, exit {code}", **end)
    words = [word("reason", inert(each)) for each in reasons]
    return said("{outcome}, exit {code} ({reasons})", **end, reasons=words)


def _print_owners(out: Terminal, found: Status) -> None:
    """Print which run holds which bucket, if that was asked for."""
    if found.owners is None:
        return
    out.say(said("owners") if found.owners else said("owners: no run holds a bucket"), gap=True)
    for owner in found.owners:
        who = owner.text if owner.run_id else said("its note does not name it")
        line = said("{bucket}  {owner}", bucket=owner.bucket, owner=who)
        if owner.lease_ends_at is not None:
            lease = {"renewed": owner.renewed_at, "end": owner.lease_ends_at}
            line = said("{line}; renewed {renewed}, ends {end} unless renewed", line=line, **lease)
        out.say(indented(line))


def _print_gate(out: Terminal, gate: Gate) -> None:
    """Print whether the required days are there, or may still come, and name the lost ones."""
    line = "final days up to {day}: {verdict}" if gate.final else "days up to {day}: {verdict}"
    judged = said(line, day=gate.day, verdict=_verdict(gate))
    out.say(judged if gate.wanted else said("nothing is wanted of {day}", day=gate.day), gap=True)
    if "not_ready" in gate.reasons and gate.newest_ready and gate.newest_ready < gate.day:
        hint = "{day} is the newest ready day: --require ready is a gate up to it"
        out.say(said(hint, day=gate.newest_ready))
    out.say_list("", _lost_lines((*gate.lost, *gate.without)))
    unmet = [entry(each.dataset, each.text) for each in gate.expectations]
    out.say_list("", [said("expectation not met: {text}", text=text) for text in unmet])
    if "clock" in gate.reasons:
        apart = "this machine's clock and WeChat's differ: again from {time} on"
        out.say(said(apart, time=gate.retry_at))
    if NO_ROWS in gate.reasons:
        out.say(NO_ROWS_TEXT)


def _verdict(gate: Gate) -> Message:
    """Return whether the required days are there, or when they may come."""
    if gate.without:
        there = share_text(gate.share)
        return said("{share} are there, which is enough; without", share=there)
    if gate.obtainable:
        days = counted(sum(each.days for each in gate.obtainable), "account-day")
        return said("{days} can still be obtained, from {time} on", days=days, time=gate.retry_at)
    if any(each.meaning == "again" for each in gate.empty_everywhere):
        coming = "WeChat may still fill days that are empty everywhere, from {time}"
        return said(coming, time=gate.retry_at)
    is_lost = gate.lost or any(each.meaning == "person" for each in gate.empty_everywhere)
    return said("nothing more comes by itself") if is_lost else said("all of them are there")


def _reason_text(account: AccountStatus) -> str:
    """Return why days of an account are missing: the reason and the code, or why it is paused."""
    if account.paused:
        return _aged(account.paused, account)
    return with_code("reason", account.reason, account.errcode)


def _state(account: AccountStatus) -> Cell:
    style = style_of(account.reason) or style_of(account.state)
    return Own(word("account", account.state), style)


_COLUMNS: Sequence[TableColumn[AccountStatus]] = (
    TableColumn("name", lambda row: row.name, "text", may_lack=True),
    TableColumn("appid", lambda row: row.appid, "code"),
    TableColumn("tags", lambda row: ", ".join(row.tags), "text", rank=4, least=10, may_lack=True),
    TableColumn("percent", lambda row: "" if row.percent is None else f"{row.percent:.1f}"),
    TableColumn("provisional", lambda row: row.provisional, rank=2, may_lack=True),
    TableColumn("newest day", lambda row: str(row.newest_day or ""), "code", rank=1),
    TableColumn("state", _state, "code"),
    TableColumn("reason", _reason_text, "text", least=10),
    TableColumn("waiting until", lambda row: _local(row.waiting_until), "code", rank=3),
)


def _print_accounts(out: Terminal, found: Status, *, whole: bool, proposes: bool) -> None:
    """Print the accounts and their counts, then the owners if these were asked for.

    The complete ones are counted alone, unless the ``whole`` list is asked for.
    """
    counts = Counter(account.state for account in found.accounts)
    rows = [account for account in found.accounts if whole or account.state != "complete"]
    if rows:
        out.say_table(_COLUMNS, rows)
    states = [
        said("{count:,} {state}", count=number, state=word("account", state))
        for state, number in counts.items()
    ]
    line = entry(counted(len(found.accounts), "account"), states)
    if len(rows) < len(found.accounts):
        line = said("{line} (--all lists the complete ones)", line=line)
    out.say(line, gap=bool(rows))
    if found.statement:
        out.say(found.statement)

    shown = {account.appid for account in rows if account.paused}
    _print_paused(out, found, [each for each in found.paused if each.appid not in shown])
    _print_unlisted(out, found.unlisted or (), proposes=proposes)
    _print_owners(out, found)


def _print_unlisted(out: Terminal, unlisted: Sequence[UnlistedAccount], *, proposes: bool) -> None:
    """Print the accounts of no manifest, and the command that deletes them with its price."""
    title = said("in no manifest: {accounts}", accounts=counted(len(unlisted), "account"))
    out.say_list(title, [entry(one.appid, counted(one.days, "account-day")) for one in unlisted])
    if unlisted and proposes:
        days = counted(sum(one.days for one in unlisted), "account-day")
        files = counted(sum(one.files for one in unlisted), "file")
        instead = {"--accounts": [",".join(one.appid for one in unlisted)]}
        line = next_command("forget", instead=instead)
        price = said("to delete them for good: {days} in {files}", days=days, files=files)
        print_next(out, [NextCommand(price, line)])


def _day_lines(found: Sequence[DaysOfAccount]) -> list[str]:
    """Return one line for each account and reason, the one with the most days first."""
    alike: defaultdict[tuple[str, str], list[DaysOfAccount]] = defaultdict(list)
    for each in found:
        prospect = _prospect(each) if isinstance(each, MissingDays) else ""
        alike[named(each.appid, each.name), prospect].append(each)
    # Most days first, because a list is cut after some lines.
    most_first = sorted(alike.items(), key=lambda item: -sum(each.days for each in item[1]))
    texts = ((account, why, _days(days)) for (account, why), days in most_first)
    return [entry(account, entry(days, why) if why else days) for account, why, days in texts]


def _lost_lines(lost: Sequence[LostDays]) -> list[str]:
    """Return the lines of `_day_lines` for days that no run obtains by itself."""
    found = []
    for item in lost:
        account = item.appid, item.name, (item.dataset,)
        span = item.begin, item.end
        found.append(MissingDays(*account, item.days, (span,), item.reason, item.errcode))
    return _day_lines(found)


def _prospect(gap: MissingDays) -> Message:
    """Return why days are missing, and the earliest time of the next attempt if it must wait."""
    why = with_code("reason", gap.reason, gap.errcode)
    if gap.retry_at is None or gap.reason == "not_asked":
        return why
    return said("{reason}, again from {time} on", reason=why, time=_local(gap.retry_at))


def _days(found: Sequence[DaysOfAccount]) -> Message:
    datasets = list(dict.fromkeys(name for each in found for name in each.datasets))
    first = min(each.ranges[0][0] for each in found)
    last = max(each.ranges[-1][1] for each in found)
    days = counted(sum(each.days for each in found), "day")
    where, when = one_or_many(datasets, "dataset"), days_text(first, last)
    return said("{days} of {datasets}, {range}", days=days, datasets=where, range=when)


def _local(moment: str | None) -> str:
    """Return a time, RFC 3339 in UTC, as local time of this machine, up to the next full minute."""
    return "" if moment is None else minute_texts(dt.datetime.fromisoformat(moment).timestamp())[0]
