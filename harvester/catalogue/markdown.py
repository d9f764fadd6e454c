"""The catalogue as text: descriptions for the command line, and the page docs/datasets.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import day_text
from harvester.core.dataset import FINAL_IF_EMPTY, Column, Dataset, Grain

COMMAND = "python -m harvester.catalogue > docs/datasets.md"
"""Command that generates the page."""

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
    if dataset.settle < FINAL_IF_EMPTY:
        rows = f"with rows {rows}, without any when more than {_days(FINAL_IF_EMPTY)} old"
    return f"{rows}; never while WeChat marks it is_delay" if dataset.may_be_delayed else rows


def queries(dataset: Dataset) -> list[str]:
    """Return the queries over the dataset's files: the example, and the check if there is one."""
    return [query for query in (dataset.example, dataset.check_query) if query]


def members(columns: Iterable[Column]) -> Iterator[tuple[str, Column]]:
    """Yield each column with its name, followed by its list members as ``list[].member``."""
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
