"""Descriptions of datasets in words, for the command line and the page docs/datasets.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import resources

from harvester.core.calendar import day_text
from harvester.core.dataset import FINAL_IF_EMPTY, Column, Dataset, Grain

_READY = {
    Grain.DAY: "on the next day",
    Grain.HOUR: "on the next day",
    Grain.WEEK: "on the Monday after the week",
    Grain.MONTH: "on the first day after the month",
}


def facts(dataset: Dataset) -> dict[str, str]:
    """Return the facts about a dataset other than its columns, as label and text."""
    found = {
        "WeChat's name": f"{dataset.api}, permission set {dataset.permission}",
        "unique over": ", ".join(("appid", *dataset.key)),
        "one request": f"asks {_days(dataset.span)} at most",
        "first day": day_text(dataset.first_day),
        "ready": f"at {ready_text(dataset)} in Beijing {_READY[dataset.grain]}",
        "final": final_text(dataset),
        "source": f"{dataset.source} (checked {dataset.checked})",
    }
    if dataset.sparse:
        found["a day without rows"] = "is ordinary, and never called suspicious"
    return found


def ready_text(dataset: Dataset) -> str:
    """Return the time of day from which a period may be asked, such as ``10:00``."""
    return f"{dataset.ready_minutes // 60:02d}:{dataset.ready_minutes % 60:02d}"


def final_text(dataset: Dataset) -> str:
    """Return the condition under which an answer is final."""
    rows = f"when more than {_days(dataset.settle)} old" if dataset.settle else "at once"
    empty = ", without rows by evidence"
    if dataset.settle < FINAL_IF_EMPTY:
        empty += f" when more than {_days(FINAL_IF_EMPTY)} old"
        rows = f"with rows {rows}"
    rows += empty
    return f"{rows}; never while WeChat marks it is_delay" if dataset.may_be_delayed else rows


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


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"
