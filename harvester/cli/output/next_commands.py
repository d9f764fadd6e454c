"""Commands to type next: each on a line of its own, below what it is for and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.console import Console

from harvester.cli import command_line
from harvester.cli.command_line import MANIFEST, shell_word
from harvester.cli.output.answers import print_line
from harvester.cli.verbs import app


class NextCommand(NamedTuple):
    """A command line, and what it is for, with its price."""

    purpose: str
    line: str


def next_command(verb: str, *more: str, instead: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return a verb on what this command was about, as a line for a shell.

    ``more`` are further words. ``instead`` has values by option that replace what was typed. What
    was typed and is no option of the verb is left out.
    """
    known = {argument.name for argument in app[verb].assemble_argument_collection()}
    words = ["harvester", verb]
    for name, values in {**command_line.typed(), **(instead or {})}.items():
        if name in known:
            words += [word for value in values for word in _words(name, value)]
    return " ".join(map(shell_word, [*words, *more]))


def print_next(out: Console, commands: Sequence[NextCommand]) -> None:
    """Print commands to type next. No line is wrapped, so that it can be copied as it stands."""
    for command in commands:
        print_line(out, f"  {command.purpose}:")
        print_line(out, f"    {command.line}")


def _words(name: str, value: str) -> list[str]:
    """Return the words that give an argument a value."""
    if name == MANIFEST:
        return [f"./{value}" if value.startswith("-") else value]
    # Another word that begins so would be taken for an option.
    return [f"{name}={value}"] if value.startswith("-") else [name, value]
