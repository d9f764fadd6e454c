"""``harvester check``: who works, who does not, and why."""

from __future__ import annotations

import json
from collections.abc import Sized
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harvester import days
from harvester.catalogue import CATALOGUE
from harvester.cli import logs, show, streams
from harvester.cli.options import (
    EVERYTHING,
    PLAINLY,
    Format,
    Logging,
    ManifestPath,
    OkExit,
    Output,
    Selecting,
)
from harvester.errors import Exit
from harvester.manifest import Touched
from harvester.operations import check as checking
from harvester.operations.check import Check, Checked, Finding, State
from harvester.operations.project import ask_wechat, if_heard, open_project
from harvester.operations.runtime import Project


def check(
    manifest: ManifestPath = Path("jobs.yaml"),
    /,
    *,
    selecting: Selecting = EVERYTHING,
    output: Output = None,
    offline: Annotated[
        bool,
        Parameter(
            help="Judge the manifest alone, and list what a run would reach for, by name.",
            env_var="HARVESTER_OFFLINE",
            negative="",
        ),
    ] = False,
    format: Format = "text",
    ok_exit: OkExit = "",
    logging: Logging = PLAINLY,
) -> int:
    """Ask for one token and one cheap call per family of each account.

    Exit codes: 0 all of them work, 2 a mistake in the manifest or the options, 3 some were refused,
    4 no account could be authorised. Keeps WeChat's quota numbers for the next plan.
    """
    del ok_exit  # settled where every verb ends
    logs.set_up(logging)
    authorised = if_heard if offline else ask_wechat
    project = open_project(manifest, selecting.selection(), output, authorised)
    if offline:
        reached = checking.check_offline(project)
        with streams.answering():
            _print_offline(project, reached, format)
        return Exit.DONE
    found = checking.check(project)
    with streams.answering():
        if format == "json":
            print(json.dumps(_as_json(found), indent=2, ensure_ascii=False))
        else:
            _print(show.console(), found)
    return found.exit_code


def _print(out: Console, found: Check) -> None:
    table = Table(box=None)
    for heading in ("account", "family", "state", "calls a day", "used"):
        numeric = heading in ("calls a day", "used")
        table.add_column(heading, no_wrap=True, justify="right" if numeric else "left")
    for account in found.accounts:
        label = f"{account.appid} {account.name}".rstrip()
        for finding in account.findings:
            table.add_row(
                Text(label), finding.family, finding.state.value, *_quota(account, finding)
            )
            label = ""
    out.print(table)
    _print_reasons(out, found)
    states = ((state, found.count(state)) for state in State)
    counts = ", ".join(f"{number:,} {state.value}" for state, number in states if number)
    out.print(f"\n{_many(found.accounts, 'account')}: {counts}; {found.calls:,} calls")


def _quota(account: Checked, finding: Finding) -> tuple[str, str]:
    """The scarcest quota of a family, and how much of it is used."""
    known = [
        allowance
        for name, allowance in account.allowances.items()
        if CATALOGUE[name].family == finding.family
    ]
    if not known:
        return "", ""
    scarcest = min(known, key=lambda allowance: allowance.remain)
    return f"{scarcest.daily_limit:,}", f"{scarcest.used:,}"


def _print_reasons(out: Console, found: Check) -> None:
    """Each reason once, with the accounts it is about and what to do."""
    alike: dict[str, list[str]] = {}
    for account in found.accounts:
        for finding in account.findings:
            if finding.state is not State.WORKS:
                alike.setdefault(_reason(finding), []).append(account.appid)
    for reason, appids in alike.items():
        more = f" and {len(appids) - 1:,} more" if appids[1:] else ""
        out.print(Text(f"\n  {appids[0]}{more}: {reason}"), soft_wrap=True)


def _reason(finding: Finding) -> str:
    """What WeChat or the network said, without the rid, what it means, and what to do."""
    said = finding.errmsg if finding.errcode is None else f"{finding.errcode} {finding.errmsg}"
    meaning = finding.meaning
    if finding.is_of_account:
        return f"{said}\n    {meaning}. {finding.advice}"
    if finding.state is State.REFUSED:
        meaning += f" (permission set {finding.permission_set})"
    return f"{finding.family}: {said}\n    {meaning}. {finding.advice}"


def _as_json(found: Check) -> dict[str, Any]:
    return {
        "accounts": [_account(account) for account in found.accounts],
        "works": found.count(State.WORKS),
        "refused": found.count(State.REFUSED),
        "not_ready": found.count(State.NOT_READY),
        "no_answer": found.count(State.NO_ANSWER),
        "calls": found.calls,
    }


def _account(account: Checked) -> dict[str, Any]:
    return {
        "appid": account.appid,
        "name": account.name,
        "authorised": account.is_authorised,
        "findings": list(map(_finding, account.findings)),
        "quotas": [
            {
                "dataset": dataset,
                "daily_limit": allowance.daily_limit,
                "used": allowance.used,
                "remain": allowance.remain,
            }
            for dataset, allowance in account.allowances.items()
        ],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    day, state = days.day_text(finding.day), finding.state.value
    return {**asdict(finding), "day": day, "state": state}


def _print_offline(project: Project, reached: Touched, form: str) -> None:
    manifest = project.manifest
    named = {
        "variables": list(reached.variables),
        "files": list(map(str, reached.files)),
        "programs": list(reached.programs),
        "hosts": list(reached.hosts),
    }
    if form == "json":
        head = {"accounts": len(manifest.accounts), "jobs": len(manifest.jobs)}
        print(json.dumps({**head, **named}, indent=2, ensure_ascii=False))
        return
    out = show.console()
    accounts, jobs = _many(manifest.accounts, "account"), _many(manifest.jobs, "job")
    out.print(f"{accounts}, {jobs}: no mistakes")
    for what, names in named.items():
        out.print(f"\n{what}" if names else f"\nno {what}")
        for name in names:
            out.print(Text(f"  {name}"), soft_wrap=True)


def _many(things: Sized, noun: str) -> str:
    return f"{len(things):,} {noun}{'' if len(things) == 1 else 's'}"
