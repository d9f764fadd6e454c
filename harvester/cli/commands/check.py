"""``harvester check``: the accounts that work, and why the others do not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rich.console import Console

from harvester.api import check as checking
from harvester.api.reports import plain
from harvester.catalogue import CATALOGUE
from harvester.cli import options
from harvester.cli.output import logs
from harvester.cli.output.answers import (
    answer,
    cell,
    named,
    print_line,
    print_lines,
    print_paused,
    table,
)
from harvester.core.exit_codes import Exit
from harvester.core.inert_text import inert
from harvester.planning.windows import paused_accounts


def check(
    manifest: options.ManifestPath = Path("jobs.yaml"),
    /,
    *,
    selecting: options.Selecting = options.ALL,
    output: options.Output = None,
    offline: Annotated[bool, options.flag("HARVESTER_OFFLINE")] = False,
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
        offline: Check the manifest alone and list the variables, files and hosts that it names.
    """
    logs.set_up(logging)
    given = manifest, selecting.selection(), output
    if offline:
        project, touched = checking.check_offline(*given)
        sizes = {"accounts": len(project.manifest.accounts), "jobs": len(project.manifest.jobs)}
        paused = paused_accounts(project.manifest)
        members = {**sizes, "paused": plain(paused), **plain(touched)}

        def show(out: Console) -> None:
            _offline(out, sizes, touched)
            print_paused(out, paused)

        answer(format, lambda: members, show)
        return Exit.DONE
    found = checking.probe_accounts(*given)
    answer(format, lambda: _check_as_json(found), lambda out: _print_check(out, found))
    return found.exit_code


def _print_check(out: Console, found: checking.Check) -> None:
    rows = table("account", "family", "state", "calls a day", "used", texts=3)
    for account in found.accounts:
        label = f"{account.appid} {account.name}".rstrip()
        for finding in account.findings:
            quota = _quota(account, finding)
            rows.add_row(cell(label), finding.family, finding.state.value, *quota)
            label = ""
    out.print(rows)
    _print_reasons(out, found)
    _print_paused(out, found.paused)
    states = ((state, found.count(state)) for state in checking.State)
    counts = ", ".join(f"{number:,} {state.value}" for state, number in states if number)
    out.print(f"\n{_counted(len(found.accounts), 'account')}: {counts}; {found.calls:,} calls")


def _quota(account: checking.AccountCheck, finding: checking.ProbeResult) -> tuple[str, str]:
    """Return the scarcest quota of a family, and how much of it is used."""
    known = [
        allowance
        for name, allowance in account.allowances.items()
        if CATALOGUE[name].family == finding.family
    ]
    if not known:
        return "", ""
    scarcest = min(known, key=lambda allowance: allowance.remain)
    return f"{scarcest.daily_limit:,}", f"{scarcest.used:,}"


def _print_reasons(out: Console, found: checking.Check) -> None:
    """Print each reason once, with the accounts it is about and the remedy."""
    alike: dict[tuple[str, str], list[str]] = {}
    for account in found.accounts:
        for finding in account.findings:
            if finding.state is not checking.State.WORKS:
                alike.setdefault(_reason(finding), []).append(account.appid)
    for reason, appids in alike.items():
        more = f" and {len(appids) - 1:,} more" if appids[1:] else ""
        print_line(out, f"  {appids[0]}{more}: {reason[0]}", gap=True)
        print_line(out, f"    {reason[1]}")


def _print_paused(out: Console, paused: list[checking.AccountCheck]) -> None:
    """Print the paused accounts, those that work again first. They are in no exit code."""
    if paused:
        print_line(out, f"paused, in no exit code: {len(paused):,}", gap=True)
    works = checking.State.WORKS
    lines = []
    for account in sorted(paused, key=lambda account: account.state is not works):
        said = "it works again: take `paused` off"
        if account.state is not works:
            said = "still: " + "; ".join(_reason(finding)[0] for finding in account.findings)
        lines.append(f"{named(account.appid, account.name)}: {inert(account.paused)} ({said})")
    print_lines(out, lines)


def _reason(finding: checking.ProbeResult) -> tuple[str, str]:
    """Return what WeChat or the network answered, without the rid, and its meaning with advice."""
    said = finding.errmsg if finding.errcode is None else f"{finding.errcode} {finding.errmsg}"
    meaning = finding.meaning
    if finding.is_of_account:
        return said, f"{meaning}. {finding.advice}"
    if finding.state is checking.State.REFUSED:
        meaning += f" (permission set {finding.permission_set})"
    return f"{finding.family}: {said}", f"{meaning}. {finding.advice}"


def _check_as_json(found: checking.Check) -> dict[str, object]:
    counts = {state.name.lower(): found.count(state) for state in checking.State}
    paused = [
        {
            "appid": account.appid,
            "name": account.name,
            "reason": account.paused,
            "works_again": account.state is checking.State.WORKS,
            "findings": account.findings,
        }
        for account in found.paused
    ]
    accounts = list(map(_account_as_json, found.accounts))
    return {"accounts": accounts, "paused": paused, **counts, "calls": found.calls}


def _account_as_json(account: checking.AccountCheck) -> dict[str, object]:
    quotas = [
        {
            "dataset": name,
            "daily_limit": quota.daily_limit,
            "used": quota.used,
            "remain": quota.remain,
        }
        for name, quota in account.allowances.items()
    ]
    return {
        "appid": account.appid,
        "name": account.name,
        "authorised": account.is_authorised,
        "findings": account.findings,
        "quotas": quotas,
    }


def _offline(out: Console, sizes: dict[str, int], found: checking.Touched) -> None:
    accounts, jobs = _counted(sizes["accounts"], "account"), _counted(sizes["jobs"], "job")
    out.print(f"{accounts}, {jobs}: no mistakes")
    for what, names in found._asdict().items():
        out.print(f"\n{what}" if names else f"\nno {what}")
        for name in names:
            print_line(out, f"  {inert(str(name))}")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
