"""Definitions of the views: datasets with names and labels, the tables beside them, and reports.

The reports are SQL that both engines take, in files beside this one; ``words.json`` has the words
that are not in the catalogue. A pair of words is in English and Chinese.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from string import Template
from typing import Any, TypeAlias

import pyarrow as pa

from harvester.catalogue import CATALOGUE
from harvester.catalogue.descriptions import members
from harvester.catalogue.languages import Language, column_label, dataset_in, dataset_label
from harvester.core.dataset import Column, Dataset, Grain
from harvester.storage.derived.derived_files import SCHEMAS as TABLES
from harvester.tables.columns import arrow_schema
from harvester.verbs.changes import ALL_CHANGES, ChosenChanges
from harvester.verbs.sql.dialects import Dialect, View

_Columns: TypeAlias = dict[str, tuple[str, str]]
"""Columns of a view with their expressions and comments."""

_EVENTS = {"new_user", "cancel_user"}
"""Counts of people that add up over days, because each is an event."""

_DERIVED = {
    "net_user": ("new_user - cancel_user", {"new_user", "cancel_user"}),
    "fail_share": ("fail_count / nullif(callback_count, 0)", {"fail_count"}),
    "average_ms": ("total_time_cost / nullif(callback_count, 0)", {"total_time_cost"}),
}
"""Columns that are easily computed wrongly, for datasets that have all of some columns."""


_PERIODS = [name for name, each in CATALOGUE.items() if each.grain in (Grain.WEEK, Grain.MONTH)]
_IS_PERIOD = f"dataset in {tuple(_PERIODS)}"
_LAST_DAY = f"case when {_IS_PERIOD} then begin_date else end_date end"
"""The last day of a range of `coverage`; that of a week or a month is the day of its rows."""


@dataclass(frozen=True)
class Views:
    """The views of an output in a dialect, of what is ``chosen`` of it.

    ``base`` is the address of the output, whose chosen folders ``present`` have files. ``schema``
    begins the names of the views. Each of the ``attributes`` of accounts has a column.
    """

    dialect: Dialect
    schema: str
    base: str
    present: Collection[str]
    attributes: Collection[str] = ()
    chosen: ChosenChanges = ALL_CHANGES

    def script(self) -> str:
        """Return the statements that create all views; each replaces an older one."""
        return "".join(f"{statement};\n\n" for statement in self._statements() if statement)

    def _statements(self) -> Iterator[str]:
        yield self.dialect.start.format(self.dialect.quoted(self.schema))
        for view in self._views():
            yield from self.dialect.statements(self.schema, view)
        yield self.dialect.function.format(self._name("coverage_on"), self._name("coverage"))

    def _views(self) -> Iterator[View]:
        yield from map(self._table, TABLES)
        yield from map(self._dataset, CATALOGUE.values())
        for name in _words()["reports"]:
            yield from (self._report(name, "en"), self._report(name, "zh"))
        columns = {name: comment_of(name) for name in ("dataset", "newest_complete_day")}
        query = self._query("newest_complete_day")
        yield View("newest_complete_day", columns["newest_complete_day"], columns, query)

    def _name(self, view: str) -> str:
        return self.dialect.view(self.schema, view)

    def _rows(self, folder: str) -> str:
        """Return the chosen rows of a folder as a table."""
        schema = TABLES.get(folder) or arrow_schema(CATALOGUE[folder])
        if by_month := folder == "coverage" or folder in CATALOGUE:
            schema = schema.append(pa.field("ref_month", pa.string()))
        if folder not in self.present:
            return self.dialect.no_rows(schema)
        rows = self.dialect.rows(f"{self.base}/{folder}", by_month=by_month)
        conditions = " and ".join(self._conditions(folder, schema.names))
        # Names of columns and texts that are quoted.
        return f"(select * from {rows} where {conditions})" if conditions else rows  # noqa: S608

    def _conditions(self, folder: str, names: Sequence[str]) -> Iterator[str]:
        chosen, by_month = self.chosen, "ref_month" in names
        for name, values in (("appid", chosen.appids), ("dataset", chosen.datasets)):
            if values is not None and name in names:
                yield f"{name} in ({', '.join(map(self.dialect.text, sorted(values)))})"
        late, early = (_LAST_DAY, "begin_date") if folder == "coverage" else ["ref_date"] * 2
        if by_month and chosen.begin_date:
            yield f"{late} >= date '{chosen.begin_date}' and ref_month >= '{chosen.begin_date[:7]}'"
        if by_month and chosen.end_date != ALL_CHANGES.end_date:
            yield f"{early} <= date '{chosen.end_date}' and ref_month <= '{chosen.end_date[:7]}'"

    def _labels(self) -> dict[str, str]:
        """Return the columns with names, tags and attributes of accounts, and their expressions."""
        found = defaultdict[str, list[str]](list)
        for name in sorted(filter(str.isprintable, self.attributes), key=str.swapcase):
            # Names of columns ignore case in both engines: small letters come first.
            text = self.dialect.text(name)
            found[f"account_{name}".lower()].append(f"attributes[{text}]")
        own = {"account_name": "name", "account_tags": "tags"}
        return own | {name: f"coalesce({', '.join(each)})" for name, each in found.items()} | own

    def _grouped(self, labels: Mapping[str, str]) -> str:
        """Return the columns of labels in a table that is grouped by account."""
        # The largest, because in Spark any value may be null.
        found = (f"max({how}) as {self.dialect.quoted(name)}" for name, how in labels.items())
        return ", ".join(found)

    def _plain(self, names: Sequence[str], table: str = "d") -> _Columns:
        return {name: (f"{table}.{self.dialect.quoted(name)}", comment_of(name)) for name in names}

    def _table(self, name: str) -> View:
        columns = self._plain(TABLES[name].names)
        if name == "coverage":
            columns |= self._plain([*self._labels()], "a") | self._plain(["ref_month"])
            # Ranges that lie across an end of the chosen days have only the chosen ones: a period
            # is whole.
            if self.chosen.begin_date:
                cut = f"greatest(d.begin_date, date '{self.chosen.begin_date}')"
                columns["begin_date"] = cut, comment_of("begin_date")
            if self.chosen.end_date != ALL_CHANGES.end_date:
                cut = f"least(d.end_date, date '{self.chosen.end_date}')"
                cut = f"case when {_IS_PERIOD} then d.end_date else {cut} end"
                columns["end_date"] = cut, comment_of("end_date")
        file = "coverage" if name == "coverage" else "table"
        return self._view(name, about_table(name), columns, file)

    def _dataset(self, dataset: Dataset) -> View:
        columns = self._plain(["appid"]) | self._plain([*self._labels()], "a")
        for column in dataset.columns:
            columns |= self._column(dataset, column)
        for added, (how, needed) in _DERIVED.items():
            if needed <= columns.keys():
                columns[added] = how, comment_of(added)
        provisional = "coalesce(array_contains(a.days, d.ref_date), false)"
        columns["provisional"] = provisional, comment_of("provisional")
        columns |= self._plain(["_fetched_at", "_run_id", "_extra", "ref_month"])
        about = " ".join((f"{dataset.description}.", *dataset.notes))
        label = dataset_label(dataset.name, "zh")
        return self._view(dataset.name, f"{label}: {about}", columns, "dataset")

    def _view(self, name: str, comment: str, columns: _Columns, file: str) -> View:
        """Return the view of a folder."""
        selected = ",\n    ".join(expression for expression, _ in columns.values())
        query = self._query(
            file, columns=selected, rows=self._rows(name), dataset=self.dialect.text(name)
        )
        return View(name, comment, {each: about for each, (_, about) in columns.items()}, query)

    def _column(self, dataset: Dataset, column: Column) -> _Columns:
        """Return a column of a dataset, and the labels of its codes."""
        name, zh = column.name, column_label(dataset.name, column.name, "zh")
        value = f"d.{self.dialect.quoted(name)}"
        found = {name: (value, f"{zh}: {meaning_of(column, 'en')}")}
        for language in ("en", "zh") if column.labels else ():
            label = self._label(dataset, name, value, language)
            about = f"{zh}: label of {name} ({language}), null of an unknown code"
            found[f"{name}_label_{language}"] = label, about
        return found

    def _label(self, dataset: Dataset, name: str, value: str, language: Language) -> str:
        """Return the label of a code as an expression."""
        text = self.dialect.text
        cases = (
            f"when {code if isinstance(code, int) else text(code)} then {text(label)}"
            for code, label in _columns_of(dataset.name, language)[name].labels.items()
        )
        return f"case {value} {' '.join(cases)} end"

    def _report(self, name: str, language: Language) -> View:
        """Return a report whose names, labels and comments are in a language."""
        about = _words()["reports"][name]
        client = ["account_client"] * ("account_client" in self._labels())
        names = ["ref_date", "account_name", "appid", *client, *about["columns"], "provisional"]
        columns = dict(_heading(column, about["datasets"], language) for column in names)
        scene = self._label(CATALOGUE["biz_summary"], "scene_desc", "entry.scene_desc", language)
        query = self._query(
            name,
            lang=language,
            state=_words()["states"][language],
            client="".join(f", {column}" for column in client),
            scene=f"coalesce({scene}, entry.scene_desc)",
        )
        own = name if language == "en" else about["zh"]
        return View(own, about["about"][language == "zh"], columns, query)

    def _query(self, name: str, **values: str) -> str:
        """Return the query of a file, with the names of the views in their places."""
        return Template(_file(f"{name}.sql")).substitute(self._places, **values)

    @cached_property
    def _places(self) -> dict[str, str]:
        """Names in queries with what they stand for: other views, rows, and labels of accounts."""
        labels, accounts = self._labels(), self._rows("accounts")
        return {
            **{each: self._name(each) for each in (*CATALOGUE, *TABLES)},
            **self.dialect.words,
            "names": f"(select appid, {self._grouped(labels)} from {accounts} group by appid)",  # noqa: S608
            "grouped": self._grouped({name: self.dialect.quoted(name) for name in labels}),
            "nulls": ", ".join(["null"] * len(labels)),
            "rows_of_articles": self._rows("article_total_detail"),
            "rows_of_coverage": self._rows("coverage"),
            "last_day": _LAST_DAY,
        }


def about_table(name: str) -> str:
    """Return the English comment of a table beside the datasets."""
    return str(_words()["tables"][name])


def comment_of(column: str) -> str:
    """Return the English comment of a column that is not in the catalogue."""
    words = _words()
    if column in words["columns"]:
        return "{}: {}".format(*words["columns"][column])
    attribute = f"the accounts' attribute {column.removeprefix('account_')}"
    return str(words["others"].get(column, attribute))


def _heading(column: str, datasets: Sequence[str], language: Language) -> tuple[str, str]:
    """Return the name of a report's column in a language, and its comment."""
    is_chinese = language == "zh"
    if column in _words()["columns"]:
        chinese, *comments = _words()["columns"][column]
        return chinese if is_chinese else column, comments[is_chinese]
    all_columns = (_columns_of(dataset, language) for dataset in datasets)
    own = next(columns[column] for columns in all_columns if column in columns)
    name = column_label(datasets[0], column, language) if is_chinese else column
    return name, meaning_of(own, language)


@cache
def _columns_of(dataset: str, language: Language) -> dict[str, Column]:
    """Return the columns of a dataset and the members of its lists by their own names."""
    found = members(dataset_in(CATALOGUE[dataset], language).columns)
    return {column.name: column for _, column in found}


def meaning_of(column: Column, language: Language) -> str:
    """Return the meaning and the unit of a column, and a warning if it counts people."""
    words: Mapping[str, str] = _words()["meanings"][language]
    form = "people" if column.unit == words["unit"] and column.name not in _EVENTS else "other"
    return words[form if column.unit else "plain"].format(column.meaning, column.unit)


@cache
def _file(name: str) -> str:
    return (resources.files(__package__) / name).read_text("utf-8").strip()


@cache
def _words() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_file("words.json"))
    return found
