"""An answer on stdout: tables and lines of text, or JSON for programs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from harvester.catalogue.languages import Language
from harvester.cli.output.phrases import listed
from harvester.cli.output.streams import stdout_output
from harvester.cli.output.terminal import MAX_LINES, Terminal
from harvester.core.calendar import range_text
from harvester.core.plain import plain
from harvester.core.results import PausedAccount, PendingDays
from harvester.core.text.inert_text import inert, inert_json, named
from harvester.core.text.wording import Message, and_more, counted, entry, said


def answer(
    form: Literal["text", "json"],
    result: Callable[[], object],
    show: Callable[[Terminal], object],
    language: Language = "en",
) -> None:
    """Print a result to stdout: as JSON, or by calling ``show`` with a console in a language."""
    with stdout_output():
        if form == "json":
            print(json_text(plain(result())))
        else:
            show(Terminal(language))


def json_text(value: object) -> str:
    """Return a value as JSON, which keeps every text and in which none acts.

    Each member has a line, and so has each element of a list in one: to be read, and not too long.
    """
    if not isinstance(value, dict):
        return inert_json(_lines_of(value))
    members = (f"  {_compact(name)}: {_lines_of(each, 4)}" for name, each in value.items())
    return inert_json("{\n" + ",\n".join(members) + "\n}")


def _lines_of(value: object, margin: int = 2) -> str:
    """Return a value as JSON, a list of objects with a line for each."""
    if not isinstance(value, list) or not any(isinstance(each, dict) for each in value):
        return _compact(value)
    blanks = " " * margin
    return f"[\n{blanks}" + f",\n{blanks}".join(map(_compact, value)) + f"\n{blanks[2:]}]"


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def print_paused(out: Terminal, paused: Iterable[PausedAccount]) -> None:
    """Print the paused accounts with their reasons, those with the same reason on one line."""
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for account in paused:
        alike[pause_text(account)].append(named(account.appid, account.name))
    title = said("paused, not asked: {count:,}", count=sum(map(len, alike.values())))
    out.say_list(title, [entry(listed(names, MAX_LINES), why) for why, names in alike.items()])


def pause_text(paused: PausedAccount) -> str:
    """Return the reason of a pause, the datasets if it is not about all of them, and its end."""
    text = paused.reason if isinstance(paused.reason, Message) else inert(paused.reason)
    if paused.datasets:
        only = listed(paused.datasets, MAX_LINES)
        text = said("{text}; only {datasets}", text=text, datasets=only)
    if paused.until is not None:
        text = said("{text}; until {day}", text=text, day=paused.until)
    return text


def print_pending(out: Terminal, pending: Sequence[PendingDays], names: Mapping[str, str]) -> None:
    """Print how much was pending, a line for each dataset with its first accounts, by ``names``."""
    days = counted(sum(each.account_days for each in pending), "day")
    out.say_list(said("pending: {days}", days=days), [_pending_line(x, names) for x in pending])


def _pending_line(days: PendingDays, names: Mapping[str, str]) -> str:
    shown = [named(appid, names.get(appid, "")) for appid in days.first]
    many, accounts = counted(days.account_days, "day"), and_more(shown, days.accounts)
    text = said("{days} of {accounts}", days=many, accounts=accounts)
    return entry(f"{days.dataset} {range_text(days.begin, days.end)}", text)
