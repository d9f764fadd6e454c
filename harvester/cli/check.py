"""``harvester check``: who works, who does not, and why."""

from __future__ import annotations

import json
import logging as log
from collections.abc import Callable, Sized
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harvester import days, progress
from harvester.check import Check, Checked, Finding, State, keep
from harvester.check import check as look
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
from harvester.cli.platform import PlatformAtHand
from harvester.cli.project import (
    Project,
    if_heard,
    open_project,
    steady_clock,
    warn_of_open_files,
)
from harvester.cli.run import credentials, reach
from harvester.core.config import Manifest
from harvester.errors import Exit, StoreError
from harvester.fetch import Refused
from harvester.manifest import Touched, touched
from harvester.run import World
from harvester.wire import Refusal

_LOG = log.getLogger(__name__)


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
    now = steady_clock()
    platform = PlatformAtHand(now)
    authorised = if_heard if offline else platform.authorised
    project = open_project(manifest, selecting, output, now(), authorised)
    warn_of_open_files(project.manifest)
    if offline:
        with streams.answering():
            _print_offline(project, touched(project.manifest), format)
        return Exit.DONE
    found = look(project.manifest, _world(project.manifest, platform, now))
    _keep(project, found, now())
    with streams.answering():
        if format == "json":
            print(json.dumps(_as_json(found), indent=2, ensure_ascii=False))
        else:
            _print(show.console(), found)
    return found.exit_code


def _world(manifest: Manifest, platform: PlatformAtHand, now: Callable[[], float]) -> World:
    return World(
        now=now,
        reach=partial(reach, manifest, now),
        credentials=credentials(manifest),
        watch=progress.show_nothing,
        platform=platform.needed_by(manifest),
    )


def _keep(project: Project, found: Check, now: float) -> None:
    try:
        keep(found, project.manifest, project.tree, now)
    except StoreError as error:
        _LOG.warning("what this look cost, and what it told of quotas, is not kept: %s", error)


def _print(out: Console, found: Check) -> None:
    table = Table(box=None)
    for heading in ("account", "family", "state", "calls a day", "used"):
        numeric = heading in ("calls a day", "used")
        table.add_column(heading, no_wrap=True, justify="right" if numeric else "left")
    for account in found.accounts:
        label = f"{account.appid} {account.name}".rstrip()
        for finding in account.findings:
            table.add_row(
                Text(label), _whose(finding), finding.state.value, *_quota(account, finding)
            )
            label = ""
    out.print(table)
    _print_reasons(out, found)
    states = ((state, found.count(state)) for state in State)
    counts = ", ".join(f"{number:,} {state.value}" for state, number in states if number)
    out.print(f"\n{_many(found.accounts, 'account')}: {counts}; {found.calls:,} calls")


def _whose(finding: Finding) -> str:
    return "all" if finding.is_of_account else finding.probe.dataset.family


def _quota(account: Checked, finding: Finding) -> tuple[str, str]:
    """The scarcest quota of a family, and how much of it is used."""
    names = [dataset.name for dataset in finding.probe.stands_for]
    known = [account.allowances[name] for name in names if name in account.allowances]
    if not known:
        return "", ""
    scarcest = min(known, key=lambda allowance: allowance.remain)
    return f"{scarcest.daily_limit:,}", f"{scarcest.used:,}"


def _print_reasons(out: Console, found: Check) -> None:
    """Each reason once, with the accounts it is about and what to do."""
    alike: dict[str, list[str]] = {}
    for account in found.accounts:
        for finding in account.findings:
            if finding.refused is not None:
                alike.setdefault(_reason(finding, finding.refused), []).append(account.appid)
    for reason, appids in alike.items():
        more = f" and {len(appids) - 1:,} more" if appids[1:] else ""
        out.print(Text(f"\n  {appids[0]}{more}: {reason}"), soft_wrap=True)


def _reason(finding: Finding, refused: Refused) -> str:
    """What WeChat or the network said, without the rid, what it means, and what to do."""
    why = refused.why
    said = f"{why.errcode} {why.errmsg}" if isinstance(why, Refusal) else why
    dataset = finding.probe.dataset
    meaning = refused.rule.meaning
    if finding.is_of_account:
        return f"{said}\n    {meaning}. {refused.rule.advice}"
    if finding.state is State.REFUSED:
        meaning += f" (permission set {dataset.permission})"
    return f"{dataset.family}: {said}\n    {meaning}. {refused.rule.advice}"


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
    probe, refused = finding.probe, finding.refused
    why = refused.why if refused is not None else ""
    return {
        "family": _whose(finding),
        "permission_set": probe.dataset.permission,
        "dataset": probe.dataset.name,
        "day": days.day_text(probe.window.begin),
        "state": finding.state.value,
        "errcode": why.errcode if isinstance(why, Refusal) else None,
        "errmsg": why.errmsg if isinstance(why, Refusal) else why,
        "rid": why.rid if isinstance(why, Refusal) else "",
        "meaning": refused.rule.meaning if refused is not None else "",
        "advice": refused.rule.advice if refused is not None else "",
    }


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
