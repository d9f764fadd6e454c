"""``harvester fetch``: one window asked now, and its differences to the published rows."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from harvester.cli import options
from harvester.cli.output import logs
from harvester.cli.output.answers import answer, json_text
from harvester.cli.output.phrases import days_text
from harvester.cli.output.streams import stdout_output
from harvester.cli.output.terminal import Terminal
from harvester.core.config.parsers import AGO, DAY
from harvester.core.errors import UsageError
from harvester.core.text.inert_text import inert, inert_json, named
from harvester.core.text.wording import counted
from harvester.verbs import fetch as fetching

_DAY = re.compile(f"{DAY}|{AGO}|yesterday")

_MAX_ANSWER_LINES = 60
"""Lines of an answer that are printed as text."""


def fetch(
    account: str,
    dataset: str,
    begin: Annotated[str, Parameter(allow_leading_hyphen=True)],
    end: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    manifest: options.ManifestPath = options.JOBS,
    /,
    *,
    raw: Annotated[bool, options.value("HARVESTER_RAW")] = False,
    output: options.Output = None,
    lock_timeout: options.LockTimeout = None,
    format: options.Format = "text",
    _ok_exit: options.OkExit = "",
    logging: options.Logging = options.DEFAULT_LOGGING,
) -> int:
    """Ask WeChat for one window now, and compare its answer with the published rows.

    Publishes nothing. The call counts in the account's rate and quota.

    For example:
      harvester fetch "Acme Service" interface_summary yesterday

    Exit codes:
      0   the published rows are the same
      2   a mistake in the manifest or the words; nothing was requested
      3   the answer differs from the published rows, or the window was refused
      4   the account was not authorised
      75  another run holds the account, a quota is spent, or no answer came

    Params:
        account: An appid, or a name that one account has.
        dataset: A dataset: its name, or WeChat's own.
        begin: A Beijing day: 2024-01-31, -30d or yesterday.
        end: The last day, included; without it one day is asked.
        raw: Print the bytes of the answer as WeChat sent them, secrets masked.
    """
    logs.set_up(logging)
    if end is not None and not _DAY.fullmatch(end):
        # The last day may be left out before the manifest.
        manifest, end = Path(end), None
    if raw and format == "json":
        raise UsageError("--raw and --format json are two forms of the answer", "take one of them")
    found = fetching.fetch(
        manifest, account, dataset, begin, end, output=output, lock_timeout=lock_timeout
    )
    if raw:
        _print_raw(found.raw)
    else:
        answer(format, found.to_dict, lambda out: _show(out, found))
    return found.exit_code


def _print_raw(body: bytes) -> None:
    """Print an answer. Where it could act, on a terminal or a CI runner, it is escaped."""
    with stdout_output():
        if sys.stdout.isatty() or os.environ.get("GITHUB_ACTIONS"):
            print(inert_json(body.decode(errors="replace")))
        else:
            # What was printed before comes first: bytes go past the text that waits.
            sys.stdout.flush()
            sys.stdout.buffer.write(body)


def _show(out: Terminal, found: fetching.Answer) -> None:
    days = days_text(found.begin_date, found.end_date)
    out.say(f"{named(found.appid, found.name)}  {found.dataset}  {days}")
    if found.paused:
        out.say(f"the account is paused: {inert(found.paused)}")
    if found.outcome in ("refused", "unanswered"):
        _show_refusal(out, found)
        return
    _show_answer(out, found.answer)
    _show_differences(out, found)


def _show_refusal(out: Terminal, found: fetching.Answer) -> None:
    said = found.errmsg if found.errcode is None else f"{found.errcode} {found.errmsg}"
    rid = f" (rid {inert(found.rid)})" if found.rid else ""
    out.say(f"{found.outcome}: {said}{rid}", gap=True)
    out.say(f"  {found.meaning}. {found.advice}")
    if found.retry_at:
        out.say(f"  ask again from {found.retry_at} on")


def _show_answer(out: Terminal, value: Any) -> None:
    out.print()
    lines = json_text(value).split("\n")
    for line in lines[:_MAX_ANSWER_LINES]:
        out.say(line)
    if len(lines) > _MAX_ANSWER_LINES:
        out.say(f"and {len(lines) - _MAX_ANSWER_LINES:,} more lines: --raw prints all")


def _show_differences(out: Terminal, found: fetching.Answer) -> None:
    asked = f" (asked {found.published_at})" if found.published_at else ""
    rows = counted(found.rows, "row")
    counts = f"{rows} answered, {found.published:,} published{asked}"
    out.say(f"{found.outcome}: {counts}", gap=True)
    if found.is_delay:
        out.say("  WeChat is still computing this answer")
    for day in found.unusable:
        out.say(f"  {day.day} does not fit the columns: {day.reason}")
    out.say_list("", list(_changes(found)))


def _changes(found: fetching.Answer) -> Iterator[str]:
    for value in found.changed:
        published, answered = map(_value, (value.published, value.answered))
        yield f"{_row(value.key)}: {value.column} is {answered}, published as {published}"
    for row in found.added:
        yield f"not published: {_row(row)}"
    for row in found.removed:
        yield f"published and not answered: {_row(row)}"


def _row(row: Mapping[str, Any]) -> str:
    told = {name: value for name, value in row.items() if name != "appid" and value is not None}
    return " ".join(f"{name}={_value(value)}" for name, value in told.items())


def _value(value: object) -> str:
    return inert(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
