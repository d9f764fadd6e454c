"""``harvester forget``: delete for good."""

from __future__ import annotations

from typing import Annotated

from harvester.cli import options
from harvester.cli.output.answers import answer
from harvester.cli.output.terminal import Terminal
from harvester.core.text.wording import counted
from harvester.verbs import forget as forgetting


def forget(
    manifest: options.ManifestPath = options.JOBS,
    /,
    *,
    accounts: Annotated[tuple[str, ...], options.names("HARVESTER_ACCOUNTS")] = (),
    datasets: Annotated[tuple[str, ...], options.names("HARVESTER_DATASETS")] = (),
    before: Annotated[str | None, options.day("HARVESTER_BEFORE")] = None,
    dry_run: Annotated[bool, options.value("HARVESTER_DRY_RUN")] = False,
    output: options.Output = None,
    lock_timeout: options.LockTimeout = None,
    format: options.Format = "text",
) -> None:
    """Delete accounts for good: rows, answers, quarantine and names in records.

    Prints a receipt. Refuses what the manifest still wants, because the next run
    would fetch it again.

    For example:
      harvester forget jobs.yaml --accounts wx0000000000000001 --dry-run

    Exit codes:
      0   deleted
      2   a mistake in the options, or the manifest still wants the days
      75  another run holds the accounts for too long

    Params:
        accounts: Appids, names, tag:NAME, ATTRIBUTE=VALUE or all, separated by commas.
        datasets: Only these datasets: names or globs, separated by commas.
        before: Only the days before this one: 2024-01-31 or -730d.
        dry_run: Show what would be deleted, and change nothing.
    """
    receipt = forgetting.forget(
        manifest,
        accounts=accounts or None,
        datasets=datasets or None,
        before=before,
        dry_run=dry_run,
        output=output,
        lock_timeout=lock_timeout,
    )
    answer(format, receipt.to_dict, lambda out: _print_receipt(out, receipt))


def _print_receipt(out: Terminal, receipt: forgetting.Receipt) -> None:
    until = "" if receipt.before is None else f" before {receipt.before}"
    owners = counted(len(receipt.accounts), "account")
    verb = "would be" if receipt.dry_run else "were"
    out.print(f"of {owners} in {counted(len(receipt.datasets), 'dataset')}{until} {verb} deleted")
    rows = sum(item.rows_before - item.rows_after for item in receipt.rewritten)
    account_days = sum(item.account_days for item in receipt.rewritten)
    removed, damaged = sum(item.removed for item in receipt.rewritten), len(receipt.damaged)
    figures = {
        "rows": f"{rows:,} of {counted(account_days, 'account-day')}",
        "files": f"{len(receipt.rewritten) - removed:,} rewritten, {removed:,} removed",
        "answers": f"{receipt.answers:,} not published yet",
        "quarantine": f"{counted(receipt.quarantined, 'answer')}, {counted(damaged, 'file')}",
        "records": f"{len(receipt.records):,} without the names",
    }
    out.say_pairs(figures)
    if receipt.empty:
        out.print("\nnothing is known of them here")
    elif receipt.dry_run:
        out.print("\nnothing was changed")
    out.say_list("not reached:", receipt.not_reached)
