"""A page per verb, from the help that the command prints."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Console

from harvester.cli import app

VERBS = tuple(name for name in app if not name.startswith("-"))

# Wide enough that no text of the help is wrapped.
WIDTH = 1000

CODES = re.compile(r"^ +(\d[\d, ]*?) {2,}(\S.*(?:\n {4,}\D.*)*)$", re.MULTILINE)
PANEL = re.compile(r"^╭─ (?P<title>.+?) ─+╮\n(?P<body>.*?)^╰─+╯$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^│ (?:[* ] +)?(?P<name>[A-Z-]\S*(?: [A-Z.]+)*) {2,}(?P<text>\S.*?) *│$")
MARKS = {
    name: re.compile(rf" ?\[{name}: (.*?)\](?= \[|$)")
    for name in ("choices", "env var", "default", "required")
}


VARIABLES = """\
# Variables

An option on the command line wins over its variable, and an empty variable counts as not set. The
Python API reads none of them.
"""


class Option(NamedTuple):
    """An argument or an option of a verb."""

    name: str
    variable: str
    choices: tuple[str, ...]
    default: str
    meaning: str


@dataclass(frozen=True)
class Help:
    """The help of a verb, in its parts. ``panels`` are its options by their titles."""

    verb: str
    usage: str
    summary: str
    example: str
    codes: tuple[tuple[str, str], ...]
    panels: dict[str, list[Option]]


def help_of(verb: str) -> Help:
    """Read the help of a verb."""
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, no_color=True, force_terminal=False)
    # The command does so too: its summary is for the list of verbs alone.
    listed, app[verb].help = app[verb].help, None
    app.help_print([verb], console=console)
    app[verb].help = listed
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines())
    head = text.partition("╭")[0]
    usage, _, rest = head.strip().partition("\n\n")
    summary, _, after = rest.partition("For example:\n")
    example, _, codes = after.partition("Exit codes:\n")
    return Help(
        verb,
        usage.removeprefix("Usage: "),
        (summary or rest.partition("Exit codes:")[0]).strip(),
        "\n".join(line.strip() for line in example.strip().splitlines()),
        tuple((code, " ".join(meaning.split())) for code, meaning in CODES.findall(codes)),
        {found["title"]: list(_options(found["body"])) for found in PANEL.finditer(text)},
    )


def _options(body: str) -> Iterator[Option]:
    """Yield the options of a panel."""
    rows: list[list[str]] = []
    for line in body.splitlines():
        if found := ROW.match(line):
            rows.append([found["name"], found["text"]])
        elif rows:
            rows[-1][1] += " " + line.strip("│ ")
    for name, text in rows:
        found_marks: dict[str, str] = {}
        for mark, pattern in MARKS.items():
            if match := pattern.search(text):
                found_marks[mark] = match[1]
        meaning = re.sub(r" ?\[(choices|env var|default): .*?\](?= \[|$)| ?\[required\]", "", text)
        default = "required" if "[required]" in text else found_marks.get("default", "")
        choices = tuple(filter(None, found_marks.get("choices", "").split(", ")))
        yield Option(name, found_marks.get("env var", ""), choices, default, meaning.strip())


def page(verb: str) -> str:
    """Return the page of a verb."""
    found = help_of(verb)
    parts = [f"# harvester {verb}\n\n{found.summary}\n\n```text\n{found.usage}\n```\n"]
    if found.example:
        parts.append(f"```sh\n{found.example}\n```\n")
    parts.append(f"[More about `{verb}`](../cli.md#harvester-{verb}).\n")
    if found.codes:
        rows = "".join(f"| {code} | {_cell(meaning)} |\n" for code, meaning in found.codes)
        parts.append(f"## Exit codes\n\n| code | meaning |\n|---|---|\n{rows}")
    for title, options in found.panels.items():
        rows = "".join(map(_row, options))
        head = "| option | meaning | default | variable |\n|---|---|---|---|\n"
        parts.append(f"## {title}\n\n{head}{rows}")
    return "\n".join(parts)


def _row(option: Option) -> str:
    meaning = option.meaning
    if option.choices:
        values = ", ".join(f"`{choice}`" for choice in option.choices)
        meaning = f"{meaning} One of {values}."
    default = "" if option.default in {"", '""', "False"} else option.default
    cells = (
        f"`{option.name}`",
        _cell(meaning),
        default if default in {"", "required"} else f"`{default}`",
        f"`{option.variable}`" if option.variable else "",
    )
    return f"| {' | '.join(cells)} |\n"


def variables() -> str:
    """Return the page of all variables that set an option."""
    found: dict[str, tuple[str, list[str]]] = {}
    for verb in VERBS:
        for options in help_of(verb).panels.values():
            for option in options:
                if option.variable:
                    name = option.name.split()[0]
                    found.setdefault(option.variable, (name, []))[1].append(verb)
    rows = "".join(
        f"| `{variable}` | `{name}` | {', '.join(f'[{verb}]({verb}.md)' for verb in verbs)} |\n"
        for variable, (name, verbs) in sorted(found.items())
    )
    head = "| variable | option | of the verbs |\n|---|---|---|\n"
    return f"{VARIABLES}\n{head}{rows}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
