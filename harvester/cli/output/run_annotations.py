"""Texts of the annotations that show on a runner's page what a person must see of a run."""

from __future__ import annotations

from collections.abc import Iterator

from harvester.cli.output import attention_lines
from harvester.cli.output.attention_lines import alike, attention_line, days_missing
from harvester.core.text.wording import counted
from harvester.runs.record.attention import ENDS_EARLY
from harvester.runs.record.events import cause_of
from harvester.runs.record.expectations import CAUSE
from harvester.runs.record.record import Record


def annotations_of_run(done: Record) -> Iterator[tuple[str, str]]:
    """Yield the level and the text of each annotation, one for each cause.

    What needs a person is an error. What ended the run early and passes by itself is a warning:
    neither a spent quota nor a day to come. The command itself tells the error that ended it.
    """
    told = {cause_of(done.failed)} if done.failed else set[str]()
    found = [item for item in done.attention if item.cause not in told]
    for items in alike(found, attention_lines.cause_of):
        days = counted(days_missing(done, items).total(), "account-day")
        lack = "" if items[0].cause == CAUSE else f"{days} missing: "
        yield "error", f"{attention_line(items)}: {lack}{items[0].advice}"
    told |= {item.cause for item in found}
    for reason in sorted({*ENDS_EARLY, "deferred"} & {*done.reasons()} - told):
        accounts = counted(len({row.appid for row in done.accounts if row.days.missing}), "account")
        days = counted(done.missing, "account-day")
        yield "warning", f"{reason}: {accounts}, {days} missing. A later run goes on by itself."
