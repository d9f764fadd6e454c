"""``harvester status``: coverage, gaps, quarantine and the last runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from rich.console import Console

from harvester.cli import options
from harvester.cli.output import status_tables
from harvester.cli.output.account_tables import accounts_csv, datasets_csv, print_accounts
from harvester.cli.output.answers import answer, print_paused
from harvester.core.exit_codes import Exit
from harvester.verbs import status as surveying
from harvester.verbs.status import Status

StatusFormat: TypeAlias = Annotated[
    Literal["text", "json", "csv"],
    options.value("HARVESTER_FORMAT", help="The format of stdout; csv has the rows alone."),
]


def status(
    manifest: options.ManifestPath = Path("jobs.yaml"),
    /,
    *,
    selecting: options.Selecting = options.ALL,
    output: options.Output = None,
    require: Annotated[str | None, options.day("HARVESTER_REQUIRE")] = None,
    final: Annotated[bool, options.flag("HARVESTER_FINAL")] = False,
    by: Annotated[Literal["account", "dataset"], options.value("HARVESTER_BY")] = "dataset",
    incomplete: Annotated[bool, options.flag("HARVESTER_INCOMPLETE")] = False,
    owners: Annotated[bool, options.flag("HARVESTER_OWNERS")] = False,
    format: StatusFormat = "text",
    _ok_exit: options.OkExit = "",
) -> int:
    """Show coverage, gaps, quarantine and the last runs.

    Reads the files alone, asks nothing and needs no secret.

    For example:
      harvester status jobs.yaml --require yesterday

    Exit codes:
      0   shown; with --require: every day up to that one has an answer
      2   a mistake in the manifest or the options
      3   with --require: days are missing, and none of them comes by itself
      75  with --require: days are missing that a run can still obtain

    Params:
        require: Be a gate for every day up to this one: yesterday (the newest ready day),
            2024-01-31 or -30d.
        final: With --require: a provisional answer is not enough.
        by: One row a dataset, or one row an account, the worst first.
        incomplete: Only accounts or datasets of which a usable answer is missing.
        owners: Also list which run holds which bucket, and since when.
    """
    given = selecting.given()
    found = surveying.status(
        manifest, output=output, require=require, final=final, owners=owners, **given
    )
    shown = _incomplete(found) if incomplete else found
    if format == "csv":
        as_csv = accounts_csv if by == "account" else datasets_csv
        answer("text", lambda: None, lambda _: print(as_csv(shown), end=""))
    else:
        show = _show_accounts if by == "account" else status_tables.print_status
        answer(format, shown.to_dict, lambda out: show(out, shown))
    return found.gate.exit_code if found.gate else Exit.DONE


def _show_accounts(out: Console, found: Status) -> None:
    print_accounts(out, found.accounts)
    rows = {account.appid for account in found.accounts}
    print_paused(out, [account for account in found.paused if account.appid not in rows])
    status_tables.print_owners(out, found)
    if found.gate is not None:
        status_tables.print_gate(out, found.gate)


def _incomplete(found: Status) -> Status:
    """Leave out the accounts and datasets with nothing missing."""
    return replace(
        found,
        datasets=tuple(row for row in found.datasets if row.days.missing or row.days.quarantined),
        accounts=tuple(account for account in found.accounts if account.is_incomplete),
    )
