"""Commands to type next: each on a line of its own, below what it is for and what it costs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harvester.cli import command_line
from harvester.cli.command_line import MANIFEST, PROPOSED
from harvester.cli.output.terminal import Terminal
from harvester.core.calendar import day_text
from harvester.core.text.wording import Message, counted, entry, indented, said
from harvester.runs.record.next_requests import MAX_NAMED, NextRequests, OddDays

MAX_ODD_DAYS = 100
"""Suspicious days up to which asking again is proposed. More are the nature of an account."""


class NextCommand(NamedTuple):
    """A command line, and what it is for, with its price."""

    purpose: str
    line: str


def next_command(verb: str, *more: str, instead: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return a verb on what this command was about, as a line for a shell.

    ``more`` are further words. ``instead`` has values by option that replace what was typed. What
    was typed and is no option of the verb is left out.
    """
    words = ["harvester", verb]
    given = {**command_line.typed(), **(instead or {})}
    for name in PROPOSED[verb]:
        words += [word for value in given.get(name, ()) for word in _words(name, value)]
    return shlex.join([*words, *more])


def run_again(price: NextRequests, missing: int, quarantined: int) -> list[NextCommand]:
    """Return the runs that would ask for missing, quarantined or suspicious days, with their price.

    ``missing`` and ``quarantined`` are numbers of account-days.
    """
    found = []
    if missing:
        template = "{days} is missing" if missing == 1 else "{days} are missing"
        purpose = said(template, days=counted(missing, "account-day"))
        found.append(_priced(purpose, price.missing, next_command("run")))
    if quarantined:
        days = counted(quarantined, "day")
        purpose = said("{days} in quarantine, to ask again with what is missing", days=days)
        line = next_command("run", "--refetch", "quarantined")
        found.append(_priced(purpose, price.quarantined, line))
    if price.odd is not None and price.odd_days <= MAX_ODD_DAYS:
        purpose = said("if {days} should have data", days=odd_days_text(price))
        found.append(_priced(purpose, price.odd.requests, _ask_empty(price.odd)))
    return found


def try_refused(appids: Sequence[str]) -> list[NextCommand]:
    """Return what helps with accounts that WeChat refuses: to ask them again, or to pause them."""
    if not appids:
        return []
    instead = {"--accounts": [",".join(appids)]} if len(appids) <= MAX_NAMED else {}
    accounts = counted(len(appids), "refused account")
    purpose = said("{accounts}: try again, or print the lines to pause", accounts=accounts)
    return [NextCommand(purpose, next_command("check", "--acknowledge", instead=instead))]


def _priced(purpose: str, requests: int, line: str) -> NextCommand:
    return NextCommand(entry(purpose, counted(requests, "request")), line)


def _ask_empty(odd: OddDays) -> str:
    """Return the run over the odd days, and as few others as options can say."""
    narrowed = {
        "--begin-date": day_text(odd.begin),
        "--end-date": day_text(odd.end),
        "--accounts": ",".join(odd.appids),
        "--datasets": ",".join(odd.datasets),
    }
    instead = {name: [value] for name, value in narrowed.items() if value}
    return next_command("run", "--refetch", "empty", instead=instead)


def first_rows(output: str, dataset: str) -> NextCommand:
    """Return a query for the first rows of a dataset."""
    files = f"{output}/{dataset}/ref_month=*/*.parquet".replace("'", "''")
    query = f"from read_parquet('{files}') limit 10"
    # Double quotes read better, and suffice where nothing in them acts.
    quoted = shlex.quote(query) if set(query) & {*'"$`\\!'} else f'"{query}"'
    return NextCommand(said("the first rows"), f"duckdb -c {quoted}")


def odd_days_text(price: NextRequests) -> Message:
    """Return the number of suspicious days, and of their accounts."""
    days, accounts = counted(price.odd_days, "empty day"), counted(price.odd_accounts, "account")
    return said("{days} in {accounts}", days=days, accounts=accounts)


def print_next(out: Terminal, commands: Sequence[NextCommand]) -> None:
    """Print commands to type next. No line is wrapped, so that it can be copied as it stands."""
    for command in commands:
        out.say(indented(command.purpose))
        out.say(indented(command.line, 4), whole=True)


def print_pause_lines(out: Terminal, lines: Sequence[str], verb: str, *, acknowledge: bool) -> None:
    """Print the lines that pause what was refused, or the command of a verb that does."""
    if acknowledge:
        for line in lines:
            out.say(line, whole=True)
    elif lines:
        command = next_command(verb, "--acknowledge")
        print_next(out, [NextCommand(said("lines that pause what was refused"), command)])


def _words(name: str, value: str) -> list[str]:
    """Return the words that give an argument a value."""
    if name == MANIFEST:
        return [f"./{value}" if value.startswith("-") else value]
    # Another word that begins so would be taken for an option.
    return [f"{name}={value}"] if value.startswith("-") else [name, value]
