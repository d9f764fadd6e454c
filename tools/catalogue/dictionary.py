"""The pages docs/datasets.md and datasets.zh.md: the catalogue, with a query of each dataset."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from harvester.catalogue import CATALOGUE
from harvester.catalogue.descriptions import facts, members, queries
from harvester.catalogue.languages import Language, dataset_in, translations
from harvester.core.dataset import Dataset
from harvester.core.text.wording import render

COMMANDS: dict[Language, str] = {
    "en": "python -m tools.catalogue > docs/datasets.md",
    "zh": "python -m tools.catalogue zh > docs/datasets.zh.md",
}
"""Commands that generate the pages."""

_FAMILIES: dict[Language, dict[str, str]] = {
    "en": {
        "user": "Followers",
        "article": "Articles",
        "message": "Messages",
        "interface": "The account's own server",
    },
    "zh": {"user": "用户", "article": "发表内容", "message": "消息", "interface": "接口"},
}

_HEADINGS: dict[Language, dict[str, str]] = {
    "en": {
        "overview": "| dataset | holds |",
        "columns": "| column | type | meaning | unit |",
        "notes": "Mind:",
    },
    "zh": {
        "overview": "| 数据集 | 内容 |",
        "columns": "| 字段 | 类型 | 含义 | 单位 |",
        "notes": "注意：",
    },
}


def page(language: Language = "en") -> str:
    """Return the whole text of a page."""
    datasets = [dataset_in(dataset, language) for dataset in CATALOGUE.values()]
    parts = [_introduction(language), _overview(datasets, language)]
    for family, title in _FAMILIES[language].items():
        parts.append(f"## {title}\n")
        parts += [_section(dataset, language) for dataset in datasets if dataset.family == family]
    return "\n".join(parts)


def _introduction(language: Language) -> str:
    name = "introduction.md" if language == "en" else f"introduction.{language}.md"
    return Path(__file__).with_name(name).read_text("utf-8")


def _overview(datasets: list[Dataset], language: Language) -> str:
    lines = [_HEADINGS[language]["overview"], "|---|---|"]
    lines += [f"| [{one.name}](#{one.name}) | {one.description} |" for one in datasets]
    return "\n".join(lines) + "\n"


def _section(dataset: Dataset, language: Language) -> str:
    """Return the section of one dataset: facts, columns, codes, notes and a query."""
    headings = _HEADINGS[language]
    about = f"{dataset.description[:1].upper()}{dataset.description[1:]}"
    end = "." if language == "en" else "。"
    lines = [f"### {dataset.name}", "", f"{about}{end}", ""]
    mark = ": " if language == "en" else "："
    say = partial(render, words=translations(language))
    lines += [f"- {say(label)}{mark}{say(text)}" for label, text in facts(dataset).items()]
    lines += ["", headings["columns"], "|---|---|---|---|"]
    for name, column in members(dataset.columns):
        lines.append(
            f"| `{name}` | `{column.kind.value}` | {_cell(column.meaning)} | {column.unit} |"
        )
    for name, column in members(dataset.columns):
        if column.labels:
            lines += ["", f"| `{name}` | |", "|---|---|"]
            lines += [f"| {code} | {_cell(label)} |" for code, label in column.labels.items()]
    if dataset.notes:
        lines += ["", headings["notes"], "", *(f"- {note}" for note in dataset.notes)]
    for query in queries(dataset):
        lines += ["", "```sql", query, "```"]
    lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
