"""``harvester datasets``: the catalogue."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from harvester.catalogue import languages, matching, unknown_dataset
from harvester.catalogue.descriptions import facts, members, queries
from harvester.catalogue.languages import Language
from harvester.cli.options import Format, Lang, language_of
from harvester.cli.output.answers import answer
from harvester.cli.output.table_layout import Own, TableColumn
from harvester.cli.output.terminal import Terminal
from harvester.core.calendar import clock_text, day_text
from harvester.core.dataset import Column, Dataset
from harvester.core.errors import UsageError
from harvester.core.text.inert_text import inert
from harvester.core.text.wording import entry, said


def datasets(
    name: str | None = None,
    /,
    *,
    # Without a variable: HARVESTER_OUTPUT is set for runs, and the catalogue is the same for all.
    output: str | None = None,
    format: Format = "text",
    lang: Lang = None,
) -> None:
    """List the catalogue, or describe one dataset.

    A description has the columns, codes and times, and an example query.

    For example:
      harvester datasets interface_summary
      harvester datasets --output output

    Exit codes:
      0   printed
      1   the output cannot be read
      2   there is no such dataset
      75  an object store is away, or refuses: run again

    Params:
        name: A dataset's name, WeChat's own name, or a glob.
        output: Only datasets of which this output has rows: a directory or s3://…, gs://…, az://….
    """
    pattern = "all" if name is None else name
    found = matching(pattern)
    if not found:
        raise UsageError(*unknown_dataset(pattern))
    if output is not None:
        # Loaded only here: the catalogue alone needs no Arrow.
        from harvester.verbs.project import datasets_of  # noqa: PLC0415 - as the line above says

        there = datasets_of(output)
        found = tuple(dataset for dataset in found if dataset.name in there)
        if not found:
            problem = f"{inert(output)}: `{inert(pattern)}` was not harvested here"
            raise UsageError(problem, f"it has {', '.join(there) or 'no dataset'}")
    language = language_of(lang, format)
    chosen = [languages.dataset_in(dataset, language) for dataset in found]

    def show(out: Terminal) -> None:
        if name is None:
            out.say_table(_CATALOGUE, chosen)
        else:
            _print_descriptions(out, chosen, language)

    answer(format, lambda: [_dataset_as_json(each, language) for each in chosen], show, language)


def _dataset_as_json(dataset: Dataset, language: Language) -> dict[str, object]:
    return {
        "name": dataset.name,
        "label": languages.dataset_label(dataset.name, language),
        "api": dataset.api,
        "path": dataset.path,
        "about": dataset.description,
        "family": dataset.family,
        "permission_set": dataset.permission,
        "grain": dataset.grain.value,
        "span_days": dataset.span,
        "first_day": day_text(dataset.first_day),
        "ready_at": clock_text(dataset.ready_minutes),
        "settle_days": dataset.settle,
        "may_be_delayed": dataset.may_be_delayed,
        "sparse": dataset.sparse,
        "nesting": dataset.nesting.value,
        "inside": dataset.nested_field,
        "key": ["appid", *dataset.key],
        "columns": [_column_as_json(dataset.name, column, language) for column in dataset.columns],
        "notes": list(dataset.notes),
        "example": queries(dataset)[0],
        "check_query": "".join(queries(dataset)[1:]),
        "source": dataset.source,
        "checked": dataset.checked,
    }


def _column_as_json(dataset: str, column: Column, language: Language) -> dict[str, object]:
    return {
        "name": column.name,
        "label": languages.column_label(dataset, column.name, language),
        "type": column.kind.value,
        "meaning": column.meaning,
        "unit": column.unit,
        "nested": column.nested,
        "promised": column.required,
        "labels": {str(code): label for code, label in column.labels.items()},
        "fields": [_column_as_json(dataset, field, language) for field in column.fields],
    }


_CATALOGUE: Sequence[TableColumn[Dataset]] = (
    TableColumn("dataset", lambda dataset: dataset.name, "code"),
    TableColumn("span", lambda dataset: dataset.span, rank=1),
    TableColumn("first day", lambda dataset: day_text(dataset.first_day), "code", rank=2),
    TableColumn("about", lambda dataset: dataset.description, "text", least=24),
)
"""The span is the number of days that a request may ask for."""

_MEMBERS: Sequence[TableColumn[tuple[str, Column]]] = (
    TableColumn("column", lambda member: Own(member[0]), "code"),
    TableColumn("type", lambda member: Own(member[1].kind.value), "code"),
    TableColumn("unit", lambda member: Own(member[1].unit), "code"),
    TableColumn("meaning", lambda member: Own(member[1].meaning), "text", least=24),
)


def _print_descriptions(out: Terminal, chosen: Sequence[Dataset], language: Language) -> None:
    for dataset in chosen:
        out.say(entry(dataset.name, dataset.description), style="heading")
        out.print()
        label = languages.dataset_label(dataset.name, language)
        out.say_pairs({said("label"): label, **facts(dataset)})
        out.print()
        columns = list(members(dataset.columns))
        out.say_table(_MEMBERS, columns)
        for name, column in columns:
            if column.labels:
                out.say(name, gap=True)
                out.say_pairs({str(code): label for code, label in column.labels.items()})
        out.print()
        for note in dataset.notes:
            out.say(said("note: {note}", note=note))
        for query in queries(dataset):
            # Whole, because it is to be copied.
            out.print(Text(f"\n{query}\n"), soft_wrap=True)
