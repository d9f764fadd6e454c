"""``harvester datasets``: the catalogue."""

from __future__ import annotations

import json
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from harvester.catalogue import CATALOGUE, Dataset, matching
from harvester.cli import show
from harvester.cli.options import Format
from harvester.days import day_text
from harvester.errors import UsageError


def datasets(
    name: Annotated[str | None, Parameter(help="A dataset's name, or WeChat's own.")] = None,
    /,
    *,
    format: Format = "text",
) -> int:
    """List the catalogue, or describe one dataset."""
    chosen = tuple(CATALOGUE.values()) if name is None else matching(name)
    if not chosen:
        raise UsageError(f"there is no dataset {name!r}", f"There are {', '.join(CATALOGUE)}.")
    if format == "json":
        print(json.dumps([_as_json(dataset) for dataset in chosen], indent=2, ensure_ascii=False))
    elif name is None:
        _print_list(chosen)
    else:
        for dataset in chosen:
            _print_one(dataset)
    return 0


def _as_json(dataset: Dataset) -> dict[str, object]:
    return {
        "name": dataset.name,
        "api": dataset.api,
        "path": dataset.path,
        "about": dataset.about,
        "grain": dataset.grain.value,
        "span_days": dataset.span,
        "first_day": day_text(dataset.first_day),
        "ready_at": _clock(dataset),
        "settle_days": dataset.settle,
        "key": ["appid", *dataset.key],
        "columns": [
            {
                "name": column.name,
                "type": column.kind.value,
                "meaning": column.meaning,
                "unit": column.unit,
            }
            for column in dataset.columns
        ],
        "family": dataset.family,
        "permission_set": dataset.permission,
        "source": dataset.source,
        "checked": dataset.checked,
    }


def _clock(dataset: Dataset) -> str:
    return f"{dataset.ready_minutes // 60:02d}:{dataset.ready_minutes % 60:02d}"


def _print_list(chosen: tuple[Dataset, ...]) -> None:
    table = Table("dataset", "days per request", "ready at", "first day", "about", box=None)
    for dataset in chosen:
        table.add_row(
            dataset.name,
            str(dataset.span),
            _clock(dataset),
            day_text(dataset.first_day),
            dataset.about,
        )
    show.console().print(table)


def _print_one(dataset: Dataset) -> None:
    out = show.console()
    out.print(f"{dataset.name}: {dataset.about}\n", style="bold")
    out.print(f"  WeChat's name   {dataset.api} (permission set {dataset.permission})")
    out.print(f"  a request asks  {dataset.span} days at most")
    out.print(f"  first day       {day_text(dataset.first_day)}")
    out.print(f"  ready           {_clock(dataset)} of the next Beijing day")
    out.print(f"  settles         {dataset.settle} days later")
    out.print(f"  unique over     appid, {', '.join(dataset.key)}")
    out.print(f"  source          {dataset.source} (checked {dataset.checked})\n")
    table = Table("column", "type", "meaning", "unit", box=None)
    for column in dataset.columns:
        table.add_row(column.name, column.kind.value, column.meaning, column.unit)
    out.print(table)
