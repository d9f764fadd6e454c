"""The catalogue in words: what the command line and docs/datasets.md say about a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import day_text
from harvester.core.dataset import FINAL_IF_EMPTY, Column, Dataset, Grain

COMMAND = "python -m harvester.catalogue > docs/datasets.md"
"""What writes the page anew."""

_FAMILIES = {
    "user": "Followers",
    "article": "Articles",
    "message": "Messages",
    "interface": "The account's own server",
}

_READY = {
    Grain.DAY: "on the next day",
    Grain.HOUR: "on the next day",
    Grain.WEEK: "on the Monday after the week",
    Grain.MONTH: "on the first day after the month",
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
| `_extra` | `string` | JSON of members that WeChat sent and nobody declared, else null |
| `ref_month` | `string` | the month of `ref_date`, from the path (`hive_partitioning`) |

- Names are WeChat's own. Counters are never negative; a member that WeChat leaves out is null.
- Days are Beijing days. Codes are stored as they come: WeChat sends new ones before it documents
  them.
- A day's rows are *provisional* until they are *final*: they can be read, and runs on later days
  ask for them again.
- People are counted once per row. Somebody who stands in two rows is still one person, so people do
  not add up over hours, days or codes. Followers won and lost do, and so do times, messages and
  calls.
- Every query below runs in DuckDB, in the folder that holds `output`.
"""


def page() -> str:
    """All of docs/datasets.md."""
    parts = [_INTRODUCTION, _overview()]
    for family, title in _FAMILIES.items():
        parts.append(f"## {title}\n")
        parts += [_section(dataset) for dataset in CATALOGUE.values() if dataset.family == family]
    return "\n".join(parts)


def facts(dataset: Dataset) -> dict[str, str]:
    """What there is to know beside the columns: a few words, and a sentence's end for each."""
    told = {
        "WeChat's name": f"{dataset.api}, permission set {dataset.permission}",
        "unique over": ", ".join(("appid", *dataset.key)),
        "one request": f"asks {_days(dataset.span)} at most",
        "first day": day_text(dataset.first_day),
        "ready": f"at {ready_text(dataset)} in Beijing {_READY[dataset.grain]}",
        "final": final_text(dataset),
        "source": f"{dataset.source} (checked {dataset.checked})",
    }
    if dataset.sparse:
        told["a day without rows"] = "is ordinary, and never called suspicious"
    return told


def ready_text(dataset: Dataset) -> str:
    """When a period may be asked: 10:00."""
    return f"{dataset.ready_minutes // 60:02d}:{dataset.ready_minutes % 60:02d}"


def final_text(dataset: Dataset) -> str:
    """When an answer is final, in words."""
    rows = f"when more than {_days(dataset.settle)} old" if dataset.settle else "at once"
    if dataset.settle < FINAL_IF_EMPTY:
        rows = f"with rows {rows}, without any when more than {_days(FINAL_IF_EMPTY)} old"
    return f"{rows}; never while WeChat marks it is_delay" if dataset.may_be_delayed else rows


def members(columns: Iterable[Column]) -> Iterator[tuple[str, Column]]:
    """Every column with its name, the members of a list behind it as ``list[].member``."""
    for column in columns:
        yield column.name, column
        for name, field in members(column.fields):
            yield f"{column.name}[].{name}", field


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def _overview() -> str:
    lines = ["| dataset | holds |", "|---|---|"]
    lines += [f"| [{one.name}](#{one.name}) | {one.description} |" for one in CATALOGUE.values()]
    return "\n".join(lines) + "\n"


def _section(dataset: Dataset) -> str:
    """One dataset: facts, columns, codes, what to mind, a query."""
    lines = [f"### {dataset.name}", "", f"{_sentence(dataset.description)}.", ""]
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
    lines += ["", "```sql", dataset.example, "```", ""]
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
