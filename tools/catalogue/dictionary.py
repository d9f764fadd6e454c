"""The page docs/datasets.md: every dataset with its columns, codes and queries."""

from __future__ import annotations

from harvester.catalogue import CATALOGUE
from harvester.catalogue.descriptions import facts, members, queries
from harvester.core.dataset import Dataset

COMMAND = "python -m tools.catalogue > docs/datasets.md"
"""Command that generates the page."""

_FAMILIES = {
    "user": "Followers",
    "article": "Articles",
    "message": "Messages",
    "interface": "The account's own server",
}

_INTRODUCTION = f"""\
<!-- Generated from harvester/catalogue; do not edit. After a change there:
     {COMMAND} -->

# Datasets

What harvester can fetch: every endpoint of WeChat's datacube API as a table.
`harvester datasets NAME` prints the same on a terminal, `harvester datasets --format json` has it
for programs.

Every table has these columns around its own:

| column | type | meaning |
|---|---|---|
| `appid` | `string` | the account |
| `_fetched_at` | `timestamp` | when the answer was kept, in UTC |
| `_run_id` | `string` | the run that asked |
| `_extra` | `string` | JSON of undeclared members that WeChat sent, else null |
| `ref_month` | `string` | the month of `ref_date`, from the path (`hive_partitioning`) |

- Names are WeChat's own. Counters are never negative; a member that WeChat leaves out is null.
- Days are Beijing days. Codes are stored as they come: WeChat sends new ones before it documents
  them.
- A day's rows are *provisional* until they are *final*: they can be read, and runs on later days
  ask for them again.
- People are counted once per row. A person in two rows is still one person, so people do not add up
  over hours, days or codes. Followers won and lost do, and so do times, messages and
  calls.
- Every query below runs in DuckDB, in the folder that holds `output`.
"""


def page() -> str:
    """Return the whole text of docs/datasets.md."""
    parts = [_INTRODUCTION, _overview()]
    for family, title in _FAMILIES.items():
        parts.append(f"## {title}\n")
        parts += [_section(dataset) for dataset in CATALOGUE.values() if dataset.family == family]
    return "\n".join(parts)


def _overview() -> str:
    lines = ["| dataset | holds |", "|---|---|"]
    lines += [f"| [{one.name}](#{one.name}) | {one.description} |" for one in CATALOGUE.values()]
    return "\n".join(lines) + "\n"


def _section(dataset: Dataset) -> str:
    """Return the section of one dataset: facts, columns, codes, notes and a query."""
    lines = [
        f"### {dataset.name}",
        "",
        f"{dataset.description[:1].upper()}{dataset.description[1:]}.",
        "",
    ]
    lines += [f"- {label}: {text}" for label, text in facts(dataset).items()]
    lines += ["", "| column | type | meaning | unit |", "|---|---|---|---|"]
    for name, column in members(dataset.columns):
        lines.append(
            f"| `{name}` | `{column.kind.value}` | {_cell(column.meaning)} | {column.unit} |"
        )
    for name, column in members(dataset.columns):
        if column.labels:
            lines += ["", f"| `{name}` | |", "|---|---|"]
            lines += [f"| {code} | {_cell(label)} |" for code, label in column.labels.items()]
    if dataset.notes:
        lines += ["", "Mind:", "", *(f"- {note}" for note in dataset.notes)]
    for query in queries(dataset):
        lines += ["", "```sql", query, "```"]
    lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
