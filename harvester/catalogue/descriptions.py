"""Descriptions of datasets in words, for the command line and the page docs/datasets.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import resources

from harvester.core.calendar import clock_text, day_text
from harvester.core.dataset import Column, Dataset, Grain
from harvester.core.text.wording import Message, counted, said

_WHEN = {
    Grain.DAY: "on the next day",
    Grain.HOUR: "on the next day",
    Grain.WEEK: "on the Monday after the week",
    Grain.MONTH: "on the first day after the month",
}


def facts(dataset: Dataset) -> dict[str, str]:
    """Return the facts about a dataset other than its columns, as label and text."""
    time, when = clock_text(dataset.ready_minutes), said(_WHEN[dataset.grain])
    days = counted(dataset.span, "day")
    found: dict[str, str] = {
        said("WeChat's name"): said(
            "{api}, permission set {permission}", api=dataset.api, permission=dataset.permission
        ),
        said("unique over"): ", ".join(("appid", *dataset.key)),
        said("one request"): said("asks {days} at most", days=days),
        said("first day"): day_text(dataset.first_day),
        said("ready"): said("at {time} in Beijing {when}", time=time, when=when),
        said("final"): final_text(dataset),
        said("source"): said("{page} (checked {day})", page=dataset.source, day=dataset.checked),
    }
    if dataset.sparse:
        found[said("a day without rows")] = said("is ordinary, and never called suspicious")
    return found


def final_text(dataset: Dataset) -> Message:
    """Return the condition under which an answer is final."""
    rows = said("at once")
    if dataset.settle:
        rows = said("when more than {days} old", days=counted(dataset.settle, "day"))
    found = said("{rows}, without rows by two answers", rows=rows)
    never = "{final}; later while WeChat marks it is_delay"
    return said(never, final=found) if dataset.may_be_delayed else found


def queries(dataset: Dataset) -> list[str]:
    """Return the queries over the dataset's files: the example, and the check if there is one."""
    file = resources.files("harvester.catalogue") / "examples" / f"{dataset.name}.sql"
    # A blank line stands between two queries and nowhere else.
    return file.read_text("utf-8").rstrip().split("\n\n")


def members(columns: Iterable[Column]) -> Iterator[tuple[str, Column]]:
    """Yield each column with its name, followed by its list members as ``list[].member``."""
    for column in columns:
        yield column.name, column
        for name, field in members(column.fields):
            yield f"{column.name}[].{name}", field
