"""``harvester check``: the accounts that work, and why the others do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from harvester.cli import options
from harvester.cli.next_commands import print_pause_lines
from harvester.cli.output import logs
from harvester.cli.output.answers import answer, pause_text, print_paused
from harvester.cli.output.phrases import listed
from harvester.cli.output.styles import style_of
from harvester.cli.output.table_layout import Own, TableColumn
from harvester.cli.output.terminal import Terminal
from harvester.core.exit_codes import Exit
from harvester.core.text.inert_text import inert, named
from harvester.core.text.wording import counted
from harvester.verbs import check as checking
from harvester.verbs.check_report import WHOLE_ACCOUNT, AccountCheck, Check, ProbeResult, State


def check(
    manifest: options.ManifestPath = options.JOBS,
    /,
    *,
    selecting: options.Selecting = options.ALL,
    output: options.Output = None,
    offline: Annotated[bool, options.value("HARVESTER_OFFLINE")] = False,
    acknowledge: Annotated[bool, options.value("HARVESTER_ACKNOWLEDGE")] = False,
    format: options.Format = "text",
    _ok_exit: options.OkExit = "",
    logging: options.Logging = options.DEFAULT_LOGGING,
) -> int:
    """Ask for one token and one cheap call per family of each account.

    Keeps WeChat's quota numbers for later plans and runs.

    For example:
      harvester check jobs.yaml --accounts tag:retail

    Exit codes:
      0   every account works
      2   a mistake in the manifest or the options; nothing was requested
      3   an account was refused something
      4   no account could be authorised
      75  a call got no answer: check again

    Params:
        offline: Check the manifest alone; list the variables, files, programs and hosts it names.
        acknowledge: Print the lines of the manifest that would pause what was refused.
    """
    logs.set_up(logging)
    if offline:
        needed = checking.inputs(manifest, selecting.chosen(), output)
        answer(format, lambda: needed, lambda out: _offline(out, needed))
        return Exit.DONE
    found = checking.check(manifest, output=output, **selecting.given())
    answer(format, found.to_dict, lambda out: _print_check(out, found, acknowledge=acknowledge))
    return found.exit_code


def _family(account: AccountCheck) -> str:
    """Return the families that are in the account's state."""
    families = [each.family for each in account.findings if each.state is account.state]
    return WHOLE_ACCOUNT if len(families) == len(account.findings) else ", ".join(families)


_COLUMNS: Sequence[TableColumn[AccountCheck]] = (
    TableColumn("name", lambda row: row.name, "text", may_lack=True),
    TableColumn("appid", lambda row: row.appid, "code"),
    TableColumn("family", _family, "code"),
    TableColumn("state", lambda row: Own(row.state.value, style_of(row.state.value)), "code"),
    TableColumn("calls a day", lambda row: row.scarcest and row.scarcest.daily_limit, rank=1),
    TableColumn("used", lambda row: row.scarcest and row.scarcest.used, rank=2),
)

MAX_ROWS = 20
"""Maximum rows of accounts. Those that work have none if not all have one."""


def _print_check(out: Terminal, found: Check, *, acknowledge: bool = False) -> None:
    worst_first = sorted(found.accounts, key=lambda each: [*State].index(each.state))
    shown = worst_first
    if len(shown) > MAX_ROWS:
        shown = [each for each in shown if each.state is not State.WORKS][:MAX_ROWS]
    if shown:
        out.say_table(_COLUMNS, shown)
        out.say_more(len(worst_first) - len(shown))
    _print_reasons(out, found)
    _print_paused(out, found.paused)
    states = f": {', '.join(_states(found))}" if found.accounts else ""
    accounts = f"{counted(len(found.accounts), 'account')}{states}"
    out.say(f"{accounts}; {counted(found.calls, 'call')}", gap=True)
    print_pause_lines(out, found.pause_lines, "check", acknowledge=acknowledge)


def _states(found: Check) -> Iterator[str]:
    for state in State:
        if count := found.count(state):
            yield f"{count:,} {'work' if state is State.WORKS and count > 1 else state.value}"


def _print_reasons(out: Terminal, found: Check) -> None:
    """Print each reason once, with the accounts it is about and the remedy."""
    alike: dict[tuple[object, ...], list[tuple[str, ProbeResult]]] = {}
    for account in found.accounts:
        name = named(account.appid, account.name)
        stopped = [finding for finding in account.findings if finding.state is not State.WORKS]
        for finding in stopped:
            # The same code is one reason whatever its message says, which may have an id in it. The
            # families that are named with a reason hold for each of its accounts.
            said = finding.errmsg if finding.errcode is None else finding.errcode
            key = said, finding.meaning, finding.is_of_account, *(each.family for each in stopped)
            alike.setdefault(key, []).append((name, finding))
    for reason in alike.values():
        accounts = listed(dict.fromkeys(name for name, _ in reason))
        said, remedy = _reason([finding for _, finding in reason])
        out.say(f"  {accounts}: {said}", gap=True)
        out.say(f"    {remedy}")


def _print_paused(out: Terminal, paused: list[AccountCheck]) -> None:
    """Print the paused accounts, those that work again first. They are in no exit code."""
    works = State.WORKS
    lines = []
    for account in sorted(paused, key=lambda account: account.state is not works):
        said = "it works again: take `paused` off"
        if account.state is not works:
            said = "still: " + "; ".join(_reason([finding])[0] for finding in account.findings)
        why = pause_text(account.paused) if account.paused else ""
        lines.append(f"{named(account.appid, account.name)}: {why} ({said})")
    out.say_list(f"paused, in no exit code: {len(paused):,}", lines)


def _reason(findings: Sequence[ProbeResult]) -> tuple[str, str]:
    """Return what WeChat or the network answered to alike calls, and its meaning with advice."""
    first = findings[0]
    said = first.errmsg if first.errcode is None else f"{first.errcode} {first.errmsg}"
    families = list(dict.fromkeys(finding.family for finding in findings))
    if families == [WHOLE_ACCOUNT]:
        return said, f"{first.meaning}. {first.advice}"
    meaning = first.meaning
    if first.state is State.REFUSED:
        sets = list(dict.fromkeys(str(finding.permission_set) for finding in findings))
        meaning += f" (permission set{'s' if sets[1:] else ''} {', '.join(sets)})"
    return f"{', '.join(families)}: {said}", f"{meaning}. {first.advice}"


def _offline(out: Terminal, found: checking.Inputs) -> None:
    accounts, jobs = counted(found.accounts, "account"), counted(found.jobs, "job")
    out.say(f"{accounts}, {jobs}: no mistakes")
    marks: dict[object, str] = dict.fromkeys(found.unset, "not set")
    marks |= dict.fromkeys(found.missing, "missing")
    for what in ("variables", "files", "programs", "hosts"):
        names = getattr(found, what)
        out.say(what if names else f"no {what}", gap=True)
        for name in names:
            mark = f": {marks[name]}" if name in marks else ""
            out.say(f"  {inert(str(name))}{mark}")
    if marks:
        out.say(f"a run would end with 2: set up {len(marks):,} of these first", gap=True)
    print_paused(out, found.paused)
