"""Check of the catalogue against WeChat itself.

``python -m tools.live_check MANIFEST ACCOUNT`` makes some twenty calls with the credential that the
manifest has for an account (an appid, or a unique name), and prints a report as JSON: the members
of each answer and their types, refusals, the quota, and where they are not as the catalogue says.
The report has no value, no name, no appid and no id, and can be sent. All calls only read; no
quota is reset and no token is ended. Exit codes:

  0   all is as the catalogue says
  2   a mistake in the arguments or the manifest
  3   there are differences
  4   the account was refused
  75  some calls were not answered
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import harvester
from harvester.core import calendar
from harvester.core.config.settings import Account, Manifest
from harvester.core.errors import HarvesterError, Unauthorised, UsageError
from harvester.core.exit_codes import Exit
from harvester.core.model import ReportedQuota
from harvester.core.rule import Scope
from harvester.engine.lone_calls import LoneCalls
from harvester.manifest.narrowing import Selection
from harvester.runs.access import open_line, run_context
from harvester.runs.event_loop import run_in_loop
from harvester.runs.runtime import RunContext
from harvester.verbs.project import open_project
from tools.live_check.calls import Purpose, calls
from tools.live_check.comparison import Finding, finding_of
from tools.live_check.shapes import without_ids


class Heard(NamedTuple):
    """The findings, and the quota of a dataset, None if WeChat did not tell it."""

    findings: list[Finding]
    quota: ReportedQuota | None


def main(arguments: Sequence[str]) -> Exit:
    """Run the check that the arguments name, print its report, and return the exit code."""
    if len(arguments) != 2:
        sys.stderr.write(f"{__doc__}")
        return Exit.USAGE
    try:
        heard, checked_on = check(*arguments)
    except HarvesterError as error:
        sys.stderr.write(f"{error.problem}\n{error.advice}\n")
        return Exit.USAGE if isinstance(error, UsageError) else Exit.UNAUTHORISED
    sys.stdout.write(json.dumps(report(heard, checked_on), indent=1, ensure_ascii=False) + "\n")
    return exit_code(heard.findings)


def check(manifest: str, account: str) -> tuple[Heard, str]:
    """Ask WeChat; return what was heard and the day in Beijing.

    Raises UsageError for mistakes, and Unauthorised if no token is to be had.
    """
    with tempfile.TemporaryDirectory() as folder:
        # The output of the manifest is neither read nor written.
        project = open_project(manifest, Selection(accounts=(account,)), folder)
    if len(project.manifest.accounts) != 1:
        raise UsageError("more than one account", "name one by its appid")
    context = run_context(project)
    one = project.manifest.accounts[0]
    heard = run_in_loop(partial(_hear, project.manifest, context, one))
    return heard, calendar.day_text(calendar.today(context.clock()))


async def _hear(manifest: Manifest, context: RunContext, account: Account) -> Heard:
    found = []
    async with open_line(context) as (transport, tokens, _):
        asked = LoneCalls(transport, tokens, manifest, context.clock)
        for call in calls(account.appid, manifest.datasets, context.clock()):
            outcome = await asked.few(partial(asked.attempt, call.window, call.dataset))
            if not isinstance(outcome, bytes) and outcome.rule.scope is Scope.ACCOUNT:
                # All other calls would say the same.
                raise Unauthorised(without_ids(str(outcome.why)), outcome.rule.advice)
            found.append(finding_of(call, outcome))
        quota = await asked.ask_quota(account.appid, manifest.datasets["interface_summary"])
    return Heard(found, quota)


def report(heard: Heard, checked_on: str) -> dict[str, Any]:
    """Return the report, with no value of the account."""
    lacking = [each for each in heard.findings if each.differences]
    told = heard.quota
    return {
        "report_version": 1,
        "harvester_version": harvester.__version__,
        "checked_on": checked_on,
        "calls": len(heard.findings) + 1,
        "differences": [
            f"{each.call.dataset.api}, {each.call.purpose.value}: {text}"
            for each in lacking
            for text in each.differences
        ],
        "spans": {
            each.call.dataset.name: each.call.dataset.span
            for each in heard.findings
            if each.call.purpose is Purpose.ANSWER and each.shape
        },
        "quota": None if told is None else {"daily_limit": told.daily_limit, "fits": _fits(told)},
        "findings": [each.to_dict() for each in heard.findings],
    }


def _fits(told: ReportedQuota) -> bool:
    """Return whether what is used and what remains make the limit."""
    return told.used + told.remain == told.daily_limit


def exit_code(findings: Sequence[Finding]) -> Exit:
    """Return the exit code: what is not answered counts before what differs."""
    if not all(each.is_answered for each in findings):
        return Exit.AGAIN
    return Exit.INCOMPLETE if any(each.differences for each in findings) else Exit.DONE


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.exit(main(sys.argv[1:]))
