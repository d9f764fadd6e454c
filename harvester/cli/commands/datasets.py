"""``harvester datasets``: the catalogue."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harvester.catalogue import CATALOGUE, matching, retirement
from harvester.catalogue.markdown import facts, members, queries, ready_text
from harvester.cli.options import Format
from harvester.cli.output.answers import answer
from harvester.core.calendar import day_text
from harvester.core.dataset import Column, Dataset
from harvester.core.errors import UsageError
from harvester.core.inert_text import inert


def datasets(name: str | None = None, /, *, format: Format = "text") -> int:
    """List the catalogue, or describe one dataset.

    A description has the columns, codes and times, and an example query.

    For example:
      harvester datasets interface_summary

    Exit codes:
      0   printed
      2   there is no such dataset

    Params:
        name: A dataset's name, WeChat's own name, or a glob.
    """
    pattern = "all" if name is None else name
    chosen = matching(pattern)
    if not chosen:
        unknown = f"there is no dataset '{inert(pattern)}'", f"There are {', '.join(CATALOGUE)}."
        raise UsageError(*(retirement(pattern) or unknown))
    show = _print_list if name is None else _print_descriptions
    answer(format, lambda: list(map(_dataset_as_json, chosen)), lambda out: show(out, chosen))
    return 0


def _dataset_as_json(dataset: Dataset) -> dict[str, object]:
    return {
        "name": dataset.name,
        "api": dataset.api,
        "path": dataset.path,
        "about": dataset.description,
        "family": dataset.family,
        "permission_set": dataset.permission,
        "grain": dataset.grain.value,
        "span_days": dataset.span,
        "first_day": day_text(dataset.first_day),
        "ready_at": ready_text(dataset),
        "settle_days": dataset.settle,
        "may_be_delayed": dataset.may_be_delayed,
        "sparse": dataset.sparse,
        "nesting": dataset.nesting.value,
        "inside": dataset.nested_field,
        "key": ["appid", *dataset.key],
        "columns": [_column_as_json(column) for column in dataset.columns],
        "notes": list(dataset.notes),
        "example": dataset.example,
        "check_query": dataset.check_query,
        "source": dataset.source,
        "checked": dataset.checked,
    }


def _column_as_json(column: Column) -> dict[str, object]:
    return {
        "name": column.name,
        "type": column.kind.value,
        "meaning": column.meaning,
        "unit": column.unit,
        "nested": column.nested,
        "promised": column.required,
        "labels": {str(code): label for code, label in column.labels.items()},
        "fields": [_column_as_json(field) for field in column.fields],
    }


def _print_list(out: Console, chosen: Sequence[Dataset]) -> None:
    table = Table("dataset", "days per request", "first day", "about", box=None)
    table.columns[1].justify = "right"
    for dataset in chosen:
        table.add_row(
            dataset.name, str(dataset.span), day_text(dataset.first_day), dataset.description
        )
    out.print(table)


def _print_descriptions(out: Console, chosen: Sequence[Dataset]) -> None:
    for dataset in chosen:
        out.print(f"{dataset.name}: {dataset.description}\n", style="bold")
        for label, text in facts(dataset).items():
            out.print(Text(f"  {label:<15}{text}"), soft_wrap=True)
        out.print()
        out.print(_columns(dataset))
        for name, column in members(dataset.columns):
            if column.labels:
                codes = Table(name, "", box=None)
                for code, label in column.labels.items():
                    codes.add_row(str(code), label)
                out.print()
                out.print(codes)
        out.print()
        for note in dataset.notes:
            out.print(Text(f"note: {note}"))
        for query in queries(dataset):
            out.print(Text(f"\n{query}\n"), soft_wrap=True)


def _columns(dataset: Dataset) -> Table:
    table = Table("column", "type", "meaning", "unit", box=None)
    for name, column in members(dataset.columns):
        table.add_row(Text(name), Text(column.kind.value), Text(column.meaning), Text(column.unit))
    return table
