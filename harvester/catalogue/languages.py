"""Texts in English and Chinese, from ``texts.json``, which is read when needed.

In that file a string is a text of ours, and an object is a ``quote`` of WeChat with its ``page``.
Names and words have both languages there; every other text is found by its English.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from gettext import NullTranslations
from importlib import resources
from typing import Any, Literal, TypeAlias

from harvester.core.dataset import Column, Dataset
from harvester.core.rule import Rule
from harvester.core.text.wording import ENGLISH, render, said, sentences

Language: TypeAlias = Literal["en", "zh"]


class _Chinese(NullTranslations):
    """Chinese texts; one that ``texts.json`` does not have stays in English."""

    def gettext(self, message: str) -> str:
        return _text_of("sentences", message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:  # noqa: ARG002 - as gettext has it
        return _text_of("sentences", msgid1)

    def pgettext(self, context: str, message: str) -> str:
        words = _texts()["words"]
        # The words that the script of the report needs are marked.
        found = words.get(f"{context}.{message}") or words.get(f"js.{context}.{message}")
        return found["zh"] if found else message


def translations(language: Language) -> NullTranslations:
    """Return the texts of a language, as ``gettext`` has them."""
    return ENGLISH if language == "en" else _Chinese()


def words(language: Language) -> dict[str, str]:
    """Return the words of the report by their names."""
    return {name: both[language] for name, both in _texts()["words"].items()}


def recorded(text: str, language: Language) -> str:
    """Return a remedy of a run record, which has it in English, in a language.

    It may be what a rule means and its advice, which are two texts.
    """
    words = translations(language)
    meaning, _, advice = text.partition(". ")
    if words.gettext(meaning) != meaning:
        text = sentences(said(meaning), said(advice))
    return render(said(text), words)


def dataset_label(dataset: str, language: Language) -> str:
    """Return the short name of a dataset, for a heading."""
    return _plain(_texts()["datasets"][dataset][language])


def column_label(dataset: str, column: str, language: Language) -> str:
    """Return the short name of a column, or of a member of a list by the member's own name."""
    names = _texts()["columns"]
    return _plain((names.get(f"{dataset}.{column}") or names[column])[language])


def rule_in(rule: Rule, language: Language) -> Rule:
    """Return a rule with its meaning and its advice in a language."""
    words = translations(language)
    meaning, advice = (render(said(text), words) for text in (rule.meaning, rule.advice))
    return rule._replace(meaning=meaning, advice=advice)


def dataset_in(dataset: Dataset, language: Language) -> Dataset:
    """Return a dataset with description, notes, meanings, units and labels in a language."""
    if language == "en":
        return dataset
    return replace(
        dataset,
        description=_text_of("sentences", dataset.description),
        notes=tuple(_text_of("sentences", note) for note in dataset.notes),
        columns=tuple(map(_in_chinese, dataset.columns)),
    )


def _in_chinese(column: Column) -> Column:
    codes = _texts()["codes"].get(column.name, {})
    labels: Any = {
        code: _plain(codes.get(str(code), label)) for code, label in column.labels.items()
    }
    return replace(
        column,
        meaning=_text_of("sentences", column.meaning),
        unit=_text_of("units", column.unit),
        labels=labels,
        fields=tuple(map(_in_chinese, column.fields)),
    )


def _text_of(section: str, text: str) -> str:
    return _plain(_texts()[section].get(text, text))


def _plain(text: Any) -> str:
    """Return the text of an entry, without the page of a quotation."""
    words: str = text["quote"] if isinstance(text, dict) else text
    return words


@cache
def _texts() -> dict[str, Any]:
    file = resources.files("harvester.catalogue") / "texts.json"
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found
