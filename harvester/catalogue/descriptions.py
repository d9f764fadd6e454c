"""Descriptions of datasets in words, for the command line and the page docs/datasets.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from importlib import resources

from harvester.catalogue.languages import Language, translated
from harvester.core.calendar import day_text
from harvester.core.dataset import FINAL_IF_EMPTY, Column, Dataset, Grain

_WHEN = {
    Grain.DAY: "on the next day",
    Grain.HOUR: "on the next day",
    Grain.WEEK: "on the Monday after the week",
    Grain.MONTH: "on the first day after the month",
}


def facts(dataset: Dataset, language: Language = "en") -> dict[str, str]:
    """Return the facts about a dataset other than its columns, as label and text."""
    say = partial(translated, language=language)
    when, days = say(_WHEN[dataset.grain]), _days(dataset.span, language)
    found = {
        "WeChat's name": say(
            "{api}, permission set {permission}", api=dataset.api, permission=dataset.permission
        ),
        "unique over": ", ".join(("appid", *dataset.key)),
        "one request": say("asks {days} at most", days=days),
        "first day": day_text(dataset.first_day),
        "ready": say("at {time} in Beijing {when}", time=ready_text(dataset), when=when),
        "final": final_text(dataset, language),
        "source": say("{page} (checked {day})", page=dataset.source, day=dataset.checked),
    }
    if dataset.sparse:
        found["a day without rows"] = say("is ordinary, and never called suspicious")
    return {say(label): text for label, text in found.items()}


def ready_text(dataset: Dataset) -> str:
    """Return the time of day from which a period may be asked, such as ``10:00``."""
    return f"{dataset.ready_minutes // 60:02d}:{dataset.ready_minutes % 60:02d}"


def final_text(dataset: Dataset, language: Language = "en") -> str:
    """Return the condition under which an answer is final."""
    say = partial(translated, language=language)
    rows = say("at once")
    if dataset.settle:
        rows = say("when more than {days} old", days=_days(dataset.settle, language))
    if dataset.settle < FINAL_IF_EMPTY:
        found = say(
            "with rows {rows}, without rows by evidence when more than {days} old",
            rows=rows,
            days=_days(FINAL_IF_EMPTY, language),
        )
    else:
        found = say("{rows}, without rows by evidence", rows=rows)
    never = "{final}; never while WeChat marks it is_delay"
    return say(never, final=found) if dataset.may_be_delayed else found


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


def _days(count: int, language: Language) -> str:
    return translated("1 day" if count == 1 else "{count} days", language, count=count)
